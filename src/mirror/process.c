#include "mirror/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/files_memory.h"

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

static MirrorThread *
thread_new(MirrorProcess *process, pid_t tid)
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
  MirrorThread *leader = thread_new(process, pid);
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
  return thread || !is_task(process, tid) ? thread : thread_new(process, tid);
}

void
mirror_thread_remove(MirrorThread *thread)
{
  g_ptr_array_remove(thread->process->threads, thread);
}

/* ---- stops ---- */

static MirrorStopKind
trap_kind(MirrorThread *thread, MirrorStop *stop)
{
  MirrorProcess *process = thread->process;
  ArchRegisters *registers = mirror_thread_registers(thread, NULL);
  if (!registers)
    return MIRROR_STOP_NONE;
  guint64 pc = arch_pc(registers);
  stop->pc = pc;
  if (process->scratch && thread->in_call &&
      pc == process->scratch + arch_stub()->call_at + arch_stub()->call_trap_at)
    return MIRROR_STOP_CALL_DONE;
  MirrorBreakpoint *hardware = mirror_breakpoint_find(process, pc);
  if (hardware && hardware->slot >= 0)
    return MIRROR_STOP_BREAKPOINT;
  MirrorBreakpoint *trap = mirror_breakpoint_find(process, arch_trap_pc(pc));
  if (trap && trap->slot < 0) {
    stop->pc = trap->address;
    arch_set_pc(registers, trap->address);
    thread->registers_changed = TRUE;
    return MIRROR_STOP_BREAKPOINT;
  }
  return MIRROR_STOP_STEP;
}

static MirrorStopKind
signal_kind(MirrorThread *thread, int signal, MirrorStop *stop)
{
  if (ptrace(PTRACE_GETSIGINFO, thread->tid, 0, &thread->stop_info) < 0)
    return MIRROR_STOP_NONE;
  /* A trap that the program did not send itself is ours: breakpoint, step or stub. */
  if (signal == SIGTRAP && thread->stop_info.si_code > 0) {
    MirrorStopKind kind = trap_kind(thread, stop);
    if (kind != MIRROR_STOP_STEP || thread->stop_info.si_code == 2 /* TRAP_TRACE */ ||
        thread->stop_info.si_code == 4 /* TRAP_HWBKPT */)
      return kind;
  }
  thread->stop_signal = signal;
  return MIRROR_STOP_SIGNAL;
}

MirrorStop
mirror_stop_read(MirrorProcess *process, pid_t tid, int status)
{
  MirrorThread *thread = mirror_thread_find(process, tid);
  MirrorStop stop = {.kind = MIRROR_STOP_NONE, .thread = thread, .status = status};
  if (!WIFSTOPPED(status)) {
    stop.kind = MIRROR_STOP_GONE;
    return stop;
  }
  if (!thread)
    stop.thread = thread = thread_new(process, tid);
  thread->stopped = TRUE;
  thread->registers_read = FALSE;
  thread->stop_signal = 0;
  int signal = WSTOPSIG(status), event = status >> 16;
  unsigned long message = 0;
  switch (event) {
  case 0:
    stop.kind = signal == (SIGTRAP | 0x80) ? MIRROR_STOP_SYSCALL : signal_kind(thread, signal, &stop);
    break;
  case PTRACE_EVENT_STOP:
    if (signal == SIGTRAP) {
      thread->interrupting = FALSE;
      break;
    }
    stop.kind = MIRROR_STOP_GROUP;
    thread->stop_signal = 0;
    break;
  case PTRACE_EVENT_CLONE:
  case PTRACE_EVENT_FORK:
  case PTRACE_EVENT_VFORK:
    ptrace(PTRACE_GETEVENTMSG, tid, 0, &message);
    stop.child = message;
    stop.kind = event == PTRACE_EVENT_CLONE ? MIRROR_STOP_NEW_THREAD : MIRROR_STOP_FORK;
    break;
  case PTRACE_EVENT_EXEC:
    ptrace(PTRACE_GETEVENTMSG, tid, 0, &message);
    stop.child = message;
    stop.kind = MIRROR_STOP_EXEC;
    break;
  case PTRACE_EVENT_EXIT:
    stop.kind = MIRROR_STOP_EXITING;
    break;
  }
  return stop;
}

