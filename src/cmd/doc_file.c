/* A file that is edited by other programs, against a document. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "clonedoc/document.h"
#include "clonedoc/merge.h"
#include "cmd/doc.h"

#define SAVES_MOST 16 /* of somebody who saves while it is written */

void
doc_file_clear(DocFile *file)
{
  g_clear_pointer(&file->path, g_free);
  g_clear_pointer(&file->base, g_free);
  g_clear_pointer(&file->meanwhile, ot_op_free);
}

void
doc_file_note(DocFile *file, const OtOp *shown)
{
  if (!shown)
    return;
  OtOp *all = file->meanwhile ? ot_op_compose(file->meanwhile, shown) : ot_op_copy(shown);
  ot_op_free(file->meanwhile);
  file->meanwhile = all;
}

/* ---- reading ---- */

static gboolean
read_all(int fd, const char *path, char **utf8, gsize *bytes, GError **error)
{
  g_autoptr(GByteArray) all = g_byte_array_new();
  guint8 piece[65536];
  gssize got;
  while ((got = read(fd, piece, sizeof piece)) != 0) {
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return doppel_error_errno(error, "cannot read %s", path);
    if (all->len + got > DOC_TEXT_MAX)
      return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "%s is longer than the %u MiB of a document",
                              path, DOC_TEXT_MAX >> 20);
    g_byte_array_append(all, piece, got);
  }
  *bytes = all->len;
  if (!ot_utf8_check((const char *)all->data, all->len, &(gsize){0}))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s is no text in UTF-8", path);
  g_byte_array_append(all, (const guint8 *)"", 1);
  *utf8 = (char *)g_byte_array_free(g_steal_pointer(&all), FALSE);
  return TRUE;
}

gboolean
doc_file_read(const char *path, char **utf8, gsize *bytes, GError **error)
{
  if (strcmp(path, "-") == 0)
    return read_all(STDIN_FILENO, "standard input", utf8, bytes, error);
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return doppel_error_set(error, errno == ENOENT ? DOPPEL_ERROR_NOT_FOUND : DOPPEL_ERROR_FAILED,
                            "cannot open %s: %s", path, g_strerror(errno));
  return read_all(fd, path, utf8, bytes, error);
}

/* ---- taking ---- */

static OtOp *
both(OtOp *first, const OtOp *second)
{
  if (!second)
    return first;
  OtOp *op = first ? ot_op_compose(first, second) : ot_op_copy(second);
  ot_op_free(first);
  return op;
}

/* The document is edited as the base became `saved`. *applied: all that changed in the document; *left: what
 * is in it and not in `saved`. */
static gboolean
edit(DocFile *file, DocAt *at, const char *saved, gsize bytes, OtOp **applied, OtOp **left, GError **error)
{
  g_autoptr(OtOp) seen = NULL;
  g_autoptr(OtOp) others = NULL;
  if (!doc_copy_refresh(at->copy, &seen, error))
    return FALSE;
  doc_file_note(file, seen);
  g_autoptr(OtOp) op =
      doc_merge_difference(file->base ? file->base : "", file->base ? file->bytes : 0, saved, bytes, error);
  if (!op || (!ot_op_empty(op) && !doc_at_may_write(at, error)))
    return FALSE;
  g_autoptr(OtOp) later = NULL;
  OtOp *meanwhile = NULL;
  if (file->meanwhile)
    ot_op_transform(file->meanwhile, op, &meanwhile, &later);
  if (!doc_copy_edit(at->copy, later ? later : op, &others, error)) {
    ot_op_free(meanwhile);
    return FALSE;
  }
  *left = both(meanwhile, others);
  *applied = both(both(g_steal_pointer(&seen), later ? later : op), others);
  return TRUE;
}

static gboolean
is_base(const DocFile *file, const char *text, gsize bytes)
{
  return file->base && bytes == file->bytes && memcmp(file->base, text, bytes) == 0;
}

static void
set_base(DocFile *file, char *text, gsize bytes, OtOp *meanwhile)
{
  g_free(file->base);
  ot_op_free(file->meanwhile);
  file->base = text;
  file->bytes = bytes;
  file->meanwhile = meanwhile;
}

