/* Memory that a block wrote and that stays in the clone until the device touches it (--lazy-return): by
 * instructions and by the kernel, from several threads, children and signal handlers, and while the device
 * moves it, lets it go, or unmaps it. Without that option the same has to come out. */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MIB = 1 << 20, ROOM = 8 * MIB, THREADS = 4, SLICE = ROOM / THREADS };

extern char **environ;

static unsigned char *late;
static size_t length = ROOM;

static unsigned char *
map(unsigned char *at, size_t size)
{
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0);
  unsigned char *got = mmap(at, size, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (got == MAP_FAILED) {
    perror("mmap");
    exit(9);
  }
  return got;
}

static void
before(void)
{
  late = map(NULL, ROOM);
}

/* Every page gets contents of its own, every thirteenth none but zeros. */
static void
fill(unsigned char *at, size_t size, unsigned long seed)
{
  for (size_t page = 0; page < size / PAGE; page++)
    for (size_t i = 0; i < PAGE; i += 512) {
      unsigned long word = page % 13 ? churn(seed * 1000003 + page * 8 + i, 2) : 0;
      memcpy(at + page * PAGE + i, &word, sizeof word);
    }
}

static void
inside(int round)
{
  fill(late, length, (unsigned long)round + 1);
}

static unsigned long
digest(const unsigned char *at, size_t size)
{
  unsigned long sum = 14695981039346656037ul, word;
  for (size_t i = 0; i + sizeof word <= size; i += sizeof word) {
    memcpy(&word, at + i, sizeof word);
    sum = (sum ^ word) * 1099511628211ul;
  }
  return sum;
}

static void
after(void)
{
  printf("%lx\n", digest(late, length));
}

/* ---- by instructions ---- */

static void
touch_drive(int rounds)
{
  for (int round = 0; round < 3 * rounds; round++) {
    unsigned long sum = 0, at = (unsigned long)round + 3;
    block(round);
    for (int i = 0; i < 60; i++) {
      at = churn(at, 5);
      sum = sum * 31 + late[at % ROOM];
      if (i % 3 == 0)
        late[at % ROOM] = (unsigned char)i;
    }
    printf("%d %lx\n", round, sum);
  }
}

/* The next block changes a part, and what the device has in the others is still where the block before left
 * it. */
static void
parts_inside(int round)
{
  fill(late + (round % THREADS) * SLICE, SLICE, (unsigned long)round + 40);
}

static void
parts_drive(int rounds)
{
  for (int round = 0; round < 6 * rounds; round++) {
    block(round);
    printf("%d %d\n", late[(round * 7 % 16) * (ROOM / 16) + 5 * PAGE],
           late[ROOM - PAGE * (size_t)(round + 1)]);
  }
}

/* ---- by the kernel ---- */

static void
kernel_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    int ends[2], file = open("scratch", O_RDWR | O_CREAT | O_TRUNC, 0600);
    unsigned char room[3 * PAGE];
    struct iovec out = {late + 100, sizeof room}, in = {room, sizeof room};
    block(round);
    check("pipe", pipe(ends) == 0);
    check("write", write(ends[1], late + MIB + 10, sizeof room) == sizeof room);
    check("read", read(ends[0], late + 3 * MIB + 77, sizeof room) == sizeof room);
    check("file", pwrite(file, late + 2 * MIB, 5 * PAGE, 7) == 5 * PAGE);
    check("back", pread(file, late + 4 * MIB + 5, 5 * PAGE, 0) == 5 * PAGE);
    check("readv", process_vm_readv(getpid(), &in, 1, &out, 1, 0) == sizeof room);
    printf("%lx %lx\n", digest(room, sizeof room), digest(late + 3 * MIB, 2 * MIB));
    close(ends[0]), close(ends[1]), close(file);
  }
}

/* ---- children ---- */

static void
wait_for(pid_t child)
{
  int status = 0;
  check("child", waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

/* Has a child of its own while `depth` is left. */
static void
child(int depth)
{
  pid_t pid = 0;
  for (; pid == 0 && depth >= 0; depth--) {
    late[PAGE] = (unsigned char)depth;
    madvise(late + MIB, MIB, MADV_DONTNEED);
    munmap(late + 2 * MIB, 64 * PAGE);
    unsigned char *to = late + MIB;
    check("moved", mremap(late + 3 * MIB, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    map(late + 2 * MIB, 2 * MIB);
    printf("child %d: %lx\n", depth, digest(late, ROOM));
    fflush(stdout);
    pid = depth ? fork() : -1;
  }
  if (pid > 0)
    wait_for(pid);
  _exit(3);
}

static void
fork_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    block(round);
    printf("%d\n", late[6 * MIB]);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
      child(1);
    late[5 * PAGE] = 1;
    wait_for(pid);
    printf("parent %lx\n", digest(late, ROOM));
  }
}

/* One that has the same memory. */
static pid_t
sharing(void)
{
  pid_t pid = vfork();
  if (pid)
    return pid;
  late[9 * PAGE] = late[9 * PAGE + 1];
  _exit(late[MIB + 512] + late[2 * MIB + 512] >= 0 ? 3 : 4);
}

static void
spawn_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    char *words[] = {"sh", "-c", "exit 3", NULL};
    pid_t pid;
    block(round);
    strcpy((char *)late + 3 * PAGE, "/bin/sh");
    check("spawn", posix_spawn(&pid, (char *)late + 3 * PAGE, NULL, NULL, words, environ) == 0);
    wait_for(pid);
    wait_for(sharing());
    printf("%lx\n", digest(late, ROOM));
  }
}

