#include "c2c/directory_head.h"

#include <string.h>

#include "base/error.h"
#include "c2c/directory_wire.h"
#include "identity/statement.h"

#define VERSION 1

static DirectorySigned
seal(const IdentityKey *key, const char *purpose, const ProtobufCMessage *message)
{
  DirectorySigned proof = {.statement = wire_pack(message)};
  gsize length;
  const void *bytes = g_bytes_get_data(proof.statement, &length);
  statement_sign(key, purpose, bytes, length, proof.signature);
  return proof;
}

static gboolean
is_sealed(const DirectorySigned *proof, const char *purpose, const IdentityPublic *key, GError **error)
{
  gsize length;
  const void *bytes = g_bytes_get_data(proof->statement, &length);
  return statement_verify(key, purpose, bytes, length, proof->signature) ||
         doppel_error_set(error, DOPPEL_ERROR_DENIED, "a statement has not the directory's signature");
}

static gboolean
is_directory(const IdentityPublic *wanted, const IdentityPublic *key, GError **error)
{
  return !wanted || identity_public_equal(wanted, key) ||
         doppel_error_set(error, DOPPEL_ERROR_DENIED, "a statement is another directory's");
}

static gboolean
malformed(const char *what, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "what should be a directory's %s is none", what);
}

void
directory_head_clear(DirectoryHead *head)
{
  directory_signed_clear(&head->proof);
}

void
directory_head_copy(DirectoryHead *to, const DirectoryHead *from)
{
  *to = *from;
  directory_signed_copy(&to->proof, &from->proof);
}

DirectorySigned
directory_head_sign(const IdentityKey *key, const DirectoryState *state, gint64 time)
{
  Doppel__Wire__DirectoryHead wire = DOPPEL__WIRE__DIRECTORY_HEAD__INIT;
  wire.version = VERSION;
  wire.directory = wire_borrow(identity_key_public(key)->bytes, IDENTITY_PUBLIC_LENGTH);
  wire.number = state->number;
  wire.chain = wire_borrow(state->chain, sizeof state->chain);
  wire.time = time;
  return seal(key, STATEMENT_HEAD, &wire.base);
}

gboolean
directory_head_verify(const DirectorySigned *proof, const IdentityPublic *directory, DirectoryHead *head,
                      GError **error)
{
  memset(head, 0, sizeof *head);
  gsize length = 0;
  const void *bytes = proof->statement ? g_bytes_get_data(proof->statement, &length) : NULL;
  Doppel__Wire__DirectoryHead *wire = doppel__wire__directory_head__unpack(NULL, length, bytes);
  gboolean good = wire && wire->version == VERSION && wire->chain.len == sizeof head->state.chain &&
                  wire->time >= 0 && wire->time <= RECORD_TIME_MAX &&
                  directory_wire_key(&wire->directory, &head->directory);
  if (good) {
    memcpy(head->state.chain, wire->chain.data, sizeof head->state.chain);
    head->state.number = wire->number;
    head->time = wire->time;
  }
  if (wire)
    doppel__wire__directory_head__free_unpacked(wire, NULL);
  if (!good)
    return malformed("head", error);
  if (!is_directory(directory, &head->directory, error) ||
      !is_sealed(proof, STATEMENT_HEAD, &head->directory, error))
    return FALSE;
  directory_signed_copy(&head->proof, proof);
  return TRUE;
}

void
directory_found_free(DirectoryFound *found)
{
  if (!found)
    return;
  g_clear_pointer(&found->records, g_ptr_array_unref);
  g_free(found->name);
  g_free(found);
}

DirectorySigned
directory_found_sign(const IdentityKey *key, const DirectoryQuestion *question, const GPtrArray *records,
                     guint64 number, gint64 time)
{
  Doppel__Wire__DirectoryFound wire = DOPPEL__WIRE__DIRECTORY_FOUND__INIT;
  g_autofree ProtobufCBinaryData *parts = g_new0(ProtobufCBinaryData, records->len + 1);
  for (guint i = 0; i < records->len; i++) {
    gsize length;
    const void *bytes = g_bytes_get_data(records->pdata[i], &length);
    parts[i] = wire_borrow(bytes, length);
  }
  wire.version = VERSION;
  wire.directory = wire_borrow(identity_key_public(key)->bytes, IDENTITY_PUBLIC_LENGTH);
  wire.name = question->name;
  if (question->by_origin)
    wire.origin = wire_borrow(question->origin.bytes, IDENTITY_PUBLIC_LENGTH);
  if (question->has_home)
    wire.home = wire_borrow(question->home.bytes, IDENTITY_PUBLIC_LENGTH);
  wire.count = question->what == DIRECTORY_WHAT(LIST) ? question->count : 0;
  wire.time = time;
  wire.number = number;
  wire.n_records = records->len;
  wire.records = parts;
  return seal(key, STATEMENT_FOUND, &wire.base);
}

