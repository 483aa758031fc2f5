#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/node_store_private.h"

#define BUSY_MS 5000

static const char *const layouts[] = {
    "CREATE TABLE contact(origin BLOB PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, since INTEGER NOT "
    "NULL) WITHOUT ROWID;"
    "CREATE TABLE team(name TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE member(team TEXT NOT NULL REFERENCES team(name) ON DELETE CASCADE, origin BLOB NOT NULL,"
    " PRIMARY KEY(team, origin)) WITHOUT ROWID;"
    /* Exactly one of origin and team is not empty; neither is everybody's. */
    "CREATE TABLE permission(origin BLOB NOT NULL, team TEXT NOT NULL, service TEXT NOT NULL, allow INTEGER "
    "NOT NULL, limits TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY(origin, team, service)) WITHOUT "
    "ROWID;"
    "CREATE TABLE thing(name TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version = 1;",
    /* Messages to groups (c2c/node_store_groups.h). */
    "CREATE TABLE seen(team TEXT NOT NULL, origin BLOB NOT NULL, numbers BLOB NOT NULL, last INTEGER NOT "
    "NULL,"
    " PRIMARY KEY(team, origin)) WITHOUT ROWID;"
    "CREATE INDEX seen_last ON seen(last);"
    "CREATE TABLE letter(id INTEGER PRIMARY KEY, team TEXT NOT NULL, origin BLOB NOT NULL, body BLOB NOT "
    "NULL,"
    " since INTEGER NOT NULL);"
    "CREATE INDEX letter_team ON letter(team, id);"
    "CREATE TABLE message(sequence INTEGER PRIMARY KEY, team TEXT NOT NULL, packed BLOB NOT NULL, members "
    "INTEGER NOT NULL, spread INTEGER NOT NULL, given_up INTEGER NOT NULL);"
    "CREATE TABLE awaited(origin BLOB NOT NULL, sequence INTEGER NOT NULL REFERENCES message(sequence) ON "
    "DELETE CASCADE, tries INTEGER NOT NULL, trouble TEXT NOT NULL, PRIMARY KEY(origin, sequence)) WITHOUT "
    "ROWID;"
    "CREATE INDEX awaited_sequence ON awaited(sequence, origin);"
    "PRAGMA user_version = 2;",
};

void
node_contact_free(NodeContact *contact)
{
  if (!contact)
    return;
  g_free(contact->name);
  g_free(contact);
}

gboolean
node_store_begin(NodeStore *store, GError **error)
{
  return database_begin(store->database, error);
}

gboolean
node_store_end(NodeStore *store, gboolean good, GError **error)
{
  return database_end(store->database, good, error);
}

static gboolean
open_database(NodeStore *store, const char *path, GError **error)
{
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path, &store->database, flags, NULL) != SQLITE_OK)
    return database_fail(store->database, error);
  sqlite3_busy_timeout(store->database, BUSY_MS);
  return database_run(store->database, error, "PRAGMA journal_mode = WAL", "") &&
         database_run(store->database, error, "PRAGMA synchronous = FULL", "") &&
         database_run(store->database, error, "PRAGMA foreign_keys = ON", "") &&
         database_update(store->database, layouts, G_N_ELEMENTS(layouts), "doppeld", error);
}

NodeStore *
node_store_open(const char *directory, GError **error)
{
  g_autoptr(NodeStore) store = g_new0(NodeStore, 1);
  g_autofree char *path = g_build_filename(directory, "node.db", NULL);
  struct stat status;
  if (g_mkdir_with_parents(directory, 0700) < 0 || stat(directory, &status) < 0) {
    doppel_error_errno(error, "cannot use the clone's directory %s", directory);
    return NULL;
  }
  if (status.st_mode & 077 || status.st_uid != geteuid()) {
    doppel_error_set(error, DOPPEL_ERROR_DENIED,
                     "the clone's directory %s can be entered by others than its owner: chmod 700 it",
                     directory);
    return NULL;
  }
  return open_database(store, path, error) ? g_steal_pointer(&store) : NULL;
}

void
node_store_close(NodeStore *store)
{
  if (!store)
    return;
  sqlite3_close(store->database);
  g_free(store);
}

