/* Memory that stays on the device until the block touches it: by instructions and by the kernel, from several
 * threads, children and signal handlers, and while mappings change. */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  MUCH = 300 << 20,
  PAGE = 4096,
  MIB = 1 << 20,
  BIG = 64 * MIB,
  ROOM = 8 * MIB,
  PAGES = ROOM / PAGE,
  THREADS = 4
};

extern char **environ;

static unsigned char *far;
static unsigned long turn; /* of the device between two blocks */

static unsigned char *
map(size_t length)
{
  unsigned char *at =
      mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    perror("mmap");
    exit(9);
  }
  return at;
}

/* A word in each page is of its own, some pages are zero. */
static void
fill(unsigned char *at, size_t length, unsigned long seed)
{
  for (size_t page = 0; page < length / PAGE; page++) {
    unsigned long word = churn(seed + page, 3);
    for (size_t i = 0; i < PAGE && page % 13; i += 512)
      memcpy(at + page * PAGE + i, &word, sizeof word);
  }
}

static unsigned long
digest(const unsigned char *at, size_t length)
{
  unsigned long sum = 14695981039346656037ul, word;
  for (size_t i = 0; i + sizeof word <= length; i += sizeof word) {
    memcpy(&word, at + i, sizeof word);
    sum = (sum ^ word) * 1099511628211ul;
  }
  return sum;
}

static void
before(void)
{
  far = map(ROOM);
  fill(far, ROOM, 1);
  printf("%lx\n", digest(far, ROOM));
}

static void
after(void)
{
  printf("%lx\n", digest(far, ROOM));
}

/* The device changes all of it between the blocks. */
static void
renewing(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    fill(far, ROOM, 100 + ++turn);
    block(round);
    printf("after %d: %lx\n", round, digest(far, ROOM));
  }
}

/* ---- touched here and there ---- */

static void
scattered_before(void)
{
  far = malloc(BIG);
  fill(far, BIG, 7);
}

static void
scattered_inside(int round)
{
  unsigned long sum = 0, at = round + 1;
  for (int i = 0; i < 300; i++) {
    at = churn(at, 5);
    unsigned char *byte = far + at % BIG;
    sum = sum * 31 + *byte;
    if (i % 3 == 0)
      *byte = (unsigned char)i;
  }
  printf("sum %lx\n", sum);
}

static void
scattered_after(void)
{
  printf("%lx\n", digest(far, BIG));
  free(far);
}

static void
walk_inside(int round)
{
  printf("up %lx\n", digest(far + round * MIB, 4 * MIB));
  unsigned long sum = 0;
  for (size_t at = 8 * MIB; at > 5 * MIB; at -= PAGE / 2)
    sum = sum * 31 + far[at - 1];
  for (size_t at = 0; at < 4 * MIB; at += 5 * PAGE)
    far[at] = (unsigned char)(at / PAGE + round);
  printf("down %lx\n", sum);
}

/* ---- threads ---- */

static pthread_t pool[THREADS];
static atomic_int go, done;
static unsigned long sums[THREADS];

static void *
sweep(void *index)
{
  int self = (int)(intptr_t)index;
  unsigned long sum = 0;
  for (int page = 0; page < PAGES; page += 3) { /* all of them over the same pages, each to its own words */
    unsigned char *at = far + (size_t)((page * 7 + self * 31) % PAGES) * PAGE;
    sum = sum * 31 + at[512];
    at[8 + self] = (unsigned char)page;
  }
  sums[self] = sum;
  return NULL;
}

static void
print_sums(void)
{
  for (int i = 0; i < THREADS; i++)
    printf("%lx ", sums[i]);
  printf("%lx\n", digest(far, ROOM));
}

static void
threads_inside(int round)
{
  for (int i = 0; i < THREADS; i++)
    pthread_create(&pool[i], NULL, sweep, (void *)(intptr_t)i);
  unsigned long sum = 0;
  for (int page = PAGES - 1; page >= 0; page--) /* meanwhile */
    sum = sum * 31 + far[(size_t)page * PAGE + 1024];
  for (int i = 0; i < THREADS; i++)
    pthread_join(pool[i], NULL);
  printf("own %lx\n", sum);
  print_sums();
}

