#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/state_private.h"
#include "identity/base32.h"

#define BUSY_MS 5000

/* How the tables came to be what they are: each step makes the next layout of the one before. */
static const char *const layouts[] = {
    "CREATE TABLE clone("
    " id BLOB PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, device BLOB NOT NULL,"
    " key BLOB NOT NULL, paired INTEGER NOT NULL, seen INTEGER NOT NULL DEFAULT 0)"
    " WITHOUT ROWID;"
    "CREATE TABLE invitation("
    " id BLOB PRIMARY KEY NOT NULL, secret_hash BLOB NOT NULL, expires INTEGER NOT NULL,"
    " addresses TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,"
    " used_by BLOB, clone BLOB) WITHOUT ROWID;"
    "CREATE TABLE listening(address TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version = 1;",
    /* A clone may have several devices, and a recovery phrase. */
    "CREATE TABLE device("
    " clone BLOB NOT NULL, key BLOB NOT NULL, name TEXT NOT NULL, since INTEGER NOT NULL,"
    " PRIMARY KEY(clone, key)) WITHOUT ROWID;"
    "INSERT INTO device SELECT id, device, name, paired FROM clone;"
    "ALTER TABLE clone DROP COLUMN device;"
    "CREATE TABLE recovery("
    " clone BLOB PRIMARY KEY NOT NULL, key BLOB NOT NULL UNIQUE, seal BLOB NOT NULL, made INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "PRAGMA user_version = 2;",
};

gint64
daemon_state_now(void)
{
  return g_get_real_time() / G_USEC_PER_SEC;
}

void
daemon_clone_free(DaemonClone *clone)
{
  if (!clone)
    return;
  g_free(clone->name);
  g_clear_pointer(&clone->devices, g_array_unref);
  g_free(clone);
}

char *
daemon_state_directory(void)
{
  return geteuid() == 0 ? g_strdup("/var/lib/doppeld")
                        : g_build_filename(g_get_user_state_dir(), "doppeld", NULL);
}

gboolean
daemon_state_wake(DaemonState *state, GError **error)
{
  if (state->database)
    return TRUE;
  g_autofree char *path = g_build_filename(state->directory, "state.db", NULL);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path, &state->database, flags, NULL) == SQLITE_OK) {
    sqlite3_busy_timeout(state->database, BUSY_MS);
    if (database_run(state->database, error, "PRAGMA journal_mode = WAL", "") &&
        database_run(state->database, error, "PRAGMA synchronous = FULL", ""))
      return TRUE;
  } else {
    database_fail(state->database, error);
  }
  daemon_state_rest(state);
  return FALSE;
}

void
daemon_state_rest(DaemonState *state)
{
  sqlite3_close(g_steal_pointer(&state->database));
}

static gboolean
check_directory(const char *directory, GError **error)
{
  struct stat status;
  if (g_mkdir_with_parents(directory, 0700) < 0 || stat(directory, &status) < 0)
    return doppel_error_errno(error, "cannot use the state directory %s", directory);
  if (status.st_uid != geteuid() && geteuid() != 0)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the state directory %s belongs to another user: name one of "
                            "your own with --state",
                            directory);
  if (status.st_mode & 077)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the state directory %s can be entered by others (mode %03o): chmod 700 it",
                            directory, (guint)status.st_mode & 0777);
  return TRUE;
}

DaemonState *
daemon_state_open(const char *directory, GError **error)
{
  if (!check_directory(directory, error))
    return NULL;
  g_autoptr(DaemonState) state = g_new0(DaemonState, 1);
  state->directory = g_canonicalize_filename(directory, NULL);
  return daemon_state_wake(state, error) &&
                 database_update(state->database, layouts, G_N_ELEMENTS(layouts), "doppeld", error)
             ? g_steal_pointer(&state)
             : NULL;
}

void
daemon_state_close(DaemonState *state)
{
  if (!state)
    return;
  daemon_state_rest(state);
  g_free(state->directory);
  g_free(state);
}

IdentityKey *
daemon_state_host_key(const DaemonState *state, GError **error)
{
  g_autofree char *path = g_build_filename(state->directory, "host.key", NULL);
  return identity_key_load_or_create(path, error);
}

char *
daemon_state_base(const DaemonState *state)
{
  return g_build_filename(state->directory, "base", NULL);
}

gboolean
daemon_state_set_listening(DaemonState *state, const char *const *addresses, GError **error)
{
  if (!daemon_state_wake(state, error) || !database_begin(state->database, error))
    return FALSE;
  gboolean done = database_run(state->database, error, "DELETE FROM listening", "");
  for (; done && *addresses; addresses++)
    done = database_run(state->database, error, "INSERT OR IGNORE INTO listening VALUES(?)", "t", *addresses);
  return database_end(state->database, done, error);
}

