/* What of a program's files goes with a checkpoint: of those that it writes the blocks that are others than
 * the clone has, of those that it only reads what the clone has not. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"
#include "replicator/checkpoint_courier_private.h"

static void
unref_array(gpointer array)
{
  if (array)
    g_array_unref(array);
}

void
courier_files_begin(Courier *courier)
{
  courier->known = g_hash_table_new_full(NULL, NULL, NULL, unref_array);
  courier->pending = g_hash_table_new_full(NULL, NULL, NULL, unref_array);
  courier->named = g_hash_table_new_full(NULL, NULL, NULL, g_free);
}

void
courier_files_clear(Courier *courier)
{
  g_hash_table_unref(courier->known);
  g_hash_table_unref(courier->pending);
  g_hash_table_unref(courier->named);
}

void
courier_files_forget(Courier *courier)
{
  g_hash_table_remove_all(courier->known);
  g_hash_table_remove_all(courier->named);
}

void
courier_files_kept(Courier *courier)
{
  GHashTableIter iterator;
  gpointer number, hashes;
  g_hash_table_iter_init(&iterator, courier->pending);
  while (g_hash_table_iter_next(&iterator, &number, &hashes)) {
    g_hash_table_iter_steal(&iterator);
    g_hash_table_insert(courier->known, number, hashes);
  }
  g_hash_table_iter_init(&iterator, courier->named);
  while (g_hash_table_iter_next(&iterator, &number, &hashes))
    ((NamedFile *)hashes)->kept = TRUE;
}

static gboolean
is_not_kept(gpointer number, gpointer named, gpointer unused)
{
  return !((NamedFile *)named)->kept;
}

void
courier_files_given_up(Courier *courier)
{
  g_hash_table_remove_all(courier->pending);
  g_hash_table_foreach_remove(courier->named, is_not_kept, NULL);
}

/* ---- files that the program writes ---- */

