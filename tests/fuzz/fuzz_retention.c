/* What a clone keeps, as its host finds it on its disk. */
#include <string.h>

#include "replica/generation_retention.h"

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  GenerationRetention read, again;
  g_autofree char *text = g_strndup((const char *)data, length);
  if (!generation_retention_parse(text, &read, NULL))
    return 0;
  g_autofree char *written = generation_retention_format(&read);
  if (!generation_retention_parse(written, &again, NULL))
    __builtin_trap();
  g_autofree char *same = generation_retention_format(&again);
  if (strcmp(written, same) != 0 || read.pins->len > GENERATION_RETENTION_MOST ||
      read.last > GENERATION_RETENTION_MOST)
    __builtin_trap();
  generation_retention_clear(&read);
  generation_retention_clear(&again);
  return 0;
}
