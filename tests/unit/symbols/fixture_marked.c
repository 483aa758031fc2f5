/* Functions with and without marks, most of them such that a compiler would rather have them inline. */
#include "doppel/offload.h"

int fixture_marked_public(int n);
int fixture_marked_tail(int n);

static int
fixture_marked_once(int n)
{
  DOPPEL_OFFLOAD;
  int sum = 0;
  for (int i = 0; i < n; i++)
    sum += i % 7;
  return sum;
}

static inline int
fixture_marked_inline(int n)
{
  DOPPEL_OFFLOAD;
  return n + 1;
}

/* Copies for constant arguments are made of it. */
static int
fixture_marked_constant(int n, int mode)
{
  DOPPEL_OFFLOAD;
  int product = 1;
  for (int i = 1; i < n; i++)
    product *= mode == 3 ? i : i + mode;
  return product;
}

int
fixture_marked_public(int n)
{
  DOPPEL_OFFLOAD;
  return fixture_marked_once(n) * 2;
}

int
fixture_marked_tail(int n)
{
  DOPPEL_OFFLOAD;
  return fixture_marked_public(n + 3);
}

static int
fixture_unmarked(int n)
{
  return fixture_marked_inline(n) - fixture_marked_constant(n, 3);
}

int
main(int argc, char **argv)
{
  return (fixture_unmarked(argc) + fixture_marked_tail(argc) + !argv[0]) & 1;
}
