/* The program that the tests of src/mirror trace: what it does is named by its first argument, and it keeps
 * score on a page whose address everybody knows (Board). It needs nothing but libc. */
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

#define BOARD ((Board *)BOARD_ADDRESS)

__attribute__((noinline, noclone)) static void
tick(void)
{
  __atomic_add_fetch(&BOARD->ticks, 1, __ATOMIC_SEQ_CST);
}

static void
ready(void)
{
  __atomic_add_fetch(&BOARD->ready, 1, __ATOMIC_SEQ_CST);
}

/* ---- ticking ---- */

static void *
tick_for_ever(void *unused)
{
  ready();
  for (;;)
    tick();
  return NULL;
}

static void *
tick_once(void *unused)
{
  tick();
  __atomic_add_fetch(&BOARD->finished, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

/* Threads that come and go without end. */
static void *
breed(void *unused)
{
  ready();
  for (;;) {
    pthread_t child;
    if (pthread_create(&child, NULL, tick_once, NULL) == 0)
      pthread_join(child, NULL);
  }
  return NULL;
}

/* ---- calls that wait ---- */

static int pipe_ends[2];

static long
wait_futex(void)
{
  static int word;
  return syscall(SYS_futex, &word, 0x80 /* wait, private */, 0, NULL);
}

static long
wait_sleep(void)
{
  struct timespec long_time = {.tv_nsec = 700000000};
  return clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, NULL);
}

static long
wait_read(void)
{
  char byte;
  return read(pipe_ends[0], &byte, 1);
}

static long
wait_suspend(void)
{
  sigset_t but_user;
  sigfillset(&but_user);
  sigdelset(&but_user, SIGUSR1);
  return sigsuspend(&but_user);
}

static long (*const waits[])(void) = {wait_futex, wait_sleep, wait_read, wait_suspend};

static void *
wait_in_call(void *which)
{
  int index = GPOINTER_TO_INT(which);
  ready();
  BOARD->result[index] = waits[index]();
  BOARD->failure[index] = errno;
  __atomic_add_fetch(&BOARD->finished, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static void
on_signal(int number)
{
}

static void
calls(void)
{
  signal(SIGUSR1, on_signal);
  if (pipe(pipe_ends) < 0)
    abort();
  for (int i = 0; i < (int)G_N_ELEMENTS(waits); i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, wait_in_call, GINT_TO_POINTER(i));
  }
  while (!__atomic_load_n(&BOARD->go, __ATOMIC_SEQ_CST))
    usleep(1000);
  if (write(pipe_ends[1], "x", 1) != 1)
    abort();
}

/* ---- memory, as the test says ---- */

static gint64
perform(const BoardCommand *command)
{
  const guint64 *argument = command->argument;
  volatile guint64 *words = (volatile guint64 *)argument[0];
  gint64 sum = 0;
  switch ((BoardOperation)command->operation) {
  case BOARD_LOAD:
    return *(volatile guint8 *)argument[0];
  case BOARD_STORE:
    *words = argument[1];
    return 0;
  case BOARD_SUM:
    for (guint64 i = 0; i < argument[1] / sizeof *words; i++)
      sum += (gint64)words[i];
    return sum;
  case BOARD_CALL:
    sum = syscall((long)command->number, argument[0], argument[1], argument[2], argument[3], argument[4],
                  argument[5]);
    return sum == -1 ? -errno : sum;
  default:
    abort();
  }
}

static void *
work(void *command_given)
{
  BoardCommand *command = command_given;
  ready();
  for (;;) {
    if (__atomic_load_n(&command->operation, __ATOMIC_SEQ_CST) == BOARD_NOTHING) {
      usleep(20);
      continue;
    }
    command->result = perform(command);
    __atomic_store_n(&command->operation, BOARD_NOTHING, __ATOMIC_SEQ_CST);
  }
  return NULL;
}

static void
works(void)
{
  if (pipe(pipe_ends) < 0)
    abort();
  BOARD->result[0] = pipe_ends[0];
  BOARD->result[1] = pipe_ends[1];
  for (int i = 0; i < BOARD_WORKERS; i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, &BOARD->command[i]);
  }
}

/* ---- the alternate signal stack ---- */

static void
spin(int number)
{
  ready();
  while (!__atomic_load_n(&BOARD->go, __ATOMIC_SEQ_CST))
    ;
}

static void
on_stack(void)
{
  static char room[1 << 18];
  stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
  struct sigaction action = {.sa_handler = spin, .sa_flags = SA_ONSTACK};
  sigaltstack(&stack, NULL);
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  tick();
}

/* ---- vector registers ---- */

#ifdef __x86_64__
/* Between `loaded` and `stored` nothing is executed that would know of the registers. */
__attribute__((noinline)) static void
vectors_512(void)
{
  __asm__ volatile(
      "leaq 1f(%%rip), %%rax\n movq %%rax, (%0)\n"
      "leaq 2f(%%rip), %%rax\n movq %%rax, (%1)\n"
      ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
      "vmovdqu64 (\\n * 64)(%2), %%zmm\\n\n"
      ".endr\n"
      ".irp n,0,1,2,3,4,5,6,7\n"
      "kmovw (\\n * 8)(%4), %%k\\n\n"
      ".endr\n"
      "1: nop\n"
      ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
      "vmovdqu64 %%zmm\\n, (\\n * 64)(%3)\n"
      ".endr\n"
      ".irp n,0,1,2,3,4,5,6,7\n"
      "kmovw %%k\\n, (\\n * 8)(%5)\n"
      ".endr\n"
      "2: nop\n"
      :
      : "r"(&BOARD->loaded), "r"(&BOARD->stored), "r"(BOARD->in), "r"(BOARD->out), "r"(BOARD->masks_in),
        "r"(BOARD->masks_out)
      : "rax", "memory", "cc");
}

__attribute__((noinline)) static void
vectors_256(void)
{
  __asm__ volatile("leaq 1f(%%rip), %%rax\n movq %%rax, (%0)\n"
                   "leaq 2f(%%rip), %%rax\n movq %%rax, (%1)\n"
                   ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
                   "vmovdqu (\\n * 64)(%2), %%ymm\\n\n"
                   ".endr\n"
                   "1: nop\n"
                   ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
                   "vmovdqu %%ymm\\n, (\\n * 64)(%3)\n"
                   ".endr\n"
                   "2: nop\n"
                   :
                   : "r"(&BOARD->loaded), "r"(&BOARD->stored), "r"(BOARD->in), "r"(BOARD->out)
                   : "rax", "memory", "cc");
}

static void
vectors(const char *width)
{
  ready();
  while (!__atomic_load_n(&BOARD->go, __ATOMIC_SEQ_CST))
    ;
  tick();
  for (;;)
    if (strcmp(width, "512") == 0)
      vectors_512();
    else
      vectors_256();
}
#else
static void
vectors(const char *width)
{
  abort();
}
#endif

int
main(int argc, char **argv)
{
  const char *what = argc > 1 ? argv[1] : "";
  int count = argc > 2 ? atoi(argv[2]) : 1;
  if (mmap(BOARD, sizeof *BOARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
           -1, 0) != BOARD)
    return 3;
  BOARD->tick = (guint64)(guintptr)tick;
  for (int i = 0; i < count && (strcmp(what, "tick") == 0 || strcmp(what, "breed") == 0); i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, *what == 't' ? tick_for_ever : breed, NULL);
  }
  if (strcmp(what, "calls") == 0)
    calls();
  if (strcmp(what, "work") == 0)
    works();
  if (strcmp(what, "stack") == 0)
    on_stack();
  if (strcmp(what, "vectors") == 0)
    vectors(argv[2]);
  if (strcmp(what, "orphans") == 0) { /* the first thread ends before the others */
    pthread_t thread;
    pthread_create(&thread, NULL, tick_for_ever, NULL);
    pthread_exit(NULL);
  }
  ready();
  for (;;)
    pause();
}
