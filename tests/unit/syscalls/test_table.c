/* The table of system calls: complete, consistent, and right about what its rows say in particular. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "mirror/syscalls.h"

/* Every name of <asm/unistd.h> at build time, as X(name). */
static const struct {
  const char *name;
  long nr;
} known[] = {
#define X(call) {#call, __NR_##call},
#include "syscall_names.h"
#undef X
};

/* Names in the headers that are marks, not calls. */
static gboolean
is_mark(const char *name)
{
  return strcmp(name, "syscalls") == 0 || strcmp(name, "arch_specific_syscall") == 0;
}

static void
test_every_name_has_a_row(void)
{
  g_assert_cmpuint(G_N_ELEMENTS(known), >, 300);
  for (guint i = 0; i < G_N_ELEMENTS(known); i++) {
    if (is_mark(known[i].name))
      continue;
    const SyscallRow *row = syscall_row(known[i].nr);
    if (!row)
      g_error("%s (%ld) has no row", known[i].name, known[i].nr);
    g_assert_cmpstr(row->name, ==, known[i].name);
    g_assert_true(row == syscall_row_named(known[i].name));
  }
}

/* Linux 6.18 knows these numbers, whatever the headers of the build machine know. */
static void
test_every_number_has_a_row(void)
{
#if defined(__x86_64__)
  static const struct {
    long first, last;
  } ranges[] = {{0, 336}, {424, 469}};
#else
  static const struct {
    long first, last;
  } ranges[] = {{0, 83}, {85, 243}, {260, 294}, {424, 469}};
#endif
  for (guint i = 0; i < G_N_ELEMENTS(ranges); i++)
    for (long nr = ranges[i].first; nr <= ranges[i].last; nr++)
      if (!syscall_row(nr))
        g_error("number %ld has no row", nr);
  g_assert_null(syscall_row(-1));
  g_assert_null(syscall_row(400));
  g_assert_null(syscall_row(511));
  g_assert_null(syscall_row(512));
  g_assert_null(syscall_row(0x40000000));
  g_assert_null(syscall_row_named("no_such_call"));
}

static gboolean
measures(SyscallArgKind kind)
{
  switch (kind) {
  case SYSCALL_ARG_IN:
  case SYSCALL_ARG_OUT:
  case SYSCALL_ARG_OUT_WHOLE:
  case SYSCALL_ARG_OUT_BITS:
  case SYSCALL_ARG_IN_IOVEC:
  case SYSCALL_ARG_OUT_IOVEC:
  case SYSCALL_ARG_IN_MMSGHDR:
  case SYSCALL_ARG_OUT_MMSGHDR:
  case SYSCALL_ARG_IN_SOCKADDR:
  case SYSCALL_ARG_POLLFDS:
  case SYSCALL_ARG_FDSET:
  case SYSCALL_ARG_SIGSET:
  case SYSCALL_ARG_IOCTL:
  case SYSCALL_ARG_FCNTL:
    return TRUE;
  default:
    return FALSE;
  }
}

static gboolean
fixed(SyscallArgKind kind)
{
  return kind == SYSCALL_ARG_IN_FIXED || kind == SYSCALL_ARG_OUT_FIXED || kind == SYSCALL_ARG_INOUT_FIXED ||
         kind == SYSCALL_ARG_OUT_KEPT || kind == SYSCALL_ARG_OUT_FDS;
}

static void
check_arguments(const SyscallRow *row)
{
  gboolean ended = FALSE;
  for (guint i = 0; i < SYSCALL_ARGS; i++) {
    SyscallArg arg = row->args[i];
    /* No gaps; arguments are measured by integers; values by pointers to their length. */
    g_assert_false(ended && arg.kind != SYSCALL_ARG_NONE);
    ended = arg.kind == SYSCALL_ARG_NONE;
    g_assert_cmpint(arg.kind, !=, SYSCALL_ARG_UNSUPPORTED);
    if (measures(arg.kind))
      g_assert_cmpint(row->args[arg.with].kind, ==, SYSCALL_ARG_INT);
    if (arg.kind == SYSCALL_ARG_OUT_VALUE)
      g_assert_cmpint(row->args[arg.with].kind, ==, SYSCALL_ARG_LENGTH_INOUT);
    if (fixed(arg.kind))
      g_assert_cmpuint(arg.size, >, 0);
  }
}

