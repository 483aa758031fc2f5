#include "replica/tree_index_database.h"

#include <sodium.h>

#include "base/error.h"
#include "replica/tree_packed.h"

#define BUSY_MS 5000
#define VERSION "2"

/* What is removed or held, and all below. */
#define ASIDE                                                                                                \
  "WITH RECURSIVE aside(id) AS (SELECT id FROM nodes WHERE parent IN (2, 3) UNION ALL"                       \
  " SELECT nodes.id FROM nodes JOIN aside ON nodes.parent=aside.id)"

#define COLUMNS                                                                                              \
  "parent, name, id, type, mode, uid, gid, size, mtime, rdev, dev, ino, ctime, nlink, dirty, hash, target, " \
  "xattrs, since"

/* A row of `undo` is a node as it was before a step; a node that was not there before has the step's number
 * (`since`, counted through all attempts) itself. Nodes that are no directories may be in `packs`
 * (tree_packed.h) instead of `nodes`: `first` and `name` are those of a pack's first node. */
static const char schema[] = /* 1024: TREE_CONTENT_MIN */
    "CREATE TABLE IF NOT EXISTS things(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS nodes(parent INTEGER, name BLOB, id INTEGER, type INTEGER, mode INTEGER,"
    " uid INTEGER, gid INTEGER, size INTEGER, mtime INTEGER, rdev INTEGER, dev INTEGER, ino INTEGER,"
    " ctime INTEGER, nlink INTEGER, dirty INTEGER, hash BLOB, target BLOB, xattrs BLOB, since INTEGER,"
    " PRIMARY KEY(parent, name)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS by_id ON nodes(id);"
    "CREATE INDEX IF NOT EXISTS by_inode ON nodes(ino, dev);"
    "CREATE TABLE IF NOT EXISTS packs(first INTEGER PRIMARY KEY, count INTEGER, parent INTEGER, since "
    "INTEGER,"
    " name BLOB, nodes BLOB);"
    "CREATE INDEX IF NOT EXISTS packs_by_name ON packs(parent, name);"
    "CREATE TABLE IF NOT EXISTS runs(sorted_by INTEGER, last INTEGER, first INTEGER, entries BLOB);"
    "CREATE INDEX IF NOT EXISTS runs_by_last ON runs(sorted_by, last);"
    "CREATE TABLE IF NOT EXISTS signatures(node INTEGER, hash BLOB, size INTEGER, block INTEGER,"
    " sums BLOB, PRIMARY KEY(node, hash)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS undo(seq INTEGER PRIMARY KEY, number INTEGER, parent INTEGER, name BLOB,"
    " id INTEGER, type INTEGER, mode INTEGER, uid INTEGER, gid INTEGER, size INTEGER, mtime INTEGER,"
    " rdev INTEGER, dev INTEGER, ino INTEGER, ctime INTEGER, nlink INTEGER, dirty INTEGER, hash BLOB,"
    " target BLOB, xattrs BLOB, since INTEGER);"
    "CREATE TABLE IF NOT EXISTS parts(number INTEGER PRIMARY KEY, path BLOB, position INTEGER, dev INTEGER,"
    " ino INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER, sources BLOB);";

/* Contents come in no order, so that each of them writes a page of its own. An index that is being filled for
 * the first time has them in memory instead (tree_contents.h), and this one is made when it is complete. */
static const char content_index[] =
    "CREATE INDEX IF NOT EXISTS by_content ON nodes(size, hash) WHERE hash IS NOT NULL AND size>=1024;";

