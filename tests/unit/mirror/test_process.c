/* A traced process: stops, breakpoints, memory, calls made in its name. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "rig.h"

enum { HARDWARE = TRUE, TRAP = FALSE, PATIENCE_MS = 60000 };

/* ---- freezing ---- */

static void
assert_all_stopped(MirrorProcess *process)
{
  g_auto(Fd) tasks = openat(process->directory, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint(tasks, >=, 0);
  for (guint i = 0; i < process->threads->len; i++) {
    const MirrorThread *thread = process->threads->pdata[i];
    char path[64];
    g_snprintf(path, sizeof path, "%d/stat", thread->tid);
    g_assert_true(thread->stopped);
    g_autofree char *stat = io_read_file_at(tasks, path, 4096);
    const char *state = stat ? strrchr(stat, ')') : NULL;
    if (state)
      g_assert_cmpint(state[2], ==, 't');
  }
}

static guint
tasks_of(MirrorProcess *process)
{
  g_autofree char *path = g_strdup_printf("/proc/%d/task", process->pid);
  g_autoptr(GDir) tasks = g_dir_open(path, 0, NULL);
  guint count = 0;
  while (g_dir_read_name(tasks))
    count++;
  return count;
}

static void
test_freeze_while_threads_come_and_go(void)
{
  g_autoptr(GRand) random = rig_random();
  MirrorProcess *process = rig_puppet("breed 4");
  rig_ready(process, 4);
  for (int turn = 0; turn < 150; turn++) {
    MirrorStop stop = rig_run(process, NULL, NULL, g_rand_int_range(random, 0, 4));
    g_assert_cmpint(stop.kind, ==, MIRROR_STOP_NONE);
    rig_freeze(process);
    assert_all_stopped(process);
    g_assert_cmpuint(tasks_of(process), ==, process->threads->len);
    /* Each of them can be asked to do something, and does what it was about to do afterwards. */
    for (guint i = 0; i < process->threads->len; i++) {
      g_autoptr(GError) error = NULL;
      MirrorThread *thread = process->threads->pdata[i];
      gint64 id = 0;
      mirror_inject_one(thread, SYS_gettid, (const guint64[6]){0}, &id, &error);
      g_assert_no_error(error);
      g_assert_cmpint(id, ==, thread->own_tid);
    }
  }
  g_assert_cmpuint(RIG_BOARD(process, finished), >, 0);
  rig_end(process);
}

static void
count_breakpoint(const MirrorStop *stop, void *user)
{
  if (stop->kind == MIRROR_STOP_BREAKPOINT)
    ++*(guint *)user;
}

/* A ticking thread comes to the breakpoint; it is let past. */
static void
see_one(MirrorThread *thread)
{
  g_autoptr(GError) error = NULL;
  MirrorStop stop = {0};
  while (stop.kind != MIRROR_STOP_BREAKPOINT) {
    int status;
    mirror_thread_resume(thread, PTRACE_CONT, &error);
    g_assert_no_error(error);
    g_assert_cmpint(waitpid(thread->tid, &status, __WALL), ==, thread->tid);
    stop = mirror_stop_read(thread->process, thread->tid, status);
    g_assert_true(stop.kind == MIRROR_STOP_BREAKPOINT || stop.kind == MIRROR_STOP_NONE);
  }
  mirror_breakpoint_step_over(thread, &error);
  g_assert_no_error(error);
}

/* Each call of tick() is seen once: what a freeze takes back fires again. */
static void
test_freeze_takes_breakpoints_back(gconstpointer hardware)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GRand) random = rig_random();
  MirrorProcess *process = rig_puppet("tick 2");
  rig_ready(process, 3);
  guint64 tick = RIG_BOARD(process, tick), before = RIG_BOARD(process, ticks), seen = 0;
  mirror_breakpoint_add(process, tick, GPOINTER_TO_INT(hardware), &error);
  g_assert_no_error(error);
  guint handed = 0;
  for (int turn = 0; turn < 500; turn++) {
    for (guint i = 1; i < process->threads->len; i++, seen++)
      see_one(process->threads->pdata[i]);
    if (g_rand_boolean(random))
      g_usleep(g_rand_int_range(random, 0, 100));
    mirror_process_freeze(process, count_breakpoint, &handed, &error);
    g_assert_no_error(error);
    assert_all_stopped(process);
  }
  g_assert_cmpuint(handed, ==, 0);
  guint64 ticks = RIG_BOARD(process, ticks) - before;
  g_test_message("%u ticks, %u seen", (guint)ticks, (guint)seen);
  /* Each of the two may have been inside as the breakpoint was set, and has not ended its last call yet. */
  g_assert_cmpuint(ticks, >=, seen - 2);
  /* While a trap is away for one instruction the other thread can pass unseen. */
  if (GPOINTER_TO_INT(hardware))
    g_assert_cmpuint(ticks, <=, seen + 2);
  rig_end(process);
}

