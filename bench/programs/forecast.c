/* A function whose next call cannot be told from the last: between calls the program writes all its pages
 * anew, and each call reads another tenth of them, by chance.
 *
 * forecast SEED PAGES CALLS: prints each call's nanoseconds, at last the sum of what was read. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAGE = 4096, PAGES_MAX = 1 << 18, CALLS_MAX = 100000, SHARE = 10 };

static uint64_t noise;
static unsigned pages;
static unsigned char *memory;

static int64_t
now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static uint64_t
chance(uint64_t *state) /* xorshift */
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

static void
write_all(void)
{
  uint64_t *words = (uint64_t *)memory;
  for (size_t i = 0; i < (size_t)pages * (PAGE / sizeof *words); i++)
    words[i] = chance(&noise);
}

uint64_t bench_forecast(uint64_t seed);

__attribute__((noinline)) uint64_t
bench_forecast(uint64_t seed)
{
  uint64_t sum = 0;
  for (unsigned i = 0; i < pages / SHARE; i++) {
    const uint64_t *page = (const uint64_t *)(memory + chance(&seed) % pages * PAGE);
    for (unsigned word = 0; word < PAGE / sizeof *page; word++)
      sum += page[word] * (i + 1);
  }
  return sum;
}

int
main(int argc, char **argv)
{
  noise = argc == 4 ? strtoull(argv[1], NULL, 10) : 0;
  pages = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
  int calls = argc == 4 ? atoi(argv[3]) : 0;
  if (!noise || pages < SHARE || pages > PAGES_MAX || calls < 1 || calls > CALLS_MAX) {
    fprintf(stderr, "usage: forecast SEED PAGES CALLS\n");
    return 2;
  }
  memory = aligned_alloc(PAGE, (size_t)pages * PAGE);
  int64_t *took = calloc((size_t)calls, sizeof *took);
  uint64_t sum = 0;
  if (!memory || !took)
    return 1;
  for (int i = 0; i < calls; i++) {
    write_all();
    uint64_t seed = chance(&noise);
    int64_t start = now_ns();
    sum += bench_forecast(seed);
    took[i] = now_ns() - start;
  }
  for (int i = 0; i < calls; i++)
    printf("%" PRId64 "\n", took[i]);
  printf("%" PRIu64 "\n", sum);
  free(took);
  free(memory);
  return 0;
}
