#include "moves.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"

static gint
random_int(Rig *rig, gint end)
{
  return g_rand_int_range(rig->rand, 0, end);
}

static gsize
random_size(Rig *rig)
{
  static const int limits[] = {1, 100, 5000, 70000, 400000};
  return random_int(rig, limits[random_int(rig, G_N_ELEMENTS(limits))]);
}

static void
write_random(Rig *rig, int fd, gint64 offset, gsize length)
{
  g_autofree guint8 *data = g_malloc0(length + 4);
  if (random_int(rig, 6) != 0) /* now and then zeros */
    for (gsize i = 0; i < length; i += 4)
      *(guint32 *)(data + i) = g_rand_int(rig->rand);
  g_assert_cmpint(pwrite(fd, data, length, offset), ==, length);
}

static char *
random_name(Rig *rig)
{
  static const char *const shapes[] = {"f%d", "a b%d", "g\xff%d", "x.%d", "-%d", "z%d"};
  const char *shape = shapes[random_int(rig, G_N_ELEMENTS(shapes))];
  int number = random_int(rig, 4);
  char name[32];
  g_snprintf(name, sizeof name, "%s", shape);
  char *percent = strstr(name, "%d");
  g_snprintf(percent, sizeof name - (percent - name), "%d", number);
  return g_strdup(name);
}

/* A FIFO lives on the device alone: its clone does not follow its changes. */
static gboolean spare_fifos;

static gboolean
is_protected(const char *path)
{
  const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
  return name[0] == 'D' || strcmp(path, "keep") == 0;
}

static char *
random_path(Rig *rig, const char *root, gboolean directory)
{
  g_autoptr(GPtrArray) paths = rig_list(root);
  for (guint tries = 0; tries < 20 && paths->len; tries++) {
    const char *path = paths->pdata[random_int(rig, paths->len)];
    g_autofree char *full = rig_path(root, path);
    struct stat st;
    g_assert_cmpint(lstat(full, &st), ==, 0);
    if (directory ? S_ISDIR(st.st_mode) : !is_protected(path) && !(spare_fifos && S_ISFIFO(st.st_mode)))
      return g_steal_pointer(&full);
  }
  return g_strdup(directory ? root : "/nowhere/at/all");
}

static char *
random_new_path(Rig *rig, const char *root)
{
  g_autofree char *directory = random_int(rig, 4) ? random_path(rig, root, TRUE) : g_strdup(root);
  g_autofree char *name = random_name(rig);
  return g_build_filename(directory, name, NULL);
}

static void
op_create(Rig *rig, const char *root)
{
  g_autofree char *path = random_new_path(rig, root);
  g_auto(Fd) fd =
      open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600 | random_int(rig, 0100));
  struct stat st;
  if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
    write_random(rig, fd, 0, random_size(rig));
}

static int
open_random_file(Rig *rig, const char *root)
{
  g_autofree char *path = random_path(rig, root, FALSE);
  struct stat st;
  if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
    return -1;
  return open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
}

static void
op_write(Rig *rig, const char *root)
{
  g_auto(Fd) fd = open_random_file(rig, root);
  struct stat st;
  if (fd >= 0 && fstat(fd, &st) == 0)
    write_random(rig, fd, random_int(rig, st.st_size + 1), random_int(rig, 9000));
}

static void
op_append(Rig *rig, const char *root)
{
  g_auto(Fd) fd = open_random_file(rig, root);
  struct stat st;
  if (fd >= 0 && fstat(fd, &st) == 0)
    write_random(rig, fd, st.st_size + (random_int(rig, 3) ? 0 : random_int(rig, 300000)),
                 random_int(rig, 9000));
}

static void
op_truncate(Rig *rig, const char *root)
{
  g_auto(Fd) fd = open_random_file(rig, root);
  struct stat st;
  if (fd >= 0 && fstat(fd, &st) == 0)
    g_assert_cmpint(ftruncate(fd, random_int(rig, 3) ? random_int(rig, st.st_size + 5000) : 0), ==, 0);
}

static void
op_rename(Rig *rig, const char *root)
{
  g_autofree char *from = random_path(rig, root, FALSE);
  g_autofree char *to = random_int(rig, 2) ? random_new_path(rig, root) : random_path(rig, root, FALSE);
  rig_rename(rig, from, to);
}

/* What an editor does: a new file takes an old one's place. */
static void
op_replace(Rig *rig, const char *root)
{
  g_autofree char *path = random_path(rig, root, FALSE);
  g_autofree char *fresh = g_strconcat(path, "~", NULL);
  struct stat st;
  if (lstat(path, &st) < 0 || S_ISDIR(st.st_mode))
    return;
  g_auto(Fd) fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0)
    return;
  write_random(rig, fd, 0, random_size(rig));
  g_assert_true(rig_rename(rig, fresh, path));
}

static void
op_unlink(Rig *rig, const char *root)
{
  g_autofree char *path = random_path(rig, root, FALSE);
  unlink(path);
}

static void
op_mkdir(Rig *rig, const char *root)
{
  g_autofree char *path = random_new_path(rig, root);
  mkdir(path, 0700 | random_int(rig, 0100));
}

static void
op_rmdir(Rig *rig, const char *root)
{
  g_autofree char *path = random_path(rig, root, FALSE);
  rmdir(path);
}

