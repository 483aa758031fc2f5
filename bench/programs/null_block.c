/* A function that returns at once, in a process with a large heap that is all there.
 *
 * null_block CALLS [MIB]: prints each call's nanoseconds. The heap has 64 MiB where nothing else is said. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEAP_MIB = 64, HEAP_MIB_MAX = 1 << 20, CALLS_MAX = 1000000 };

static int64_t
now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void bench_null(void);

__attribute__((noinline)) void
bench_null(void)
{
  __asm__ volatile("" ::: "memory");
}

int
main(int argc, char **argv)
{
  int calls = argc == 2 || argc == 3 ? atoi(argv[1]) : 0, mib = argc == 3 ? atoi(argv[2]) : HEAP_MIB;
  if (calls < 1 || calls > CALLS_MAX || mib < 1 || mib > HEAP_MIB_MAX) {
    fprintf(stderr, "usage: null_block CALLS [MIB]\n");
    return 2;
  }
  size_t heap_bytes = (size_t)mib << 20;
  char *heap = malloc(heap_bytes);
  int64_t *samples = malloc(calls * sizeof *samples);
  if (!heap || !samples)
    return 1;
  memset(heap, 1, heap_bytes);
  memset(samples, 0, calls * sizeof *samples);
  __asm__ volatile(""
                   :
                   : "r"(heap), "r"(samples)
                   : "memory"); /* they are needed, whatever a compiler thinks */
  for (int i = 0; i < calls; i++) {
    int64_t start = now_ns();
    bench_null();
    samples[i] = now_ns() - start;
  }
  for (int i = 0; i < calls; i++)
    printf("%lld\n", (long long)samples[i]);
  free(samples);
  free(heap);
  return 0;
}