static void
test_freeze_a_process_that_dies(void)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("tick 1");
  rig_ready(process, 2);
  rig_resume(process);
  kill(process->pid, SIGKILL);
  g_assert_false(mirror_process_freeze(process, NULL, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  rig_end(process);
}

/* A leader that has ended is a zombie as long as the other threads live, and never reports a stop. */
static void
test_freeze_without_a_leader(void)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("orphans");
  for (gint64 deadline = clock_now_ns() + PATIENCE_MS * G_GINT64_CONSTANT(1000000);;) {
    rig_run(process, NULL, NULL, 20);
    g_autofree char *stat = io_read_file_at(process->directory, "stat", 4096);
    const char *state = strrchr(stat, ')');
    if (state && state[2] == 'Z')
      break;
    g_assert_cmpint(clock_now_ns(), <, deadline);
  }
  alarm(PATIENCE_MS / 1000); /* it must not hang */
  g_assert_false(mirror_process_freeze(process, NULL, NULL, &error));
  alarm(0);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  g_test_message("%s", error->message);
  rig_end(process);
}

static void
note_signal(const MirrorStop *stop, void *user)
{
  if (stop->kind == MIRROR_STOP_SIGNAL)
    *(int *)user = stop->thread->stop_signal;
}

static void
test_freeze_hands_signals_over(void)
{
  g_autoptr(GError) error = NULL;
  int signal = 0;
  MirrorProcess *process = rig_puppet("tick 1");
  rig_ready(process, 2);
  rig_resume(process);
  kill(process->pid, SIGUSR1);
  for (int turn = 0; turn < 5000 && !signal; turn++) {
    mirror_process_freeze(process, note_signal, &signal, &error);
    g_assert_no_error(error);
    if (!signal) {
      rig_resume(process);
      g_usleep(1000); /* an interrupt that comes at once overtakes the signal, every time */
    }
  }
  g_assert_cmpint(signal, ==, SIGUSR1);
  rig_end(process);
}

/* ---- breakpoints ---- */

static void
test_step_over(gconstpointer hardware)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("tick 1");
  rig_ready(process, 2);
  guint64 tick = RIG_BOARD(process, tick);
  mirror_breakpoint_add(process, tick, GPOINTER_TO_INT(hardware), &error);
  g_assert_no_error(error);
  guint64 before = RIG_BOARD(process, ticks), seen = 0;
  for (int turn = 0; turn < 1000; turn++) {
    MirrorStop stop = rig_run(process, rig_is_breakpoint, NULL, PATIENCE_MS);
    g_assert_cmpint(stop.kind, ==, MIRROR_STOP_BREAKPOINT);
    g_assert_cmpuint(stop.pc, ==, tick);
    g_assert_cmpuint(arch_pc(mirror_thread_registers(stop.thread, NULL)), ==, tick);
    seen++;
  }
  rig_freeze(process);
  guint64 ticks = RIG_BOARD(process, ticks) - before;
  g_assert_cmpuint(ticks, >=, seen - 1);
  g_assert_cmpuint(ticks, <=, seen + 1); /* one may have been under way as the breakpoint was set */
  mirror_breakpoint_remove(process, tick, &error);
  g_assert_no_error(error);
  g_assert_cmpint(rig_run(process, rig_is_breakpoint, NULL, 30).kind, ==, MIRROR_STOP_NONE);
  rig_end(process);
}

