#include "mirror/syscalls.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "mirror/syscalls_numbers.h"
#include "mirror/syscalls_table.h"

#define NUMBERS 512 /* above all numbers in use */

/* Row index plus one by number, filled at the first question. */
static guint16 by_number[NUMBERS];

static void
fill_numbers(void)
{
  for (guint i = 0; i < syscalls_table_length; i++)
    if (syscalls_table[i].nr >= 0) {
      g_assert(syscalls_table[i].nr < NUMBERS && by_number[syscalls_table[i].nr] == 0);
      by_number[syscalls_table[i].nr] = i + 1;
    }
}

const SyscallRow *
syscall_row(long nr)
{
  static gsize filled;
  if (g_once_init_enter(&filled)) {
    fill_numbers();
    g_once_init_leave(&filled, 1);
  }
  if (nr < 0 || nr >= NUMBERS || by_number[nr] == 0)
    return NULL;
  return &syscalls_table[by_number[nr] - 1];
}

const SyscallRow *
syscall_row_named(const char *name)
{
  for (guint i = 0; i < syscalls_table_length; i++)
    if (strcmp(syscalls_table[i].name, name) == 0)
      return &syscalls_table[i];
  return NULL;
}

const SyscallRow *
syscall_rows(guint *count)
{
  *count = syscalls_table_length;
  return syscalls_table;
}

const char *
syscall_class_name(SyscallClass class)
{
  static const char *const names[] = {"cut", "native", "descriptor", "path", "forward", "special"};
  return class < G_N_ELEMENTS(names) ? names[class] : "unknown";
}

const char *
syscall_handler_name(SyscallHandler handler)
{
  static const char *const names[SYSCALL_HANDLERS] = {
      "none",  "fork",        "exec",     "exit", "wait",  "signal",      "sigaction",  "sigwait",
      "pidfd", "group",       "map",      "poll", "epoll", "local",       "cwd",        "umask",
      "limit", "close-range", "cpu-time", "cpu",  "prctl", "personality", "membarrier",
  };
  return handler < SYSCALL_HANDLERS ? names[handler] : "unknown";
}

gboolean
syscall_runs_unstopped(const SyscallRow *row, const guint64 args[SYSCALL_ARGS])
{
  if (row->class == SYSCALL_NATIVE)
    return TRUE;
  guint32 value = args[row->native_when.arg], mask = row->native_when.mask;
  switch (row->native_when.test) {
  case SYSCALL_WHEN_BITS:
    return (value & mask) != 0;
  case SYSCALL_WHEN_NO_BITS:
    return (value & mask) == 0;
  case SYSCALL_WHEN_ONE_OF:
    return value < 32 && (mask >> value & 1);
  default:
    return FALSE;
  }
}

SyscallArg
syscall_argument(const SyscallRow *row, const guint64 args[SYSCALL_ARGS], guint index)
{
  SyscallArg arg = row->args[index];
  if (arg.kind == SYSCALL_ARG_IOCTL)
    return syscalls_ioctl_argument(args[arg.with], args[index]);
  if (arg.kind == SYSCALL_ARG_FCNTL)
    return syscalls_fcntl_argument(args[arg.with]);
  gboolean option = index == 3 && (row->nr == __NR_setsockopt || row->nr == __NR_getsockopt);
  if (option && syscalls_socket_option_nests(args[1], args[2]))
    arg.kind = SYSCALL_ARG_UNSUPPORTED;
  return arg;
}

gboolean
syscall_stays_on_placeholder(const SyscallRow *row, const guint64 args[SYSCALL_ARGS])
{
  guint32 request = args[1];
  if (row->nr == __NR_fcntl)
    return request == F_DUPFD || request == F_DUPFD_CLOEXEC || request == F_GETFD || request == F_SETFD;
  if (row->nr == __NR_ioctl)
    return request == FIOCLEX || request == FIONCLEX;
  return FALSE;
}

