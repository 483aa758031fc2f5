/* What bench/checkpoint runs: so many megabytes of memory, of which steps of equal work change a little, and
 * a file that grows and is sometimes changed in place. The end of the file tells of all that was done.
 *
 *   checkpoint MEGABYTES STEPS ROUNDS FILE    prints seconds, those of a processor, and the digest */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DIRTY_PAGES = 4, PAGE_WORDS = 512, STEPS_A_LINE = 4 };

static uint64_t
mix(uint64_t value)
{
  value ^= value >> 33;
  value *= 0xff51afd7ed558ccdull;
  value ^= value >> 33;
  value *= 0xc4ceb9fe1a85ec53ull;
  return value ^ value >> 33;
}

static double
now(clockid_t clock)
{
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void
write_line(int file, long step, uint64_t sum)
{
  char line[1024];
  memset(line, ' ', sizeof line);
  int length = snprintf(line, sizeof line, "%ld %016llx", step, (unsigned long long)sum);
  line[length] = ' ';
  line[sizeof line - 1] = '\n';
  if (write(file, line, sizeof line) != sizeof line || (step % 1000 == 0 && pwrite(file, line, 32, 0) != 32))
    exit(1);
}

int
main(int argc, char **argv)
{
  if (argc != 5)
    return 2;
  size_t words = ((size_t)atol(argv[1]) << 20) / 8, pages = words / PAGE_WORDS;
  long steps = atol(argv[2]), rounds = atol(argv[3]);
  int file = open(argv[4], O_RDWR | O_CREAT | O_TRUNC, 0644);
  uint64_t *memory = malloc(words * 8), sum = 1;
  if (file < 0 || !memory)
    return 1;
  for (size_t i = 0; i < words; i++)
    memory[i] = mix(i / 3);
  double began = now(CLOCK_MONOTONIC), used = now(CLOCK_PROCESS_CPUTIME_ID);
  for (long step = 0; step < steps; step++) {
    for (long i = 0; i < rounds; i++)
      sum = mix(sum + (uint64_t)i);
    /* No more than some pages that lie together, as programs have it. */
    uint64_t *at = memory + mix((uint64_t)step) % (pages - DIRTY_PAGES) * PAGE_WORDS;
    for (size_t i = 0; i < DIRTY_PAGES * PAGE_WORDS; i += 16)
      at[i] = sum = mix(at[i] ^ sum);
    if (step % STEPS_A_LINE == 0)
      write_line(file, step, sum);
  }
  double took = now(CLOCK_MONOTONIC) - began, own = now(CLOCK_PROCESS_CPUTIME_ID) - used;
  for (size_t i = 0; i < words; i++)
    sum = mix(sum ^ memory[i]);
  write_line(file, steps, sum);
  printf("%.3f %.3f %016llx\n", took, own, (unsigned long long)sum);
  return 0;
}
