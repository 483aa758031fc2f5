#include "replicator/job_apply.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/message.h"
#include "replica/pack.h"
#include "replicator/job_beside.h"
#include "replicator/job_changes.h"
#include "replicator/job_whole.h"

typedef struct {
  const JobTree *tree;
  ReplicaUnpacker *unpacker; /* whose entries are those of the tree */
  GPtrArray *entries;        /* of ReplicaEntry */
  guint8 *aside;             /* for each of them: it is not part of the transaction */
  JobBeside *beside;
} Plan;

/* A stream of messages without some of its entries. */
typedef struct {
  const Plan *plan;
  ReplicaApply *apply;
  guint *renumbered; /* for each entry that has come */
  guint come, kept;
  guint64 pieces;
} Filter;

/* ---- reading ---- */

static gboolean
ignore_piece(const ReplicaPiece *piece, gpointer user, GError **error)
{
  return TRUE;
}

static gboolean
read_message(guint mountpoint, const guint8 *data, gsize length, gpointer user, GError **error)
{
  Plan *plan = user;
  return mountpoint != plan->tree->number || replica_unpacker_push(plan->unpacker, data, length, error);
}

static gboolean
read_entries(Plan *plan, GError **error)
{
  const JobTree *tree = plan->tree;
  plan->unpacker = replica_unpacker_new(ignore_piece, NULL);
  if (!job_changes_read(tree->changes, (guint)tree->state->n_mountpoint, read_message, plan, error))
    return FALSE;
  if (!replica_unpacker_done(plan->unpacker))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "what the job did to files did not come whole");
  plan->entries = replica_unpacker_entries(plan->unpacker);
  plan->aside = g_new0(guint8, plan->entries->len + 1);
  return TRUE;
}

/* ---- the transaction, without what is put aside ---- */

static void
filter_entries(Filter *filter, Doppel__Wire__ReplicaDeltaPart *part)
{
  gsize kept = 0;
  for (gsize i = 0; i < part->n_entries; i++, filter->come++) {
    if (filter->plan->aside[filter->come])
      continue;
    filter->renumbered[filter->come] = filter->kept++;
    part->entries[kept++] = part->entries[i];
  }
  part->n_entries = kept;
}

static void
filter_data(Filter *filter, Doppel__Wire__ReplicaDeltaPart *part)
{
  gsize kept = 0;
  for (gsize i = 0; i < part->n_data; i++) {
    if (filter->plan->aside[part->data[i]->entry])
      continue;
    part->data[i]->entry = filter->renumbered[part->data[i]->entry];
    part->data[kept++] = part->data[i];
  }
  part->n_data = kept;
  filter->pieces += kept;
}

/* The messages have been checked when the entries were read; only `part`'s own lists are changed, which own
 * what they do not show any more still. */
static gboolean
push_message(guint mountpoint, const guint8 *data, gsize length, gpointer user, GError **error)
{
  Filter *filter = user;
  if (mountpoint != filter->plan->tree->number)
    return TRUE;
  Doppel__Wire__ReplicaDeltaPart *part = doppel__wire__replica_delta_part__unpack(NULL, length, data);
  if (!part)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "what the job did to files has changed");
  Doppel__Wire__ReplicaDeltaPart shown = *part;
  shown.entries = g_memdup2(part->entries, part->n_entries * sizeof *part->entries);
  shown.data = g_memdup2(part->data, part->n_data * sizeof *part->data);
  filter_entries(filter, &shown);
  filter_data(filter, &shown);
  if (shown.end) {
    shown.entry_count = filter->kept;
    shown.data_count = filter->pieces;
  }
  g_autoptr(GBytes) packed = replica_message_pack(&shown.base);
  g_free(shown.entries);
  g_free(shown.data);
  doppel__wire__replica_delta_part__free_unpacked(part, NULL);
  gsize size;
  const guint8 *bytes = g_bytes_get_data(packed, &size);
  return replica_apply_push(filter->apply, bytes, size, error);
}

