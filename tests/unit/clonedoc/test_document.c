/* Replicas of a document around one server: all of them come to one text, with every keystroke in it once,
 * whatever is lost, doubled or killed. */
#include <string.h>

#include "base/error.h"
#include "doc_room.h"

static void
assert_text(const Room *room, const char *text)
{
  g_autofree char *same = assert_same(room->members);
  g_assert_cmpstr(same, ==, text);
}

/* What was typed and not deleted is there once, what was deleted is not. */
static void
assert_once(const Room *room, const Keyboard *keyboard)
{
  g_autofree char *same = assert_same(room->members);
  g_autoptr(GArray) counts = keyboard_counts(keyboard, doc_document_text(room_member(room, 0)->doc));
  for (guint key = 0; key < keyboard->typed; key++)
    g_assert_cmpuint(g_array_index(counts, guint, key), ==, !g_array_index(keyboard->deleted, guint, key));
}

/* ---- by hand ---- */

static void
test_first_comes_first(void)
{
  g_auto(Room) room = room_new(3);
  member_type_at(room_member(&room, 1), 0, "one ");
  member_type_at(room_member(&room, 2), 0, "two ");
  member_type_at(room_member(&room, 0), 0, "three ");
  member_send(room_member(&room, 1), room.server);
  member_send(room_member(&room, 2), room.server);
  member_send(room_member(&room, 0), room.server);
  settle(room.members, room.server);
  assert_text(&room, "one two three ");
}

/* It is shown in that order before it is sent, too. */
static void
test_first_is_shown_first(void)
{
  g_auto(Room) room = room_new(2);
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1);
  member_type_at(bob, 0, "pending");
  member_type_at(ann, 0, "first ");
  member_send(ann, room.server);
  member_read(bob, room.server, 1);
  g_autofree char *shown = member_text(bob);
  g_assert_cmpstr(shown, ==, "first pending");
  g_autoptr(GBytes) flight = doc_document_submit(bob->doc);
  member_read(ann, room.server, 1);
  member_type_at(ann, 6, "second ");
  member_send(ann, room.server);
  member_read(bob, room.server, 1);
  g_autofree char *later = member_text(bob);
  g_assert_cmpstr(later, ==, "first second pending");
  settle(room.members, room.server);
  assert_text(&room, "first second pending");
}

/* What is typed while an entry is in flight goes in one, behind it; the same bytes are sent again. */
static void
test_one_in_flight(void)
{
  g_auto(Room) room = room_new(2);
  Member *bob = room_member(&room, 1);
  guint64 before = server_length(room.server);
  member_type_at(bob, 0, "a");
  g_autoptr(GBytes) flight = doc_document_submit(bob->doc);
  g_assert_nonnull(flight);
  for (guint i = 1; i < 10; i++)
    member_type_at(bob, i, "b");
  g_assert_null(doc_document_submit(bob->doc));
  member_save(bob);
  member_restart(bob);
  g_autoptr(GBytes) again = doc_document_flight(bob->doc);
  g_assert_true(g_bytes_equal(flight, again));
  g_assert_true(server_submit(room.server, again));
  g_assert_false(server_submit(room.server, again));
  settle(room.members, room.server);
  g_assert_cmpuint(server_length(room.server), ==, before + 2);
  assert_text(&room, "abbbbbbbbb");
}

/* Who creates a document types at once. */
static void
test_types_before_the_first(void)
{
  g_autoptr(GPtrArray) members = g_ptr_array_new_with_free_func((GDestroyNotify)member_free);
  Member *ann = member_new(0);
  g_ptr_array_add(members, ann);
  member_begin(ann, doc_document_create(ann->key, identity_key_public(ann->user)));
  member_type_at(ann, 0, "early");
  member_save(ann);
  member_restart(ann);
  g_autoptr(Server) server = server_new(doc_document_name(ann->doc));
  settle(members, server);
  g_autofree char *text = assert_same(members);
  g_assert_cmpstr(text, ==, "early");
  g_assert_cmpuint(server_length(server), ==, 2);
}

/* A long text goes in entries of a size that a server takes, between which others write. */
static void
test_long_edit(void)
{
  g_auto(Room) room = room_new(2);
  g_autoptr(GString) text = g_string_new(NULL);
  guint64 before = server_length(room.server);
  for (guint i = 0; text->len < 3 * DOC_EDIT_MAX + 1000; i++)
    g_string_append_unichar(text, 0x20 + i % 0xd000);
  member_type_at(room_member(&room, 0), 0, text->str);
  member_send(room_member(&room, 0), room.server);
  member_type_at(room_member(&room, 1), 0, "<");
  settle(room.members, room.server);
  g_assert_cmpuint(server_length(room.server) - before, ==, 5);
  g_autofree char *same = assert_same(room.members);
  g_assert_true(g_utf8_validate(same, -1, NULL));
  g_assert_cmpuint(strlen(same), ==, text->len + 1);
}

