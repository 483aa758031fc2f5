#include "replicator/job_collect.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"
#include "replicator/job_apply.h"

/* One mount point's part of it. */
typedef struct {
  Fd root, tree;
  gboolean made; /* in an earlier attempt */
  ReplicaApply *apply;
} Part;

static void
part_free(Part *part)
{
  g_clear_pointer(&part->apply, replica_apply_free);
  io_close(&part->root);
  io_close(&part->tree);
  g_free(part);
}

static int
open_root(const ProtobufCBinaryData *mountpoint, GError **error)
{
  g_autofree char *path = g_strndup((const char *)mountpoint->data, mountpoint->len);
  g_auto(Fd) top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  gboolean valid = !path[1] || replica_path_valid(path + 1, strlen(path + 1));
  errno = EINVAL;
  int root = top < 0 || !valid ? -1 : replica_path_open(top, path + 1, O_PATH | O_DIRECTORY);
  if (root < 0)
    doppel_error_errno(error, "%s, where a job has changed files, is no directory of this device's", path);
  return root;
}

static Part *
open_part(const JobParcel *parcel, const JobState *state, guint number, GError **error)
{
  Part *part = g_new0(Part, 1);
  part->tree = -1;
  part->root = open_root(&state->mountpoint[number], error);
  if (part->root >= 0)
    part->tree = job_parcel_tree(parcel, number, error);
  if (part->tree >= 0 && job_parcel_settle(part->tree, part->root, &part->made, error))
    return part;
  part_free(part);
  return NULL;
}

static gboolean
prepare_part(Part *part, const JobParcel *parcel, JobClient *client, const JobState *state, int changes,
             guint number, GError **error)
{
  if (part->made)
    return TRUE;
  const JobTree tree = {.parcel = parcel,
                        .client = client,
                        .state = state,
                        .changes = changes,
                        .number = number,
                        .root = part->root,
                        .tree = part->tree};
  part->apply = job_apply_prepare(&tree, error);
  return part->apply && job_parcel_expect(part->tree, error);
}

static gboolean
commit(GPtrArray *parts, GError **error)
{
  g_autoptr(GPtrArray) applies = g_ptr_array_new();
  for (guint i = 0; i < parts->len; i++) {
    const Part *part = parts->pdata[i];
    if (part->apply)
      g_ptr_array_add(applies, part->apply);
  }
  return !applies->len ||
         replica_apply_commit_all((ReplicaApply *const *)applies->pdata, applies->len, error);
}

static gboolean
make_changes(const JobParcel *parcel, JobClient *client, const JobState *state, GError **error)
{
  g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func((GDestroyNotify)part_free);
  gboolean all_made = TRUE;
  for (guint i = 0; i < state->n_mountpoint; i++) {
    Part *part = open_part(parcel, state, i, error);
    if (!part)
      return FALSE;
    g_ptr_array_add(parts, part);
    all_made = all_made && part->made;
  }
  if (all_made)
    return TRUE;
  g_auto(Fd) changes = job_parcel_fetch(parcel, client, state, error);
  if (changes < 0)
    return FALSE;
  for (guint i = 0; i < parts->len; i++)
    if (!prepare_part(parts->pdata[i], parcel, client, state, changes, i, error))
      return FALSE;
  return commit(parts, error);
}

gboolean
job_collect_is_due(const JobSummary *summary)
{
  const JobState *state = summary->state;
  return !summary->foreign && job_state_is_over(state) && state->changes_bytes && !state->collected;
}

gboolean
job_collect(JobClient *client, const JobSummary *summary, gboolean wait, JobBesideFunc tell, gpointer user,
            GError **error)
{
  if (!job_collect_is_due(summary))
    return TRUE;
  GError *problem = NULL;
  g_autoptr(JobParcel) parcel = job_parcel_open(client->clone, summary, wait, &problem);
  if (problem)
    g_propagate_error(error, problem);
  if (!parcel)
    return !problem;
  /* Whoever had the lock may just have done it. */
  g_autoptr(JobMessage) now = job_client_wait(client, summary->job, NULL, error);
  if (!now)
    return FALSE;
  const JobState *state = now->summary->state;
  if (!state->collected) {
    if (!make_changes(parcel, client, state, error))
      return FALSE;
    /* Rather twice than never. */
    for (guint i = 0; i < state->n_mountpoint; i++)
      job_beside_tell(parcel, i, tell, user);
    if (!job_client_collected(client, summary->job, error))
      return FALSE;
  }
  return job_parcel_remove(parcel, error);
}
