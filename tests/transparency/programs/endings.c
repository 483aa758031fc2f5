/* Blocks that do not return where they were called, or not at all, or into themselves. */
#include "program.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static jmp_buf back;
static int jumps;

static void
at_exit(void)
{
  printf("atexit handler\n");
}

static void
register_exit(void)
{
  atexit(at_exit);
  printf("unflushed, ");
}

static void
exits(int round)
{
  if (round == 0) {
    printf("in round 0\n");
    return;
  }
  printf("exiting\n");
  exit(7);
}

static void
exits_at_once(int round)
{
  printf("never flushed");
  dprintf(1, "written\n");
  _exit(8);
}

static void
register_inside(int round)
{
  if (round == 0)
    atexit(at_exit);
}

static void *
exit_from_thread(void *unused)
{
  exit(9);
}

static void
exits_from_thread(int round)
{
  pthread_t thread;
  pthread_create(&thread, NULL, exit_from_thread, NULL);
  for (;;)
    pause();
}

static volatile int said;

static void
thread_exits(int round)
{
  printf("main thread ends\n");
  fflush(stdout);
  said = 1;
  pthread_exit(NULL);
}

static void *
outlast(void *unused)
{
  while (!said)
    usleep(10000);
  usleep(100000);
  printf("the other thread ends the process\n");
  exit(12);
}

static void
start_outlasting(void)
{
  pthread_t thread;
  pthread_create(&thread, NULL, outlast, NULL);
}

static void
aborts(int round)
{
  dprintf(1, "aborting\n");
  abort();
}

static volatile int *nowhere;

static void
crashes(int round)
{
  dprintf(1, "crashing\n");
  *nowhere = 1;
}

static void
divides(int round)
{
  static volatile int zero;
  dprintf(1, "dividing\n");
  printf("%d\n", 1000 / zero);
}

static void
is_terminated(int round)
{
  dprintf(1, "terminating\n");
  kill(getpid(), SIGTERM);
  dprintf(1, "not reached\n");
}

/* longjmp past the block's caller. */
static void
jumps_out(int round)
{
  if (round % 2 == 0)
    longjmp(back, round + 1);
  printf("round %d returns\n", round);
}

__attribute__((noinline)) static void
caller(int round)
{
  block(round);
  printf("back in the caller\n");
}

static void
drive_jumps(int rounds)
{
  volatile int round = 0;
  for (; round < rounds; round++) {
    int value = setjmp(back);
    if (value == 0)
      caller(round);
    else
      printf("jumped with %d, %d so far\n", value, ++jumps);
  }
}

/* A jump within the block is nobody's business. */
static void
jumps_inside(int round)
{
  jmp_buf here;
  volatile int tries = 0;
  int value = setjmp(here);
  if (++tries < 4)
    longjmp(here, tries);
  printf("value %d after %d tries\n", value, tries);
}

static void
recurses(int depth)
{
  static int calls;
  calls++;
  if (depth > 0) {
    block(depth - 1);
    block(depth - 2);
  }
  if (depth == 9)
    printf("calls so far %d\n", calls);
}

static void
drive_recursion(int rounds)
{
  for (int round = 0; round < rounds; round++)
    block(9);
}

/* Blocks on a stack of their own. */
static ucontext_t home, task;
static char task_stack[256 * 1024];

static void
task_body(void)
{
  for (int round = 0; round < 4; round++) {
    block(round);
    swapcontext(&task, &home);
  }
}

static void
on_own_stack(int round)
{
  printf("on a stack of its own, round %d, %lx\n", round, churn(round, 100));
}

static void
drive_own_stack(int rounds)
{
  getcontext(&task);
  task.uc_stack.ss_sp = task_stack;
  task.uc_stack.ss_size = sizeof task_stack;
  task.uc_link = &home;
  makecontext(&task, task_body, 0);
  for (int round = 0; round < 4; round++)
    swapcontext(&home, &task);
}

/* A block that leaves to another stack, where the program goes on, and comes back later. */
static void
switches(int round)
{
  printf("leaving from round %d\n", round);
  swapcontext(&task, &home);
  printf("back in round %d\n", round);
}

static void
switching_body(void)
{
  block(0);
  block(1);
}

static void
drive_switches(int rounds)
{
  getcontext(&task);
  task.uc_stack.ss_sp = task_stack;
  task.uc_stack.ss_size = sizeof task_stack;
  task.uc_link = &home;
  makecontext(&task, switching_body, 0);
  for (int step = 0; step < 3; step++) {
    swapcontext(&home, &task);
    printf("outside, step %d\n", step);
  }
}

static int
descending(const void *a, const void *b)
{
  return *(const int *)b - *(const int *)a;
}

static void
calls_back(int round)
{
  int values[50];
  for (int i = 0; i < 50; i++)
    values[i] = i * 37 % 50 + round;
  qsort(values, 50, sizeof *values, descending);
  printf("%d %d %d\n", values[0], values[1], values[49]);
}

const Case cases[] = {{"exit", register_exit, exits, NULL, NULL},
                      {"exit-at-once", register_exit, exits_at_once, NULL, NULL},
                      {"atexit-inside", NULL, register_inside, NULL, NULL},
                      {"exit-from-thread", NULL, exits_from_thread, NULL, NULL},
                      {"thread-exit", start_outlasting, thread_exits, NULL, NULL},
                      {"abort", register_exit, aborts, NULL, NULL},
                      {"crash", NULL, crashes, NULL, NULL},
                      {"divide", NULL, divides, NULL, NULL},
                      {"terminated", NULL, is_terminated, NULL, NULL},
                      {"longjmp", NULL, jumps_out, NULL, drive_jumps},
                      {"longjmp-inside", NULL, jumps_inside, NULL, NULL},
                      {"recursive", NULL, recurses, NULL, drive_recursion},
                      {"own-stack", NULL, on_own_stack, NULL, drive_own_stack},
                      {"switch", NULL, switches, NULL, drive_switches},
                      {"callback", NULL, calls_back, NULL, NULL},
                      {NULL}};
