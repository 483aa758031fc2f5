/* A program whose end tells whether it ever lost a byte: memory that is changed in a pattern, threads, files
 * written in three ways, signals and timers. What it prints in the end depends on all of what it did.
 *
 *   program MEGABYTES STEPS STEP_MS DIRECTORY [WAY...]
 *
 * Ways: append (a file with O_APPEND), mapped (one written through a mapping), nameless (one without a name),
 * threads, signals (an interval timer's), pipe, events (eventfd, timerfd, epoll), children (a third of the
 * time there is one, and no checkpoint can be). It writes DIRECTORY/out in any case, and DIRECTORY/step tells
 * how far it is. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, MAPPED = 1 << 20, DIRTY = 1 << 20 };

static struct {
  const char *directory;
  int out, appended, nameless, pipe[2], events, timer, poll;
  uint8_t *mapped;
} files = {.appended = -1, .nameless = -1, .events = -1};

static uint64_t
mix(uint64_t value)
{
  value ^= value >> 33;
  value *= 0xff51afd7ed558ccdull;
  value ^= value >> 33;
  value *= 0xc4ceb9fe1a85ec53ull;
  return value ^ value >> 33;
}

static uint64_t
digest(const void *bytes, size_t length, uint64_t sum)
{
  const uint64_t *words = bytes;
  for (size_t i = 0; i < length / 8; i++)
    sum = mix(sum ^ words[i]);
  return sum;
}

static void
die(const char *what)
{
  perror(what);
  exit(1);
}

static int
open_at(const char *name, int flags)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", files.directory, name);
  int fd = open(path, flags | O_CREAT, 0640);
  if (fd < 0)
    die(path);
  return fd;
}

static int
wants(int argc, char **argv, const char *way)
{
  for (int i = 5; i < argc; i++)
    if (strcmp(argv[i], way) == 0)
      return 1;
  return 0;
}

/* ---- threads, each with a sum of its own that it adds to at its own pace, to a common goal ---- */

static struct {
  pthread_mutex_t lock;
  pthread_cond_t turn;
  long goal;
  uint64_t sum[THREADS];
  long done[THREADS];
} work = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, {0}, {0}};

static __thread uint64_t own;

static void *
thread_main(void *number)
{
  long index = (long)number;
  for (;;) {
    pthread_mutex_lock(&work.lock);
    while (work.goal >= 0 && work.done[index] >= work.goal)
      pthread_cond_wait(&work.turn, &work.lock);
    long goal = work.goal;
    pthread_mutex_unlock(&work.lock);
    if (goal < 0)
      return NULL;
    double part = (double)index + 1.5;
    for (int i = 0; i < 20000; i++)
      part = part * 1.0000001 + (double)i / (double)(index + 2);
    own = mix(own ^ (uint64_t)(part * 1000) ^ (uint64_t)work.done[index]);
    pthread_mutex_lock(&work.lock);
    work.sum[index] = own;
    work.done[index]++;
    pthread_cond_broadcast(&work.turn);
    pthread_mutex_unlock(&work.lock);
  }
}

static void
step_threads(long step)
{
  pthread_mutex_lock(&work.lock);
  work.goal = step + 1;
  pthread_cond_broadcast(&work.turn);
  for (int i = 0; i < THREADS; i++)
    while (work.done[i] < work.goal)
      pthread_cond_wait(&work.turn, &work.lock);
  pthread_mutex_unlock(&work.lock);
}

/* ---- signals ---- */

static volatile sig_atomic_t ticks;

static void
on_tick(int number)
{
  ticks++;
}

static void
start_ticks(void)
{
  struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  struct itimerval every = {{0, 50000}, {0, 50000}};
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &every, NULL);
}

/* ---- files ---- */

static void
put(int fd, const void *bytes, size_t length)
{
  if (write(fd, bytes, length) != (ssize_t)length)
    die("write");
}

static void
tell_step(long step)
{
  char text[32];
  int length = snprintf(text, sizeof text, "%ld\n", step), fd = open_at("step", O_WRONLY | O_TRUNC);
  put(fd, text, (size_t)length);
  close(fd);
}

static void
step_files(long step, uint64_t sum)
{
  char line[128];
  int length = snprintf(line, sizeof line, "step %ld %016llx\n", step, (unsigned long long)sum);
  put(files.out, line, (size_t)length);
  if (step % 7 == 0) { /* in place */
    uint64_t head = mix((uint64_t)step);
    if (pwrite(files.out, &head, sizeof head, 16) != sizeof head)
      die("pwrite");
  }
  if (files.appended >= 0)
    for (int i = 0; i < 200; i++)
      put(files.appended, line, (size_t)length);
  if (files.nameless >= 0)
    put(files.nameless, line, (size_t)length);
  if (files.mapped)
    memcpy(files.mapped + (size_t)step * 4099 % (MAPPED - 128), line, (size_t)length);
}

static void
step_pipe(long step, uint64_t *sum)
{
  uint64_t word = mix((uint64_t)step);
  put(files.pipe[1], &word, sizeof word);
  if (step % 3 != 2) /* some wait in it */
    return;
  for (int i = 0; i < 3; i++) {
    if (read(files.pipe[0], &word, sizeof word) != sizeof word)
      die("pipe");
    *sum = mix(*sum ^ word);
  }
}

