/* A frame's header and a preamble, as any peer sends them: what is accepted is written again the same. */
#include <string.h>

#include "wire/frame.h"
#include "wire/preamble.h"

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  WireFrame frame;
  if (length >= WIRE_FRAME_HEADER && wire_frame_decode(data, &frame, NULL)) {
    guint8 again[WIRE_FRAME_HEADER];
    wire_frame_encode(again, &frame);
    if (memcmp(data, again, sizeof again) != 0 || frame.length > WIRE_PACKED_MAX ||
        (frame.kind != WIRE_PACKED && frame.length > WIRE_DATA_MAX))
      __builtin_trap();
  }
  WirePreamble preamble;
  if (length >= WIRE_PREAMBLE_LENGTH && wire_preamble_decode(data, &preamble, NULL)) {
    guint8 again[WIRE_PREAMBLE_LENGTH];
    wire_preamble_encode(again, &preamble);
    if (memcmp(data, again, sizeof again) != 0)
      __builtin_trap();
  }
  return 0;
}
