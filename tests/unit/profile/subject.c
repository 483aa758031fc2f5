/* A program whose calls are known from reading it; test_valgrind.c has the numbers. Compiled with -O2, so
 * that calls at a function's end are jumps, and what is unlikely is moved out of its function. */
#include <pthread.h>
#include <stdlib.h>

#define OWN __attribute__((noipa)) static

static volatile int sink;

OWN int
last(int x)
{
  for (int i = 0; i < x; i++)
    sink += i;
  return sink;
}

OWN int
middle(int x)
{
  sink++;
  return last(x + 1);
}

OWN int
first(int x)
{
  sink += 2;
  return middle(x * 2);
}

OWN int
factorial(int n)
{
  if (n < 2)
    return 1;
  int rest = factorial(n - 1);
  sink = rest;
  return n * rest;
}

OWN int odd(int n);

OWN int
even(int n)
{
  sink++;
  if (n == 0)
    return 1;
  int answer = odd(n - 1);
  sink = answer;
  return answer;
}

OWN int
odd(int n)
{
  sink++;
  if (n == 0)
    return 0;
  int answer = even(n - 1);
  sink = answer;
  return answer;
}

__attribute__((noipa, cold)) static void
rare(void)
{
  sink += 3;
}

OWN int
guarded(int x)
{
  if (__builtin_expect(x > 40, 0)) {
    sink += 7;
    rare();
    sink *= 3;
  }
  sink += last(x);
  return sink;
}

OWN void
visit(int x)
{
  sink += x;
}

OWN void
each(void (*call)(int), int count)
{
  for (int i = 0; i < count; i++) {
    call(i);
    sink--;
  }
}

static void *volatile address;

OWN void
make(void)
{
  void *block = malloc(8);
  free(block);
  sink++;
}

OWN void
make_two(void)
{
  void *blocks[] = {malloc(8), malloc(9)};
  free(blocks[0]);
  free(blocks[1]);
  sink++;
}

OWN void *
threaded(void *unused)
{
  for (int i = 0; i < 4; i++)
    visit(i);
  return unused;
}

OWN void
with_thread(void)
{
  pthread_t thread;
  if (pthread_create(&thread, NULL, threaded, NULL) == 0)
    pthread_join(thread, NULL);
  sink++;
}

/* Dumped before, in one of the tests. */
OWN void
interlude(void)
{
  sink++;
}

int
main(void)
{
  for (int i = 0; i < 10; i++)
    first(i);
  for (int i = 0; i < 3; i++)
    middle(i);
  interlude();
  last(4);
  factorial(6);
  even(5);
  for (int i = 38; i < 43; i++)
    guarded(i);
  interlude();
  each(visit, 7);
  for (int i = 0; i < 5; i++)
    make();
  make_two();
  with_thread();
  /* Its address is taken, so the linker calls it by a stub in a section of its own, .plt.got. */
  address = (void *)free;
  return 0;
}