/* A thread that is asked to stop while it is stepped over its breakpoint has still been there once only. */
static void
test_step_over_when_interrupted(gconstpointer hardware)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("tick 1");
  rig_ready(process, 2);
  guint64 tick = RIG_BOARD(process, tick);
  mirror_breakpoint_add(process, tick, GPOINTER_TO_INT(hardware), &error);
  g_assert_no_error(error);
  MirrorStop stop = rig_run(process, rig_is_breakpoint, NULL, PATIENCE_MS);
  guint64 before = RIG_BOARD(process, ticks);
  for (guint64 turn = 1; turn <= 50; turn++) {
    g_assert_cmpint(stop.kind, ==, MIRROR_STOP_BREAKPOINT);
    g_assert_no_errno(ptrace(PTRACE_INTERRUPT, stop.thread->tid, 0, 0));
    stop.thread->interrupting = TRUE;
    mirror_breakpoint_step_over(stop.thread, &error);
    g_assert_no_error(error);
    stop = rig_run(process, rig_is_breakpoint, NULL, PATIENCE_MS);
    g_assert_cmpuint(RIG_BOARD(process, ticks) - before, ==, turn);
  }
  rig_end(process);
}

/* What a signal carries survives that its thread is stepped over a breakpoint first. */
static void
test_step_over_keeps_a_signal(gconstpointer hardware)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("tick 1");
  rig_ready(process, 2);
  guint64 tick = RIG_BOARD(process, tick);
  mirror_breakpoint_add(process, tick, GPOINTER_TO_INT(hardware), &error);
  g_assert_no_error(error);
  MirrorStop stop = rig_run(process, rig_is_breakpoint, NULL, PATIENCE_MS);
  MirrorThread *thread = stop.thread;
  rig_freeze(process);
  /* Stopped by a signal where the breakpoint is. */
  siginfo_t info = {.si_signo = SIGURG, .si_code = SI_QUEUE, .si_pid = getpid(), .si_value.sival_int = 4711};
  g_assert_no_errno(syscall(SYS_rt_tgsigqueueinfo, process->pid, thread->tid, SIGURG, &info));
  mirror_thread_registers_changed(thread);
  arch_breakpoint_again(mirror_thread_registers(thread, NULL));
  mirror_thread_resume(thread, PTRACE_CONT, &error);
  int status;
  g_assert_cmpint(waitpid(thread->tid, &status, __WALL), ==, thread->tid);
  stop = mirror_stop_read(process, thread->tid, status);
  while (stop.kind == MIRROR_STOP_NONE) {
    mirror_thread_resume(thread, PTRACE_CONT, &error);
    g_assert_cmpint(waitpid(thread->tid, &status, __WALL), ==, thread->tid);
    stop = mirror_stop_read(process, thread->tid, status);
  }
  g_assert_cmpint(stop.kind, ==, MIRROR_STOP_SIGNAL);
  g_assert_cmpuint(arch_pc(mirror_thread_registers(thread, NULL)), ==, tick);
  /* Blocked as soon as it is there again, so that it can be looked at. */
  guint64 mask = 1ull << (SIGURG - 1);
  g_assert_no_errno(ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof mask, &mask));
  mirror_breakpoint_step_over(thread, &error);
  g_assert_no_error(error);
  rig_run(process, rig_is_breakpoint, NULL, PATIENCE_MS);
  rig_freeze(process);
  struct __ptrace_peeksiginfo_args ask = {.nr = 1};
  siginfo_t found;
  g_assert_cmpint(ptrace(PTRACE_PEEKSIGINFO, thread->tid, &ask, &found), ==, 1);
  g_assert_cmpint(found.si_signo, ==, SIGURG);
  g_assert_cmpint(found.si_code, ==, SI_QUEUE);
  g_assert_cmpint(found.si_value.sival_int, ==, 4711);
  guint64 now = 0;
  g_assert_no_errno(ptrace(PTRACE_GETSIGMASK, thread->tid, sizeof now, &now));
  g_assert_cmphex(now, ==, mask);
  rig_end(process);
}

