#include "c2c/group_message.h"

#include <sodium.h>
#include <string.h>

#include "base/error.h"
#include "identity/record.h"
#include "identity/statement.h"
#include "wire/c2c.pb-c.h"
#include "wire/message.h"

#define VERSION   1
#define WORDS_MAX 200

GroupMessage *
group_message_ref(const GroupMessage *message)
{
  GroupMessage *held = (GroupMessage *)message;
  held->holders++;
  return held;
}

void
group_message_free(GroupMessage *message)
{
  if (!message || message->holders-- > 0)
    return;
  g_free(message->group);
  g_clear_pointer(&message->body, g_bytes_unref);
  g_clear_pointer(&message->record, g_bytes_unref);
  g_clear_pointer(&message->statement, g_bytes_unref);
  g_free(message);
}

static GBytes *
pack_statement(const GroupMessage *message, const void *body, gsize length)
{
  Doppel__Wire__GroupStatement statement = DOPPEL__WIRE__GROUP_STATEMENT__INIT;
  statement.version = VERSION;
  statement.group = message->group;
  statement.origin = wire_borrow(message->origin.bytes, sizeof message->origin.bytes);
  statement.id = wire_borrow(message->id, sizeof message->id);
  statement.sequence = message->sequence;
  statement.members = wire_borrow(message->members, sizeof message->members);
  statement.body = wire_borrow(body, length);
  return wire_pack(&statement.base);
}

GroupMessage *
group_message_new(const char *group, const IdentityPublic *origin, guint64 sequence,
                  const guint8 members[TREE_DIGEST_LENGTH], const void *body, gsize length,
                  const IdentityKey *clone_key, GError **error)
{
  if (!record_name_check(group, error))
    return NULL;
  if (length > GROUP_BODY_MAX) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "a message to a group has at most %u bytes, this one has %zu: send a file instead",
                     GROUP_BODY_MAX, length);
    return NULL;
  }
  GroupMessage *message = g_new0(GroupMessage, 1);
  message->group = g_strdup(group);
  message->origin = *origin;
  message->sequence = sequence;
  memcpy(message->members, members, sizeof message->members);
  randombytes_buf(message->id, sizeof message->id);
  message->body = g_bytes_new(body, length);
  message->statement = pack_statement(message, body, length);
  gsize signed_length;
  const void *bytes = g_bytes_get_data(message->statement, &signed_length);
  statement_sign(clone_key, STATEMENT_GROUP, bytes, signed_length, message->signature);
  return message;
}

GBytes *
group_message_pack(const GroupMessage *message, guint patience_ms, gboolean alone)
{
  gsize length;
  const void *bytes = g_bytes_get_data(message->statement, &length);
  Doppel__Wire__GroupMessage wire = DOPPEL__WIRE__GROUP_MESSAGE__INIT;
  wire.statement = wire_borrow(bytes, length);
  wire.signature = wire_borrow(message->signature, sizeof message->signature);
  if (message->record)
    wire.record = wire_borrow(g_bytes_get_data(message->record, NULL), g_bytes_get_size(message->record));
  wire.patience = patience_ms;
  wire.alone = alone;
  return wire_pack(&wire.base);
}

static gboolean
take_statement(GroupMessage *message, const Doppel__Wire__GroupStatement *statement)
{
  if (statement->version != VERSION || !record_name_check(statement->group, NULL) ||
      statement->body.len > GROUP_BODY_MAX ||
      !wire_take(&statement->origin, message->origin.bytes, sizeof message->origin.bytes) ||
      !wire_take(&statement->id, message->id, sizeof message->id) ||
      !wire_take(&statement->members, message->members, sizeof message->members))
    return FALSE;
  message->group = g_strdup(statement->group);
  message->sequence = statement->sequence;
  message->body = g_bytes_new(statement->body.data, statement->body.len);
  return TRUE;
}

static gboolean
take_wire(GroupMessage *message, const Doppel__Wire__GroupMessage *wire)
{
  if (!wire_take(&wire->signature, message->signature, sizeof message->signature) ||
      wire->record.len > RECORD_MAX || wire->patience > GROUP_PATIENCE_MAX)
    return FALSE;
  if (wire->record.len > 0)
    message->record = g_bytes_new(wire->record.data, wire->record.len);
  message->patience_ms = wire->patience;
  message->alone = wire->alone;
  Doppel__Wire__GroupStatement *statement =
      doppel__wire__group_statement__unpack(NULL, wire->statement.len, wire->statement.data);
  if (!statement)
    return FALSE;
  message->statement = g_bytes_new(wire->statement.data, wire->statement.len);
  gboolean taken = take_statement(message, statement);
  doppel__wire__group_statement__free_unpacked(statement, NULL);
  return taken;
}

