/* The index follows the clone's generations. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/share_index_private.h"
#include "c2c/share_message.h"
#include "replica/generation_facts.h"
#include "replica/generation_lease.h"
#include "replica/generation_store.h"
#include "replica/path.h"

/* A transaction ends with whichever comes first: others wait for it, and its pages are in memory. */
#define BATCH_FILES 500
#define BATCH_BYTES (8u << 20)

typedef enum { FIND, INSERT, CHANGE, TOUCH, WORDS_IN, WORDS_OUT, SEEN, STATEMENTS } Which;

static const char *const texts[STATEMENTS] = {
    [FIND] = "SELECT id, size, mtime, inode, hash FROM file WHERE share=? AND path=?",
    [INSERT] = "INSERT INTO file(share, path, size, mtime, inode, hash) VALUES(?,?,?,?,?,?)",
    [CHANGE] = "UPDATE file SET size=?2, mtime=?3, inode=?4, hash=?5 WHERE id=?1",
    [TOUCH] = "UPDATE file SET mtime=?2, inode=?3 WHERE id=?1",
    [WORDS_IN] = "INSERT INTO words(rowid, path, content) VALUES(?,?,?)",
    [WORDS_OUT] = "DELETE FROM words WHERE rowid=?",
    [SEEN] = "INSERT OR IGNORE INTO temp.seen VALUES(?)",
};

typedef struct {
  ShareIndex *index;
  const Share *share;
  sqlite3_stmt *statements[STATEMENTS];
  char *text; /* SHARE_TEXT_MAX + 1 bytes */
  guint files;
  gsize bytes; /* of this transaction */
  GError *error;
} Update;

static sqlite3_stmt *
statement(Update *update, Which which)
{
  if (!update->statements[which])
    update->statements[which] = database_prepare(update->index->database, &update->error, texts[which], "");
  else
    sqlite3_reset(update->statements[which]);
  return update->statements[which];
}

static gboolean
run(Update *update, sqlite3_stmt *prepared)
{
  gboolean done = prepared && database_step(prepared, &update->error) == 0;
  if (prepared)
    sqlite3_reset(prepared); /* one that is open would hold the transaction */
  return done;
}

static gboolean
run_by_id(Update *update, Which which, gint64 id)
{
  sqlite3_stmt *prepared = statement(update, which);
  if (prepared)
    sqlite3_bind_int64(prepared, 1, id);
  return run(update, prepared);
}

/* What is known of a file. */
typedef struct {
  gint64 id; /* 0: nothing */
  gint64 size, mtime, inode;
  gboolean hashed;
  guint8 hash[REPLICA_HASH_SIZE];
} Known;

static gboolean
look_up(Update *update, const char *path, Known *known)
{
  *known = (Known){0};
  sqlite3_stmt *prepared = statement(update, FIND);
  if (!prepared)
    return FALSE;
  sqlite3_bind_int64(prepared, 1, update->share->id);
  sqlite3_bind_text(prepared, 2, path, -1, SQLITE_STATIC);
  int step = database_step(prepared, &update->error);
  if (step > 0) {
    known->id = sqlite3_column_int64(prepared, 0);
    known->size = sqlite3_column_int64(prepared, 1);
    known->mtime = sqlite3_column_int64(prepared, 2);
    known->inode = sqlite3_column_int64(prepared, 3);
    known->hashed = database_blob(prepared, 4, known->hash, sizeof known->hash);
  }
  sqlite3_reset(prepared);
  return step >= 0;
}

static gboolean
is_text(const char *bytes, gsize length)
{
  return length == 0 || (!memchr(bytes, 0, length) && g_utf8_validate(bytes, length, NULL));
}

/* What is in the file, if it is to be indexed: the hash, and how much text; -1 for none. A file that cannot
 * be read is found by its name. */
