/* Signals: handlers installed before or inside the block, sent by the process itself, by timers, and from
 * outside. */
#include "program.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t count, last, on_alternate;
static volatile unsigned long spun;
static int feed[2];

static void
handler(int number)
{
  count++;
  last = number;
}

static void
install(int number, int flags)
{
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  sigaction(number, &action, NULL);
}

static void
install_before(void)
{
  install(SIGUSR1, 0);
}

static void
raises(int round)
{
  if (round == 1)
    install(SIGUSR2, SA_RESTART);
  raise(SIGUSR1);
  printf("raised: %d\n", (int)count);
  kill(getpid(), SIGUSR1);
  printf("killed: %d\n", (int)count);
}

static void
raise_after(void)
{
  raise(SIGUSR2);
  printf("after: %d, last %d\n", (int)count, (int)last);
}

static void
installs(int round)
{
  install(SIGHUP, 0);
  signal(SIGTERM, SIG_IGN);
  kill(getpid(), SIGTERM);
  kill(getpid(), SIGHUP);
  printf("%d %d\n", (int)count, (int)last);
}

static void
installs_after(void)
{
  raise(SIGTERM);
  raise(SIGHUP);
  printf("%d %d\n", (int)count, (int)last);
}

static void
alarms(int round)
{
  install(SIGALRM, 0);
  int before = count;
  /* Again, should the first one come before it is waited for. */
  struct itimerval once = {{0, 200000}, {0, 30000}};
  setitimer(ITIMER_REAL, &once, NULL);
  int result = pause();
  printf("pause %d %s, alarms %d\n", result, strerror(errno), count > before);
  struct itimerval often = {{0, 5000}, {0, 5000}};
  setitimer(ITIMER_REAL, &often, NULL);
  while (count < before + 6)
    spun++;
  setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
  check("repeated", count >= before + 6);
}

/* A timer armed inside that fires on the device, and one armed on the device that fires inside. */
static void
armed_before(void)
{
  install(SIGALRM, 0);
  struct itimerval soon = {.it_value = {0, 100000}};
  setitimer(ITIMER_REAL, &soon, NULL);
}

static void
armed_inside(int round)
{
  if (round == 0)
    while (!count)
      usleep(1000);
  printf("alarms %d\n", (int)count);
  if (round > 0)
    alarm(1);
}

static void
armed_after(void)
{
  while (count < 2)
    pause();
  printf("alarms %d\n", (int)count);
}

/* SIGUSR1 comes from outside while the block computes, or sleeps, or reads. */
static void
from_outside(int round)
{
  int before = count;
  printf("ready %d\n", round);
  fflush(stdout);
  while (count == before)
    spun++;
  printf("signal %d\n", (int)last);
}

static void
while_sleeping(int round)
{
  printf("ready %d\n", round);
  fflush(stdout);
  struct timespec rest, sleep_for = {2000, 0};
  int result = nanosleep(&sleep_for, &rest);
  printf("sleep %d, rest is right %d, signal %d\n", result, rest.tv_sec >= 1000, (int)last);
}

static void
pipe_before(void)
{
  install(SIGUSR1, 0);
  (void)!pipe(feed);
}

static void
while_reading(int round)
{
  char byte;
  printf("ready %d\n", round);
  fflush(stdout);
  ssize_t got = read(feed[0], &byte, 1);
  printf("read %zd %s\n", got, got < 0 ? strerror(errno) : "");
}

static void
kills_outright(int round)
{
  printf("ready %d\n", round);
  fflush(stdout);
  for (;;)
    spun++;
}

/* Blocked signals stay pending, across the block's ends. */
static void
block_before(void)
{
  sigset_t set;
  install(SIGUSR1, 0);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR1);
}

static void
blocked_inside(int round)
{
  sigset_t pending, mask, set;
  sigpending(&pending);
  sigprocmask(SIG_BLOCK, NULL, &mask);
  printf("pending %d, blocked %d, seen %d\n", sigismember(&pending, SIGUSR1), sigismember(&mask, SIGUSR1),
         (int)count);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  if (round == 0)
    kill(getpid(), SIGUSR2);
}

static void
blocked_after(void)
{
  sigset_t pending, none;
  install(SIGUSR2, 0);
  sigpending(&pending);
  printf("pending %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2));
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  printf("seen %d\n", (int)count);
}

static void
alternate_handler(int number)
{
  stack_t now;
  sigaltstack(NULL, &now);
  on_alternate += now.ss_flags == SS_ONSTACK;
}

static void
alternate_before(void)
{
  stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
  sigaltstack(&stack, NULL);
  struct sigaction action = {.sa_handler = alternate_handler, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, NULL);
}

static void
alternate_inside(int round)
{
  raise(SIGUSR1);
  printf("on the alternate stack %d\n", (int)on_alternate);
}

/* The block is called from a handler. */
static void
block_in_handler(int number)
{
  block(number);
}

static void
in_handler(int number)
{
  sigset_t mask;
  sigprocmask(SIG_BLOCK, NULL, &mask);
  printf("in the handler of %d, blocked %d\n", number, sigismember(&mask, number));
}

static void
drive_in_handler(int rounds)
{
  struct sigaction action = {.sa_handler = block_in_handler};
  sigaction(SIGUSR1, &action, NULL);
  for (int round = 0; round < rounds; round++)
    raise(SIGUSR1);
}

static void
waits(int round)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, NULL);
  union sigval value = {.sival_int = 77 + round};
  sigqueue(getpid(), SIGRTMIN, value);
  sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5});
  siginfo_t info;
  check("waited", sigwaitinfo(&set, &info) == SIGRTMIN);
  printf("value %d\n", info.si_value.sival_int);
  int fd = signalfd(-1, &set, 0);
  struct signalfd_siginfo read_info;
  (void)!read(fd, &read_info, sizeof read_info);
  printf("by descriptor %d\n", read_info.ssi_int);
  close(fd);
}

static void
to_thread(int round)
{
  install(SIGUSR1, 0);
  int before = count;
  pthread_kill(pthread_self(), SIGUSR1);
  printf("thread %d\n", (int)count - before);
}

const Case cases[] = {{"raise", install_before, raises, raise_after, NULL},
                      {"install", NULL, installs, installs_after, NULL},
                      {"alarm", NULL, alarms, NULL, NULL},
                      {"armed", armed_before, armed_inside, armed_after, NULL},
                      {"outside", install_before, from_outside, NULL, NULL},
                      {"sleeping", install_before, while_sleeping, NULL, NULL},
                      {"reading", pipe_before, while_reading, NULL, NULL},
                      {"killed", NULL, kills_outright, NULL, NULL},
                      {"blocked", block_before, blocked_inside, blocked_after, NULL},
                      {"alternate", alternate_before, alternate_inside, NULL, NULL},
                      {"in-handler", NULL, in_handler, NULL, drive_in_handler},
                      {"waits", NULL, waits, NULL, NULL},
                      {"to-thread", NULL, to_thread, NULL, NULL},
                      {NULL}};
