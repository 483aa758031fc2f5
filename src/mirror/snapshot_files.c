/* Descriptors and files of a frozen process, as a checkpoint has them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/snapshot.h"

enum { PIPE_MAX = 1 << 20 };
#define NS_PER_S G_GUINT64_CONSTANT(1000000000)

typedef Doppel__Wire__CheckpointDescriptor Descriptor;
typedef Doppel__Wire__CheckpointFile File;

MirrorSnapshotFiles *
mirror_snapshot_files_new(void)
{
  MirrorSnapshotFiles *files = g_new0(MirrorSnapshotFiles, 1);
  files->numbers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  return files;
}

void
mirror_snapshot_files_free(MirrorSnapshotFiles *files)
{
  if (!files)
    return;
  g_hash_table_unref(files->numbers);
  g_free(files);
}

typedef struct {
  MirrorProcess *process;
  MirrorSnapshotFiles *files;
  Doppel__Wire__CheckpointState *state;
  GArray *sources;
  GError **error;
} Taking;

/* ---- files ---- */

static ProtobufCBinaryData
copy_text(const char *text)
{
  return (ProtobufCBinaryData){strlen(text), (guint8 *)g_strdup(text)};
}

static guint32
number_of(MirrorSnapshotFiles *files, const struct stat *facts, const char *path)
{
  char *name = g_strdup_printf("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %s", (guint64)facts->st_dev,
                               (guint64)facts->st_ino, path);
  gpointer known = g_hash_table_lookup(files->numbers, name);
  if (known) {
    g_free(name);
    return GPOINTER_TO_UINT(known);
  }
  g_hash_table_insert(files->numbers, name, GUINT_TO_POINTER(++files->last));
  return files->last;
}

static gint64
nanoseconds(const struct timespec *time)
{
  return (gint64)time->tv_sec * (gint64)NS_PER_S + time->tv_nsec;
}

/* What has no name ends so in procfs. */
static char *
without_mark(const char *path)
{
  static const char mark[] = " (deleted)";
  gsize length = strlen(path);
  return g_str_has_suffix(path, mark) ? g_strndup(path, length - strlen(mark)) : g_strdup(path);
}

/* The file's place in the state, where it gets one if it has none. */
static guint
add_file(Taking *taking, const char *path, const struct stat *facts, gboolean nameless)
{
  Doppel__Wire__CheckpointState *state = taking->state;
  guint32 number = number_of(taking->files, facts, path);
  for (guint i = 0; i < state->n_file; i++)
    if (state->file[i]->file == number)
      return i;
  g_autofree char *name = without_mark(path);
  File *file = g_new(File, 1);
  doppel__wire__checkpoint_file__init(file);
  file->file = number;
  file->kind =
      nameless ? DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMELESS : DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMED;
  file->path = copy_text(nameless ? name : path);
  file->size = (guint64)facts->st_size;
  file->mtime_ns = nanoseconds(&facts->st_mtim);
  file->mode = facts->st_mode & 07777;
  file->uid = facts->st_uid;
  file->gid = facts->st_gid;
  state->file = g_realloc_n(state->file, state->n_file + 1, sizeof(gpointer));
  state->file[state->n_file++] = file;
  MirrorSnapshotSource source = {.descriptor = -1,
                                 .appended = TRUE,
                                 .ctime_ns = nanoseconds(&facts->st_ctim),
                                 .device = facts->st_dev,
                                 .inode = facts->st_ino};
  g_array_append_val(taking->sources, source);
  return state->n_file - 1;
}

static void
note_writer(Taking *taking, guint place, gboolean appends)
{
  File *file = taking->state->file[place];
  if (file->kind == DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMED)
    file->kind = DOPPEL__WIRE__CHECKPOINT_FILE__KIND__CONTENT;
  g_array_index(taking->sources, MirrorSnapshotSource, place).appended &= appends;
}