static void
exec_drive(int rounds)
{
  char *words[] = {(char *)late + 2 * PAGE, (char *)late + 4 * PAGE, (char *)late + 5 * PAGE, NULL};
  block(0);
  strcpy(words[0], "/bin/echo");
  words[1][0] = 'a', words[1][1] = 0;
  words[2][0] = 'b', words[2][1] = 0;
  fflush(stdout);
  execv(words[0], words);
  exit(5);
}

/* ---- mappings that change ---- */

static void
moved_drive(int rounds)
{
  for (int round = 0; round < 2 * rounds; round++) {
    block(round);
    unsigned char *place = map(NULL, 2 * ROOM);
    printf("%d\n", late[length / 2]);
    munmap(place, 2 * ROOM);
    size_t to = round % 2 ? ROOM : ROOM + MIB;
    unsigned char *moved = mremap(late, length, to, MREMAP_MAYMOVE | (round % 2 ? MREMAP_FIXED : 0), place);
    check("moved", moved != MAP_FAILED);
    late = moved;
    length = to;
    printf("%d %d %d\n", late[5 * PAGE], late[length - PAGE], late[3 * MIB + 512]);
    if (round % 3 == 0)
      printf("%lx\n", digest(late, length));
  }
}

/* In parts, and in place. */
static void
pieces_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    late = map(NULL, ROOM);
    length = ROOM;
    block(round);
    unsigned char *room = map(NULL, ROOM);
    for (int i = 0; i < 4; i++)
      check("piece", mremap(late + i * 2 * MIB, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, room + i * MIB) ==
                         room + i * MIB);
    check("again", mremap(room + MIB, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, late) == late);
    munmap(room + 2 * MIB, MIB / 2);
    printf("%lx %lx\n", digest(room, MIB), digest(room + 3 * MIB, MIB));
    check("shrunk", mremap(late + MIB, MIB, MIB / 2, 0) == late + MIB);
    check("grown", mremap(late + MIB, MIB / 2, MIB, 0) == late + MIB);
    map(late + 2 * MIB, MIB);
    map(late + 4 * MIB, MIB);
    map(late + 6 * MIB, MIB);
    block(round + 10);
    printf("%lx\n", digest(late, ROOM));
  }
}

static void
let_go_inside(int round)
{
  printf("in %d: %d %d %d\n", round, late[PAGE + 8], late[2 * MIB + PAGE], late[4 * MIB + PAGE]);
  if (round % 2 == 0)
    inside(round);
  else
    fill(late + 6 * MIB, MIB, (unsigned long)round);
}

static void
let_go_drive(int rounds)
{
  for (int round = 0; round < 2 * rounds; round++) {
    block(round);
    check("dontneed", madvise(late, MIB, MADV_DONTNEED) == 0);
    munmap(late + 2 * MIB, MIB);
    map(late + 2 * MIB, MIB);
    check("free", madvise(late + 7 * MIB, MIB, MADV_FREE) == 0);
    memset(late + 7 * MIB, round, MIB);
    mprotect(late + 4 * MIB, MIB, PROT_READ);
    printf("%d %d %d\n", late[8], late[PAGE + 8], late[4 * MIB + PAGE]);
    mprotect(late + 4 * MIB, MIB, PROT_READ | PROT_WRITE);
    if (round % 2)
      printf("%lx\n", digest(late, ROOM));
  }
}

static void
heap_inside(int round)
{
  if (round % 2 == 0) {
    length = ROOM;
    late = malloc(length);
    inside(round);
    return;
  }
  late = realloc(late, length = 2 * ROOM);
  fill(late + ROOM, ROOM, 9);
}

static void
heap_drive(int rounds)
{
  for (int round = 0; round < 2 * rounds; round++) {
    block(round);
    printf("%d %d\n", late[length / 3], late[length - 3]);
    late = realloc(late, length += 3 * MIB);
    memset(late + length - 3 * MIB, 1, 3 * MIB);
    if (round % 2) {
      printf("%lx\n", digest(late, length));
      free(late);
    }
  }
}

/* ---- threads ---- */

static atomic_int started;
static unsigned long sums[THREADS];
static unsigned char *rooms[THREADS]; /* each thread's own: what the kernel chooses could be another's gap */