static gssize
read_text(Update *update, const GenerationEntry *entry, const char *name, Known *now)
{
  now->hashed = FALSE;
  if (entry->status.st_size > SHARE_TEXT_MAX)
    return -1;
  g_auto(Fd) file = replica_path_open_child(entry->fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  gssize length = file < 0 ? -1 : io_read_all(file, update->text, SHARE_TEXT_MAX);
  if (length < 0)
    return -1;
  crypto_generichash(now->hash, sizeof now->hash, (const guint8 *)update->text, length, NULL, 0);
  now->hashed = TRUE;
  if (!is_text(update->text, length))
    return -1;
  for (gssize i = 0; i < length; i++) /* the marks of a snippet are not to be in any text */
    if (update->text[i] == '\1')
      update->text[i] = ' ';
  return length;
}

static gboolean
put_words(Update *update, gint64 id, const char *path, gssize length)
{
  g_autofree char *shown = g_strconcat(update->share->name, "/", path, NULL);
  sqlite3_stmt *prepared = statement(update, WORDS_IN);
  if (!prepared)
    return FALSE;
  sqlite3_bind_int64(prepared, 1, id);
  sqlite3_bind_text(prepared, 2, shown, -1, SQLITE_STATIC);
  sqlite3_bind_text(prepared, 3, update->text, MAX(length, 0), SQLITE_STATIC);
  gboolean done = run(update, prepared);
  sqlite3_clear_bindings(prepared);
  return done;
}

static gboolean
put_file(Update *update, const char *path, Known *now, gssize length)
{
  sqlite3_stmt *prepared = statement(update, now->id ? CHANGE : INSERT);
  if (!prepared)
    return FALSE;
  int at = 1;
  if (now->id) {
    sqlite3_bind_int64(prepared, at++, now->id);
  } else {
    sqlite3_bind_int64(prepared, at++, update->share->id);
    sqlite3_bind_text(prepared, at++, path, -1, SQLITE_STATIC);
  }
  sqlite3_bind_int64(prepared, at++, now->size);
  sqlite3_bind_int64(prepared, at++, now->mtime);
  sqlite3_bind_int64(prepared, at++, now->inode);
  if (now->hashed)
    sqlite3_bind_blob(prepared, at, now->hash, sizeof now->hash, SQLITE_STATIC);
  else
    sqlite3_bind_null(prepared, at);
  if (!run(update, prepared))
    return FALSE;
  if (now->id && !run_by_id(update, WORDS_OUT, now->id))
    return FALSE;
  if (!now->id)
    now->id = sqlite3_last_insert_rowid(update->index->database);
  return put_words(update, now->id, path, length);
}

static gboolean
touch(Update *update, const Known *now)
{
  sqlite3_stmt *prepared = statement(update, TOUCH);
  if (!prepared)
    return FALSE;
  sqlite3_bind_int64(prepared, 1, now->id);
  sqlite3_bind_int64(prepared, 2, now->mtime);
  sqlite3_bind_int64(prepared, 3, now->inode);
  return run(update, prepared);
}

static gboolean
next_batch(Update *update, gsize bytes)
{
  update->files++;
  update->bytes += bytes;
  if (update->files < BATCH_FILES && update->bytes < BATCH_BYTES)
    return TRUE;
  update->files = update->bytes = 0;
  return database_run(update->index->database, &update->error, "COMMIT", "") &&
         database_begin(update->index->database, &update->error);
}

static gboolean
index_file(Update *update, const char *path, const GenerationEntry *entry, const char *name)
{
  Known before, now = {.size = entry->status.st_size,
                       .mtime = entry->status.st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) +
                                entry->status.st_mtim.tv_nsec,
                       .inode = (gint64)entry->status.st_ino};
  gssize length = 0;
  if (!look_up(update, path, &before))
    return FALSE;
  now.id = before.id;
  /* A file that is the same in two generations is the same inode of a layer, unless layers were merged. */
  gboolean same =
      before.id && before.size == now.size && before.mtime == now.mtime && before.inode == now.inode;
  if (!same) {
    length = read_text(update, entry, name, &now);
    gboolean content = before.id && before.size == now.size && before.hashed && now.hashed &&
                       memcmp(before.hash, now.hash, sizeof now.hash) == 0;
    if (content ? !touch(update, &now) : !put_file(update, path, &now, length))
      return FALSE;
  }
  return run_by_id(update, SEEN, now.id) && next_batch(update, MAX(length, 0));
}

/* An empty file of a layer may stand for a device node. */
static gboolean
is_file(const GenerationEntry *entry, const char *name)
{
  if (!S_ISREG(entry->status.st_mode))
    return FALSE;
  if (entry->status.st_size > 0)
    return TRUE;
  g_auto(ReplicaFacts) facts = {0};
  replica_facts_from_stat(&facts, &entry->status);
  generation_node_recognise(entry->fd, name, &facts);
  return facts.type == REPLICA_FILE;
}

static int
visit(const GenerationDirectory *directory, const char *name, const GenerationEntry *entry, const char *below,
      gpointer data)
{
  Update *update = data;
  if (!S_ISREG(entry->status.st_mode) || !g_utf8_validate(below, -1, NULL) ||
      strlen(below) + 65 >= SHARE_PATH_MAX || !share_admits(update->share, below) || !is_file(entry, name))
    return 0;
  return index_file(update, below, entry, name) ? 0 : ECANCELED;
}

