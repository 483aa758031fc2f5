/* Compressed bytes: the first two say how many they should become, the rest is the frame. */
#include "wire/compress.h"

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static WireCodec *codec;
  if (!codec)
    codec = wire_codec_new();
  if (length < 2)
    return 0;
  gsize announced = data[0] << 8 | data[1];
  g_autofree guint8 *room = g_malloc(announced + 1);
  wire_codec_unpack(codec, data + 2, length - 2, room, announced, NULL);
  wire_codec_unpack_against(codec, data, length, data + 2, length - 2, room, announced, NULL);

  g_autofree guint8 *packed = g_malloc(length);
  g_autofree guint8 *back = g_malloc(length);
  gsize size = wire_codec_pack(codec, data, length, 1, packed, length);
  if (size > 0 && !wire_codec_unpack(codec, packed, size, back, length, NULL))
    __builtin_trap();
  return 0;
}
