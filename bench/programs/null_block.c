/* A function that returns at once, in a process with a heap of 64 MiB that is all there.
 *
 * null_block CALLS: prints each call's nanoseconds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEAP_BYTES = 64 << 20, CALLS_MAX = 1000000 };

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
  int calls = argc == 2 ? atoi(argv[1]) : 0;
  if (calls < 1 || calls > CALLS_MAX) {
    fprintf(stderr, "usage: null_block CALLS\n");
    return 2;
  }
  char *heap = malloc(HEAP_BYTES);
  int64_t *samples = malloc(calls * sizeof *samples);
  if (!heap || !samples)
    return 1;
  memset(heap, 1, HEAP_BYTES);
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
