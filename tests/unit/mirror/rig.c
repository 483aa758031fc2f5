#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

G_NORETURN
static void
become(char *const *arguments, int gate)
{
  static char language[] = "LANG=C", tunables[] = "GLIBC_TUNABLES=glibc.pthread.rseq=0";
  char *environment[] = {language, tunables, NULL};
  char go;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  personality(ADDR_NO_RANDOMIZE);
  if (read(gate, &go, 1) == 1)
    execve(arguments[0], arguments, environment);
  _exit(127);
}

MirrorProcess *
rig_exec(char *const *arguments)
{
  int gate[2], status;
  g_assert_no_errno(pipe2(gate, O_CLOEXEC));
  pid_t pid = fork();
  if (pid == 0)
    become(arguments, gate[0]);
  long options = PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD;
  g_assert_no_errno(ptrace(PTRACE_SEIZE, pid, 0, options));
  g_assert_cmpint(write(gate[1], "x", 1), ==, 1);
  close(gate[0]);
  close(gate[1]);
  g_assert_cmpint(waitpid(pid, &status, __WALL), ==, pid);
  g_assert_cmpint(status >> 16, ==, PTRACE_EVENT_EXEC);
  g_autoptr(GError) error = NULL;
  g_auto(Fd) proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  MirrorProcess *process = mirror_process_new(pid, proc, &error);
  g_assert_no_error(error);
  return process;
}

MirrorProcess *
rig_puppet(const char *words)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *line = g_strdup_printf("%s %s", g_getenv("DOPPEL_PUPPET"), words);
  g_auto(GStrv) arguments = g_strsplit(line, " ", -1);
  MirrorProcess *process = rig_exec(arguments);
  mirror_scratch_make(process, &error);
  g_assert_no_error(error);
  return process;
}

/* The end of the first thread is told only after those of the others. */
void
rig_end(MirrorProcess *process)
{
  kill(process->pid, SIGKILL);
  for (int status;;) {
    pid_t got = waitpid(-1, &status, __WALL);
    if ((got < 0 && errno != EINTR) || (got == process->pid && !WIFSTOPPED(status)))
      break;
  }
  mirror_process_free(process);
}

gint64
rig_call(MirrorProcess *process, gint64 number, const guint64 arguments[6])
{
  g_autoptr(GError) error = NULL;
  gint64 result = 0;
  mirror_inject_one(mirror_thread_leader(process), number, arguments, &result, &error);
  g_assert_no_error(error);
  return result;
}

guint64
rig_do(MirrorProcess *process, gint64 number, const guint64 arguments[6])
{
  gint64 result = rig_call(process, number, arguments);
  if (result < 0 && result > -4096)
    g_error("system call %d failed: %s", (int)number, g_strerror((int)-result));
  return result;
}

gint64
rig_open(MirrorProcess *process, const char *path, int flags, int mode)
{
  guint64 room = mirror_scratch_bytes(process);
  rig_write(process, room, path, strlen(path) + 1);
  return rig_do(process, SYS_openat, (const guint64[6]){(guint64)AT_FDCWD, room, flags, mode});
}

guint64
rig_map(MirrorProcess *process, guint64 address, gsize length, int prot, int flags)
{
  return RIG_DO(process, SYS_mmap, address, length, prot, flags, (guint64)-1, 0);
}

void
rig_write(MirrorProcess *process, guint64 address, const void *from, gsize length)
{
  g_autoptr(GError) error = NULL;
  mirror_memory_write(process, address, from, length, &error);
  g_assert_no_error(error);
}

void
rig_store(MirrorProcess *process, guint64 address)
{
  g_autoptr(GError) error = NULL;
  MirrorCall touch = {ARCH_BATCH_TOUCH, {address}};
  mirror_inject(mirror_thread_leader(process), &touch, 1, &error);
  g_assert_no_error(error);
}

void
rig_scramble(MirrorProcess *process, guint64 address, gsize length)
{
  g_assert_cmpint(RIG_DO(process, SYS_getrandom, address, length, 0), ==, length);
}

void
rig_read(MirrorProcess *process, guint64 address, void *to, gsize length)
{
  g_autoptr(GError) error = NULL;
  mirror_memory_read(process, address, to, length, &error);
  g_assert_no_error(error);
}

