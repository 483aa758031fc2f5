/* What a replica keeps of a document, as bytes that anybody may have changed. */
#include <string.h>

#include "base/error.h"
#include "doc_room.h"

/* A replica with something of everything: a flight, pending edits, a change and a checkpoint to be made. */
static Room
busy_room(void)
{
  Room room = room_new(3);
  Member *ann = room_member(&room, 0);
  member_type_at(room_member(&room, 1), 0, "text ");
  member_change(ann, room_member(&room, 2), DOC_NONE, 1);
  settle(room.members, room.server);
  member_type_at(ann, 0, "in flight ");
  g_autoptr(GBytes) flight = doc_document_submit(ann->doc);
  member_type_at(ann, 0, "pending ");
  g_autoptr(Member) eve = member_new(9);
  member_change(ann, eve, DOC_READER, 2);
  g_assert_true(doc_document_checkpoint(ann->doc, NULL));
  member_save(ann);
  return room;
}

/* All that was there is there again. */
static void
test_all(void)
{
  g_auto(Room) room = busy_room();
  Member *ann = room_member(&room, 0);
  g_autofree char *before = member_text(ann);
  guint64 number = doc_document_number(ann->doc);
  g_autoptr(GBytes) flight = doc_document_flight(ann->doc);
  member_restart(ann);
  g_autofree char *after = member_text(ann);
  g_autoptr(GBytes) again = doc_document_flight(ann->doc);
  g_assert_cmpstr(before, ==, after);
  g_assert_true(g_bytes_equal(flight, again));
  g_assert_cmpuint(doc_document_number(ann->doc), ==, number);
  settle(room.members, room.server);
  DocCheckpoint at;
  g_autofree char *text = assert_same(room.members);
  g_assert_cmpstr(text, ==, "pending in flight text ");
  g_assert_true(doc_document_last_checkpoint(ann->doc, &at));
  g_autoptr(Member) eve = member_new(9);
  g_assert_cmpint(doc_history_role(doc_document_history(ann->doc), identity_key_public(eve->key)), ==,
                  DOC_READER);
}

/* Another's key opens none of it. */
static void
test_other_key(void)
{
  g_auto(Room) room = busy_room();
  gsize length;
  const void *bytes = g_bytes_get_data(room_member(&room, 0)->disk, &length);
  g_autoptr(GError) error = NULL;
  g_assert_null(doc_document_load(room_member(&room, 1)->key, bytes, length, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

/* Whatever is loaded can be worked with: it types, and takes what comes or says why not. */
static void
work(const Room *room, DocDocument *doc)
{
  g_autoptr(OtOp) op = ot_op_new_edit(0, 0, "x", 1);
  g_autoptr(GBytes) saved = NULL;
  if (doc_document_edit(doc, op, NULL))
    g_assert_cmpuint(ot_text_length(doc_document_text(doc)), >, 0);
  for (guint64 number = doc_document_number(doc) + 1; number <= server_length(room->server); number++) {
    g_auto(DocTaken) taken = {0};
    gsize length;
    const void *bytes = g_bytes_get_data(server_entry(room->server, number), &length);
    if (!doc_document_take(doc, number, bytes, length, &taken, NULL))
      break;
  }
  g_autoptr(GBytes) entry = doc_document_submit(doc);
  saved = doc_document_save(doc);
  g_assert_nonnull(saved);
}

static void
test_bits(void)
{
  g_auto(Room) room = busy_room();
  Member *ann = room_member(&room, 0);
  member_type_at(room_member(&room, 1), 0, "more ");
  member_send(room_member(&room, 1), room.server);
  gsize length;
  const guint8 *bytes = g_bytes_get_data(ann->disk, &length);
  g_autofree guint8 *changed = g_memdup2(bytes, length);
  for (gsize bit = 0; bit < length * 8; bit += 3) {
    changed[bit / 8] ^= (guint8)(1 << bit % 8);
    g_autoptr(DocDocument) doc = doc_document_load(ann->key, changed, length, NULL);
    if (doc)
      work(&room, doc);
    changed[bit / 8] ^= (guint8)(1 << bit % 8);
  }
  for (gsize cut = 0; cut < length; cut++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(DocDocument) doc = doc_document_load(ann->key, bytes, cut, &error);
    g_assert_null(doc);
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  }
}

/* What is damaged leaves the replica without anything of its own; what is of another place leaves all. */
static void
test_own(void)
{
  g_auto(Room) room = busy_room();
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1);
  g_autoptr(GBytes) own = doc_document_save_own(ann->doc), bobs = doc_document_save_own(bob->doc);
  gsize length;
  const guint8 *bytes = g_bytes_get_data(own, &length);
  g_autofree guint8 *changed = g_memdup2(bytes, length);
  guint64 number;
  for (gsize bit = 0; bit < length * 8; bit++) {
    changed[bit / 8] ^= (guint8)(1 << bit % 8);
    member_restart(ann);
    if (!doc_own_number(changed, length, &number, NULL) || number == doc_document_number(ann->doc))
      doc_document_load_own(ann->doc, changed, length, NULL);
    work(&room, ann->doc);
    changed[bit / 8] ^= (guint8)(1 << bit % 8);
  }
  /* Somebody else's entry is not in flight here. */
  g_autoptr(GError) error = NULL;
  g_assert_false(doc_document_load_own(bob->doc, bytes, length, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_true(doc_document_is_settled(bob->doc));
  g_clear_error(&error);
  member_type_at(bob, 0, "x");
  settle(room.members, room.server);
  bytes = g_bytes_get_data(bobs, &length);
  g_assert_false(doc_document_load_own(bob->doc, bytes, length, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_autofree char *text = member_text(bob);
  g_assert_cmpstr(text, ==, bob->editor->str);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/document-state/all", test_all);
  g_test_add_func("/document-state/other-key", test_other_key);
  g_test_add_func("/document-state/bits", test_bits);
  g_test_add_func("/document-state/own", test_own);
  return g_test_run();
}
