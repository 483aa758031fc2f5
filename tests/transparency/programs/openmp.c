/* OpenMP: a pool of threads that exists before the block, or that the block creates. */
#include "program.h"

#include <omp.h>

static double
sum(int round)
{
  enum { N = 200000 };
  long total = 0;
#pragma omp parallel for reduction(+ : total) schedule(static)
  for (int i = 0; i < N; i++)
    total += (long)i * (round + 1) % 97;
  return (double)total;
}

static void
warm(void)
{
  omp_set_num_threads(4);
  printf("before: %.0f\n", sum(0));
}

static void
four(void)
{
  omp_set_num_threads(4);
}

static void
inside(int round)
{
  printf("inside: %.0f\n", sum(round));
  int seen = 0;
#pragma omp parallel
#pragma omp atomic
  seen++;
  printf("threads: %d\n", seen);
}

static void
after(void)
{
  printf("after: %.0f\n", sum(9));
}

const Case cases[] = {{"before", warm, inside, after, NULL}, {"inside", four, inside, after, NULL}, {NULL}};