static void *
wait_then_sweep(void *index)
{
  while (!atomic_load(&go))
    sched_yield();
  sweep(index);
  atomic_fetch_add(&done, 1);
  return NULL;
}

/* They are there before the block, their stacks and TLS far, and end in it. */
static void
ending_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    atomic_store(&go, 0);
    for (int i = 0; i < THREADS; i++)
      pthread_create(&pool[i], NULL, wait_then_sweep, (void *)(intptr_t)i);
    fill(far, ROOM, 50 + round);
    block(round);
  }
}

static void
ending_inside(int round)
{
  atomic_store(&go, 1);
  for (int i = 0; i < THREADS; i++)
    pthread_join(pool[i], NULL);
  print_sums();
}

/* Locks and conditions that are far, each on a page of its own. */
typedef struct {
  pthread_mutex_t mutex;
  pthread_cond_t condition;
  int value;
} Place;

static Place *
place(int number)
{
  return (Place *)(void *)(far + (size_t)(number * 50) * PAGE);
}

static void
locks_before(void)
{
  before();
  for (int i = 0; i < THREADS + 1; i++) {
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&place(i)->mutex, &robust);
    pthread_cond_init(&place(i)->condition, NULL);
    place(i)->value = 0;
  }
}

static void *
pass_on(void *index)
{
  int self = (int)(intptr_t)index;
  Place *from = place(self), *to = place(self + 1);
  for (int value = 1; value <= 20; value++) {
    pthread_mutex_lock(&from->mutex);
    while (from->value != value)
      pthread_cond_wait(&from->condition, &from->mutex);
    pthread_mutex_unlock(&from->mutex);
    pthread_mutex_lock(&to->mutex);
    to->value = value;
    pthread_cond_signal(&to->condition);
    pthread_mutex_unlock(&to->mutex);
  }
  return NULL;
}

static void *
die_with_lock(void *index)
{
  pthread_mutex_lock(&place(0)->mutex);
  return NULL;
}

static void
locks_inside(int round)
{
  for (int i = 0; i <= THREADS; i++)
    place(i)->value = 0;
  for (int i = 0; i < THREADS; i++)
    pthread_create(&pool[i], NULL, pass_on, (void *)(intptr_t)i);
  for (int value = 1; value <= 20; value++) {
    pthread_mutex_lock(&place(0)->mutex);
    place(0)->value = value;
    pthread_cond_signal(&place(0)->condition);
    pthread_mutex_unlock(&place(0)->mutex);
    Place *last = place(THREADS);
    pthread_mutex_lock(&last->mutex);
    while (last->value != value)
      pthread_cond_wait(&last->condition, &last->mutex);
    pthread_mutex_unlock(&last->mutex);
  }
  for (int i = 0; i < THREADS; i++)
    pthread_join(pool[i], NULL);
  pthread_create(&pool[0], NULL, die_with_lock, NULL);
  pthread_join(pool[0], NULL);
  check("owner died", pthread_mutex_lock(&place(0)->mutex) == EOWNERDEAD);
  pthread_mutex_consistent(&place(0)->mutex);
  pthread_mutex_unlock(&place(0)->mutex);
}

/* Ids and addresses are not equal from run to run. */
static void
locks_after(void)
{
  for (int i = 0; i <= THREADS; i++)
    memset(place(i), 0, sizeof(Place));
  after();
}

/* Locks that threads hold since before the block, in which they end without a look at them. */
static pthread_barrier_t barrier;

static void *
hold_then_die(void *index)
{
  int self = (int)(intptr_t)index;
  pthread_mutex_lock(&place(self)->mutex);
  pthread_mutex_lock(&place(self + THREADS)->mutex);
  pthread_barrier_wait(&barrier);
  while (!atomic_load(&go))
    sched_yield();
  return NULL;
}

static void
robust_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    fill(far, ROOM, 90 + round);
    for (int i = 0; i < 2 * THREADS; i++)
      pthread_mutex_init(&place(i)->mutex, &robust);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    atomic_store(&go, 0);
    for (int i = 0; i < THREADS; i++)
      pthread_create(&pool[i], NULL, hold_then_die, (void *)(intptr_t)i);
    pthread_barrier_wait(&barrier);
    block(round);
  }
  for (int i = 0; i < 2 * THREADS; i++)
    memset(place(i), 0, sizeof(Place));
}

