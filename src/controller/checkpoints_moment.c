/* What is read while the program stands still, into room that is there already. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "controller/checkpoints.h"
#include "replica/message.h"

enum { PAGE = CHECKPOINT_PAGE, ROOM_LEAST = 2 << 20, ROOM_FIRST_MOST = 128 << 20 };
#define COPY_MAX (G_GUINT64_CONSTANT(1) << 30)     /* bytes of one file that are read in a pause */
#define RACY_NS  (G_GINT64_CONSTANT(20) * 1000000) /* within so long two changes may have one time */

/* ---- the room ---- */

static gboolean
room_grow(CheckpointsRoom *room, guint64 size, GError **error)
{
  gboolean first = !room->bytes;
  void *bytes = ftruncate(room->file, (off_t)size) < 0 ? MAP_FAILED
                : first ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, room->file, 0)
                        : mremap(room->bytes, room->size, size, MREMAP_MAYMOVE);
  if (bytes == MAP_FAILED)
    return doppel_error_errno(error, "no room for a checkpoint of %" G_GUINT64_FORMAT " MB", size >> 20);
  room->bytes = bytes;
  room->size = size;
  return TRUE;
}

gboolean
checkpoints_room_open(CheckpointsRoom *room, guint64 size, GError **error)
{
  room->file = memfd_create("checkpoint", MFD_CLOEXEC);
  room->pieces = g_array_new(FALSE, FALSE, sizeof(CourierPiece));
  room->files = g_array_new(FALSE, TRUE, sizeof(CourierFile));
  room->used = PAGE; /* the seal's */
  if (room->file < 0)
    return doppel_error_errno(error, "no room for a checkpoint");
  return room_grow(room, (size + 2 * PAGE) & ~(guint64)(PAGE - 1), error);
}

void
checkpoints_room_clear(CheckpointsRoom *room)
{
  if (room->bytes)
    munmap(room->bytes, room->size);
  io_close(&room->file);
  g_clear_pointer(&room->pieces, g_array_unref);
  g_clear_pointer(&room->files, g_array_unref);
}

/* Where so many bytes go; 0 with an error. */
static guint64
room_take(CheckpointsRoom *room, guint64 length, GError **error)
{
  guint64 at = room->used, end = at + ((length + PAGE - 1) & ~(guint64)(PAGE - 1));
  if (end > room->size && !room_grow(room, end + end / 2, error))
    return 0;
  room->used = end;
  return at;
}

static gboolean
room_append(CheckpointsRoom *room, const void *bytes, guint64 length, guint64 *at, GError **error)
{
  *at = room_take(room, length, error);
  if (*at && length)
    memcpy(room->bytes + *at, bytes, length);
  return *at != 0;
}

/* What writable files there are: the first time all of them are read. */
static guint64
sum_files(Controller *controller)
{
  guint64 sum = 0;
  int fd = openat(controller->process->directory, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    struct stat facts, link;
    if (fstatat(fd, entry->d_name, &facts, 0) == 0 && S_ISREG(facts.st_mode) &&
        fstatat(fd, entry->d_name, &link, AT_SYMLINK_NOFOLLOW) == 0 && (link.st_mode & 0200))
      sum += (guint64)facts.st_size;
  }
  if (directory)
    closedir(directory);
  return sum;
}

guint64
checkpoints_guess_room(Controller *controller)
{
  const Checkpoints *checkpoints = controller->checkpoints;
  guint64 most = checkpoints->room ? checkpoints->room + checkpoints->room / 4
                                   : MIN(sum_files(controller), ROOM_FIRST_MOST) + ROOM_LEAST;
  return MAX(most, ROOM_LEAST) + ROOM_LEAST / 2;
}

/* ---- the last round ---- */

/* Where nothing can be read is nothing of the program's: past the end of a mapped file. */
static gboolean
read_piece(Controller *controller, CheckpointsRoom *room, guint64 start, guint64 length, GError **error)
{
  CourierPiece piece = {start, length, room_take(room, length, error)};
  if (!piece.offset)
    return FALSE;
  if (mirror_memory_read_present(controller->process, start, room->bytes + piece.offset, length, NULL)) {
    g_array_append_val(room->pieces, piece);
    return TRUE;
  }
  room->used = piece.offset;
  if (length > PAGE) {
    guint64 half = length / 2 & ~(guint64)(PAGE - 1);
    return read_piece(controller, room, start, half, error) &&
           read_piece(controller, room, start + half, length - half, error);
  }
  piece.offset = 0;
  g_array_append_val(room->pieces, piece);
  return TRUE;
}

/* Of what the courier could not read, the part that is there still. */
static gboolean
read_missed(Controller *controller, CheckpointsRoom *room, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  for (guint i = 0; i < checkpoints->layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(checkpoints->layout->areas, MirrorMapping, i);
    MirrorRange part;
    for (guint64 at = area->start; area->kind != MIRROR_MAP_SHARED_FILE &&
                                   mirror_ranges_meet(checkpoints->missed, at, area->end, &part);
         at = part.end)
      if (!read_piece(controller, room, part.start, part.end - part.start, error))
        return FALSE;
  }
  return TRUE;
}

static gboolean
read_memory(Controller *controller, CheckpointsRoom *room, const GArray *runs, GError **error)
{
  for (guint pass = 0; pass < 2; pass++)
    for (guint i = 0; i < runs->len; i++) {
      const MirrorRun *run = &g_array_index(runs, MirrorRun, i);
      CourierPiece hole = {run->address, run->length, 0};
      if ((run->kind == MIRROR_RUN_HOLE) != (pass == 0))
        continue;
      if (pass == 0)
        g_array_append_val(room->pieces, hole);
      else if (!read_piece(controller, room, run->address, run->length, error))
        return FALSE;
    }
  return read_missed(controller, room, error);
}

