#include <string.h>

#include "base/error.h"
#include "c2c/directory_wire.h"

static void
entry_clear(DirectoryLogEntry *entry)
{
  g_clear_pointer(&entry->record, g_bytes_unref);
}

GArray *
directory_entries_new(void)
{
  GArray *entries = g_array_new(FALSE, TRUE, sizeof(DirectoryLogEntry));
  g_array_set_clear_func(entries, (GDestroyNotify)entry_clear);
  return entries;
}

DirectoryAnswer *
directory_answer_new(DirectoryStatus status, const char *message)
{
  DirectoryAnswer *answer = g_new0(DirectoryAnswer, 1);
  answer->status = status;
  if (message) {
    g_autofree char *valid = g_utf8_make_valid(message, -1);
    answer->message = g_strndup(valid, DIRECTORY_MESSAGE_MAX);
    /* The cut may be within a letter. */
    const char *end;
    if (!g_utf8_validate(answer->message, -1, &end))
      answer->message[end - answer->message] = '\0';
  }
  return answer;
}

void
directory_answer_free(DirectoryAnswer *answer)
{
  if (!answer)
    return;
  directory_signed_clear(&answer->head);
  directory_signed_clear(&answer->found);
  g_clear_pointer(&answer->entries, g_array_unref);
  g_clear_pointer(&answer->digests, g_bytes_unref);
  g_clear_pointer(&answer->seen, g_array_unref);
  g_clear_pointer(&answer->updates, g_array_unref);
  g_free(answer->message);
  g_free(answer);
}

typedef struct {
  Doppel__Wire__DirectoryEntry **entries, *entry_room;
  Doppel__Wire__DirectorySeen **seen, *seen_room;
} Lists;

static void
give_entries(const GArray *entries, Lists *lists, Doppel__Wire__DirectoryAnswer *wire)
{
  wire->n_entries = entries ? entries->len : 0;
  lists->entries = wire->entries = g_new0(Doppel__Wire__DirectoryEntry *, wire->n_entries + 1);
  lists->entry_room = g_new0(Doppel__Wire__DirectoryEntry, wire->n_entries + 1);
  for (guint i = 0; i < wire->n_entries; i++) {
    DirectoryLogEntry *entry = &g_array_index(entries, DirectoryLogEntry, i);
    doppel__wire__directory_entry__init(&lists->entry_room[i]);
    lists->entry_room[i].number = entry->number;
    lists->entry_room[i].hash = wire_borrow(entry->hash, sizeof entry->hash);
    lists->entry_room[i].record = wire_borrow_bytes(entry->record);
    wire->entries[i] = &lists->entry_room[i];
  }
}

static void
give_seen(const GArray *seen, Lists *lists, Doppel__Wire__DirectoryAnswer *wire)
{
  wire->n_seen = seen ? seen->len : 0;
  lists->seen = wire->seen = g_new0(Doppel__Wire__DirectorySeen *, wire->n_seen + 1);
  lists->seen_room = g_new0(Doppel__Wire__DirectorySeen, wire->n_seen + 1);
  for (guint i = 0; i < wire->n_seen; i++) {
    DirectorySeen *one = &g_array_index(seen, DirectorySeen, i);
    doppel__wire__directory_seen__init(&lists->seen_room[i]);
    lists->seen_room[i].origin = wire_borrow(one->origin.bytes, sizeof one->origin.bytes);
    lists->seen_room[i].hash = wire_borrow(one->hash, sizeof one->hash);
    wire->seen[i] = &lists->seen_room[i];
  }
}

GBytes *
directory_answer_encode(const DirectoryAnswer *answer)
{
  Lists lists;
  Doppel__Wire__DirectorySigned head, found;
  Doppel__Wire__DirectoryAnswer wire = DOPPEL__WIRE__DIRECTORY_ANSWER__INIT;
  wire.id = answer->id;
  wire.status = answer->status;
  if (answer->message)
    wire.message = answer->message;
  if (answer->head.statement) {
    directory_wire_give(&answer->head, &head);
    wire.head = &head;
  }
  if (answer->found.statement) {
    directory_wire_give(&answer->found, &found);
    wire.found = &found;
  }
  wire.number = answer->number;
  wire.more = answer->more;
  wire.digests = wire_borrow_bytes(answer->digests);
  if (answer->has_pass)
    wire.pass = wire_borrow(answer->pass.bytes, sizeof answer->pass.bytes);
  give_entries(answer->entries, &lists, &wire);
  give_seen(answer->seen, &lists, &wire);
  wire.n_updates = answer->updates ? answer->updates->len : 0;
  wire.updates = directory_wire_give_all(answer->updates);
  GBytes *bytes = wire_pack(&wire.base);
  directory_wire_free_all(wire.updates, wire.n_updates);
  g_free(lists.entries);
  g_free(lists.entry_room);
  g_free(lists.seen);
  g_free(lists.seen_room);
  return bytes;
}

