/* The steps of a commit, in the order in which each finds what it needs:
 *   directories are made writable, what leaves goes aside (deepest first), what arrives takes its place
 * (parents first), links, content in place, metadata (of files, then of directories, deepest first, so that
 * nothing disturbs their times). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"
#include "replica/transaction.h"

static gboolean
add_step(ReplicaTransaction *transaction, ReplicaStep *step, GError **error)
{
  return replica_journal_add(transaction->journal, step, error);
}

static ReplicaStep *
set_step(const char *path, const ReplicaFacts *now, const ReplicaFacts *wanted, guint set, guint undo)
{
  ReplicaStep *step = replica_step_new(REPLICA_STEP_SET, path);
  step->dev = now->dev;
  step->ino = now->ino;
  replica_facts_copy(&step->old_facts, now);
  replica_facts_copy(&step->new_facts, wanted);
  step->set = set;
  step->undo = undo;
  return step;
}

static gboolean
is_writable(int root, const char *path, int how)
{
  g_auto(Fd) fd = replica_path_open(root, path, O_PATH);
  char proc[REPLICA_PROC_MAX];
  replica_path_proc_fd(proc, fd);
  return fd >= 0 && faccessat(AT_FDCWD, proc, how, AT_EACCESS) == 0;
}

/* Remembers the times of a directory in which names come and go, and makes it writable where it is not. */
static gboolean
open_up(ReplicaTransaction *transaction, const char *path, GError **error)
{
  if (g_hash_table_contains(transaction->unlocked, path) || g_hash_table_contains(transaction->made, path))
    return TRUE;
  ReplicaFacts *now = g_new0(ReplicaFacts, 1);
  int failure = replica_facts_read(transaction->root, path, 0, NULL, now);
  g_hash_table_insert(transaction->unlocked, g_strdup(path), now);
  errno = failure;
  if (failure)
    return doppel_error_errno(error, "cannot read the directory %s", path);
  gboolean locked = !is_writable(transaction->root, path, W_OK | X_OK);
  g_auto(ReplicaFacts) open = {0};
  replica_facts_copy(&open, now);
  open.mode |= 0700;
  ReplicaStep *step = set_step(path, now, &open, locked ? REPLICA_FACT_MODE : 0,
                               REPLICA_FACT_MTIME | (locked ? REPLICA_FACT_MODE : 0));
  /* The mode as it is for as long as the transaction lasts: later steps are undone to that. */
  if (locked)
    now->mode = open.mode;
  return add_step(transaction, step, error);
}

static gboolean
open_up_parent(ReplicaTransaction *transaction, const char *path, GError **error)
{
  g_autofree char *parent = replica_path_parent(path);
  return open_up(transaction, parent, error);
}

static int
compare_leavers(gconstpointer a, gconstpointer b)
{
  return strcmp((*(const ReplicaLeaver *const *)a)->path, (*(const ReplicaLeaver *const *)b)->path);
}

static GPtrArray *
sorted_leavers(ReplicaTransaction *transaction)
{
  g_autoptr(GList) values = g_hash_table_get_values(transaction->leavers);
  GPtrArray *leavers = g_ptr_array_new();
  for (GList *at = values; at; at = at->next)
    g_ptr_array_add(leavers, at->data);
  g_ptr_array_sort(leavers, compare_leavers);
  return leavers;
}

static gboolean
plan_open_up(ReplicaTransaction *transaction, GPtrArray *leavers, GError **error)
{
  for (guint i = 0; i < leavers->len; i++) {
    const ReplicaLeaver *leaver = leavers->pdata[i];
    if (!open_up_parent(transaction, leaver->path, error) ||
        (leaver->facts.type == REPLICA_DIRECTORY && !open_up(transaction, leaver->path, error)))
      return FALSE;
  }
  for (guint i = 0; i < transaction->entries->len; i++) {
    const ReplicaEntry *entry = transaction->entries->pdata[i];
    gboolean arrives = entry->change != REPLICA_KEEP && entry->change != REPLICA_REMOVE;
    if (arrives && !open_up_parent(transaction, entry->path, error))
      return FALSE;
  }
  return TRUE;
}