GroupMessage *
group_message_decode(const void *data, gsize length, GError **error)
{
  g_autoptr(GroupMessage) message = g_new0(GroupMessage, 1);
  Doppel__Wire__GroupMessage *wire =
      length <= GROUP_MESSAGE_MAX ? doppel__wire__group_message__unpack(NULL, length, data) : NULL;
  gboolean taken = wire && take_wire(message, wire);
  if (wire)
    doppel__wire__group_message__free_unpacked(wire, NULL);
  if (!taken) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message to a group is damaged (%zu bytes)", length);
    return NULL;
  }
  return g_steal_pointer(&message);
}

gboolean
group_message_verify(const GroupMessage *message, const IdentityPublic *clone_key, GError **error)
{
  gsize length;
  const void *bytes = g_bytes_get_data(message->statement, &length);
  return statement_verify(clone_key, STATEMENT_GROUP, bytes, length, message->signature) ||
         doppel_error_set(error, DOPPEL_ERROR_DENIED,
                          "a message to the group %s has not its sender's signature", message->group);
}

void
group_answer_clear(GroupAnswer *answer)
{
  g_clear_pointer(&answer->words, g_free);
  g_clear_pointer(&answer->missed, g_array_unref);
}

GBytes *
group_answer_new(const GroupAnswer *answer)
{
  Doppel__Wire__GroupAnswer wire = DOPPEL__WIRE__GROUP_ANSWER__INIT;
  g_autofree char *valid = g_utf8_make_valid(answer->words ? answer->words : "", -1);
  const char *end = valid + strnlen(valid, WORDS_MAX);
  g_utf8_validate(valid, end - valid, &end);
  g_autofree char *cut = g_strndup(valid, end - valid);
  wire.status = (int)answer->status;
  wire.words = cut;
  wire.reached = answer->reached;
  if (answer->missed) {
    wire.missed = (guint32 *)answer->missed->data;
    wire.n_missed = MIN(answer->missed->len, GROUP_MISSED_MAX);
  }
  gsize length = doppel__wire__group_answer__get_packed_size(&wire);
  guint8 *bytes = g_malloc(GROUP_PREFIX + length);
  bytes[0] = (guint8)(length >> 8);
  bytes[1] = (guint8)length;
  doppel__wire__group_answer__pack(&wire, bytes + GROUP_PREFIX);
  return g_bytes_new_take(bytes, GROUP_PREFIX + length);
}

static gboolean
take_answer(GroupAnswer *answer, const Doppel__Wire__GroupAnswer *wire)
{
  gboolean reports = wire->status == DOPPEL__WIRE__GROUP_ANSWER__STATUS__WORKING ||
                     wire->status == DOPPEL__WIRE__GROUP_ANSWER__STATUS__DONE;
  if (wire->status < DOPPEL__WIRE__GROUP_ANSWER__STATUS__FORWARDS ||
      wire->status > DOPPEL__WIRE__GROUP_ANSWER__STATUS__DONE || wire->n_missed > GROUP_MISSED_MAX ||
      (wire->n_missed > 0 && !reports) || wire->reached > TREE_MEMBERS_MAX ||
      !g_utf8_validate(wire->words, -1, NULL))
    return FALSE;
  for (gsize i = 0; i < wire->n_missed; i++)
    if (wire->missed[i] > TREE_MEMBERS_MAX || (i > 0 && wire->missed[i] <= wire->missed[i - 1]))
      return FALSE;
  *answer = (GroupAnswer){(GroupStatus)wire->status, g_strescape(wire->words, NULL), wire->reached, NULL};
  if (wire->n_missed > 0) {
    answer->missed = g_array_new(FALSE, FALSE, sizeof(guint));
    g_array_append_vals(answer->missed, wire->missed, (guint)wire->n_missed);
  }
  return TRUE;
}

gssize
group_answer_take(const guint8 *data, gsize length, GroupAnswer *answer, GError **error)
{
  if (length < GROUP_PREFIX)
    return 0;
  gsize size = (gsize)data[0] << 8 | data[1];
  if (size <= GROUP_ANSWER_MAX && length < GROUP_PREFIX + size)
    return 0;
  Doppel__Wire__GroupAnswer *wire =
      size <= GROUP_ANSWER_MAX ? doppel__wire__group_answer__unpack(NULL, size, data + GROUP_PREFIX) : NULL;
  gboolean proper = wire && take_answer(answer, wire);
  if (wire)
    doppel__wire__group_answer__free_unpacked(wire, NULL);
  if (proper)
    return (gssize)(GROUP_PREFIX + size);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the answer to a message to a group is damaged");
  return -1;
}