static gboolean
take_entries(const Doppel__Wire__DirectoryAnswer *wire, DirectoryAnswer *answer)
{
  answer->entries = directory_entries_new();
  for (gsize i = 0; i < wire->n_entries; i++) {
    DirectoryLogEntry entry = {.number = wire->entries[i]->number};
    const ProtobufCBinaryData *record = &wire->entries[i]->record;
    if (record->len > RECORD_MAX || !directory_wire_hash(&wire->entries[i]->hash, entry.hash))
      return FALSE;
    if (record->len > 0)
      entry.record = directory_wire_bytes(record);
    g_array_append_val(answer->entries, entry);
  }
  return TRUE;
}

static gboolean
take_seen(const Doppel__Wire__DirectoryAnswer *wire, DirectoryAnswer *answer)
{
  if (wire->n_seen > DIRECTORY_SEEN_MAX)
    return FALSE;
  answer->seen = g_array_new(FALSE, FALSE, sizeof(DirectorySeen));
  for (gsize i = 0; i < wire->n_seen; i++) {
    DirectorySeen one;
    if (!directory_wire_key(&wire->seen[i]->origin, &one.origin) ||
        !directory_wire_hash(&wire->seen[i]->hash, one.hash))
      return FALSE;
    g_array_append_val(answer->seen, one);
  }
  return TRUE;
}

static gboolean
take_answer(const Doppel__Wire__DirectoryAnswer *wire, DirectoryAnswer *answer)
{
  if (wire->status < DIRECTORY_STATUS(OK) || wire->status > DIRECTORY_STATUS(UNKNOWN) ||
      !g_utf8_validate(wire->message, -1, NULL) || strlen(wire->message) > DIRECTORY_MESSAGE_MAX)
    return FALSE;
  if ((wire->head && !directory_wire_take(wire->head, &answer->head)) ||
      (wire->found && !directory_wire_take(wire->found, &answer->found)))
    return FALSE;
  if (wire->digests.len > 0) {
    if (wire->digests.len != DIRECTORY_BUCKETS * RECORD_HASH_LENGTH)
      return FALSE;
    answer->digests = directory_wire_bytes(&wire->digests);
  }
  answer->has_pass = wire->pass.len > 0;
  if (answer->has_pass) {
    if (wire->pass.len != sizeof answer->pass.bytes)
      return FALSE;
    memcpy(answer->pass.bytes, wire->pass.data, sizeof answer->pass.bytes);
  }
  if (wire->message[0])
    answer->message = g_strescape(wire->message, NULL);
  answer->number = wire->number;
  answer->more = wire->more;
  return take_entries(wire, answer) && take_seen(wire, answer) &&
         directory_wire_take_all(wire->updates, wire->n_updates, DIRECTORY_FETCH_MAX, &answer->updates);
}

DirectoryAnswer *
directory_answer_decode(const void *data, gsize length, GError **error)
{
  Doppel__Wire__DirectoryAnswer *wire =
      length <= DIRECTORY_ANSWER_MAX ? doppel__wire__directory_answer__unpack(NULL, length, data) : NULL;
  gboolean good = FALSE;
  g_autoptr(DirectoryAnswer) answer = NULL;
  if (wire) {
    answer = directory_answer_new(wire->status, NULL);
    answer->id = wire->id;
    good = take_answer(wire, answer);
    doppel__wire__directory_answer__free_unpacked(wire, NULL);
  }
  if (good)
    return g_steal_pointer(&answer);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%" G_GSIZE_FORMAT " bytes that are no answer of a directory",
                   length);
  return NULL;
}

gboolean
directory_answer_refusal(const DirectoryAnswer *answer, const char *directory, GError **error)
{
  static const struct {
    DoppelErrorCode code;
    const char *text;
  } words[] = {
      [DIRECTORY_STATUS(OK)] = {DOPPEL_ERROR_HOSTILE, "gave an answer that does not fit the question"},
      [DIRECTORY_STATUS(MALFORMED)] = {DOPPEL_ERROR_UNSUPPORTED,
                                       "does not understand the question: use the same version of both"},
      [DIRECTORY_STATUS(UNPROVED)] = {DOPPEL_ERROR_DENIED, "finds a signature missing or wrong"},
      [DIRECTORY_STATUS(STALE)] = {DOPPEL_ERROR_MISMATCH, "knows a newer record"},
      [DIRECTORY_STATUS(TAKEN)] = {DOPPEL_ERROR_DENIED, "has given the name to another user: choose another"},
      [DIRECTORY_STATUS(FOREIGN)] = {DOPPEL_ERROR_DENIED,
                                     "does not serve this user: the record names another directory, or a "
                                     "provider that is not served there"},
      [DIRECTORY_STATUS(EXPIRED)] = {DOPPEL_ERROR_DENIED,
                                     "finds that the record has expired: look at the clocks, and bind anew"},
      [DIRECTORY_STATUS(BUSY)] = {DOPPEL_ERROR_GONE, "has too much to do now: try again in a while"},
      [DIRECTORY_STATUS(FAILED)] = {DOPPEL_ERROR_FAILED, "could not do it"},
      [DIRECTORY_STATUS(UNKNOWN)] = {DOPPEL_ERROR_NOT_FOUND, "does not know that"},
  };
  return doppel_error_set(error, words[answer->status].code, "the directory %s %s%s%s", directory,
                          words[answer->status].text, answer->message ? ": " : "",
                          answer->message ? answer->message : "");
}