/* What was not seen is not there any more. */
static gboolean
drop_unseen(Update *update)
{
  static const char unseen[] =
      "SELECT id FROM file WHERE share=?1 AND id>?2 AND id NOT IN (SELECT id FROM temp.seen)"
      " ORDER BY id LIMIT 500";
  gint64 last = 0;
  for (gboolean more = TRUE; more;) {
    gint64 ids[500];
    guint count = 0;
    {
      g_autoptr(DatabaseStatement) rows =
          database_prepare(update->index->database, &update->error, unseen, "ii", update->share->id, last);
      while (rows && count < G_N_ELEMENTS(ids) && database_step(rows, &update->error) > 0)
        ids[count++] = sqlite3_column_int64(rows, 0);
    }
    for (guint i = 0; !update->error && i < count; i++)
      if (run_by_id(update, WORDS_OUT, ids[i]) &&
          database_run(update->index->database, &update->error, "DELETE FROM file WHERE id=?", "i", ids[i]))
        next_batch(update, 0);
    more = !update->error && count > 0;
    last = count ? ids[count - 1] : last;
  }
  return !update->error;
}

static gboolean
walk(Update *update, const GenerationStack *stack, gboolean *missing)
{
  g_autofree char *place = replica_path_join(GENERATION_TREE, update->share->path);
  int failure = generation_stack_visit(stack, place, visit, update);
  *missing = failure == ENOENT || failure == ENOTDIR;
  if (failure && !*missing && !update->error)
    doppel_error_set(&update->error, DOPPEL_ERROR_FAILED, "cannot look at what is shared as \"%s\": %s",
                     update->share->name, g_strerror(failure));
  return !update->error;
}

static gboolean
update_share(ShareIndex *index, const Share *share, const GenerationStack *stack, guint64 generation,
             GError **error)
{
  gboolean missing = FALSE;
  Update update = {.index = index, .share = share, .text = g_malloc(SHARE_TEXT_MAX + 1)};
  gboolean done =
      sqlite3_exec(index->database,
                   "CREATE TEMP TABLE IF NOT EXISTS seen(id INTEGER PRIMARY KEY); DELETE FROM temp.seen",
                   NULL, NULL, NULL) == SQLITE_OK ||
      database_fail(index->database, &update.error);
  done = done && database_begin(index->database, &update.error);
  gboolean begun = done;
  done = done && walk(&update, stack, &missing) && drop_unseen(&update) &&
         database_run(index->database, &update.error,
                      "UPDATE share SET generation=?2, indexed=?3, missing=?4 WHERE id=?1", "iiii", share->id,
                      (gint64)generation, (gint64)g_get_real_time(), (gint64)missing);
  for (guint i = 0; i < STATEMENTS; i++)
    sqlite3_finalize(update.statements[i]);
  /* What was done so far is right as well. */
  if (begun && !database_end(index->database, TRUE, done ? &update.error : NULL))
    done = FALSE;
  g_free(update.text);
  if (update.error)
    g_propagate_error(error, update.error);
  return done;
}

/* Files of shares that are none any more. */
static gboolean
drop_orphans(ShareIndex *index, GError **error)
{
  for (gboolean left = TRUE; left;) {
    gint64 share;
    {
      g_autoptr(DatabaseStatement) row =
          database_prepare(index->database, error,
                           "SELECT share FROM file WHERE share NOT IN (SELECT id FROM share) LIMIT 1", "");
      int step = row ? database_step(row, error) : -1;
      if (step <= 0)
        return step == 0;
      share = sqlite3_column_int64(row, 0);
    }
    if (!share_index_drop(index, share, BATCH_FILES, &left, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
share_index_update(ShareIndex *index, int store, guint64 *generation, GError **error)
{
  g_autoptr(GenerationLease) lease = generation_lease_take(store, 0, error);
  g_autoptr(GenerationStack) stack = lease ? generation_lease_open(lease, error) : NULL;
  g_autoptr(GPtrArray) shares = stack ? share_index_list(index, error) : NULL;
  if (!shares)
    return FALSE;
  for (guint i = 0; i < shares->len; i++) {
    const Share *share = shares->pdata[i];
    if (share->generation != lease->number && !update_share(index, share, stack, lease->number, error))
      return FALSE;
  }
  if (generation)
    *generation = lease->number;
  return drop_orphans(index, error);
}
