/* Waiting for one thread, of which other threads of its process, and pages, may know more than waitpid(2). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/process_private.h"

/* Reaps what has ended of the other threads, known or not: only then is the end of the first one told. FALSE
 * when one of them lives. */
static gboolean
reap_others(MirrorProcess *process)
{
  int fd = openat(process->directory, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *tasks = fd >= 0 ? fdopendir(fd) : NULL;
  gboolean all = TRUE;
  for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
    pid_t tid = atoi(entry->d_name);
    siginfo_t end = {0};
    if (tid > 0 && tid != process->pid) /* stops are not ours to take */
      all = waitid(P_PID, tid, &end, WEXITED | WNOHANG | __WALL) == 0 && end.si_pid == tid && all;
  }
  if (tasks)
    closedir(tasks);
  return all;
}

static gboolean
is_zombie(MirrorProcess *process)
{
  g_autofree char *stat = io_read_file_at(process->directory, "stat", 4096);
  const char *state = stat ? strrchr(stat, ')') : NULL;
  return !state || state[1] != ' ' || state[2] == 'Z' || state[2] == 'X';
}

/* FALSE with errno: what somebody waits for does not come. */
static gboolean
serve_waiting(MirrorProcess *process)
{
  if (!process->serve || process->serve(process->fill_user, NULL))
    return TRUE;
  errno = EIO;
  return FALSE;
}

/* A first thread that has ended while others live is never heard of again. Its wait looks around, the longer
 * the less often. */
static pid_t
wait_for_leader(MirrorProcess *process, int *status, gboolean *left_behind)
{
  for (guint turn = 0, alone = 0;; turn++) {
    pid_t got = waitpid(process->pid, status, __WALL | WNOHANG);
    if (got != 0)
      return got;
    if (!serve_waiting(process))
      return -1;
    if (turn < 50) {
      sched_yield();
      continue;
    }
    /* Threads that are being killed take a moment to die. */
    if (is_zombie(process) && !reap_others(process) && ++alone > 200) {
      *left_behind = TRUE;
      return -1;
    }
    g_usleep(MIN(turn, 1000));
  }
}

/* The kernel tells a first thread's end only when the others are reaped, whose ends it does tell. */
pid_t
mirror_thread_wait(MirrorThread *thread, int *status)
{
  MirrorProcess *process = thread->process;
  gboolean leader = thread == mirror_thread_leader(process);
  for (guint turn = 0;; turn++) {
    pid_t got = waitpid(thread->tid, status, __WALL | (leader || process->tells ? WNOHANG : 0));
    if (got > 0 || (got < 0 && errno != EINTR))
      return got;
    siginfo_t any = {0};
    if (process->tells) {
      if (!process->serve(process->fill_user, NULL))
        return -1;
      if (turn < 50)
        sched_yield();
      else
        g_usleep(MIN(turn, 1000));
      if (turn >= 50 && leader && is_zombie(process))
        reap_others(process);
    } else if (leader && waitid(P_ALL, 0, &any, WEXITED | WSTOPPED | WNOWAIT | __WALL) == 0 &&
               any.si_pid != thread->tid && is_zombie(process))
      reap_others(process);
  }
}

/* A thread whose call has touched a page that is missing stops only when it has it. */
static pid_t
wait_serving(MirrorThread *thread, int *status)
{
  MirrorProcess *process = thread->process;
  for (guint turn = 0;; turn++) {
    pid_t got = waitpid(thread->tid, status, __WALL | (process->serve ? WNOHANG : 0));
    if (got != 0)
      return got;
    if (!serve_waiting(process))
      return -1;
    if (turn < 50)
      sched_yield();
    else
      g_usleep(MIN(turn, 1000));
  }
}

gboolean
process_wait(MirrorThread *thread, MirrorStop *stop, GError **error)
{
  MirrorProcess *process = thread->process;
  gboolean leader = thread == mirror_thread_leader(process), left_behind = FALSE;
  int status;
  pid_t got;
  do
    got = leader ? wait_for_leader(process, &status, &left_behind) : wait_serving(thread, &status);
  while (got < 0 && errno == EINTR && !left_behind);
  if (left_behind)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "the first thread of process %d has ended before the others", process->pid);
  if (got < 0)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "process %d died", process->pid);
  *stop = mirror_stop_read(process, thread->tid, status);
  return TRUE;
}
