#include "augmenter/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/io.h"

#define MOUNTINFO_MAX (64u << 20) /* bytes; a host with 100,000 mounts stays below */

static const char *const pseudo_types[] = {
    "autofs", "binfmt_misc", "bpf",      "cgroup",     "cgroup2",    "configfs",  "debugfs",
    "devpts", "devtmpfs",    "efivarfs", "fusectl",    "hugetlbfs",  "mqueue",    "nsfs",
    "proc",   "pstore",      "resctrl",  "rpc_pipefs", "securityfs", "selinuxfs", "smackfs",
    "sysfs",  "tracefs",     "xenfs",    "none",
};

static void
mount_free(Mount *mount)
{
  g_free(mount->path);
  g_free(mount->type);
  g_free(mount);
}

/* The kernel writes space, tab, newline and backslash as \ooo. */
static char *
unescape(const char *text, gsize length)
{
  GString *out = g_string_sized_new(length);
  for (gsize i = 0; i < length; i++) {
    const char *c = text + i;
    gboolean octal = *c == '\\' && i + 3 < length && c[1] >= '0' && c[1] <= '3' && c[2] >= '0' &&
                     c[2] <= '7' && c[3] >= '0' && c[3] <= '7';
    if (octal) {
      g_string_append_c(out, (char)((c[1] - '0') * 64 + (c[2] - '0') * 8 + (c[3] - '0')));
      i += 3;
    } else {
      g_string_append_c(out, *c);
    }
  }
  return g_string_free(out, FALSE);
}

/* "ID PARENT MAJOR:MINOR ROOT PATH OPTIONS [TAG...] - TYPE SOURCE OPTIONS" */
static Mount *
parse_line(const char *line)
{
  g_auto(GStrv) fields = g_strsplit(line, " ", -1);
  guint count = g_strv_length(fields), dash = 6;
  while (dash < count && strcmp(fields[dash], "-") != 0)
    dash++;
  gint64 id;
  if (dash + 2 > count || !g_ascii_string_to_signed(fields[0], 10, 0, G_MAXINT, &id, NULL) ||
      fields[4][0] != '/')
    return NULL;
  if (!fields[dash + 1])
    return NULL;
  Mount *mount = g_new0(Mount, 1);
  mount->id = (int)id;
  mount->path = unescape(fields[4], strlen(fields[4]));
  mount->type = unescape(fields[dash + 1], strlen(fields[dash + 1]));
  return mount;
}

GPtrArray *
mountinfo_parse(const char *text, GError **error)
{
  g_autoptr(GPtrArray) mounts = g_ptr_array_new_with_free_func((GDestroyNotify)mount_free);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (char **line = lines; *line; line++) {
    if (**line == '\0')
      continue;
    Mount *mount = parse_line(*line);
    if (!mount) {
      doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "cannot read the list of mounts: unexpected line \"%s\"",
                       *line);
      return NULL;
    }
    g_ptr_array_add(mounts, mount);
  }
  return g_steal_pointer(&mounts);
}

GPtrArray *
mountinfo_read(int proc_fd, GError **error)
{
  g_autofree char *text = io_read_file_at(proc_fd, "self/mountinfo", MOUNTINFO_MAX);
  if (!text) {
    doppel_error_errno(error, "cannot read /proc/self/mountinfo");
    return NULL;
  }
  return mountinfo_parse(text, error);
}

gboolean
mountinfo_is_pseudo(const Mount *mount)
{
  for (gsize i = 0; i < G_N_ELEMENTS(pseudo_types); i++)
    if (strcmp(mount->type, pseudo_types[i]) == 0)
      return TRUE;
  return FALSE;
}

gboolean
mountinfo_is_visible(const Mount *mount)
{
  struct statx found;
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  if (statx(AT_FDCWD, mount->path, flags, STATX_TYPE | STATX_MNT_ID, &found) != 0)
    return FALSE;
  return (found.stx_mask & STATX_MNT_ID) && found.stx_mnt_id == (guint64)mount->id;
}

gboolean
mountinfo_is_below(const char *path, const char *directory)
{
  gsize length = strlen(directory);
  if (strcmp(directory, "/") == 0)
    return path[0] == '/' && path[1] != '\0';
  return strncmp(path, directory, length) == 0 && path[length] == '/';
}

gboolean
mountinfo_any_below(const GPtrArray *mounts, const char *directory)
{
  for (guint i = 0; i < mounts->len; i++)
    if (mountinfo_is_below(((const Mount *)mounts->pdata[i])->path, directory))
      return TRUE;
  return FALSE;
}

gboolean
mountinfo_any_at(const GPtrArray *mounts, const char *path)
{
  for (guint i = 0; i < mounts->len; i++)
    if (strcmp(((const Mount *)mounts->pdata[i])->path, path) == 0)
      return TRUE;
  return FALSE;
}
