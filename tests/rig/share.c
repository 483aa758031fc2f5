#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

/* A quota is given per period; a short one makes a slow processor rather than one that stops and goes. */
#define PERIOD_US 10000
#define QUOTA_MIN 1000 /* the kernel's least */

struct Share {
  char *folders[2]; /* the groups: of the quota, and (version 1) of the accounting; NULL: none */
  int joins[2];     /* their cgroup.procs, opened early: a child may not see the files */
  gboolean unified, limited;
  char *about;
};

static gboolean
put(const char *folder, const char *file, const char *text)
{
  g_autofree char *path = g_build_filename(folder, file, NULL);
  g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && io_write_all(fd, text, strlen(text));
}

static char *
get(const char *folder, const char *file)
{
  g_autofree char *path = g_build_filename(folder, file, NULL);
  return io_read_file_at(AT_FDCWD, path, 4096);
}

/* The group under `root`, or NULL with errno set. */
static char *
make_group(const char *root, const char *name)
{
  g_autofree char *path = g_strdup_printf("%s/doppel-rig-%d-%s", root, (int)getpid(), name);
  return mkdir(path, 0755) == 0 || errno == EEXIST ? g_steal_pointer(&path) : NULL;
}

static void
quota_for(double percent, guint *quota, guint *period)
{
  *period = PERIOD_US;
  *quota = (guint)(percent / 100 * PERIOD_US);
  if (*quota < QUOTA_MIN) {
    *quota = QUOTA_MIN;
    *period = (guint)(QUOTA_MIN * 100 / percent);
  }
}

static gboolean
limit_v1(Share *share, double percent)
{
  guint quota, period;
  quota_for(percent, &quota, &period);
  g_autofree char *period_text = g_strdup_printf("%u", period), *quota_text = g_strdup_printf("%u", quota);
  return put(share->folders[0], "cpu.cfs_period_us", period_text) &&
         put(share->folders[0], "cpu.cfs_quota_us", quota_text);
}

static gboolean
limit_v2(Share *share, double percent)
{
  guint quota, period;
  quota_for(percent, &quota, &period);
  g_autofree char *text = g_strdup_printf("%u %u", quota, period);
  return put(share->folders[0], "cpu.max", text);
}

/* Where version 2 has a cpu controller that can be given to a group, or NULL. */
static const char *
unified_root(void)
{
  static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
  for (gsize i = 0; i < G_N_ELEMENTS(roots); i++) {
    g_autofree char *controllers = get(roots[i], "cgroup.controllers");
    if (controllers && strstr(controllers, "cpu") && put(roots[i], "cgroup.subtree_control", "+cpu"))
      return roots[i];
  }
  return NULL;
}

Share *
share_new(const char *name, double percent)
{
  Share *share = g_new0(Share, 1);
  const char *unified = unified_root();
  share->unified = unified != NULL;
  share->folders[0] = make_group(unified ? unified : "/sys/fs/cgroup/cpu", name);
  if (share->folders[0] && percent > 0)
    share->limited = unified ? limit_v2(share, percent) : limit_v1(share, percent);
  if (!share->folders[0])
    share->about =
        g_strdup_printf("not limited: no control group for processors here (%s)", g_strerror(errno));
  else if (percent > 0 && !share->limited)
    share->about = g_strdup_printf("not limited: the control group refuses a quota (%s)", g_strerror(errno));
  else if (percent > 0)
    share->about = g_strdup_printf("%.1f %% of a processor", percent);
  else
    share->about = g_strdup("not limited");
  if (!unified)
    share->folders[1] = make_group("/sys/fs/cgroup/cpuacct", name);
  for (int i = 0; i < 2; i++) {
    g_autofree char *procs =
        share->folders[i] ? g_build_filename(share->folders[i], "cgroup.procs", NULL) : NULL;
    share->joins[i] = procs ? open(procs, O_WRONLY | O_CLOEXEC) : -1;
  }
  return share;
}

void
share_join(const Share *share)
{
  for (int i = 0; i < 2; i++)
    if (share->joins[i] >= 0)
      (void)!write(share->joins[i], "0", 1);
}

gboolean
share_limited(const Share *share)
{
  return share->limited;
}

const char *
share_about(const Share *share)
{
  return share->about;
}

double
share_used(const Share *share)
{
  if (share->unified && share->folders[0]) {
    g_autofree char *text = get(share->folders[0], "cpu.stat");
    const char *usage = text ? strstr(text, "usage_usec ") : NULL;
    return usage ? g_ascii_strtoull(usage + strlen("usage_usec "), NULL, 10) / 1e6 : -1;
  }
  g_autofree char *text = share->folders[1] ? get(share->folders[1], "cpuacct.usage") : NULL;
  return text ? g_ascii_strtoull(text, NULL, 10) / 1e9 : -1;
}

void
share_kill(const Share *share)
{
  for (int tries = 0; share->folders[0] && tries < 100; tries++) {
    g_autofree char *text = get(share->folders[0], "cgroup.procs");
    g_auto(GStrv) pids = g_strsplit(text ? text : "", "\n", -1);
    int killed = 0;
    for (char **pid = pids; *pid; pid++)
      if (**pid)
        killed += kill((pid_t)g_ascii_strtoll(*pid, NULL, 10), SIGKILL) == 0;
    if (!killed)
      return;
    g_usleep(10000);
  }
}

void
share_free(Share *share)
{
  for (int i = 0; i < 2; i++) {
    if (share->joins[i] >= 0)
      close(share->joins[i]);
    /* A process that has just ended may still be counted for a moment. */
    for (int tries = 0; share->folders[i] && rmdir(share->folders[i]) != 0 && errno == EBUSY && tries < 100;
         tries++)
      g_usleep(10000);
    g_free(share->folders[i]);
  }
  g_free(share->about);
  g_free(share);
}