static void
check_paths(const SyscallRow *row)
{
  for (guint i = 0; i < G_N_ELEMENTS(row->paths); i++) {
    const SyscallPath *path = &row->paths[i];
    if (!path->use)
      continue;
    g_assert_cmpint(row->args[path->path].kind, ==, SYSCALL_ARG_PATH);
    if (path->dirfd != SYSCALL_AT_CWD)
      g_assert_cmpint(row->args[path->dirfd].kind, ==, SYSCALL_ARG_DIRFD);
    if (path->flags >= 0 && strcmp(row->name, "openat2") != 0)
      g_assert_cmpint(row->args[path->flags].kind, ==, SYSCALL_ARG_INT);
    if (path->empty)
      g_assert_cmpint(path->flags, >=, 0);
    if (path->empty || path->optional)
      g_assert_cmpint(path->dirfd, >=, 0);
    g_assert_true(path->follow != SYSCALL_FOLLOW_UNLESS || path->flags >= 0);
  }
  /* A path that is not described would be used unchecked; a DIRFD belongs to a path. */
  guint described = 0, paths = 0;
  for (guint i = 0; i < G_N_ELEMENTS(row->paths); i++)
    described += row->paths[i].use != 0;
  for (guint i = 0; i < SYSCALL_ARGS; i++)
    paths += row->args[i].kind == SYSCALL_ARG_PATH;
  g_assert_cmpuint(described, ==, paths);
}

static gboolean
has_kind(const SyscallRow *row, SyscallArgKind kind)
{
  for (guint i = 0; i < SYSCALL_ARGS; i++)
    if (row->args[i].kind == kind)
      return TRUE;
  return FALSE;
}

static void
test_rows_are_consistent(void)
{
  guint count;
  const SyscallRow *rows = syscall_rows(&count);
  for (guint i = 0; i < count; i++) {
    const SyscallRow *row = &rows[i];
    g_test_message("%s: %s", row->name, syscall_class_name(row->class));
    check_arguments(row);
    check_paths(row);
    g_assert_true(row == syscall_row_named(row->name)); /* no name twice */
    g_assert_cmpint(row->class == SYSCALL_SPECIAL, ==, row->handler != SYSCALL_HANDLER_NONE);
    g_assert_cmpint(row->class == SYSCALL_PATH && !row->paths[0].use, ==, FALSE);
    if (row->class == SYSCALL_FD)
      g_assert_cmpint(row->args[0].kind, ==, SYSCALL_ARG_FD);
    if (row->class == SYSCALL_NATIVE || row->class == SYSCALL_CUT)
      g_assert_cmpint(row->args[0].kind, ==, SYSCALL_ARG_NONE);
    if (row->flags & (SYSCALL_INPUT | SYSCALL_OUTPUT))
      g_assert_true(row->class == SYSCALL_FD && row->flags & SYSCALL_SHORT);
    if (row->flags & SYSCALL_CONSTANT)
      g_assert_cmpint(row->class, ==, SYSCALL_FORWARD);
    /* What can be made on the device has no argument that cannot go there, with few exceptions that may be
     * NULL. */
    gboolean goes = row->class == SYSCALL_FORWARD || row->flags & SYSCALL_MAY_FORWARD;
    if (goes && strcmp(row->name, "get_mempolicy") != 0)
      g_assert_false(has_kind(row, SYSCALL_ARG_ADDRESS));
    g_assert_cmpstr(syscall_handler_name(row->handler), !=, "unknown");
  }
}

static void
assert_class(const char *name, SyscallClass class)
{
  const SyscallRow *row = syscall_row_named(name);
  g_assert_nonnull(row);
  g_test_message("%s", name);
  g_assert_cmpint(row->class, ==, class);
}

