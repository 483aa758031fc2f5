/* What a clone sends to a device, and a device to a clone, about files. The first byte says to which decoder
 * the rest goes; messages of a stream are cut by 2-byte lengths. The delta of a hostile clone is really
 * applied, to a small tree, beside which nothing may change. */
#include <stdint.h>
#include <stdlib.h>

#include "replica/apply.h"
#include "replica/message.h"
#include "replica/pack.h"
#include "replica/pull.h"
#include "world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
  const uint8_t *data;
  size_t size;
} Stream;

/* The next message of the stream, NULL at the end. */
static GBytes *
next_message(gpointer user_data, GError **error)
{
  Stream *stream = user_data;
  if (stream->size < 2)
    return NULL;
  size_t length = MIN((size_t)(stream->data[0] << 8 | stream->data[1]), stream->size - 2);
  GBytes *message = g_bytes_new(stream->data + 2, length);
  stream->data += 2 + length;
  stream->size -= 2 + length;
  return message;
}

static gboolean
take_piece(const ReplicaPiece *piece, gpointer unused, GError **error)
{
  return TRUE;
}

static void
fuzz_unpack(Stream *stream)
{
  g_autoptr(ReplicaUnpacker) unpacker = replica_unpacker_new(take_piece, NULL);
  for (GBytes *message; (message = next_message(stream, NULL));) {
    gsize length;
    const guint8 *bytes = g_bytes_get_data(message, &length);
    gboolean good = replica_unpacker_push(unpacker, bytes, length, NULL);
    g_bytes_unref(message);
    if (!good)
      return;
  }
}

static void
fuzz_apply(Stream *stream)
{
  world_make();
  world_fill();
  replica_apply(world.root, world.state, next_message, stream, NULL, NULL, NULL);
  if (!replica_recover(world.root, world.state, NULL))
    abort();
  world_check();
}

static void
fuzz_facts(Stream *stream)
{
  g_auto(ReplicaFacts) facts = {0};
  int failure;
  replica_facts_unpack(stream->data, stream->size, &facts, &failure, NULL);
}

static void
fuzz_request(Stream *stream)
{
  world_make();
  world_fill();
  g_autoptr(ReplicaSend) send = replica_send_new(world.root, stream->data, stream->size, NULL);
  for (GBytes *message; send && (message = replica_send_next(send, NULL));)
    g_bytes_unref(message);
}

typedef void (*Decoder)(Stream *stream);
static const Decoder decoders[] = {fuzz_unpack, fuzz_apply, fuzz_facts, fuzz_request};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size < 1)
    return 0;
  Stream stream = {.data = data + 1, .size = size - 1};
  decoders[data[0] % G_N_ELEMENTS(decoders)](&stream);
  return 0;
}
