/* Changes of members beside edits, in every order; who is removed, and who is new. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/document_struct.h"
#include "doc_room.h"

static Room
room_with_owner(guint count)
{
  Room room = room_new(count);
  member_change(room_member(&room, 0), room_member(&room, 1), DOC_OWNER, 1);
  settle(room.members, room.server);
  g_assert_cmpint(doc_document_role(room_member(&room, 1)->doc), ==, DOC_OWNER);
  return room;
}

/* The permutation of `count` with that number. */
static void
permute(guint number, guint *order, guint count)
{
  for (guint i = 0; i < count; i++)
    order[i] = i;
  for (guint i = 0; i + 1 < count; i++) {
    guint other = i + number % (count - i), kept = order[i];
    number /= count - i;
    order[i] = order[other];
    order[other] = kept;
  }
}

static guint
factorial(guint count)
{
  return count < 2 ? 1 : count * factorial(count - 1);
}

/* What each has in flight reaches the server in that order. */
static void
send_in_order(const Room *room, guint number, guint count)
{
  g_autofree guint *order = g_new(guint, count);
  g_autoptr(GPtrArray) flights = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  permute(number, order, count);
  for (guint i = 0; i < count; i++) {
    GBytes *flight = doc_document_submit(room_member(room, i)->doc);
    g_assert_nonnull(flight);
    g_ptr_array_add(flights, flight);
  }
  for (guint i = 0; i < count; i++)
    g_assert_true(server_submit(room->server, flights->pdata[order[i]]));
}

/* One owner removes a writer, another lets somebody in, and both writers edit, all at once: in each order the
 * removal and the newcomer are there in the end, and of the removed one's what came before. */
static void
test_every_order(void)
{
  for (guint number = 0; number < factorial(4); number++) {
    g_auto(Room) room = room_with_owner(4);
    Member *eve = member_new(4), *dan = room_member(&room, 3);
    g_ptr_array_add(room.members, eve);
    member_type_at(room_member(&room, 2), 0, "carl ");
    member_type_at(dan, 0, "dan ");
    member_change(room_member(&room, 0), dan, DOC_NONE, 1);
    member_change(room_member(&room, 1), eve, DOC_WRITER, 1);
    send_in_order(&room, number, 4);
    settle(room.members, room.server);
    g_assert_true(doc_document_is_removed(dan->doc));
    member_join(eve, room.server);
    member_read(eve, room.server, G_MAXUINT64);
    g_assert_cmpint(doc_document_role(eve->doc), ==, DOC_WRITER);
    member_type_at(eve, 0, "eve ");
    settle(room.members, room.server);
    g_autofree char *text = assert_same(room.members);
    g_autofree char *dans = ot_text_copy(doc_document_committed(dan->doc), 0, 0, NULL);
    g_assert_true(g_str_has_prefix(text, "eve "));
    g_assert_nonnull(strstr(text, "carl "));
    /* He sees himself whether it counted before he was removed. */
    gboolean counted = doc_document_flight(dan->doc) == NULL && ot_op_empty(dan->doc->pending);
    g_assert_true((strstr(text, "dan ") != NULL) == counted);
  }
}

/* Two owners who remove each other: who comes first stays. */
static void
test_remove_each_other(void)
{
  for (guint number = 0; number < 2; number++) {
    g_auto(Room) room = room_with_owner(3);
    member_change(room_member(&room, 0), room_member(&room, 1), DOC_NONE, 1);
    member_change(room_member(&room, 1), room_member(&room, 0), DOC_NONE, 1);
    member_type_at(room_member(&room, 2), 0, "carl");
    send_in_order(&room, number * 2, 3);
    settle(room.members, room.server);
    guint gone = doc_document_is_removed(room_member(&room, 0)->doc) ? 0 : 1;
    g_assert_false(doc_document_is_removed(room_member(&room, 1 - gone)->doc));
    g_assert_true(doc_document_is_removed(room_member(&room, gone)->doc));
    g_autofree char *text = assert_same(room.members);
    g_assert_cmpstr(text, ==, "carl");
  }
}

