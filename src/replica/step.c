#include "replica/step.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"

#define COPY (256 * 1024) /* bytes copied at once */

ReplicaStep *
replica_step_new(ReplicaStepKind kind, const char *path)
{
  ReplicaStep *step = g_new0(ReplicaStep, 1);
  step->kind = kind;
  step->path = g_strdup(path);
  return step;
}

void
replica_step_free(ReplicaStep *step)
{
  g_free(step->path);
  g_free(step->other);
  g_free(step->aside);
  replica_facts_clear(&step->old_facts);
  replica_facts_clear(&step->new_facts);
  g_clear_pointer(&step->saved, g_array_unref);
  g_clear_pointer(&step->redo, g_array_unref);
  g_free(step);
}

/* A name and the directory that holds it, opened. */
typedef struct {
  Fd parent;
  const char *name;
} Place;

static void
place_clear(Place *place)
{
  io_close(&place->parent);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

static Place
place_open(int root, const char *path)
{
  Place place;
  place.parent = replica_path_open_parent(root, path, FALSE, &place.name);
  return place;
}

/* Whether that very inode is there. */
static gboolean
holds(const Place *place, guint64 dev, guint64 ino)
{
  struct stat st;
  return place->parent >= 0 && fstatat(place->parent, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
         st.st_dev == dev && st.st_ino == ino;
}

static gboolean
rename_place(const Place *from, const Place *to, guint flags)
{
  if (renameat2(from->parent, from->name, to->parent, to->name, flags) == 0)
    return TRUE;
  struct stat st;
  if (errno != EINVAL || flags != RENAME_NOREPLACE)
    return FALSE;
  /* A file system without renameat2()'s flags: no other program is expected to race for our names. */
  if (fstatat(to->parent, to->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    errno = EEXIST;
    return FALSE;
  }
  return renameat(from->parent, from->name, to->parent, to->name) == 0;
}

static gboolean
raced(GError **error, const char *path)
{
  return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                          "%s changed while the block's changes were being applied", path);
}

static gboolean
is_empty_directory(int parent, const char *name)
{
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing) {
    io_close(&fd);
    return FALSE;
  }
  gboolean empty = TRUE;
  for (struct dirent *entry; empty && (entry = readdir(listing));)
    empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
  closedir(listing);
  return empty;
}

static gboolean
run_move(int root, const ReplicaStep *step, GError **error)
{
  g_auto(Place) from = place_open(root, step->path), to = place_open(root, step->other);
  if (from.parent < 0 || to.parent < 0 || !rename_place(&from, &to, RENAME_NOREPLACE))
    return doppel_error_errno(error, "cannot rename %s to %s", step->path, step->other);
  if (!holds(&to, step->dev, step->ino)) {
    rename_place(&to, &from, RENAME_NOREPLACE);
    return raced(error, step->path);
  }
  /* A directory that goes must be empty by then; a new one is. */
  if (step->old_facts.type == REPLICA_DIRECTORY && !is_empty_directory(to.parent, to.name))
    return raced(error, step->path);
  return TRUE;
}

static gboolean
undo_move(int root, const ReplicaStep *step, GError **error)
{
  g_auto(Place) from = place_open(root, step->path), to = place_open(root, step->other);
  if (!holds(&to, step->dev, step->ino))
    return TRUE;
  if (from.parent >= 0 && rename_place(&to, &from, RENAME_NOREPLACE))
    return TRUE;
  return doppel_error_errno(error, "cannot rename %s back to %s", step->other, step->path);
}

/* Where two names cannot be exchanged in one go: the old one steps aside first. */
static gboolean
replace_in_two(const Place *target, const Place *fresh, const Place *aside)
{
  return rename_place(target, aside, RENAME_NOREPLACE) && rename_place(fresh, target, RENAME_NOREPLACE);
}

static gboolean
run_replace(int root, const ReplicaStep *step, GError **error)
{
  g_auto(Place) target = place_open(root, step->path), fresh = place_open(root, step->other);
  g_auto(Place) aside = place_open(root, step->aside);
  if (target.parent < 0 || fresh.parent < 0 || aside.parent < 0)
    return doppel_error_errno(error, "cannot replace %s", step->path);
  if (!holds(&target, step->dev, step->old_ino))
    return raced(error, step->path);
  if (renameat2(fresh.parent, fresh.name, target.parent, target.name, RENAME_EXCHANGE) < 0 &&
      (errno != EINVAL || !replace_in_two(&target, &fresh, &aside)))
    return doppel_error_errno(error, "cannot replace %s", step->path);
  if (!holds(&fresh, step->dev, step->old_ino) && !holds(&aside, step->dev, step->old_ino))
    return raced(error, step->path);
  return TRUE;
}

static gboolean
undo_replace(int root, const ReplicaStep *step, GError **error)
{
  g_auto(Place) target = place_open(root, step->path), fresh = place_open(root, step->other);
  g_auto(Place) aside = place_open(root, step->aside);
  gboolean done = holds(&target, step->dev, step->ino);
  if (done && holds(&aside, step->dev, step->old_ino) && !rename_place(&target, &fresh, RENAME_NOREPLACE))
    return doppel_error_errno(error, "cannot take %s out again", step->path);
  if (holds(&aside, step->dev, step->old_ino)) {
    if (rename_place(&aside, &target, RENAME_NOREPLACE))
      return TRUE;
    return doppel_error_errno(error, "cannot put the old %s back", step->path);
  }
  if (done && renameat2(fresh.parent, fresh.name, target.parent, target.name, RENAME_EXCHANGE) < 0)
    return doppel_error_errno(error, "cannot put the old %s back", step->path);
  return TRUE;
}

static gboolean
run_link(int root, const ReplicaStep *step, GError **error)
{
  g_auto(Place) place = place_open(root, step->path), other = place_open(root, step->other);
  if (place.parent < 0 || other.parent < 0)
    return doppel_error_errno(error, "cannot link %s to %s", step->path, step->other);
  if (!holds(&other, step->dev, step->ino))
    return raced(error, step->other);
  if (linkat(other.parent, other.name, place.parent, place.name, 0) < 0)
    return doppel_error_errno(error, "cannot link %s to %s", step->path, step->other);
  return TRUE;
}

static gboolean
undo_link(int root, const ReplicaStep *step, GError **error)
{
  g_auto(Place) place = place_open(root, step->path);
  if (!holds(&place, step->dev, step->ino) || unlinkat(place.parent, place.name, 0) == 0)
    return TRUE;
  return doppel_error_errno(error, "cannot remove %s again", step->path);
}

static gboolean
copy_piece(int from, guint64 from_offset, int to, guint64 to_offset, guint64 length, guint8 *buffer)
{
  while (length > 0) {
    ssize_t got = pread(from, buffer, MIN(length, COPY), from_offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got == 0)
      errno = EIO; /* the piece was there when it was planned */
    if (got <= 0)
      return FALSE;
    for (ssize_t done = 0; done < got;) {
      ssize_t put = pwrite(to, buffer + done, got - done, to_offset + done);
      if (put < 0 && errno == EINTR)
        continue;
      if (put < 0)
        return FALSE;
      done += put;
    }
    from_offset += got;
    to_offset += got;
    length -= got;
  }
  return TRUE;
}

static gboolean
write_zeros(int file, guint64 offset, guint64 length, guint8 *buffer)
{
  if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0)
    return TRUE;
  if (errno != EOPNOTSUPP && errno != ENOSYS)
    return FALSE;
  memset(buffer, 0, COPY);
  while (length > 0) {
    ssize_t put = pwrite(file, buffer, MIN(length, COPY), offset);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return FALSE;
    offset += put;
    length -= put;
  }
  return TRUE;
}

