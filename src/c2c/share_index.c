#include <fnmatch.h>
#include <string.h>

#include "base/error.h"
#include "c2c/share_index_private.h"
#include "c2c/share_message.h"

#define BUSY_MS    10000
#define DROP_BATCH 500
#define STEPS      2000 /* of SQLite's machine between two looks whether the asker is still there */

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS share("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, path TEXT NOT NULL, hidden INTEGER "
    "NOT NULL,"
    " exclude TEXT NOT NULL, generation INTEGER NOT NULL DEFAULT 0, indexed INTEGER NOT NULL DEFAULT 0,"
    " missing INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE IF NOT EXISTS file("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, share INTEGER NOT NULL, path TEXT NOT NULL, size INTEGER NOT "
    "NULL,"
    " mtime INTEGER NOT NULL, inode INTEGER NOT NULL, hash BLOB, UNIQUE(share, path));"
    "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(path, content, tokenize='unicode61 "
    "remove_diacritics 2');";

void
share_free(Share *share)
{
  if (!share)
    return;
  g_free(share->name);
  g_free(share->path);
  g_strfreev(share->exclude);
  g_free(share);
}

gboolean
share_admits(const Share *share, const char *relative)
{
  g_auto(GStrv) parts = g_strsplit(relative, "/", -1);
  for (char **part = parts; *part; part++) {
    if ((*part)[0] == '.' && !share->hidden)
      return FALSE;
    for (char **pattern = share->exclude; *pattern; pattern++)
      if (fnmatch(*pattern, *part, 0) == 0)
        return FALSE;
  }
  /* A pattern of a path excludes what is below it, too. */
  g_autofree char *path = g_strdup(relative);
  for (char *end = path + strlen(path); end; end = strrchr(path, '/')) {
    *end = '\0';
    for (char **pattern = share->exclude; *pattern; pattern++)
      if (fnmatch(*pattern, path, FNM_PATHNAME) == 0)
        return FALSE;
  }
  return TRUE;
}

ShareIndex *
share_index_open(const char *directory, GError **error)
{
  g_autoptr(ShareIndex) index = g_new0(ShareIndex, 1);
  g_autofree char *path = g_build_filename(directory, "shares.db", NULL);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path, &index->database, flags, NULL) != SQLITE_OK) {
    database_fail(index->database, error);
    return NULL;
  }
  sqlite3_busy_timeout(index->database, BUSY_MS);
  if (!database_run(index->database, error, "PRAGMA journal_mode = WAL", "") ||
      !database_run(index->database, error, "PRAGMA synchronous = NORMAL", ""))
    return NULL;
  if (sqlite3_exec(index->database, schema, NULL, NULL, NULL) != SQLITE_OK) {
    database_fail(index->database, error);
    return NULL;
  }
  return g_steal_pointer(&index);
}

void
share_index_close(ShareIndex *index)
{
  if (!index)
    return;
  sqlite3_close(index->database);
  g_free(index);
}

/* ---- what is shared ---- */

gboolean
share_index_add(ShareIndex *index, const char *name, const char *path, gboolean hidden,
                const char *const *exclude, GError **error)
{
  g_autofree char *patterns = exclude ? g_strjoinv("\n", (char **)exclude) : g_strdup("");
  if (!database_run(
          index->database, error,
          "INSERT INTO share(name, path, hidden, exclude) VALUES(?,?,?,?) ON CONFLICT(name) DO NOTHING",
          "ttit", name, path, (gint64)hidden, patterns))
    return FALSE;
  return sqlite3_changes(index->database) > 0 ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE, "something else is shared as \"%s\"", name);
}

gboolean
share_index_drop(ShareIndex *index, gint64 share, guint most, gboolean *left, GError **error)
{
  static const char *const steps[] = {
      "DELETE FROM words WHERE rowid IN (SELECT id FROM file WHERE share=?1 ORDER BY id LIMIT ?2)",
      "DELETE FROM file WHERE id IN (SELECT id FROM file WHERE share=?1 ORDER BY id LIMIT ?2)"};
  if (!database_begin(index->database, error))
    return FALSE;
  gboolean done = TRUE;
  for (guint i = 0; done && i < G_N_ELEMENTS(steps); i++)
    done = database_run(index->database, error, steps[i], "ii", share, (gint64)most);
  *left = done && sqlite3_changes(index->database) > 0;
  return database_end(index->database, done, error);
}

