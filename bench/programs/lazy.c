/* Fills a buffer by a function that is off-loaded, and then reads one part in a hundred of it: at each call
 * anew. Prints how long each call took until its result was read, in ns, and at last a sum of all that was
 * read.
 *
 * usage: lazy MEBIBYTES CALLS [scattered] */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAGE = 4096, SHARE = 100 };

void bench_fill(unsigned char *at, size_t length, uint64_t seed);

__attribute__((noinline)) void
bench_fill(unsigned char *at, size_t length, uint64_t seed)
{
  uint64_t state = seed * 2654435761u + 1;
  for (size_t i = 0; i + sizeof state <= length; i += sizeof state) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    memcpy(at + i, &state, sizeof state);
  }
}

/* One part in a hundred, in one piece; or as single pages. */
static uint64_t
read_some(const unsigned char *at, size_t length, int call, int scattered)
{
  size_t share = length / SHARE / PAGE * PAGE, sum = 0;
  const unsigned char *start = at + (size_t)(call * 17 % SHARE) * share;
  for (size_t page = 0; page < share / PAGE; page++) {
    const unsigned char *from = scattered ? at + page * SHARE * PAGE : start + page * PAGE;
    for (size_t i = 0; i < PAGE; i++)
      sum = sum * 31 + from[i];
  }
  return sum;
}

int
main(int argc, char **argv)
{
  size_t length = (argc > 1 ? strtoul(argv[1], NULL, 10) : 64) << 20;
  int calls = argc > 2 ? atoi(argv[2]) : 1, scattered = argc > 3;
  unsigned char *buffer = malloc(length);
  uint64_t sum = 0;
  for (int call = 0; buffer && call < calls; call++) {
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    bench_fill(buffer, length, (uint64_t)call + 1);
    sum = sum * 31 + read_some(buffer, length, call, scattered);
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("%ld\n", (after.tv_sec - before.tv_sec) * 1000000000l + after.tv_nsec - before.tv_nsec);
  }
  printf("%lx\n", (unsigned long)sum);
  return 0;
}