static gboolean
registers_flush(MirrorThread *thread, GError **error)
{
  if (!thread->registers_changed)
    return TRUE;
  thread->registers_changed = FALSE;
  return arch_registers_write(thread->tid, &thread->registers, error);
}

gboolean
mirror_thread_resume(MirrorThread *thread, int request, GError **error)
{
  /* A thread that was killed in its stop is no error here: its end is reported next. */
  gboolean flushed = registers_flush(thread, NULL);
  if ((!flushed || ptrace(request, thread->tid, 0, (long)thread->stop_signal) < 0) && errno != ESRCH)
    return doppel_error_errno(error, "resuming thread %d", thread->tid);
  thread->stopped = thread->registers_read = FALSE;
  thread->stop_signal = 0;
  return TRUE;
}

ArchRegisters *
mirror_thread_registers(MirrorThread *thread, GError **error)
{
  if (!thread->registers_read && !thread->registers_changed) {
    if (!arch_registers_read(thread->tid, &thread->registers, error))
      return NULL;
    thread->registers_read = TRUE;
  }
  return &thread->registers;
}

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

/* Waits for one thread to stop. FALSE when it is gone, without a word of its end. */
static gboolean
wait_for(MirrorThread *thread, MirrorStop *stop, GError **error)
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

/* Lets a thread that was stopped inside a system call come out of it, and no further. */
static gboolean
leave_call(MirrorThread *thread, GError **error)
{
  if (ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) == 0)
    thread->interrupting = TRUE;
  return mirror_thread_resume(thread, PTRACE_CONT, error);
}

/* An interrupt can overtake a breakpoint that has just fired: its trap waits as a signal. */
gboolean
mirror_trap_waits(MirrorThread *thread)
{
  siginfo_t infos[16];
  struct __ptrace_peeksiginfo_args arguments = {.nr = G_N_ELEMENTS(infos)};
  for (int count; (count = ptrace(PTRACE_PEEKSIGINFO, thread->tid, &arguments, infos)) > 0;
       arguments.off += count)
    for (int i = 0; i < count; i++)
      if (infos[i].si_signo == SIGTRAP && infos[i].si_code > 0)
        return TRUE;
  return FALSE;
}

/* What a thread that is to be frozen reports. FALSE: it cannot be. */
static gboolean
freeze_stop(MirrorProcess *process, const MirrorStop *stop, MirrorStopSeen seen, void *user, GError **error)
{
  MirrorThread *thread = stop->thread;
  /* One that was born just now fires at breakpoints like the others when it runs on. */
  if (!thread->armed)
    mirror_breakpoints_arm(thread, NULL);
  switch (stop->kind) {
  case MIRROR_STOP_BREAKPOINT:
    arch_breakpoint_again(mirror_thread_registers(thread, NULL));
    thread->registers_changed = TRUE;
    return TRUE;
  case MIRROR_STOP_NEW_THREAD:
    mirror_thread_add(process, stop->child);
    return leave_call(thread, error);
  case MIRROR_STOP_FORK:
    return leave_call(thread, error);
  case MIRROR_STOP_NONE:
    return !mirror_trap_waits(thread) || mirror_thread_resume(thread, PTRACE_CONT, error);
  default:
    if (seen)
      seen(stop, user);
    return TRUE;
  }
}

