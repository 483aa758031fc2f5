/* Checkpoints: who is new begins with one, and a lie is seen by all who were there. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/document_wire.h"
#include "doc_room.h"

static const void *
entry_at(const Room *room, guint64 number, gsize *length)
{
  return g_bytes_get_data(server_entry(room->server, number), length);
}

static void
write_many(const Room *room, guint entries)
{
  for (guint i = 0; i < entries; i++) {
    Member *member = room_member(room, i % room->members->len);
    member_type_at(member, MIN(i % 7, ot_text_length(doc_document_text(member->doc))), "xyz");
    member_send(member, room->server);
    if (i % 3 == 0)
      member_read(member, room->server, G_MAXUINT64);
  }
  settle(room->members, room->server);
}

static DocCheckpoint
make_checkpoint(const Room *room, Member *by)
{
  GError *error = NULL;
  DocCheckpoint checkpoint;
  doc_document_checkpoint(by->doc, &error);
  g_assert_no_error(error);
  settle(room->members, room->server);
  for (guint i = 0; i < room->members->len; i++) {
    g_assert_true(doc_document_last_checkpoint(room_member(room, i)->doc, &checkpoint));
    g_assert_cmpuint(checkpoint.number, ==, server_length(room->server));
  }
  return checkpoint;
}

/* A member who is new, with keys, and nothing else yet. */
static Member *
invite(Room *room)
{
  Member *eve = member_new(room->members->len);
  member_change(room_member(room, 0), eve, DOC_WRITER, 1);
  settle(room->members, room->server);
  member_join(eve, room->server);
  return eve;
}

static void
start(Member *member, const Room *room, const DocCheckpoint *checkpoint)
{
  GError *error = NULL;
  gsize length;
  const void *bytes = entry_at(room, checkpoint->number, &length);
  doc_document_start(member->doc, checkpoint, bytes, length, &error);
  g_assert_no_error(error);
  g_autofree char *text = member_text(member);
  g_string_assign(member->editor, text);
}

/* From it, all goes as from the first entry; also what is based before it, and what came before its place. */
static void
test_start(void)
{
  for (guint late = 0; late < 2; late++) {
    g_auto(Room) room = room_new(4);
    write_many(&room, DOC_BEHIND_MAX + 300);
    Member *eve = invite(&room), *bob = room_member(&room, 1), *carl = room_member(&room, 2);
    /* Edits that are on the way while the checkpoint is made. */
    member_type_at(bob, 3, "before ");
    g_autoptr(GBytes) early = doc_document_submit(bob->doc);
    member_type_at(room_member(&room, 3), 0, "beside ");
    g_assert_true(doc_document_checkpoint(carl->doc, NULL));
    g_autoptr(GBytes) checkpoint = doc_document_submit(carl->doc);
    g_assert_true(server_submit(room.server, early));
    if (late)
      member_send(room_member(&room, 3), room.server);
    g_assert_true(server_submit(room.server, checkpoint));
    settle(room.members, room.server);
    DocCheckpoint at;
    g_assert_true(doc_document_last_checkpoint(room_member(&room, 0)->doc, &at));
    start(eve, &room, &at);
    g_assert_cmpuint(doc_document_number(eve->doc), <, at.number);
    g_assert_null(doc_document_submit(eve->doc)); /* before it is met in the history */
    member_save(eve);
    member_restart(eve);
    g_ptr_array_add(room.members, eve);
    settle(room.members, room.server);
    member_type_at(eve, 5, "eve ");
    write_many(&room, 40);
    g_autofree char *text = assert_same(room.members);
    g_assert_nonnull(strstr(text, "before "));
    /* She makes one that the others find true, and can tell theirs. */
    make_checkpoint(&room, eve);
    make_checkpoint(&room, bob);
  }
}

