#include "mirror/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/files_memory.h"

enum { FILES_MAX = 1 << 16, PATH_BYTES_MAX = 4096 };

static void
file_free(gpointer data)
{
  MirrorFile *file = data;
  g_free(file->path);
  g_free(file->name);
  g_clear_pointer(&file->content, g_bytes_unref);
  g_free(file);
}

MirrorFiles *
mirror_files_new(void)
{
  return g_ptr_array_new_with_free_func(file_free);
}

static int
by_number(gconstpointer a, gconstpointer b)
{
  const MirrorFile *first = *(MirrorFile *const *)a, *second = *(MirrorFile *const *)b;
  return first->number - second->number;
}

/* flags and offset from fdinfo. */
static gboolean
read_info(MirrorProcess *process, MirrorFile *file)
{
  char path[64];
  snprintf(path, sizeof path, "fdinfo/%d", file->number);
  g_autofree char *text = io_read_file_at(process->directory, path, 1 << 16);
  const char *offset = text ? strstr(text, "pos:") : NULL, *flags = text ? strstr(text, "flags:") : NULL;
  if (!offset || !flags)
    return FALSE;
  file->offset = g_ascii_strtoull(offset + 4, NULL, 10);
  guint32 all = g_ascii_strtoull(flags + 6, NULL, 8);
  file->close_on_exec = (all & O_CLOEXEC) != 0;
  file->flags = all & ~(guint32)O_CLOEXEC;
  const char *mask = strstr(text, "sigmask:");
  if (mask)
    file->offset = g_ascii_strtoull(mask + 8, NULL, 16);
  return TRUE;
}

static gint32
pin_in_name(const char *link)
{
  static const char prefix[] = "/memfd:" MIRROR_PIN_NAME;
  if (!g_str_has_prefix(link, prefix))
    return -1;
  return atoi(link + sizeof prefix - 1);
}

static gboolean
named_file(MirrorProcess *process, int number, const char *link)
{
  char path[64];
  struct stat facts;
  snprintf(path, sizeof path, "fd/%d", number);
  if (*link != '/' || g_str_has_suffix(link, " (deleted)") || g_str_has_prefix(link, "/dev/") ||
      g_str_has_prefix(link, "/proc/") || g_str_has_prefix(link, "/sys/") ||
      g_str_has_prefix(link, "/memfd:"))
    return FALSE;
  return fstatat(process->directory, path, &facts, 0) == 0 &&
         (S_ISREG(facts.st_mode) || S_ISDIR(facts.st_mode));
}

typedef struct {
  gboolean primary;
  MirrorFileInherited inherited;
  void *user;
} Reading;

static MirrorFile *
read_one(MirrorProcess *process, int number, const Reading *reading)
{
  char name[64], link[PATH_BYTES_MAX + 64];
  snprintf(name, sizeof name, "fd/%d", number);
  ssize_t length = readlinkat(process->directory, name, link, sizeof link - 1);
  if (length < 0)
    return NULL;
  link[length] = '\0';
  MirrorFile *file = g_new0(MirrorFile, 1);
  *file = (MirrorFile){.number = number, .shares = -1, .pin = -1};
  if (!read_info(process, file)) {
    g_free(file);
    return NULL;
  }
  if (strcmp(link, "anon_inode:[signalfd]") == 0) {
    file->kind = MIRROR_FILE_SIGNALS;
    return file;
  }
  gint32 pin = reading->primary ? number : pin_in_name(link);
  if (reading->primary ? reading->inherited(number, reading->user) || !named_file(process, number, link)
                       : pin >= 0) {
    struct stat facts;
    file->kind = MIRROR_FILE_PIN;
    file->pin = pin;
    file->offset = 0;
    if (reading->primary && fstatat(process->directory, name, &facts, 0) == 0) {
      file->name = g_strdup(link);
      file->device_mode = facts.st_mode;
      file->device_flags = file->flags;
    }
    file->flags = 0;
    return file;
  }
  file->kind =
      reading->primary || named_file(process, number, link) ? MIRROR_FILE_REPLICA : MIRROR_FILE_LOCAL;
  file->path = g_strdup(link);
  return file;
}

