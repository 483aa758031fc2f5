/* The first half of a transaction: nothing that anybody can see has changed when it fails. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"
#include "replica/transaction.h"

static void
free_leaver(ReplicaLeaver *leaver)
{
  replica_facts_clear(&leaver->facts);
  g_free(leaver->aside);
  g_free(leaver);
}

static void
free_facts(ReplicaFacts *facts)
{
  replica_facts_clear(facts);
  g_free(facts);
}

static void
clear_item(ReplicaItem *item)
{
  g_free(item->staged);
  replica_facts_clear(&item->now);
  g_clear_pointer(&item->redo, g_array_unref);
}

void
replica_transaction_init(ReplicaTransaction *transaction, int root, GPtrArray *entries)
{
  *transaction = (ReplicaTransaction){.root = root, .entries = entries};
  transaction->items = g_array_new(FALSE, TRUE, sizeof(ReplicaItem));
  g_array_set_clear_func(transaction->items, (GDestroyNotify)clear_item);
  transaction->made = g_hash_table_new(g_str_hash, g_str_equal);
  transaction->leavers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)free_leaver);
  transaction->stages = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  transaction->unlocked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)free_facts);
  transaction->conflicts = g_ptr_array_new_with_free_func(g_free);
}

void
replica_transaction_clear(ReplicaTransaction *transaction)
{
  g_array_unref(transaction->items);
  g_hash_table_unref(transaction->made);
  g_hash_table_unref(transaction->leavers);
  g_hash_table_unref(transaction->stages);
  g_hash_table_unref(transaction->unlocked);
  g_ptr_array_unref(transaction->conflicts);
  g_clear_pointer(&transaction->journal, replica_journal_free);
}

static void
conflict(ReplicaTransaction *transaction, const char *path)
{
  g_ptr_array_add(transaction->conflicts, g_strdup(path));
}

/* A file that is changed in place must have as many names here as in the clone: one that has more would
 * change under names of which the block saw other content. */
static gboolean
same_links(const ReplicaFacts *before, const ReplicaFacts *now)
{
  return before->type != REPLICA_FILE || before->nlink == now->nlink;
}

static gboolean
still_holds(const ReplicaTransaction *transaction, const ReplicaEntry *entry, const char *path,
            const ReplicaFacts *before, const ReplicaFacts *now)
{
  const ReplicaFacts *told = transaction->seen ? replica_seen_find(transaction->seen, path) : NULL;
  if (told && !replica_seen_holds(told, now, TRUE))
    return FALSE;
  if (before->type != REPLICA_DIRECTORY)
    return told || replica_seen_holds(before, now, FALSE);
  /* Of a directory only what the block itself set matters: others may work in it meanwhile. */
  guint what = entry->change == REPLICA_KEEP ? entry->set & ~REPLICA_FACT_MTIME : 0;
  return replica_facts_equal(before, now, REPLICA_FACT_TYPE | what);
}

/* Reads what is at `path`. FALSE for what the transaction cannot be built on, with the conflict noted. */
static gboolean
check_path(ReplicaTransaction *transaction, const ReplicaEntry *entry, const char *path,
           const ReplicaFacts *before, ReplicaFacts *now)
{
  int failure = replica_facts_read(transaction->root, path, 0, NULL, now);
  /* ELOOP: below a symbolic link, where no path of the tree itself leads. */
  gboolean known = !failure || failure == ENOENT || failure == ENOTDIR || failure == ELOOP;
  if (known && still_holds(transaction, entry, path, before, now))
    return TRUE;
  conflict(transaction, path);
  return FALSE;
}

static void
add_leaver(ReplicaTransaction *transaction, const char *path, const ReplicaFacts *now, gboolean moves)
{
  ReplicaLeaver *leaver = g_hash_table_lookup(transaction->leavers, path);
  if (!leaver) {
    leaver = g_new0(ReplicaLeaver, 1);
    leaver->path = path;
    replica_facts_copy(&leaver->facts, now);
    g_hash_table_insert(transaction->leavers, (char *)path, leaver);
  }
  leaver->moves |= moves;
}

