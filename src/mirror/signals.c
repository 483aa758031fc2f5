#include "mirror/signals.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/error.h"

enum { PEEK_MAX = 64 };

/* How many signals wait and which; they are looked at first, because asking costs less than taking nothing.
 */
static guint
peek(MirrorThread *thread, gboolean shared, guint64 *set)
{
  siginfo_t infos[PEEK_MAX];
  struct __ptrace_peeksiginfo_args arguments = {
      .off = 0, .flags = shared ? PTRACE_PEEKSIGINFO_SHARED : 0, .nr = PEEK_MAX};
  long count = ptrace(PTRACE_PEEKSIGINFO, thread->tid, &arguments, infos);
  *set = 0;
  for (long i = 0; i < count; i++)
    *set |= 1ull << (infos[i].si_signo - 1);
  return count > 0 ? count : 0;
}

static gboolean
take(MirrorThread *thread, guint64 set, guint count, pid_t own_tid, GArray *into, GError **error)
{
  MirrorProcess *process = thread->process;
  guint64 room = mirror_scratch_bytes(process);
  struct {
    guint64 set, seconds, nanoseconds;
  } ask = {set, 0, 0};
  for (guint i = 0; i < count; i++) {
    const guint64 arguments[6] = {room, room + 64, room + 8, 8};
    gint64 result;
    MirrorSignal signal = {.own_tid = own_tid};
    if (!mirror_memory_write(process, room, &ask, sizeof ask, error) ||
        !mirror_inject_one(thread, SYS_rt_sigtimedwait, arguments, &result, error))
      return FALSE;
    if (result < 0)
      return TRUE;
    if (!mirror_memory_read(process, room + 64, &signal.info, sizeof signal.info, error))
      return FALSE;
    g_array_append_val(into, signal);
  }
  return TRUE;
}

gboolean
mirror_signals_take(MirrorProcess *process, GArray *into, GError **error)
{
  guint64 set;
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    guint count = peek(thread, FALSE, &set);
    if (count && !take(thread, set, count, thread->own_tid, into, error))
      return FALSE;
  }
  MirrorThread *leader = mirror_thread_leader(process);
  guint count = peek(leader, TRUE, &set);
  return !count || take(leader, set, count, 0, into, error);
}

gboolean
mirror_signals_put(MirrorProcess *process, const MirrorSignal *signal, GError **error)
{
  MirrorThread *thread = signal->own_tid ? mirror_thread_find_own(process, signal->own_tid) : NULL;
  MirrorThread *by = thread ? thread : mirror_thread_leader(process);
  guint64 room = mirror_scratch_bytes(process);
  guint64 number = signal->info.si_signo;
  const guint64 to_process[6] = {process->own_pid, number, room};
  const guint64 to_thread[6] = {process->own_pid, by->own_tid, number, room};
  gint64 result;
  if (!mirror_memory_write(process, room, &signal->info, sizeof signal->info, error) ||
      !mirror_inject_one(by, thread ? SYS_rt_tgsigqueueinfo : SYS_rt_sigqueueinfo,
                         thread ? to_thread : to_process, &result, error))
    return FALSE;
  return result >= 0 ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "signal %d cannot be passed on", (int)number);
}
