/* POSIX threads: pools made before and inside the block, blocks on other threads, several at once,
 * thread-local storage. */
#include "program.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORKERS = 4, JOBS = 64 };

static struct {
  pthread_mutex_t lock;
  pthread_cond_t work, done;
  pthread_t threads[WORKERS];
  int next, finished, limit;
  unsigned long results[JOBS];
  bool stop;
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static __thread int local = 7;

static void *
worker(void *unused)
{
  pthread_mutex_lock(&pool.lock);
  while (!pool.stop) {
    if (pool.next == pool.limit) {
      pthread_cond_wait(&pool.work, &pool.lock);
      continue;
    }
    int job = pool.next++;
    pthread_mutex_unlock(&pool.lock);
    unsigned long result = churn(job, 20000);
    pthread_mutex_lock(&pool.lock);
    pool.results[job % JOBS] = result;
    if (++pool.finished == pool.limit)
      pthread_cond_broadcast(&pool.done);
  }
  pthread_mutex_unlock(&pool.lock);
  return unused;
}

static void
make_pool(void)
{
  for (int i = 0; i < WORKERS; i++)
    pthread_create(&pool.threads[i], NULL, worker, NULL);
}

static void
use_pool(int round)
{
  pthread_mutex_lock(&pool.lock);
  pool.next = pool.finished = 0;
  pool.limit = JOBS;
  pthread_cond_broadcast(&pool.work);
  while (pool.finished < pool.limit)
    pthread_cond_wait(&pool.done, &pool.lock);
  unsigned long sum = round;
  for (int i = 0; i < JOBS; i++)
    sum = sum * 31 + pool.results[i];
  pthread_mutex_unlock(&pool.lock);
  printf("pool: %lx\n", sum);
}

static void
use_new_pool(int round)
{
  if (round == 0)
    make_pool();
  use_pool(round);
}

static void
end_pool(void)
{
  use_pool(5); /* the pool must still work on the device, wherever it was made */
  pthread_mutex_lock(&pool.lock);
  pool.stop = true;
  pthread_cond_broadcast(&pool.work);
  pthread_mutex_unlock(&pool.lock);
  int joined = 0;
  for (int i = 0; i < WORKERS; i++)
    joined += pthread_join(pool.threads[i], NULL) == 0;
  printf("joined %d\n", joined);
}

static void
end_pool_inside(int round)
{
  if (pool.stop) {
    pool.stop = false;
    make_pool();
  }
  use_pool(round);
  end_pool();
}

static void *
one_short(void *argument)
{
  *(unsigned long *)argument = churn(*(unsigned long *)argument, 1000);
  return argument;
}

static void
short_lived(int round)
{
  unsigned long values[8], sum = 0;
  pthread_t threads[8];
  for (int i = 0; i < 8; i++) {
    values[i] = round * 8 + i;
    pthread_create(&threads[i], NULL, one_short, &values[i]);
  }
  for (int i = 0; i < 8; i++) {
    pthread_join(threads[i], NULL);
    sum += values[i];
  }
  printf("sum %lx\n", sum);
}

/* A thread that sleeps in a system call while the block runs, and is woken on the device afterwards. */
static sem_t wake;
static int sleeper_pipe[2];
static pthread_t sleepers[2];

static void *
sleeper(void *on_pipe)
{
  char byte = '-';
  if (on_pipe)
    (void)!read(sleeper_pipe[0], &byte, 1);
  else
    while (sem_wait(&wake) && errno == EINTR)
      ;
  return (void *)(long)byte;
}

static void
start_sleepers(void)
{
  sem_init(&wake, 0, 0);
  (void)!pipe(sleeper_pipe);
  pthread_create(&sleepers[0], NULL, sleeper, NULL);
  pthread_create(&sleepers[1], NULL, sleeper, sleeper_pipe);
  usleep(20000);
}

static void
compute(int round)
{
  printf("computed %lx\n", churn(round, 3000000));
}

static void
wake_sleepers(void)
{
  void *said[2];
  sem_post(&wake);
  (void)!write(sleeper_pipe[1], "x", 1);
  pthread_join(sleepers[0], &said[0]);
  pthread_join(sleepers[1], &said[1]);
  printf("woken: %c %c\n", (char)(long)said[0], (char)(long)said[1]);
}

static void *
block_thread(void *round)
{
  block((int)(long)round);
  return NULL;
}

static void
quiet(int round)
{
  unsigned long value = churn(round, 100000);
  pthread_mutex_lock(&pool.lock);
  pool.results[round] = value;
  pthread_mutex_unlock(&pool.lock);
}

static void
drive_other_thread(int rounds)
{
  for (long round = 0; round < rounds; round++) {
    pthread_t thread;
    pthread_create(&thread, NULL, block_thread, (void *)round);
    pthread_join(thread, NULL);
  }
}

static void
drive_at_once(int rounds)
{
  pthread_t threads[8];
  for (long i = 0; i < 8; i++)
    pthread_create(&threads[i], NULL, block_thread, (void *)i);
  for (int i = 0; i < 8; i++)
    pthread_join(threads[i], NULL);
  for (int i = 0; i < 8; i++)
    printf("thread %d: %lx\n", i, pool.results[i]);
}

/* Another thread goes on computing on the device's behalf; with the process frozen it must lose nothing. */
static volatile bool enough;
static long counted, echoed;
static pthread_t counter;

static void *
count(void *unused)
{
  while (!enough) {
    counted++;
    __atomic_store_n(&echoed, counted, __ATOMIC_RELEASE);
  }
  return unused;
}

static void
start_counter(void)
{
  pthread_create(&counter, NULL, count, NULL);
  while (!__atomic_load_n(&echoed, __ATOMIC_ACQUIRE)) /* a busy machine takes its time */
    sched_yield();
}

static void
stop_counter(void)
{
  enough = true;
  pthread_join(counter, NULL);
  check("counter kept", counted == echoed && counted > 0);
}

static pthread_key_t key;
static __thread char name[32];

static void
prepare_local(void)
{
  pthread_key_create(&key, NULL);
  pthread_setspecific(key, "before");
  strcpy(name, "device");
  local = 40;
  errno = ENOENT;
}

static void
use_local(int round)
{
  int saved = errno;
  printf("local %d, name %s, key %s, errno %d\n", local, name, (char *)pthread_getspecific(key), saved);
  local++;
  snprintf(name, sizeof name, "round %d", round);
  pthread_setspecific(key, "inside");
  errno = EDOM;
}

static void
after_local(void)
{
  int saved = errno;
  printf("local %d, name %s, key %s, errno is one of stdio's or EDOM: %d\n", local, name,
         (char *)pthread_getspecific(key), saved == EDOM || saved == ENOTTY);
}

static pid_t before_tid, before_pid;

static void
prepare_ids(void)
{
  before_tid = gettid();
  before_pid = getpid();
}

static void *
tid_of(void *into)
{
  *(pid_t *)into = gettid();
  return NULL;
}

static void
ids(int round)
{
  pid_t other = 0;
  pthread_t thread;
  check("tid", gettid() == before_tid && syscall(SYS_gettid) == before_tid);
  check("pid", getpid() == before_pid && syscall(SYS_getpid) == before_pid);
  pthread_create(&thread, NULL, tid_of, &other);
  pthread_join(thread, NULL);
  check("another thread's id", other > 0 && other != before_tid);
  check("thread alive by its id", syscall(SYS_tgkill, before_pid, before_tid, 0) == 0);
}

/* A robust mutex that is held when the block starts, and released inside. */
static pthread_mutex_t robust;

static void
hold_robust(void)
{
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_init(&robust, &attributes);
  pthread_mutex_lock(&robust);
}

static void
release_robust(int round)
{
  int unlocked = pthread_mutex_unlock(&robust);
  int locked = pthread_mutex_lock(&robust);
  printf("unlock %d, lock %d\n", unlocked, locked);
}

static void
destroy_robust(void)
{
  printf("unlock %d\n", pthread_mutex_unlock(&robust));
}

const Case cases[] = {{"pool-before", make_pool, use_pool, end_pool, NULL},
                      {"pool-inside", NULL, use_new_pool, end_pool, NULL},
                      {"pool-ended-inside", make_pool, end_pool_inside, NULL, NULL},
                      {"short-lived", NULL, short_lived, NULL, NULL},
                      {"sleepers", start_sleepers, compute, wake_sleepers, NULL},
                      {"other-thread", NULL, compute, NULL, drive_other_thread},
                      {"at-once", NULL, quiet, NULL, drive_at_once},
                      {"running", start_counter, compute, stop_counter, NULL},
                      {"local", prepare_local, use_local, after_local, NULL},
                      {"ids", prepare_ids, ids, NULL, NULL},
                      {"robust", hold_robust, release_robust, destroy_robust, NULL},
                      {NULL}};
