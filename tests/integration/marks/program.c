/* Calls functions of the library, and one of its own, ten times each. */
#include <doppel/offload.h>
#include <stdio.h>

#include "library.h"

static double
product(int from, int to)
{
  DOPPEL_OFFLOAD;
  double result = 1;
  for (int i = from; i < to; i++)
    result *= 1 + 1.0 / ((double)i * i);
  return result;
}

int
main(void)
{
  for (int i = 1; i <= 10; i++)
    printf("%.17g %.17g %.17g\n", library_sum(i, i + 2000000), library_difference(i, i + 1000),
           product(i, i + 2000000));
  return 0;
}