static gboolean
add_mapped(Taking *taking, const MirrorLayout *layout)
{
  const char *last = NULL;
  for (guint i = 0; i < layout->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, i);
    struct stat facts;
    if (!mapping->path || (mapping->path == last && mapping->kind != MIRROR_MAP_SHARED_FILE))
      continue;
    if (stat(mapping->path, &facts) < 0)
      return doppel_error_errno(taking->error, "its file %s cannot be reached", mapping->path);
    guint place = add_file(taking, mapping->path, &facts, FALSE);
    if (mapping->kind == MIRROR_MAP_SHARED_FILE) {
      note_writer(taking, place, FALSE);
      g_array_index(taking->sources, MirrorSnapshotSource, place).mapped = TRUE;
    }
    last = mapping->path;
  }
  return TRUE;
}

/* ---- what is no file ---- */

static gboolean
same_description(pid_t one, int number, pid_t other, int other_number)
{
  return syscall(SYS_kcmp, one, other, KCMP_FILE, number, other_number) == 0;
}

static gboolean
is_everywhere(const char *name)
{
  static const char *const names[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    if (strcmp(name, names[i]) == 0)
      return TRUE;
  return FALSE;
}

/* Whether it is one of ours, or the terminal that one of ours is; and which. Of one that is several of them
 * its number tells. */
static gboolean
is_standard(const MirrorProcess *process, const MirrorFile *file,
            Doppel__Wire__CheckpointDescriptor__Kind *kind)
{
  gboolean is[3];
  for (int own = 0; own < 3; own++) {
    char terminal[256] = "";
    is[own] = same_description(getpid(), own, process->pid, file->number);
    if (!is[own] && S_ISCHR(file->device_mode) && isatty(own))
      is[own] = (ttyname_r(own, terminal, sizeof terminal) == 0 && strcmp(terminal, file->name) == 0) ||
                strcmp(file->name, "/dev/tty") == 0;
  }
  if (is[0] && (file->number == 0 || (!is[1] && !is[2])))
    *kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__INPUT;
  else if (is[2] && (file->number == 2 || !is[1]))
    *kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__ERRORS;
  else
    *kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__OUTPUT;
  return is[0] || is[1] || is[2];
}

static guint64
info_field(const char *info, const char *name, int base)
{
  const char *at = info ? strstr(info, name) : NULL;
  return at ? g_ascii_strtoull(at + strlen(name), NULL, base) : 0;
}

/* "it_value: (S, NS)" */
static guint64
info_time(const char *info, const char *name)
{
  const char *at = info ? strstr(info, name) : NULL, *open = at ? strchr(at, '(') : NULL;
  char *end = NULL;
  guint64 seconds = open ? g_ascii_strtoull(open + 1, &end, 10) : 0;
  return end && *end == ',' ? seconds * NS_PER_S + g_ascii_strtoull(end + 1, NULL, 10) : 0;
}

static void
read_timer(Descriptor *descriptor, const char *info)
{
  gboolean over = info_field(info, "\nticks: ", 10) > 0;
  descriptor->value = info_field(info, "clockid: ", 10);
  descriptor->next_ns = info_time(info, "it_value: ");
  descriptor->interval_ns = info_time(info, "it_interval: ");
  if (over) /* what it has told already, and nobody has read, it tells at once */
    descriptor->next_ns = 1;
}

static void
read_watches(Descriptor *descriptor, const char *info)
{
  for (const char *at = info; at && (at = strstr(at, "tfd:")); at++) {
    Doppel__Wire__CheckpointWatch *watch = g_new(Doppel__Wire__CheckpointWatch, 1);
    doppel__wire__checkpoint_watch__init(watch);
    watch->number = (gint32)info_field(at, "tfd:", 10);
    watch->events = (guint32)info_field(at, "events:", 16);
    watch->data = info_field(at, "data:", 16);
    descriptor->watch = g_realloc_n(descriptor->watch, descriptor->n_watch + 1, sizeof(gpointer));
    descriptor->watch[descriptor->n_watch++] = watch;
  }
}

/* What waits in a pipe, which stays in it: tee(2). */
static gboolean
read_pipe(Taking *taking, Descriptor *descriptor)
{
  int waiting = 0, ends[2] = {-1, -1};
  g_auto(Fd) process = (int)syscall(SYS_pidfd_open, taking->process->pid, 0);
  g_auto(Fd) own = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, descriptor->number, 0);
  if (own < 0 || ioctl(own, FIONREAD, &waiting) < 0 || (waiting > 0 && pipe2(ends, O_CLOEXEC) < 0))
    return doppel_error_errno(taking->error, "what waits in its pipe %d cannot be read", descriptor->number);
  gboolean done = waiting == 0;
  if (waiting > 0 && waiting <= PIPE_MAX && fcntl(ends[1], F_SETPIPE_SZ, MAX(waiting, 1 << 16)) >= 0 &&
      tee(own, ends[1], (size_t)waiting, SPLICE_F_NONBLOCK) == waiting) {
    descriptor->content = (ProtobufCBinaryData){(gsize)waiting, g_malloc((gsize)waiting)};
    done = io_read_all(ends[0], descriptor->content.data, (gsize)waiting) == waiting;
  }
  io_close(&ends[0]);
  io_close(&ends[1]);
  return done || doppel_error_set(taking->error, DOPPEL_ERROR_UNSUPPORTED,
                                  "what waits in its pipe %d cannot be read", descriptor->number);
}

