#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/files_memory.h"
#include "mirror/process_private.h"

static void
thread_free(gpointer data)
{
  MirrorThread *thread = data;
  g_free(thread->answer);
  g_free(thread);
}

static gboolean
open_memory(MirrorProcess *process, GError **error)
{
  io_close(&process->memory);
  io_close(&process->pagemap);
  io_close(&process->maps);
  io_close(&process->sizes);
  process->memory = openat(process->directory, "mem", O_RDWR | O_CLOEXEC);
  if (process->memory < 0)
    return doppel_error_errno(error, "opening the memory of process %d", process->pid);
  process->pagemap = openat(process->directory, "pagemap", O_RDONLY | O_CLOEXEC);
  if (process->pagemap < 0)
    return doppel_error_errno(error, "opening the page map of process %d", process->pid);
  process->maps = openat(process->directory, "maps", O_RDONLY | O_CLOEXEC);
  if (process->maps < 0)
    return doppel_error_errno(error, "opening the mappings of process %d", process->pid);
  process->sizes = openat(process->directory, "statm", O_RDONLY | O_CLOEXEC);
  if (process->sizes < 0)
    return doppel_error_errno(error, "opening the sizes of process %d", process->pid);
  return TRUE;
}

/* The id a thread has in its own, innermost PID namespace: the last of NSpid's numbers. */
static pid_t
own_id(MirrorProcess *process, pid_t tid)
{
  char path[64];
  snprintf(path, sizeof path, "task/%d/status", tid);
  g_autofree char *text = io_read_file_at(process->directory, path, 1 << 16);
  const char *line = text ? strstr(text, "\nNSpid:") : NULL;
  if (!line)
    return tid;
  const char *end = strchr(line + 1, '\n');
  while (end && end > line && end[-1] != '\t' && end[-1] != ' ')
    end--;
  return end ? atoi(end) : tid;
}

MirrorThread *
process_thread_new(MirrorProcess *process, pid_t tid)
{
  MirrorThread *thread = g_new0(MirrorThread, 1);
  thread->process = process;
  thread->tid = tid;
  thread->own_tid = own_id(process, tid);
  g_ptr_array_add(process->threads, thread);
  return thread;
}

MirrorProcess *
mirror_process_new(pid_t pid, int proc_fd, GError **error)
{
  g_autoptr(MirrorProcess) process = g_new0(MirrorProcess, 1);
  process->pid = pid;
  process->memory = process->pagemap = process->maps = process->sizes = -1;
  process->threads = g_ptr_array_new_with_free_func(thread_free);
  char path[32];
  snprintf(path, sizeof path, "%d", pid);
  process->directory = openat(proc_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (process->directory < 0) {
    doppel_error_errno(error, "opening process %d in procfs", pid);
    return NULL;
  }
  if (!open_memory(process, error))
    return NULL;
  MirrorThread *leader = process_thread_new(process, pid);
  leader->stopped = leader->armed = TRUE;
  process->own_pid = leader->own_tid;
  return g_steal_pointer(&process);
}

void
mirror_process_free(MirrorProcess *process)
{
  if (!process)
    return;
  io_close(&process->memory);
  io_close(&process->pagemap);
  io_close(&process->maps);
  io_close(&process->sizes);
  io_close(&process->directory);
  mirror_files_memory_free(process->files);
  g_ptr_array_unref(process->threads);
  g_free(process);
}

gboolean
mirror_process_renew(MirrorProcess *process, int proc_fd, GError **error)
{
  while (process->threads->len > 1)
    g_ptr_array_remove_index(process->threads, process->threads->len - 1);
  MirrorThread *leader = mirror_thread_leader(process);
  leader->tid = process->pid;
  leader->own_tid = process->own_pid;
  leader->stopped = leader->armed = TRUE;
  leader->registers_read = leader->registers_changed = FALSE;
  leader->in_call = leader->answering = FALSE;
  process->scratch = 0;
  process->kept = FALSE;
  g_clear_pointer(&process->files, mirror_files_memory_free);
  process->breakpoint_count = 0;
  io_close(&process->directory);
  char path[32];
  snprintf(path, sizeof path, "%d", process->pid);
  process->directory = openat(proc_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (process->directory < 0)
    return doppel_error_errno(error, "opening process %d in procfs", process->pid);
  return open_memory(process, error);
}

MirrorThread *
mirror_thread_find(MirrorProcess *process, pid_t tid)
{
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    if (thread->tid == tid)
      return thread;
  }
  return NULL;
}

MirrorThread *
mirror_thread_find_own(MirrorProcess *process, pid_t own_tid)
{
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    if (thread->own_tid == own_tid)
      return thread;
  }
  return NULL;
}

static gboolean
is_task(MirrorProcess *process, pid_t tid)
{
  char path[64];
  snprintf(path, sizeof path, "task/%d", tid);
  return faccessat(process->directory, path, F_OK, 0) == 0;
}

MirrorThread *
mirror_thread_add(MirrorProcess *process, pid_t tid)
{
  MirrorThread *thread = mirror_thread_find(process, tid);
  return thread || !is_task(process, tid) ? thread : process_thread_new(process, tid);
}

void
mirror_thread_remove(MirrorThread *thread)
{
  g_ptr_array_remove(thread->process->threads, thread);
}