/* Each changes the mappings of its own slice while the others read theirs. */
static void *
work(void *argument)
{
  size_t number = (size_t)argument;
  unsigned char *own = late + number * SLICE;
  started++;
  while (started < THREADS)
    ;
  unsigned long sum = digest(own, SLICE / 4);
  for (int i = 0; i < 20; i++) {
    unsigned char *at = own + SLICE / 2 + (size_t)i * 8 * PAGE;
    if (number % 2) {
      madvise(at, 4 * PAGE, MADV_DONTNEED);
    } else {
      munmap(at, 4 * PAGE);
      map(at, 4 * PAGE);
    }
    sum = sum * 31 + at[PAGE] + at[5 * PAGE] * 3u;
    unsigned char *room = map(rooms[number], 4 * PAGE);
    mremap(at + 4 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
    sum = sum * 31 + digest(room, 4 * PAGE);
    munmap(room, 4 * PAGE);
    map(at + 4 * PAGE, 4 * PAGE);
  }
  sums[number] = sum;
  return NULL;
}

static void
threads_drive(int rounds)
{
  for (int round = 0; round < 2 * rounds; round++) {
    pthread_t threads[THREADS];
    block(round);
    started = 0;
    for (size_t i = 0; i < THREADS; i++)
      rooms[i] = map(NULL, 4 * PAGE);
    for (size_t i = 0; i < THREADS; i++)
      pthread_create(&threads[i], NULL, work, (void *)i);
    for (size_t i = 0; i < THREADS; i++)
      pthread_join(threads[i], NULL);
    for (size_t i = 0; i < THREADS; i++)
      printf("%lx\n", sums[i]);
    if (round % 2)
      printf("%lx\n", digest(late, ROOM));
  }
}

/* Threads that live through the block, and end after it without touching what the kernel writes then. */
static int gate[2];

static void *
sleeper(void *argument)
{
  volatile unsigned char room[100 * PAGE];
  char byte;
  memset((void *)room, (int)(size_t)argument, sizeof room);
  check("gate", read(gate[0], &byte, 1) == 1);
  sums[(size_t)argument] = room[50 * PAGE] + late[(size_t)argument * SLICE + PAGE];
  return NULL;
}

static void
ending_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    pthread_t threads[THREADS];
    check("gate", pipe(gate) == 0);
    for (size_t i = 0; i < THREADS; i++)
      pthread_create(&threads[i], NULL, sleeper, (void *)i);
    block(round);
    check("gate", write(gate[1], "open", THREADS) == THREADS);
    for (size_t i = 0; i < THREADS; i++)
      pthread_join(threads[i], NULL);
    for (size_t i = 0; i < THREADS; i++)
      printf("%lu\n", sums[i]);
    close(gate[0]), close(gate[1]);
  }
}

/* ---- signals ---- */

static volatile sig_atomic_t caught;

static void
handler(int number)
{
  caught += late[3 * MIB + (size_t)caught * PAGE] + 1;
}

static void
signals_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    block(round);
    stack_t stack = {.ss_sp = late + 5 * MIB, .ss_size = MIB};
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 5; i++) {
      caught = i * 20;
      raise(SIGUSR1);
      printf("%d\n", (int)caught);
    }
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    printf("%lx\n", digest(late, MIB));
  }
}

/* What signals leave on their stack is not the same twice. */
static void
signals_after(void)
{
  printf("%lx\n", digest(late, 5 * MIB));
}

/* ---- a block that is given up ---- */

/* What the blocks before left in the clone has to come home although the mirror has changed it since. */
static void
given_up_inside(int round)
{
  unsigned char *at = late;
  int gone[2];
  late[7 * PAGE]++;
  fill(at + MIB, MIB, 77);
  if (round % 2 && pipe(gone) == 0) {
    if (fork() == 0) {
      char byte;
      close(gone[1]);
      _exit(read(gone[0], &byte, 1) > 0);
    }
    close(gone[0]);
    length = (size_t)gone[1];
  } else
    inside(round);
}

static void
given_up_drive(int rounds)
{
  for (int round = 0; round < 2 * rounds; round++) {
    length = ROOM;
    block(round);
    if (round % 2) {
      close((int)length);
      while (wait(NULL) > 0)
        ;
      printf("%lx\n", digest(late, ROOM));
    }
  }
  length = ROOM;
}

const Case cases[] = {{"touch", before, inside, after, touch_drive},
                      {"parts", before, parts_inside, after, parts_drive},
                      {"kernel", before, inside, after, kernel_drive},
                      {"fork", before, inside, after, fork_drive},
                      {"spawn", before, inside, after, spawn_drive},
                      {"exec", before, inside, NULL, exec_drive},
                      {"moved", before, inside, after, moved_drive},
                      {"pieces", before, inside, NULL, pieces_drive},
                      {"let-go", before, let_go_inside, after, let_go_drive},
                      {"heap", NULL, heap_inside, NULL, heap_drive},
                      {"threads", before, inside, after, threads_drive},
                      {"ending", before, inside, after, ending_drive},
                      {"signals", before, inside, signals_after, signals_drive},
                      {"given-up", before, given_up_inside, after, given_up_drive},
                      {NULL}};
