/* The program that the twin tests mirror: one function that touches every kind of state, called several
 * times. */
#include <fenv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static double table[1 << 16];
static char *grown;
static int calls;
static __thread int thread_local_word = 7;

static void
on_signal(int number)
{
}

/* Fills memory, allocates, maps, unmaps, changes a handler and the umask: all of it must come home. */
__attribute__((noinline)) static double
work(int round)
{
  double sum = 0;
  char text[256];
  calls++;
  thread_local_word += round;
  for (int i = 0; i < 1 << 16; i += 7)
    sum += table[i] = table[i] * 0.5 + i * (round + 1);
  char *large = malloc(8 << 20);
  memset(large, round, 8 << 20);
  sum += large[12345];
  free(large);
  grown = realloc(grown, (round + 1) * 300000);
  memset(grown, 'a' + round, (round + 1) * 300000);
  snprintf(text, sizeof text, "%.17g %d", sum, calls);
  sum += strlen(text);
  char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  map[4096] = 3;
  mprotect(map, 4096, PROT_NONE);
  if (round % 2)
    munmap(map, 1 << 20);
  signal(SIGUSR1, round % 2 ? SIG_IGN : on_signal);
  umask(022 + round % 2);
  fesetround(round % 2 ? FE_UPWARD : FE_TONEAREST);
  return sum + 1.0 / 3;
}

int
main(void)
{
  double total = 0;
  for (int i = 0; i < 1 << 16; i++)
    table[i] = i;
  for (int round = 0; round < 6; round++) {
    struct sigaction action;
    total += work(round);
    sigaction(SIGUSR1, NULL, &action);
    mode_t mask = umask(0);
    umask(mask);
    printf("%d %.17g %d %d %o %d %c\n", round, total, calls, thread_local_word, (unsigned)mask,
           action.sa_handler == SIG_IGN     ? 1
           : action.sa_handler == on_signal ? 2
                                            : 3,
           grown[round * 300000 + 17]);
    table[round * 1000] += 1;
    if (round == 2)
      madvise((void *)(((unsigned long)table + 4095) & ~4095ul), 65536, MADV_DONTNEED);
  }
  return 0;
}