static void
test_classes(void)
{
  static const char *const native[] = {
      "brk",  "munmap",    "futex",     "getpid", "gettid",          "rt_sigprocmask", "close",
      "dup3", "getrandom", "nanosleep", "rseq",   "set_robust_list", "sigaltstack"};
  static const char *const cut[] = {"setuid", "mount",       "unshare", "io_uring_setup",  "ptrace",
                                    "shmget", "semop",       "msgsnd",  "perf_event_open", "bpf",
                                    "reboot", "userfaultfd", "chroot",  "seccomp"};
  static const char *const forward[] = {"socket", "getppid", "alarm", "uname", "sched_getaffinity",
                                        "getuid", "syslog"};
  static const char *const fd[] = {"read",    "write",   "ioctl",    "fcntl",
                                   "connect", "sendmsg", "sendfile", "getdents64"};
  for (guint i = 0; i < G_N_ELEMENTS(native); i++)
    assert_class(native[i], SYSCALL_NATIVE);
  for (guint i = 0; i < G_N_ELEMENTS(cut); i++)
    assert_class(cut[i], SYSCALL_CUT);
  for (guint i = 0; i < G_N_ELEMENTS(forward); i++)
    assert_class(forward[i], SYSCALL_FORWARD);
  for (guint i = 0; i < G_N_ELEMENTS(fd); i++)
    assert_class(fd[i], SYSCALL_FD);
}

static void
test_unstopped(void)
{
  const SyscallRow *map = syscall_row_named("mmap"), *clock = syscall_row_named("clock_gettime");
  g_assert_true(syscall_runs_unstopped(map, (guint64[6]){0, 4096, 3, 0x22, -1}));
  g_assert_false(syscall_runs_unstopped(map, (guint64[6]){0, 4096, 3, 2, 5}));
  g_assert_true(syscall_runs_unstopped(clock, (guint64[6]){1}));
  g_assert_true(syscall_runs_unstopped(clock, (guint64[6]){0}));
  g_assert_false(syscall_runs_unstopped(clock, (guint64[6]){2}));
  g_assert_false(syscall_runs_unstopped(clock, (guint64[6]){3}));
  g_assert_false(syscall_runs_unstopped(clock, (guint64[6]){(guint64)-6}));
  const SyscallRow *control = syscall_row_named("fcntl"), *barrier = syscall_row_named("membarrier");
  g_assert_true(syscall_runs_unstopped(control, (guint64[6]){3, F_DUPFD, 10}));
  g_assert_false(syscall_runs_unstopped(control, (guint64[6]){3, F_GETFL}));
  g_assert_false(syscall_runs_unstopped(control, (guint64[6]){3, F_DUPFD_CLOEXEC}));
  g_assert_true(syscall_runs_unstopped(barrier, (guint64[6]){8}));
  g_assert_false(syscall_runs_unstopped(barrier, (guint64[6]){16}));
  g_assert_true(syscall_runs_unstopped(syscall_row_named("brk"), (guint64[6]){}));
  g_assert_false(syscall_runs_unstopped(syscall_row_named("read"), (guint64[6]){}));
}

