/* After a fork or a rollback: one history is followed, and what the members of the other did is in it once.
 */
#include <string.h>

#include "base/error.h"
#include "doc_room.h"

/* Goes over to the other history: a new replica takes what the old one knows, then what the member did after
 * it, then the rest. */
static void
go_over(Member *member, const Server *to)
{
  GError *error = NULL;
  DocDocument *onto = doc_document_join(doc_history_document(to->history), member->key, NULL, 0, &error);
  for (guint64 number = 1; number <= server_length(to); number++) {
    gsize length;
    const void *bytes = g_bytes_get_data(server_entry(to, number), &length);
    g_auto(DocTaken) taken = {0};
    if (!doc_document_knows(member->doc, number, bytes, length))
      break;
    doc_document_take(onto, number, bytes, length, &taken, &error);
    g_assert_no_error(error);
  }
  doc_document_recover(onto, member->doc, &error);
  g_assert_no_error(error);
  member_begin(member, onto);
  member_restart(member);
}

/* ---- by hand ---- */

/* Two servers' worth of work. The fork is seen by the other head. */
static void
test_fork(void)
{
  g_auto(Room) room = room_new(4);
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1), *carl = room_member(&room, 2),
         *dan = room_member(&room, 3);
  member_type_at(ann, 0, "[]");
  settle(room.members, room.server);
  g_autoptr(Server) other = server_fork(room.server, server_length(room.server));
  g_autoptr(IdentityKey) key = identity_key_generate();
  g_autoptr(GPtrArray) here = g_ptr_array_new(), there = g_ptr_array_new();
  g_ptr_array_add(here, ann);
  g_ptr_array_add(here, bob);
  g_ptr_array_add(there, carl);
  g_ptr_array_add(there, dan);
  member_type_at(ann, 1, "ann");
  settle(here, room.server);
  member_type_at(bob, 4, " bob");
  settle(here, room.server);
  member_type_at(ann, 8, " again");
  member_type_at(carl, 1, "carl");
  settle(there, other);
  g_auto(DocHead) head = {0};
  g_autoptr(GError) error = NULL;
  doc_head_sign(&head, other->history, key);
  g_assert_false(doc_document_check_head(ann->doc, &head, &error));
  g_assert_cmpint(doc_history_fault(doc_document_history(ann->doc)), ==, DOC_FAULT_TWO_HEADS);
  /* What is typed while nothing can be sent is not lost. */
  member_type_at(ann, 14, "!");
  g_autofree char *before = member_text(ann);
  g_assert_cmpstr(before, ==, "[ann bob again!]");
  member_save(ann);
  member_restart(ann);
  go_over(ann, other);
  go_over(bob, other);
  settle(room.members, other);
  g_autofree char *text = assert_same(room.members);
  g_assert_cmpstr(text, ==, "[carlann bob again!]");
}

/* What was in flight when the histories parted may be in both. */
static void
test_flight_in_both(void)
{
  for (guint where = 0; where < 4; where++) {
    g_auto(Room) room = room_new(2);
    Member *ann = room_member(&room, 0), *bob = room_member(&room, 1);
    member_type_at(ann, 0, "one ");
    g_autoptr(GBytes) flight = doc_document_submit(ann->doc);
    g_autoptr(Server) other = server_fork(room.server, server_length(room.server));
    member_type_at(bob, 0, "bob ");
    member_send(bob, other);
    if (where & 1)
      g_assert_true(server_submit(room.server, flight));
    if (where & 2)
      g_assert_true(server_submit(other, flight));
    member_read(ann, room.server, G_MAXUINT64);
    member_type_at(ann, 4, "two ");
    member_send(ann, room.server);
    member_read(ann, room.server, G_MAXUINT64);
    go_over(ann, other);
    settle(room.members, other);
    g_autofree char *text = assert_same(room.members);
    g_assert_cmpstr(text, ==, "bob one two ");
  }
}