static const char *const texts[SQL_STATEMENTS] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_GET] = "SELECT value FROM things WHERE name=?",
    [SQL_SET] = "INSERT OR REPLACE INTO things VALUES(?,?)",
    [SQL_NODE] = "SELECT " COLUMNS " FROM nodes WHERE id=?",
    [SQL_CHILD] = "SELECT " COLUMNS " FROM nodes WHERE parent=? AND name=?",
    [SQL_CHILDREN] = "SELECT " COLUMNS " FROM nodes WHERE parent=? ORDER BY name",
    [SQL_INODE] = "SELECT " COLUMNS " FROM nodes WHERE ino=? AND dev=? AND parent<>3",
    [SQL_COUNT] = ASIDE " SELECT (SELECT count(*) FROM nodes) - (SELECT count(*) FROM aside) - 1 +"
                        " (SELECT ifnull(sum(count), 0) FROM packs WHERE parent NOT IN aside)",
    [SQL_SIZE] = "SELECT 1 FROM nodes WHERE size=? AND size>=1024 AND hash IS NOT NULL LIMIT 1",
    [SQL_CONTENT] = "SELECT id FROM nodes WHERE size=? AND size>=1024 AND hash=?",
    [SQL_INSERT] = "INSERT OR REPLACE INTO nodes VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [SQL_UPDATE] = "UPDATE nodes SET type=?4, mode=?5, uid=?6, gid=?7, size=?8, mtime=?9, rdev=?10, dev=?11,"
                   " ino=?12, ctime=?13, nlink=?14, dirty=?15, hash=?16, target=?17, xattrs=?18"
                   " WHERE parent=?1 AND name=?2",
    [SQL_ANY] = "SELECT 1 FROM nodes LIMIT 1",
    [SQL_DELETE_SINCE] = "DELETE FROM nodes WHERE since>?",
    [SQL_DELETE] = "DELETE FROM nodes WHERE id=?",
    [SQL_TOUCH] = "UPDATE nodes SET dev=?, ino=?, ctime=?, nlink=?, dirty=? WHERE id=?",
    [SQL_DOUBT] = "UPDATE nodes SET hash=NULL, dirty=1 WHERE id=?",
    [SQL_DOUBT_UNDO] = "UPDATE undo SET hash=NULL, dirty=1 WHERE id=? AND number>?",
    [SQL_MOVE] = "UPDATE nodes SET parent=?, name=? WHERE id=?",
    [SQL_TOP_ID] = "SELECT max((SELECT ifnull(max(id), 0) FROM nodes), (SELECT ifnull(max(id), 0) FROM undo),"
                   " ifnull((SELECT first+count-1 FROM packs ORDER BY first DESC LIMIT 1), 0))",
    [SQL_SIGNATURE] = "SELECT size, block, sums FROM signatures WHERE node=? AND hash=?",
    [SQL_SIGN] = "INSERT OR REPLACE INTO signatures VALUES(?,?,?,?,?)",
    [SQL_UNSIGN] = "DELETE FROM signatures WHERE node=?",
    [SQL_REMEMBER] = "INSERT INTO undo SELECT NULL, ?, " COLUMNS " FROM nodes WHERE id=?",
    [SQL_NEWEST_UNDO] = "SELECT seq, id FROM undo WHERE number>? ORDER BY seq DESC LIMIT 1",
    [SQL_RESTORE] = "INSERT OR REPLACE INTO nodes SELECT " COLUMNS " FROM undo WHERE seq=?",
    [SQL_UNDONE] = "DELETE FROM undo WHERE seq=?",
    [SQL_FORGET_UNDO] = "DELETE FROM undo WHERE number<=?",
    [SQL_PUT_PART] = "INSERT OR REPLACE INTO parts VALUES(?,?,?,?,?,?,?,?,?)",
    [SQL_PART] = "SELECT number, path, position, dev, ino, size, mtime, ctime, sources FROM parts"
                 " ORDER BY number DESC LIMIT 1",
    [SQL_FORGET_PARTS] = "DELETE FROM parts WHERE number<(SELECT max(number) FROM parts WHERE number<=?)",
    [SQL_PARTS_BACK] = "DELETE FROM parts WHERE number>?",
    [SQL_DROP_ASIDE] = ASIDE " DELETE FROM nodes WHERE id IN aside",
    [SQL_SIGN_LIKE] = "INSERT OR REPLACE INTO signatures SELECT ?, hash, size, block, sums FROM signatures"
                      " WHERE node=? AND hash=?",
    [SQL_DROP_REPLACED_SIGNATURES] =
        "DELETE FROM signatures WHERE (node, hash) IN (SELECT id, hash FROM undo WHERE number<=?) AND"
        " NOT EXISTS(SELECT 1 FROM nodes WHERE nodes.id=signatures.node AND nodes.hash=signatures.hash)",
    [SQL_DROP_SIGNATURES_ASIDE] = ASIDE " DELETE FROM signatures WHERE node IN aside",
    [SQL_ANY_PACK] = "SELECT 1 FROM packs LIMIT 1",
    [SQL_PACK] = "INSERT INTO packs VALUES(?,?,?,?,?,?)",
    [SQL_UNPACK] = "DELETE FROM packs WHERE first=?",
    [SQL_UNSIGN_PACK] = "DELETE FROM signatures WHERE node BETWEEN ? AND ?",
    [SQL_PACKS] = "SELECT first, parent, nodes FROM packs",
    [SQL_PACK_OF] =
        "SELECT first, parent, nodes, count FROM packs WHERE first<=? ORDER BY first DESC LIMIT 1",
    [SQL_PACKS_IN] = "SELECT first, parent, nodes FROM packs WHERE parent=? ORDER BY name",
    [SQL_PACKS_BEFORE] =
        "SELECT first, parent, nodes FROM packs WHERE parent=? AND name<=? ORDER BY name DESC",
    [SQL_PACKS_SINCE] = "SELECT first, parent, nodes FROM packs WHERE since>? LIMIT 1",
    [SQL_PACKS_ASIDE] = ASIDE " SELECT first, count FROM packs WHERE parent IN aside",
    [SQL_RUN] = "INSERT INTO runs VALUES(?,?,?,?)",
    [SQL_RUNS] = "SELECT first, entries FROM runs WHERE sorted_by=? AND last>=? ORDER BY last",
};

