#include "wire/compress.h"

#include <string.h>
#include <zstd.h>

#include "base/error.h"

enum { LEVEL = 1, WINDOW_LOG = 18, LENGTH_BYTES = 4 };
G_STATIC_ASSERT(1u << WINDOW_LOG == WIRE_WINDOW);

struct WirePacker {
  ZSTD_CCtx *context;
};

struct WireUnpacker {
  ZSTD_DCtx *context;
};

/* ---- packing ---- */

WirePacker *
wire_packer_new(void)
{
  WirePacker *packer = g_new(WirePacker, 1);
  packer->context = ZSTD_createCCtx();
  g_assert(packer->context); /* as GLib does for memory */
  ZSTD_CCtx_setParameter(packer->context, ZSTD_c_compressionLevel, LEVEL);
  ZSTD_CCtx_setParameter(packer->context, ZSTD_c_windowLog, WINDOW_LOG);
  return packer;
}

void
wire_packer_set_level(WirePacker *packer, int level)
{
  ZSTD_CCtx_setParameter(packer->context, ZSTD_c_compressionLevel, level ? level : LEVEL);
}

void
wire_packer_free(WirePacker *packer)
{
  if (!packer)
    return;
  ZSTD_freeCCtx(packer->context);
  g_free(packer);
}

/* A flushed block costs a few bytes beyond the frame that ZSTD_compressBound() thinks of. */
gsize
wire_packed_bound(gsize length)
{
  return LENGTH_BYTES + ZSTD_compressBound(length) + 64;
}

gsize
wire_packer_pack(WirePacker *packer, const struct iovec *pieces, guint count, guint8 *packed)
{
  gsize length = 0;
  for (guint i = 0; i < count; i++)
    length += pieces[i].iov_len;
  guint32 big = GUINT32_TO_BE((guint32)length);
  memcpy(packed, &big, LENGTH_BYTES);
  ZSTD_outBuffer out = {packed + LENGTH_BYTES, wire_packed_bound(length) - LENGTH_BYTES, 0};
  for (guint i = 0; i < count || i == 0; i++) {
    ZSTD_inBuffer in = count ? (ZSTD_inBuffer){pieces[i].iov_base, pieces[i].iov_len, 0} : (ZSTD_inBuffer){0};
    ZSTD_EndDirective how = i + 1 >= count ? ZSTD_e_flush : ZSTD_e_continue;
    gsize left;
    do {
      left = ZSTD_compressStream2(packer->context, &out, &in, how);
      g_assert(!ZSTD_isError(left) && (left == 0 || out.pos < out.size));
    } while (in.pos < in.size || (how == ZSTD_e_flush && left > 0));
  }
  return LENGTH_BYTES + out.pos;
}

/* ---- unpacking ---- */

WireUnpacker *
wire_unpacker_new(void)
{
  WireUnpacker *unpacker = g_new(WireUnpacker, 1);
  unpacker->context = ZSTD_createDCtx();
  g_assert(unpacker->context);
  ZSTD_DCtx_setParameter(unpacker->context, ZSTD_d_windowLogMax, WINDOW_LOG);
  return unpacker;
}

void
wire_unpacker_free(WireUnpacker *unpacker)
{
  if (!unpacker)
    return;
  ZSTD_freeDCtx(unpacker->context);
  g_free(unpacker);
}

gboolean
wire_packed_length(const guint8 *packed, gsize packed_length, gsize limit, gsize *length, GError **error)
{
  guint32 big;
  if (packed_length < sizeof big)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the peer sent a compressed message of %zu bytes",
                            packed_length);
  memcpy(&big, packed, sizeof big);
  *length = GUINT32_FROM_BE(big);
  return *length <= limit ||
         doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the peer announced a message of %zu bytes, %zu are allowed", *length, limit);
}

gboolean
wire_unpacker_unpack(WireUnpacker *unpacker, const guint8 *packed, gsize packed_length, guint8 *data,
                     gsize length, GError **error)
{
  guint8 none;
  /* zstd takes being asked in vain for a fault, when it happens again and again. */
  if (packed_length == LENGTH_BYTES && length == 0)
    return TRUE;
  ZSTD_inBuffer in = {packed + LENGTH_BYTES, packed_length - LENGTH_BYTES, 0};
  ZSTD_outBuffer out = {length ? data : &none, length, 0};
  size_t result = 1;
  gboolean moved = TRUE;
  while (moved && !ZSTD_isError(result)) {
    gsize taken = in.pos, given = out.pos;
    result = ZSTD_decompressStream(unpacker->context, &out, &in);
    moved = in.pos != taken || out.pos != given;
  }
  /* What else stands in these bytes would come out with the next message. */
  ZSTD_outBuffer more = {&none, 1, 0};
  if (!ZSTD_isError(result) && result > 0)
    result = ZSTD_decompressStream(unpacker->context, &more, &in);
  if (ZSTD_isError(result))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the peer sent a compressed message that is damaged: %s",
                            ZSTD_getErrorName(result));
  /* A stream that ends, and another that begins, would forget what both ends have. */
  if (in.pos != in.size || out.pos != length || more.pos > 0 || (result == 0 && length > 0))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the peer sent a compressed message of another length than the %zu announced",
                            length);
  return TRUE;
}
