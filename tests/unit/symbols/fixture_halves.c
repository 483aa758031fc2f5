/* A function with an unlikely half, which the compiler puts elsewhere, and one without a frame of its own. */
static volatile int sink;

__attribute__((noipa, cold)) void
rare(int x)
{
  sink += x;
}

__attribute__((noipa)) int
halves(int x)
{
  int before = sink;
  if (__builtin_expect(x > 40, 0)) {
    rare(x);
    sink *= before;
    rare(before);
  }
  return sink + before;
}

__attribute__((noipa)) int
frameless(int x)
{
  return x * 3;
}

int
main(int argc, char **argv)
{
  return halves(argc) + frameless(argc);
}