/* FALSE: it has ended. */
static gboolean
freeze_thread(MirrorThread *thread, MirrorStopSeen seen, void *user, gboolean *gone, GError **error)
{
  MirrorProcess *process = thread->process;
  MirrorStop stop;
  while (!thread->stopped) {
    g_autoptr(GError) why = NULL;
    gboolean leader = thread == mirror_thread_leader(process);
    if (!wait_for(thread, &stop, &why)) {
      *gone = !leader; /* someone else was told of its end */
      if (leader)
        g_propagate_error(error, g_steal_pointer(&why));
      return FALSE;
    }
    if (stop.kind == MIRROR_STOP_GONE) {
      if (seen)
        seen(&stop, user);
      *gone = !leader;
      return leader ? doppel_error_set(error, DOPPEL_ERROR_GONE, "process %d died", process->pid) : FALSE;
    }
    if (!freeze_stop(process, &stop, seen, user, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
mirror_process_freeze(MirrorProcess *process, MirrorStopSeen seen, void *user, GError **error)
{
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    if (!thread->stopped && ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) == 0)
      thread->interrupting = TRUE;
  }
  for (guint i = 0; i < process->threads->len; i++) {
    gboolean gone = FALSE;
    if (freeze_thread(process->threads->pdata[i], seen, user, &gone, error))
      continue;
    if (!gone)
      return FALSE;
    mirror_thread_remove(process->threads->pdata[i--]);
  }
  return TRUE;
}

gboolean
mirror_process_stands(MirrorProcess *process, GError **error)
{
  for (guint i = 0; i < process->threads->len; i++) {
    const MirrorThread *thread = process->threads->pdata[i];
    unsigned long message;
    if (thread->stopped && ptrace(PTRACE_GETEVENTMSG, thread->tid, 0, &message) < 0)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "process %d was killed while it was looked at",
                              process->pid);
  }
  return TRUE;
}

/* ---- breakpoints ---- */

MirrorBreakpoint *
mirror_breakpoint_find(MirrorProcess *process, guint64 address)
{
  for (guint i = 0; i < process->breakpoint_count; i++)
    if (process->breakpoints[i].address == address)
      return &process->breakpoints[i];
  return NULL;
}

static int
free_slot(MirrorProcess *process)
{
  guint used = 0;
  for (guint i = 0; i < process->breakpoint_count; i++)
    if (process->breakpoints[i].slot >= 0)
      used |= 1u << process->breakpoints[i].slot;
  for (guint slot = 0; slot < arch_breakpoint_slots(); slot++)
    if (!(used >> slot & 1))
      return slot;
  return -1;
}

static gboolean
raw_write(MirrorProcess *process, guint64 address, const void *from, gsize length, GError **error)
{
  if (process->fill && !process->fill(address, length, process->fill_user, error))
    return FALSE;
  for (gsize done = 0; done < length;) {
    ssize_t got = pwrite(process->memory, (const guint8 *)from + done, length - done, address + done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return doppel_error_errno(
          error, "writing %" G_GSIZE_FORMAT " bytes at 0x%" G_GINT64_MODIFIER "x of process %d", length,
          address, process->pid);
    done += got;
  }
  return TRUE;
}

static gboolean
raw_read(MirrorProcess *process, guint64 address, void *to, gsize length, GError **error)
{
  for (gsize done = 0; done < length;) {
    ssize_t got = pread(process->memory, (guint8 *)to + done, length - done, address + done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      if (got == 0)
        errno = EIO;
      return doppel_error_errno(
          error, "reading %" G_GSIZE_FORMAT " bytes at 0x%" G_GINT64_MODIFIER "x of process %d", length,
          address, process->pid);
    }
    done += got;
  }
  return TRUE;
}

gboolean
mirror_breakpoint_add(MirrorProcess *process, guint64 address, gboolean hardware_if_free, GError **error)
{
  if (mirror_breakpoint_find(process, address))
    return TRUE;
  if (process->breakpoint_count == MIRROR_BREAKPOINTS_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "more than %d functions at once are not supported", MIRROR_BREAKPOINTS_MAX);
  MirrorBreakpoint *breakpoint = &process->breakpoints[process->breakpoint_count];
  *breakpoint = (MirrorBreakpoint){.address = address, .slot = hardware_if_free ? free_slot(process) : -1};
  if (breakpoint->slot >= 0) {
    gboolean set = TRUE;
    guint done = 0;
    for (; done < process->threads->len && set; done++) {
      MirrorThread *thread = process->threads->pdata[done];
      set = arch_breakpoint_set(thread->tid, breakpoint->slot, address, NULL);
    }
    if (!set) { /* a virtual machine without debug registers, or a thread that runs */
      while (done-- > 0)
        arch_breakpoint_clear(((MirrorThread *)process->threads->pdata[done])->tid, breakpoint->slot, NULL);
      breakpoint->slot = -1;
    }
  }
  if (breakpoint->slot < 0 && (!raw_read(process, address, breakpoint->original, arch_trap_length, error) ||
                               !raw_write(process, address, arch_trap, arch_trap_length, error)))
    return FALSE;
  process->breakpoint_count++;
  return TRUE;
}

gboolean
mirror_breakpoint_remove(MirrorProcess *process, guint64 address, GError **error)
{
  MirrorBreakpoint *breakpoint = mirror_breakpoint_find(process, address);
  if (!breakpoint)
    return TRUE;
  if (breakpoint->slot < 0) {
    if (!raw_write(process, address, breakpoint->original, arch_trap_length, error))
      return FALSE;
  } else {
    for (guint i = 0; i < process->threads->len; i++)
      arch_breakpoint_clear(((MirrorThread *)process->threads->pdata[i])->tid, breakpoint->slot, NULL);
  }
  *breakpoint = process->breakpoints[--process->breakpoint_count];
  return TRUE;
}

gboolean
mirror_breakpoints_arm(MirrorThread *thread, GError **error)
{
  MirrorProcess *process = thread->process;
  thread->armed = TRUE;
  for (guint i = 0; i < process->breakpoint_count; i++)
    if (process->breakpoints[i].slot >= 0 && !arch_breakpoint_set(thread->tid, process->breakpoints[i].slot,
                                                                  process->breakpoints[i].address, error))
      return FALSE;
  return TRUE;
}

/* One instruction and nothing else: signals wait meanwhile, and one that was to be delivered is to be
 * delivered still, with what it carries. */
static gboolean
step_once(MirrorThread *thread, GError **error)
{
  guint64 mask, all = ~(1ull << (SIGTRAP - 1));
  int signal = thread->stop_signal;
  siginfo_t info = thread->stop_info;
  MirrorStop stop = {.kind = MIRROR_STOP_NONE};
  if (ptrace(PTRACE_GETSIGMASK, thread->tid, sizeof mask, &mask) < 0 ||
      ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof all, &all) < 0)
    return doppel_error_errno(error, "holding the signals of thread %d", thread->tid);
  while (stop.kind != MIRROR_STOP_STEP && stop.kind != MIRROR_STOP_BREAKPOINT) {
    /* The stop of an interrupt can come first, or one that cannot be held: that is delivered afterwards. */
    if (thread->stop_signal) {
      signal = thread->stop_signal;
      info = thread->stop_info;
    }
    thread->stop_signal = 0;
    if (!mirror_thread_resume(thread, PTRACE_SINGLESTEP, error) || !wait_for(thread, &stop, error))
      return FALSE;
    if (stop.kind == MIRROR_STOP_GONE || stop.kind == MIRROR_STOP_EXITING)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "thread %d died", thread->tid);
    if (thread->stop_signal && thread->stop_signal != SIGSTOP)
      break; /* the instruction's own fault */
  }
  if (ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof mask, &mask) < 0)
    return doppel_error_errno(error, "letting the signals of thread %d go", thread->tid);
  if (!thread->stop_signal && signal) {
    thread->stop_signal = signal;
    thread->stop_info = info;
    ptrace(PTRACE_SETSIGINFO, thread->tid, 0, &info);
  }
  return TRUE;
}