static void
assert_start_refused(Member *member, const DocCheckpoint *at, const void *bytes, gsize length, gint code)
{
  g_autoptr(GError) error = NULL;
  g_assert_false(doc_document_start(member->doc, at, bytes, length, &error));
  g_assert_error(error, DOPPEL_ERROR, code);
  g_assert_cmpuint(doc_document_number(member->doc), ==, 0);
}

/* Another entry than the one that was named, and one that its author never signed. */
static void
test_other_entry(void)
{
  g_auto(Room) room = room_new(2);
  write_many(&room, 10);
  g_autoptr(Member) eve = invite(&room);
  DocCheckpoint at = make_checkpoint(&room, room_member(&room, 0)), edit = at;
  gsize length;
  const void *bytes = entry_at(&room, 3, &length);
  assert_start_refused(eve, &at, bytes, length, DOPPEL_ERROR_DENIED);
  g_autoptr(DocEnvelope) other = doc_envelope_decode(bytes, length, NULL);
  doc_entry_digest(other, &edit.digest);
  assert_start_refused(eve, &edit, bytes, length, DOPPEL_ERROR_HOSTILE);
  bytes = entry_at(&room, at.number, &length);
  g_autofree guint8 *changed = g_memdup2(bytes, length);
  changed[length - 5] ^= 1;
  g_autoptr(DocEnvelope) forged = doc_envelope_decode(changed, length, NULL);
  doc_entry_digest(forged, &edit.digest);
  edit.number = at.number;
  assert_start_refused(eve, &edit, changed, length, DOPPEL_ERROR_HOSTILE);
  start(eve, &room, &at);
  g_autoptr(GError) error = NULL;
  g_assert_false(doc_document_start(eve->doc, &at, bytes, length, &error)); /* she has begun */
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
}