/* One that was void here, and made anew, and is good there. */
static void
test_void_here_good_there(void)
{
  g_auto(Room) room = room_new(3);
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1), *carl = room_member(&room, 2);
  member_type_at(ann, 0, "text");
  settle(room.members, room.server);
  g_autoptr(Server) other = server_fork(room.server, server_length(room.server));
  g_autoptr(GPtrArray) here = g_ptr_array_new();
  g_ptr_array_add(here, ann);
  g_ptr_array_add(here, bob);
  member_type_at(bob, 4, " bob");
  g_autoptr(OtOp) gone = ot_op_new_edit(0, 1, "T", 1);
  g_assert_true(doc_document_edit(bob->doc, gone, NULL));
  g_autoptr(GBytes) flight = doc_document_submit(bob->doc);
  g_string_assign(bob->editor, "Text bob");
  member_change(ann, carl, DOC_NONE, 1);
  member_send(ann, room.server);
  g_assert_true(server_submit(room.server, flight));
  settle(here, room.server);
  g_autofree char *before = assert_same(here);
  g_assert_cmpstr(before, ==, "Text bob");
  go_over(bob, other);
  g_assert_true(server_submit(other, flight));
  member_type_at(bob, 8, "!");
  settle(room.members, other);
  /* Ann's removal of Carl is still to be done, too. */
  g_assert_cmpint(doc_document_role(carl->doc), ==, DOC_WRITER);
  go_over(ann, other);
  settle(room.members, other);
  g_assert_true(doc_document_is_removed(carl->doc));
  g_autofree char *text = assert_same(here);
  g_assert_cmpstr(text, ==, "Text bob!");
}

