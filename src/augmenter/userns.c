#include "augmenter/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define HOLDER_STACK 16384
#define SECOND_NS    G_GINT64_CONSTANT(1000000000)

gboolean
userns_is_privileged(void)
{
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0)
    return FALSE;
  guint64 effective = data[0].effective | (guint64)data[1].effective << 32;
  guint64 needed = 1ull << CAP_SETUID | 1ull << CAP_SETGID | 1ull << CAP_SETFCAP | 1ull << CAP_SYS_ADMIN;
  return (effective & needed) == needed;
}

/* "INSIDE OUTSIDE COUNT" lines that map every id of this namespace to itself. */
static char *
identity_map(const char *name, GError **error)
{
  g_autofree char *path = g_strdup_printf("/proc/self/%s", name);
  g_autofree char *text = io_read_file_at(AT_FDCWD, path, 1 << 16);
  if (!text) {
    doppel_error_errno(error, "cannot read %s", path);
    return NULL;
  }
  GString *map = g_string_new(NULL);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (char **line = lines; *line; line++) {
    unsigned inside, outside, count;
    if (sscanf(*line, "%u %u %u", &inside, &outside, &count) == 3)
      g_string_append_printf(map, "%u %u %u\n", inside, inside, count);
  }
  return g_string_free(map, FALSE);
}

static guint64
count_ids(const char *path)
{
  guint64 total = 0;
  g_autofree char *text = io_read_file_at(AT_FDCWD, path, 1 << 16);
  g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
  for (char **line = lines; *line; line++) {
    unsigned inside, outside, count;
    if (sscanf(*line, "%u %u %u", &inside, &outside, &count) == 3)
      total += count;
  }
  return total;
}

gboolean
userns_has_all_ids(void)
{
  /* (uid_t)-1 is no id */
  return count_ids("/proc/self/uid_map") == G_MAXUINT32 && count_ids("/proc/self/gid_map") == G_MAXUINT32;
}