static void
note_sharing(MirrorProcess *process, MirrorFiles *files)
{
  for (guint i = 0; i < files->len; i++) {
    MirrorFile *file = files->pdata[i];
    if (file->kind != MIRROR_FILE_REPLICA && file->kind != MIRROR_FILE_LOCAL)
      continue;
    for (guint k = 0; k < i; k++) {
      const MirrorFile *other = files->pdata[k];
      if (other->kind == file->kind && other->shares < 0 && other->offset == file->offset &&
          strcmp(other->path, file->path) == 0 &&
          syscall(SYS_kcmp, process->pid, process->pid, KCMP_FILE, other->number, file->number) == 0) {
        file->shares = other->number;
        break;
      }
    }
  }
}

static MirrorFiles *
read_all(MirrorProcess *process, const Reading *reading, GError **error)
{
  MirrorFiles *known = mirror_files_recall(process, reading->inherited, reading->user);
  if (known)
    return known;
  int fd = openat(process->directory, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
  if (!directory) {
    doppel_error_errno(error, "listing the descriptors of process %d", process->pid);
    return NULL;
  }
  MirrorFiles *files = mirror_files_new();
  for (struct dirent *entry; (entry = readdir(directory));) {
    if (!g_ascii_isdigit(*entry->d_name))
      continue;
    MirrorFile *file = read_one(process, atoi(entry->d_name), reading);
    if (file)
      g_ptr_array_add(files, file);
  }
  closedir(directory);
  g_ptr_array_sort(files, by_number);
  note_sharing(process, files);
  mirror_files_remember(process, files, reading->inherited, reading->user);
  return files;
}

MirrorFiles *
mirror_files_read_primary(MirrorProcess *process, MirrorFileInherited inherited, void *user, GError **error)
{
  return read_all(process, &(Reading){.primary = TRUE, .inherited = inherited, .user = user}, error);
}

MirrorFiles *
mirror_files_read_mirror(MirrorProcess *process, GError **error)
{
  return read_all(process, &(Reading){.primary = FALSE}, error);
}

gint32
mirror_files_pin_of(int proc_fd, pid_t pid, int number)
{
  char name[64], link[64];
  snprintf(name, sizeof name, "%d/fd/%d", pid, number);
  ssize_t length = readlinkat(proc_fd, name, link, sizeof link - 1);
  if (length < 0)
    return -1;
  link[length] = '\0';
  return pin_in_name(link);
}

/* ---- packed: fixed head, then the path ---- */

typedef struct {
  gint32 number, kind, close_on_exec, shares, pin;
  guint32 flags, path_length, has_content;
  guint64 offset, content_length;
} PackedFile;

void
mirror_files_pack(const MirrorFiles *files, GByteArray *into)
{
  for (guint i = 0; i < files->len; i++) {
    const MirrorFile *file = files->pdata[i];
    PackedFile packed = {.number = file->number,
                         .kind = file->kind,
                         .close_on_exec = file->close_on_exec,
                         .shares = file->shares,
                         .pin = file->pin,
                         .flags = file->flags,
                         .path_length = file->path ? strlen(file->path) : 0,
                         .has_content = file->content != NULL,
                         .content_length = file->content ? g_bytes_get_size(file->content) : 0,
                         .offset = file->offset};
    g_byte_array_append(into, (guint8 *)&packed, sizeof packed);
    if (file->path)
      g_byte_array_append(into, (guint8 *)file->path, packed.path_length);
    if (file->content)
      g_byte_array_append(into, g_bytes_get_data(file->content, NULL), packed.content_length);
  }
}

static gboolean
packed_right(const PackedFile *packed, int least, gsize left)
{
  return packed->number >= least && packed->number < FILES_MAX && packed->kind >= 0 &&
         packed->kind <= MIRROR_FILE_LOCAL && packed->shares >= -1 && packed->shares < packed->number &&
         packed->path_length <= PATH_BYTES_MAX && packed->path_length <= left && packed->pin >= -1 &&
         packed->content_length <= left - packed->path_length &&
         (packed->content_length == 0 || packed->has_content) && packed->pin < FILES_MAX &&
         (packed->kind != MIRROR_FILE_PIN || packed->pin >= 0) &&
         (packed->kind != MIRROR_FILE_REPLICA || packed->path_length > 0) &&
         (packed->kind == MIRROR_FILE_SIGNALS || packed->offset <= G_MAXINT64);
}

MirrorFiles *
mirror_files_unpack(const guint8 *bytes, gsize length, GError **error)
{
  g_autoptr(GPtrArray) files = mirror_files_new();
  int least = 0;
  for (gsize at = 0; at < length;) {
    PackedFile packed = {.number = -1};
    if (length - at >= sizeof packed)
      memcpy(&packed, bytes + at, sizeof packed);
    at += sizeof packed;
    const char *path = (const char *)bytes + at;
    if (at > length || !packed_right(&packed, least, length - at) || memchr(path, 0, packed.path_length) ||
        (packed.kind == MIRROR_FILE_REPLICA && *path != '/')) {
      doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a list of descriptors that no process has");
      return NULL;
    }
    MirrorFile *file = g_new0(MirrorFile, 1);
    *file = (MirrorFile){.number = packed.number,
                         .kind = packed.kind,
                         .close_on_exec = packed.close_on_exec != 0,
                         .shares = packed.shares,
                         .flags = packed.flags,
                         .offset = packed.offset,
                         .pin = packed.pin,
                         .path = packed.path_length ? g_strndup(path, packed.path_length) : NULL};
    g_ptr_array_add(files, file);
    at += packed.path_length;
    if (packed.has_content)
      file->content = g_bytes_new(bytes + at, packed.content_length);
    at += packed.content_length;
    least = packed.number + 1;
  }
  return g_steal_pointer(&files);
}

/* ---- giving a process descriptors ---- */

static const MirrorFile *
find(const MirrorFiles *files, int number)
{
  for (guint i = 0; i < files->len; i++)
    if (((MirrorFile *)files->pdata[i])->number == number)
      return files->pdata[i];
  return NULL;
}

static gboolean
call(MirrorProcess *process, const char *what, int number, gint64 nr, guint64 a, guint64 b, guint64 c,
     guint64 d, gint64 *result, GError **error)
{
  const guint64 arguments[6] = {a, b, c, d};
  if (!mirror_inject_one(mirror_thread_leader(process), nr, arguments, result, error))
    return FALSE;
  if (*result >= 0)
    return TRUE;
  errno = -*result;
  return doppel_error_errno(error, "%s (descriptor %d)", what, number);
}

/* Flags that only mean something while a file is being opened, and are forgotten then. */
static guint32
reopening_flags(guint32 flags)
{
  return flags & ~(guint32)(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY);
}

static gboolean
open_replica(MirrorProcess *process, const MirrorFile *file, gint64 *opened, GError **error)
{
  guint64 room = mirror_scratch_bytes(process);
  gint64 moved;
  if (!mirror_memory_write(process, room, file->path, strlen(file->path) + 1, error))
    return FALSE;
  g_autofree char *what = g_strdup_printf("opening %s", file->path);
  if (!call(process, what, file->number, SYS_openat, AT_FDCWD, room, reopening_flags(file->flags) | O_CLOEXEC,
            0, opened, error))
    return FALSE;
  if (file->offset && !(file->flags & O_PATH))
    return call(process, what, file->number, SYS_lseek, *opened, file->offset, SEEK_SET, 0, &moved, error);
  return TRUE;
}

static gboolean
open_signals(MirrorProcess *process, const MirrorFile *file, gint64 *opened, GError **error)
{
  guint64 room = mirror_scratch_bytes(process), mask = file->offset;
  return mirror_memory_write(process, room, &mask, sizeof mask, error) &&
         call(process, "making a signalfd", file->number, SYS_signalfd4, (guint64)-1, room, 8,
              O_CLOEXEC | (file->flags & O_NONBLOCK), opened, error);
}

static gboolean
open_placeholder(MirrorProcess *process, const MirrorFile *file, gint64 *opened, GError **error)
{
  char name[64];
  int length = snprintf(name, sizeof name, MIRROR_PIN_NAME "%d", file->pin);
  guint64 room = mirror_scratch_bytes(process);
  return mirror_memory_write(process, room, name, length + 1, error) &&
         call(process, "making a placeholder", file->number, SYS_memfd_create, room, MFD_CLOEXEC, 0, 0,
              opened, error);
}

/* Puts what is open as `opened` under the number wanted. */
static gboolean
settle(MirrorProcess *process, gint64 opened, int number, gboolean close_on_exec, gboolean keep,
       GError **error)
{
  gint64 result;
  if (opened == number)
    return call(process, "setting flags", number, SYS_fcntl, number, F_SETFD, close_on_exec ? FD_CLOEXEC : 0,
                0, &result, error);
  return call(process, "placing", number, SYS_dup3, opened, number, close_on_exec ? O_CLOEXEC : 0, 0, &result,
              error) &&
         (keep || call(process, "closing", opened, SYS_close, opened, 0, 0, 0, &result, error));
}

static gboolean
same(const MirrorFile *have, const MirrorFile *want)
{
  return have && have->kind == want->kind && have->kind != MIRROR_FILE_LOCAL &&
         (have->kind != MIRROR_FILE_SIGNALS || have->offset == want->offset) &&
         have->close_on_exec == want->close_on_exec && have->shares == want->shares &&
         have->flags == want->flags && have->pin == want->pin && g_strcmp0(have->path, want->path) == 0;
}

static gboolean
close_others(MirrorProcess *process, const MirrorFiles *have, const MirrorFiles *want, GError **error)
{
  gint64 result;
  for (guint i = 0; i < have->len; i++) {
    int number = ((MirrorFile *)have->pdata[i])->number;
    if (!find(want, number) && !call(process, "closing", number, SYS_close, number, 0, 0, 0, &result, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
mirror_files_apply_mirror(MirrorProcess *process, const MirrorFiles *files, GError **error)
{
  g_autoptr(GPtrArray) have = mirror_files_read_mirror(process, error);
  gint64 opened, result;
  if (!have || !close_others(process, have, files, error))
    return FALSE;
  for (guint i = 0; i < files->len; i++) {
    const MirrorFile *file = files->pdata[i], *now = find(have, file->number);
    if (same(now, file)) {
      if (now->kind == MIRROR_FILE_REPLICA && now->offset != file->offset && file->shares < 0 &&
          !call(process, "positioning", file->number, SYS_lseek, file->number, file->offset, SEEK_SET, 0,
                &result, error))
        return FALSE;
      continue;
    }
    if (file->shares >= 0) {
      if (!settle(process, file->shares, file->number, file->close_on_exec, TRUE, error))
        return FALSE;
      continue;
    }
    if (!(file->kind == MIRROR_FILE_PIN       ? open_placeholder(process, file, &opened, error)
          : file->kind == MIRROR_FILE_SIGNALS ? open_signals(process, file, &opened, error)
                                              : open_replica(process, file, &opened, error)) ||
        !settle(process, opened, file->number, file->close_on_exec, FALSE, error))
      return FALSE;
  }
  return TRUE;
}

/* The lowest number that neither side of the change uses: there the new table is laid out first. */
static int
above_all(const MirrorFiles *have, const MirrorFiles *want)
{
  int above = 3;
  for (int side = 0; side < 2; side++) {
    const MirrorFiles *files = side ? want : have;
    for (guint i = 0; i < files->len; i++)
      above =
          MAX(above, MAX(((MirrorFile *)files->pdata[i])->number, ((MirrorFile *)files->pdata[i])->pin) + 1);
  }
  return above;
}

static gboolean
never_inherited(int number, void *user)
{
  return FALSE;
}

/* In place already: a pin under its own number, or a file whose description is the one that is open there. */
static gboolean
in_place(const MirrorFile *have, const MirrorFile *want)
{
  if (!have || have->close_on_exec != want->close_on_exec)
    return FALSE;
  if (want->kind == MIRROR_FILE_PIN)
    return want->pin == want->number;
  return same(have, want);
}

static gboolean
move_above(MirrorProcess *process, int number, gint64 from, int above, gboolean close_it, gint64 *staged,
           GError **error)
{
  gint64 result;
  return call(process, "staging", number, SYS_fcntl, from, F_DUPFD_CLOEXEC, above, 0, staged, error) &&
         (!close_it || call(process, "closing", from, SYS_close, from, 0, 0, 0, &result, error));
}

/* A pipe comes with both its ends; whichever the program has of them is placed. */
static gboolean
stage_object(MirrorProcess *process, const MirrorFiles *files, guint index, int above, gint64 *staged,
             GError **error)
{
  const MirrorFile *file = files->pdata[index];
  gint64 made, other, result;
  if (!mirror_object_make(process, file, &made, &other, error) ||
      !move_above(process, file->number, made, above, TRUE, &staged[index], error))
    return FALSE;
  if (other < 0)
    return TRUE;
  for (guint i = 0; i < files->len; i++) {
    const MirrorFile *end = files->pdata[i];
    if (end->kind == MIRROR_FILE_LOCAL && end->shares < 0 && staged[i] < 0 &&
        strcmp(end->path, file->path) == 0)
      return move_above(process, end->number, other, above, TRUE, &staged[i], error);
  }
  return call(process, "closing", other, SYS_close, other, 0, 0, 0, &result, error);
}

gboolean
mirror_files_apply_primary(MirrorProcess *process, const MirrorFiles *files, GError **error)
{
  g_autoptr(GPtrArray) have = mirror_files_read_primary(process, never_inherited, NULL, error);
  if (!have)
    return FALSE;
  int above = above_all(have, files);
  g_autofree gint64 *staged = g_new(gint64, files->len + 1);
  gint64 result;
  for (guint i = 0; i < files->len; i++)
    staged[i] = -1;
  for (guint i = 0; i < files->len; i++) {
    const MirrorFile *file = files->pdata[i], *now = find(have, file->number);
    if (in_place(now, file)) {
      if (file->kind == MIRROR_FILE_REPLICA && file->shares < 0 && now->offset != file->offset &&
          !call(process, "positioning", file->number, SYS_lseek, file->number, file->offset, SEEK_SET, 0,
                &result, error))
        return FALSE;
      continue;
    }
    if (file->shares >= 0 || staged[i] >= 0)
      continue;
    if (file->kind == MIRROR_FILE_LOCAL) {
      if (!stage_object(process, files, i, above, staged, error))
        return FALSE;
      continue;
    }
    gint64 from = file->pin;
    gboolean opened = file->kind != MIRROR_FILE_PIN;
    if (opened && !(file->kind == MIRROR_FILE_SIGNALS ? open_signals(process, file, &from, error)
                                                      : open_replica(process, file, &from, error)))
      return FALSE;
    if (!move_above(process, file->number, from, above, opened, &staged[i], error))
      return FALSE;
  }
  for (guint i = 0; i < files->len; i++) {
    const MirrorFile *file = files->pdata[i];
    if (staged[i] >= 0 && !settle(process, staged[i], file->number, file->close_on_exec, FALSE, error))
      return FALSE;
    if (file->shares >= 0 && !in_place(find(have, file->number), file) &&
        !settle(process, file->shares, file->number, file->close_on_exec, TRUE, error))
      return FALSE;
  }
  return close_others(process, have, files, error);
}