/* What does not go. */
static void
test_refused(void)
{
  g_auto(Room) room = room_new(2);
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1);
  g_autoptr(GError) error = NULL;
  g_assert_false(doc_document_recover(ann->doc, bob->doc, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_clear_error(&error);
  g_autoptr(DocDocument) onto = doc_document_join(doc_document_name(ann->doc), ann->key, NULL, 0, NULL);
  g_assert_false(doc_document_recover(onto, ann->doc, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_clear_error(&error);
  /* Further back than anything is remembered. */
  g_autoptr(Server) other = server_fork(room.server, server_length(room.server));
  for (guint i = 0; i < 3 * DOC_BEHIND_MAX; i++) {
    member_type_at(ann, 0, "a");
    member_send(ann, room.server);
    member_read(ann, room.server, 1);
  }
  for (guint64 number = 1; number <= server_length(other); number++) {
    gsize length;
    const void *bytes = g_bytes_get_data(server_entry(other, number), &length);
    g_auto(DocTaken) taken = {0};
    g_assert_true(doc_document_take(onto, number, bytes, length, &taken, NULL));
  }
  member_save(ann);
  member_restart(ann);
  g_assert_false(doc_document_recover(onto, ann->doc, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
}

/* ---- by chance ---- */

typedef struct {
  Room room;
  Keyboard keyboard;
  GRand *rand;
  GPtrArray *flights; /* that are on the way as the histories part */
  guint left;         /* a bit for each who followed the history that was left */
  GArray *maybe;      /* of keys: somebody deleted it where only the history that was left has that */
} World;

static void
step(World *world, guint who, Server *server)
{
  Member *member = room_member(&world->room, who);
  switch (g_rand_int_range(world->rand, 0, 9)) {
  case 0 ... 1:
    member_type(member, &world->keyboard, world->rand, 2);
    break;
  case 2:
    member_delete(member, &world->keyboard, world->rand, 3);
    break;
  case 3:
    member_restart(member);
    break;
  case 4 ... 5:
    member_send(member, server);
    break;
  default:
    member_read(member, server, (guint64)g_rand_int_range(world->rand, 1, 5));
    break;
  }
  member_save(member);
}

static GArray *
counts_at(const World *world, const Server *server)
{
  g_autoptr(Member) reader = member_new(0);
  member_begin(reader, doc_document_join(doc_history_document(server->history), reader->key, NULL, 0, NULL));
  member_read(reader, server, G_MAXUINT64);
  return keyboard_counts(&world->keyboard, doc_document_committed(reader->doc));
}

/* What only a member of the history that is left has deleted, of what another there typed after the fork, is
 * put back by that other. */
static void
excuse(World *world, const GArray *common)
{
  for (guint key = 0; key < world->keyboard.typed; key++) {
    guint by = 1u << g_array_index(world->keyboard.by, guint, key),
          deleted = g_array_index(world->keyboard.deleted, guint, key);
    gboolean was = key < common->len && g_array_index(common, guint, key) > 0;
    if (!was && (by & world->left) && deleted && !(deleted & by) && !(deleted & ~world->left))
      g_array_append_val(world->maybe, key);
  }
}

static gboolean
is_excused(const World *world, guint key)
{
  for (guint i = 0; i < world->maybe->len; i++)
    if (g_array_index(world->maybe, guint, i) == key)
      return TRUE;
  return FALSE;
}

/* The server shows some members another history from here on, or loses its end: then all of them have that.
 */
static void
part(World *world)
{
  guint count = world->room.members->len;
  gboolean rollback = g_rand_int_range(world->rand, 0, 4) == 0;
  Server *left = world->room.server;
  guint64 length = server_length(left);
  guint64 lost = rollback ? (guint64)g_rand_int_range(world->rand, 0, 12) : 0;
  /* Not the entries that made the members. */
  Server *follow = server_fork(left, MAX(length - MIN(lost, length), count));
  g_autoptr(GArray) common = counts_at(world, follow);
  world->left = rollback ? (1u << count) - 1 : (guint)g_rand_int_range(world->rand, 1, 1 << count);
  for (guint i = 0; i < count; i++) {
    GBytes *flight = doc_document_flight(room_member(&world->room, i)->doc);
    if (flight)
      g_ptr_array_add(world->flights, flight);
  }
  for (guint i = 0; i < 150; i++) {
    guint who = (guint)g_rand_int_range(world->rand, 0, (gint32)count);
    gboolean leaves = (world->left >> who & 1) ||
                      doc_document_number(room_member(&world->room, who)->doc) > server_length(follow);
    step(world, who, leaves ? left : follow);
    if (world->flights->len > 0 && g_rand_int_range(world->rand, 0, 10) == 0)
      server_submit(follow,
                    world->flights->pdata[g_rand_int_range(world->rand, 0, (gint32)world->flights->len)]);
  }
  excuse(world, common);
  for (guint i = 0; i < count; i++)
    if (world->left >> i & 1)
      go_over(room_member(&world->room, i), follow);
  g_ptr_array_set_size(world->flights, 0);
  server_free(left);
  world->room.server = follow;
}

static void
assert_counts(const World *world)
{
  g_autofree char *same = assert_same(world->room.members);
  g_autoptr(GArray) counts =
      keyboard_counts(&world->keyboard, doc_document_text(room_member(&world->room, 0)->doc));
  for (guint key = 0; key < world->keyboard.typed; key++) {
    guint count = g_array_index(counts, guint, key);
    if (is_excused(world, key))
      g_assert_cmpuint(count, <=, 1);
    else
      g_assert_cmpuint(count, ==, !g_array_index(world->keyboard.deleted, guint, key));
  }
}

static void
test_schedules(void)
{
  guint64 first = from_environment("DOPPEL_DOC_SEED", 1), cases = from_environment("DOPPEL_DOC_CASES", 10);
  g_test_message("seeds %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, first, first + cases - 1);
  for (guint64 seed = first; seed < first + cases; seed++) {
    World world = {.room = room_new(5), .rand = g_rand_new_with_seed((guint32)seed)};
    keyboard_init(&world.keyboard);
    world.flights = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    world.maybe = g_array_new(FALSE, FALSE, sizeof(guint));
    for (guint round = 0; round < 3; round++) {
      for (guint i = 0; i < 60; i++)
        step(&world, (guint)g_rand_int_range(world.rand, 0, 5), world.room.server);
      part(&world);
    }
    settle(world.room.members, world.room.server);
    assert_counts(&world);
    room_clear(&world.room);
    keyboard_clear(&world.keyboard);
    g_ptr_array_unref(world.flights);
    g_array_unref(world.maybe);
    g_rand_free(world.rand);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/document-recover/fork", test_fork);
  g_test_add_func("/document-recover/flight-in-both", test_flight_in_both);
  g_test_add_func("/document-recover/void-here-good-there", test_void_here_good_there);
  g_test_add_func("/document-recover/refused", test_refused);
  g_test_add_func("/document-recover/schedules", test_schedules);
  return g_test_run();
}
