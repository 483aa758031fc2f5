#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/database.h"
#include "base/error.h"
#include "base/line.h"
#include "c2c/send_box_private.h"
#include "c2c/send_name.h"

#define BUSY_MS 10000

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS item("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, item BLOB NOT NULL, who TEXT NOT NULL, user TEXT NOT NULL,"
    " name TEXT NOT NULL, kept TEXT UNIQUE, size INTEGER NOT NULL, hash BLOB NOT NULL, mode INTEGER NOT NULL,"
    " mtime INTEGER NOT NULL, state INTEGER NOT NULL, durable INTEGER NOT NULL DEFAULT 0,"
    " sent INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL DEFAULT 0,"
    " changed INTEGER NOT NULL, words TEXT NOT NULL DEFAULT '', statement BLOB, signature BLOB, key BLOB,"
    " UNIQUE(who, item));"
    "CREATE INDEX IF NOT EXISTS by_state ON item(state, changed);";

void
send_item_free(SendItem *item)
{
  if (!item)
    return;
  g_free(item->who);
  g_free(item->user);
  g_free(item->name);
  g_free(item->words);
  g_clear_pointer(&item->statement, g_bytes_unref);
  g_clear_pointer(&item->signature, g_bytes_unref);
  g_clear_pointer(&item->key, g_bytes_unref);
  g_free(item);
}

void
send_box_file(gint64 id, char name[static SEND_BOX_FILE])
{
  g_snprintf(name, SEND_BOX_FILE, "%" G_GINT64_FORMAT, id);
}

static GBytes *
blob(sqlite3_stmt *row, int column)
{
  int length = sqlite3_column_bytes(row, column);
  return length > 0 ? g_bytes_new(sqlite3_column_blob(row, column), length) : NULL;
}

static char *
text(sqlite3_stmt *row, int column)
{
  const char *value = (const char *)sqlite3_column_text(row, column);
  return g_strdup(value ? value : "");
}

SendItem *
send_box_item(sqlite3_stmt *row, GError **error)
{
  g_autoptr(SendItem) item = g_new0(SendItem, 1);
  item->id = sqlite3_column_int64(row, 0);
  if (!database_blob(row, 1, item->item, SEND_ITEM) || !database_blob(row, 6, item->hash, SEND_HASH)) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "box.db is damaged: an item's hash is not one");
    return NULL;
  }
  item->who = text(row, 2);
  item->user = text(row, 3);
  item->name = text(row, 4);
  item->size = sqlite3_column_int64(row, 5);
  item->mode = sqlite3_column_int64(row, 7);
  item->mtime_ns = sqlite3_column_int64(row, 8);
  item->state = sqlite3_column_int(row, 9);
  item->durable = sqlite3_column_int64(row, 10);
  item->sent = sqlite3_column_int64(row, 11);
  item->tries = sqlite3_column_int64(row, 12);
  item->due_us = sqlite3_column_int64(row, 13);
  item->changed_us = sqlite3_column_int64(row, 14);
  g_autofree char *words = text(row, 15);
  item->words = line_of(words, SEND_WORDS_MAX);
  item->statement = blob(row, 16);
  item->signature = blob(row, 17);
  item->key = blob(row, 18);
  return g_steal_pointer(&item);
}

void
send_item_row(const SendItem *item, Doppel__Send__Row *row, Doppel__Send__Receipt *receipt)
{
  *row = (Doppel__Send__Row)DOPPEL__SEND__ROW__INIT;
  row->id = item->id;
  row->user = item->user;
  row->name = item->name;
  row->size = item->size;
  row->hash = (ProtobufCBinaryData){SEND_HASH, (guint8 *)item->hash};
  row->state = item->state;
  row->done = item->state == DOPPEL__SEND__STATE__PARTIAL ? item->durable : MIN(item->sent, item->size);
  row->changed_ns = item->changed_us * 1000;
  row->due_ns = item->due_us * 1000;
  row->words = item->words;
  row->mtime_ns = item->mtime_ns;
  row->mode = item->mode;
  row->tries = item->tries;
  if (!item->statement || !item->signature || !item->key)
    return;
  *receipt = (Doppel__Send__Receipt)DOPPEL__SEND__RECEIPT__INIT;
  receipt->statement.data = (guint8 *)g_bytes_get_data(item->statement, &receipt->statement.len);
  receipt->signature.data = (guint8 *)g_bytes_get_data(item->signature, &receipt->signature.len);
  receipt->key.data = (guint8 *)g_bytes_get_data(item->key, &receipt->key.len);
  row->receipt = receipt;
}

/* ---- opening ---- */