static gboolean
take_found(const Doppel__Wire__DirectoryFound *wire, DirectoryFound *found)
{
  found->count = wire->count;
  found->by_origin = wire->origin.len > 0;
  found->has_home = wire->home.len > 0;
  found->time = wire->time;
  found->number = wire->number;
  if (wire->version != VERSION || !directory_wire_key(&wire->directory, &found->directory) ||
      wire->time < 0 || wire->time > RECORD_TIME_MAX || strlen(wire->name) > RECORD_NAME_MAX ||
      wire->count > DIRECTORY_PAGE_MAX ||
      wire->n_records > (wire->count > 0 ? wire->count : DIRECTORY_FOUND_MAX) ||
      (found->by_origin && !directory_wire_key(&wire->origin, &found->origin)) ||
      (found->has_home && !directory_wire_key(&wire->home, &found->home)))
    return FALSE;
  found->name = g_strdup(wire->name);
  for (gsize i = 0; i < wire->n_records; i++) {
    if (wire->records[i].len == 0 || wire->records[i].len > RECORD_MAX)
      return FALSE;
    g_ptr_array_add(found->records, g_bytes_new(wire->records[i].data, wire->records[i].len));
  }
  return TRUE;
}

static gboolean
same_key(gboolean a_has, const IdentityPublic *a, gboolean b_has, const IdentityPublic *b)
{
  return a_has == b_has && (!a_has || identity_public_equal(a, b));
}

static gboolean
is_answer_to(const DirectoryFound *found, const DirectoryQuestion *question, GError **error)
{
  gboolean list = question->what == DIRECTORY_WHAT(LIST);
  if (strcmp(found->name, question->name) == 0 && found->count == (list ? question->count : 0) &&
      same_key(found->by_origin, &found->origin, question->by_origin, &question->origin) &&
      same_key(found->has_home, &found->home, question->has_home, &question->home))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the directory answered another question");
}

DirectoryFound *
directory_found_verify(const DirectorySigned *proof, const IdentityPublic *directory,
                       const DirectoryQuestion *question, GError **error)
{
  gsize length = 0;
  const void *bytes = proof->statement ? g_bytes_get_data(proof->statement, &length) : NULL;
  g_autoptr(DirectoryFound) found = g_new0(DirectoryFound, 1);
  found->records = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  Doppel__Wire__DirectoryFound *wire = doppel__wire__directory_found__unpack(NULL, length, bytes);
  gboolean good = wire && take_found(wire, found);
  if (wire)
    doppel__wire__directory_found__free_unpacked(wire, NULL);
  if (!good) {
    malformed("finding", error);
    return NULL;
  }
  if (is_directory(directory, &found->directory, error) &&
      is_sealed(proof, STATEMENT_FOUND, &found->directory, error) &&
      (!question || is_answer_to(found, question, error)))
    return g_steal_pointer(&found);
  return NULL;
}

DirectorySigned
directory_update_sign(const IdentityKey *key, guint64 number, GBytes *record)
{
  Doppel__Wire__DirectoryUpdate wire = DOPPEL__WIRE__DIRECTORY_UPDATE__INIT;
  gsize length;
  const void *bytes = g_bytes_get_data(record, &length);
  wire.version = VERSION;
  wire.directory = wire_borrow(identity_key_public(key)->bytes, IDENTITY_PUBLIC_LENGTH);
  wire.number = number;
  wire.record = wire_borrow(bytes, length);
  return seal(key, STATEMENT_UPDATE, &wire.base);
}

Record *
directory_update_verify(const DirectorySigned *proof, IdentityPublic *directory, guint64 *number,
                        GError **error)
{
  gsize length = 0;
  const void *bytes = proof->statement ? g_bytes_get_data(proof->statement, &length) : NULL;
  IdentityPublic home;
  Doppel__Wire__DirectoryUpdate *wire = doppel__wire__directory_update__unpack(NULL, length, bytes);
  g_autoptr(Record) record = NULL;
  if (!wire || wire->version != VERSION || wire->number == 0 || !directory_wire_key(&wire->directory, &home))
    malformed("update", error);
  else if (is_sealed(proof, STATEMENT_UPDATE, &home, error))
    record = record_decode(wire->record.data, wire->record.len, NULL, error);
  if (number && wire)
    *number = wire->number;
  if (wire)
    doppel__wire__directory_update__free_unpacked(wire, NULL);
  if (!record)
    return NULL;
  if (!identity_public_equal(&record->directory, &home)) {
    doppel_error_set(error, DOPPEL_ERROR_DENIED,
                     "a directory tells of a user whose home is another directory");
    return NULL;
  }
  if (directory)
    *directory = home;
  return g_steal_pointer(&record);
}
