/* For the static and the stripped builds: some of everything, in one file without libraries. */
#include "program.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char *heap;

static void
before(void)
{
  heap = calloc(1, 1 << 20);
  strcpy(heap, "before");
}

static void
inside(int round)
{
  printf("%s\n", heap);
  heap = realloc(heap, (2 + round) << 20);
  snprintf(heap, 100, "round %d, %lx, %a", round, churn(round, 100000), sin(round + 0.5));
  int fd = open("made", O_WRONLY | O_CREAT | O_APPEND, 0644);
  dprintf(fd, "%s\n", heap);
  close(fd);
  struct timespec now;
  check("clock", clock_gettime(CLOCK_MONOTONIC, &now) == 0);
}

static void
after(void)
{
  printf("%s\n", heap);
}

const Case cases[] = {{"some", before, inside, after, NULL}, {NULL}};
