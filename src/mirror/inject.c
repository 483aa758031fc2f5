/* System calls made in a traced process's name. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "mirror/process.h"

G_STATIC_ASSERT(sizeof(MirrorCall) == 64); /* the stub steps by this */

/* Where nothing else goes: far below where mappings are placed from the top down and above what programs
 * reserve by habit; the second is for address spaces of 39 bits. Without randomisation both twins find the
 * same one free. */
static const guint64 scratch_places[] = {0x500000000000, 0x2000000000, 0x600000};

guint64
mirror_scratch_bytes(MirrorProcess *process)
{
  return process->scratch + MIRROR_SCRATCH_CODE;
}

guint64
mirror_slot_address(const MirrorProcess *process, guint slot)
{
  return process->scratch + MIRROR_SCRATCH_CODE + MIRROR_SCRATCH_BATCH + (guint64)slot * MIRROR_SCRATCH_SLOT;
}

static gboolean
mask_set(MirrorThread *thread, guint64 mask, guint64 *former, GError **error)
{
  if (former && ptrace(PTRACE_GETSIGMASK, thread->tid, sizeof *former, former) < 0)
    return doppel_error_errno(error, "reading the signal mask of thread %d", thread->tid);
  if (ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof mask, &mask) < 0)
    return doppel_error_errno(error, "setting the signal mask of thread %d", thread->tid);
  return TRUE;
}

/* What cannot be blocked, or is not: someone else's SIGSTOP or SIGTRAP. It is put off until the call is made.
 */
static gboolean
put_off(MirrorThread *thread, int status, guint64 *later)
{
  siginfo_t info;
  int number = WSTOPSIG(status);
  if (status >> 16 != 0 || (number != SIGSTOP && number != SIGTRAP) ||
      ptrace(PTRACE_GETSIGINFO, thread->tid, 0, &info) < 0 || (number == SIGTRAP && info.si_code > 0))
    return FALSE;
  *later |= 1ull << number;
  return TRUE;
}

static void
send_again(MirrorThread *thread, guint64 later)
{
  static const int numbers[] = {SIGSTOP, SIGTRAP};
  for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
    if (later >> numbers[i] & 1)
      syscall(SYS_tgkill, thread->process->pid, thread->tid, numbers[i]);
}

static gboolean
let_run(MirrorThread *thread, GError **error)
{
  return ptrace(PTRACE_CONT, thread->tid, 0, 0) >= 0 ||
         doppel_error_errno(error, "running thread %d", thread->tid);
}

/* Until it traps where it is to. */
static gboolean
wait_for_trap(MirrorThread *thread, ArchRegisters *after, GError **error)
{
  guint64 later = 0;
  for (;;) {
    int status;
    if (mirror_thread_wait(thread, &status) < 0 || !WIFSTOPPED(status))
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "thread %d died while a system call was made for it",
                              thread->tid);
    if (!arch_registers_read(thread->tid, after, error))
      return FALSE;
    if (WSTOPSIG(status) == SIGTRAP && status >> 16 == 0 && arch_pc(after) == thread->inject_trap) {
      send_again(thread, later);
      return TRUE;
    }
    if (status >> 16 == PTRACE_EVENT_STOP) {
      thread->interrupting = FALSE;
    } else if (status >> 16 == PTRACE_EVENT_CLONE) {
      unsigned long born = 0;
      ptrace(PTRACE_GETEVENTMSG, thread->tid, 0, &born);
      thread->process->born = born; /* its own first stop is waited for by who made it */
    } else if (!put_off(thread, status, &later)) {
      return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                              "thread %d stopped with signal %d at 0x%" G_GINT64_MODIFIER
                              "x while a system call was made for it",
                              thread->tid, WSTOPSIG(status), arch_pc(after));
    }
    if (!let_run(thread, error))
      return FALSE;
  }
}

/* Signals are blocked: the calls are ours, not a place for the program's handlers to run. But for the trap,
 * which the kernel would force through, and forget the program's handler for it. */
static gboolean
run_begin(MirrorThread *thread, const ArchRegisters *prepared, guint64 trap, GError **error)
{
  thread->inject_trap = trap;
  return mask_set(thread, ~(1ull << (SIGTRAP - 1)), &thread->inject_mask, error) &&
         arch_registers_write(thread->tid, prepared, error) && let_run(thread, error);
}