gboolean
mirror_breakpoint_step_over(MirrorThread *thread, GError **error)
{
  ArchRegisters *registers = mirror_thread_registers(thread, error);
  if (!registers)
    return FALSE;
  guint64 address = arch_pc(registers);
  MirrorBreakpoint *breakpoint = mirror_breakpoint_find(thread->process, address);
  if (!breakpoint)
    return mirror_thread_resume(thread, PTRACE_CONT, error);
  if (breakpoint->slot >= 0 && arch_breakpoint_pass(registers)) {
    thread->registers_changed = TRUE;
    return mirror_thread_resume(thread, PTRACE_CONT, error);
  }
  /* Other threads may pass here unseen while the trap is away for one instruction: they lose an offer,
   * nothing else. */
  MirrorBreakpoint saved = *breakpoint;
  return mirror_breakpoint_remove(thread->process, address, error) && step_once(thread, error) &&
         mirror_breakpoint_add(thread->process, saved.address, saved.slot >= 0, error) &&
         mirror_thread_resume(thread, PTRACE_CONT, error);
}

/* ---- memory ---- */

gboolean
mirror_memory_read(MirrorProcess *process, guint64 address, void *to, gsize length, GError **error)
{
  return (!process->fill || process->fill(address, length, process->fill_user, error)) &&
         mirror_memory_read_present(process, address, to, length, error);
}

