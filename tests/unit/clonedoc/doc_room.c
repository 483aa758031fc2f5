#include "doc_room.h"

#include <string.h>

#include "base/error.h"
#include "clonedoc/document_struct.h"

/* ---- the server ---- */

Server *
server_new(const DocName *document)
{
  Server *server = g_new0(Server, 1);
  server->entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  server->verdicts = g_array_new(FALSE, FALSE, sizeof(DocVerdict));
  server->history = doc_history_new(document);
  return server;
}

void
server_free(Server *server)
{
  g_ptr_array_unref(server->entries);
  g_array_unref(server->verdicts);
  doc_history_free(server->history);
  g_free(server);
}

Server *
server_fork(const Server *server, guint64 count)
{
  Server *fork = server_new(doc_history_document(server->history));
  for (guint64 i = 0; i < count; i++)
    g_assert_true(server_submit(fork, server->entries->pdata[i]));
  return fork;
}

gboolean
server_submit(Server *server, GBytes *entry)
{
  GError *error = NULL;
  DocVerdict verdict = DOC_GOOD;
  DocFault fault;
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, &error);
  g_assert_no_error(error);
  if (!doc_history_would_take(server->history, envelope, &verdict, &fault) || verdict == DOC_VOID_STRANGER)
    return FALSE;
  doc_history_take(server->history, server_length(server) + 1, envelope, &verdict, &error);
  g_assert_no_error(error);
  g_ptr_array_add(server->entries, g_bytes_ref(entry));
  g_array_append_val(server->verdicts, verdict);
  return TRUE;
}

guint64
server_length(const Server *server)
{
  return server->entries->len;
}

GBytes *
server_entry(const Server *server, guint64 number)
{
  return server->entries->pdata[number - 1];
}

/* ---- what was typed ---- */

void
keyboard_init(Keyboard *keyboard)
{
  *keyboard = (Keyboard){0, g_array_new(FALSE, TRUE, sizeof(guint)), g_array_new(FALSE, TRUE, sizeof(guint))};
}

void
keyboard_clear(Keyboard *keyboard)
{
  g_clear_pointer(&keyboard->by, g_array_unref);
  g_clear_pointer(&keyboard->deleted, g_array_unref);
}

/* Of three and four bytes of UTF-8. */
gunichar
keyboard_char(guint key)
{
  return 0xf000 + key < 0xfff0 ? 0xf000 + key : 0x10000 + key;
}

static guint
key_of(gunichar c)
{
  return c < 0x10000 ? c - 0xf000 : c - 0x10000;
}

GArray *
keyboard_counts(const Keyboard *keyboard, const OtText *text)
{
  GArray *counts = g_array_new(FALSE, TRUE, sizeof(guint));
  g_array_set_size(counts, keyboard->typed);
  g_autofree char *utf8 = ot_text_copy(text, 0, ot_text_length(text), NULL);
  for (const char *at = utf8; *at; at = g_utf8_next_char(at)) {
    guint key = key_of(g_utf8_get_char(at));
    g_assert_cmpuint(key, <, keyboard->typed);
    g_array_index(counts, guint, key)++;
  }
  return counts;
}

/* ---- members ---- */

Member *
member_new(guint number)
{
  guint8 seed[IDENTITY_SEED_LENGTH];
  Member *member = g_new0(Member, 1);
  memset(seed, (int)number + 1, sizeof seed);
  member->number = number;
  member->key = identity_key_from_seed(seed);
  seed[0] ^= 0x80;
  member->user = identity_key_from_seed(seed);
  member->editor = g_string_new(NULL);
  return member;
}

void
member_free(Member *member)
{
  identity_key_free(member->key);
  identity_key_free(member->user);
  doc_document_free(member->doc);
  g_clear_pointer(&member->disk, g_bytes_unref);
  g_string_free(member->editor, TRUE);
  g_free(member);
}

DocMember
member_as(const Member *member, DocRole role)
{
  return (DocMember){*identity_key_public(member->user), *identity_key_public(member->key), role};
}

static void
show(Member *member, const OtOp *op)
{
  g_autoptr(OtText) text = ot_text_new();
  gsize bytes;
  ot_text_insert(text, 0, member->editor->str, member->editor->len,
                 (gsize)g_utf8_strlen(member->editor->str, (gssize)member->editor->len));
  g_assert_true(ot_op_apply(op, text, NULL));
  g_autofree char *shown = ot_text_copy(text, 0, ot_text_length(text), &bytes);
  g_string_assign(member->editor, shown);
}

