/* Messages about profiles, from either end, and what the engine says of a run. What is packed again and
 * believed then is the same. */
#include <stdint.h>
#include <stdlib.h>

#include "profiler/message.h"
#include "profiler/seen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(ProfilerSeen) seen = g_new0(ProfilerSeen, 1);
  profiler_seen_read(seen, (const char *)data, size);
  if (seen->first_out > seen->bytes_out || seen->first_in > seen->bytes_in || seen->first_trips > seen->trips)
    abort();
  g_autoptr(ProfilerMessage) message = profiler_message_unpack(data, size, NULL);
  if (!message)
    return 0;
  g_autoptr(GBytes) packed = profiler_message_pack(message);
  gsize length;
  const guint8 *again = g_bytes_get_data(packed, &length);
  g_autoptr(ProfilerMessage) second = profiler_message_unpack(again, length, NULL);
  g_autoptr(GBytes) packed_second = second ? profiler_message_pack(second) : NULL;
  if (second && !g_bytes_equal(packed, packed_second))
    abort();
  return 0;
}