static void
step_events(uint64_t *sum)
{
  uint64_t one = 1, count = 0;
  struct epoll_event event;
  put(files.events, &one, sizeof one);
  if (epoll_wait(files.poll, &event, 1, 5000) != 1)
    die("epoll_wait");
  if (read(files.events, &count, sizeof count) != sizeof count)
    die("eventfd");
  if (read(files.timer, &one, sizeof one) < 0 && errno != EAGAIN)
    die("timerfd");
  *sum = mix(*sum ^ count ^ event.data.u64);
}

static void
open_events(void)
{
  struct itimerspec every = {{0, 20000000}, {0, 20000000}};
  struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = 0x1234567890ull}};
  files.events = eventfd(0, EFD_CLOEXEC);
  files.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  files.poll = epoll_create1(EPOLL_CLOEXEC);
  if (timerfd_settime(files.timer, 0, &every, NULL) < 0 ||
      epoll_ctl(files.poll, EPOLL_CTL_ADD, files.events, &event) < 0)
    die("epoll");
}

/* Of sixteen steps five have a child, which ends with its parent: it has the parent's output. */
static void
step_children(long step)
{
  static pid_t child;
  if (step % 16 == 0 && (child = fork()) == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sleep(2);
    _exit(0);
  }
  if (step % 16 == 5) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
}

/* As long as DIRECTORY/hold is there it does not come to its end: whoever is to find it under way has the
 * time that he takes. There is no child then. */
static int
is_held(long step, long steps)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/hold", files.directory);
  return step == steps * 3 / 4 / 16 * 16 + 8 && access(path, F_OK) == 0;
}

static uint64_t
digest_nameless(uint64_t sum)
{
  static char bytes[1 << 20];
  ssize_t got = pread(files.nameless, bytes, sizeof bytes, 0);
  return digest(bytes, (size_t)(got > 0 ? got : 0), sum ^ (uint64_t)got);
}

int
main(int argc, char **argv)
{
  if (argc < 5)
    return 2;
  size_t bytes = (size_t)atol(argv[1]) << 20;
  long steps = atol(argv[2]), step_ms = atol(argv[3]);
  files.directory = argv[4];
  files.out = open_at("out", O_RDWR | O_TRUNC);
  if (wants(argc, argv, "append"))
    files.appended = open_at("log", O_WRONLY | O_APPEND | O_TRUNC);
  if (wants(argc, argv, "nameless")) {
    char path[4096];
    files.nameless = open_at("gone", O_RDWR | O_TRUNC);
    snprintf(path, sizeof path, "%s/gone", files.directory);
    unlink(path);
  }
  if (wants(argc, argv, "mapped")) {
    int fd = open_at("map", O_RDWR | O_TRUNC);
    if (ftruncate(fd, MAPPED) < 0)
      die("ftruncate");
    files.mapped = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
  }
  if (wants(argc, argv, "pipe") && pipe(files.pipe) < 0)
    die("pipe");
  if (wants(argc, argv, "events"))
    open_events();
  if (wants(argc, argv, "signals"))
    start_ticks();
  int children = wants(argc, argv, "children");
  pthread_t threads[THREADS];
  int threaded = wants(argc, argv, "threads");
  for (long i = 0; threaded && i < THREADS; i++)
    pthread_create(&threads[i], NULL, thread_main, (void *)i);
  uint64_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), sum = 1;
  for (size_t i = 0; i < bytes / 8; i++)
    memory[i] = mix(i);
  pid_t pid = getpid();
  for (long step = 0; step < steps; step++) {
    size_t words = (bytes < DIRTY ? bytes : DIRTY) / 8;
    size_t at = bytes > DIRTY ? (size_t)(mix((uint64_t)step) % (bytes - DIRTY)) / 8 : 0;
    for (size_t i = 0; i < words; i += 64)
      memory[at + i] = mix(memory[at + i] ^ (uint64_t)step);
    sum = digest(memory + at, 4096, sum);
    if (threaded)
      step_threads(step);
    if (files.pipe[1])
      step_pipe(step, &sum);
    if (files.events >= 0)
      step_events(&sum);
    if (children)
      step_children(step);
    step_files(step, sum);
    tell_step(step);
    do {
      struct timespec rest = {step_ms / 1000, step_ms % 1000 * 1000000};
      while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
        ;
    } while (is_held(step, steps));
    if (getpid() != pid)
      return 3;
  }
  sum = digest(memory, bytes, sum);
  if (files.nameless >= 0)
    sum = digest_nameless(sum);
  for (int i = 0; threaded && i < THREADS; i++)
    sum = mix(sum ^ work.sum[i]);
  char line[64];
  int length = snprintf(line, sizeof line, "end %016llx\n", (unsigned long long)sum);
  put(files.out, line, (size_t)length);
  printf("%s", line);
  if (wants(argc, argv, "signals") && !ticks)
    return 4;
  return 0;
}