static void
robust_inside(int round)
{
  atomic_store(&go, 1);
  for (int i = 0; i < THREADS; i++)
    pthread_join(pool[i], NULL);
  for (int i = 0; i < 2 * THREADS; i++) {
    int failure = pthread_mutex_trylock(&place(i)->mutex);
    printf("%d: %s\n", i, failure == EOWNERDEAD ? "owner died" : strerror(failure));
    pthread_mutex_consistent(&place(i)->mutex);
    pthread_mutex_unlock(&place(i)->mutex);
  }
}

/* ---- children ---- */

static void
fork_inside(int round)
{
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    printf("child %lx\n", digest(far, ROOM));
    far[3 * PAGE] = 1; /* its own */
    fflush(stdout);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  far[5 * PAGE] = (unsigned char)(40 + round);
  printf("parent %d %lx\n", status, digest(far, ROOM));
}

static void
grandchild_inside(int round)
{
  fflush(stdout);
  if (fork() == 0) {
    far[PAGE] = 9;
    if (fork() == 0) {
      printf("grandchild %d %lx\n", far[PAGE], digest(far + 2 * MIB, MIB));
      fflush(stdout);
      _exit(0);
    }
    wait(NULL);
    _exit(0);
  }
  wait(NULL);
  printf("%lx\n", digest(far + MIB, MIB));
}

/* The words of the command, and the environment, are far. */
static char **
far_command(void)
{
  char **words = (char **)(void *)(far + (size_t)600 * PAGE);
  static const char *const texts[] = {"/bin/echo", "far", "words"};
  for (int i = 0; i < 3; i++) {
    words[i] = (char *)far + (size_t)(700 + i * 40) * PAGE + PAGE - 4; /* over a border */
    strcpy(words[i], texts[i]);
  }
  words[3] = NULL;
  return words;
}

static void
exec_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    fill(far, ROOM, 60 + round);
    far_command();
    block(round);
  }
}

/* Addresses are not equal from run to run. */
static void
exec_after(void)
{
  memset(far + (size_t)600 * PAGE, 0, 4 * sizeof(char *));
  after();
}

static void
exec_inside(int round)
{
  char **words = (char **)(void *)(far + (size_t)600 * PAGE);
  fflush(stdout);
  if (fork() == 0) {
    execve(far_command()[0], words, environ);
    _exit(9);
  }
  int status;
  wait(&status);
  printf("status %d\n", status);
}

static void
vfork_inside(int round)
{
  char **words = (char **)(void *)(far + (size_t)600 * PAGE);
  fflush(stdout);
  pid_t child = vfork();
  if (child == 0) {
    far[9 * PAGE] = 77; /* in the parent's memory */
    execve(words[0], words, environ);
    _exit(9);
  }
  int status;
  waitpid(child, &status, 0);
  printf("vfork %d %d %d\n", status, far[9 * PAGE], far[900 * PAGE]);
}

static void
spawn_inside(int round)
{
  char **words = (char **)(void *)(far + (size_t)600 * PAGE);
  fflush(stdout);
  pid_t child;
  int status, failure = posix_spawn(&child, words[0], NULL, NULL, words, environ);
  waitpid(child, &status, 0);
  printf("spawn %d %d\n", failure, status);
}

