/* Starting the primary: traced, without address randomisation, without the kernel's vDSO
 * (docs/architecture.md). */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "controller/controller.h"

gboolean
controller_is_inherited(int number, void *user)
{
  Controller *controller = user;
  return number < 64 && (controller->inherited >> number & 1) &&
         syscall(SYS_kcmp, getpid(), controller->pid, KCMP_FILE, number, number) == 0;
}

static void
note_inherited(Controller *controller)
{
  for (int number = 0; number < 64; number++) {
    int flags = fcntl(number, F_GETFD);
    if (flags >= 0 && !(flags & FD_CLOEXEC))
      controller->inherited |= 1ull << number;
  }
}

/* The processors' common features, for programs that choose code by what they find. */
static char **
environment(Controller *controller)
{
  char **list = g_get_environ();
  if (!controller->features_mask)
    return list;
  const char *own = g_environ_getenv(list, "GLIBC_TUNABLES");
  g_autofree char *tunables = g_strdup_printf("%s%sglibc.cpu.hwcaps=%s", own ? own : "",
                                              own && *own ? ":" : "", controller->features_mask);
  list = g_environ_setenv(list, "GLIBC_TUNABLES", tunables, TRUE);
  return g_environ_setenv(list, "LD_BIND_NOW", "1", TRUE);
}

G_NORETURN
static void
become_program(Controller *controller, int gate, int report, int device, char **variables)
{
  char go;
  struct sigaction standard = {.sa_handler = SIG_DFL};
  sigaction(SIGPIPE, &standard, NULL);
  sigprocmask(SIG_SETMASK, &controller->former_mask, NULL);
  personality(ADDR_NO_RANDOMIZE);
  if (device >= 0)
    fcntl(device, F_SETFD, 0);
  if (read(gate, &go, 1) == 1)
    execve(controller->program, controller->options->argv, variables);
  int saved = errno;
  io_write_all(report, &saved, sizeof saved);
  _exit(127);
}

static gboolean
wait_for_exec(Controller *controller, int report, GError **error)
{
  for (;;) {
    int status;
    pid_t got = waitpid(controller->pid, &status, __WALL);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 || !WIFSTOPPED(status)) {
      int reason = 0;
      if (io_read_all(report, &reason, sizeof reason) == sizeof reason)
        errno = reason;
      return doppel_error_errno(error, "cannot run %s", controller->program);
    }
    if (status >> 16 == PTRACE_EVENT_EXEC)
      return TRUE;
    ptrace(PTRACE_CONT, controller->pid, 0, status >> 16 ? 0 : WSTOPSIG(status));
  }
}

gboolean
controller_launch(Controller *controller, GError **error)
{
  int gate[2], report[2];
  note_inherited(controller);
  if (pipe2(gate, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0)
    return doppel_error_errno(error, "making a pipe");
  g_auto(GStrv) variables = environment(controller);
  g_auto(Fd) device = home_device(controller);
  controller->pid = fork();
  if (controller->pid < 0)
    return doppel_error_errno(error, "starting a process");
  if (controller->pid == 0)
    become_program(controller, gate[0], report[1], device, variables);
  close(gate[0]);
  close(report[1]);
  g_auto(Fd) gate_end = gate[1];
  g_auto(Fd) report_end = report[0];
  if (ptrace(PTRACE_SEIZE, controller->pid, 0, CONTROLLER_TRACE) < 0) {
    doppel_error_errno(
        error, "cannot trace the program (is another tracer at work, or does the Yama module forbid it? "
               "see doppel doctor)");
    kill(controller->pid, SIGKILL);
    return FALSE;
  }
  if (write(gate_end, "x", 1) != 1 || !wait_for_exec(controller, report_end, error))
    return error && *error ? FALSE : doppel_error_errno(error, "starting the program");
  controller->process = mirror_process_new(controller->pid, controller->proc_fd, error);
  return controller->process && controller_prepare_image(controller, error) &&
         home_image(controller, device, error);
}

/* The vDSO differs between kernels: a process that moves between them must never have heard of it. glibc then
 * makes real calls for the time. */
static gboolean
hide_vdso(Controller *controller, GError **error)
{
  MirrorProcess *process = controller->process;
  ArchRegisters *registers = mirror_thread_registers(mirror_thread_leader(process), error);
  if (!registers)
    return FALSE;
  guint64 at = arch_sp(registers), word[2] = {0};
  if (!mirror_memory_read(process, at, word, 8, error))
    return FALSE;
  at += 8 * (word[0] + 2); /* argc, the arguments, NULL */
  do {
    if (!mirror_memory_read(process, at, word, 8, error))
      return FALSE;
    at += 8;
  } while (word[0]);
  for (;; at += 16) {
    if (!mirror_memory_read(process, at, word, 16, error))
      return FALSE;
    if (word[0] == AT_NULL)
      return TRUE;
    guint64 ignore = AT_IGNORE;
    if (word[0] == AT_SYSINFO_EHDR)
      return mirror_memory_write(process, at, &ignore, 8, error);
  }
}

gboolean
controller_prepare_image(Controller *controller, GError **error)
{
  return hide_vdso(controller, error) && mirror_scratch_make(controller->process, error) &&
         functions_new_image(controller, error);
}