static gint64
real_ns(void)
{
  return g_get_real_time() * 1000;
}

static gboolean
is_unchanged(const CheckpointsFile *known, const CheckpointFile *file, const MirrorSnapshotSource *source)
{
  return known && !source->mapped && known->size == file->size && known->device == source->device &&
         known->inode == source->inode && known->mtime_ns == file->mtime_ns &&
         known->ctime_ns == source->ctime_ns && known->ctime_ns < known->read_ns - RACY_NS;
}

static int
open_source(Controller *controller, const CheckpointFile *file, const MirrorSnapshotSource *source,
            GError **error)
{
  char name[64];
  g_autofree char *path = g_strndup((const char *)file->path.data, file->path.len);
  snprintf(name, sizeof name, "fd/%d", source->descriptor);
  int fd = source->descriptor >= 0 ? openat(controller->process->directory, name, O_RDONLY | O_CLOEXEC)
                                   : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    doppel_error_errno(error, "its file %s cannot be read", path);
  return fd;
}

static gboolean
copy_file(Controller *controller, CheckpointsRoom *room, const CheckpointFile *file,
          const MirrorSnapshotSource *source, CourierFile *how, GError **error)
{
  g_auto(Fd) fd = open_source(controller, file, source, error);
  guint64 length = file->size - how->from;
  if (length > COPY_MAX)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "its file %.*s changes in place, and is too large to be read while it stands still",
        (int)file->path.len, file->path.data);
  how->offset = fd < 0 ? 0 : room_take(room, length, error);
  if (!how->offset)
    return FALSE;
  for (guint64 done = 0; done < length;) {
    ssize_t got = pread(fd, room->bytes + how->offset + done, length - done, (off_t)(how->from + done));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return doppel_error_set(error, DOPPEL_ERROR_FAILED, "its file %.*s is being changed by others",
                              (int)file->path.len, file->path.data);
    done += (guint64)got;
  }
  return TRUE;
}

static gboolean
take_file(Controller *controller, CheckpointsRoom *room, const CheckpointFile *file,
          const MirrorSnapshotSource *source, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  const CheckpointsFile *known = g_hash_table_lookup(checkpoints->known, GUINT_TO_POINTER(file->file));
  CourierFile how = {.how = COURIER_FILE_NAMED};
  gint64 began = clock_now_ns();
  if (file->kind != DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMED) {
    how.how = is_unchanged(known, file, source) ? COURIER_FILE_SAME : COURIER_FILE_FROM;
    if (known && source->appended && !source->mapped && known->inode == source->inode &&
        known->device == source->device && known->size <= file->size)
      how.from = known->size / COURIER_BLOCK * COURIER_BLOCK;
  }
  if (how.how == COURIER_FILE_FROM) {
    CheckpointsFile *now = g_new(CheckpointsFile, 1);
    *now = (CheckpointsFile){file->size,     source->device,   source->inode,
                             file->mtime_ns, source->ctime_ns, real_ns()};
    g_hash_table_insert(checkpoints->pending, GUINT_TO_POINTER(file->file), now);
    if (!copy_file(controller, room, file, source, &how, error))
      return FALSE;
  }
  gint64 took = clock_now_ns() - began;
  if (took > 10000000)
    explain(controller,
            "the program stood still for %.1f ms because its file %.*s had to be read: it changes in place",
            (double)took / 1e6, (int)file->path.len, file->path.data);
  g_array_append_val(room->files, how);
  return TRUE;
}

static gint64
clock_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (gint64)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* All that has to be of one moment. */
gboolean
checkpoints_moment(Controller *controller, CheckpointsRoom *room, const GArray *runs, CheckpointState *state,
                   GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  g_autoptr(GArray) sources = g_array_new(FALSE, FALSE, sizeof(MirrorSnapshotSource));
  if (!mirror_snapshot_state(controller->process, checkpoints->layout, state, error) ||
      !read_memory(controller, room, runs, error) ||
      !mirror_snapshot_descriptors(controller->process, checkpoints->layout, checkpoints->files, state,
                                   sources, error))
    return FALSE;
  for (gsize i = 0; i < state->n_file; i++)
    if (!take_file(controller, room, state->file[i], &g_array_index(sources, MirrorSnapshotSource, i), error))
      return FALSE;
  checkpoints->request->monotonic_ns = clock_ns(CLOCK_MONOTONIC);
  checkpoints->request->boottime_ns = clock_ns(CLOCK_BOOTTIME);
  return mirror_process_stands(controller->process, error);
}

gboolean
checkpoints_hand_over(Controller *controller, CheckpointsRoom *room, CheckpointState *state, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  g_autoptr(GBytes) packed = replica_message_pack(&state->base);
  CourierSeal seal = {
      .pieces = room->pieces->len, .files = room->files->len, .state_length = g_bytes_get_size(packed)};
  if (!room_append(room, room->pieces->data, room->pieces->len * sizeof(CourierPiece), &seal.pieces_at,
                   error) ||
      !room_append(room, room->files->data, room->files->len * sizeof(CourierFile), &seal.files_at, error) ||
      !room_append(room, g_bytes_get_data(packed, NULL), seal.state_length, &seal.state_at, error))
    return FALSE;
  memcpy(room->bytes, &seal, sizeof seal);
  checkpoints->phase = CHECKPOINTS_SENDING;
  return checkpoint_courier_seal(checkpoints->courier, io_steal_fd(&room->file), error);
}
