#include "program.h"

#include <stdlib.h>
#include <string.h>

static const Case *current;
static int failures;

/* In a stripped build the block has no name: the linker puts its section at a known address (meson.build). */
#ifdef BLOCK_SECTION
__attribute__((section(BLOCK_SECTION)))
#endif
__attribute__((noinline, visibility("default"))) void
block(int round)
{
  current->inside(round);
  __asm__ volatile("" ::: "memory");
}

void
check_at(const char *name, bool right, int line)
{
  if (right) {
    printf("%s: ok\n", name);
    return;
  }
  printf("%s: WRONG (line %d)\n", name, line);
  failures++;
}

unsigned long
churn(unsigned long seed, long steps)
{
  unsigned long state = seed * 2 + 1;
  for (long i = 0; i < steps; i++)
    state = state * 6364136223846793005ul + 1442695040888963407ul;
  return state;
}

static int
usage(const char *self)
{
  fprintf(stderr, "usage: %s CASE [ROUNDS]; the cases are:", self);
  for (const Case *each = cases; each->name; each++)
    fprintf(stderr, " %s", each->name);
  fprintf(stderr, "\n");
  return 2;
}

int
main(int argc, char **argv)
{
  int rounds = argc > 2 ? atoi(argv[2]) : 2;
  for (const Case *each = cases; argc > 1 && each->name; each++)
    if (strcmp(each->name, argv[1]) == 0)
      current = each;
  if (!current)
    return usage(argv[0]);
  if (current->before)
    current->before();
  if (current->drive)
    current->drive(rounds);
  else
    for (int round = 0; round < rounds; round++)
      block(round);
  if (current->after)
    current->after();
  printf("end\n");
  return failures ? 1 : 0;
}
