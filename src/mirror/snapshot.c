#include "mirror/snapshot.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/state.h"

enum { PEEK_MAX = 64, SIGNALS_MAX = 4096, INTERVALS = 3 };

/* ---- calls that were broken off ---- */

/* Those that the kernel never restarts by itself. */
static gboolean
is_broken_off(gint64 number)
{
  static const gint64 numbers[] = {
      SYS_epoll_pwait, SYS_epoll_pwait2, SYS_rt_sigtimedwait, SYS_semop,
      SYS_semtimedop,  SYS_io_getevents, SYS_msgsnd,          SYS_msgrcv,
#ifdef SYS_epoll_wait
      SYS_epoll_wait,
#endif
  };
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++)
    if (numbers[i] == number)
      return TRUE;
  return FALSE;
}

gboolean
mirror_snapshot_froze(MirrorProcess *process, GError **error)
{
  enum { RESTART_WITHOUT_HANDLER = 514 }; /* ERESTARTNOHAND: again, unless a signal's handler comes between */
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    ArchRegisters *registers = mirror_thread_registers(thread, error);
    if (!registers)
      return FALSE;
    if (thread->stop_signal || arch_result(registers) != -EINTR ||
        !is_broken_off(arch_call_number(thread->tid, registers)))
      continue;
    arch_set_result(registers, -RESTART_WITHOUT_HANDLER);
    mirror_thread_registers_changed(thread);
  }
  return TRUE;
}

/* ---- memory ---- */

static gboolean
refuse_foreign(const MirrorLayout *layout, GError **error)
{
  for (guint i = 0; i < layout->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, i);
    if (mapping->kind == MIRROR_MAP_FOREIGN)
      return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                              "it shares memory with others or a device (%s)", mapping->path);
  }
  return TRUE;
}

static void
drop_file_pages(const MirrorLayout *layout, GArray *runs)
{
  guint kept = 0;
  for (guint i = 0; i < runs->len; i++) {
    const MirrorRun *run = &g_array_index(runs, MirrorRun, i);
    const MirrorMapping *mapping = mirror_layout_find(layout, run->address);
    if (!mapping || mapping->kind != MIRROR_MAP_SHARED_FILE)
      g_array_index(runs, MirrorRun, kept++) = *run;
  }
  g_array_set_size(runs, kept);
}

gboolean
mirror_snapshot_memory(MirrorProcess *process, MirrorTracker *tracker, MirrorLayout **layout, GArray *runs,
                       GError **error)
{
  if (!mirror_layout_renew(process, layout, error) || !refuse_foreign(*layout, error) ||
      !mirror_tracker_changed(tracker, *layout, runs, error))
    return FALSE;
  drop_file_pages(*layout, runs);
  return TRUE;
}

/* ---- lists of messages ---- */

static gpointer
grow(gpointer list, gsize count)
{
  return g_realloc_n(list, count + 1, sizeof(gpointer));
}

static void
add_section(Doppel__Wire__CheckpointState *state, guint32 kind, guint32 id, GBytes *bytes)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  Doppel__Wire__CheckpointSection *section = g_new(Doppel__Wire__CheckpointSection, 1);
  doppel__wire__checkpoint_section__init(section);
  section->kind = kind;
  section->id = id;
  section->bytes = (ProtobufCBinaryData){length, g_memdup2(data, length)};
  state->section = grow(state->section, state->n_section);
  state->section[state->n_section++] = section;
}

static void
add_signal(Doppel__Wire__CheckpointState *state, pid_t own_tid, const siginfo_t *info)
{
  Doppel__Wire__CheckpointSignal *signal = g_new(Doppel__Wire__CheckpointSignal, 1);
  doppel__wire__checkpoint_signal__init(signal);
  signal->thread = own_tid;
  signal->info = (ProtobufCBinaryData){sizeof *info, g_memdup2(info, sizeof *info)};
  state->signal = grow(state->signal, state->n_signal);
  state->signal[state->n_signal++] = signal;
}

