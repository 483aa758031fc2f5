/* A library for the symbol tests: a function in two versions, an indirect function, a weak one. */
int fixture_versioned_old(int x);
int fixture_versioned_new(int x);
int fixture_fast(int x);
int fixture_weak(int x);
int __fixture_fast_plain(int x);
int __fixture_fast_wide(int x);

__asm__(".symver fixture_versioned_old, fixture_versioned@FIXTURE_1");
__asm__(".symver fixture_versioned_new, fixture_versioned@@FIXTURE_2");

int
fixture_versioned_old(int x)
{
  return x + 1;
}

int
fixture_versioned_new(int x)
{
  return x + 2;
}

int
__fixture_fast_plain(int x)
{
  return x * 5;
}

int
__fixture_fast_wide(int x)
{
  return x * 5 + 0;
}

static int (*resolve_fast(void))(int)
{
  return __fixture_fast_wide;
}

int fixture_fast(int x) __attribute__((ifunc("resolve_fast")));

__attribute__((weak)) int
fixture_weak(int x)
{
  return x - 1;
}