static void
test_opens(void)
{
  const SyscallRow *at = syscall_row_named("openat"), *creat = syscall_row_named("creat"),
                   *how = syscall_row_named("openat2");
  guint64 args[6] = {(guint64)AT_FDCWD, 1, O_RDONLY};
  g_assert_cmpuint(syscall_path_use(at, 0, args, 0), ==, SYSCALL_PATH_OPENS);
  g_assert_true(syscall_path_follows(at, 0, args, 0));
  g_assert_false(syscall_makes_cloexec(at, args, 0));
  args[2] = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  g_assert_cmpuint(syscall_path_use(at, 0, args, 0), ==,
                   SYSCALL_PATH_OPENS | SYSCALL_PATH_WRITES | SYSCALL_PATH_CREATES);
  g_assert_false(syscall_path_follows(at, 0, args, 0));
  g_assert_true(syscall_makes_cloexec(at, args, 0));
  args[2] = O_RDONLY | O_TRUNC;
  g_assert_cmpuint(syscall_path_use(at, 0, args, 0), ==, SYSCALL_PATH_OPENS | SYSCALL_PATH_WRITES);
  args[2] = O_PATH | O_NOFOLLOW;
  g_assert_cmpuint(syscall_path_use(at, 0, args, 0), ==, SYSCALL_PATH_LOOKS);
  g_assert_false(syscall_path_follows(at, 0, args, 0));
  args[2] = O_TMPFILE | O_RDWR;
  g_assert_true(syscall_path_use(at, 0, args, 0) & SYSCALL_PATH_CREATES);
  args[2] = O_DIRECTORY;
  g_assert_cmpuint(syscall_path_use(at, 0, args, 0), ==, SYSCALL_PATH_OPENS);
  g_assert_cmpuint(syscall_path_use(creat, 0, args, 0), ==,
                   SYSCALL_PATH_OPENS | SYSCALL_PATH_WRITES | SYSCALL_PATH_CREATES);
  g_assert_true(syscall_path_follows(creat, 0, args, 0));
  g_assert_cmpuint(syscall_path_use(how, 0, args, O_RDWR | O_CREAT), ==,
                   SYSCALL_PATH_OPENS | SYSCALL_PATH_WRITES | SYSCALL_PATH_CREATES);
  g_assert_false(syscall_path_follows(how, 0, args, O_NOFOLLOW));
  g_assert_cmpuint(syscall_path_use(at, 1, args, 0), ==, 0);
}

static void
test_links(void)
{
  guint64 none[6] = {};
  g_assert_true(syscall_path_follows(syscall_row_named("stat"), 0, none, 0));
  g_assert_false(syscall_path_follows(syscall_row_named("lstat"), 0, none, 0));
  g_assert_false(syscall_path_follows(syscall_row_named("unlinkat"), 0, none, 0));
  const SyscallRow *stat = syscall_row_named("newfstatat"), *link = syscall_row_named("linkat");
  g_assert_true(syscall_path_follows(stat, 0, none, 0));
  g_assert_false(syscall_path_follows(stat, 0, (guint64[6]){0, 0, 0, AT_SYMLINK_NOFOLLOW}, 0));
  g_assert_false(syscall_path_follows(link, 0, none, 0));
  g_assert_true(syscall_path_follows(link, 0, (guint64[6]){0, 0, 0, 0, AT_SYMLINK_FOLLOW}, 0));
  const SyscallRow *rename = syscall_row_named("rename");
  g_assert_cmpuint(syscall_path_use(rename, 0, none, 0), ==, SYSCALL_PATH_REMOVES);
  g_assert_cmpuint(syscall_path_use(rename, 1, none, 0), ==, SYSCALL_PATH_REMOVES | SYSCALL_PATH_CREATES);
}

static SyscallArg
ioctl_argument(guint64 request, guint64 value)
{
  return syscall_argument(syscall_row_named("ioctl"), (guint64[6]){0, request, value}, 2);
}

