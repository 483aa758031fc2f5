/* A program with one function that could be off-loaded, and that stays on the device. What is timed is what
 * the program does besides, in slices of equal work: it computes, or it makes system calls. Between two
 * slices the function is called, for about 100 us, outside the time that is taken.
 *
 * kept compute|calls|clock SLICES: prints each slice's nanoseconds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
  SLICES_MAX = 100000,
  COMPUTE_TURNS = 1000000,
  CALL_TURNS = 20000,
  CLOCK_TURNS = 20000,
  KEPT_TURNS = 50000
};

static int64_t samples[SLICES_MAX];
static volatile uint64_t sink;

static int64_t
now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static uint64_t
mix(uint64_t value, int turns)
{
  for (int i = 0; i < turns; i++) {
    value ^= value << 13;
    value ^= value >> 7;
    value ^= value << 17;
  }
  return value;
}

uint64_t bench_kept(uint64_t value);

__attribute__((noinline)) uint64_t
bench_kept(uint64_t value)
{
  return mix(value, KEPT_TURNS);
}

static void
compute(void)
{
  sink = mix(sink + 1, COMPUTE_TURNS);
}

static void
make_calls(void)
{
  for (int i = 0; i < CALL_TURNS; i++)
    sink += syscall(SYS_getppid);
}

static void
ask_clock(void)
{
  for (int i = 0; i < CLOCK_TURNS; i++)
    sink += now_ns();
}

static const struct {
  const char *name;
  void (*slice)(void);
} kinds[] = {{"compute", compute}, {"calls", make_calls}, {"clock", ask_clock}};

int
main(int argc, char **argv)
{
  int slices = argc == 3 ? atoi(argv[2]) : 0;
  void (*slice)(void) = NULL;
  for (size_t i = 0; argc == 3 && i < sizeof kinds / sizeof *kinds; i++)
    if (strcmp(argv[1], kinds[i].name) == 0)
      slice = kinds[i].slice;
  if (!slice || slices < 1 || slices > SLICES_MAX) {
    fprintf(stderr, "usage: kept compute|calls|clock SLICES\n");
    return 2;
  }
  /* Long enough before the first slice for a Controller to have made up its mind. */
  for (int i = 0; i < 8; i++)
    sink = bench_kept(sink + 1);
  for (int i = 0; i < slices; i++) {
    sink = bench_kept(sink + 1);
    int64_t start = now_ns();
    slice();
    samples[i] = now_ns() - start;
  }
  for (int i = 0; i < slices; i++)
    printf("%lld\n", (long long)samples[i]);
  return 0;
}