gboolean
share_index_remove(ShareIndex *index, const char *name, GError **error)
{
  g_autoptr(DatabaseStatement) row =
      database_prepare(index->database, error, "SELECT id FROM share WHERE name=?", "t", name);
  int step = row ? database_step(row, error) : -1;
  if (step == 0)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "nothing is shared as \"%s\"", name);
  if (step < 0)
    return FALSE;
  gint64 id = sqlite3_column_int64(row, 0);
  sqlite3_reset(row);
  /* The row goes first: without it nothing is found. The rest may be left to the next update. */
  gboolean left = database_run(index->database, error, "DELETE FROM share WHERE id=?", "i", id), done = left;
  while (done && left)
    done = share_index_drop(index, id, DROP_BATCH, &left, error);
  return done;
}

static Share *
read_share(sqlite3_stmt *row)
{
  Share *share = g_new0(Share, 1);
  const char *patterns = (const char *)sqlite3_column_text(row, 4);
  share->id = sqlite3_column_int64(row, 0);
  share->name = g_strdup((const char *)sqlite3_column_text(row, 1));
  share->path = g_strdup((const char *)sqlite3_column_text(row, 2));
  share->hidden = sqlite3_column_int(row, 3) != 0;
  share->exclude = g_strsplit(patterns ? patterns : "", "\n", -1);
  share->generation = sqlite3_column_int64(row, 5);
  share->indexed_us = sqlite3_column_int64(row, 6);
  share->missing = sqlite3_column_int(row, 7) != 0;
  share->files = sqlite3_column_int64(row, 8);
  share->bytes = sqlite3_column_double(row, 9);
  return share;
}

#define COLUMNS "id, name, path, hidden, exclude, generation, indexed, missing"

GPtrArray *
share_index_list(ShareIndex *index, GError **error)
{
  g_autoptr(GPtrArray) shares = g_ptr_array_new_with_free_func((GDestroyNotify)share_free);
  g_autoptr(DatabaseStatement) rows =
      database_prepare(index->database, error,
                       "SELECT " COLUMNS ", (SELECT count(*) FROM file WHERE share=share.id),"
                       " (SELECT total(size) FROM file WHERE share=share.id) FROM share ORDER BY name",
                       "");
  int step = -1;
  while (rows && (step = database_step(rows, error)) > 0)
    g_ptr_array_add(shares, read_share(rows));
  return step == 0 ? g_steal_pointer(&shares) : NULL;
}

Share *
share_index_find(ShareIndex *index, const char *path, const char **relative, GError **error)
{
  const char *slash = strchr(path, '/');
  g_autofree char *name = slash ? g_strndup(path, slash - path) : NULL;
  g_autoptr(Share) share = NULL;
  if (name) {
    g_autoptr(DatabaseStatement) row = database_prepare(
        index->database, error, "SELECT " COLUMNS ", 0, 0 FROM share WHERE name=?", "t", name);
    int step = row ? database_step(row, error) : -1;
    if (step < 0)
      return NULL;
    share = step > 0 ? read_share(row) : NULL;
  }
  if (share && share_admits(share, slash + 1)) {
    *relative = slash + 1;
    return g_steal_pointer(&share);
  }
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no %s", path);
  return NULL;
}

gboolean
share_index_is_behind(ShareIndex *index, guint64 generation)
{
  g_autoptr(DatabaseStatement) row = database_prepare(
      index->database, NULL, "SELECT 1 FROM share WHERE generation<>? LIMIT 1", "i", (gint64)generation);
  return row && database_step(row, NULL) > 0;
}

/* ---- finding ---- */

typedef struct {
  gboolean (*cancelled)(gpointer data);
  gpointer data;
} Asker;

