/* zstd, where it pays. A codec keeps zstd's contexts, which cost more to make than a small message to
 * compress. */
#pragma once

#include <glib.h>

typedef struct WireCodec WireCodec;

WireCodec *wire_codec_new(void);
void wire_codec_free(WireCodec *codec);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WireCodec, wire_codec_free)

/* Compresses into `packed`, which has room for `room` bytes. Bytes written; 0 where they would not be fewer
 * than `length` or not fit: send the bytes as they are. `level` is zstd's (1 to 19, negative ones are faster
 * still). */
gsize wire_codec_pack(WireCodec *codec, const void *data, gsize length, int level, void *packed, gsize room);

/* Restores exactly `length` bytes, a number that the caller has checked against its own limit before making
 * room. FALSE: HOSTILE where `packed` is no single zstd frame of that many bytes. */
gboolean wire_codec_unpack(WireCodec *codec, const void *packed, gsize packed_length, void *data,
                           gsize length, GError **error);

/* The same against `prefix`, bytes that both ends have (an older version of the same thing). */
gsize wire_codec_pack_against(WireCodec *codec, const void *prefix, gsize prefix_length, const void *data,
                              gsize length, int level, void *packed, gsize room);
gboolean wire_codec_unpack_against(WireCodec *codec, const void *prefix, gsize prefix_length,
                                   const void *packed, gsize packed_length, void *data, gsize length,
                                   GError **error);