/* One that the member who vouched for it has, but the server's history has not. */
static void
test_not_in_history(void)
{
  g_auto(Room) room = room_new(2);
  write_many(&room, 10);
  g_autoptr(Member) eve = invite(&room);
  Member *ann = room_member(&room, 0);
  g_assert_true(doc_document_checkpoint(ann->doc, NULL));
  g_autoptr(GBytes) entry = doc_document_submit(ann->doc);
  DocCheckpoint at = {server_length(room.server) + 1, {{0}}};
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
  doc_entry_digest(envelope, &at.digest);
  g_assert_true(doc_document_start(eve->doc, &at, bytes, length, NULL));
  member_type_at(room_member(&room, 1), 0, "instead ");
  member_send(room_member(&room, 1), room.server);
  g_auto(DocTaken) taken = {0};
  g_autoptr(GError) error = NULL;
  bytes = entry_at(&room, at.number, &length);
  g_autofree char *before = member_text(eve);
  g_assert_false(doc_document_take(eve->doc, at.number, bytes, length, &taken, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_cmpint(doc_history_fault(doc_document_history(eve->doc)), ==, DOC_FAULT_FORK);
  g_autofree char *after = member_text(eve);
  g_assert_cmpstr(before, ==, after);
}

/* ---- lies ---- */

typedef enum { ANOTHER_TEXT, ANOTHER_ROLE, ANOTHER_OPERATION, NOTHING, LIES } Lie;

static void
change_role(Doppel__Wire__DocCheckpointBody *body, GBytes **kept)
{
  Doppel__Wire__DocHistoryState *history =
      doppel__wire__doc_history_state__unpack(NULL, body->history.len, body->history.data);
  for (gsize i = 0; i < history->n_authors; i++)
    history->authors[i]->member->role = DOPPEL__WIRE__DOC_ROLE__DOC_OWNER;
  *kept = wire_pack(&history->base);
  doppel__wire__doc_history_state__free_unpacked(history, NULL);
  g_free(body->history.data);
  body->history.data = NULL;
  body->history = wire_borrow_bytes(*kept);
}

static GBytes *
lying_body(const Member *member, Lie lie)
{
  g_autoptr(GBytes) body = doc_document_checkpoint_body(member->doc), history = NULL;
  gsize length;
  const guint8 *bytes = g_bytes_get_data(body, &length);
  if (lie == NOTHING)
    return g_bytes_new("x", 1);
  Doppel__Wire__DocCheckpointBody *wire = doppel__wire__doc_checkpoint_body__unpack(NULL, length, bytes);
  if (lie == ANOTHER_TEXT)
    wire->text.data[wire->text.len / 2] ^= 1;
  if (lie == ANOTHER_OPERATION) {
    ProtobufCBinaryData *operation = &wire->done[wire->n_done - 1]->operation;
    operation->data[operation->len - 1] ^= 1;
  }
  if (lie == ANOTHER_ROLE)
    change_role(wire, &history);
  GBytes *lying = wire_pack(&wire->base);
  if (history)
    wire->history = (ProtobufCBinaryData){0};
  doppel__wire__doc_checkpoint_body__free_unpacked(wire, NULL);
  return lying;
}

/* All who were there say that it is one, and pass on another; their text stays what it is. */
static void
test_lies(void)
{
  for (Lie lie = 0; lie < LIES; lie++) {
    g_auto(Room) room = room_new(3);
    write_many(&room, 20);
    DocCheckpoint before = make_checkpoint(&room, room_member(&room, 1)), after;
    g_autofree char *text = member_text(room_member(&room, 0));
    const Member *liar = room_member(&room, 2);
    g_autoptr(GBytes) body = lying_body(liar, lie);
    gsize length;
    const void *bytes = g_bytes_get_data(body, &length);
    g_autoptr(GBytes) entry = member_seal(liar, DOC_CHECKPOINT, bytes, length);
    /* Others write meanwhile. */
    member_type_at(room_member(&room, 1), 0, "> ");
    member_send(room_member(&room, 1), room.server);
    g_assert_true(server_submit(room.server, entry));
    Member *ann = room_member(&room, 0);
    member_read(ann, room.server, 1);
    g_auto(DocTaken) taken = {0};
    g_autoptr(GError) error = NULL;
    bytes = entry_at(&room, server_length(room.server), &length);
    doc_document_take(ann->doc, server_length(room.server), bytes, length, &taken, &error);
    g_assert_no_error(error);
    g_assert_cmpint(taken.verdict, ==, DOC_GOOD);
    g_assert_true(taken.lie);
    g_assert_true(doc_document_last_checkpoint(ann->doc, &after));
    g_assert_cmpuint(before.number, ==, after.number);
    g_assert_true(identity_public_equal(&taken.author, identity_key_public(liar->key)));
    g_autofree char *now = member_text(ann);
    g_assert_cmpstr(now + 2, ==, text);
    member_type_at(ann, 0, "<");
    member_send(ann, room.server);
    g_assert_true(doc_document_is_settled(ann->doc) || doc_document_flight(ann->doc) != NULL);
  }
}

/* While members change, a checkpoint is void, and made anew. */
static void
test_beside_a_change(void)
{
  g_auto(Room) room = room_new(3);
  write_many(&room, 10);
  Member *ann = room_member(&room, 0), *bob = room_member(&room, 1);
  g_assert_true(doc_document_checkpoint(bob->doc, NULL));
  g_autoptr(GBytes) flight = doc_document_submit(bob->doc);
  member_save(bob);
  member_restart(bob);
  member_change(ann, room_member(&room, 2), DOC_NONE, 1);
  member_send(ann, room.server);
  g_assert_true(server_submit(room.server, flight));
  settle(room.members, room.server);
  DocCheckpoint at;
  g_assert_true(doc_document_last_checkpoint(ann->doc, &at));
  g_assert_cmpuint(at.number, ==, server_length(room.server));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/document-checkpoint/start", test_start);
  g_test_add_func("/document-checkpoint/other-entry", test_other_entry);
  g_test_add_func("/document-checkpoint/not-in-history", test_not_in_history);
  g_test_add_func("/document-checkpoint/lies", test_lies);
  g_test_add_func("/document-checkpoint/beside-a-change", test_beside_a_change);
  return g_test_run();
}