static void
test_breakpoints_in_new_threads(gconstpointer hardware)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("breed 1");
  rig_ready(process, 1);
  guint64 tick = RIG_BOARD(process, tick);
  mirror_breakpoint_add(process, tick, GPOINTER_TO_INT(hardware), &error);
  g_assert_no_error(error);
  for (int turn = 0; turn < 100; turn++) {
    MirrorStop stop = rig_run(process, rig_is_breakpoint, NULL, PATIENCE_MS);
    g_assert_cmpint(stop.kind, ==, MIRROR_STOP_BREAKPOINT);
    /* Also those that were born while everybody was being stopped. */
    mirror_breakpoint_step_over(stop.thread, &error);
    g_assert_no_error(error);
    rig_freeze(process);
    for (guint i = 0; i < process->threads->len; i++)
      g_assert_true(((MirrorThread *)process->threads->pdata[i])->armed);
  }
  rig_end(process);
}

/* More functions than the processor has registers for. */
static void
test_many_breakpoints(void)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("tick 1");
  rig_ready(process, 2);
  guint64 code = rig_map(process, 0, 4096 * MIRROR_BREAKPOINTS_MAX, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS);
  for (int i = 0; i < MIRROR_BREAKPOINTS_MAX; i++) {
    mirror_breakpoint_add(process, code + i * 64, HARDWARE, &error);
    g_assert_no_error(error);
  }
  g_assert_false(mirror_breakpoint_add(process, code + 64 * 1000, HARDWARE, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  g_clear_error(&error);
  g_assert_true(mirror_breakpoint_add(process, code, HARDWARE, &error)); /* has it already */
  guint traps = 0;
  for (guint i = 0; i < process->breakpoint_count; i++)
    traps += process->breakpoints[i].slot < 0;
  g_assert_cmpuint(traps, >=, MIRROR_BREAKPOINTS_MAX - arch_breakpoint_slots());
  for (int i = 0; i < MIRROR_BREAKPOINTS_MAX; i++)
    g_assert_true(mirror_breakpoint_remove(process, code + i * 64, &error));
  g_assert_cmpuint(process->breakpoint_count, ==, 0);
  guint8 page[4096];
  g_assert_cmpint(pread(process->memory, page, sizeof page, code), ==, sizeof page);
  for (guint i = 0; i < sizeof page; i++)
    g_assert_cmpuint(page[i], ==, 0);
  /* What cannot be is an error, not a trap somewhere. */
  g_assert_false(mirror_breakpoint_add(process, 0x10, HARDWARE, &error) &&
                 mirror_breakpoint_add(process, 0x20, TRAP, &error));
  rig_end(process);
}

/* ---- memory ---- */

static void
test_reads_hide_traps(void)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("sleep");
  guint64 code = rig_map(process, 0, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS);
  guint8 pattern[256], seen[256], raw[256];
  for (guint i = 0; i < sizeof pattern; i++)
    pattern[i] = 0xa0 + i % 61;
  rig_write(process, code, pattern, sizeof pattern);
  static const guint places[] = {0, 4, 100, 252};
  for (guint i = 0; i < G_N_ELEMENTS(places); i++)
    g_assert_true(mirror_breakpoint_add(process, code + places[i], TRAP, &error));
  g_assert_cmpint(pread(process->memory, raw, sizeof raw, code), ==, sizeof raw);
  g_assert_cmpint(memcmp(raw + 100, arch_trap, arch_trap_length), ==, 0);
  /* Wherever a read or a write begins and ends. */
  for (guint from = 0; from < sizeof pattern; from++)
    for (guint to = from + 1; to <= sizeof pattern; to += 7) {
      rig_read(process, code + from, seen, to - from);
      g_assert_cmpmem(seen, to - from, pattern + from, to - from);
    }
  for (guint from = 0; from < sizeof pattern; from += 3) {
    guint length = MIN(1 + from % 9, sizeof pattern - from);
    for (guint i = from; i < from + length; i++)
      pattern[i] ^= 0x11;
    rig_write(process, code + from, pattern + from, length);
    rig_read(process, code, seen, sizeof seen);
    g_assert_cmpmem(seen, sizeof seen, pattern, sizeof pattern);
    g_assert_cmpint(pread(process->memory, raw, sizeof raw, code), ==, sizeof raw);
    for (guint i = 0; i < G_N_ELEMENTS(places); i++)
      g_assert_cmpint(memcmp(raw + places[i], arch_trap, arch_trap_length), ==, 0);
  }
  for (guint i = 0; i < G_N_ELEMENTS(places); i++)
    g_assert_true(mirror_breakpoint_remove(process, code + places[i], &error));
  g_assert_cmpint(pread(process->memory, raw, sizeof raw, code), ==, sizeof raw);
  g_assert_cmpmem(raw, sizeof raw, pattern, sizeof pattern);
  rig_end(process);
}

