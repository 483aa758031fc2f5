/* A step of a generation, as a device sends it to its clone. What is believed can be packed, and is believed
 * again then, and is the same. */
#include <stdint.h>
#include <stdlib.h>

#include "replica/generation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(GBytes) message = g_bytes_new(data, size);
  g_autoptr(GenerationStep) step = generation_step_unpack(message, NULL);
  if (!step)
    return 0;
  g_autoptr(GBytes) packed = generation_step_pack(step);
  g_autoptr(GenerationStep) again = generation_step_unpack(packed, NULL);
  if (!again)
    abort();
  g_autoptr(GBytes) packed_again = generation_step_pack(again);
  if (!g_bytes_equal(packed, packed_again))
    abort();
  return 0;
}
