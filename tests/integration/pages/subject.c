/* A process of which most is never looked at by the function that is off-loaded: MIB megabytes of its own, of
 * which look() reads a part, and writes a word. subject MIB CALLS WALK: "same": the same part in each call,
 * "random": pages that were written since the last call, a tenth of them, another tenth each time. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, PART = 512 };

static uint64_t state = 88172645463325252u;

static uint64_t
next(void)
{
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static void
fill(uint8_t *page)
{
  for (int i = 0; i < PAGE; i += 8) {
    uint64_t word = next();
    memcpy(page + i, &word, 8);
  }
}

__attribute__((noinline)) uint64_t
look(uint8_t *memory, const uint32_t *pages, uint32_t count, uint64_t *result)
{
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++)
    for (int at = 0; at < PAGE; at += 8) {
      uint64_t word;
      memcpy(&word, memory + (uint64_t)pages[i] * PAGE + at, 8);
      sum = sum * 31 + word;
    }
  return *result = sum;
}

int
main(int argc, char **argv)
{
  uint32_t total = argc > 3 ? (uint32_t)atoi(argv[1]) * 256 : 0,
           calls = argc > 3 ? (uint32_t)atoi(argv[2]) : 0;
  if (total < PART || !calls)
    return 2;
  int random = strcmp(argv[3], "random") == 0;
  uint8_t *memory = malloc((uint64_t)total * PAGE);
  uint32_t *pages = malloc(total * sizeof *pages), count = random ? total / 10 : PART;
  uint64_t result = 0;
  if (!memory || !pages)
    return 3;
  for (uint32_t i = 0; i < total; i++)
    fill(memory + (uint64_t)i * PAGE);
  for (uint32_t call = 0; call < calls; call++) {
    for (uint32_t i = 0; i < count; i++)
      pages[i] = random ? (uint32_t)(next() % total) : i * (total / PART);
    for (uint32_t i = 0; random && call && i < total; i++)
      fill(memory + (uint64_t)i * PAGE);
    look(memory, pages, count, &result);
    printf("%016lx\n", (unsigned long)result);
  }
  return 0;
}