gboolean
replica_saved_copy(int file, int pieces, const GArray *saved, gboolean restore)
{
  g_autofree guint8 *buffer = g_malloc(COPY);
  for (guint i = 0; saved && i < saved->len; i++) {
    const ReplicaSaved *piece = &g_array_index(saved, ReplicaSaved, i);
    gboolean good = piece->zeros ? write_zeros(file, piece->offset, piece->length, buffer)
                    : restore    ? copy_piece(pieces, piece->at, file, piece->offset, piece->length, buffer)
                                 : copy_piece(file, piece->offset, pieces, piece->at, piece->length, buffer);
    if (!good)
      return FALSE;
  }
  return TRUE;
}

static int
open_inode(int root, const ReplicaStep *step)
{
  Fd fd = replica_path_open(root, step->path, O_RDWR | O_NONBLOCK);
  struct stat st;
  if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == step->dev && st.st_ino == step->ino)
    return fd;
  if (fd >= 0)
    errno = ESTALE;
  io_close(&fd);
  return -1;
}

static gboolean
run_content(int root, const ReplicaStep *step, int data, GError **error)
{
  g_auto(Fd) fd = open_inode(root, step);
  struct stat st;
  if (fd < 0 && errno == ESTALE)
    return raced(error, step->path);
  if (fd < 0 || fstat(fd, &st) < 0)
    return doppel_error_errno(error, "cannot write to %s", step->path);
  if ((guint64)st.st_size != step->old_facts.size)
    return raced(error, step->path);
  if ((step->old_facts.size != step->new_facts.size && ftruncate(fd, step->new_facts.size) < 0) ||
      !replica_saved_copy(fd, data, step->redo, TRUE))
    return doppel_error_errno(error, "cannot write to %s", step->path);
  return TRUE;
}