/* A new inode that can take an old one's place in one step, without a moment in which nothing is there. */
static ReplicaLeaver *
replaced_by(ReplicaTransaction *transaction, const ReplicaEntry *entry)
{
  ReplicaLeaver *leaver = g_hash_table_lookup(transaction->leavers, entry->path);
  gboolean plain = leaver && !leaver->moves && leaver->facts.type != REPLICA_DIRECTORY &&
                   entry->after.type != REPLICA_DIRECTORY;
  return plain && entry->change == REPLICA_MAKE ? leaver : NULL;
}

static gboolean
plan_leave(ReplicaTransaction *transaction, GPtrArray *leavers, GError **error)
{
  g_autoptr(GHashTable) replaced = g_hash_table_new(NULL, NULL);
  for (guint i = 0; i < transaction->entries->len; i++)
    g_hash_table_add(replaced, replaced_by(transaction, transaction->entries->pdata[i]));
  for (guint i = leavers->len; i-- > 0;) {
    const ReplicaLeaver *leaver = leavers->pdata[i];
    if (g_hash_table_contains(replaced, leaver))
      continue;
    ReplicaStep *step = replica_step_new(REPLICA_STEP_MOVE, leaver->path);
    step->other = g_strdup(leaver->aside);
    step->dev = leaver->facts.dev;
    step->ino = leaver->facts.ino;
    step->old_facts.type = leaver->facts.type;
    if (!add_step(transaction, step, error))
      return FALSE;
  }
  return TRUE;
}

static ReplicaStep *
arrival_step(ReplicaTransaction *transaction, const ReplicaEntry *entry, ReplicaItem *item)
{
  const ReplicaLeaver *old = replaced_by(transaction, entry);
  ReplicaStep *step;
  if (old) {
    step = replica_step_new(REPLICA_STEP_REPLACE, entry->path);
    step->other = g_strdup(item->staged);
    step->aside = g_strdup(old->aside);
    step->old_ino = old->facts.ino;
  } else if (entry->change == REPLICA_MOVE) {
    const ReplicaLeaver *source = g_hash_table_lookup(transaction->leavers, entry->from);
    step = replica_step_new(REPLICA_STEP_MOVE, source->aside);
    step->other = g_strdup(entry->path);
    item->dev = item->now.dev;
    item->ino = item->now.ino;
  } else {
    step = replica_step_new(REPLICA_STEP_MOVE, item->staged);
    step->other = g_strdup(entry->path);
  }
  step->dev = item->dev;
  step->ino = item->ino;
  return step;
}

static gboolean
plan_arrive(ReplicaTransaction *transaction, GError **error)
{
  for (guint i = 0; i < transaction->entries->len; i++) {
    const ReplicaEntry *entry = transaction->entries->pdata[i];
    if ((entry->change == REPLICA_MAKE || entry->change == REPLICA_MOVE) &&
        !add_step(transaction, arrival_step(transaction, entry, replica_transaction_item(transaction, i)),
                  error))
      return FALSE;
  }
  return TRUE;
}