static gboolean
refuse(Taking *taking, const MirrorFile *file)
{
  const char *what = S_ISSOCK(file->device_mode)   ? "a socket"
                     : S_ISFIFO(file->device_mode) ? "a pipe to another process"
                     : S_ISCHR(file->device_mode)  ? "a device"
                     : S_ISBLK(file->device_mode)  ? "a device"
                                                   : "nothing that can be carried";
  return doppel_error_set(taking->error, DOPPEL_ERROR_UNSUPPORTED, "its descriptor %d (%s) is %s",
                          file->number, file->name ? file->name : "?", what);
}

/* Of a pipe, both of whose ends the program has. */
static gboolean
has_both_ends(const MirrorFiles *files, const char *name)
{
  gboolean reads = FALSE, writes = FALSE;
  for (guint i = 0; i < files->len; i++) {
    const MirrorFile *file = files->pdata[i];
    if (file->kind == MIRROR_FILE_PIN && g_strcmp0(file->name, name) == 0) {
      reads |= (file->device_flags & O_ACCMODE) != O_WRONLY;
      writes |= (file->device_flags & O_ACCMODE) != O_RDONLY;
    }
  }
  return reads && writes;
}

static gboolean
take_kernel_object(Taking *taking, const MirrorFile *file, Descriptor *descriptor)
{
  char path[64];
  snprintf(path, sizeof path, "fdinfo/%d", file->number);
  g_autofree char *info = io_read_file_at(taking->process->directory, path, 16 << 20);
  if (strcmp(file->name, "anon_inode:[eventfd]") == 0) {
    descriptor->kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__EVENTS;
    descriptor->value = info_field(info, "eventfd-count:", 16);
    descriptor->offset = info_field(info, "eventfd-semaphore:", 10) != 0;
  } else if (strcmp(file->name, "anon_inode:[timerfd]") == 0) {
    descriptor->kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__TIMER;
    read_timer(descriptor, info);
  } else if (strcmp(file->name, "anon_inode:[eventpoll]") == 0) {
    descriptor->kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__POLL;
    read_watches(descriptor, info);
  } else {
    return refuse(taking, file);
  }
  return TRUE;
}

static gboolean
take_thing(Taking *taking, const MirrorFiles *files, const MirrorFile *file, Descriptor *descriptor)
{
  if (!file->name)
    return refuse(taking, file);
  if (is_everywhere(file->name)) {
    descriptor->kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__DEVICE;
    descriptor->path = copy_text(file->name);
    return TRUE;
  }
  if (is_standard(taking->process, file, &descriptor->kind)) {
    descriptor->shares = -1;
    return TRUE;
  }
  if (S_ISFIFO(file->device_mode) && g_str_has_prefix(file->name, "pipe:[") &&
      has_both_ends(files, file->name)) {
    descriptor->kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__PIPE;
    descriptor->value = g_ascii_strtoull(file->name + strlen("pipe:["), NULL, 10);
    return (file->device_flags & O_ACCMODE) == O_WRONLY || read_pipe(taking, descriptor);
  }
  return take_kernel_object(taking, file, descriptor);
}

/* ---- descriptors ---- */