static NodeContact *
read_contact(sqlite3_stmt *statement, GError **error)
{
  g_autoptr(NodeContact) contact = g_new0(NodeContact, 1);
  contact->name = g_strdup((const char *)sqlite3_column_text(statement, 1));
  contact->since = sqlite3_column_int64(statement, 2);
  if (database_blob(statement, 0, contact->origin.bytes, sizeof contact->origin.bytes))
    return g_steal_pointer(&contact);
  doppel_error_set(error, DOPPEL_ERROR_FAILED, "the contact \"%s\" is damaged: forget it", contact->name);
  return NULL;
}

NodeContact *
node_store_contact(NodeStore *store, const char *name, const IdentityPublic *origin, GError **error)
{
#define CONTACT_COLUMNS "SELECT origin, name, since FROM contact "
  g_autoptr(DatabaseStatement) statement =
      name ? database_prepare(store->database, error, CONTACT_COLUMNS "WHERE name = ?", "t", name)
           : database_prepare(store->database, error, CONTACT_COLUMNS "WHERE origin = ?", "b", origin->bytes,
                              sizeof origin->bytes);
  return statement && database_step(statement, error) > 0 ? read_contact(statement, error) : NULL;
}

gboolean
node_store_add_contact(NodeStore *store, const char *name, const IdentityPublic *origin, gint64 now,
                       GError **error)
{
  g_autoptr(GError) problem = NULL;
  if (!record_name_check(name, error))
    return FALSE;
  g_autoptr(NodeContact) known = node_store_contact(store, name, NULL, &problem);
  if (problem) {
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
  }
  if (known && !identity_public_equal(&known->origin, origin))
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the contact %s is somebody else: the name means another key since it was first "
                            "used here. If that is no longer wanted, forget the contact first",
                            name);
  return database_run(store->database, error,
                      "INSERT INTO contact VALUES(?1, ?2, ?3) ON CONFLICT(origin) DO UPDATE SET name = ?2",
                      "bti", origin->bytes, sizeof origin->bytes, name, now);
}

gboolean
node_store_forget_contact(NodeStore *store, const char *name, GError **error)
{
  static const char *const deletions[] = {"DELETE FROM permission WHERE origin = ?",
                                          "DELETE FROM member WHERE origin = ?",
                                          "DELETE FROM contact WHERE origin = ?"};
  g_autoptr(GError) problem = NULL;
  g_autoptr(NodeContact) contact = node_store_contact(store, name, NULL, &problem);
  if (problem) {
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
  }
  if (!contact)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "%s is no contact: see \"doppel contacts\"", name);
  /* What was allowed goes first: interrupted, this leaves nobody with more than before. */
  for (guint i = 0; i < G_N_ELEMENTS(deletions); i++)
    if (!database_run(store->database, error, deletions[i], "b", contact->origin.bytes,
                      sizeof contact->origin.bytes))
      return FALSE;
  return TRUE;
}

static GPtrArray *
read_contacts(sqlite3_stmt *statement, GError **error)
{
  g_autoptr(GPtrArray) contacts = g_ptr_array_new_with_free_func((GDestroyNotify)node_contact_free);
  int step = statement ? 1 : -1;
  while (step > 0 && (step = database_step(statement, error)) > 0) {
    NodeContact *contact = read_contact(statement, error);
    if (!contact)
      return NULL;
    g_ptr_array_add(contacts, contact);
  }
  return step == 0 ? g_steal_pointer(&contacts) : NULL;
}

/* An origin, or what is below all of them. */
#define AFTER(origin)                                                                                        \
  (origin) ? (origin)->bytes : (const void *)"", (origin) ? sizeof(origin)->bytes : (gsize)0

GPtrArray *
node_store_contacts(NodeStore *store, const IdentityPublic *after, guint most, GError **error)
{
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, error, CONTACT_COLUMNS "WHERE origin > ? ORDER BY origin LIMIT ?",
                       "bi", AFTER(after), (gint64)most);
  return read_contacts(statement, error);
}

gboolean
node_store_add_group(NodeStore *store, const char *group, GError **error)
{
  return record_name_check(group, error) &&
         database_run(store->database, error, "INSERT OR IGNORE INTO team VALUES(?)", "t", group);
}