/* A child reads the memory of its parent. */
static void
peek_inside(int round)
{
  pid_t parent = getpid();
  fflush(stdout);
  if (fork() == 0) {
    unsigned char *own = malloc(MIB);
    struct iovec to = {own, MIB}, from = {far + 4 * MIB, MIB};
    ssize_t got = process_vm_readv(parent, &to, 1, &from, 1, 0);
    printf("peeked %zd %lx\n", got, got > 0 ? digest(own, got) : 0);
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
}

/* ---- calls ---- */

static int pipe_ends[2], pair[2], file = -1;

static void
calls_before(void)
{
  before();
  (void)!pipe(pipe_ends);
  (void)!socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
}

static void
calls_inside(int round)
{
  unsigned char *own = malloc(4 * PAGE);
  memset(own, 0, 4 * PAGE);
  /* From far memory, over borders. */
  printf("write %zd\n", write(pipe_ends[1], far + 10 * PAGE + 100, 2 * PAGE));
  printf("read %zd %lx\n", read(pipe_ends[0], own, 2 * PAGE), digest(own, 2 * PAGE));
  struct iovec out[3] = {{far + 30 * PAGE - 8, 16}, {far + 60 * PAGE, PAGE}, {far + 90 * PAGE + 512, 8}};
  printf("writev %zd\n", writev(file, out, 3));
  printf("pwrite %zd\n", pwrite(file, far + 120 * PAGE, 3 * PAGE, 2 * PAGE));
  struct msghdr *message = (void *)(far + 200 * PAGE);
  struct iovec *vector = (void *)(far + 240 * PAGE);
  vector[0] = (struct iovec){far + 280 * PAGE + 512, 1000};
  vector[1] = (struct iovec){far + 320 * PAGE - 500, 1000};
  memset(message, 0, sizeof *message);
  message->msg_iov = vector;
  message->msg_iovlen = 2;
  printf("sendmsg %zd\n", sendmsg(pair[0], message, 0));
  /* Into it. */
  printf("recv %zd\n", recv(pair[1], far + 400 * PAGE - 700, 2000, MSG_WAITALL));
  printf("pread %zd\n", pread(file, far + 440 * PAGE + 1, 3 * PAGE, 0));
  struct iovec in[2] = {{far + 480 * PAGE + 5, PAGE}, {far + 520 * PAGE + 5, 100}};
  printf("preadv %zd\n", preadv(file, in, 2, 10));
  lseek(file, 0, SEEK_SET);
  printf("read %zd\n", read(file, far + 560 * PAGE - 10, 20));
  memset(message, 0, sizeof *message); /* addresses are not equal from run to run */
  memset(vector, 0, 2 * sizeof *vector);
  printf("%lx\n", digest(far, ROOM));
  free(own);
}

static void
calls_after(void)
{
  after();
  close(file);
}

/* Pins: what the device has open before the block, to somebody else. */
static void
pins_inside(int round)
{
  ssize_t got = read(0, far + 100 * PAGE - 3, 6);
  printf("input %zd %.6s\n", got, (char *)far + 100 * PAGE - 3);
  fflush(stdout);
  for (int i = 0; i < 4; i++) {
    char *line = (char *)far + (size_t)(300 + i * 80) * PAGE - 6;
    struct iovec parts[2] = {{line, 12}, {"\n", 1}};
    (void)!writev(1, parts, 2);
  }
}

static void
pins_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    fill(far, ROOM, 80 + round);
    for (int i = 0; i < 4; i++)
      memcpy(far + (size_t)(300 + i * 80) * PAGE - 6, i % 2 ? "far and away" : "over borders", 12);
    block(round);
  }
}

/* Into the new part of a mapping that has grown, which nobody has touched, and was far in parts. */
static void
grown_inside(int round)
{
  size_t length = ROOM + (size_t)round * MIB;
  if (!far[0])
    printf("empty\n");
  far = mremap(far, length, length + MIB, MREMAP_MAYMOVE);
  check("grown", far != MAP_FAILED);
  ssize_t got = read(0, far + length + 100 * PAGE, 6);
  printf("input %zd %.6s\n", got, (char *)far + length + 100 * PAGE);
  fflush(stdout);
  (void)!write(1, far + length + 50 * PAGE, 4);
  printf("\n%lx\n", digest(far, length + MIB));
}

static void
grown_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    for (int page = 0; page < PAGES; page += 60)
      memset(far + (size_t)page * PAGE, 'a' + round, 5 * PAGE);
    block(round);
  }
}

/* ---- signals ---- */

static volatile sig_atomic_t handled;

static void
on_signal(int number, siginfo_t *info, void *context)
{
  volatile unsigned char local[64];
  local[0] = far[(size_t)(1000 + handled * 17) * PAGE];
  handled++;
  far[(size_t)(1000 + handled * 17) * PAGE + 8] = local[0] + 1;
}