static gboolean
write_file_at(int dirfd, const char *name, const char *text)
{
  g_auto(Fd) fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* The caller's range in /etc/subuid or /etc/subgid, which name it by name or by number (subuid(5)). */
static gboolean
sub_range(const char *path, unsigned *start, unsigned *count)
{
  g_autofree char *text = io_read_file_at(AT_FDCWD, path, 1 << 20);
  struct passwd *user = getpwuid(getuid());
  if (!text)
    return FALSE;
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (char **line = lines; *line; line++) {
    g_auto(GStrv) fields = g_strsplit(*line, ":", 3);
    guint64 first, length;
    if (g_strv_length(fields) != 3 ||
        !g_ascii_string_to_unsigned(fields[1], 10, 1, G_MAXUINT32, &first, NULL) ||
        !g_ascii_string_to_unsigned(g_strchomp(fields[2]), 10, 1, G_MAXUINT32, &length, NULL))
      continue;
    gboolean ours = (user && strcmp(fields[0], user->pw_name) == 0) ||
                    g_ascii_strtoull(fields[0], NULL, 10) == (guint64)getuid();
    if (ours) {
      *start = (unsigned)first;
      *count = (unsigned)length;
      return TRUE;
    }
  }
  return FALSE;
}

/* Runs newuidmap(1) or newgidmap(1): `own` outside is `inside` there, the sub range fills the other ids from
 * 0 up. */
static gboolean
run_newidmap(const char *tool, const char *table, pid_t holder, unsigned inside, unsigned own)
{
  unsigned start, count;
  if (!sub_range(table, &start, &count))
    return FALSE;
  unsigned below = MIN(inside, count), above = count - below;
  g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
  g_ptr_array_add(argv, g_strdup(tool));
  g_ptr_array_add(argv, g_strdup_printf("%d", (int)holder));
  unsigned maps[3][3] = {{inside, own, 1}, {0, start, below}, {inside + 1, start + below, above}};
  for (gsize i = 0; i < G_N_ELEMENTS(maps); i++)
    for (gsize j = 0; j < 3 && maps[i][2] > 0; j++)
      g_ptr_array_add(argv, g_strdup_printf("%u", maps[i][j]));
  g_ptr_array_add(argv, NULL);
  int status = -1;
  GSpawnFlags flags = G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL;
  return g_spawn_sync("/", (char **)argv->pdata, NULL, flags, NULL, NULL, NULL, NULL, &status, NULL) &&
         status == 0;
}

static gboolean
can_map_sub_ids(void)
{
  unsigned start, count;
  g_autofree char *users = g_find_program_in_path("newuidmap"), *groups = g_find_program_in_path("newgidmap");
  return users && groups && sub_range("/etc/subuid", &start, &count) &&
         sub_range("/etc/subgid", &start, &count);
}

/* Safe without privilege: the kernel lets a process map only itself, and only after it gave up setgroups(2),
 * which could otherwise drop a group that a file denies access to. */
static gboolean
map_own_id(int holder_proc, const UsernsIds *ids, GError **error)
{
  uid_t uid = ids->uid == (uid_t)-1 ? geteuid() : ids->uid;
  gid_t gid = ids->gid == (gid_t)-1 ? getegid() : ids->gid;
  g_autofree char *users = g_strdup_printf("%u %u 1\n", uid, geteuid());
  g_autofree char *groups = g_strdup_printf("%u %u 1\n", gid, getegid());
  if (!write_file_at(holder_proc, "setgroups", "deny") && errno != ENOENT)
    return doppel_error_errno(error, "cannot give up setgroups(2) in the sandbox");
  if (!write_file_at(holder_proc, "uid_map", users) || !write_file_at(holder_proc, "gid_map", groups))
    return doppel_error_errno(error, "cannot map user %u and group %u into the sandbox", geteuid(),
                              getegid());
  return TRUE;
}

static gboolean
map_ids(pid_t holder, int holder_proc, const UsernsIds *ids, gboolean *one_id, GPtrArray *notes,
        GError **error)
{
  *one_id = FALSE;
  if (userns_is_privileged()) {
    g_autofree char *users = identity_map("uid_map", error);
    g_autofree char *groups = users ? identity_map("gid_map", error) : NULL;
    if (!groups)
      return FALSE;
    if (!write_file_at(holder_proc, "uid_map", users) || !write_file_at(holder_proc, "gid_map", groups))
      return doppel_error_errno(error, "cannot map all users into the sandbox");
    return TRUE;
  }
  if (ids->sub_ids && !can_map_sub_ids()) {
    g_ptr_array_add(notes,
                    g_strdup("only the own user id is mapped: no range in /etc/subuid and /etc/subgid, or no "
                             "newuidmap and newgidmap (package uidmap)"));
  } else if (ids->sub_ids) {
    uid_t uid = ids->uid == (uid_t)-1 ? geteuid() : ids->uid;
    gid_t gid = ids->gid == (gid_t)-1 ? getegid() : ids->gid;
    if (run_newidmap("newgidmap", "/etc/subgid", holder, gid, getegid()) &&
        run_newidmap("newuidmap", "/etc/subuid", holder, uid, geteuid()))
      return TRUE;
    /* Half of it may have been done, so there is no way back to the single id. */
    return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                            "newuidmap or newgidmap refused the ranges of /etc/subuid and /etc/subgid");
  }
  *one_id = TRUE;
  return map_own_id(holder_proc, ids, error);
}

/* Exists to own the new namespace until the caller has joined it. It shares the caller's memory, so it must
 * touch none of it. It goes with the caller, whoever kills that: it has all its descriptors, locks too. */
static int
holder_main(void *caller)
{
  syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  while (syscall(SYS_getppid) == (long)GPOINTER_TO_INT(caller))
    syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
  return 0;
}

static gboolean
explain_refusal(const char *what, GError **error)
{
  if (errno == ENOSPC || errno == EUSERS)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "no sandbox: this machine allows no more %s; raise the limits of namespaces, sysctl "
        "user.max_user_namespaces=16384 (and its sisters)",
        what);
  if (errno == EPERM || errno == EACCES)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "no sandbox: this machine forbids %s here. Allow it (sysctl "
        "kernel.unprivileged_userns_clone=1, on Ubuntu "
        "kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that "
        "lets unshare(2) and mount(2) through) or run as root",
        what);
  return doppel_error_errno(error, "no sandbox: cannot make %s", what);
}

