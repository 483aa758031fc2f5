#include "library.h"

#include <doppel/offload.h>

double
library_sum(int from, int to)
{
  DOPPEL_OFFLOAD;
  double sum = 0;
  for (int i = from; i < to; i++)
    sum += 1.0 / i;
  return sum;
}

double
library_difference(int from, int to)
{
  double sum = 0;
  for (int i = from; i < to; i++)
    sum -= 1.0 / i;
  return sum;
}