char **
daemon_state_listening(DaemonState *state, GError **error)
{
  if (!daemon_state_wake(state, error))
    return NULL;
  g_autoptr(DatabaseStatement) statement =
      database_prepare(state->database, error, "SELECT address FROM listening", "");
  if (!statement)
    return NULL;
  g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
  int step;
  guint count = 0;
  for (; (step = database_step(statement, error)) > 0; count++)
    g_strv_builder_add(builder, (const char *)sqlite3_column_text(statement, 0));
  if (step == 0 && count == 0)
    doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "\"doppeld serve\" has never run with the state in %s: start it, or say with --address where "
        "devices will reach this host",
        state->directory);
  return step == 0 && count > 0 ? g_strv_builder_end(builder) : NULL;
}

#define CLONE_COLUMNS "SELECT id, name, key, paired, seen FROM clone "

static DaemonClone *
read_clone(DaemonState *state, sqlite3_stmt *statement, GError **error)
{
  g_autoptr(DaemonClone) clone = g_new0(DaemonClone, 1);
  clone->name = g_strdup((const char *)sqlite3_column_text(statement, 1));
  clone->paired = sqlite3_column_int64(statement, 3);
  clone->seen = sqlite3_column_int64(statement, 4);
  if (database_blob(statement, 0, clone->id, sizeof clone->id) &&
      database_blob(statement, 2, clone->key.bytes, sizeof clone->key.bytes)) {
    clone->devices = daemon_state_devices(state, clone->id, error);
    return clone->devices ? g_steal_pointer(&clone) : NULL;
  }
  doppel_error_set(error, DOPPEL_ERROR_FAILED,
                   "the entry of clone \"%s\" is damaged: revoke it and pair again", clone->name);
  return NULL;
}

GPtrArray *
daemon_state_clones(DaemonState *state, GError **error)
{
  if (!daemon_state_wake(state, error))
    return NULL;
  g_autoptr(DatabaseStatement) statement =
      database_prepare(state->database, error, CLONE_COLUMNS "ORDER BY name", "");
  if (!statement)
    return NULL;
  g_autoptr(GPtrArray) clones = g_ptr_array_new_with_free_func((GDestroyNotify)daemon_clone_free);
  int step;
  while ((step = database_step(statement, error)) > 0) {
    DaemonClone *clone = read_clone(state, statement, error);
    if (!clone)
      return NULL;
    g_ptr_array_add(clones, clone);
  }
  return step == 0 ? g_steal_pointer(&clones) : NULL;
}

static DaemonClone *
read_one(DaemonState *state, sqlite3_stmt *statement, GError **error)
{
  int step = statement ? database_step(statement, error) : -1;
  if (step > 0)
    return read_clone(state, statement, error);
  if (step == 0)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "this host has no such clone: see \"doppeld clones\"");
  return NULL;
}

DaemonClone *
daemon_state_clone(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error)
{
  if (!daemon_state_wake(state, error))
    return NULL;
  g_autoptr(DatabaseStatement) statement = database_prepare(
      state->database, error, CLONE_COLUMNS "WHERE id = ?", "b", id, (gsize)PAIRED_ID_LENGTH);
  return read_one(state, statement, error);
}

DaemonClone *
daemon_state_find(DaemonState *state, const char *name, GError **error)
{
  if (!daemon_state_wake(state, error))
    return NULL;
  g_autoptr(GBytes) id = base32_decode(name);
  if (id && g_bytes_get_size(id) == PAIRED_ID_LENGTH) {
    DaemonClone *clone = daemon_state_clone(state, g_bytes_get_data(id, NULL), NULL);
    if (clone)
      return clone;
  }
  g_autoptr(DatabaseStatement) statement =
      database_prepare(state->database, error, CLONE_COLUMNS "WHERE name = ?", "t", name);
  DaemonClone *clone = read_one(state, statement, error);
  if (!clone)
    g_prefix_error(error, "\"%.80s\": ", name);
  return clone;
}

gboolean
daemon_state_revoke(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error)
{
  static const char *const deletions[] = {"DELETE FROM clone WHERE id = ?",
                                          "DELETE FROM device WHERE clone = ?",
                                          "DELETE FROM recovery WHERE clone = ?"};
  if (!daemon_state_wake(state, error))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(deletions); i++)
    if (!database_run(state->database, error, deletions[i], "b", id, (gsize)PAIRED_ID_LENGTH))
      return FALSE;
  if (daemon_state_remove_files(state, id, error))
    return TRUE;
  g_prefix_error(error, "the clone is revoked, but ");
  return FALSE;
}

gboolean
daemon_state_saw(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error)
{
  return daemon_state_wake(state, error) &&
         database_run(state->database, error, "UPDATE clone SET seen = ? WHERE id = ?", "ib",
                      daemon_state_now(), id, (gsize)PAIRED_ID_LENGTH);
}
