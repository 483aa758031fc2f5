#include "base/heap.h"

#include <malloc.h>

/* All of them: to set one ends glibc's own adapting of the others. */
enum { TRIM_BYTES = 8 << 20, MAP_BYTES = 4 << 20, GROWTH_BYTES = 1 << 20 };

void
heap_keep_freed(void)
{
  mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
  mallopt(M_MMAP_THRESHOLD, MAP_BYTES);
  mallopt(M_TOP_PAD, GROWTH_BYTES);
}