static void
test_unmapped(void)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("sleep");
  guint64 pages = rig_map(process, 0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  RIG_DO(process, SYS_munmap, pages + 4096, 4096);
  guint8 bytes[2] = {0};
  g_assert_false(mirror_memory_read(process, pages + 4096, bytes, 1, &error));
  g_assert_nonnull(error);
  g_clear_error(&error);
  g_assert_false(mirror_memory_read(process, pages + 4095, bytes, 2, &error)); /* runs into nothing */
  g_assert_nonnull(error);
  rig_end(process);
}

/* ---- calls in its name ---- */

static void
test_injection_leaves_no_trace(void)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("tick 2");
  rig_ready(process, 3);
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    ArchRegisters before, after;
    guint64 mask_before, mask_after;
    g_autoptr(GByteArray) extended_before = g_byte_array_new();
    g_autoptr(GByteArray) extended_after = g_byte_array_new();
    g_assert_true(arch_registers_read(thread->tid, &before, &error));
    g_assert_true(arch_extended_read(thread->tid, extended_before, &error));
    g_assert_no_errno(ptrace(PTRACE_GETSIGMASK, thread->tid, sizeof mask_before, &mask_before));
    MirrorCall calls[3000];
    for (guint k = 0; k < G_N_ELEMENTS(calls); k++)
      calls[k] = (MirrorCall){k % 2 ? SYS_gettid : SYS_getpid, {0}, 1};
    mirror_inject(thread, calls, G_N_ELEMENTS(calls), &error);
    g_assert_no_error(error);
    for (guint k = 0; k < G_N_ELEMENTS(calls); k++)
      g_assert_cmpint(calls[k].result, ==, k % 2 ? thread->own_tid : process->own_pid);
    g_assert_true(arch_registers_read(thread->tid, &after, &error));
    g_assert_true(arch_extended_read(thread->tid, extended_after, &error));
    g_assert_no_errno(ptrace(PTRACE_GETSIGMASK, thread->tid, sizeof mask_after, &mask_after));
    g_assert_cmpmem(before.word, before.length, after.word, after.length);
    g_assert_cmpmem(extended_before->data, extended_before->len, extended_after->data, extended_after->len);
    g_assert_cmphex(mask_before, ==, mask_after);
  }
  mirror_inject(mirror_thread_leader(process), NULL, 0, &error);
  g_assert_no_error(error);
  g_assert_cmpint(RIG_CALL(process, SYS_close, 12345), ==, -EBADF);
  rig_end(process);
}

#ifdef __x86_64__
/* Of vector registers that are all zeros a processor may say that they are in use, or not: it is one state.
 */
static void
test_extended_state_has_one_form(void)
{
  enum { MASK_AT = 512, SUPPORTED_AT = 464 };
  static const guint64 vectors = 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7; /* AVX, AVX-512 */
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("tick 1");
  rig_ready(process, 2);
  pid_t tid = mirror_thread_leader(process)->tid;
  g_autoptr(GByteArray) none = g_byte_array_new(), all = g_byte_array_new(), later = g_byte_array_new();
  guint8 area[16384];
  guint64 supported, in_use;
  for (guint i = 0; i < 2; i++) {
    struct iovec piece = {area, sizeof area};
    g_assert_no_errno(ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &piece));
    memcpy(&supported, area + SUPPORTED_AT, 8);
    memcpy(&in_use, area + MASK_AT, 8);
    in_use = i ? in_use | 3 | (vectors & supported) : in_use & ~vectors;
    memcpy(area + MASK_AT, &in_use, 8);
    memset(area + MASK_AT + 64, 0, 256); /* the upper halves of YMM */
    g_assert_no_errno(ptrace(PTRACE_SETREGSET, tid, NT_X86_XSTATE, &piece));
    g_assert_true(arch_extended_read(tid, i ? all : none, &error));
  }
  g_assert_cmpmem(none->data, none->len, all->data, all->len);
  g_assert_true(arch_extended_write(tid, all->data, all->len, &error));
  g_assert_cmpint(RIG_CALL(process, SYS_close, 12345), ==, -EBADF); /* it has run with it */
  g_assert_true(arch_extended_read(tid, later, &error));
  g_assert_cmpmem(none->data, none->len, later->data, later->len);
  rig_end(process);
}
#endif

