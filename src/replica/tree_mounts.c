#include "replica/tree_mounts.h"

#include <fcntl.h>
#include <string.h>

#include "base/io.h"

#define MOUNTINFO_MAX (16u << 20) /* bytes */

enum { FIELD_DEVICE = 2, FIELD_ROOT = 3, FIELD_POINT = 4, FIELDS_MIN = 6 };

/* As tree_scan() has it by their numbers. */
static const char *const not_entered[] = {
    "autofs",  "binder", "binfmt_misc", "bpf",      "cgroup",     "cgroup2",    "configfs",
    "debugfs", "devpts", "devtmpfs",    "efivarfs", "fusectl",    "hugetlbfs",  "mqueue",
    "nsfs",    "proc",   "pstore",      "ramfs",    "rpc_pipefs", "securityfs", "selinuxfs",
    "smackfs", "sysfs",  "tmpfs",       "tracefs",
};

static const char *const remote[] = {
    "9p",  "afs",  "ceph",  "cifs",     "coda", "gfs2",  "glusterfs", "lustre",   "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "vboxsf",    "virtiofs", "vmhgfs",
};

static void
mount_free(gpointer data)
{
  TreeMount *mount = data;
  g_free(mount->point);
  g_free(mount->type);
  g_free(mount->device);
  g_free(mount->root);
  g_free(mount);
}

static gboolean
is_among(const char *type, const char *const *types, gsize count)
{
  for (gsize i = 0; i < count; i++)
    if (strcmp(type, types[i]) == 0)
      return TRUE;
  return FALSE;
}

/* Space, tab, newline and backslash are written as three octal digits. */
static char *
plain(const char *field)
{
  GString *text = g_string_new(NULL);
  for (; *field; field++) {
    gboolean octal = field[0] == '\\' && field[1] >= '0' && field[1] <= '3' && field[2] >= '0' &&
                     field[2] <= '7' && field[3] >= '0' && field[3] <= '7';
    if (!octal) {
      g_string_append_c(text, *field);
      continue;
    }
    g_string_append_c(text, (char)((field[1] - '0') << 6 | (field[2] - '0') << 3 | (field[3] - '0')));
    field += 3;
  }
  return g_string_free(text, FALSE);
}

static TreeMount *
parse_line(const char *line)
{
  g_auto(GStrv) fields = g_strsplit(line, " ", -1);
  guint count = g_strv_length(fields), dash = FIELDS_MIN;
  while (dash < count && strcmp(fields[dash], "-") != 0)
    dash++;
  if (dash + 1 >= count || fields[FIELD_POINT][0] != '/')
    return NULL;
  TreeMount *mount = g_new0(TreeMount, 1);
  const char *type = fields[dash + 1];
  mount->point = plain(fields[FIELD_POINT]);
  mount->type = g_strdup(type);
  mount->device = g_strdup(fields[FIELD_DEVICE]);
  mount->root = plain(fields[FIELD_ROOT]);
  mount->whole = strcmp(mount->root, "/") == 0;
  /* What a program serves may come from anywhere; "fuseblk" is a disk. */
  mount->remote = is_among(type, remote, G_N_ELEMENTS(remote)) || strcmp(type, "fuse") == 0 ||
                  g_str_has_prefix(type, "fuse.");
  return mount;
}

/* Whether `path` is `above` or in it; both absolute. */
static gboolean
is_in(const char *path, const char *above)
{
  gsize length = strcmp(above, "/") == 0 ? 0 : strlen(above);
  return strncmp(path, above, length) == 0 && (path[length] == '/' || !path[length]);
}

GPtrArray *
tree_mounts_parse(const char *text, const char *root)
{
  GPtrArray *mounts = g_ptr_array_new_with_free_func(mount_free);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  TreeMount *own = NULL;
  for (char **line = lines; *line; line++) {
    TreeMount *mount = parse_line(*line);
    if (!mount)
      continue;
    /* Of several at one place the last one is to be seen. */
    if (is_in(root, mount->point) && (!own || strlen(mount->point) >= strlen(own->point))) {
      if (own)
        mount_free(own);
      own = mount;
    } else if (strcmp(mount->point, root) != 0 && is_in(mount->point, root) &&
               !is_among(mount->type, not_entered, G_N_ELEMENTS(not_entered))) {
      g_ptr_array_add(mounts, mount);
    } else {
      mount_free(mount);
    }
  }
  if (own)
    g_ptr_array_insert(mounts, 0, own);
  return mounts;
}

GPtrArray *
tree_mounts_read(const char *root)
{
  g_autofree char *text = io_read_file_at(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX);
  return text ? tree_mounts_parse(text, root) : NULL;
}

const TreeMount *
tree_mounts_twice(const GPtrArray *mounts)
{
  for (guint i = 0; i < mounts->len; i++) {
    const TreeMount *one = mounts->pdata[i];
    for (guint j = 0; j < i; j++) {
      const TreeMount *other = mounts->pdata[j];
      if (strcmp(one->device, other->device) == 0 &&
          (is_in(one->root, other->root) || is_in(other->root, one->root)))
        return one;
    }
  }
  return NULL;
}

gboolean
tree_mounts_equal(const GPtrArray *a, const GPtrArray *b)
{
  if (a->len != b->len)
    return FALSE;
  for (guint i = 0; i < a->len; i++) {
    const TreeMount *one = a->pdata[i], *other = b->pdata[i];
    if (strcmp(one->point, other->point) != 0 || strcmp(one->type, other->type) != 0 ||
        strcmp(one->device, other->device) != 0 || strcmp(one->root, other->root) != 0)
      return FALSE;
  }
  return TRUE;
}