static void
check_entry(ReplicaTransaction *transaction, const ReplicaEntry *entry, ReplicaItem *item)
{
  g_auto(ReplicaFacts) now = {0};
  if (!check_path(transaction, entry, entry->path, &entry->before, &now))
    return;
  if (entry->change == REPLICA_KEEP && !same_links(&entry->before, &now))
    conflict(transaction, entry->path);
  if (entry->change == REPLICA_KEEP)
    replica_facts_copy(&item->now, &now);
  else if (now.type != REPLICA_ABSENT)
    add_leaver(transaction, entry->path, &now, FALSE);
  if (entry->change == REPLICA_MAKE && entry->after.type == REPLICA_DIRECTORY)
    g_hash_table_add(transaction->made, entry->path);
  if (entry->change != REPLICA_MOVE)
    return;
  if (!check_path(transaction, entry, entry->from, &entry->source, &item->now))
    return;
  if (!same_links(&entry->source, &item->now))
    conflict(transaction, entry->from);
  add_leaver(transaction, entry->from, &item->now, TRUE);
}

/* A directory can only go when all that is in it on the device goes too. */
static void
check_emptied(ReplicaTransaction *transaction, const ReplicaLeaver *leaver)
{
  Fd fd = replica_path_open(transaction->root, leaver->path, O_RDONLY | O_DIRECTORY);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing) {
    io_close(&fd);
    conflict(transaction, leaver->path);
    return;
  }
  for (struct dirent *entry; (entry = readdir(listing));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    g_autofree char *path = replica_path_join(leaver->path, entry->d_name);
    if (!g_hash_table_contains(transaction->leavers, path))
      conflict(transaction, path);
  }
  closedir(listing);
}

/* What arrives needs a directory to be in. */
static void
check_parent(ReplicaTransaction *transaction, const char *path)
{
  g_autofree char *parent = replica_path_parent(path);
  if (g_hash_table_contains(transaction->made, parent))
    return;
  g_auto(ReplicaFacts) now = {0};
  if (g_hash_table_contains(transaction->leavers, parent) ||
      replica_facts_read(transaction->root, parent, 0, NULL, &now) != 0 || now.type != REPLICA_DIRECTORY)
    conflict(transaction, path);
}

gboolean
replica_transaction_check(ReplicaTransaction *transaction, GError **error)
{
  g_array_set_size(transaction->items, transaction->entries->len);
  for (guint i = 0; i < transaction->entries->len; i++)
    check_entry(transaction, transaction->entries->pdata[i], replica_transaction_item(transaction, i));
  for (guint i = 0; i < transaction->entries->len; i++) {
    const ReplicaEntry *entry = transaction->entries->pdata[i];
    if (entry->change != REPLICA_REMOVE && *entry->path)
      check_parent(transaction, entry->path);
  }
  GHashTableIter iter;
  gpointer leaver;
  g_hash_table_iter_init(&iter, transaction->leavers);
  while (g_hash_table_iter_next(&iter, NULL, &leaver))
    if (((ReplicaLeaver *)leaver)->facts.type == REPLICA_DIRECTORY)
      check_emptied(transaction, leaver);
  if (transaction->conflicts->len == 0)
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                          "%s is no longer what the block found%s: its changes are not applied",
                          (const char *)transaction->conflicts->pdata[0],
                          transaction->conflicts->len > 1 ? " (nor are others)" : "");
}

/* What rename() works within: one mount of one file system; and one policy, of encrypted directories. */
static gboolean
find_file_system(int directory, char key[static 64])
{
  struct statx st;
  if (statx(directory, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &st) < 0)
    return FALSE;
  gboolean encrypted = st.stx_attributes & STATX_ATTR_ENCRYPTED;
  g_snprintf(key, 64, "%" G_GUINT64_FORMAT ":%u:%u:%" G_GUINT64_FORMAT, (guint64)st.stx_mnt_id,
             st.stx_dev_major, st.stx_dev_minor, encrypted ? (guint64)st.stx_ino : 0);
  return TRUE;
}