guint64
rig_word(MirrorProcess *process, guint64 address)
{
  guint64 word;
  rig_read(process, address, &word, sizeof word);
  return word;
}

void
rig_board_set(MirrorProcess *process, gsize offset, guint64 value)
{
  rig_write(process, BOARD_ADDRESS + offset, &value, sizeof value);
}

/* ---- running ---- */

static gboolean
take_stop(MirrorProcess *process, MirrorStop *stop)
{
  int status;
  pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);
  if (tid <= 0)
    return FALSE;
  if (!WIFSTOPPED(status) && !mirror_thread_find(process, tid))
    return FALSE;
  *stop = mirror_stop_read(process, tid, status);
  return TRUE;
}

void
rig_resume(MirrorProcess *process)
{
  g_autoptr(GError) error = NULL;
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    if (!thread->stopped)
      continue;
    ArchRegisters *registers = mirror_thread_registers(thread, NULL);
    if (registers && mirror_breakpoint_find(process, arch_pc(registers)))
      mirror_breakpoint_step_over(thread, &error);
    else
      mirror_thread_resume(thread, PTRACE_CONT, &error);
    g_assert_no_error(error);
  }
}

MirrorStop
rig_run(MirrorProcess *process, RigWanted wanted, void *user, int milliseconds)
{
  g_autoptr(GError) error = NULL;
  gint64 deadline = clock_now_ns() + (gint64)milliseconds * 1000000;
  rig_resume(process);
  while (clock_now_ns() < deadline) {
    MirrorStop stop;
    if (!take_stop(process, &stop)) {
      g_usleep(100);
      continue;
    }
    if (stop.kind == MIRROR_STOP_NEW_THREAD)
      mirror_thread_add(process, stop.child);
    if (stop.thread && stop.kind != MIRROR_STOP_GONE && !stop.thread->armed)
      mirror_breakpoints_arm(stop.thread, NULL);
    if (wanted && wanted(&stop, user))
      return stop;
    if (stop.kind == MIRROR_STOP_GONE) {
      if (stop.thread == mirror_thread_leader(process))
        return stop;
      mirror_thread_remove(stop.thread);
    } else if (stop.kind == MIRROR_STOP_BREAKPOINT) {
      mirror_breakpoint_step_over(stop.thread, &error);
    } else {
      mirror_thread_resume(stop.thread, PTRACE_CONT, &error);
    }
    g_assert_no_error(error);
  }
  return (MirrorStop){.kind = MIRROR_STOP_NONE};
}

gboolean
rig_is_breakpoint(const MirrorStop *stop, void *unused)
{
  return stop->kind == MIRROR_STOP_BREAKPOINT;
}

void
rig_freeze(MirrorProcess *process)
{
  g_autoptr(GError) error = NULL;
  mirror_process_freeze(process, NULL, NULL, &error);
  g_assert_no_error(error);
}

void
rig_ready(MirrorProcess *process, guint64 count)
{
  for (int turn = 0; turn < 3000; turn++) {
    MirrorStop stop = rig_run(process, NULL, NULL, 20);
    g_assert_cmpint(stop.kind, !=, MIRROR_STOP_GONE);
    rig_freeze(process);
    guint64 word;
    if (mirror_memory_read(process, BOARD_ADDRESS + G_STRUCT_OFFSET(Board, ready), &word, sizeof word,
                           NULL) &&
        word >= count)
      return;
  }
  g_error("the puppet never got ready");
}

/* ---- files and chance ---- */

char *
rig_tree_make(void)
{
  char *path = g_dir_make_tmp("doppel-test-XXXXXX", NULL);
  g_assert_nonnull(path);
  return path;
}

void
rig_tree_remove(char *path)
{
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", path);
  g_assert_cmpint(system(command), ==, 0);
  g_free(path);
}

GRand *
rig_random(void)
{
  const char *given = g_getenv("DOPPEL_SEED");
  guint32 seed = given ? (guint32)strtoul(given, NULL, 10) : (guint32)clock_now_ns();
  g_test_message("DOPPEL_SEED=%u", seed);
  return g_rand_new_with_seed(seed);
}
