#include "wire/compress.h"

#include <zstd.h>

#include "base/error.h"

struct WireCodec {
  ZSTD_CCtx *packer; /* made at first use: many ends only unpack */
  ZSTD_DCtx *unpacker;
};

WireCodec *
wire_codec_new(void)
{
  return g_new0(WireCodec, 1);
}

void
wire_codec_free(WireCodec *codec)
{
  if (!codec)
    return;
  ZSTD_freeCCtx(codec->packer);
  ZSTD_freeDCtx(codec->unpacker);
  g_free(codec);
}

gsize
wire_codec_pack_against(WireCodec *codec, const void *prefix, gsize prefix_length, const void *data,
                        gsize length, int level, void *packed, gsize room)
{
  if (!codec->packer && !(codec->packer = ZSTD_createCCtx()))
    return 0;
  ZSTD_CCtx_setParameter(codec->packer, ZSTD_c_compressionLevel, level);
  if (prefix_length > 0 && ZSTD_isError(ZSTD_CCtx_refPrefix(codec->packer, prefix, prefix_length)))
    return 0;
  gsize written = ZSTD_compress2(codec->packer, packed, MIN(room, length), data, length);
  if (ZSTD_isError(written)) {
    ZSTD_CCtx_reset(codec->packer, ZSTD_reset_session_only);
    return 0;
  }
  return written < length ? written : 0;
}

gsize
wire_codec_pack(WireCodec *codec, const void *data, gsize length, int level, void *packed, gsize room)
{
  return wire_codec_pack_against(codec, NULL, 0, data, length, level, packed, room);
}

gboolean
wire_codec_unpack_against(WireCodec *codec, const void *prefix, gsize prefix_length, const void *packed,
                          gsize packed_length, void *data, gsize length, GError **error)
{
  if (!codec->unpacker && !(codec->unpacker = ZSTD_createDCtx()))
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "zstd has no memory to decompress with");
  if (prefix_length > 0)
    ZSTD_DCtx_refPrefix(codec->unpacker, prefix, prefix_length);
  gsize size = ZSTD_findFrameCompressedSize(packed, packed_length);
  gsize restored = ZSTD_decompressDCtx(codec->unpacker, data, length, packed, packed_length);
  if (ZSTD_isError(restored)) {
    ZSTD_DCtx_reset(codec->unpacker, ZSTD_reset_session_only);
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the peer sent compressed bytes that are damaged: %s",
                            ZSTD_getErrorName(restored));
  }
  if (restored != length || size != packed_length)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the peer sent %zu compressed bytes for the %zu that it announced", restored,
                            length);
  return TRUE;
}

gboolean
wire_codec_unpack(WireCodec *codec, const void *packed, gsize packed_length, void *data, gsize length,
                  GError **error)
{
  return wire_codec_unpack_against(codec, NULL, 0, packed, packed_length, data, length, error);
}