/* SQLITE_ERROR: it is sound, and its tables are not these. Everything else is no fault of what is in it. */
static DoppelErrorCode
code_of(int result)
{
  switch (result & 0xff) {
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
  case SQLITE_ERROR:
    return DOPPEL_ERROR_MISMATCH;
  default:
    return DOPPEL_ERROR_FAILED;
  }
}

static void
fail(TreeIndex *index, const char *what)
{
  if (!index->error)
    doppel_error_set(&index->error, code_of(sqlite3_errcode(index->db)),
                     "the index of the clone's tree: %s: %s", what, sqlite3_errmsg(index->db));
}

sqlite3_stmt *
tree_database_statement(TreeIndex *index, SqlStatement which)
{
  if (index->error)
    return NULL;
  sqlite3_stmt **statement = &index->statements[which];
  if (!*statement && sqlite3_prepare_v3(index->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, statement,
                                        NULL) != SQLITE_OK)
    fail(index, "a statement is refused");
  if (*statement)
    sqlite3_reset(*statement);
  return *statement;
}

sqlite3_stmt *
tree_database_change(TreeIndex *index, SqlStatement which)
{
  if (!index->writing) {
    index->writing = TRUE;
    tree_database_run(index, tree_database_statement(index, SQL_BEGIN));
  }
  return tree_database_statement(index, which);
}

gboolean
tree_database_step(TreeIndex *index, sqlite3_stmt *statement)
{
  if (!statement)
    return FALSE;
  int result = sqlite3_step(statement);
  if (result != SQLITE_ROW && result != SQLITE_DONE)
    fail(index, "it cannot be used");
  if (result != SQLITE_ROW)
    sqlite3_reset(statement);
  return result == SQLITE_ROW;
}

void
tree_database_run(TreeIndex *index, sqlite3_stmt *statement)
{
  while (tree_database_step(index, statement))
    ;
}

static gboolean
run_text(TreeIndex *index, const char *text)
{
  if (sqlite3_exec(index->db, text, NULL, NULL, NULL) == SQLITE_OK)
    return TRUE;
  fail(index, "it cannot be used");
  return FALSE;
}

static gboolean
has_row(TreeIndex *index, SqlStatement which)
{
  gboolean has = tree_database_step(index, tree_database_statement(index, which));
  tree_database_statement(index, which);
  return has;
}

static void
put_secret(TreeIndex *index)
{
  guint8 secret[32];
  randombytes_buf(secret, sizeof secret);
  g_autoptr(GBytes) value = g_bytes_new(secret, sizeof secret), version = g_bytes_new_static(VERSION, 1);
  tree_index_set(index, "secret", value);
  tree_index_set(index, "version", version);
}

