#include "replica/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"

#define FILL                                                                                                 \
  (256 *                                                                                                     \
   1024) /* bytes after which a message is closed: large enough to be efficient, small enough to be soon */
#define PER_MAX 4096 /* entries or pieces of one message */

struct ReplicaPacker {
  const ReplicaLayer *layer;
  const ReplicaDelta *delta;
  guint entry, range; /* what comes next: in the first run entries, then their content */
  guint64 within;     /* bytes of the range that went already */
  gboolean in_data, ended;
  guint64 pieces;
  Fd fd; /* of the entry whose content is being sent */
};

ReplicaPacker *
replica_packer_new(const ReplicaLayer *layer, const ReplicaDelta *delta)
{
  ReplicaPacker *packer = g_new0(ReplicaPacker, 1);
  packer->layer = layer;
  packer->delta = delta;
  packer->fd = -1;
  return packer;
}

void
replica_packer_free(ReplicaPacker *packer)
{
  io_close(&packer->fd);
  g_free(packer);
}

typedef struct {
  Doppel__Wire__ReplicaEntry message;
  Doppel__Wire__ReplicaFacts before, source, after;
} PackedEntry;

static void
fill_entry(const ReplicaEntry *entry, PackedEntry *packed)
{
  doppel__wire__replica_entry__init(&packed->message);
  replica_facts_to_message(&entry->before, &packed->before);
  replica_facts_to_message(&entry->source, &packed->source);
  replica_facts_to_message(&entry->after, &packed->after);
  Doppel__Wire__ReplicaEntry *message = &packed->message;
  message->change = entry->change;
  message->path = replica_path_to_message(entry->path);
  message->from = replica_path_to_message(entry->from);
  message->set = entry->set;
  message->before = entry->before.type == REPLICA_ABSENT ? NULL : &packed->before;
  message->source = entry->source.type == REPLICA_ABSENT ? NULL : &packed->source;
  message->after = entry->after.type == REPLICA_ABSENT ? NULL : &packed->after;
}

static GBytes *
pack_entries(ReplicaPacker *packer)
{
  const GPtrArray *entries = packer->delta->entries;
  g_autoptr(GPtrArray) packed = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GPtrArray) messages = g_ptr_array_new();
  for (gsize size = 0; packer->entry < entries->len && packed->len < PER_MAX && size < FILL;
       packer->entry++) {
    PackedEntry *next = g_new0(PackedEntry, 1);
    fill_entry(entries->pdata[packer->entry], next);
    g_ptr_array_add(packed, next);
    g_ptr_array_add(messages, &next->message);
    size += protobuf_c_message_get_packed_size(&next->message.base);
  }
  Doppel__Wire__ReplicaDeltaPart part = DOPPEL__WIRE__REPLICA_DELTA_PART__INIT;
  part.n_entries = messages->len;
  part.entries = (Doppel__Wire__ReplicaEntry **)messages->pdata;
  return replica_message_pack(&part.base);
}

/* Moves to the next piece of content. NULL at the end. */
static const ReplicaRange *
next_range(ReplicaPacker *packer, const ReplicaEntry **entry)
{
  const GPtrArray *entries = packer->delta->entries;
  for (; packer->entry < entries->len; packer->entry++, packer->range = 0) {
    *entry = entries->pdata[packer->entry];
    GArray *ranges = (*entry)->ranges;
    if (ranges && packer->range < ranges->len)
      return &g_array_index(ranges, ReplicaRange, packer->range);
    io_close(&packer->fd);
  }
  return NULL;
}

static gboolean
read_piece(ReplicaPacker *packer, const ReplicaEntry *entry, guint64 offset, guint8 *bytes, gsize length,
           GError **error)
{
  if (packer->fd < 0)
    packer->fd = replica_path_open(packer->layer->upper, entry->path, O_RDONLY | O_NONBLOCK);
  for (gsize have = 0; have < length;) {
    ssize_t got = packer->fd < 0 ? -1 : pread(packer->fd, bytes + have, length - have, offset + have);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return doppel_error_errno(error, "cannot read what the block wrote to %s", entry->path);
    if (got == 0)
      return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "%s became shorter while it was sent",
                              entry->path);
    have += got;
  }
  return TRUE;
}

static void
free_piece(Doppel__Wire__ReplicaData *piece)
{
  g_free(piece->bytes.data);
  g_free(piece);
}

/* One piece of at most `room` bytes. */
static Doppel__Wire__ReplicaData *
make_piece(ReplicaPacker *packer, const ReplicaEntry *entry, const ReplicaRange *range, gsize room,
           GError **error)
{
  Doppel__Wire__ReplicaData *piece = g_new0(Doppel__Wire__ReplicaData, 1);
  doppel__wire__replica_data__init(piece);
  piece->entry = packer->entry;
  piece->offset = range->offset + packer->within;
  guint64 length = range->length - packer->within;
  if (range->zeros) {
    piece->zeros = length;
  } else {
    length = MIN(length, room);
    piece->bytes.data = g_malloc(length);
    piece->bytes.len = length;
    if (!read_piece(packer, entry, piece->offset, piece->bytes.data, length, error)) {
      free_piece(piece);
      return NULL;
    }
  }
  packer->within += length;
  if (packer->within == range->length) {
    packer->range++;
    packer->within = 0;
  }
  packer->pieces++;
  return piece;
}

static GBytes *
pack_data(ReplicaPacker *packer, GError **error)
{
  g_autoptr(GPtrArray) pieces = g_ptr_array_new_with_free_func((GDestroyNotify)free_piece);
  const ReplicaEntry *entry = NULL;
  const ReplicaRange *range = NULL;
  for (gsize size = 0; pieces->len < PER_MAX && size < FILL && (range = next_range(packer, &entry));) {
    Doppel__Wire__ReplicaData *piece = make_piece(packer, entry, range, FILL - size, error);
    if (!piece)
      return NULL;
    size += piece->bytes.len;
    g_ptr_array_add(pieces, piece);
  }
  Doppel__Wire__ReplicaDeltaPart part = DOPPEL__WIRE__REPLICA_DELTA_PART__INIT;
  part.n_data = pieces->len;
  part.data = (Doppel__Wire__ReplicaData **)pieces->pdata;
  if (!next_range(packer, &entry)) {
    packer->ended = part.end = TRUE;
    part.entry_count = packer->delta->entries->len;
    part.data_count = packer->pieces;
  }
  return replica_message_pack(&part.base);
}

GBytes *
replica_packer_next(ReplicaPacker *packer, GError **error)
{
  if (packer->ended)
    return NULL;
  if (!packer->in_data && packer->entry < packer->delta->entries->len)
    return pack_entries(packer);
  if (!packer->in_data) {
    packer->in_data = TRUE;
    packer->entry = 0;
  }
  return pack_data(packer, error);
}