static gboolean
run_finish(MirrorThread *thread, ArchRegisters *after, GError **error)
{
  gboolean ran = wait_for_trap(thread, after, error);
  ArchRegisters *own = &thread->registers;
  if (ran &&
      (!arch_registers_write(thread->tid, own, error) || !mask_set(thread, thread->inject_mask, NULL, error)))
    return FALSE;
  thread->registers_changed = FALSE;
  thread->registers_read = TRUE;
  /* A signal that waited to be delivered is to be delivered still, with what it carried. */
  if (ran && thread->stop_signal)
    ptrace(PTRACE_SETSIGINFO, thread->tid, 0, &thread->stop_info);
  return ran;
}

static gboolean
run_prepared(MirrorThread *thread, const ArchRegisters *prepared, guint64 trap, ArchRegisters *after,
             GError **error)
{
  return run_begin(thread, prepared, trap, error) && run_finish(thread, after, error);
}

static gboolean
batch_begin(MirrorThread *thread, guint64 array, guint count, GError **error)
{
  guint64 scratch = thread->process->scratch;
  const ArchStub *stub = arch_stub();
  ArchRegisters *own = mirror_thread_registers(thread, error);
  if (!own)
    return FALSE;
  ArchRegisters prepared = *own;
  arch_set_batch(&prepared, scratch + stub->batch_at, array, count);
  return run_begin(thread, &prepared, scratch + stub->batch_trap_at, error);
}

static gboolean
run_batch(MirrorThread *thread, guint64 array, guint count, GError **error)
{
  ArchRegisters after;
  return batch_begin(thread, array, count, error) && run_finish(thread, &after, error);
}

gboolean
mirror_inject(MirrorThread *thread, MirrorCall *calls, guint count, GError **error)
{
  MirrorProcess *process = thread->process;
  guint most = MIRROR_SCRATCH_BATCH / 4 / sizeof(MirrorCall);
  guint64 array = process->scratch + MIRROR_SCRATCH_CODE + MIRROR_SCRATCH_BATCH / 2;
  for (guint done = 0; done < count; done += most) {
    guint now = MIN(most, count - done);
    if (!mirror_memory_write(process, array, calls + done, now * sizeof(MirrorCall), error) ||
        !run_batch(thread, array, now, error) ||
        !mirror_memory_read(process, array, calls + done, now * sizeof(MirrorCall), error))
      return FALSE;
  }
  return TRUE;
}

guint64
mirror_kept_address(const MirrorProcess *process)
{
  return process->scratch + MIRROR_SCRATCH_CODE + MIRROR_SCRATCH_BATCH - MIRROR_SCRATCH_KEPT;
}

gboolean
mirror_inject_kept_begin(MirrorThread *thread, guint first, guint count, GError **error)
{
  guint64 array = mirror_kept_address(thread->process) + first * sizeof(MirrorCall);
  thread->answering = batch_begin(thread, array, count, error);
  return thread->answering;
}

gboolean
mirror_inject_kept_finish(MirrorThread *thread, GError **error)
{
  ArchRegisters after;
  thread->answering = FALSE;
  return run_finish(thread, &after, error);
}

gboolean
mirror_inject_kept(MirrorThread *thread, guint first, guint count, GError **error)
{
  return mirror_inject_kept_begin(thread, first, count, error) && mirror_inject_kept_finish(thread, error);
}

gboolean
mirror_inject_one(MirrorThread *thread, gint64 number, const guint64 arguments[6], gint64 *result,
                  GError **error)
{
  MirrorProcess *process = thread->process;
  const ArchStub *stub = arch_stub();
  ArchRegisters *own = mirror_thread_registers(thread, error);
  if (!own)
    return FALSE;
  ArchRegisters prepared = *own, after;
  arch_set_call(&prepared, process->scratch + stub->call_at, number, arguments);
  if (!run_prepared(thread, &prepared, process->scratch + stub->call_at + stub->call_trap_at, &after, error))
    return FALSE;
  *result = arch_result(&after);
  return TRUE;
}

/* One call where the thread stands, through instructions put there for a moment: before there is a scratch
 * region. */
static gboolean
bootstrap_call(MirrorThread *thread, gint64 number, const guint64 arguments[6], gint64 *result,
               GError **error)
{
  MirrorProcess *process = thread->process;
  ArchRegisters *own = mirror_thread_registers(thread, error);
  guint8 saved[sizeof arch_bootstrap];
  if (!own)
    return FALSE;
  guint64 pc = arch_pc(own);
  if (!mirror_memory_read(process, pc, saved, sizeof saved, error) ||
      !mirror_memory_write(process, pc, arch_bootstrap, sizeof arch_bootstrap, error))
    return FALSE;
  ArchRegisters prepared = *own, after;
  arch_set_call(&prepared, pc, number, arguments);
  gboolean ran = run_prepared(thread, &prepared, pc + arch_bootstrap_trap_at, &after, error);
  if (ran)
    *result = arch_result(&after);
  return mirror_memory_write(process, pc, saved, sizeof saved, ran ? error : NULL) && ran;
}

