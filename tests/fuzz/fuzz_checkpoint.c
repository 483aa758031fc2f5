/* Messages about checkpoints, from either end; what a clone host writes down of a run; and checkpoints
 * themselves: the input is a sequence of records, each behind its length (16 bits, little-endian), which get
 * the checksums that a peer would give them. What is believed can be merged, and the merging is believed, and
 * comes to the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "replicator/checkpoint_message.h"
#include "replicator/checkpoint_view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gboolean
sum_up(guint64 start, guint64 length, const guint8 *bytes, gpointer user, GError **error)
{
  guint64 *sum = user;
  if (!length || start + length < start)
    abort();
  if (bytes) /* in any order, in any pieces */
    for (guint64 i = 0; i < length; i++)
      *sum += (start + i + 1) * (bytes[i] + 1u);
  return TRUE;
}

/* FALSE where contents cannot be unpacked. */
static gboolean
comes_to(CheckpointBody *body, guint64 *sum)
{
  g_autoptr(GPtrArray) bodies = g_ptr_array_new();
  g_ptr_array_add(bodies, body);
  *sum = 0;
  if (!checkpoint_view_memory(bodies, sum_up, sum, NULL))
    return FALSE;
  for (gsize i = 0; i < body->state->n_file; i++)
    if (!checkpoint_view_file(bodies, body->state->file[i]->file, body->state->file[i]->size, sum_up, sum,
                              NULL))
      return FALSE;
  return TRUE;
}

static void
try_body(const uint8_t *data, size_t size)
{
  g_auto(Fd) file = memfd_create("body", MFD_CLOEXEC), merged = memfd_create("merged", MFD_CLOEXEC);
  g_autoptr(CheckpointWriter) writer = checkpoint_writer_new(file), again = checkpoint_writer_new(merged);
  for (size_t at = 0; at + 2 <= size;) {
    size_t length = MIN((size_t)(data[at] | data[at + 1] << 8), size - at - 2);
    checkpoint_write_record(writer, data + at + 2, length, NULL);
    at += 2 + length;
  }
  /* What waits is written with a state; of one that makes no sense nothing is believed. */
  CheckpointState none = DOPPEL__WIRE__CHECKPOINT_STATE__INIT;
  guint64 bytes = checkpoint_writer_bytes(writer), sum, same;
  checkpoint_write_state(writer, &none, NULL);
  if (ftruncate(file, (off_t)bytes) < 0)
    return;
  g_autoptr(CheckpointBody) body = checkpoint_body_read(file, NULL);
  if (!body || !comes_to(body, &sum))
    return;
  g_autoptr(GPtrArray) bodies = g_ptr_array_new();
  g_ptr_array_add(bodies, body);
  if (!checkpoint_view_merge(bodies, again, NULL))
    abort();
  g_autoptr(CheckpointBody) second = checkpoint_body_read(merged, NULL);
  if (!second || !comes_to(second, &same) || sum != same)
    abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  try_body(data, size);
  g_autoptr(CheckpointState) state = checkpoint_state_unpack(data, size, NULL);
  g_autoptr(CheckpointChain) chain = checkpoint_chain_unpack(data, size, NULL);
  g_autoptr(CheckpointMessage) message = checkpoint_message_unpack(data, size, NULL);
  if (!message)
    return 0;
  g_autoptr(GBytes) packed = checkpoint_message_pack(message);
  gsize length;
  const guint8 *bytes = g_bytes_get_data(packed, &length);
  g_autoptr(CheckpointMessage) again = checkpoint_message_unpack(bytes, length, NULL);
  g_autoptr(GBytes) packed_again = again ? checkpoint_message_pack(again) : NULL;
  if (again && !g_bytes_equal(packed, packed_again))
    abort();
  return 0;
}
