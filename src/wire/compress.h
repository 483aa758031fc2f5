/* A sequence of messages, each compressed (zstd) against those before it. Both ends go through all messages
 * in the same order, once: what a message repeats of an earlier one in the last WIRE_WINDOW bytes costs next
 * to nothing. A message can be restored as soon as its own bytes are there. */
#pragma once

#include <glib.h>
#include <sys/uio.h>

#define WIRE_WINDOW (256u << 10)

typedef struct WirePacker WirePacker;
typedef struct WireUnpacker WireUnpacker;

WirePacker *wire_packer_new(void);
void wire_packer_free(WirePacker *packer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WirePacker, wire_packer_free)

/* How hard it tries, before the first message: zstd's level, 1 to 19; 0 is as it begins, which is 1. */
void wire_packer_set_level(WirePacker *packer, int level);

/* Room that any message of `length` bytes finds enough. */
gsize wire_packed_bound(gsize length);

/* Compresses a message in `count` pieces into `packed`, which has wire_packed_bound() bytes. Bytes written.
 * It counts as sent: there is no way back. */
gsize wire_packer_pack(WirePacker *packer, const struct iovec *pieces, guint count, guint8 *packed);

WireUnpacker *wire_unpacker_new(void);
void wire_unpacker_free(WireUnpacker *unpacker);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WireUnpacker, wire_unpacker_free)

/* How long a message will be. FALSE: HOSTILE where that is more than `limit`, or cannot be read. */
gboolean wire_packed_length(const guint8 *packed, gsize packed_length, gsize limit, gsize *length,
                            GError **error);

/* Restores the next message, of wire_packed_length() bytes. FALSE: HOSTILE where the bytes are damaged or
 * stand for a message of another length; nothing that follows can be restored then. */
gboolean wire_unpacker_unpack(WireUnpacker *unpacker, const guint8 *packed, gsize packed_length, guint8 *data,
                              gsize length, GError **error);
