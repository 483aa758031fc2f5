/* The receiving half of pack.h. */
#include <string.h>

#include "base/error.h"
#include "replica/pack.h"
#include "replica/path.h"

#define ENTRIES_MAX                                                                                          \
  (1u << 22) /* of one delta: far beyond what a block does, and a bound on what a peer can make us keep */
#define SET_KNOWN (REPLICA_FACT_METADATA | REPLICA_FACT_SIZE)

struct ReplicaUnpacker {
  GPtrArray *entries;
  ReplicaPieceFunc take;
  gpointer user_data;
  gboolean in_data, done;
  guint last_entry; /* of the last piece */
  guint64 last_end; /* where that ended */
  guint64 pieces;
};

ReplicaUnpacker *
replica_unpacker_new(ReplicaPieceFunc take, gpointer user_data)
{
  ReplicaUnpacker *unpacker = g_new0(ReplicaUnpacker, 1);
  unpacker->entries = g_ptr_array_new_with_free_func((GDestroyNotify)replica_entry_free);
  unpacker->take = take;
  unpacker->user_data = user_data;
  return unpacker;
}

void
replica_unpacker_free(ReplicaUnpacker *unpacker)
{
  g_ptr_array_unref(unpacker->entries);
  g_free(unpacker);
}

gboolean
replica_unpacker_done(const ReplicaUnpacker *unpacker)
{
  return unpacker->done;
}

GPtrArray *
replica_unpacker_entries(const ReplicaUnpacker *unpacker)
{
  return unpacker->entries;
}

static gboolean
refuse(GError **error, const char *why)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the clone sent changes of files that make no sense: %s", why);
}

static gboolean
makeable(ReplicaType type)
{
  return type >= REPLICA_FILE && type <= REPLICA_FIFO;
}

/* What each change must look like. */
static const char *
entry_fault(const ReplicaEntry *entry)
{
  ReplicaType before = entry->before.type, source = entry->source.type, after = entry->after.type;
  gboolean content = entry->set & REPLICA_FACT_SIZE;
  if ((entry->set & ~SET_KNOWN) || (content && after != REPLICA_FILE))
    return "facts to set that cannot be set";
  if ((source != REPLICA_ABSENT) != (entry->change == REPLICA_MOVE))
    return "a source where there is none";
  if ((entry->from != NULL) != (entry->change == REPLICA_MOVE || entry->change == REPLICA_LINK))
    return "a second path where there is none";
  if (entry->from && strcmp(entry->from, entry->path) == 0)
    return "a path that is moved to itself";
  if (!*entry->path && (entry->change != REPLICA_KEEP || after != REPLICA_DIRECTORY))
    return "the root itself is replaced";
  switch (entry->change) {
  case REPLICA_REMOVE:
    return before != REPLICA_ABSENT && after == REPLICA_ABSENT && !entry->set ? NULL : "a removal of nothing";
  case REPLICA_MAKE:
    return makeable(after) && (content || after != REPLICA_FILE) ? NULL : "a new file of an impossible type";
  case REPLICA_KEEP:
    return makeable(after) && before == after ? NULL : "a file kept that has another type";
  case REPLICA_MOVE:
    return makeable(after) && source == after && after != REPLICA_DIRECTORY ? NULL
                                                                            : "a move of an impossible type";
  case REPLICA_LINK:
    return makeable(after) && after != REPLICA_DIRECTORY && !entry->set ? NULL
                                                                        : "a link to an impossible type";
  }
  return "an unknown change";
}

static gboolean
fill_entry(ReplicaEntry *entry, const Doppel__Wire__ReplicaEntry *message, GError **error)
{
  if (message->change > REPLICA_LINK)
    return refuse(error, "an unknown change");
  entry->change = message->change;
  entry->set = message->set;
  entry->path = replica_path_from_message(&message->path, TRUE, error);
  if (!entry->path)
    return FALSE;
  if (message->from.len) {
    entry->from = replica_path_from_message(&message->from, FALSE, error);
    if (!entry->from)
      return FALSE;
  }
  if (!replica_facts_from_message(message->before, &entry->before, error) ||
      !replica_facts_from_message(message->source, &entry->source, error) ||
      !replica_facts_from_message(message->after, &entry->after, error))
    return FALSE;
  const char *fault = entry_fault(entry);
  return !fault || refuse(error, fault);
}

static gboolean
take_entry(ReplicaUnpacker *unpacker, const Doppel__Wire__ReplicaEntry *message, GError **error)
{
  if (unpacker->in_data || unpacker->entries->len >= ENTRIES_MAX)
    return refuse(error, "entries out of order");
  g_autoptr(ReplicaEntry) entry = g_new0(ReplicaEntry, 1);
  if (!fill_entry(entry, message, error))
    return FALSE;
  if (unpacker->entries->len) {
    const ReplicaEntry *last = unpacker->entries->pdata[unpacker->entries->len - 1];
    if (strcmp(last->path, entry->path) >= 0)
      return refuse(error, "entries out of order");
  }
  g_ptr_array_add(unpacker->entries, g_steal_pointer(&entry));
  return TRUE;
}

static gboolean
take_piece(ReplicaUnpacker *unpacker, const Doppel__Wire__ReplicaData *message, GError **error)
{
  if (message->entry >= unpacker->entries->len || message->entry < unpacker->last_entry)
    return refuse(error, "content of no file");
  if (message->entry != unpacker->last_entry)
    unpacker->last_end = 0;
  const ReplicaEntry *entry = unpacker->entries->pdata[message->entry];
  guint64 length = message->bytes.len ? message->bytes.len : message->zeros;
  if (!(entry->set & REPLICA_FACT_SIZE) || length == 0 || (message->bytes.len && message->zeros))
    return refuse(error, "content of no file");
  if (message->offset < unpacker->last_end || message->offset > entry->after.size ||
      length > entry->after.size - message->offset)
    return refuse(error, "content outside its file");
  unpacker->in_data = TRUE;
  unpacker->last_entry = message->entry;
  unpacker->last_end = message->offset + length;
  unpacker->pieces++;
  ReplicaPiece piece = {.entry = message->entry,
                        .offset = message->offset,
                        .length = length,
                        .bytes = message->bytes.len ? message->bytes.data : NULL};
  return unpacker->take(&piece, unpacker->user_data, error);
}

static gboolean
take_part(ReplicaUnpacker *unpacker, const Doppel__Wire__ReplicaDeltaPart *part, GError **error)
{
  for (gsize i = 0; i < part->n_entries; i++)
    if (!take_entry(unpacker, part->entries[i], error))
      return FALSE;
  for (gsize i = 0; i < part->n_data; i++)
    if (!take_piece(unpacker, part->data[i], error))
      return FALSE;
  if (part->end && (part->entry_count != unpacker->entries->len || part->data_count != unpacker->pieces))
    return refuse(error, "some are missing");
  unpacker->done = part->end;
  return TRUE;
}

gboolean
replica_unpacker_push(ReplicaUnpacker *unpacker, const guint8 *data, gsize length, GError **error)
{
  if (unpacker->done)
    return refuse(error, "more after the end");
  Doppel__Wire__ReplicaDeltaPart *part =
      length <= REPLICA_MESSAGE_MAX ? doppel__wire__replica_delta_part__unpack(NULL, length, data) : NULL;
  if (!part)
    return refuse(error, "not a message");
  gboolean good = take_part(unpacker, part, error);
  doppel__wire__replica_delta_part__free_unpacked(part, NULL);
  return good;
}