static ReplicaItem *
find_item(ReplicaTransaction *transaction, const char *path)
{
  guint low = 0, high = transaction->entries->len;
  while (low < high) {
    guint middle = (low + high) / 2;
    const ReplicaEntry *entry = transaction->entries->pdata[middle];
    int order = strcmp(path, entry->path);
    if (order == 0)
      return replica_transaction_item(transaction, middle);
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

/* The inode that will be at `path` when links are made. */
static gboolean
find_final_inode(ReplicaTransaction *transaction, const char *path, ReplicaStep *step, GError **error)
{
  const ReplicaItem *item = find_item(transaction, path);
  if (item && item->ino) {
    step->dev = item->dev;
    step->ino = item->ino;
    return TRUE;
  }
  g_auto(ReplicaFacts) now = {0};
  int failure = replica_facts_read(transaction->root, path, 0, NULL, &now);
  step->dev = now.dev;
  step->ino = now.ino;
  errno = failure;
  return !failure || doppel_error_errno(error, "cannot link to %s", path);
}

static gboolean
plan_links(ReplicaTransaction *transaction, GError **error)
{
  for (guint i = 0; i < transaction->entries->len; i++) {
    const ReplicaEntry *entry = transaction->entries->pdata[i];
    if (entry->change != REPLICA_LINK)
      continue;
    g_autoptr(ReplicaStep) step = replica_step_new(REPLICA_STEP_LINK, entry->path);
    step->other = g_strdup(entry->from);
    if (!find_final_inode(transaction, entry->from, step, error) ||
        !add_step(transaction, g_steal_pointer(&step), error))
      return FALSE;
  }
  return TRUE;
}

static void
save_range(GArray *saved, guint64 offset, guint64 end, guint64 *at)
{
  if (offset >= end)
    return;
  g_array_append_vals(saved, &(ReplicaSaved){.offset = offset, .length = end - offset, .at = *at}, 1);
  *at += end - offset;
}

/* What the old content loses: the ranges that are written over, and what is cut off. */
static GArray *
ranges_to_save(const ReplicaItem *item, guint64 new_size, guint64 *at)
{
  GArray *saved = g_array_new(FALSE, FALSE, sizeof(ReplicaSaved));
  guint64 kept = MIN(item->now.size, new_size);
  for (guint i = 0; item->redo && i < item->redo->len; i++) {
    const ReplicaSaved *piece = &g_array_index(item->redo, ReplicaSaved, i);
    save_range(saved, piece->offset, MIN(piece->offset + piece->length, kept), at);
  }
  save_range(saved, kept, item->now.size, at);
  return saved;
}

/* Takes the room now that writing in place will need. */
static gboolean
reserve(int fd, const GArray *redo)
{
  for (guint i = 0; redo && i < redo->len; i++) {
    const ReplicaSaved *piece = &g_array_index(redo, ReplicaSaved, i);
    if (!piece->zeros && fallocate(fd, FALLOC_FL_KEEP_SIZE, piece->offset, piece->length) < 0 &&
        errno != EOPNOTSUPP && errno != ENOSYS)
      return FALSE;
  }
  return TRUE;
}

/* Where the inode of a KEEP or MOVE is before the commit. */
static const char *
present_path(const ReplicaEntry *entry)
{
  return entry->change == REPLICA_MOVE ? entry->from : entry->path;
}

/* The first step for a file that is written in place is done at once, since taking room changes its times
 * already. */
static gboolean
prepare_content(ReplicaTransaction *transaction, const ReplicaEntry *entry, ReplicaItem *item,
                ReplicaStep *content, GError **error)
{
  const char *path = present_path(entry);
  item->unlocked = !is_writable(transaction->root, path, R_OK | W_OK);
  g_auto(ReplicaFacts) open = {0};
  replica_facts_copy(&open, &item->now);
  open.mode |= 0600;
  ReplicaStep *step =
      set_step(path, &item->now, &open, item->unlocked ? REPLICA_FACT_MODE : 0, REPLICA_FACT_METADATA);
  if (!add_step(transaction, step, error) ||
      !replica_journal_run(transaction->journal, transaction->root, error))
    return FALSE;
  g_auto(Fd) fd = replica_path_open(transaction->root, path, O_RDWR | O_NONBLOCK);
  content->saved = ranges_to_save(item, entry->after.size, &transaction->journal->undo_size);
  if (fd < 0 || !reserve(fd, item->redo) ||
      !replica_saved_copy(fd, transaction->journal->undo, content->saved, FALSE))
    return doppel_error_errno(error, "cannot change %s", path);
  return TRUE;
}

/* Prepares all content before the commit's own steps are written down. */
static gboolean
prepare_contents(ReplicaTransaction *transaction, GPtrArray *contents, GError **error)
{
  for (guint i = 0; i < transaction->entries->len; i++) {
    const ReplicaEntry *entry = transaction->entries->pdata[i];
    ReplicaItem *item = replica_transaction_item(transaction, i);
    if (entry->change == REPLICA_KEEP) {
      item->dev = item->now.dev;
      item->ino = item->now.ino;
    }
    if ((entry->change != REPLICA_KEEP && entry->change != REPLICA_MOVE) || !(entry->set & REPLICA_FACT_SIZE))
      continue;
    ReplicaStep *step = replica_step_new(REPLICA_STEP_CONTENT, entry->path);
    g_ptr_array_add(contents, step);
    step->dev = item->now.dev;
    step->ino = item->now.ino;
    step->old_facts.type = step->new_facts.type = REPLICA_FILE;
    step->old_facts.size = item->now.size;
    step->new_facts.size = entry->after.size;
    step->redo = item->redo ? g_array_ref(item->redo) : NULL;
    if (!prepare_content(transaction, entry, item, step, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
plan_contents(ReplicaTransaction *transaction, GPtrArray *contents, GError **error)
{
  while (contents->len > 0)
    if (!add_step(transaction, g_ptr_array_steal_index(contents, 0), error))
      return FALSE;
  return TRUE;
}

static gboolean
plan_file_metadata(ReplicaTransaction *transaction, GError **error)
{
  for (guint i = 0; i < transaction->entries->len; i++) {
    const ReplicaEntry *entry = transaction->entries->pdata[i];
    const ReplicaItem *item = replica_transaction_item(transaction, i);
    gboolean in_place = entry->change == REPLICA_KEEP || entry->change == REPLICA_MOVE;
    if (!in_place || entry->after.type == REPLICA_DIRECTORY)
      continue;
    guint set = entry->set & REPLICA_FACT_METADATA;
    if (item->unlocked)
      set |= REPLICA_FACT_MODE;
    /* Content is written back on the way to the old state: it must still be writable then. */
    g_auto(ReplicaFacts) old = {0};
    replica_facts_copy(&old, &item->now);
    old.mode |= item->unlocked ? 0600 : 0;
    if (set && !add_step(transaction, set_step(entry->path, &old, &entry->after, set, set), error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
plan_made_directory(ReplicaTransaction *transaction, const ReplicaEntry *entry, const ReplicaItem *item,
                    GError **error)
{
  ReplicaFacts fresh = {.type = REPLICA_DIRECTORY, .dev = item->dev, .ino = item->ino};
  guint set = REPLICA_FACT_MODE | REPLICA_FACT_MTIME;
  return add_step(transaction, set_step(entry->path, &fresh, &entry->after, set, 0), error);
}

static gboolean
plan_kept_directory(ReplicaTransaction *transaction, const ReplicaEntry *entry, const ReplicaItem *item,
                    GError **error)
{
  const ReplicaFacts *now = g_hash_table_lookup(transaction->unlocked, entry->path);
  guint set = entry->set & REPLICA_FACT_METADATA;
  g_auto(ReplicaFacts) wanted = {0};
  replica_facts_copy(&wanted, &entry->after);
  if (!(set & REPLICA_FACT_MTIME))
    wanted.mtime_ns = item->now.mtime_ns;
  if (!now)
    now = &item->now;
  else
    set |= REPLICA_FACT_MTIME | (now->mode != item->now.mode ? REPLICA_FACT_MODE : 0);
  return !set || add_step(transaction, set_step(entry->path, now, &wanted, set, set), error);
}

static int
compare_strings(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Directories in which names came or went, and that are no change of the block's, get their mode and times
 * back. */
static gboolean
plan_relock(ReplicaTransaction *transaction, const char *path, GError **error)
{
  const ReplicaFacts *now = g_hash_table_lookup(transaction->unlocked, path);
  g_auto(ReplicaFacts) old = {0};
  if (!now || g_hash_table_contains(transaction->leavers, path))
    return TRUE;
  int failure = replica_facts_read(transaction->root, path, 0, NULL, &old);
  errno = failure;
  if (failure)
    return doppel_error_errno(error, "cannot read the directory %s", path);
  guint set = REPLICA_FACT_MTIME | (old.mode != now->mode ? REPLICA_FACT_MODE : 0);
  return add_step(transaction, set_step(path, now, &old, set, set), error);
}

static gboolean
plan_directory_metadata(ReplicaTransaction *transaction, GError **error)
{
  g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GPtrArray) paths = g_ptr_array_new();
  for (guint i = 0; i < transaction->entries->len; i++) {
    ReplicaEntry *entry = transaction->entries->pdata[i];
    if (entry->after.type == REPLICA_DIRECTORY && g_hash_table_add(seen, entry->path))
      g_ptr_array_add(paths, entry->path);
  }
  GHashTableIter iter;
  gpointer path;
  g_hash_table_iter_init(&iter, transaction->unlocked);
  while (g_hash_table_iter_next(&iter, &path, NULL))
    if (g_hash_table_add(seen, path))
      g_ptr_array_add(paths, path);
  g_ptr_array_sort(paths, compare_strings);
  for (guint i = paths->len; i-- > 0;) {
    const ReplicaItem *item = find_item(transaction, paths->pdata[i]);
    const ReplicaEntry *entry =
        item ? transaction->entries->pdata[item - replica_transaction_item(transaction, 0)] : NULL;
    gboolean good = !entry || entry->after.type != REPLICA_DIRECTORY
                        ? plan_relock(transaction, paths->pdata[i], error)
                    : entry->change == REPLICA_MAKE ? plan_made_directory(transaction, entry, item, error)
                                                    : plan_kept_directory(transaction, entry, item, error);
    if (!good)
      return FALSE;
  }
  return TRUE;
}

/* Removing a staging directory changes the times of the one that holds it, so those are set after that. */
static gboolean
plan_host(ReplicaTransaction *transaction, const ReplicaStep *stage, GError **error)
{
  const ReplicaItem *item = find_item(transaction, stage->other);
  ReplicaStep *step = set_step(stage->other, &stage->old_facts, &stage->old_facts, REPLICA_FACT_MTIME, 0);
  step->kind = REPLICA_STEP_HOST;
  if (item) {
    const ReplicaEntry *entry = transaction->entries->pdata[item - replica_transaction_item(transaction, 0)];
    if (entry->set & REPLICA_FACT_MTIME)
      step->new_facts.mtime_ns = entry->after.mtime_ns;
    if (entry->set & REPLICA_FACT_MODE) {
      step->new_facts.mode = entry->after.mode;
      step->set |= REPLICA_FACT_MODE;
    }
  }
  return add_step(transaction, step, error);
}

static gboolean
plan_hosts(ReplicaTransaction *transaction, GError **error)
{
  for (guint i = 0, count = transaction->journal->steps->len; i < count; i++) {
    const ReplicaStep *step = transaction->journal->steps->pdata[i];
    if (step->kind == REPLICA_STEP_STAGE && !plan_host(transaction, step, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
finish_made(ReplicaTransaction *transaction, const ReplicaEntry *entry, const ReplicaItem *item,
            GError **error)
{
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(transaction->root, item->staged, FALSE, &name);
  int failure = parent < 0 ? errno : 0;
  if (!failure && entry->after.type == REPLICA_FILE) {
    g_auto(Fd) fd = openat(parent, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, entry->after.size) < 0 || (transaction->durable && fsync(fd) < 0))
      failure = errno;
  }
  /* A directory gets its mode and times when everything is in it. */
  guint set = entry->after.type == REPLICA_DIRECTORY ? REPLICA_FACT_OWNER | REPLICA_FACT_XATTRS
                                                     : REPLICA_FACT_METADATA;
  if (!failure)
    failure = replica_facts_set(parent, name, &entry->after, set);
  errno = failure;
  return !failure || doppel_error_errno(error, "cannot write %s", entry->path);
}

static gboolean
finish_all_made(ReplicaTransaction *transaction, GError **error)
{
  for (guint i = 0; i < transaction->entries->len; i++) {
    const ReplicaItem *item = replica_transaction_item(transaction, i);
    if (item->staged && !finish_made(transaction, transaction->entries->pdata[i], item, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
replica_transaction_plan(ReplicaTransaction *transaction, GError **error)
{
  g_autoptr(GPtrArray) leavers = sorted_leavers(transaction);
  g_autoptr(GPtrArray) contents = g_ptr_array_new_with_free_func((GDestroyNotify)replica_step_free);
  return finish_all_made(transaction, error) && prepare_contents(transaction, contents, error) &&
         plan_open_up(transaction, leavers, error) && plan_leave(transaction, leavers, error) &&
         plan_arrive(transaction, error) && plan_links(transaction, error) &&
         plan_contents(transaction, contents, error) && plan_file_metadata(transaction, error) &&
         plan_directory_metadata(transaction, error) && plan_hosts(transaction, error) &&
         (!transaction->durable || replica_journal_sync(transaction->journal, error));
}