guint64
syscall_open_flags(const SyscallRow *row, const guint64 args[SYSCALL_ARGS], guint64 how_flags)
{
  if (row->nr == __NR_openat2)
    return how_flags;
  if (row->paths[0].flags < 0)
    return O_CREAT | O_WRONLY | O_TRUNC; /* creat */
  return (guint32)args[row->paths[0].flags];
}

guint
syscall_path_use(const SyscallRow *row, guint index, const guint64 args[SYSCALL_ARGS], guint64 how_flags)
{
  guint use = row->paths[index].use;
  if (use != SYSCALL_PATH_OPENS)
    return use;
  guint64 flags = syscall_open_flags(row, args, how_flags);
  if (flags & O_PATH)
    return SYSCALL_PATH_LOOKS;
  if ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC)
    use |= SYSCALL_PATH_WRITES;
  /* An unnamed file in the directory that the path names comes into being without a name. */
  if ((flags & O_TMPFILE) == O_TMPFILE)
    return use | SYSCALL_PATH_CREATES;
  if (flags & O_CREAT)
    use |= SYSCALL_PATH_CREATES;
  return use;
}

gboolean
syscall_path_follows(const SyscallRow *row, guint index, const guint64 args[SYSCALL_ARGS], guint64 how_flags)
{
  const SyscallPath *path = &row->paths[index];
  guint64 flags = path->flags >= 0 ? (guint32)args[path->flags] : 0;
  switch ((SyscallFollow)path->follow) {
  case SYSCALL_FOLLOW_ALWAYS:
    return TRUE;
  case SYSCALL_FOLLOW_NEVER:
    return FALSE;
  case SYSCALL_FOLLOW_UNLESS:
    return !(flags & AT_SYMLINK_NOFOLLOW);
  case SYSCALL_FOLLOW_IF:
    return (flags & AT_SYMLINK_FOLLOW) != 0;
  case SYSCALL_FOLLOW_OPEN:
    flags = syscall_open_flags(row, args, how_flags);
    return !(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
  }
  return TRUE;
}

/* Calls that make descriptors, and where their flags are; SOCK_CLOEXEC, EFD_CLOEXEC, … all have O_CLOEXEC's
 * value. */
static const struct {
  const char *call;
  gint8 flags; /* argument index; -1: always close-on-exec */
  guint32 mask;
} makers[] = {
    {"socket", 1, O_CLOEXEC},
    {"socketpair", 1, O_CLOEXEC},
    {"accept4", 3, O_CLOEXEC},
    {"pipe2", 1, O_CLOEXEC},
    {"eventfd2", 1, O_CLOEXEC},
    {"timerfd_create", 1, O_CLOEXEC},
    {"signalfd4", 3, O_CLOEXEC},
    {"inotify_init1", 0, O_CLOEXEC},
    {"epoll_create1", 0, O_CLOEXEC},
    {"mq_open", 1, O_CLOEXEC},
    {"memfd_create", 1, 1 /* MFD_CLOEXEC */},
    {"recvmsg", 2, MSG_CMSG_CLOEXEC},
    {"recvmmsg", 3, MSG_CMSG_CLOEXEC},
    {"pidfd_open", -1, 0},
    {"pidfd_getfd", -1, 0},
};

gboolean
syscall_makes_cloexec(const SyscallRow *row, const guint64 args[SYSCALL_ARGS], guint64 how_flags)
{
  if (row->class == SYSCALL_PATH && row->paths[0].use == SYSCALL_PATH_OPENS)
    return (syscall_open_flags(row, args, how_flags) & O_CLOEXEC) != 0;
  for (guint i = 0; i < G_N_ELEMENTS(makers); i++)
    if (strcmp(makers[i].call, row->name) == 0)
      return makers[i].flags < 0 || (args[makers[i].flags] & makers[i].mask) != 0;
  return FALSE;
}
