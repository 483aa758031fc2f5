/* How this process's heap behaves (mallopt(3)). */
#pragma once

/* For a process that takes and frees the same megabytes again and again: what is freed is given back to the
 * kernel only beyond some MiB, so that not each round pays for all of its pages again. */
void heap_keep_freed(void);