static void
op_remove_tree(Rig *rig, const char *root)
{
  g_autofree char *path = random_path(rig, root, FALSE);
  g_autofree char *inside = g_strconcat(path, "/", NULL);
  g_autofree char *keep = g_strconcat(root, "/keep", NULL);
  struct stat st;
  if (random_int(rig, 3) == 0 && lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
      !g_str_has_prefix(keep, inside))
    rig_run("rm", "-rf", path, NULL);
}

/* A directory by a file, or the reverse. */
static void
op_change_type(Rig *rig, const char *root)
{
  g_autofree char *path = random_path(rig, root, FALSE);
  struct stat st;
  if (lstat(path, &st) < 0)
    return;
  if (S_ISDIR(st.st_mode)) {
    if (rmdir(path) == 0)
      close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  } else if (unlink(path) == 0) {
    g_assert_cmpint(mkdir(path, 0755), ==, 0);
  }
}

static void
op_chmod(Rig *rig, const char *root)
{
  g_autofree char *path = random_path(rig, root, FALSE);
  struct stat st;
  if (lstat(path, &st) == 0 && !S_ISLNK(st.st_mode))
    chmod(path, random_int(rig, 010000));
}

static void
op_chown(Rig *rig, const char *root)
{
  g_autofree char *path = random_path(rig, root, FALSE);
  if (lchown(path, random_int(rig, 3), random_int(rig, 3)) < 0)
    errno = 0; /* only one id is mapped without root */
}

static void
op_times(Rig *rig, const char *root)
{
  g_autofree char *path = random_path(rig, root, FALSE);
  struct timespec times[2] = {
      {.tv_nsec = UTIME_NOW},
      {.tv_sec = random_int(rig, 2000000000), .tv_nsec = random_int(rig, 1000000000)}};
  utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}

static void
op_symlink(Rig *rig, const char *root)
{
  g_autofree char *path = random_new_path(rig, root);
  g_autofree char *target = random_name(rig);
  if (symlink(target, path) < 0)
    errno = 0;
}

static void
op_fifo(Rig *rig, const char *root)
{
  g_autofree char *path = random_new_path(rig, root);
  mkfifo(path, 0640);
}

static void
op_link(Rig *rig, const char *root)
{
  g_autofree char *from = random_path(rig, root, FALSE);
  g_autofree char *to = random_new_path(rig, root);
  struct stat st;
  if (lstat(from, &st) == 0 && S_ISREG(st.st_mode) && link(from, to) < 0)
    errno = 0;
}

static void
op_xattr(Rig *rig, const char *root)
{
  g_autofree char *path = random_path(rig, root, FALSE);
  char value[32];
  g_snprintf(value, sizeof value, "%d", random_int(rig, 1000));
  struct stat st;
  if (lstat(path, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
    return;
  if (random_int(rig, 3))
    setxattr(path, random_int(rig, 2) ? "user.one" : "user.two", value, strlen(value), 0);
  else
    removexattr(path, "user.one");
}

typedef void (*Operation)(Rig *rig, const char *root);

static const Operation block_operations[] = {
    op_create,   op_create,      op_create,      op_write,   op_write,   op_append, op_append,
    op_truncate, op_rename,      op_rename,      op_replace, op_replace, op_unlink, op_mkdir,
    op_rmdir,    op_remove_tree, op_change_type, op_chmod,   op_chown,   op_times,  op_symlink,
    op_fifo,     op_link,        op_link,        op_xattr,
};

void
moves_block(Rig *rig, const char *root)
{
  block_operations[random_int(rig, G_N_ELEMENTS(block_operations))](rig, root);
}

static const Operation device_operations[] = {
    op_create, op_write,       op_append,      op_truncate, op_replace, op_unlink,  op_mkdir,
    op_rmdir,  op_remove_tree, op_change_type, op_chmod,    op_times,   op_symlink, op_xattr,
};

void
moves_device_anywhere(Rig *rig, const char *root)
{
  spare_fifos = TRUE;
  device_operations[random_int(rig, G_N_ELEMENTS(device_operations))](rig, root);
  spare_fifos = FALSE;
}

void
moves_device(Rig *rig, const char *root)
{
  g_autofree char *path =
      g_strdup_printf("%s/%sD%d", root, random_int(rig, 2) ? "keep/" : "", random_int(rig, 4));
  switch (random_int(rig, 4)) {
  case 0:
    unlink(path);
    break;
  case 1:
    chmod(path, 0600 | random_int(rig, 0100));
    break;
  default: {
    g_auto(Fd) fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct stat st;
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    write_random(rig, fd, random_int(rig, st.st_size + 1), random_size(rig));
  }
  }
}

static void
fill(Rig *rig, const char *root, gboolean links)
{
  g_autofree char *keep = rig_path(root, "keep");
  g_assert_cmpint(mkdir(keep, 0755), ==, 0);
  for (guint i = 0; i < 6; i++)
    op_mkdir(rig, root);
  for (guint i = 0; i < 14; i++)
    op_create(rig, root);
  for (guint i = 0; i < 4; i++)
    moves_device(rig, root);
  for (guint i = 0; links && i < 4; i++)
    op_link(rig, root);
  for (guint i = 0; i < 3; i++) {
    op_symlink(rig, root);
    op_xattr(rig, root);
    op_chmod(rig, root);
    op_fifo(rig, root);
  }
  for (guint i = 0; i < 10; i++)
    op_times(rig, root);
}

void
moves_fill(Rig *rig, const char *root)
{
  fill(rig, root, FALSE);
}

void
moves_fill_linked(Rig *rig, const char *root)
{
  rig->linked = TRUE;
  fill(rig, root, TRUE);
}
