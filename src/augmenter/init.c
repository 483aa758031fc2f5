#include "augmenter/init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "augmenter/rootfs.h"
#include "base/error.h"
#include "base/io.h"

typedef struct {
  int failed;        /* 0, or the DoppelErrorCode plus 1 */
  pid_t pid_max;     /* of the first answer */
  int errno_value;   /* of the later ones */
  char message[512]; /* when failed */
} InitAnswer;

static pid_t
read_pid_max(const char *root_path)
{
  g_autofree char *path = g_strconcat(root_path, "/proc/sys/kernel/pid_max", NULL);
  g_autofree char *text = io_read_file_at(AT_FDCWD, path, 64);
  return text ? (pid_t)strtol(text, NULL, 10) : 0;
}

static void
answer_error(int fd, const GError *error)
{
  InitAnswer answer = {.failed = error->code + 1};
  g_strlcpy(answer.message, error->message, sizeof answer.message);
  io_write_all(fd, &answer, sizeof answer);
  _exit(1);
}

/* Signals must not wait in it, and children that the mirror orphans must not stay as zombies: ignoring
 * SIGCHLD has the kernel reap them. As pid 1 it gets no signal that it has no handler for, whoever inside
 * sends it. */
static void
reset_signals(void)
{
  for (int number = 1; number < NSIG; number++)
    signal(number, number == SIGCHLD ? SIG_IGN : SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/* It keeps the memory that it was forked with, so the mirror must not read it: not dumpable, and its memory
 * belongs to the user namespace outside, where the mirror has no capability. Of its own rights it needs one
 * more use: setting ids. */
static void
give_up_rights(void)
{
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {0};
  data[CAP_CHECKPOINT_RESTORE / 32].permitted = 1u << (CAP_CHECKPOINT_RESTORE % 32);
  data[CAP_CHECKPOINT_RESTORE / 32].effective = 1u << (CAP_CHECKPOINT_RESTORE % 32);
  syscall(SYS_capset, &header, data);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* The kernel numbers upwards from the last id that it gave. */
static int
set_last_pid(int last_pid_fd, pid_t next)
{
  char text[32];
  int length = g_snprintf(text, sizeof text, "%d", (int)next - 1);
  if (last_pid_fd < 0)
    return ENOSYS;
  return pwrite(last_pid_fd, text, length, 0) == length ? 0 : errno;
}

static void
serve(int life_fd, int last_pid_fd)
{
  pid_t next;
  while (io_read_all(life_fd, &next, sizeof next) == sizeof next) {
    InitAnswer answer = {.errno_value = set_last_pid(last_pid_fd, next)};
    if (!io_write_all(life_fd, &answer, sizeof answer))
      break;
  }
  _exit(0);
}

G_NORETURN
static void
init_main(const char *root_path, gboolean sealed, int life_fd)
{
  enum { LIFE_FD, LAST_PID_FD };
  g_autoptr(GError) error = NULL;
  reset_signals();
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  prctl(PR_SET_NAME, "doppel-init", 0, 0, 0);
  setsid();
  /* Nothing of the caller's stays open in a process that the mirror can name. */
  if (dup2(life_fd, LIFE_FD) < 0 || close_range(LAST_PID_FD, ~0u, 0) != 0) {
    doppel_error_errno(&error, "cannot start the sandbox's init");
    answer_error(life_fd, error);
  }
  g_autofree char *last_pid_path = g_strconcat(root_path, "/proc/sys/kernel/ns_last_pid", NULL);
  if (!rootfs_mount_proc(root_path, &error))
    answer_error(LIFE_FD, error);
  int last_pid_fd = open(last_pid_path, O_WRONLY | O_CLOEXEC);
  if (sealed && !rootfs_seal_proc(root_path, &error))
    answer_error(LIFE_FD, error);
  InitAnswer ready = {.pid_max = read_pid_max(root_path)};
  give_up_rights();
  if (io_write_all(LIFE_FD, &ready, sizeof ready))
    serve(LIFE_FD, last_pid_fd);
  _exit(1);
}

static gboolean
read_answer(int life_fd, InitAnswer *answer)
{
  gssize got = io_read_all(life_fd, answer, sizeof *answer);
  if (got != sizeof *answer) {
    errno = got < 0 ? errno : EPIPE;
    return FALSE;
  }
  answer->message[sizeof answer->message - 1] = '\0';
  return TRUE;
}

pid_t
init_start(const char *root_path, gboolean sealed, int *life_fd, pid_t *pid_max, GError **error)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    doppel_error_errno(error, "cannot start the sandbox's init");
    return -1;
  }
  pid_t pid = fork();
  if (pid == 0)
    init_main(root_path, sealed, ends[1]);
  close(ends[1]);
  *life_fd = ends[0];
  InitAnswer answer;
  if (pid < 0 || !read_answer(ends[0], &answer))
    doppel_error_errno(error, "cannot start the sandbox's init");
  else if (answer.failed)
    doppel_error_set(error, (DoppelErrorCode)(answer.failed - 1), "%s", answer.message);
  else {
    *pid_max = answer.pid_max;
    return pid;
  }
  io_close(life_fd);
  return -1;
}

gboolean
init_next_pid(int life_fd, pid_t pid)
{
  InitAnswer answer;
  if (!io_write_all(life_fd, &pid, sizeof pid) || !read_answer(life_fd, &answer))
    return FALSE;
  errno = answer.errno_value;
  return errno == 0;
}
