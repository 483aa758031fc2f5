/* A program for the symbol tests: public and private functions, an alias, a call into the fixture library. */
#include <stdio.h>

int fixture_fast(int x);
int fixture_versioned(int x);

static __attribute__((noinline)) int
private_helper(int x)
{
  return x * 3 + 1;
}

__attribute__((noinline)) int
public_work(int x)
{
  return private_helper(x) + 7;
}

int public_alias(int x) __attribute__((alias("public_work")));

int
main(int argc, char **argv)
{
  printf("%d\n", public_work(argc) + fixture_fast(argc) + fixture_versioned(argc));
  return 0;
}
