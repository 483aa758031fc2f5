#include "augmenter/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

#define CPU_PERIOD_US 100000

typedef struct {
  int parent_fd; /* directory of the caller's own group */
  int procs_fd;  /* cgroup.procs of the new group */
  char *name;
} LimitsGroup;

typedef enum { LIMIT_MEMORY, LIMIT_CPU, LIMIT_PIDS } LimitKind;

/* One row per controller: what it is called and which file of which version takes the value. */
static const struct {
  const char *controller, *v2_file, *v1_file;
} rows[] = {
    [LIMIT_MEMORY] = {"memory", "memory.max", "memory.limit_in_bytes"},
    [LIMIT_CPU] = {"cpu", "cpu.max", "cpu.cfs_quota_us"},
    [LIMIT_PIDS] = {"pids", "pids.max", "pids.max"},
};

static gboolean
write_value(int dirfd, const char *file, const char *value)
{
  g_auto(Fd) fd = openat(dirfd, file, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
}

/* Directory of the caller's own group in the hierarchy that has `controller`: /proc/self/cgroup has lines
 * ID:CONTROLLERS:PATH, version 2's with ID 0 and no controllers. */
static char *
own_group(const char *controller, gboolean *is_v2)
{
  g_autofree char *text = io_read_file_at(AT_FDCWD, "/proc/self/cgroup", 1 << 16);
  g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
  g_autofree char *unified = NULL;
  for (char **line = lines; *line; line++) {
    g_auto(GStrv) fields = g_strsplit(*line, ":", 3);
    if (g_strv_length(fields) != 3)
      continue;
    g_auto(GStrv) controllers = g_strsplit(fields[1], ",", -1);
    if (g_strv_contains((const char *const *)controllers, controller)) {
      *is_v2 = FALSE;
      return g_strdup_printf("/sys/fs/cgroup/%s%s", controller, fields[2]);
    }
    if (strcmp(fields[0], "0") == 0 && fields[1][0] == '\0')
      unified = g_strconcat("/sys/fs/cgroup", fields[2], NULL);
  }
  *is_v2 = TRUE;
  return g_steal_pointer(&unified);
}

/* The group of that name, made where it is missing; the same one serves all controllers of a hierarchy. */
static const LimitsGroup *
make_group(Limits *limits, const char *parent, const char *name)
{
  LimitsGroup group = {.parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (group.parent_fd < 0)
    return NULL;
  g_autofree char *procs = g_strconcat(name, "/cgroup.procs", NULL);
  gboolean made = mkdirat(group.parent_fd, name, 0755) == 0;
  group.procs_fd = made ? openat(group.parent_fd, procs, O_WRONLY | O_CLOEXEC) : -1;
  if (group.procs_fd < 0) {
    int saved = errno;
    if (made)
      unlinkat(group.parent_fd, name, AT_REMOVEDIR);
    close(group.parent_fd);
    errno = saved;
    return NULL;
  }
  group.name = g_strdup(name);
  g_array_append_val(limits->groups, group);
  return &g_array_index(limits->groups, LimitsGroup, limits->groups->len - 1);
}

static char *
value_text(LimitKind kind, guint64 value, gboolean is_v2)
{
  if (kind != LIMIT_CPU)
    return g_strdup_printf("%" G_GUINT64_FORMAT, value);
  guint64 quota = value * (CPU_PERIOD_US / 100);
  return is_v2 ? g_strdup_printf("%" G_GUINT64_FORMAT " %d", quota, CPU_PERIOD_US)
               : g_strdup_printf("%" G_GUINT64_FORMAT, quota);
}

static gboolean
limit_one(Limits *limits, LimitKind kind, guint64 value, const char *name, const LimitsGroup **unified)
{
  gboolean is_v2;
  g_autofree char *parent = own_group(rows[kind].controller, &is_v2);
  if (!parent) {
    errno = ENOENT;
    return FALSE;
  }
  const LimitsGroup *group = is_v2 ? *unified : NULL;
  if (!group)
    group = make_group(limits, parent, name);
  if (!group)
    return FALSE;
  if (is_v2) {
    *unified = group;
    /* Works only where no process sits in the parent itself; where the controller is on already, it does not
     * matter. */
    g_autofree char *enable = g_strconcat("+", rows[kind].controller, NULL);
    write_value(group->parent_fd, "cgroup.subtree_control", enable);
  }
  g_autofree char *text = value_text(kind, value, is_v2);
  g_autofree char *file = g_strconcat(name, "/", is_v2 ? rows[kind].v2_file : rows[kind].v1_file, NULL);
  return write_value(group->parent_fd, file, text);
}

void
limits_make(Limits *limits, const SandboxLimits *wanted, const char *name, GPtrArray *notes)
{
  const guint64 values[] = {
      [LIMIT_MEMORY] = wanted->memory_bytes, [LIMIT_CPU] = wanted->cpu_percent, [LIMIT_PIDS] = wanted->pids};
  const LimitsGroup *unified = NULL;
  limits->groups = g_array_sized_new(FALSE, FALSE, sizeof(LimitsGroup), G_N_ELEMENTS(rows));
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++)
    if (values[i] && !limit_one(limits, (LimitKind)i, values[i], name, &unified))
      g_ptr_array_add(notes,
                      g_strdup_printf("the clone's use of %s is not limited: no control group can be set up "
                                      "here (%s)",
                                      rows[i].controller, g_strerror(errno)));
}

gboolean
limits_join(const Limits *limits)
{
  for (guint i = 0; limits->groups && i < limits->groups->len; i++)
    if (write(g_array_index(limits->groups, LimitsGroup, i).procs_fd, "0", 1) != 1)
      return FALSE;
  return TRUE;
}

void
limits_remove(Limits *limits)
{
  for (guint i = 0; limits->groups && i < limits->groups->len; i++) {
    LimitsGroup *group = &g_array_index(limits->groups, LimitsGroup, i);
    unlinkat(group->parent_fd, group->name, AT_REMOVEDIR);
    io_close(&group->procs_fd);
    io_close(&group->parent_fd);
    g_free(group->name);
  }
  g_clear_pointer(&limits->groups, g_array_unref);
}

void
limits_remove_stale(const char *name)
{
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
    gboolean is_v2;
    g_autofree char *parent = own_group(rows[i].controller, &is_v2);
    g_autofree char *path = parent ? g_strconcat(parent, "/", name, NULL) : NULL;
    if (path)
      rmdir(path);
  }
}

gboolean
limits_clip(int resource, struct rlimit *wanted)
{
  struct rlimit now, before = *wanted;
  /* The only way to know whether it may be raised is to try. */
  if (getrlimit(resource, &now) != 0 || wanted->rlim_max <= now.rlim_max)
    return TRUE;
  if (setrlimit(resource, wanted) == 0) {
    struct rlimit restored = {now.rlim_cur, now.rlim_max};
    setrlimit(resource, &restored);
    return TRUE;
  }
  wanted->rlim_max = now.rlim_max;
  wanted->rlim_cur = MIN(wanted->rlim_cur, now.rlim_max);
  return wanted->rlim_cur == before.rlim_cur && wanted->rlim_max == before.rlim_max;
}