gboolean
mirror_memory_read_present(MirrorProcess *process, guint64 address, void *to, gsize length, GError **error)
{
  if (!raw_read(process, address, to, length, error))
    return FALSE;
  for (guint i = 0; i < process->breakpoint_count; i++) {
    const MirrorBreakpoint *breakpoint = &process->breakpoints[i];
    for (gsize k = 0; breakpoint->slot < 0 && k < arch_trap_length; k++)
      if (breakpoint->address + k >= address && breakpoint->address + k < address + length)
        ((guint8 *)to)[breakpoint->address + k - address] = breakpoint->original[k];
  }
  return TRUE;
}

gboolean
mirror_memory_write(MirrorProcess *process, guint64 address, const void *from, gsize length, GError **error)
{
  if (!raw_write(process, address, from, length, error))
    return FALSE;
  for (guint i = 0; i < process->breakpoint_count; i++) {
    MirrorBreakpoint *breakpoint = &process->breakpoints[i];
    if (breakpoint->slot >= 0 || breakpoint->address >= address + length ||
        breakpoint->address + arch_trap_length <= address)
      continue;
    for (gsize k = 0; k < arch_trap_length; k++)
      if (breakpoint->address + k >= address && breakpoint->address + k < address + length)
        breakpoint->original[k] = ((const guint8 *)from)[breakpoint->address + k - address];
    if (!raw_write(process, breakpoint->address, arch_trap, arch_trap_length, error))
      return FALSE;
  }
  return TRUE;
}

char *
mirror_memory_read_string(MirrorProcess *process, guint64 address, gsize limit, GError **error)
{
  GByteArray *text = g_byte_array_new();
  while (text->len < limit) {
    guint8 piece[256];
    /* Never past a page's end: the next one may not be there. */
    gsize length = MIN(sizeof piece, 4096 - (address + text->len) % 4096);
    if (!mirror_memory_read(process, address + text->len, piece, length, error)) {
      g_byte_array_unref(text);
      return NULL;
    }
    guint8 *end = memchr(piece, 0, length);
    g_byte_array_append(text, piece, end ? (gsize)(end - piece) + 1 : length);
    if (end)
      return (char *)g_byte_array_free(text, FALSE);
  }
  g_byte_array_unref(text);
  doppel_error_set(error, DOPPEL_ERROR_FAILED, "a string longer than %" G_GSIZE_FORMAT " bytes", limit);
  return NULL;
}