/* An operation that reaches beyond the text, or is none, changes nothing for anybody. */
static void
test_nonsense(void)
{
  g_auto(Room) room = room_new(3);
  Member *bob = room_member(&room, 1);
  member_type_at(room_member(&room, 0), 0, "sense");
  settle(room.members, room.server);
  const char *bodies[] = {"\xff\xff\xff", "\x80\x10\x06z", "", "\x06z\x06z"};
  guint unread = 0;
  for (guint i = 0; i < G_N_ELEMENTS(bodies); i++) {
    g_autoptr(GBytes) entry = member_seal(bob, DOC_EDIT, bodies[i], strlen(bodies[i]));
    unread += bodies[i][0] != 0;
    g_assert_true(server_submit(room.server, entry));
    settle(room.members, room.server);
  }
  g_assert_cmpuint(doc_document_unread(room_member(&room, 0)->doc), ==, unread);
  member_type_at(room_member(&room, 2), 5, "!");
  settle(room.members, room.server);
  assert_text(&room, "sense!");
}

static void
assert_edit_refused(const Member *member, gsize place, DoppelErrorCode code)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) op = ot_op_new_edit(place, 0, "x", 1);
  g_assert_false(doc_document_edit(member->doc, op, &error));
  g_assert_error(error, DOPPEL_ERROR, (gint)code);
}

static void
test_edit_refused(void)
{
  g_auto(Room) room = room_new(2);
  DocMember reader = member_as(room_member(&room, 1), DOC_READER);
  assert_edit_refused(room_member(&room, 1), 1, DOPPEL_ERROR_HOSTILE);
  g_assert_true(doc_document_change(room_member(&room, 0)->doc, &reader, 1, NULL));
  settle(room.members, room.server);
  assert_edit_refused(room_member(&room, 1), 0, DOPPEL_ERROR_DENIED);
  assert_text(&room, "");
}

/* An entry that was made too long ago is void, and its member makes it anew. */
static void
test_old_flight(void)
{
  g_auto(Room) room = room_new(2);
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1);
  member_type_at(bob, 0, "bob");
  g_autoptr(GBytes) flight = doc_document_submit(bob->doc);
  for (guint i = 0; i <= DOC_BEHIND_MAX; i++) {
    member_type_at(ann, i, "a");
    member_send(ann, room.server);
    member_read(ann, room.server, 1);
  }
  member_read(bob, room.server, 700);
  member_save(bob);
  member_restart(bob);
  g_assert_true(server_submit(room.server, flight));
  member_read(bob, room.server, DOC_BEHIND_MAX - 699);
  g_assert_cmpint(member_take(bob, room.server, server_length(room.server)), ==, DOC_VOID_OLD);
  settle(room.members, room.server);
  g_autofree char *text = assert_same(room.members);
  g_assert_cmpuint(strlen(text), ==, DOC_BEHIND_MAX + 1 + 3);
  g_assert_nonnull(strstr(text, "bob"));
}