/* NULL with an error; MISMATCH with the conflicts (of strings). */
static ReplicaApply *
try_without_aside(const Plan *plan, GPtrArray *conflicts, GError **error)
{
  const JobTree *tree = plan->tree;
  const ReplicaApplyOptions options = {.durable = TRUE};
  g_autoptr(ReplicaApply) apply = replica_apply_new(tree->root, tree->tree, &options, error);
  if (!apply)
    return NULL;
  Filter filter = {.plan = plan, .apply = apply};
  filter.renumbered = g_new0(guint, plan->entries->len + 1);
  gboolean pushed =
      job_changes_read(tree->changes, (guint)tree->state->n_mountpoint, push_message, &filter, error);
  g_free(filter.renumbered);
  const GPtrArray *found = replica_apply_conflicts(apply);
  for (guint i = 0; i < found->len; i++)
    g_ptr_array_add(conflicts, g_strdup(found->pdata[i]));
  return pushed ? g_steal_pointer(&apply) : NULL;
}

/* ---- putting aside ---- */

static gboolean
is_below(const char *path, const char *directory)
{
  gsize length = strlen(directory);
  return !length || (strncmp(path, directory, length) == 0 && path[length] == '/');
}

static ReplicaType
type_here(const Plan *plan, const char *path)
{
  g_auto(ReplicaFacts) now = {0};
  return replica_facts_read(plan->tree->root, path, 0, NULL, &now) == 0 ? now.type : REPLICA_ABSENT;
}

/* With a directory that cannot be made goes what is in it; with an inode go its further names. */
static void
put_aside(Plan *plan, guint number)
{
  const ReplicaEntry *entry = plan->entries->pdata[number];
  plan->aside[number] = TRUE;
  gboolean directory = entry->change == REPLICA_MAKE && entry->after.type == REPLICA_DIRECTORY &&
                       type_here(plan, entry->path) != REPLICA_DIRECTORY;
  for (guint i = 0; i < plan->entries->len; i++) {
    const ReplicaEntry *other = plan->entries->pdata[i];
    plan->aside[i] |= directory && is_below(other->path, entry->path);
    plan->aside[i] |= other->change == REPLICA_LINK && strcmp(other->from, entry->path) == 0;
  }
}

static gboolean
stands_in_the_way_of(const ReplicaEntry *entry, const char *path)
{
  return strcmp(entry->path, path) == 0 || (entry->from && strcmp(entry->from, path) == 0);
}

/* A directory that would have to go, and has something in it that is the device's. */
static gboolean
would_remove(const ReplicaEntry *entry, const char *path)
{
  return is_below(path, entry->path) && entry->before.type == REPLICA_DIRECTORY &&
         entry->after.type != REPLICA_DIRECTORY;
}

/* Puts aside what a conflict is about. FALSE where there is nothing left that it could be. */
static gboolean
put_conflict_aside(Plan *plan, const char *path)
{
  static gboolean (*const ways[])(const ReplicaEntry *, const char *) = {stands_in_the_way_of, would_remove};
  gboolean found = FALSE;
  for (guint way = 0; way < G_N_ELEMENTS(ways) && !found; way++)
    for (guint i = 0; i < plan->entries->len; i++)
      if (!plan->aside[i] && ways[way](plan->entries->pdata[i], path)) {
        put_aside(plan, i);
        found = TRUE;
      }
  return found;
}

/* ---- what becomes of it ---- */

static gboolean
append(guint64 offset, const guint8 *bytes, gsize length, gpointer user, GError **error)
{
  return io_write_all(*(int *)user, bytes, length) ||
         doppel_error_errno(error, "cannot keep a file that a job made");
}

/* The content of a file as the job left it. What the job made is here; of what it changed the clone has the
 * rest. */
