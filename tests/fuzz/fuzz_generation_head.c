/* The list of a store's generations: what is believed is written again as it was. The checksum, which a
 * fuzzer does not guess, is put right. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "replica/generation_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(GBytes) as_it_is = g_bytes_new(data, size);
  g_autoptr(GenerationHead) none = generation_head_parse(as_it_is, NULL);
  g_autofree char *check =
      g_strdup_printf("checksum %016" G_GINT64_MODIFIER "x\n", (guint64)XXH3_64bits(data, size));
  GByteArray *text = g_byte_array_new();
  g_byte_array_append(text, data, size);
  g_byte_array_append(text, (const guint8 *)check, strlen(check));
  g_autoptr(GBytes) checked = g_byte_array_free_to_bytes(text);
  g_autoptr(GenerationHead) head = generation_head_parse(checked, NULL);
  if (!head)
    return 0;
  g_autoptr(GBytes) again = generation_head_format(head);
  g_autoptr(GenerationHead) parsed = generation_head_parse(again, NULL);
  g_autoptr(GBytes) third = parsed ? generation_head_format(parsed) : NULL;
  if (!third || !g_bytes_equal(again, third))
    abort();
  return 0;
}