static gboolean
take_file(Taking *taking, const MirrorFile *file, const char *path, Descriptor *descriptor)
{
  char name[64];
  struct stat facts;
  snprintf(name, sizeof name, "fd/%d", file->number);
  if (fstatat(taking->process->directory, name, &facts, 0) < 0)
    return doppel_error_errno(taking->error, "its descriptor %d cannot be looked at", file->number);
  if (S_ISDIR(facts.st_mode)) {
    descriptor->kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__DIRECTORY;
    descriptor->path = copy_text(path);
    return !g_str_has_suffix(path, " (deleted)") ||
           doppel_error_set(taking->error, DOPPEL_ERROR_UNSUPPORTED, "its directory %s was removed", path);
  }
  guint place = add_file(taking, path, &facts, file->kind == MIRROR_FILE_PIN);
  descriptor->kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__FILE;
  descriptor->file = taking->state->file[place]->file;
  MirrorSnapshotSource *source = &g_array_index(taking->sources, MirrorSnapshotSource, place);
  source->descriptor = file->number;
  if ((descriptor->flags & O_ACCMODE) != O_RDONLY)
    note_writer(taking, place, (descriptor->flags & O_APPEND) != 0);
  return TRUE;
}

static gboolean
is_nameless_file(const MirrorFile *file)
{
  return file->kind == MIRROR_FILE_PIN && S_ISREG(file->device_mode) && file->name && *file->name == '/' &&
         g_str_has_suffix(file->name, " (deleted)");
}

/* Offset and flags of what the list of pins does not tell. */
static void
read_position(Taking *taking, const MirrorFile *file, Descriptor *descriptor)
{
  char path[64];
  snprintf(path, sizeof path, "fdinfo/%d", file->number);
  g_autofree char *info = io_read_file_at(taking->process->directory, path, 1 << 16);
  descriptor->offset = info_field(info, "pos:", 10);
}

static int
shares_with(Taking *taking, const MirrorFiles *files, guint index)
{
  const MirrorFile *file = files->pdata[index];
  if (file->kind != MIRROR_FILE_PIN)
    return file->shares;
  for (guint i = 0; i < index; i++) {
    const MirrorFile *other = files->pdata[i];
    if (other->kind == MIRROR_FILE_PIN && g_strcmp0(other->name, file->name) == 0 &&
        same_description(taking->process->pid, other->number, taking->process->pid, file->number))
      return other->number;
  }
  return -1;
}

static gboolean
take_descriptor(Taking *taking, const MirrorFiles *files, guint index)
{
  const MirrorFile *file = files->pdata[index];
  Doppel__Wire__CheckpointState *state = taking->state;
  Descriptor *descriptor = g_new(Descriptor, 1);
  doppel__wire__checkpoint_descriptor__init(descriptor);
  state->descriptor = g_realloc_n(state->descriptor, state->n_descriptor + 1, sizeof(gpointer));
  state->descriptor[state->n_descriptor++] = descriptor;
  descriptor->number = file->number;
  descriptor->close_on_exec = file->close_on_exec;
  descriptor->shares = shares_with(taking, files, index);
  descriptor->flags = file->kind == MIRROR_FILE_PIN ? file->device_flags : file->flags;
  descriptor->offset = file->kind == MIRROR_FILE_REPLICA ? file->offset : 0;
  if (file->kind == MIRROR_FILE_SIGNALS) {
    descriptor->kind = DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__SIGNALS;
    descriptor->value = file->offset;
    return TRUE;
  }
  if (file->kind == MIRROR_FILE_REPLICA)
    return take_file(taking, file, file->path, descriptor);
  if (!is_nameless_file(file))
    return take_thing(taking, files, file, descriptor);
  read_position(taking, file, descriptor);
  return take_file(taking, file, file->name, descriptor);
}

static gboolean
never_inherited(int number, void *user)
{
  return FALSE;
}

gboolean
mirror_snapshot_descriptors(MirrorProcess *process, const MirrorLayout *layout, MirrorSnapshotFiles *files,
                            Doppel__Wire__CheckpointState *state, GArray *sources, GError **error)
{
  Taking taking = {.process = process, .files = files, .state = state, .sources = sources, .error = error};
  g_autoptr(GPtrArray) list = mirror_files_read_primary(process, never_inherited, NULL, error);
  if (!list)
    return FALSE;
  for (guint i = 0; i < list->len; i++)
    if (!take_descriptor(&taking, list, i))
      return FALSE;
  return add_mapped(&taking, layout);
}