gboolean
send_box_lasting(SendBox *box, gboolean lasting, GError **error)
{
  if (box->lasting == lasting)
    return TRUE;
  if (!database_run(box->database, error,
                    lasting ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", ""))
    return FALSE;
  box->lasting = lasting;
  return TRUE;
}

static gboolean
open_database(SendBox *box, GError **error)
{
  g_autofree char *path = g_build_filename(box->directory, "box.db", NULL);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path, &box->database, flags, NULL) != SQLITE_OK)
    return database_fail(box->database, error);
  sqlite3_busy_timeout(box->database, BUSY_MS);
  if (!database_run(box->database, error, "PRAGMA journal_mode = WAL", "") ||
      !database_run(box->database, error, "PRAGMA synchronous = NORMAL", ""))
    return FALSE;
  return sqlite3_exec(box->database, schema, NULL, NULL, NULL) == SQLITE_OK ||
         database_fail(box->database, error);
}

/* Whether nobody is receiving the item just now; then *file holds its lock. A file that is not there is free.
 */
static gboolean
is_idle(SendBox *box, const char *name, int *file)
{
  *file = openat(box->files, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  return *file < 0 || flock(*file, LOCK_EX | LOCK_NB) == 0;
}

/* Partial items that nobody went on with. */
static gboolean
expire(SendBox *box, GError **error)
{
  gint64 now = g_get_real_time();
  g_autoptr(DatabaseStatement) old = database_prepare(
      box->database, error, "SELECT id FROM item WHERE state=?1 AND changed<?2", "ii",
      (gint64)DOPPEL__SEND__STATE__PARTIAL, now - SEND_BOX_PARTIAL_S * (gint64)G_USEC_PER_SEC);
  int step;
  while (old && (step = database_step(old, error)) > 0) {
    char name[SEND_BOX_FILE];
    g_auto(Fd) file = -1;
    gint64 id = sqlite3_column_int64(old, 0);
    send_box_file(id, name);
    if (!is_idle(box, name, &file))
      continue;
    if (!database_run(box->database, error, "DELETE FROM item WHERE id=?", "i", id))
      return FALSE;
    unlinkat(box->files, name, 0);
  }
  return old && step == 0 &&
         database_run(box->database, error, "DELETE FROM item WHERE state>=?1 AND changed<?2", "ii",
                      (gint64)DOPPEL__SEND__STATE__DELIVERED,
                      now - SEND_BOX_REMEMBER_S * (gint64)G_USEC_PER_SEC);
}

static void
drop_content(SendBox *box, gint64 id)
{
  char name[SEND_BOX_FILE];
  send_box_file(id, name);
  unlinkat(box->files, name, 0);
}

gboolean
send_box_sweep(SendBox *box, GError **error)
{
  g_autoptr(DatabaseStatement) gone = database_prepare(
      box->database, error, "SELECT id FROM item WHERE state IN (4, 5, 6) AND durable>=0", "");
  g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint64));
  int step;
  while (gone && (step = database_step(gone, error)) > 0) {
    gint64 id = sqlite3_column_int64(gone, 0);
    g_array_append_val(ids, id);
  }
  if (!gone || step < 0)
    return FALSE;
  if (ids->len == 0)
    return TRUE;
  sqlite3_reset(gone);
  /* Before the contents go it has to be on the disk that nobody needs them; that they went need not. */
  if (!send_box_lasting(box, TRUE, error) ||
      !database_run(box->database, error, "UPDATE item SET durable=0 WHERE id=?", "i",
                    g_array_index(ids, gint64, 0)) ||
      !send_box_lasting(box, FALSE, error) || !database_begin(box->database, error))
    return FALSE;
  gboolean done = TRUE;
  for (guint i = 0; i < ids->len && done; i++) {
    gint64 id = g_array_index(ids, gint64, i);
    drop_content(box, id);
    done = database_run(box->database, error, "UPDATE item SET durable=-1 WHERE id=?", "i", id);
  }
  return database_end(box->database, done, error);
}