char *
member_text(const Member *member)
{
  const OtText *text = doc_document_text(member->doc);
  return ot_text_copy(text, 0, ot_text_length(text), NULL);
}

void
member_begin(Member *member, DocDocument *doc)
{
  doc_document_free(member->doc);
  member->doc = doc;
  g_autofree char *shown = member_text(member);
  g_string_assign(member->editor, shown);
  member_save(member);
}

static void
edit(Member *member, const OtOp *op)
{
  GError *error = NULL;
  doc_document_edit(member->doc, op, &error);
  g_assert_no_error(error);
  show(member, op);
}

void
member_type_at(Member *member, gsize at, const char *text)
{
  g_autoptr(OtOp) op = ot_op_new_edit(at, 0, text, strlen(text));
  edit(member, op);
}

void
member_type(Member *member, Keyboard *keyboard, GRand *rand, guint count)
{
  guint none = 0;
  g_autoptr(GString) text = g_string_new(NULL);
  gsize length = ot_text_length(doc_document_text(member->doc));
  for (guint i = 0; i < count; i++) {
    g_string_append_unichar(text, keyboard_char(keyboard->typed++));
    g_array_append_val(keyboard->by, member->number);
    g_array_append_val(keyboard->deleted, none);
  }
  gsize at = (gsize)g_rand_int_range(rand, 0, (gint32)length + 1);
  /* Mostly where others type, too. */
  if (g_rand_int_range(rand, 0, 3) > 0)
    at = length / 2;
  g_autoptr(OtOp) op = ot_op_new_edit(at, 0, text->str, text->len);
  edit(member, op);
}

void
member_delete(Member *member, Keyboard *keyboard, GRand *rand, guint count)
{
  const OtText *text = doc_document_text(member->doc);
  gsize length = ot_text_length(text), at = (gsize)g_rand_int_range(rand, 0, (gint32)length + 1);
  count = (guint)MIN(count, length - at);
  g_autofree char *gone = ot_text_copy(text, at, count, NULL);
  for (const char *c = gone; *c; c = g_utf8_next_char(c))
    g_array_index(keyboard->deleted, guint, key_of(g_utf8_get_char(c))) |= 1u << member->number;
  g_autoptr(OtOp) op = ot_op_new_edit(at, count, "", 0);
  edit(member, op);
}

DocVerdict
member_take(Member *member, const Server *server, guint64 number)
{
  GError *error = NULL;
  gsize length;
  g_auto(DocTaken) taken = {0};
  const void *bytes = g_bytes_get_data(server_entry(server, number), &length);
  doc_document_take(member->doc, number, bytes, length, &taken, &error);
  g_assert_no_error(error);
  if (taken.shown)
    show(member, taken.shown);
  g_assert_false(taken.lie);
  return taken.verdict;
}

void
member_read(Member *member, const Server *server, guint64 count)
{
  for (; count > 0 && doc_document_number(member->doc) < server_length(server); count--) {
    if (doc_document_is_removed(member->doc))
      return;
    member_take(member, server, doc_document_number(member->doc) + 1);
  }
}

void
member_send(Member *member, Server *server)
{
  g_autoptr(GBytes) entry = doc_document_submit(member->doc);
  if (entry)
    member_save(member);
  else
    entry = doc_document_flight(member->doc);
  if (entry)
    server_submit(server, entry);
}

void
member_save(Member *member)
{
  g_clear_pointer(&member->disk, g_bytes_unref);
  member->disk = doc_document_save(member->doc);
}

void
member_restart(Member *member)
{
  GError *error = NULL;
  gsize length;
  const void *bytes = g_bytes_get_data(member->disk, &length);
  doc_document_free(member->doc);
  member->doc = doc_document_load(member->key, bytes, length, &error);
  g_assert_no_error(error);
  g_autofree char *shown = member_text(member);
  g_string_assign(member->editor, shown);
}

void
settle(GPtrArray *members, Server *server)
{
  for (guint round = 0; round < 200; round++) {
    gboolean settled = TRUE;
    for (guint i = 0; i < members->len; i++) {
      Member *member = members->pdata[i];
      if (!member->doc)
        continue;
      member_read(member, server, G_MAXUINT64);
      if (doc_document_role(member->doc) < DOC_WRITER && doc_document_number(member->doc) > 0)
        continue;
      member_send(member, server);
      settled &= doc_document_is_settled(member->doc);
    }
    if (!settled)
      continue;
    for (guint i = 0; i < members->len; i++)
      if (((Member *)members->pdata[i])->doc)
        member_read(members->pdata[i], server, G_MAXUINT64);
    return;
  }
  g_assert_not_reached();
}