static guint64
number_of(TreeIndex *index, const char *name)
{
  g_autoptr(GBytes) value = tree_index_get(index, name);
  guint64 number = 0;
  if (value && g_bytes_get_size(value) == sizeof number)
    memcpy(&number, g_bytes_get_data(value, NULL), sizeof number);
  return number;
}

/* Only makes finding faster, and may come the next time: the disk may be full. */
static void
make_content_index(TreeIndex *index)
{
  if (!index->writing)
    sqlite3_exec(index->db, content_index, NULL, NULL, NULL);
}

static gboolean
read_things(TreeIndex *index, gboolean look)
{
  g_autoptr(GBytes) had = tree_index_get(index, "version");
  if (!had && !look)
    put_secret(index);
  g_autoptr(GBytes) version = tree_index_get(index, "version"), secret = tree_index_get(index, "secret");
  if (index->error)
    return FALSE;
  if (!version || g_bytes_get_size(version) != 1 ||
      memcmp(g_bytes_get_data(version, NULL), VERSION, 1) != 0 || !secret)
    return doppel_error_set(&index->error, DOPPEL_ERROR_MISMATCH,
                            "the index of the clone's tree is another version's");
  signature_key_init(&index->key, g_bytes_get_data(secret, NULL), g_bytes_get_size(secret));
  index->last = index->saved_last = number_of(index, "last");
  index->durable = number_of(index, "durable");
  index->base = number_of(index, "base");
  sqlite3_stmt *row = tree_database_statement(index, SQL_TOP_ID);
  if (tree_database_step(index, row))
    index->next_id = MAX(sqlite3_column_int64(row, 0), TREE_GONE) + 1;
  tree_database_statement(index, SQL_TOP_ID);
  g_autoptr(GBytes) ordered = tree_index_get(index, "ordered");
  index->ordered = ordered != NULL;
  index->has_packs = has_row(index, SQL_ANY_PACK);
  index->filling = !index->has_packs && !has_row(index, SQL_ANY) && !look;
  if (index->filling)
    index->contents = tree_contents_new();
  else if (!look)
    make_content_index(index);
  if (!index->filling && !index->ordered && index->has_packs)
    tree_packed_recall(index);
  return !index->error;
}

void
tree_database_filled(TreeIndex *index)
{
  if (index->filling)
    run_text(index, content_index);
  index->filling = FALSE;
  g_clear_pointer(&index->contents, tree_contents_free);
  g_clear_pointer(&index->inodes, tree_inodes_free);
}

/* Whoever makes it has not come so far that there is something to read. */
static gboolean
is_made(TreeIndex *index)
{
  sqlite3_stmt *row = NULL;
  gboolean made = sqlite3_prepare_v2(index->db, texts[SQL_GET], -1, &row, NULL) == SQLITE_OK;
  int result = made ? sqlite3_bind_text(row, 1, "version", -1, SQLITE_STATIC) : sqlite3_errcode(index->db);
  result = made ? sqlite3_step(row) : result;
  sqlite3_finalize(row);
  return (result != SQLITE_DONE && result != SQLITE_ERROR) ||
         doppel_error_set(&index->error, DOPPEL_ERROR_NOT_FOUND,
                          "the index of the clone's tree is being made: nothing is in it yet");
}

static gboolean
prepare(TreeIndex *index, gboolean look)
{
  if (look)
    return is_made(index) && run_text(index, "PRAGMA cache_size=-8192;") && read_things(index, TRUE);
  return run_text(index, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-8192;") &&
         run_text(index, schema) && read_things(index, FALSE);
}

gboolean
tree_database_open(TreeIndex *index, const char *path, gboolean look, GError **error)
{
  int how = look ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  int flags = how | SQLITE_OPEN_NOMUTEX;
  gboolean good = sqlite3_open_v2(path, &index->db, flags, NULL) == SQLITE_OK &&
                  sqlite3_busy_timeout(index->db, BUSY_MS) == SQLITE_OK;
  if (!good)
    fail(index, path);
  if (good && prepare(index, look))
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&index->error));
  return FALSE;
}

void
tree_database_close(TreeIndex *index)
{
  for (guint i = 0; i < SQL_STATEMENTS; i++)
    sqlite3_finalize(index->statements[i]);
  sqlite3_close(index->db);
  g_clear_error(&index->error);
  tree_contents_free(index->contents);
  tree_inodes_free(index->inodes);
}
