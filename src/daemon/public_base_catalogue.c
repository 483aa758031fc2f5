/* The catalogue of the public base, and the order in which it, what devices are told, and the contents
 * change. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/public_base_private.h"
#include "replica/generation_trash.h"

#define BUSY_MS  5000
#define UNPACKED "unpacked"

static const char *const schema =
    "CREATE TABLE source(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL,"
    " added INTEGER NOT NULL, files INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE content(hash BLOB PRIMARY KEY NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE member(source INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(source, hash))"
    " WITHOUT ROWID;"
    "CREATE INDEX member_hash ON member(hash);"
    "PRAGMA user_version = 1;";

void
daemon_base_source_free(DaemonBaseSource *source)
{
  if (!source)
    return;
  g_free(source->name);
  g_free(source);
}

/* ---- opening ---- */

static gboolean
open_catalogue(DaemonBase *base, GError **error)
{
  g_autofree char *path = g_build_filename(base->directory, "catalogue.db", NULL);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path, &base->catalogue, flags, NULL) != SQLITE_OK)
    return database_fail(base->catalogue, error);
  sqlite3_busy_timeout(base->catalogue, BUSY_MS);
  return database_run(base->catalogue, error, "PRAGMA journal_mode = WAL", "") &&
         database_run(base->catalogue, error, "PRAGMA synchronous = FULL", "") &&
         database_update(base->catalogue, &schema, 1, "doppeld", error);
}

