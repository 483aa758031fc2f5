#include "controller/device_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "identity/key.h"

GPtrArray *
device_files_stale(Controller *controller)
{
  return g_ptr_array_new_with_free_func(g_free);
}

gboolean
device_files_answer_paths(Controller *controller, const Doppel__Engine__AskPaths *ask, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone asks for paths");
}

gboolean
device_files_answer_content(Controller *controller, const Doppel__Engine__AskContent *ask, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone asks for contents");
}

static gboolean
begin_apply(Controller *controller, GError **error)
{
  g_autofree char *directory = identity_directory();
  g_autofree char *journal = g_build_filename(directory, "journal", NULL);
  if (g_mkdir_with_parents(journal, 0700) < 0)
    return doppel_error_errno(error, "making %s", journal);
  g_auto(Fd) root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  g_auto(Fd) state = open(journal, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0 || state < 0)
    return doppel_error_errno(error, "opening %s", journal);
  controller->files = replica_apply_new(root, state, &(ReplicaApplyOptions){0}, error);
  return controller->files != NULL;
}

gboolean
device_files_take(Controller *controller, const Doppel__Engine__FilePiece *piece, GError **error)
{
  if (!controller->files && !begin_apply(controller, error))
    return FALSE;
  return replica_apply_push(controller->files, piece->bytes.data, piece->bytes.len, error);
}

gboolean
device_files_ready(Controller *controller, gboolean expected, GError **error)
{
  if (!expected)
    return TRUE;
  if (!controller->files || !replica_apply_ready(controller->files))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the block's changes of files did not come whole");
  return TRUE;
}

gboolean
device_files_commit(Controller *controller, GError **error)
{
  return !controller->files || replica_apply_commit(controller->files, error);
}

void
device_files_clear(Controller *controller)
{
  g_clear_pointer(&controller->files, replica_apply_free);
}