/* An edit that is sealed with the former key is void, and made anew with the present one. */
static void
test_remade_with_new_key(void)
{
  g_auto(Room) room = room_new(3);
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1);
  member_type_at(bob, 0, "secret");
  g_autoptr(GBytes) flight = doc_document_submit(bob->doc);
  member_type_at(bob, 6, "s");
  member_save(bob);
  member_change(ann, room_member(&room, 2), DOC_NONE, 1);
  member_send(ann, room.server);
  g_assert_true(server_submit(room.server, flight));
  member_restart(bob);
  member_type_at(bob, 0, "the ");
  member_read(bob, room.server, 1);
  g_assert_cmpint(member_take(bob, room.server, server_length(room.server)), ==, DOC_VOID_KEY);
  settle(room.members, room.server);
  g_autofree char *text = assert_same(room.members);
  g_assert_cmpstr(text, ==, "the secrets");
}

static void
assert_refused(const Room *room, Member *bob, guint epoch)
{
  g_autoptr(DocEnvelope) forged = doc_document_envelope(bob->doc, DOC_EDIT);
  DocVerdict verdict;
  DocFault fault;
  forged->base = doc_history_number(room->server->history);
  forged->chain = *doc_history_chain(room->server->history, forged->base);
  forged->sequence = doc_history_sequence(room->server->history, &forged->author) + 1;
  forged->epoch = epoch;
  if (!doc_keyring_has(bob->doc->ring, epoch))
    doc_keyring_make(bob->doc->ring, epoch);
  doc_document_seal(bob->doc, forged, "\x06z", 2);
  g_assert_true(doc_history_would_take(room->server->history, forged, &verdict, &fault));
  g_assert_cmpint(verdict, ==, DOC_VOID_REMOVED);
  g_autoptr(GBytes) packed = doc_envelope_pack(forged);
  g_assert_true(server_submit(room->server, packed));
}

/* With all that he had, and a copy of the whole log, who was removed reads and writes nothing that came
 * after. */