static int
fetch_content(const Plan *plan, guint number, GError **error)
{
  const JobTree *tree = plan->tree;
  const ReplicaEntry *entry = plan->entries->pdata[number];
  g_auto(Fd) file = openat(tree->tree, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file < 0) {
    doppel_error_errno(error, "cannot keep a file that a job made");
    return -1;
  }
  gboolean done =
      entry->change == REPLICA_MAKE
          ? job_whole_build(tree->changes, (guint)tree->state->n_mountpoint, tree->number, number, file,
                            error)
          : job_client_whole(tree->client, tree->parcel->job, tree->number, number, append, &file, error);
  return done ? io_steal_fd(&file) : -1;
}

static gboolean
settle_directory(const Plan *plan, const ReplicaEntry *entry, GError **error)
{
  gboolean here = type_here(plan, entry->path) == REPLICA_DIRECTORY;
  if (entry->change == REPLICA_MAKE)
    return here || job_beside_put(plan->beside, entry, -1, error);
  return !here || job_beside_note(plan->beside, JOB_BESIDE_METADATA, entry->path, error);
}

static gboolean
settle_entry(const Plan *plan, guint number, GError **error)
{
  const ReplicaEntry *entry = plan->entries->pdata[number];
  if (entry->change == REPLICA_REMOVE)
    return type_here(plan, entry->path) == REPLICA_ABSENT ||
           job_beside_note(plan->beside, JOB_BESIDE_KEPT, entry->path, error);
  if (entry->after.type == REPLICA_DIRECTORY)
    return settle_directory(plan, entry, error);
  if (entry->change == REPLICA_KEEP && !(entry->set & REPLICA_FACT_SIZE))
    return job_beside_note(plan->beside, JOB_BESIDE_METADATA, entry->path, error);
  if (entry->after.type != REPLICA_FILE)
    return job_beside_put(plan->beside, entry, -1, error);
  g_auto(Fd) content = fetch_content(plan, number, error);
  return content >= 0 && job_beside_put(plan->beside, entry, content, error);
}

static gboolean
settle_aside(Plan *plan, GError **error)
{
  const JobTree *tree = plan->tree;
  const ProtobufCBinaryData *bytes = &tree->state->mountpoint[tree->number];
  g_autofree char *mountpoint = g_strndup((const char *)bytes->data, bytes->len);
  for (guint i = 0; i < plan->entries->len; i++) {
    if (!plan->aside[i])
      continue;
    if (!plan->beside)
      plan->beside = job_beside_open(tree->parcel, tree->number, tree->root, mountpoint, error);
    if (!plan->beside || !settle_entry(plan, i, error))
      return FALSE;
  }
  return TRUE;
}

/* Each round finds what stands in the way now that the last round's is aside. */
static ReplicaApply *
prepare(Plan *plan, GError **error)
{
  for (;;) {
    g_autoptr(GError) problem = NULL;
    g_autoptr(GPtrArray) conflicts = g_ptr_array_new_with_free_func(g_free);
    ReplicaApply *apply = try_without_aside(plan, conflicts, &problem);
    if (apply)
      return apply;
    gboolean progress = FALSE;
    for (guint i = 0; i < conflicts->len; i++)
      progress |= put_conflict_aside(plan, conflicts->pdata[i]);
    if (!progress || !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH)) {
      g_propagate_error(error, g_steal_pointer(&problem));
      return NULL;
    }
  }
}

ReplicaApply *
job_apply_prepare(const JobTree *tree, GError **error)
{
  Plan plan = {.tree = tree};
  ReplicaApply *apply = read_entries(&plan, error) ? prepare(&plan, error) : NULL;
  if (apply && !settle_aside(&plan, error))
    g_clear_pointer(&apply, replica_apply_free);
  g_clear_pointer(&plan.beside, job_beside_free);
  g_clear_pointer(&plan.unpacker, replica_unpacker_free);
  g_free(plan.aside);
  return apply;
}
