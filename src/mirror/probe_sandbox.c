/* Trials of what a sandbox is made of. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "mirror/probe_trials.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define MPTCP_LEVEL 284 /* SOL_MPTCP */
#define MPTCP_FACTS 1   /* MPTCP_INFO */

static gboolean
write_file(const char *path, const char *text)
{
  g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

gboolean
probe_enter_user(void)
{
  g_autofree char *users = g_strdup_printf("0 %u 1", geteuid());
  g_autofree char *groups = g_strdup_printf("0 %u 1", getegid());
  return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/uid_map", users) &&
         write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/gid_map", groups) &&
         getuid() == 0;
}

gboolean
probe_unshare(int flags, gboolean *in_user)
{
  *in_user = FALSE;
  if (unshare(flags) == 0)
    return TRUE;
  *in_user = TRUE;
  return errno == EPERM && probe_enter_user() && unshare(flags) == 0;
}

gboolean
probe_user_namespace(ProbeNote *note)
{
  return probe_enter_user();
}

static gboolean
try_namespace(int flag, ProbeNote *note)
{
  gboolean in_user;
  if (!probe_unshare(flag, &in_user))
    return FALSE;
  if (in_user)
    probe_note(note, "inside a user namespace");
  return TRUE;
}

static void
exit_if_first(void *data)
{
  _exit(getpid() == 1 ? 0 : 1);
}

static gboolean
succeeds(void (*body)(void *), void *data)
{
  int status;
  pid_t child = probe_fork(body, data);
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

gboolean
probe_pid_namespace(ProbeNote *note)
{
  return try_namespace(CLONE_NEWPID, note) && succeeds(exit_if_first, NULL);
}

gboolean
probe_mount_namespace(ProbeNote *note)
{
  return try_namespace(CLONE_NEWNS, note) && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
         mount("probe", "/tmp", "tmpfs", 0, NULL) == 0;
}

gboolean
probe_net_namespace(ProbeNote *note)
{
  return try_namespace(CLONE_NEWNET, note);
}

#define CLOCK_OFFSET 5000

static void
exit_if_later(void *before)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  _exit(now.tv_sec - ((struct timespec *)before)->tv_sec >= CLOCK_OFFSET ? 0 : 1);
}

gboolean
probe_time_namespace(ProbeNote *note)
{
  struct timespec before;
  clock_gettime(CLOCK_MONOTONIC, &before);
  g_autofree char *offsets = g_strdup_printf("monotonic %d 0\n", CLOCK_OFFSET);
  return try_namespace(CLONE_NEWTIME, note) && write_file("/proc/self/timens_offsets", offsets) &&
         succeeds(exit_if_later, &before);
}

/* Everything happens below a memory file system that only this process sees. */
static gboolean
try_overlay(const char *options)
{
  g_autofree char *all =
      g_strconcat("lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work", options, NULL);
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
      mount("probe", "/tmp", "tmpfs", 0, NULL) != 0 || mkdir("/tmp/lower", 0755) != 0 ||
      mkdir("/tmp/upper", 0755) != 0 || mkdir("/tmp/work", 0755) != 0 || mkdir("/tmp/merged", 0755) != 0)
    return FALSE;
  g_auto(Fd) below = open("/tmp/lower/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (below < 0 || write(below, "lower", 5) != 5 || mount("probe", "/tmp/merged", "overlay", 0, all) != 0)
    return FALSE;
  g_auto(Fd) merged = open("/tmp/merged/file", O_RDWR | O_CLOEXEC);
  struct stat copied, kept;
  return merged >= 0 && pwrite(merged, "changed", 7, 0) == 7 && stat("/tmp/upper/file", &copied) == 0 &&
         copied.st_size == 7 && stat("/tmp/lower/file", &kept) == 0 && kept.st_size == 5 &&
         unlink("/tmp/merged/file") == 0 && lstat("/tmp/upper/file", &copied) == 0 && S_ISCHR(copied.st_mode);
}

gboolean
probe_overlay(ProbeNote *note)
{
  if (unshare(CLONE_NEWNS) == 0)
    return try_overlay("");
  if (errno == EPERM)
    probe_note(note, "not with this user's rights");
  return FALSE;
}

gboolean
probe_overlay_user(ProbeNote *note)
{
  return probe_enter_user() && unshare(CLONE_NEWNS) == 0 && try_overlay(",userxattr");
}

/* Makes a group below `parent`, gives it a quota in `file`, and removes it again. */
static gboolean
try_quota(const char *parent, const char *file, const char *quota)
{
  g_autofree char *group = g_strdup_printf("%s/doppel-probe-%d", parent, getpid());
  g_autofree char *path = g_build_filename(group, file, NULL);
  if (mkdir(group, 0755) != 0)
    return FALSE;
  gboolean good = write_file(path, quota);
  int saved = errno;
  rmdir(group);
  errno = saved;
  return good;
}

/* The caller's own group in a hierarchy of /proc/self/cgroup: "ID:CONTROLLERS:PATH". */
static char *
own_group(const char *controllers)
{
  g_autofree char *text = io_read_file_at(AT_FDCWD, "/proc/self/cgroup", 65536);
  g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
  for (char **line = lines; *line; line++) {
    g_auto(GStrv) fields = g_strsplit(*line, ":", 3);
    if (g_strv_length(fields) != 3)
      continue;
    g_auto(GStrv) names = g_strsplit(fields[1], ",", -1);
    if (*controllers ? g_strv_contains((const char *const *)names, controllers) : !*fields[1])
      return g_strdup(fields[2]);
  }
  return g_strdup("/");
}

gboolean
probe_cgroup_cpu(ProbeNote *note)
{
  g_autofree char *unified = own_group("");
  g_autofree char *legacy = own_group("cpu");
  const struct {
    const char *root, *group, *file, *quota, *version;
  } kinds[] = {
      {"/sys/fs/cgroup", unified, "cpu.max", "50000 100000", "cgroup v2"},
      {"/sys/fs/cgroup", "/", "cpu.max", "50000 100000", "cgroup v2"},
      {"/sys/fs/cgroup/cpu", legacy, "cpu.cfs_quota_us", "50000", "cgroup v1"},
      {"/sys/fs/cgroup/cpu,cpuacct", legacy, "cpu.cfs_quota_us", "50000", "cgroup v1"},
  };
  int first = 0;
  for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
    g_autofree char *parent = g_build_filename(kinds[i].root, kinds[i].group, NULL);
    if (try_quota(parent, kinds[i].file, kinds[i].quota)) {
      probe_note(note, "%s", kinds[i].version);
      return TRUE;
    }
    /* The most telling of the reasons. */
    if (first == 0 || first == ENOENT)
      first = errno;
  }
  errno = first;
  return FALSE;
}

/* A connection to itself that did not fall back to TCP. */
gboolean
probe_mptcp(ProbeNote *note)
{
  g_auto(Fd) listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
  g_auto(Fd) caller = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  if (listener < 0 || caller < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&address, &length) != 0 ||
      connect(caller, (struct sockaddr *)&address, length) != 0)
    return FALSE;
  g_auto(Fd) accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  guint8 facts[256];
  socklen_t size = sizeof facts;
  char byte = 'x';
  if (accepted < 0 || send(caller, &byte, 1, 0) != 1 || recv(accepted, &byte, 1, 0) != 1)
    return FALSE;
  if (getsockopt(caller, MPTCP_LEVEL, MPTCP_FACTS, facts, &size) != 0 && errno == EOPNOTSUPP) {
    probe_note(note, "a connection fell back to TCP");
    return FALSE;
  }
  return TRUE;
}

gboolean
probe_tun(ProbeNote *note)
{
  gboolean in_user;
  if (!probe_unshare(CLONE_NEWNET, &in_user))
    return FALSE;
  g_auto(Fd) fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  struct ifreq request = {.ifr_name = "doppel%d", .ifr_flags = IFF_TUN | IFF_NO_PI};
  return fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0;
}