static void
signals_before(void)
{
  before();
  stack_t stack = {.ss_sp = far + 4 * MIB, .ss_size = 16 * PAGE};
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_ONSTACK | SA_SIGINFO};
  sigaltstack(&stack, NULL);
  sigaction(SIGUSR1, &action, NULL);
}

static void
signals_inside(int round)
{
  for (int i = 0; i < 5; i++)
    raise(SIGUSR1);
  memset(far + 4 * MIB, 0, 16 * PAGE); /* frames are not equal from run to run */
  printf("handled %d, %lx\n", (int)handled, digest(far, ROOM));
}

/* ---- mappings ---- */

static void
mapped_inside(int round)
{
  unsigned char *moved = mremap(far + MIB, MIB, 2 * MIB, MREMAP_MAYMOVE);
  printf("moved %lx\n", digest(moved, 2 * MIB));
  moved[5 * PAGE] = 9;
  unsigned char *back = mremap(moved, 2 * MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, far + MIB);
  check("moved back", back == far + MIB);
  printf("%lx\n", digest(far + MIB, MIB));
  madvise(far + 2 * MIB, MIB / 2, MADV_DONTNEED);
  far[2 * MIB + 3 * PAGE] = 4;
  printf("let go %lx\n", digest(far + 2 * MIB, MIB));
  mprotect(far + 3 * MIB, MIB / 4, PROT_NONE);
  mprotect(far + 3 * MIB + MIB / 4, MIB / 4, PROT_READ);
  printf("read only %lx\n", digest(far + 3 * MIB + MIB / 4, MIB / 4));
  mprotect(far + 3 * MIB, MIB / 2, PROT_READ | PROT_WRITE);
  printf("again %lx\n", digest(far + 3 * MIB, MIB));
  munmap(far + 4 * MIB, MIB / 2);
  unsigned char *anew =
      mmap(far + 4 * MIB, MIB / 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  check("anew", anew == far + 4 * MIB);
  mmap(far + 4 * MIB + MIB / 4, MIB / 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
       0);
  anew[6 * PAGE] = 6;
  printf("anew %lx\n", digest(far + 4 * MIB, MIB));
  mmap(far + 5 * MIB, PAGE * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  printf("over %lx\n", digest(far + 5 * MIB, MIB));
  check("locked", mlock(far + 6 * MIB, 16 * PAGE) == 0);
  munlock(far + 6 * MIB, 16 * PAGE);
  printf("locked %lx\n", digest(far + 6 * MIB, 64 * PAGE));
}

/* Its end is let go, and grows anew: once before it is looked at in the next block, once at once. */
static void
regrown_inside(int round)
{
  if (round % 2 == 0) {
    munmap(far + 4 * MIB, 4 * MIB);
    check("in place", mremap(far, 4 * MIB, 8 * MIB, 0) == far);
  }
  if (round)
    printf("%d %d %lx\n", far[5 * MIB + PAGE], far[6 * MIB], digest(far + 4 * MIB, 4 * MIB));
  far[7 * MIB + round] = (unsigned char)(round + 1);
}

static void
regrown_drive(int rounds)
{
  for (int round = 0; round < 2 * rounds; round++) {
    if (round == 2)
      fill(far + 4 * MIB, 4 * MIB, 33);
    block(round);
  }
}

/* Unmapped in one block without a look at it; in the next somebody asks for all there is, and for what is
 * not. */
static void
unmapped_inside(int round)
{
  static unsigned char *at;
  if (round % 2 == 0) {
    at = far + (round ? 5 : 2) * MIB;
    munmap(at, MIB);
    return;
  }
  errno = 0;
  printf("%zd %s\n", write(1, at, 4), strerror(errno));
  fflush(stdout);
  if (fork() == 0)
    _exit(far[MIB]);
  int status;
  wait(&status);
  printf("status %x\n", status);
  mmap(at, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  printf("%lx\n", digest(at, MIB));
}

static void
unmapped_drive(int rounds)
{
  for (int round = 0; round < 2 * rounds; round++) {
    if (round == 2)
      fill(far, ROOM, 44);
    block(round);
  }
}

/* What is freed is either zero or as it was; written anew, it is what was written. */
static void
freed_inside(int round)
{
  madvise(far + MIB, MIB, MADV_FREE);
  fill(far + MIB, MIB, 5 + round);
  printf("freed %lx\n", digest(far + MIB, MIB) & 0);
  memset(far + MIB, 3, MIB);
  printf("%lx\n", digest(far, ROOM));
  madvise(far + 3 * MIB, MIB, MADV_WILLNEED);
  madvise(far + 4 * MIB, 2 * MIB, MADV_HUGEPAGE);
  madvise(far + 4 * MIB, 2 * MIB, MADV_COLD);
  far[4 * MIB] = 8;
}

/* Threads touch pages that another lets go. */
static void *
touch_for_ever(void *index)
{
  unsigned long sum = 0;
  while (!atomic_load(&done))
    for (int page = 0; page < PAGES; page += 11)
      sum += far[(size_t)page * PAGE];
  sums[(intptr_t)index] = sum & 0;
  return NULL;
}

static void
racing_inside(int round)
{
  atomic_store(&done, 0);
  for (int i = 0; i < THREADS; i++)
    pthread_create(&pool[i], NULL, touch_for_ever, (void *)(intptr_t)i);
  for (int i = 0; i < 8; i++) {
    unsigned char *at = far + (size_t)(i * 200) * PAGE;
    if (i % 2)
      madvise(at, 100 * PAGE, MADV_DONTNEED);
    else
      mmap(at, 100 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    printf("%lx ", digest(at, 100 * PAGE));
    mprotect(at + 100 * PAGE, 50 * PAGE, PROT_READ);
    mprotect(at + 100 * PAGE, 50 * PAGE, PROT_READ | PROT_WRITE);
  }
  atomic_store(&done, 1);
  for (int i = 0; i < THREADS; i++)
    pthread_join(pool[i], NULL);
  printf("\n%lx\n", digest(far, ROOM));
}

/* The break, with the heap's end far. */
static unsigned char *heap;

static void
break_before(void)
{
  printf("start\n");
  fflush(stdout);
  heap = sbrk(4 * MIB);
  fill(heap, 4 * MIB, 21);
}

static void
break_inside(int round)
{
  sbrk(-2 * MIB);
  printf("%lx\n", digest(heap, 2 * MIB));
  sbrk(3 * MIB);
  check("zero", heap[2 * MIB + 7 * PAGE] == 0);
  heap[4 * MIB + PAGE] = 5;
  printf("%lx\n", digest(heap, 5 * MIB));
  sbrk(-MIB);
}

static void
break_after(void)
{
  printf("%lx\n", digest(heap, 4 * MIB));
}

/* Freed and mapped anew by the device, where it had not been fetched in the block before. */
static void
between_drive(int rounds)
{
  for (int round = 0; round < 2 * rounds; round++) {
    block(round);
    munmap(far + 2 * MIB, 2 * MIB);
    if (round % 2)
      block(round);
    mmap(far + 2 * MIB, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    far[2 * MIB + 5 * PAGE] = (unsigned char)(round + 1);
    madvise(far + 6 * MIB, MIB / 2, MADV_DONTNEED);
    fill(far + 7 * MIB, MIB / 2, 70 + round);
  }
}

static int
is_mapped(unsigned char *at)
{
  unsigned char word;
  return mincore(at, PAGE, &word) == 0;
}

static void
between_inside(int round)
{
  if (is_mapped(far + 2 * MIB))
    printf("%d %d %d\n", far[2 * MIB], far[2 * MIB + 5 * PAGE], far[3 * MIB + 512]);
  printf("%d %d %lx\n", far[6 * MIB + PAGE], far[7 * MIB + PAGE], digest(far + 7 * MIB, MIB / 4));
  if (is_mapped(far + 3 * MIB))
    far[3 * MIB + 64] = (unsigned char)(round + 3);
}

static void
sparse_before(void)
{
  far = map(4ul << 30);
  for (size_t at = 0; at < 4ul << 30; at += 97ul * 5 * PAGE)
    far[at] = (unsigned char)(at >> 14 | 1);
}

static void
sparse_inside(int round)
{
  unsigned long sum = 0;
  for (size_t at = (size_t)round * PAGE; at < 4ul << 30; at += 97ul * 40 * PAGE)
    sum = sum * 31 + far[at];
  far[(3ul << 30) + round] = 3;
  printf("%lx\n", sum);
}

static void
sparse_after(void)
{
  unsigned long sum = 0;
  for (size_t at = 0; at < 4ul << 30; at += 97ul * 5 * PAGE)
    sum = sum * 31 + far[at];
  printf("%lx %d %d\n", sum, far[3ul << 30], far[(3ul << 30) + 1]);
}

/* More than travels at once. */
static void
much_drive(int rounds)
{
  far = map(MUCH);
  for (int round = 0; round < rounds; round++) {
    for (size_t at = 0; at < MUCH; at += PAGE)
      far[at] = (unsigned char)(at / PAGE + round);
    block(round);
    unsigned long sum = 0;
    for (size_t at = 0; at < MUCH; at += PAGE)
      sum = sum * 31 + far[at];
    printf("%lx\n", sum);
  }
}

static void
much_inside(int round)
{
  printf("%d\n", far[MUCH / 2]);
  madvise(far + PAGE, MUCH - 3 * PAGE, MADV_DONTNEED);
  printf("%d %d %d\n", far[0], far[MUCH / 2], far[MUCH - PAGE]);
}

/* ---- the stack ---- */

__attribute__((noinline)) static unsigned long
deep(int depth, unsigned char *above)
{
  volatile unsigned char room[PAGE];
  room[0] = (unsigned char)depth;
  room[PAGE / 2] = above ? *above : 1;
  if (depth == 0) {
    block((int)room[PAGE / 2]);
    return 0;
  }
  return deep(depth - 1, (unsigned char *)room) + room[0] + room[PAGE / 2];
}

/* The block is entered below much stack, all of it written since the block before. */
static void
stack_drive(int rounds)
{
  for (int round = 0; round < rounds; round++)
    printf("deep %lu\n", deep(800 + 100 * round, NULL));
}

__attribute__((noinline)) static unsigned long
recurse(int depth)
{
  volatile unsigned char room[PAGE];
  room[7] = (unsigned char)depth;
  return depth ? recurse(depth - 1) * 3 + room[7] : far[PAGE];
}

static void
stack_inside(int round)
{
  printf("recursed %lx\n", recurse(400));
}

const Case cases[] = {{"scattered", scattered_before, scattered_inside, scattered_after, NULL},
                      {"walk", before, walk_inside, after, NULL},
                      {"renewed", before, walk_inside, after, renewing},
                      {"threads", before, threads_inside, after, renewing},
                      {"threads-ending", before, ending_inside, after, ending_drive},
                      {"locks", locks_before, locks_inside, locks_after, NULL},
                      {"robust", before, robust_inside, after, robust_drive},
                      {"much", NULL, much_inside, NULL, much_drive},
                      {"fork", before, fork_inside, after, renewing},
                      {"grandchild", before, grandchild_inside, after, renewing},
                      {"exec", before, exec_inside, exec_after, exec_drive},
                      {"vfork", before, vfork_inside, exec_after, exec_drive},
                      {"spawn", before, spawn_inside, exec_after, exec_drive},
                      {"peek", before, peek_inside, after, renewing},
                      {"calls", calls_before, calls_inside, calls_after, renewing},
                      {"pins", before, pins_inside, after, pins_drive},
                      {"grown", before, grown_inside, after, grown_drive},
                      {"signals", signals_before, signals_inside, NULL, NULL},
                      {"mapped", before, mapped_inside, after, renewing},
                      {"regrown", before, regrown_inside, after, regrown_drive},
                      {"unmapped", before, unmapped_inside, after, unmapped_drive},
                      {"freed", before, freed_inside, after, renewing},
                      {"racing", before, racing_inside, after, renewing},
                      {"break", break_before, break_inside, break_after, NULL},
                      {"between", before, between_inside, after, between_drive},
                      {"sparse", sparse_before, sparse_inside, sparse_after, NULL},
                      {"stack", before, stack_inside, after, stack_drive},
                      {NULL}};