char *
assert_same(GPtrArray *members)
{
  char *same = NULL;
  for (guint i = 0; i < members->len; i++) {
    const Member *member = members->pdata[i];
    if (!member->doc || doc_document_role(member->doc) == DOC_NONE)
      continue;
    const OtText *committed = doc_document_committed(member->doc);
    g_autofree char *text = ot_text_copy(committed, 0, ot_text_length(committed), NULL);
    g_autofree char *shown = member_text(member);
    g_assert_cmpstr(shown, ==, member->editor->str);
    /* Who may not write any more still sees what he wrote last. */
    if (doc_document_role(member->doc) >= DOC_WRITER)
      g_assert_cmpstr(shown, ==, text);
    if (!same)
      same = g_steal_pointer(&text);
    else
      g_assert_cmpstr(text, ==, same);
  }
  return same;
}

GBytes *
member_seal(const Member *member, DocKind kind, const void *body, gsize length)
{
  g_autoptr(DocEnvelope) envelope = doc_document_envelope(member->doc, kind);
  doc_document_seal(member->doc, envelope, body, length);
  return doc_envelope_pack(envelope);
}

void
member_change(Member *owner, const Member *who, DocRole role, guint first)
{
  GError *error = NULL;
  DocMember as = member_as(who, role);
  doc_document_change(owner->doc, &as, first, &error);
  g_assert_no_error(error);
}

guint64
find_invitation(const Server *server, const Member *who)
{
  for (guint64 number = server_length(server); number > 0; number--) {
    gsize length;
    const void *bytes = g_bytes_get_data(server_entry(server, number), &length);
    g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
    gboolean good = g_array_index(server->verdicts, DocVerdict, number - 1) == DOC_GOOD;
    for (guint i = 0; good && envelope->kind == DOC_MEMBERS && i < envelope->changes->len; i++) {
      const DocMember *change = &g_array_index(envelope->changes, DocMember, i);
      if (identity_public_equal(&change->key, identity_key_public(who->key)) && change->role != DOC_NONE &&
          envelope->keys->len == 1)
        return number;
    }
  }
  return 0;
}

void
member_join(Member *who, const Server *server)
{
  GError *error = NULL;
  guint64 number = find_invitation(server, who);
  gsize length;
  g_assert_cmpuint(number, >, 0);
  const void *bytes = g_bytes_get_data(server_entry(server, number), &length);
  DocDocument *doc =
      doc_document_join(doc_history_document(server->history), who->key, bytes, length, &error);
  g_assert_no_error(error);
  member_begin(who, doc);
}

/* ---- rooms ---- */

Room
room_new(guint count)
{
  Room room = {.members = g_ptr_array_new_with_free_func((GDestroyNotify)member_free)};
  for (guint i = 0; i < count; i++)
    g_ptr_array_add(room.members, member_new(i));
  Member *owner = room.members->pdata[0];
  member_begin(owner, doc_document_create(owner->key, identity_key_public(owner->user)));
  room.server = server_new(doc_document_name(owner->doc));
  member_send(owner, room.server);
  member_read(owner, room.server, 1);
  for (guint i = 1; i < count; i++) {
    Member *member = room.members->pdata[i];
    DocMember as = member_as(member, DOC_WRITER);
    g_assert_true(doc_document_change(owner->doc, &as, 1, NULL));
    member_send(owner, room.server);
    member_read(owner, room.server, 1);
    member_begin(member, doc_document_join(doc_document_name(owner->doc), member->key, NULL, 0, NULL));
  }
  settle(room.members, room.server);
  for (guint i = 0; i < count; i++)
    member_save(room.members->pdata[i]);
  return room;
}

void
room_clear(Room *room)
{
  g_ptr_array_unref(room->members);
  server_free(room->server);
}

Member *
room_member(const Room *room, guint index)
{
  return room->members->pdata[index];
}

guint64
from_environment(const char *name, guint64 usual)
{
  const char *value = g_getenv(name);
  return value ? g_ascii_strtoull(value, NULL, 10) : usual;
}