SendBox *
send_box_open(const char *directory, gboolean own_names, GError **error)
{
  g_autoptr(SendBox) box = g_new0(SendBox, 1);
  box->files = -1;
  box->own_names = own_names;
  box->directory = g_strdup(directory);
  if (g_mkdir_with_parents(directory, 0700) < 0 ||
      (box->files = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
    doppel_error_errno(error, "cannot make %s", directory);
    return NULL;
  }
  return open_database(box, error) && expire(box, error) && send_box_sweep(box, error) ? g_steal_pointer(&box)
                                                                                       : NULL;
}

void
send_box_close(SendBox *box)
{
  if (!box)
    return;
  sqlite3_close(box->database);
  io_close(&box->files);
  g_free(box->directory);
  g_free(box);
}

/* ---- looking ---- */

GPtrArray *
send_box_list(SendBox *box, Doppel__Send__State state, GError **error)
{
  g_autoptr(GPtrArray) items = g_ptr_array_new_with_free_func((GDestroyNotify)send_item_free);
  const char *sql = state == DOPPEL__SEND__STATE__ANY
                        ? "SELECT " SEND_BOX_COLUMNS
                          " FROM item WHERE state NOT IN (1, 6) OR state=?1 ORDER BY id"
                        : "SELECT " SEND_BOX_COLUMNS " FROM item WHERE state=?1 ORDER BY id";
  g_autoptr(DatabaseStatement) rows = database_prepare(box->database, error, sql, "i", (gint64)state);
  int step = -1;
  while (rows && (step = database_step(rows, error)) > 0) {
    SendItem *item = send_box_item(rows, error);
    if (!item)
      return NULL;
    g_ptr_array_add(items, item);
  }
  return step == 0 ? g_steal_pointer(&items) : NULL;
}

static SendItem *
find(SendBox *box, gint64 id, GError **error)
{
  g_autoptr(DatabaseStatement) row =
      database_prepare(box->database, error, "SELECT " SEND_BOX_COLUMNS " FROM item WHERE id=?", "i", id);
  int step = row ? database_step(row, error) : -1;
  if (step == 0)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no item %" G_GINT64_FORMAT, id);
  return step > 0 ? send_box_item(row, error) : NULL;
}

SendItem *
send_box_get(SendBox *box, gint64 id, GError **error)
{
  g_autoptr(SendItem) item = find(box, id, error);
  if (item && (item->state == DOPPEL__SEND__STATE__GONE || item->state == DOPPEL__SEND__STATE__PARTIAL)) {
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no item %" G_GINT64_FORMAT, id);
    return NULL;
  }
  return g_steal_pointer(&item);
}

gboolean
send_box_find_partial(SendBox *box, const char *who, const Doppel__Send__Offer *offer, guint8 item[SEND_ITEM])
{
  g_autofree char *name = send_name_clean(offer->name);
  g_autoptr(DatabaseStatement) row = database_prepare(
      box->database, NULL,
      "SELECT item FROM item WHERE who=? AND hash=? AND size=? AND name=? AND state=1 LIMIT 1", "tbit", who,
      offer->hash.data, offer->hash.len, (gint64)offer->size, name);
  return row && database_step(row, NULL) > 0 && database_blob(row, 0, item, SEND_ITEM);
}

int
send_box_content(SendBox *box, gint64 id, GError **error)
{
  char name[SEND_BOX_FILE];
  send_box_file(id, name);
  int file = openat(box->files, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (file < 0)
    doppel_error_errno(error, "cannot open the content of item %" G_GINT64_FORMAT, id);
  return file;
}

void
send_box_wake(SendBox *box)
{
  futimens(box->files, NULL);
}

guint64
send_box_version(SendBox *box)
{
  g_autoptr(DatabaseStatement) row = database_prepare(box->database, NULL, "PRAGMA data_version", "");
  guint64 others = row && database_step(row, NULL) > 0 ? sqlite3_column_int64(row, 0) : 0;
  return others << 32 | (guint32)sqlite3_total_changes(box->database);
}

/* ---- changing ---- */

gboolean
send_box_remove(SendBox *box, gint64 id, GError **error)
{
  if (!send_box_lasting(box, TRUE, error) ||
      !database_run(box->database, error,
                    "UPDATE item SET state=6, kept=NULL, changed=?2 WHERE id=?1 AND state NOT IN (1, 6)",
                    "ii", id, (gint64)g_get_real_time()) ||
      !send_box_lasting(box, FALSE, error))
    return FALSE;
  if (sqlite3_changes(box->database) == 0)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no item %" G_GINT64_FORMAT, id);
  drop_content(box, id);
  return TRUE;
}

gboolean
send_box_receipt(SendBox *box, gint64 id, const Doppel__Send__Receipt *receipt, gboolean delivered,
                 GError **error)
{
  const char *sql = delivered ? "UPDATE item SET statement=?2, signature=?3, key=?4, changed=?5, state=4,"
                                " sent=size, words='', due=0 WHERE id=?1"
                              : "UPDATE item SET statement=?2, signature=?3, key=?4, changed=?5 WHERE id=?1";
  return database_run(box->database, error, sql, "ibbbi", id, receipt->statement.data, receipt->statement.len,
                      receipt->signature.data, receipt->signature.len, receipt->key.data, receipt->key.len,
                      (gint64)g_get_real_time());
}

gboolean
send_box_state(SendBox *box, gint64 id, Doppel__Send__State state, guint64 sent, guint tries, gint64 due_us,
               const char *words, gboolean *there, GError **error)
{
  if (!database_run(box->database, error,
                    "UPDATE item SET state=?2, sent=?3, tries=?4, due=?5, words=?6, changed=?7"
                    " WHERE id=?1 AND state IN (2, 3)",
                    "iiiiiti", id, (gint64)state, (gint64)sent, (gint64)tries, due_us, words,
                    (gint64)g_get_real_time()))
    return FALSE;
  gboolean changed = sqlite3_changes(box->database) > 0;
  if (there)
    *there = changed;
  return !changed || state < DOPPEL__SEND__STATE__DELIVERED || send_box_sweep(box, error);
}

gboolean
send_box_restart(SendBox *box, GError **error)
{
  return database_run(box->database, error, "UPDATE item SET state=2, due=0 WHERE state=3", "");
}