static gboolean
check_group(NodeStore *store, const char *group, GError **error)
{
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, error, "SELECT 1 FROM team WHERE name = ?", "t", group);
  int step = statement ? database_step(statement, error) : -1;
  if (step == 0)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "there is no group \"%s\": \"doppel group create %s\" makes it", group, group);
  return step > 0;
}

gboolean
node_store_remove_group(NodeStore *store, const char *group, GError **error)
{
  return check_group(store, group, error) &&
         database_run(store->database, error, "DELETE FROM permission WHERE team = ?", "t", group) &&
         database_run(store->database, error, "DELETE FROM team WHERE name = ?", "t", group);
}

gboolean
node_store_join_group(NodeStore *store, const char *group, const IdentityPublic *origin, gboolean member,
                      GError **error)
{
  return check_group(store, group, error) &&
         database_run(store->database, error,
                      member ? "INSERT OR IGNORE INTO member VALUES(?, ?)"
                             : "DELETE FROM member WHERE team = ? AND origin = ?",
                      "tb", group, origin->bytes, sizeof origin->bytes);
}

gboolean
node_store_join_all(NodeStore *store, const char *group, const GArray *origins, gboolean member,
                    GError **error)
{
  gboolean good = node_store_begin(store, error);
  if (!good)
    return FALSE;
  for (guint i = 0; good && i < origins->len; i++)
    good = node_store_join_group(store, group, &g_array_index(origins, IdentityPublic, i), member, error);
  return node_store_end(store, good, error);
}

GPtrArray *
node_store_member_contacts(NodeStore *store, const char *group, const IdentityPublic *after, guint most,
                           GError **error)
{
  g_autoptr(DatabaseStatement) statement = database_prepare(
      store->database, error,
      "SELECT member.origin, contact.name, contact.since FROM member LEFT JOIN contact USING(origin) "
      "WHERE team = ? AND member.origin > ? ORDER BY member.origin LIMIT ?",
      "tbi", group, AFTER(after), (gint64)most);
  return read_contacts(statement, error);
}

GPtrArray *
node_store_groups(NodeStore *store, GError **error)
{
  g_autoptr(GPtrArray) groups = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, error, "SELECT name FROM team ORDER BY name", "");
  int step = statement ? 1 : -1;
  while (step > 0 && (step = database_step(statement, error)) > 0)
    g_ptr_array_add(groups, g_strdup((const char *)sqlite3_column_text(statement, 0)));
  return step == 0 ? g_steal_pointer(&groups) : NULL;
}

GArray *
node_store_members(NodeStore *store, const char *group, GError **error)
{
  if (!check_group(store, group, error))
    return NULL;
  g_autoptr(GArray) members = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  g_autoptr(DatabaseStatement) statement = database_prepare(
      store->database, error, "SELECT origin FROM member WHERE team = ? ORDER BY origin", "t", group);
  int step = statement ? 1 : -1;
  while (step > 0 && (step = database_step(statement, error)) > 0) {
    IdentityPublic origin;
    if (database_blob(statement, 0, origin.bytes, sizeof origin.bytes))
      g_array_append_val(members, origin);
  }
  return step == 0 ? g_steal_pointer(&members) : NULL;
}

gboolean
node_store_in_group(NodeStore *store, const IdentityPublic *origin)
{
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, NULL, "SELECT 1 FROM member WHERE origin = ? LIMIT 1", "b",
                       origin->bytes, sizeof origin->bytes);
  return statement && database_step(statement, NULL) > 0;
}

gboolean
node_store_put(NodeStore *store, const char *name, GBytes *value, GError **error)
{
  gsize length;
  const void *bytes = g_bytes_get_data(value, &length);
  return database_run(store->database, error, "INSERT OR REPLACE INTO thing VALUES(?, ?)", "tb", name,
                      bytes ? bytes : "", length);
}

GBytes *
node_store_get(NodeStore *store, const char *name, GError **error)
{
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, error, "SELECT value FROM thing WHERE name = ?", "t", name);
  if (!statement || database_step(statement, error) <= 0)
    return NULL;
  return g_bytes_new(sqlite3_column_blob(statement, 0), sqlite3_column_bytes(statement, 0));
}