static gboolean
make_stage(ReplicaTransaction *transaction, const char *host, const char *key, GError **error)
{
  ReplicaFacts facts;
  int failure = replica_facts_read(transaction->root, host, 0, NULL, &facts);
  if (failure) {
    errno = failure;
    return doppel_error_errno(error, "cannot read the directory %s", host);
  }
  g_autofree char *name = g_strconcat(".doppel-", transaction->journal->name, NULL);
  g_autofree char *path = replica_path_join(host, name);
  ReplicaStep *step = replica_step_new(REPLICA_STEP_STAGE, path);
  step->other = g_strdup(host);
  step->old_facts = facts;
  g_hash_table_insert(transaction->stages, g_strdup(key), g_strdup(path));
  return replica_journal_add(transaction->journal, step, error) &&
         replica_journal_run(transaction->journal, transaction->root, error);
}

/* The nearest directory at or above `path`'s that is there now and in the end, and can be written to; on the
 * file system of the nearest. */
static gboolean
find_host(ReplicaTransaction *transaction, const char *path, char **host, char key[static 64], GError **error)
{
  g_autofree char *at = replica_path_parent(path);
  for (gboolean first = TRUE;;) {
    gboolean stays =
        !g_hash_table_contains(transaction->made, at) && !g_hash_table_contains(transaction->leavers, at);
    g_auto(Fd) fd = stays ? replica_path_open(transaction->root, at, O_PATH | O_DIRECTORY) : -1;
    char here[64];
    if (fd >= 0 && find_file_system(fd, here)) {
      if (!first && strcmp(here, key) != 0)
        break;
      g_strlcpy(key, here, 64);
      first = FALSE;
      char proc[REPLICA_PROC_MAX];
      replica_path_proc_fd(proc, fd);
      if (g_hash_table_contains(transaction->stages, key) ||
          faccessat(AT_FDCWD, proc, W_OK | X_OK, AT_EACCESS) == 0) {
        *host = g_steal_pointer(&at);
        return TRUE;
      }
    }
    if (!*at)
      break;
    char *above = replica_path_parent(at);
    g_free(at);
    at = above;
  }
  errno = EACCES;
  return doppel_error_errno(error, "cannot write to any directory above %s", path);
}

/* A name in the staging directory of the file system that `path` is on. */
static char *
stage_name(ReplicaTransaction *transaction, const char *path, char kind, guint number, GError **error)
{
  g_autofree char *host = NULL;
  char key[64];
  if (!find_host(transaction, path, &host, key, error))
    return NULL;
  if (!g_hash_table_contains(transaction->stages, key) && !make_stage(transaction, host, key, error))
    return NULL;
  return g_strdup_printf("%s/%c%u", (char *)g_hash_table_lookup(transaction->stages, key), kind, number);
}

static gboolean
make_inode(ReplicaTransaction *transaction, const ReplicaEntry *entry, ReplicaItem *item, GError **error)
{
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(transaction->root, item->staged, FALSE, &name);
  int result = -1;
  struct stat st;
  switch (parent < 0 ? REPLICA_ABSENT : entry->after.type) {
  case REPLICA_FILE: {
    g_auto(Fd) fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    result = fd < 0 ? -1 : 0;
    break;
  }
  case REPLICA_DIRECTORY:
    result = mkdirat(parent, name, 0700);
    break;
  case REPLICA_SYMLINK:
    result = symlinkat(entry->after.target, parent, name);
    break;
  case REPLICA_FIFO:
    result = mkfifoat(parent, name, 0600);
    break;
  default:
    break;
  }
  if (result < 0 || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return doppel_error_errno(error, "cannot make %s", entry->path);
  item->dev = st.st_dev;
  item->ino = st.st_ino;
  return TRUE;
}

gboolean
replica_transaction_stage(ReplicaTransaction *transaction, GError **error)
{
  GHashTableIter iter;
  gpointer value;
  guint number = 0;
  g_hash_table_iter_init(&iter, transaction->leavers);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    ReplicaLeaver *leaver = value;
    leaver->aside = stage_name(transaction, leaver->path, 'o', number++, error);
    if (!leaver->aside)
      return FALSE;
  }
  for (guint i = 0; i < transaction->entries->len; i++) {
    const ReplicaEntry *entry = transaction->entries->pdata[i];
    ReplicaItem *item = replica_transaction_item(transaction, i);
    if (entry->change != REPLICA_MAKE)
      continue;
    item->staged = stage_name(transaction, entry->path, 'n', i, error);
    if (!item->staged || !make_inode(transaction, entry, item, error))
      return FALSE;
  }
  return TRUE;
}