/* The stop that reports an exec is inside the call: when it returns, the kernel still writes its result over
 * a register. One step on, at the first instruction, the registers are the process's own. */
static gboolean
leave_exec(MirrorThread *leader, GError **error)
{
  int status;
  if (ptrace(PTRACE_INTERRUPT, leader->tid, 0, 0) < 0 || ptrace(PTRACE_CONT, leader->tid, 0, 0) < 0)
    return doppel_error_errno(error, "starting process %d", leader->tid);
  pid_t got;
  do
    got = waitpid(leader->tid, &status, __WALL);
  while (got < 0 && errno == EINTR);
  leader->registers_read = FALSE;
  if (got < 0 || !WIFSTOPPED(status))
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "process %d died as it started", leader->tid);
  /* A signal that is there already is delivered when the program is let go. */
  if (status >> 16 == 0) {
    leader->stop_signal = WSTOPSIG(status);
    ptrace(PTRACE_GETSIGINFO, leader->tid, 0, &leader->stop_info);
  }
  return TRUE;
}

/* What the bootstrap was written over is as the file has it, but the kernel keeps a copy of the page: the
 * file's own again, so that it counts as untouched. A program that has just begun has written to none of its
 * text. */
static gboolean
forget_bootstrap(MirrorThread *leader, GError **error)
{
  ArchRegisters *own = mirror_thread_registers(leader, error);
  guint64 page = sysconf(_SC_PAGESIZE), start = own ? arch_pc(own) / page * page : 0;
  MirrorCall call = {SYS_madvise, {start, page, MADV_DONTNEED}};
  return own && mirror_inject(leader, &call, 1, error);
}

gboolean
mirror_scratch_make(MirrorProcess *process, GError **error)
{
  MirrorThread *leader = mirror_thread_leader(process);
  if (!leave_exec(leader, error))
    return FALSE;
  gint64 result = -ENOMEM;
  for (guint i = 0; i < G_N_ELEMENTS(scratch_places); i++) {
    const guint64 arguments[6] = {scratch_places[i],
                                  MIRROR_SCRATCH_SIZE,
                                  PROT_READ | PROT_WRITE | PROT_EXEC,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
                                  -1,
                                  0};
    if (!bootstrap_call(leader, SYS_mmap, arguments, &result, error))
      return FALSE;
    if (result == (gint64)scratch_places[i])
      break;
  }
  if (result < 0 && result > -4096) {
    errno = -result;
    return doppel_error_errno(error, "making room in process %d", process->pid);
  }
  process->scratch = result;
  process->kept = FALSE;
  return mirror_memory_write(process, process->scratch, arch_stub()->code, arch_stub()->length, error) &&
         forget_bootstrap(leader, error);
}

/* ---- a call that may block ---- */

gboolean
mirror_call_start(MirrorThread *thread, gint64 number, const guint64 arguments[6], GError **error)
{
  MirrorProcess *process = thread->process;
  ArchRegisters *own = mirror_thread_registers(thread, error);
  if (!own || !mask_set(thread, 0, &thread->call_saved_mask, error))
    return FALSE;
  thread->call_saved = *own;
  arch_set_call(own, process->scratch + arch_stub()->call_at, number, arguments);
  thread->registers_changed = TRUE;
  thread->in_call = TRUE;
  return mirror_thread_resume(thread, PTRACE_CONT, error);
}

gboolean
mirror_call_finish(MirrorThread *thread, gint64 *result, GError **error)
{
  ArchRegisters *now = mirror_thread_registers(thread, error);
  if (!now)
    return FALSE;
  guint64 at = thread->process->scratch + arch_stub()->call_at;
  /* Standing before the call: it was not made, or the kernel has already set it back to be made again. */
  *result = arch_pc(now) == at ? MIRROR_CALL_INTERRUPTED : arch_result(now);
  thread->in_call = FALSE;
  thread->registers = thread->call_saved;
  thread->registers_read = thread->registers_changed = TRUE;
  return mask_set(thread, thread->call_saved_mask, NULL, error);
}