/* A stop or a trap that someone sends while calls are made waits until they are. */
static void
test_injection_while_signals_come(void)
{
  g_autoptr(GError) error = NULL;
  static const int numbers[] = {SIGSTOP, SIGTRAP, SIGUSR1, SIGSTOP};
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
    MirrorProcess *process = rig_puppet("tick 1");
    rig_ready(process, 2);
    MirrorThread *leader = mirror_thread_leader(process);
    g_assert_no_errno(syscall(SYS_tgkill, process->pid, leader->tid, numbers[i]));
    gint64 id = 0;
    mirror_inject_one(leader, SYS_gettid, (const guint64[6]){0}, &id, &error);
    g_assert_no_error(error);
    g_assert_cmpint(id, ==, leader->own_tid);
    MirrorCall calls[2] = {{SYS_gettid}, {SYS_getpid}};
    mirror_inject(leader, calls, 2, &error);
    g_assert_no_error(error);
    g_assert_cmpint(calls[1].result, ==, process->own_pid);
    mirror_thread_resume(leader, PTRACE_CONT, &error);
    int status;
    MirrorStop stop = {0};
    do {
      g_assert_cmpint(waitpid(leader->tid, &status, __WALL), ==, leader->tid);
      stop = mirror_stop_read(process, leader->tid, status);
      if (stop.kind == MIRROR_STOP_NONE)
        mirror_thread_resume(leader, PTRACE_CONT, &error);
    } while (stop.kind == MIRROR_STOP_NONE);
    g_assert_cmpint(stop.kind, ==, MIRROR_STOP_SIGNAL);
    g_assert_cmpint(leader->stop_signal, ==, numbers[i]);
    rig_end(process);
  }
}

static gpointer
kill_soon(gpointer pid)
{
  g_usleep(20000);
  kill(GPOINTER_TO_INT(pid), SIGKILL);
  return NULL;
}

/* The kernel tells of a first thread's end after that of the others, for which nobody waits here. */
static void
test_injection_while_the_process_is_killed(void)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("tick 3");
  rig_ready(process, 4);
  GThread *killer = g_thread_new("killer", kill_soon, GINT_TO_POINTER(process->pid));
  gint64 result;
  g_assert_false(
      mirror_inject_one(mirror_thread_leader(process), SYS_ppoll, (const guint64[6]){0}, &result, &error));
  /* Before the call was begun, the system says so. */
  g_assert_true(g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE) ||
                (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED) &&
                 g_str_has_suffix(error->message, g_strerror(ESRCH))));
  g_thread_join(killer);
  mirror_process_free(process);
}

/* A call that may block: it is broken off by an interrupt, or comes back. */
static void
test_calls_that_block(void)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("tick 1");
  rig_ready(process, 2);
  MirrorThread *leader = mirror_thread_leader(process);
  ArchRegisters before = *mirror_thread_registers(leader, &error), after;
  gint64 result;
  mirror_call_start(leader, SYS_ppoll, (const guint64[6]){0}, &error);
  g_assert_no_error(error);
  g_usleep(20000);
  rig_freeze(process);
  g_assert_true(leader->in_call);
  mirror_call_finish(leader, &result, &error);
  g_assert_no_error(error);
  g_assert_cmpint(result, <=, MIRROR_CALL_INTERRUPTED);
  mirror_call_start(leader, SYS_getppid, (const guint64[6]){0}, &error);
  int status;
  g_assert_cmpint(waitpid(leader->tid, &status, __WALL), ==, leader->tid);
  MirrorStop stop = mirror_stop_read(process, leader->tid, status);
  g_assert_cmpint(stop.kind, ==, MIRROR_STOP_CALL_DONE);
  mirror_call_finish(leader, &result, &error);
  g_assert_no_error(error);
  g_assert_cmpint(result, ==, getpid());
  mirror_thread_resume(leader, PTRACE_CONT, &error);
  g_usleep(1000);
  rig_freeze(process);
  after = *mirror_thread_registers(leader, &error);
  g_assert_cmpuint(arch_pc(&before), ==, arch_pc(&after));
  g_assert_cmpuint(arch_sp(&before), ==, arch_sp(&after));
  rig_end(process);
}