/* What is known already may come again; something else at its place may not. */
static void
test_again(void)
{
  g_auto(Room) room = room_new(2);
  Member *ann = room_member(&room, 0);
  member_type_at(ann, 0, "a");
  settle(room.members, room.server);
  guint64 last = server_length(room.server);
  gsize length;
  const void *bytes = g_bytes_get_data(server_entry(room.server, last), &length);
  g_auto(DocTaken) taken = {0};
  g_autoptr(GError) error = NULL;
  g_assert_true(doc_document_take(ann->doc, last, bytes, length, &taken, &error));
  g_assert_true(taken.again);
  g_assert_false(doc_document_take(ann->doc, last - 1, bytes, length, &taken, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_cmpint(doc_history_fault(doc_document_history(ann->doc)), ==, DOC_FAULT_REPLAYED);
  /* Afterwards there is nothing to send, but what is typed stays. */
  member_type_at(ann, 0, "b");
  g_assert_null(doc_document_submit(ann->doc));
  member_save(ann);
  member_restart(ann);
  g_assert_cmpint(doc_history_fault(doc_document_history(ann->doc)), ==, DOC_FAULT_REPLAYED);
  g_autofree char *text = member_text(ann);
  g_assert_cmpstr(text, ==, "ba");
}

/* Bytes that are no entry end it, too. */
static void
test_damaged(void)
{
  g_auto(Room) room = room_new(1);
  Member *ann = room_member(&room, 0);
  g_auto(DocTaken) taken = {0};
  g_autoptr(GError) error = NULL;
  g_assert_false(doc_document_take(ann->doc, server_length(room.server) + 1, "x", 1, &taken, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_cmpint(doc_history_fault(doc_document_history(ann->doc)), ==, DOC_FAULT_DAMAGED);
}

/* ---- by chance ---- */

/* What somebody keeps who saves all of it seldom, and its own each time. */
typedef struct {
  GBytes *all, *own;
} Kept;

static void
kept_clear(gpointer data)
{
  Kept *kept = data;
  g_clear_pointer(&kept->all, g_bytes_unref);
  g_clear_pointer(&kept->own, g_bytes_unref);
}

static void
keep_own(Kept *kept, const Member *member)
{
  g_clear_pointer(&kept->own, g_bytes_unref);
  kept->own = doc_document_save_own(member->doc);
}

static void
keep_all(Kept *kept, const Member *member)
{
  kept_clear(kept);
  kept->all = doc_document_save(member->doc);
  keep_own(kept, member);
}

/* Begins with what was saved, the entries since, and its own. */
static void
replay(Member *member, const Kept *kept, const Server *server)
{
  GError *error = NULL;
  guint64 number;
  gsize length;
  const void *bytes = g_bytes_get_data(kept->all, &length);
  doc_document_free(member->doc);
  member->doc = doc_document_load(member->key, bytes, length, &error);
  g_assert_no_error(error);
  bytes = g_bytes_get_data(kept->own, &length);
  g_assert_true(doc_own_number(bytes, length, &number, &error));
  while (doc_document_number(member->doc) < number) {
    g_auto(DocTaken) taken = {0};
    guint64 next = doc_document_number(member->doc) + 1;
    gsize size;
    const void *entry = g_bytes_get_data(server_entry(server, next), &size);
    doc_document_take(member->doc, next, entry, size, &taken, &error);
    g_assert_no_error(error);
  }
  doc_document_load_own(member->doc, bytes, length, &error);
  g_assert_no_error(error);
  g_autofree char *text = member_text(member);
  g_string_assign(member->editor, text);
}

static void
step(Room *room, Keyboard *keyboard, GArray *kept, GRand *rand)
{
  guint index = (guint)g_rand_int_range(rand, 0, (gint32)room->members->len);
  Member *member = room_member(room, index);
  Kept *keeps = &g_array_index(kept, Kept, index);
  gboolean seldom = index % 2;
  guint64 last = doc_document_number(member->doc);
  g_autoptr(GBytes) flight = NULL;
  switch (g_rand_int_range(rand, 0, 12)) {
  case 0 ... 3:
    member_type(member, keyboard, rand, (guint)g_rand_int_range(rand, 1, 4));
    break;
  case 4:
    member_delete(member, keyboard, rand, (guint)g_rand_int_range(rand, 1, 5));
    break;
  case 5: /* sent, and lost on the way */
    flight = doc_document_submit(member->doc);
    break;
  case 6 ... 7:
    keep_own(keeps, member);
    flight = doc_document_submit(member->doc);
    if (!flight)
      flight = doc_document_flight(member->doc);
    /* Kept before it is sent. */
    keep_own(keeps, member);
    member_save(member);
    if (flight) {
      server_submit(room->server, flight);
      g_assert_false(server_submit(room->server, flight));
    }
    return;
  case 8: /* once more what was there */
    if (last > 1)
      member_take(member, room->server, last - (guint64)g_rand_int_range(rand, 0, MIN((gint32)last, 9)));
    return;
  case 9: /* ends, and begins with what was kept */
    if (seldom)
      replay(member, keeps, room->server);
    else
      member_restart(member);
    return;
  default: /* what is taken comes again after an end, and is not kept */
    member_read(member, room->server, (guint64)g_rand_int_range(rand, 1, 6));
    return;
  }
  if (g_rand_int_range(rand, 0, 30) == 0)
    keep_all(keeps, member);
  keep_own(keeps, member);
  member_save(member);
}

static void
schedule(guint64 seed)
{
  GRand *rand = g_rand_new_with_seed((guint32)seed);
  g_auto(Room) room = room_new((guint)g_rand_int_range(rand, 2, 9));
  g_auto(Keyboard) keyboard;
  g_autoptr(GArray) kept = g_array_new(FALSE, TRUE, sizeof(Kept));
  g_array_set_clear_func(kept, kept_clear);
  g_array_set_size(kept, room.members->len);
  keyboard_init(&keyboard);
  for (guint i = 0; i < room.members->len; i++) {
    keep_all(&g_array_index(kept, Kept, i), room_member(&room, i));
    member_save(room_member(&room, i));
  }
  for (guint i = 0; i < 300; i++)
    step(&room, &keyboard, kept, rand);
  settle(room.members, room.server);
  assert_once(&room, &keyboard);
  g_rand_free(rand);
}

static void
test_schedules(void)
{
  guint64 first = from_environment("DOPPEL_DOC_SEED", 1), cases = from_environment("DOPPEL_DOC_CASES", 30);
  g_test_message("seeds %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, first, first + cases - 1);
  for (guint64 seed = first; seed < first + cases; seed++)
    schedule(seed);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/document/first-comes-first", test_first_comes_first);
  g_test_add_func("/document/first-is-shown-first", test_first_is_shown_first);
  g_test_add_func("/document/one-in-flight", test_one_in_flight);
  g_test_add_func("/document/types-before-the-first", test_types_before_the_first);
  g_test_add_func("/document/long-edit", test_long_edit);
  g_test_add_func("/document/nonsense", test_nonsense);
  g_test_add_func("/document/edit-refused", test_edit_refused);
  g_test_add_func("/document/old-flight", test_old_flight);
  g_test_add_func("/document/again", test_again);
  g_test_add_func("/document/damaged", test_damaged);
  g_test_add_func("/document/schedules", test_schedules);
  return g_test_run();
}