static gboolean
write_content(Courier *courier, const CheckpointFile *file, const CourierFile *how, const guint8 *bytes,
              GError **error)
{
  const GArray *former = g_hash_table_lookup(courier->known, GUINT_TO_POINTER(file->file));
  GArray *now = g_array_new(FALSE, TRUE, sizeof(XXH128_hash_t));
  guint64 blocks = (file->size + COURIER_BLOCK - 1) / COURIER_BLOCK, first = how->from / COURIER_BLOCK;
  g_hash_table_insert(courier->pending, GUINT_TO_POINTER(file->file), now);
  g_array_set_size(now, (guint)blocks);
  if (former)
    memcpy(now->data, former->data, MIN(MIN(first, blocks), former->len) * sizeof(XXH128_hash_t));
  for (guint64 i = first; i < blocks; i++) {
    guint64 offset = i * COURIER_BLOCK, length = MIN(file->size - offset, COURIER_BLOCK);
    const guint8 *block = bytes + (offset - how->from);
    XXH128_hash_t hash = XXH3_128bits_withSeed(block, length, length);
    g_array_index(now, XXH128_hash_t, i) = hash;
    if (former && i < former->len && XXH128_isEqual(hash, g_array_index(former, XXH128_hash_t, i)))
      continue;
    if (!checkpoint_write_block(courier->writer, file->file, offset, length, block, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
courier_files_write(Courier *courier, const CheckpointState *state, const CourierFile *files,
                    const guint8 *base, gsize length, GError **error)
{
  for (gsize i = 0; i < state->n_file; i++)
    if (files[i].how == COURIER_FILE_FROM &&
        !write_content(courier, state->file[i], &files[i], base + files[i].offset, error))
      return FALSE;
  return TRUE;
}

/* ---- files that it only reads ---- */

static gboolean
is_as_named(int file, const CheckpointFile *named)
{
  struct stat facts;
  return fstat(file, &facts) == 0 && S_ISREG(facts.st_mode) && (guint64)facts.st_size == named->size &&
         (gint64)facts.st_mtim.tv_sec * 1000000000 + facts.st_mtim.tv_nsec == named->mtime_ns;
}

/* Its content, as long as it is the file that the program has. */
static gboolean
carry(Courier *courier, CheckpointFile *named, GError **error)
{
  g_autofree char *path = g_strndup((const char *)named->path.data, named->path.len);
  g_autofree guint8 *room = g_malloc(CHECKPOINT_PIECE);
  g_auto(Fd) file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (file < 0)
    return doppel_error_errno(error, "its file %s cannot be read", path);
  for (guint64 at = 0; at < named->size;) {
    ssize_t got = pread(file, room, MIN(named->size - at, CHECKPOINT_PIECE), (off_t)at);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    if (!checkpoint_write_block(courier->writer, named->file, at, (guint64)got, room, error))
      return FALSE;
    at += (guint64)got;
    courier_work_link(courier);
  }
  named->carried = TRUE;
  return is_as_named(file, named) ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "its file %s is being changed by others", path);
}

static const NamedFile *
known_named(const Courier *courier, const CheckpointFile *file)
{
  const NamedFile *known = g_hash_table_lookup(courier->named, GUINT_TO_POINTER(file->file));
  return known && known->size == file->size && known->mtime_ns == file->mtime_ns ? known : NULL;
}

static void
note_named(Courier *courier, const CheckpointFile *file)
{
  NamedFile *known = g_new(NamedFile, 1);
  *known = (NamedFile){file->size, file->mtime_ns, file->carried, file->hashed, file->hash, FALSE};
  g_hash_table_insert(courier->named, GUINT_TO_POINTER(file->file), known);
}

static void
recall(CheckpointFile *file, const NamedFile *known)
{
  file->carried = known->carried;
  file->hashed = known->hashed;
  file->hash = known->hash;
}

static gboolean
know(CheckpointFile *named, GError **error)
{
  g_autofree char *path = g_strndup((const char *)named->path.data, named->path.len);
  g_auto(Fd) file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (file < 0)
    return doppel_error_errno(error, "its file %s cannot be read", path);
  return (checkpoint_file_know(named, file) && is_as_named(file, named)) ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "its file %s is being changed by others", path);
}

static gboolean
is_lacked(const Doppel__Wire__CheckpointLacks *lacks, guint32 index)
{
  for (gsize i = 0; i < lacks->n_index; i++)
    if (lacks->index[i] == index)
      return TRUE;
  return FALSE;
}

static gboolean
ask_about(Courier *courier, GPtrArray *files, GError **error)
{
  Doppel__Wire__CheckpointFiles ask = DOPPEL__WIRE__CHECKPOINT_FILES__INIT;
  ask.file = (CheckpointFile **)files->pdata;
  ask.n_file = files->len;
  if (!CHECKPOINT_SEND(courier->link, FILES, files, &ask, error))
    return FALSE;
  g_autoptr(CheckpointMessage) answer =
      courier_hear(courier, DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_LACKS, error);
  for (guint i = 0; answer && i < files->len; i++) {
    CheckpointFile *file = files->pdata[i];
    if (is_lacked(answer->lacks, i) && !carry(courier, file, error))
      return FALSE;
    note_named(courier, file);
  }
  return answer != NULL;
}

gboolean
courier_files_named(Courier *courier, CheckpointState *state, GError **error)
{
  g_autoptr(GPtrArray) files = g_ptr_array_new();
  for (gsize i = 0; i < state->n_file; i++) {
    CheckpointFile *file = state->file[i];
    if (file->kind != DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMED)
      continue;
    const NamedFile *known = known_named(courier, file);
    if (known)
      recall(file, known);
    else if (know(file, error))
      g_ptr_array_add(files, file);
    else
      return FALSE;
    if (files->len && (files->len == CHECKPOINT_ASK_MAX || i + 1 == state->n_file)) {
      if (!courier_connect(courier, error) || !ask_about(courier, files, error))
        return FALSE;
      g_ptr_array_set_size(files, 0);
    }
  }
  return !files->len || (courier_connect(courier, error) && ask_about(courier, files, error));
}