static gboolean
take_lock(DaemonBase *base, GError **error)
{
  base->lock = openat(base->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (base->lock < 0)
    return doppel_error_errno(error, "cannot make the lock of the public base in %s", base->directory);
  if (flock(base->lock, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  if (errno != EWOULDBLOCK)
    return doppel_error_errno(error, "cannot lock the public base in %s", base->directory);
  return doppel_error_set(error, DOPPEL_ERROR_GONE,
                          "another \"doppeld base\" changes the public base in %s: wait for its end",
                          base->directory);
}

/* What a package left that was being added in a crash. */
static gboolean
sweep(DaemonBase *base, GError **error)
{
  errno = generation_trash_remove(base->fd, UNPACKED);
  if (!errno)
    errno = generation_trash_sweep(base->fd);
  return errno == 0 || doppel_error_errno(error, "cannot remove %s/" UNPACKED, base->directory);
}

DaemonBase *
daemon_base_open(const char *directory, gboolean write, GError **error)
{
  g_autoptr(DaemonBase) base = g_new0(DaemonBase, 1);
  base->directory = g_strdup(directory);
  base->fd = base->lock = -1;
  if (g_mkdir_with_parents(directory, 0700) == 0)
    base->fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (base->fd < 0) {
    doppel_error_errno(error, "cannot use the public base in %s", directory);
    return NULL;
  }
  if ((write && !take_lock(base, error)) || !public_base_prepare(base->fd, error) ||
      !open_catalogue(base, error))
    return NULL;
  if (write && (!sweep(base, error) || !daemon_base_begin(base, error) || !daemon_base_settle(base, error)))
    return NULL;
  return g_steal_pointer(&base);
}

void
daemon_base_close(DaemonBase *base)
{
  if (!base)
    return;
  sqlite3_close(base->catalogue);
  io_close(&base->fd);
  io_close(&base->lock);
  g_free(base->directory);
  g_free(base);
}

/* ---- transactions ---- */

gboolean
daemon_base_begin(DaemonBase *base, GError **error)
{
  return database_begin(base->catalogue, error);
}

gboolean
daemon_base_end(DaemonBase *base, gboolean good, GError **error)
{
  return database_end(base->catalogue, good, error);
}

gboolean
daemon_base_begin_source(DaemonBase *base, const char *name, DaemonBaseKind kind, gint64 *id, GError **error)
{
  gint64 now = g_get_real_time() / G_USEC_PER_SEC;
  if (!database_run(base->catalogue, error,
                    "DELETE FROM member WHERE source IN (SELECT id FROM source WHERE name = ?)", "t", name) ||
      !database_run(base->catalogue, error,
                    "INSERT OR REPLACE INTO source(name, kind, added) VALUES(?, ?, ?)", "tii", name,
                    (gint64)kind, now))
    return FALSE;
  *id = sqlite3_last_insert_rowid(base->catalogue);
  return TRUE;
}

gboolean
daemon_base_add_content(DaemonBase *base, gint64 source, const guint8 hash[static GENERATION_CONTENT_HASH],
                        guint64 size, GError **error)
{
  return database_run(base->catalogue, error, "INSERT OR IGNORE INTO content VALUES(?, ?)", "bi", hash,
                      (gsize)GENERATION_CONTENT_HASH, (gint64)size) &&
         database_run(base->catalogue, error, "INSERT OR IGNORE INTO member VALUES(?, ?)", "ib", source, hash,
                      (gsize)GENERATION_CONTENT_HASH);
}

gboolean
daemon_base_end_source(DaemonBase *base, gint64 source, guint64 files, GError **error)
{
  return database_run(base->catalogue, error, "UPDATE source SET files = ? WHERE id = ?", "ii", (gint64)files,
                      source);
}

gboolean
daemon_base_each(DaemonBase *base, DaemonBaseEach each, gpointer user_data, GError **error)
{
  guint8 hash[GENERATION_CONTENT_HASH];
  g_autoptr(DatabaseStatement) statement =
      database_prepare(base->catalogue, error, "SELECT hash, size FROM content ORDER BY hash", "");
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0)
    if (database_blob(statement, 0, hash, sizeof hash) &&
        !each(user_data, hash, sqlite3_column_int64(statement, 1), error))
      return FALSE;
  return step == 0;
}

gboolean
daemon_base_forget_content(DaemonBase *base, const guint8 hash[static GENERATION_CONTENT_HASH],
                           GError **error)
{
  return database_run(base->catalogue, error, "DELETE FROM content WHERE hash = ?", "b", hash,
                      (gsize)GENERATION_CONTENT_HASH);
}

/* ---- settling ---- */

static gboolean
add_keys(gpointer user_data, const guint8 hash[static GENERATION_CONTENT_HASH], guint64 size, GError **error)
{
  GArray *keys = user_data;
  guint64 key = public_base_key(hash), size_key = public_base_size_key(size);
  g_array_append_val(keys, key);
  if (size >= PUBLIC_BASE_LARGE)
    g_array_append_val(keys, size_key);
  return TRUE;
}

typedef struct {
  DaemonBase *base;
  sqlite3_stmt *statement;
  GArray *extra; /* of hashes */
} Unnamed;

/* Asked once for each file of the base; the statement is prepared once. */
static void
note_unnamed(gpointer user_data, const guint8 hash[static GENERATION_CONTENT_HASH])
{
  Unnamed *unnamed = user_data;
  sqlite3_reset(unnamed->statement);
  sqlite3_bind_blob(unnamed->statement, 1, hash, GENERATION_CONTENT_HASH, SQLITE_STATIC);
  if (sqlite3_step(unnamed->statement) == SQLITE_DONE)
    g_array_append_vals(unnamed->extra, hash, GENERATION_CONTENT_HASH);
  sqlite3_reset(unnamed->statement);
}

/* Files that the catalogue does not name. */
static gboolean
remove_unnamed(DaemonBase *base, GError **error)
{
  g_autoptr(DatabaseStatement) statement =
      database_prepare(base->catalogue, error, "SELECT 1 FROM content WHERE hash = ?", "");
  g_autoptr(GArray) extra = g_array_new(FALSE, FALSE, sizeof(guint8));
  Unnamed unnamed = {base, statement, extra};
  if (!statement || !public_base_list(base->fd, note_unnamed, &unnamed, error))
    return FALSE;
  for (guint at = 0; at < extra->len; at += GENERATION_CONTENT_HASH)
    if (!public_base_remove(base->fd, (const guint8 *)extra->data + at, error))
      return FALSE;
  return TRUE;
}

/* What devices are told names less and less until it says what the catalogue will say: then that may be said,
 * and then what is not told any more may go. What was added is on the disk before. */
gboolean
daemon_base_settle(DaemonBase *base, GError **error)
{
  g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(guint64));
  gboolean good = database_run(base->catalogue, error,
                               "DELETE FROM content WHERE hash NOT IN (SELECT hash FROM member)", "") &&
                  public_base_flush(base->fd, error) && daemon_base_each(base, add_keys, keys, error) &&
                  public_base_tell(base->fd, (guint64 *)keys->data, keys->len, error);
  return daemon_base_end(base, good, error) && remove_unnamed(base, error);
}

/* ---- looking ---- */

GPtrArray *
daemon_base_sources(DaemonBase *base, GError **error)
{
  static const char question[] =
      "SELECT name, kind, added, files, count(content.hash), ifnull(sum(content.size), 0),"
      " count(member.hash) - count(content.hash) FROM source LEFT JOIN member ON member.source = source.id"
      " LEFT JOIN content ON content.hash = member.hash GROUP BY source.id ORDER BY name";
  g_autoptr(DatabaseStatement) statement = database_prepare(base->catalogue, error, question, "");
  g_autoptr(GPtrArray) sources = g_ptr_array_new_with_free_func((GDestroyNotify)daemon_base_source_free);
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    DaemonBaseSource *source = g_new0(DaemonBaseSource, 1);
    source->name = g_strdup((const char *)sqlite3_column_text(statement, 0));
    source->kind = sqlite3_column_int(statement, 1);
    source->added = sqlite3_column_int64(statement, 2);
    source->files = sqlite3_column_int64(statement, 3);
    source->contents = sqlite3_column_int64(statement, 4);
    source->bytes = sqlite3_column_int64(statement, 5);
    source->missing = sqlite3_column_int64(statement, 6);
    g_ptr_array_add(sources, source);
  }
  return step == 0 ? g_steal_pointer(&sources) : NULL;
}