static gboolean
join_holder(pid_t holder, const UsernsIds *ids, gboolean *one_id, GPtrArray *notes, GError **error)
{
  g_autofree char *path = g_strdup_printf("/proc/%d", (int)holder);
  g_auto(Fd) proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (proc < 0)
    return doppel_error_errno(error, "cannot open %s (is /proc mounted?)", path);
  if (!map_ids(holder, proc, ids, one_id, notes, error))
    return FALSE;
  g_auto(Fd) namespace = openat(proc, "ns/user", O_RDONLY | O_CLOEXEC);
  if (namespace < 0 || setns(namespace, CLONE_NEWUSER) != 0)
    return explain_refusal("user namespaces", error);
  return TRUE;
}

/* A process cannot map ids of its own new namespace to more than itself: the map is written from outside. So
 * a child gets the namespace, the caller writes the child's map and then joins. Sharing memory makes the
 * child as cheap as a thread. */
gboolean
userns_enter(const UsernsIds *ids, gboolean *one_id, GPtrArray *notes, GError **error)
{
  g_autofree guint8 *stack = g_malloc(HOLDER_STACK);
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  pid_t holder = clone(holder_main, stack + HOLDER_STACK, CLONE_VM | CLONE_NEWUSER | SIGCHLD,
                       GINT_TO_POINTER((int)getpid()));
  int saved = errno;
  sigprocmask(SIG_SETMASK, &before, NULL);
  errno = saved;
  if (holder < 0)
    return explain_refusal("user namespaces", error);
  gboolean joined = join_holder(holder, ids, one_id, notes, error);
  kill(holder, SIGKILL);
  while (waitpid(holder, NULL, 0) < 0 && errno == EINTR)
    ;
  return joined;
}

static gboolean
loopback_up(GError **error)
{
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  g_auto(Fd) fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0)
    return doppel_error_errno(error, "cannot bring up the sandbox's loopback interface");
  return TRUE;
}

/* timens_offsets wants the nanoseconds positive: -1 ns is "-1 999999999". */
static void
append_offset(GString *text, const char *clock, gint64 offset_ns)
{
  gint64 seconds = offset_ns / SECOND_NS, rest = offset_ns % SECOND_NS;
  if (rest < 0) {
    seconds--;
    rest += SECOND_NS;
  }
  g_string_append_printf(text, "%s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT "\n", clock, seconds, rest);
}

static gboolean
set_clocks(const UsernsOthers *others, GError **error)
{
  g_autoptr(GString) text = g_string_new(NULL);
  append_offset(text, "monotonic", others->monotonic_ns);
  append_offset(text, "boottime", others->boottime_ns);
  if (write_file_at(AT_FDCWD, "/proc/self/timens_offsets", text->str))
    return TRUE;
  if (errno == ERANGE)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the device's clocks (%" G_GINT64_FORMAT " and %" G_GINT64_FORMAT
                            " ns from this machine's) would be negative or beyond the kernel's range",
                            others->monotonic_ns, others->boottime_ns);
  return doppel_error_errno(error, "cannot set the clocks of the sandbox");
}

gboolean
userns_unshare_others(const UsernsOthers *others, GPtrArray *notes, GError **error)
{
  int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWPID;
  gboolean clocks = access("/proc/self/ns/time", F_OK) == 0;
  if (!clocks)
    g_ptr_array_add(
        notes, g_strdup("no time namespace (Linux 5.6, CONFIG_TIME_NS): the clone's monotonic clock is this "
                        "machine's"));
  if (unshare(flags | (clocks ? CLONE_NEWTIME : 0)) != 0)
    return explain_refusal("namespaces", error);
  /* Nothing that is mounted from here on shows outside, and nothing that is mounted outside shows here. */
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
    return doppel_error_errno(error, "cannot make the sandbox's mounts private");
  if (clocks && !set_clocks(others, error))
    return FALSE;
  if (others->hostname && sethostname(others->hostname, strlen(others->hostname)) != 0)
    return doppel_error_errno(error, "cannot set the sandbox's host name to \"%s\"", others->hostname);
  return loopback_up(error);
}