/* The file has `saved` now. */
static gboolean
take(DocFile *file, DocAt *at, char *saved, gsize bytes, GError **error)
{
  g_autofree char *taken = saved;
  g_autoptr(OtOp) applied = NULL;
  OtOp *left;
  if (is_base(file, taken, bytes))
    return TRUE;
  if (!edit(file, at, taken, bytes, &applied, &left, error))
    return FALSE;
  set_base(file, g_steal_pointer(&taken), bytes, left);
  return TRUE;
}

gboolean
doc_file_absorb(DocFile *file, DocAt *at, GError **error)
{
  g_autoptr(GError) why = NULL;
  char *saved;
  gsize bytes;
  if (doc_file_read(file->path, &saved, &bytes, &why))
    return take(file, at, saved, bytes, error);
  /* Editors remove and rename: it is there again, or not wanted. */
  if (g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&why));
  return FALSE;
}

/* ---- writing ---- */

static gboolean
write_beside(const char *beside, const DocFile *file, const char *text, gsize bytes, GError **error)
{
  struct stat status;
  mode_t mode = stat(file->path, &status) == 0 ? status.st_mode & 0777 : 0666;
  unlink(beside);
  g_auto(Fd) fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0)
    return doppel_error_errno(error, "cannot make a file beside %s", file->path);
  if (file->base && fchmod(fd, mode) < 0)
    return doppel_error_errno(error, "cannot write %s", beside);
  return (io_write_all(fd, text, bytes) && fsync(fd) == 0) ||
         doppel_error_errno(error, "cannot write %s", beside);
}

/* Gives the file what is beside it. *was becomes what the file had, if that is not the base: somebody has
 * saved it at this moment, and it is beside it now; NULL else. */
static gboolean
exchange(const char *beside, DocFile *file, char **was, gsize *bytes, GError **error)
{
  *was = NULL;
  if (!file->base || renameat2(AT_FDCWD, beside, AT_FDCWD, file->path, RENAME_EXCHANGE) < 0) {
    /* There is none; or the file system cannot exchange. */
    if (rename(beside, file->path) == 0)
      return TRUE;
    doppel_error_errno(error, "cannot write %s", file->path);
    unlink(beside);
    return FALSE;
  }
  if (!doc_file_read(beside, was, bytes, error)) {
    (void)!rename(beside, file->path);
    return FALSE;
  }
  if (is_base(file, *was, *bytes)) {
    unlink(beside);
    g_clear_pointer(was, g_free);
  }
  return TRUE;
}

static gboolean
write_once(DocFile *file, DocAt *at, gboolean *again, GError **error)
{
  gsize bytes, was_bytes = 0;
  g_autofree char *was = NULL;
  g_autofree char *text = doc_at_text(at, &bytes);
  g_autofree char *folder = g_path_get_dirname(file->path), *name = g_path_get_basename(file->path);
  g_autofree char *beside = g_strdup_printf("%s/.%.200s.doppel-%d", folder, name, (int)getpid());
  *again = FALSE;
  if (is_base(file, text, bytes))
    return TRUE;
  if (!write_beside(beside, file, text, bytes, error)) {
    unlink(beside);
    return FALSE;
  }
  if (!exchange(beside, file, &was, &was_bytes, error))
    return FALSE;
  OtOp *applied = NULL;
  g_autoptr(OtOp) left = NULL;
  *again = was != NULL;
  if (was && !edit(file, at, was, was_bytes, &applied, &left, error)) {
    (void)!rename(beside, file->path); /* nobody else has it */
    return FALSE;
  }
  if (was)
    unlink(beside); /* the document has it */
  set_base(file, g_steal_pointer(&text), bytes, applied);
  return TRUE;
}

gboolean
doc_file_write(DocFile *file, DocAt *at, GError **error)
{
  gboolean again = TRUE;
  for (guint i = 0; again && i < SAVES_MOST; i++)
    if (!doc_file_absorb(file, at, error) || !write_once(file, at, &again, error))
      return FALSE;
  return TRUE;
}

int
doc_file_watch(const DocFile *file, GError **error)
{
  g_autofree char *folder = g_path_get_dirname(file->path);
  g_auto(Fd) watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (watch < 0 || inotify_add_watch(watch, folder, IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR) < 0) {
    doppel_error_errno(error, "cannot watch %s", folder);
    return -1;
  }
  return io_steal_fd(&watch);
}