static void
test_removed(void)
{
  g_auto(Room) room = room_new(3);
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1), *carl = room_member(&room, 2);
  member_type_at(bob, 0, "before ");
  settle(room.members, room.server);
  member_change(ann, bob, DOC_NONE, 1);
  settle(room.members, room.server);
  guint64 removal = doc_document_number(bob->doc);
  g_assert_cmpuint(removal, ==, server_length(room.server));
  g_assert_true(doc_document_is_removed(bob->doc));
  member_type_at(ann, 0, "after ");
  member_type_at(carl, 0, "afterwards ");
  g_assert_true(doc_document_checkpoint(carl->doc, NULL));
  settle(room.members, room.server);
  guint sealed = 0;
  for (guint64 number = removal + 1; number <= server_length(room.server); number++) {
    gsize length;
    const void *bytes = g_bytes_get_data(server_entry(room.server, number), &length);
    g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
    g_autoptr(GBytes) body = doc_body_open(bob->doc->ring, doc_document_name(bob->doc), envelope, NULL);
    g_assert_null(body);
    sealed++;
    g_auto(DocTaken) taken = {0};
    g_autoptr(GError) error = NULL;
    g_assert_false(doc_document_take(bob->doc, number, bytes, length, &taken, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  }
  g_assert_cmpuint(sealed, ==, 3);
  g_autoptr(OtOp) op = ot_op_new_edit(0, 0, "x", 1);
  g_autoptr(GError) error = NULL;
  g_assert_false(doc_document_edit(bob->doc, op, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_assert_null(doc_document_submit(bob->doc));
  assert_refused(&room, bob, 1);
  assert_refused(&room, bob, 2);
  settle(room.members, room.server);
  g_autofree char *text = assert_same(room.members), *bobs = member_text(bob);
  g_assert_cmpstr(bobs, ==, "before ");
  g_assert_null(strchr(text, 'z'));
  g_assert_nonnull(strstr(text, "afterwards "));
  /* Neither does a restart help, or an invitation that was for others. */
  member_save(bob);
  member_restart(bob);
  g_assert_true(doc_document_is_removed(bob->doc));
}

/* What an owner lets a newcomer read: all, or what comes from now on, which a checkpoint has to begin. */
static void
test_newcomers(void)
{
  g_auto(Room) room = room_new(3);
  Member *ann = room_member(&room, 0), *eve = member_new(4), *fay = member_new(5), *gus = member_new(6);
  g_ptr_array_add(room.members, eve);
  g_ptr_array_add(room.members, fay);
  g_ptr_array_add(room.members, gus);
  member_type_at(ann, 0, "old ");
  settle(room.members, room.server);
  member_change(ann, room_member(&room, 2), DOC_NONE, 1);
  member_change(ann, eve, DOC_READER, 1);
  member_change(ann, fay, DOC_WRITER, DOC_FROM_NOW);
  settle(room.members, room.server);
  member_join(eve, room.server);
  member_join(fay, room.server);
  member_read(eve, room.server, G_MAXUINT64);
  g_autofree char *eves = member_text(eve);
  g_assert_cmpstr(eves, ==, "old ");
  /* What she may not read she is told about, and nothing is taken. */
  g_autoptr(GError) error = NULL;
  g_auto(DocTaken) taken = {0};
  guint64 first = 4; /* two writers, then the edit */
  member_read(fay, room.server, first - 1);
  gsize length;
  const void *bytes = g_bytes_get_data(server_entry(room.server, first), &length);
  g_assert_false(doc_document_take(fay->doc, first, bytes, length, &taken, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_assert_cmpuint(doc_document_number(fay->doc), ==, first - 1);
  g_clear_error(&error);
  g_clear_pointer(&fay->doc, doc_document_free);
  DocCheckpoint checkpoint;
  g_assert_true(doc_document_checkpoint(ann->doc, NULL));
  settle(room.members, room.server);
  g_assert_true(doc_document_last_checkpoint(ann->doc, &checkpoint));
  member_join(fay, room.server);
  bytes = g_bytes_get_data(server_entry(room.server, checkpoint.number), &length);
  g_assert_true(doc_document_start(fay->doc, &checkpoint, bytes, length, &error));
  g_string_assign(fay->editor, "old ");
  member_type_at(fay, 4, "new");
  settle(room.members, room.server);
  g_autofree char *text = assert_same(room.members);
  g_assert_cmpstr(text, ==, "old new");
  /* Who was not invited has no key, whatever entry is shown as an invitation. */
  bytes = g_bytes_get_data(server_entry(room.server, find_invitation(room.server, eve)), &length);
  g_assert_null(doc_document_join(doc_document_name(ann->doc), gus->key, bytes, length, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
}

/* A change that became impossible is forgotten; one that makes no sense is refused at once. */
static void
test_impossible(void)
{
  g_auto(Room) room = room_new(2);
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1);
  guint64 before = server_length(room.server);
  g_autoptr(GError) error = NULL;
  DocMember as = member_as(ann, DOC_NONE);
  g_assert_false(doc_document_change(bob->doc, &as, 1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_clear_error(&error);
  member_change(ann, ann, DOC_NONE, 1); /* the only owner */
  settle(room.members, room.server);
  g_assert_cmpuint(server_length(room.server), ==, before);
  member_change(ann, bob, DOC_NONE, 1);
  settle(room.members, room.server);
  as = member_as(bob, DOC_WRITER);
  g_assert_false(doc_document_change(ann->doc, &as, 1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
}

/* What an owner wanted is not done when it owns the document again later. */
static void
test_owner_no_more(void)
{
  g_auto(Room) room = room_with_owner(3);
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1), *carl = room_member(&room, 2);
  member_change(bob, carl, DOC_NONE, 1);
  g_autoptr(GBytes) flight = doc_document_submit(bob->doc);
  member_save(bob);
  member_change(ann, bob, DOC_WRITER, 1);
  member_send(ann, room.server);
  member_read(bob, room.server, G_MAXUINT64);
  member_save(bob);
  member_restart(bob);
  g_assert_true(server_submit(room.server, flight));
  settle(room.members, room.server);
  member_change(ann, bob, DOC_OWNER, 1);
  settle(room.members, room.server);
  g_assert_cmpint(doc_document_role(bob->doc), ==, DOC_OWNER);
  g_assert_cmpint(doc_document_role(carl->doc), ==, DOC_WRITER);
}

/* ---- by chance ---- */

enum { PEOPLE = 9 };

typedef struct {
  Room room;
  Keyboard keyboard;
  GRand *rand;
  guint changed; /* a bit for each who lost a right at some time */
} World;

static void
change_somebody(World *world, Member *owner)
{
  Member *who = room_member(&world->room, (guint)g_rand_int_range(world->rand, 1, PEOPLE));
  DocRole role = (DocRole)g_rand_int_range(world->rand, DOC_NONE, DOC_OWNER + 1);
  DocMember as = member_as(who, role);
  if (doc_document_role(owner->doc) != DOC_OWNER || who == owner)
    return;
  if (doc_document_change(owner->doc, &as, 1, NULL) && role < DOC_WRITER)
    world->changed |= 1u << who->number;
}

static void
step(World *world)
{
  Member *member = room_member(&world->room, (guint)g_rand_int_range(world->rand, 0, PEOPLE));
  if (!member->doc) {
    if (find_invitation(world->room.server, member) > 0)
      member_join(member, world->room.server);
    return;
  }
  gboolean writes = doc_document_role(member->doc) >= DOC_WRITER;
  switch (g_rand_int_range(world->rand, 0, 12)) {
  case 0 ... 2:
    if (writes)
      member_type(member, &world->keyboard, world->rand, 2);
    break;
  case 3:
    if (writes)
      member_delete(member, &world->keyboard, world->rand, 2);
    break;
  case 4:
    change_somebody(world, member);
    break;
  case 5:
    member_restart(member);
    break;
  case 6 ... 8:
    member_send(member, world->room.server);
    break;
  default:
    member_read(member, world->room.server, (guint64)g_rand_int_range(world->rand, 1, 5));
    break;
  }
  member_save(member);
}

/* What those typed who were never to lose a right is there once, but for what one of them deleted; what
 * others typed once at most. */
static void
assert_counts(const World *world)
{
  g_autofree char *same = assert_same(world->room.members);
  g_autoptr(GArray) counts =
      keyboard_counts(&world->keyboard, doc_document_text(room_member(&world->room, 0)->doc));
  for (guint key = 0; key < world->keyboard.typed; key++) {
    guint count = g_array_index(counts, guint, key), by = g_array_index(world->keyboard.by, guint, key),
          deleted = g_array_index(world->keyboard.deleted, guint, key);
    gboolean steady = !(world->changed & 1u << by);
    if (deleted & ~world->changed)
      g_assert_cmpuint(count, ==, 0);
    else if (steady && !deleted)
      g_assert_cmpuint(count, ==, 1);
    else
      g_assert_cmpuint(count, <=, 1);
  }
}

static void
test_schedules(void)
{
  guint64 first = from_environment("DOPPEL_DOC_SEED", 1), cases = from_environment("DOPPEL_DOC_CASES", 20);
  g_test_message("seeds %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, first, first + cases - 1);
  for (guint64 seed = first; seed < first + cases; seed++) {
    World world = {.room = room_with_owner(5), .rand = g_rand_new_with_seed((guint32)seed)};
    keyboard_init(&world.keyboard);
    for (guint i = 5; i < PEOPLE; i++)
      g_ptr_array_add(world.room.members, member_new(i));
    for (guint i = 0; i < 300; i++)
      step(&world);
    settle(world.room.members, world.room.server);
    assert_counts(&world);
    room_clear(&world.room);
    keyboard_clear(&world.keyboard);
    g_rand_free(world.rand);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/document-members/every-order", test_every_order);
  g_test_add_func("/document-members/remove-each-other", test_remove_each_other);
  g_test_add_func("/document-members/remade-with-new-key", test_remade_with_new_key);
  g_test_add_func("/document-members/removed", test_removed);
  g_test_add_func("/document-members/newcomers", test_newcomers);
  g_test_add_func("/document-members/impossible", test_impossible);
  g_test_add_func("/document-members/owner-no-more", test_owner_no_more);
  g_test_add_func("/document-members/schedules", test_schedules);
  return g_test_run();
}