static gboolean
undo_content(int root, const ReplicaStep *step, int undo, GError **error)
{
  g_auto(Fd) fd = open_inode(root, step);
  if (fd < 0 && (errno == ESTALE || errno == ENOENT)) /* somebody else replaced it: not ours to touch */
    return TRUE;
  /* Cutting to the same size too: it frees what was allocated beyond the end. */
  if (fd < 0 || ftruncate(fd, step->old_facts.size) < 0 || !replica_saved_copy(fd, undo, step->saved, TRUE))
    return doppel_error_errno(error, "cannot write the old content of %s back", step->path);
  return TRUE;
}

/* Only the owner may set times. Who writes to another's file or directory leaves the time of the writing, as
 * programs do. */
static int
set_facts(const Place *place, const ReplicaFacts *facts, guint set)
{
  int failure = replica_facts_set(place->parent, place->name, facts, set & ~REPLICA_FACT_MTIME);
  if (!failure && (set & REPLICA_FACT_MTIME))
    failure = replica_facts_set(place->parent, place->name, facts, REPLICA_FACT_MTIME);
  else
    return failure;
  return failure == EPERM ? 0 : failure;
}

static gboolean
run_set(int root, const ReplicaStep *step, GError **error)
{
  g_auto(Place) place = place_open(root, step->path);
  if (place.parent >= 0 && !holds(&place, step->dev, step->ino))
    return raced(error, step->path);
  int failure = place.parent < 0 ? errno : set_facts(&place, &step->new_facts, step->set);
  errno = failure;
  return !failure ||
         doppel_error_errno(error, "cannot set owner, mode, attributes or times of %s", step->path);
}

static gboolean
undo_set(int root, const ReplicaStep *step, GError **error)
{
  g_auto(Place) place = place_open(root, step->path);
  if (!holds(&place, step->dev, step->ino))
    return TRUE;
  int failure = set_facts(&place, &step->old_facts, step->undo);
  errno = failure;
  return !failure ||
         doppel_error_errno(error, "cannot set owner, mode, attributes or times of %s back", step->path);
}

/* Removes the staging directory; FALSE with ENOTEMPTY where it still keeps an old file and `old_too` is not
 * set. */
