/* A sequence of compressed messages, each behind two bytes that say how long it is; and the same bytes
 * packed. */
#include <string.h>

#include "wire/compress.h"

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  g_autoptr(WireUnpacker) stranger = wire_unpacker_new(), friend = wire_unpacker_new();
  g_autoptr(WirePacker) packer = wire_packer_new();
  gboolean good = TRUE;
  while (length >= 2) {
    gsize now = MIN((gsize)(data[0] << 8 | data[1]), length - 2), restored;
    data += 2, length -= 2;
    if (good && (good = wire_packed_length(data, now, 1 << 20, &restored, NULL))) {
      g_autofree guint8 *room = g_malloc(restored);
      good = wire_unpacker_unpack(stranger, data, now, room, restored, NULL);
    }
    g_autofree guint8 *packed = g_malloc(wire_packed_bound(now));
    g_autofree guint8 *back = g_malloc(now + 1);
    gsize size = wire_packer_pack(packer, &(struct iovec){(void *)data, now}, 1, packed);
    if (!wire_packed_length(packed, size, now, &restored, NULL) || restored != now ||
        !wire_unpacker_unpack(friend, packed, size, back, now, NULL) || memcmp(data, back, now) != 0)
      __builtin_trap();
    data += now, length -= now;
  }
  return 0;
}