/* ---- signals that wait: they stay where they are ---- */

static void
peek(MirrorThread *thread, gboolean shared, Doppel__Wire__CheckpointState *state)
{
  siginfo_t infos[PEEK_MAX];
  struct __ptrace_peeksiginfo_args arguments = {.flags = shared ? PTRACE_PEEKSIGINFO_SHARED : 0,
                                                .nr = PEEK_MAX};
  for (long count; arguments.off < SIGNALS_MAX &&
                   (count = ptrace(PTRACE_PEEKSIGINFO, thread->tid, &arguments, infos)) > 0;
       arguments.off += (guint64)count)
    for (long i = 0; i < count; i++)
      add_signal(state, shared ? 0 : thread->own_tid, &infos[i]);
}

static void
take_signals(MirrorProcess *process, Doppel__Wire__CheckpointState *state)
{
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    if (thread->stop_signal) /* on its way to be delivered */
      add_signal(state, thread->own_tid, &thread->stop_info);
    peek(thread, FALSE, state);
  }
  peek(mirror_thread_leader(process), TRUE, state);
}

/* ---- timers ---- */

static guint64
microseconds(const struct timeval *time)
{
  return (guint64)time->tv_sec * 1000000 + (guint64)time->tv_usec;
}

static gboolean
take_intervals(MirrorProcess *process, Doppel__Wire__CheckpointState *state, GError **error)
{
  struct itimerval timers[INTERVALS];
  MirrorCall calls[INTERVALS];
  guint64 room = mirror_scratch_bytes(process) + sizeof calls;
  for (guint64 i = 0; i < INTERVALS; i++)
    calls[i] = (MirrorCall){SYS_getitimer, {i, room + 1024 + i * sizeof timers[0]}};
  if (!mirror_inject(mirror_thread_leader(process), calls, INTERVALS, error) ||
      !mirror_memory_read(process, room + 1024, timers, sizeof timers, error))
    return FALSE;
  for (guint i = 0; i < INTERVALS; i++) {
    guint64 left = microseconds(&timers[i].it_value);
    if (calls[i].result < 0 || !left)
      continue;
    Doppel__Wire__CheckpointInterval *interval = g_new(Doppel__Wire__CheckpointInterval, 1);
    doppel__wire__checkpoint_interval__init(interval);
    interval->which = i;
    interval->left_us = left;
    interval->interval_us = microseconds(&timers[i].it_interval);
    state->interval = grow(state->interval, state->n_interval);
    state->interval[state->n_interval++] = interval;
  }
  return TRUE;
}

static gboolean
refuse_timers(MirrorProcess *process, GError **error)
{
  g_autofree char *timers = io_read_file_at(process->directory, "timers", 1 << 16);
  return !timers || !*timers ||
         doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "it has timers of timer_create(2)");
}

/* ---- all of it ---- */

gboolean
mirror_snapshot_state(MirrorProcess *process, MirrorLayout *layout, Doppel__Wire__CheckpointState *state,
                      GError **error)
{
  gboolean children = FALSE;
  g_autoptr(GPtrArray) none = mirror_files_new();
  GHashTableIter iterator;
  gpointer key, bytes;
  if (!refuse_timers(process, error) || !mirror_state_quiet_rseq(process, error))
    return FALSE;
  g_autoptr(GHashTable) now = mirror_state_read(process, layout, none, NULL, NULL, NULL, &children, error);
  if (!now)
    return FALSE;
  if (children)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "it has child processes");
  g_hash_table_iter_init(&iterator, now);
  while (g_hash_table_iter_next(&iterator, &key, &bytes)) {
    guint64 name = *(guint64 *)key;
    if (name >> 32 != MIRROR_SECTION_FILES)
      add_section(state, (guint32)(name >> 32), (guint32)name, bytes);
  }
  take_signals(process, state);
  return take_intervals(process, state, error) && mirror_process_stands(process, error);
}