static gboolean
remove_stage(const Place *place, gboolean old_too)
{
  Fd fd = openat(place->parent, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing) {
    io_close(&fd);
    return errno == ENOENT;
  }
  gboolean good = TRUE;
  for (struct dirent *entry; good && (entry = readdir(listing));) {
    if (entry->d_name[0] != 'n' && (entry->d_name[0] != 'o' || !old_too))
      continue;
    good = unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT ||
           ((errno == EISDIR || errno == EPERM) && unlinkat(fd, entry->d_name, AT_REMOVEDIR) == 0);
  }
  closedir(listing);
  return good && unlinkat(place->parent, place->name, AT_REMOVEDIR) == 0;
}

static gboolean
set_host(int root, const char *path, const ReplicaFacts *facts, guint set, GError **error)
{
  g_auto(Place) host = place_open(root, path);
  int failure = host.parent < 0 ? errno : replica_facts_set(host.parent, host.name, facts, set);
  errno = failure;
  /* Not the owner's to set (EPERM): then the times show that something was made and removed there, which is
   * true. */
  return !failure || failure == EPERM || doppel_error_errno(error, "cannot set the times of %s", path);
}

static gboolean
clear_stage(int root, const ReplicaStep *step, gboolean committed, GError **error)
{
  g_auto(Place) place = place_open(root, step->path);
  if (place.parent < 0 && errno == ENOENT)
    return TRUE;
  gboolean removed = place.parent >= 0 && remove_stage(&place, committed);
  if (!removed && place.parent >= 0 && errno == EACCES && committed) {
    /* The block took away the permission to write here: HOST does that again. */
    ReplicaFacts open = step->old_facts;
    open.mode |= 0700;
    removed = set_host(root, step->other, &open, REPLICA_FACT_MODE, NULL) && remove_stage(&place, committed);
  }
  if (!removed)
    return doppel_error_errno(error, "cannot remove the temporary directory %s", step->path);
  return set_host(root, step->other, &step->old_facts, REPLICA_FACT_MTIME, error);
}

gboolean
replica_step_sweep(int root, const ReplicaStep *step, GError **error)
{
  if (step->kind == REPLICA_STEP_STAGE)
    return clear_stage(root, step, TRUE, error);
  return step->kind != REPLICA_STEP_HOST || set_host(root, step->path, &step->new_facts, step->set, error);
}

gboolean
replica_step_run(int root, const ReplicaStep *step, int data, GError **error)
{
  switch (step->kind) {
  case REPLICA_STEP_STAGE: {
    g_auto(Place) place = place_open(root, step->path);
    if (place.parent >= 0 && mkdirat(place.parent, place.name, 0700) == 0)
      return TRUE;
    return doppel_error_errno(error, "cannot make the temporary directory %s", step->path);
  }
  case REPLICA_STEP_MOVE:
    return run_move(root, step, error);
  case REPLICA_STEP_REPLACE:
    return run_replace(root, step, error);
  case REPLICA_STEP_LINK:
    return run_link(root, step, error);
  case REPLICA_STEP_CONTENT:
    return run_content(root, step, data, error);
  case REPLICA_STEP_SET:
    return run_set(root, step, error);
  case REPLICA_STEP_HOST:
    return TRUE;
  }
  return FALSE;
}

gboolean
replica_step_undo(int root, const ReplicaStep *step, int undo, GError **error)
{
  switch (step->kind) {
  case REPLICA_STEP_STAGE:
    return clear_stage(root, step, FALSE, error);
  case REPLICA_STEP_MOVE:
    return undo_move(root, step, error);
  case REPLICA_STEP_REPLACE:
    return undo_replace(root, step, error);
  case REPLICA_STEP_LINK:
    return undo_link(root, step, error);
  case REPLICA_STEP_CONTENT:
    return undo_content(root, step, undo, error);
  case REPLICA_STEP_SET:
    return undo_set(root, step, error);
  case REPLICA_STEP_HOST:
    return TRUE;
  }
  return FALSE;
}