static int
look_at_asker(void *data)
{
  const Asker *asker = data;
  return asker->cancelled && asker->cancelled(asker->data);
}

#define MARK "\1" /* around what was found in a snippet; no text has it (share_update.c) */

/* The snippet as a line; nothing where the words are elsewhere. */
static char *
clean(const char *snippet)
{
  g_autoptr(GString) line = g_string_new(NULL);
  if (!snippet || !strstr(snippet, MARK))
    return g_strdup("");
  gboolean space = TRUE;
  for (; *snippet && line->len < SHARE_SNIPPET_MAX - 8; snippet = g_utf8_next_char(snippet)) {
    gunichar letter = g_utf8_get_char(snippet);
    if (letter == MARK[0])
      continue;
    gboolean is_space = g_unichar_isspace(letter) || g_unichar_iscntrl(letter);
    if (!is_space)
      g_string_append_unichar(line, letter);
    else if (!space)
      g_string_append_c(line, ' ');
    space = is_space;
  }
  g_strchomp(line->str);
  return g_strdup(line->str);
}

/* Of more files than RANKED that have the words those are ranked that were indexed last: a word that is in
 * nearly every file would otherwise make each question look at all of them.
 *
 * Two statements: the best rows, which FTS5 finds without looking at texts; then what is told of each. */
#define RANKED "1000"
static const char best[] = "SELECT rowid, rank FROM (SELECT rowid, bm25(words, 4.0, 1.0) AS rank FROM words"
                           " WHERE words MATCH ?1 ORDER BY rowid DESC LIMIT " RANKED ")"
                           " ORDER BY rank LIMIT ?2";
static const char told[] = "SELECT share.name || '/' || file.path, file.size, file.mtime,"
                           " snippet(words, 1, char(1), char(1), '…', 12)"
                           " FROM words JOIN file ON file.id=words.rowid JOIN share ON share.id=file.share"
                           " WHERE words MATCH ?1 AND words.rowid=?2";

static int
tell(sqlite3_stmt *statement, gint64 id, double rank, gboolean (*hit)(const ShareHit *hit, gpointer data),
     gpointer data, GError **error)
{
  sqlite3_reset(statement);
  sqlite3_bind_int64(statement, 2, id);
  int step = database_step(statement, error);
  if (step <= 0)
    return step;
  g_autofree char *snippet = clean((const char *)sqlite3_column_text(statement, 3));
  ShareHit found = {.path = (const char *)sqlite3_column_text(statement, 0),
                    .size = sqlite3_column_int64(statement, 1),
                    .mtime_ns = sqlite3_column_int64(statement, 2),
                    .rank = rank,
                    .snippet = snippet};
  return hit(&found, data) ? 1 : 0;
}

gboolean
share_index_search(ShareIndex *index, const char *match, guint limit, gboolean (*cancelled)(gpointer data),
                   gboolean (*hit)(const ShareHit *hit, gpointer data), gpointer data, GError **error)
{
  g_autoptr(GError) problem = NULL;
  Asker asker = {cancelled, data};
  g_autoptr(DatabaseStatement) rows =
      database_prepare(index->database, error, best, "ti", match, (gint64)limit);
  g_autoptr(DatabaseStatement) row =
      rows ? database_prepare(index->database, error, told, "ti", match, (gint64)0) : NULL;
  if (!row)
    return FALSE;
  sqlite3_progress_handler(index->database, STEPS, look_at_asker, &asker);
  int step = 1, over = 0;
  while (step > 0 && !over && (step = database_step(rows, &problem)) > 0) {
    over = tell(row, sqlite3_column_int64(rows, 0), sqlite3_column_double(rows, 1), hit, data, &problem);
    if (over < 0)
      step = -1;
  }
  gboolean interrupted = sqlite3_errcode(index->database) == SQLITE_INTERRUPT;
  sqlite3_progress_handler(index->database, 0, NULL, NULL);
  if (step < 0 && !interrupted) {
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
  }
  return TRUE;
}