GPtrArray *
daemon_base_incomplete(DaemonBase *base, GError **error)
{
  static const char question[] = "SELECT DISTINCT name FROM source JOIN member ON member.source = source.id"
                                 " WHERE member.hash NOT IN (SELECT hash FROM content) ORDER BY name";
  g_autoptr(DatabaseStatement) statement = database_prepare(base->catalogue, error, question, "");
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0)
    g_ptr_array_add(names, g_strdup((const char *)sqlite3_column_text(statement, 0)));
  return step == 0 ? g_steal_pointer(&names) : NULL;
}

/* Bytes of all contents. */
static gboolean
read_size(DaemonBase *base, guint64 *bytes, GError **error)
{
  return database_number(base->catalogue, error, "SELECT ifnull(sum(size), 0) FROM content", (gint64 *)bytes);
}

static gboolean
forget_source(DaemonBase *base, const char *name, GError **error)
{
  if (!database_run(base->catalogue, error,
                    "DELETE FROM member WHERE source IN (SELECT id FROM source WHERE name = ?)", "t", name) ||
      !database_run(base->catalogue, error, "DELETE FROM source WHERE name = ?", "t", name))
    return FALSE;
  return sqlite3_changes(base->catalogue) > 0 ||
         doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                          "the public base has no \"%.300s\": see \"doppeld base list\"", name);
}

gboolean
daemon_base_remove(DaemonBase *base, const char *name, guint64 *bytes, GError **error)
{
  guint64 before, after;
  if (!daemon_base_begin(base, error))
    return FALSE;
  if (!read_size(base, &before, error) || !forget_source(base, name, error))
    return daemon_base_end(base, FALSE, error);
  if (!daemon_base_settle(base, error) || !read_size(base, &after, error))
    return FALSE;
  *bytes = before - after;
  return TRUE;
}