static void
test_scratch(void)
{
  MirrorProcess *process = rig_puppet("sleep");
  guint64 scratch = process->scratch;
  for (guint slot = 0; slot < MIRROR_SCRATCH_SLOTS; slot++) {
    g_assert_cmpuint(mirror_slot_address(process, slot), >=, scratch);
    g_assert_cmpuint(mirror_slot_address(process, slot) + MIRROR_SCRATCH_SLOT, <=,
                     scratch + MIRROR_SCRATCH_SIZE);
  }
  rig_end(process);
}

/* Another program in the same process. */
static gboolean
is_exec(const MirrorStop *stop, void *unused)
{
  return stop->kind == MIRROR_STOP_EXEC;
}

static void
test_exec(void)
{
  g_autoptr(GError) error = NULL;
  g_auto(Fd) proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  char program[] = "/bin/sh", option[] = "-c", script[] = "exec /bin/true",
       *arguments[] = {program, option, script, NULL};
  MirrorProcess *process = rig_exec(arguments);
  g_assert_true(mirror_scratch_make(process, &error));
  mirror_breakpoint_add(process, arch_pc(mirror_thread_registers(mirror_thread_leader(process), NULL)) + 64,
                        HARDWARE, &error);
  g_assert_no_error(error);
  MirrorStop stop = rig_run(process, is_exec, NULL, PATIENCE_MS);
  g_assert_cmpint(stop.kind, ==, MIRROR_STOP_EXEC);
  g_assert_true(mirror_process_renew(process, proc, &error));
  g_assert_cmpuint(process->breakpoint_count, ==, 0);
  g_assert_true(mirror_scratch_make(process, &error));
  g_assert_cmpint(RIG_CALL(process, SYS_getpid, 0), ==, process->own_pid);
  stop = rig_run(process, NULL, NULL, PATIENCE_MS);
  g_assert_cmpint(stop.kind, ==, MIRROR_STOP_GONE);
  g_assert_true(WIFEXITED(stop.status) && WEXITSTATUS(stop.status) == 0);
  mirror_process_free(process);
}

#define BOTH(path, test)                                                                                     \
  g_test_add_data_func(path "/hardware", GINT_TO_POINTER(HARDWARE), test);                                   \
  g_test_add_data_func(path "/trap", GINT_TO_POINTER(TRAP), test)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/process/freeze/threads-come-and-go", test_freeze_while_threads_come_and_go);
  BOTH("/process/freeze/takes-breakpoints-back", test_freeze_takes_breakpoints_back);
  g_test_add_func("/process/freeze/dies", test_freeze_a_process_that_dies);
  g_test_add_func("/process/freeze/without-a-leader", test_freeze_without_a_leader);
  g_test_add_func("/process/freeze/signals", test_freeze_hands_signals_over);
  BOTH("/process/breakpoint/step-over", test_step_over);
  BOTH("/process/breakpoint/step-over-interrupted", test_step_over_when_interrupted);
  BOTH("/process/breakpoint/step-over-keeps-a-signal", test_step_over_keeps_a_signal);
  BOTH("/process/breakpoint/new-threads", test_breakpoints_in_new_threads);
  g_test_add_func("/process/breakpoint/many", test_many_breakpoints);
  g_test_add_func("/process/memory/reads-hide-traps", test_reads_hide_traps);
  g_test_add_func("/process/memory/unmapped", test_unmapped);
  g_test_add_func("/process/inject/leaves-no-trace", test_injection_leaves_no_trace);
#ifdef __x86_64__
  g_test_add_func("/process/extended-state-has-one-form", test_extended_state_has_one_form);
#endif
  g_test_add_func("/process/inject/while-signals-come", test_injection_while_signals_come);
  g_test_add_func("/process/inject/while-the-process-is-killed", test_injection_while_the_process_is_killed);
  g_test_add_func("/process/call/blocks", test_calls_that_block);
  g_test_add_func("/process/scratch", test_scratch);
  g_test_add_func("/process/exec", test_exec);
  return g_test_run();
}