static void
test_requests(void)
{
  g_assert_cmpint(ioctl_argument(TCGETS, 4096).kind, ==, SYSCALL_ARG_OUT_KEPT);
  g_assert_cmpint(ioctl_argument(TCGETS, 4096).size, ==, 36);
  g_assert_cmpint(ioctl_argument(TCSETS, 4096).kind, ==, SYSCALL_ARG_IN_FIXED);
  g_assert_cmpint(ioctl_argument(TCFLSH, 1).kind, ==, SYSCALL_ARG_INT);
  g_assert_cmpint(ioctl_argument(TIOCSTI, 4096).kind, ==, SYSCALL_ARG_UNSUPPORTED);
  g_assert_cmpint(ioctl_argument(0x80084502 /* EVIOCGID */, 4096).kind, ==, SYSCALL_ARG_INOUT_FIXED);
  g_assert_cmpint(ioctl_argument(0x80084502, 4096).size, ==, 8);
  g_assert_cmpint(ioctl_argument(0x40104593 /* EVIOCSMASK */, 4096).kind, ==, SYSCALL_ARG_UNSUPPORTED);
  g_assert_cmpint(ioctl_argument(0xc0505609 /* VIDIOC_… */, 4096).kind, ==, SYSCALL_ARG_UNSUPPORTED);
  g_assert_cmpint(ioctl_argument(_IO('T', 0x77), 4096).kind, ==, SYSCALL_ARG_UNSUPPORTED);
  g_assert_cmpint(ioctl_argument(_IO('T', 0x77), 0).kind, ==, SYSCALL_ARG_INT);
  const SyscallRow *control = syscall_row_named("fcntl"), *option = syscall_row_named("setsockopt");
  g_assert_cmpint(syscall_argument(control, (guint64[6]){0, F_SETLKW, 9}, 2).kind, ==, SYSCALL_ARG_IN_FIXED);
  g_assert_cmpint(syscall_argument(control, (guint64[6]){0, F_SETFL, 9}, 2).kind, ==, SYSCALL_ARG_INT);
  g_assert_cmpint(syscall_argument(control, (guint64[6]){0, F_NOTIFY, 9}, 2).kind, ==,
                  SYSCALL_ARG_UNSUPPORTED);
  g_assert_cmpint(syscall_argument(option, (guint64[6]){0, SOL_SOCKET, SO_ATTACH_FILTER, 9, 16}, 3).kind, ==,
                  SYSCALL_ARG_UNSUPPORTED);
  g_assert_cmpint(syscall_argument(option, (guint64[6]){0, SOL_SOCKET, SO_REUSEADDR, 9, 4}, 3).kind, ==,
                  SYSCALL_ARG_IN);
  g_assert_true(syscall_stays_on_placeholder(control, (guint64[6]){0, F_DUPFD_CLOEXEC}));
  g_assert_false(syscall_stays_on_placeholder(control, (guint64[6]){0, F_GETFL}));
  g_assert_true(syscall_stays_on_placeholder(syscall_row_named("ioctl"), (guint64[6]){0, FIOCLEX}));
  const SyscallRow *prctl = syscall_row_named("prctl"), *arch = syscall_row_named("arch_prctl");
  g_assert_cmpint(syscall_prctl_class(prctl, (guint64[6]){PR_SET_NAME}), ==, SYSCALL_NATIVE);
  g_assert_cmpint(syscall_prctl_class(prctl, (guint64[6]){PR_GET_SECCOMP}), ==, SYSCALL_FORWARD);
  g_assert_cmpint(syscall_prctl_class(prctl, (guint64[6]){PR_SET_SECCOMP}), ==, SYSCALL_CUT);
  g_assert_cmpint(syscall_prctl_class(arch, (guint64[6]){0x1002}), ==, SYSCALL_NATIVE);
  g_assert_cmpint(syscall_prctl_class(arch, (guint64[6]){0x1012}), ==, SYSCALL_CUT);
}

static void
test_cloexec(void)
{
  g_assert_true(syscall_makes_cloexec(syscall_row_named("socket"),
                                      (guint64[6]){AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC}, 0));
  g_assert_false(syscall_makes_cloexec(syscall_row_named("socket"), (guint64[6]){AF_UNIX, SOCK_STREAM}, 0));
  g_assert_true(
      syscall_makes_cloexec(syscall_row_named("pipe2"), (guint64[6]){0, O_CLOEXEC | O_NONBLOCK}, 0));
  g_assert_true(syscall_makes_cloexec(syscall_row_named("accept4"), (guint64[6]){0, 0, 0, SOCK_CLOEXEC}, 0));
  g_assert_false(syscall_makes_cloexec(syscall_row_named("accept"), (guint64[6]){}, 0));
  g_assert_true(syscall_makes_cloexec(syscall_row_named("pidfd_open"), (guint64[6]){}, 0));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/table/every-name-has-a-row", test_every_name_has_a_row);
  g_test_add_func("/table/every-number-has-a-row", test_every_number_has_a_row);
  g_test_add_func("/table/rows-are-consistent", test_rows_are_consistent);
  g_test_add_func("/table/classes", test_classes);
  g_test_add_func("/table/unstopped", test_unstopped);
  g_test_add_func("/table/opens", test_opens);
  g_test_add_func("/table/links", test_links);
  g_test_add_func("/table/requests", test_requests);
  g_test_add_func("/table/cloexec", test_cloexec);
  return g_test_run();
}
