#include "c2c/node_store_groups.h"

#include "base/error.h"
#include "c2c/node_store_private.h"

void
node_letter_free(NodeLetter *letter)
{
  g_clear_pointer(&letter->body, g_bytes_unref);
  g_free(letter);
}

void
node_sent_free(NodeSent *sent)
{
  g_free(sent->group);
  g_free(sent);
}

void
node_awaited_free(NodeAwaited *awaited)
{
  g_free(awaited->name);
  g_free(awaited->trouble);
  g_free(awaited);
}

static gint64
count(NodeStore *store, const char *sql)
{
  gint64 number = 0;
  database_number(store->database, NULL, sql, &number);
  return number;
}

/* ---- that came ---- */

static GArray *
load_window(NodeStore *store, const GroupMessage *message, GError **error)
{
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, error, "SELECT numbers FROM seen WHERE team = ? AND origin = ?", "tb",
                       message->group, message->origin.bytes, sizeof message->origin.bytes);
  int step = statement ? database_step(statement, error) : -1;
  if (step < 0)
    return NULL;
  return step == 0 ? group_seen_load(NULL, 0)
                   : group_seen_load(sqlite3_column_blob(statement, 0), sqlite3_column_bytes(statement, 0));
}

/* Senders whose last message is so old that none of theirs would be taken again. */
static gboolean
drop_past(NodeStore *store, guint64 now_us, GError **error)
{
  return database_run(store->database, error, "DELETE FROM seen WHERE last < ?", "i",
                      (gint64)(now_us - MIN(now_us, GROUP_AGE_US)));
}

static gboolean
save_window(NodeStore *store, const GroupMessage *message, const GArray *window, guint64 now_us,
            GError **error)
{
  g_autoptr(GBytes) saved = group_seen_save(window);
  gint64 last = (gint64)g_array_index(window, guint64, window->len - 1);
  gsize length;
  const void *bytes = g_bytes_get_data(saved, &length);
  if (window->len == 1 && !drop_past(store, now_us, error))
    return FALSE;
  if (window->len == 1 && count(store, "SELECT count(*) FROM seen") >= GROUP_SEEN_SENDERS)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "messages of too many senders came lately");
  return database_run(store->database, error, "INSERT OR REPLACE INTO seen VALUES(?, ?, ?, ?)", "tbbi",
                      message->group, message->origin.bytes, sizeof message->origin.bytes, bytes, length,
                      last);
}

static gboolean
hold(NodeStore *store, const GroupMessage *message, guint64 now_us, GError **error)
{
  gsize length;
  const void *bytes = g_bytes_get_data(message->body, &length);
  gint64 oldest = (gint64)(now_us - MIN(now_us, GROUP_KEPT_US));
  store->last_letter = MAX(store->last_letter, count(store, "SELECT max(id) FROM letter")) + 1;
  if (!database_run(store->database, error, "DELETE FROM letter WHERE since < ?", "i", oldest) ||
      !database_run(store->database, error, "INSERT INTO letter VALUES(?, ?, ?, ?, ?)", "itbbi",
                    store->last_letter, message->group, message->origin.bytes, sizeof message->origin.bytes,
                    bytes ? bytes : "", length, (gint64)now_us))
    return FALSE;
  while (count(store, "SELECT count(*) FROM letter") > NODE_LETTERS_MAX ||
         count(store, "SELECT sum(length(body)) FROM letter") > NODE_LETTERS_BYTES_MAX)
    if (!database_run(store->database, error, "DELETE FROM letter WHERE id = (SELECT min(id) FROM letter)",
                      ""))
      return FALSE;
  return TRUE;
}

/* FALSE: nothing is changed. */
static gboolean
take_new(NodeStore *store, const GroupMessage *message, guint64 now_us, GroupNews *news, GError **error)
{
  g_autoptr(GArray) window = load_window(store, message, error);
  if (!window)
    return FALSE;
  *news = group_seen_look(window, message->sequence, now_us);
  return *news == GROUP_NEW && save_window(store, message, window, now_us, error) &&
         hold(store, message, now_us, error);
}

GroupNews
node_store_take(NodeStore *store, const GroupMessage *message, guint64 now_us, GError **error)
{
  GroupNews news = GROUP_STALE;
  if (!node_store_begin(store, error))
    return GROUP_STALE;
  gboolean good = take_new(store, message, now_us, &news, error);
  if (!node_store_end(store, good, error) && news == GROUP_NEW)
    return GROUP_STALE;
  return news;
}

NodeLetter *
node_store_next_letter(NodeStore *store, const char *group, gint64 after, GError **error)
{
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, error,
                       "SELECT id, origin, body FROM letter WHERE team = ? AND id > ? ORDER BY id LIMIT 1",
                       "ti", group, after);
  if (!statement || database_step(statement, error) <= 0)
    return NULL;
  g_autoptr(NodeLetter) letter = g_new0(NodeLetter, 1);
  letter->id = sqlite3_column_int64(statement, 0);
  letter->body = g_bytes_new(sqlite3_column_blob(statement, 2), sqlite3_column_bytes(statement, 2));
  if (database_blob(statement, 1, letter->origin.bytes, sizeof letter->origin.bytes) &&
      g_bytes_get_size(letter->body) <= GROUP_BODY_MAX)
    return g_steal_pointer(&letter);
  doppel_error_set(error, DOPPEL_ERROR_FAILED, "a message that was kept is damaged");
  return NULL;
}

gboolean
node_store_drop_letter(NodeStore *store, gint64 id, GError **error)
{
  return database_run(store->database, error, "DELETE FROM letter WHERE id = ?", "i", id);
}

gboolean
node_store_forget_messages(NodeStore *store, GError **error)
{
  static const char *const deletions[] = {"DELETE FROM seen", "DELETE FROM letter", "DELETE FROM message"};
  for (guint i = 0; i < G_N_ELEMENTS(deletions); i++)
    if (!database_run(store->database, error, deletions[i], ""))
      return FALSE;
  return TRUE;
}

/* ---- that were sent ---- */

static gboolean
make_room(NodeStore *store, GError **error)
{
  /* What nobody waits for is a line of a list only; it goes before what somebody waits for. */
  while (count(store, "SELECT count(*) FROM message") >= NODE_SENT_MAX)
    if (!database_run(
            store->database, error,
            "DELETE FROM message WHERE sequence = (SELECT sequence FROM message ORDER BY spread = 0, "
            "sequence IN (SELECT sequence FROM awaited), sequence LIMIT 1)",
            ""))
      return FALSE;
  while (count(store, "SELECT sum(length(packed)) FROM message") > NODE_SENT_BYTES_MAX)
    if (!database_run(
            store->database, error,
            "DELETE FROM message WHERE sequence = (SELECT sequence FROM message WHERE packed != x'' "
            "ORDER BY spread = 0, sequence LIMIT 1)",
            ""))
      return FALSE;
  return TRUE;
}

gboolean
node_store_keep_sent(NodeStore *store, const GroupMessage *message, guint members, GError **error)
{
  g_autoptr(GBytes) packed = group_message_pack(message, 0, FALSE);
  gsize length;
  const void *bytes = g_bytes_get_data(packed, &length);
  if (!node_store_begin(store, error))
    return FALSE;
  gboolean good = make_room(store, error) &&
                  database_run(store->database, error, "INSERT INTO message VALUES(?, ?, ?, ?, 0, 0)", "itbi",
                               (gint64)message->sequence, message->group, bytes, length, (gint64)members);
  return node_store_end(store, good, error);
}

gboolean
node_store_drop_sent(NodeStore *store, guint64 sequence, GError **error)
{
  return database_run(store->database, error, "DELETE FROM message WHERE sequence = ?", "i",
                      (gint64)sequence);
}

guint64
node_store_last_sent(NodeStore *store)
{
  return (guint64)count(store, "SELECT max(sequence) FROM message");
}

/* Its bytes are kept for as long as somebody waits for them. */
static gboolean
drop_body(NodeStore *store, guint64 sequence, GError **error)
{
  return database_run(store->database, error,
                      "UPDATE message SET packed = x'' WHERE sequence = ?1 AND spread = 1 AND NOT EXISTS "
                      "(SELECT 1 FROM awaited WHERE sequence = ?1)",
                      "i", (gint64)sequence);
}

static gboolean
spread(NodeStore *store, guint64 sequence, const GArray *missed, GError **error)
{
  if (!database_run(store->database, error, "UPDATE message SET spread = 1 WHERE sequence = ?", "i",
                    (gint64)sequence))
    return FALSE;
  /* It may have had to make room meanwhile. */
  guint count = sqlite3_changes(store->database) > 0 ? missed->len : 0;
  for (guint i = 0; i < count; i++)
    if (!database_run(store->database, error, "INSERT OR IGNORE INTO awaited VALUES(?, ?, 0, '')", "bi",
                      g_array_index(missed, IdentityPublic, i).bytes, sizeof(IdentityPublic),
                      (gint64)sequence))
      return FALSE;
  return drop_body(store, sequence, error);
}

gboolean
node_store_spread(NodeStore *store, guint64 sequence, const GArray *missed, GError **error)
{
  return node_store_begin(store, error) &&
         node_store_end(store, spread(store, sequence, missed, error), error);
}

GPtrArray *
node_store_unspread(NodeStore *store, GError **error)
{
  g_autoptr(GPtrArray) messages = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  g_autoptr(DatabaseStatement) statement = database_prepare(
      store->database, error, "SELECT packed FROM message WHERE spread = 0 ORDER BY sequence", "");
  int step = statement ? 1 : -1;
  while (step > 0 && (step = database_step(statement, error)) > 0)
    g_ptr_array_add(messages,
                    g_bytes_new(sqlite3_column_blob(statement, 0), sqlite3_column_bytes(statement, 0)));
  return step == 0 ? g_steal_pointer(&messages) : NULL;
}

GArray *
node_store_awaiting(NodeStore *store, GError **error)
{
  g_autoptr(GArray) origins = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, error, "SELECT DISTINCT origin FROM awaited", "");
  int step = statement ? 1 : -1;
  while (step > 0 && (step = database_step(statement, error)) > 0) {
    IdentityPublic origin;
    if (database_blob(statement, 0, origin.bytes, sizeof origin.bytes))
      g_array_append_val(origins, origin);
  }
  return step == 0 ? g_steal_pointer(&origins) : NULL;
}

GBytes *
node_store_next_awaited(NodeStore *store, const IdentityPublic *origin, guint64 *sequence, GError **error)
{
  g_autoptr(DatabaseStatement) statement = database_prepare(
      store->database, error,
      "SELECT sequence, packed FROM awaited JOIN message USING(sequence) WHERE origin = ? ORDER BY tries, "
      "sequence LIMIT 1",
      "b", origin->bytes, sizeof origin->bytes);
  if (!statement || database_step(statement, error) <= 0)
    return NULL;
  *sequence = (guint64)sqlite3_column_int64(statement, 0);
  return g_bytes_new(sqlite3_column_blob(statement, 1), sqlite3_column_bytes(statement, 1));
}

gboolean
node_store_reached(NodeStore *store, guint64 sequence, const IdentityPublic *origin, GError **error)
{
  if (!node_store_begin(store, error))
    return FALSE;
  gboolean good =
      database_run(store->database, error, "DELETE FROM awaited WHERE origin = ? AND sequence = ?", "bi",
                   origin->bytes, sizeof origin->bytes, (gint64)sequence) &&
      drop_body(store, sequence, error);
  return node_store_end(store, good, error);
}

gboolean
node_store_missed(NodeStore *store, guint64 sequence, const IdentityPublic *origin, const char *trouble,
                  GError **error)
{
  return database_run(
      store->database, error,
      "UPDATE awaited SET tries = tries + 1, trouble = ?1 WHERE origin = ?2 AND sequence = ?3", "tbi",
      trouble, origin->bytes, sizeof origin->bytes, (gint64)sequence);
}

gboolean
node_store_expire(NodeStore *store, guint64 now_us, GError **error)
{
  gint64 oldest = (gint64)(now_us - MIN(now_us, GROUP_KEPT_US));
  if (!node_store_begin(store, error))
    return FALSE;
  gboolean good =
      database_run(
          store->database, error,
          "UPDATE message SET packed = x'', given_up = given_up + (SELECT count(*) FROM awaited WHERE "
          "awaited.sequence = message.sequence) WHERE sequence < ? AND spread = 1",
          "i", oldest) &&
      database_run(
          store->database, error,
          "DELETE FROM awaited WHERE sequence < ? AND sequence IN (SELECT sequence FROM message WHERE "
          "spread = 1)",
          "i", oldest);
  return node_store_end(store, good, error);
}

GPtrArray *
node_store_sent(NodeStore *store, guint64 sequence, GError **error)
{
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)node_sent_free);
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, error,
                       "SELECT sequence, team, members, spread, given_up, (SELECT count(*) FROM awaited "
                       "WHERE awaited.sequence = "
                       "message.sequence) FROM message WHERE ?1 = 0 OR sequence = ?1 ORDER BY sequence DESC",
                       "i", (gint64)sequence);
  int step = statement ? 1 : -1;
  while (step > 0 && (step = database_step(statement, error)) > 0) {
    NodeSent *sent = g_new(NodeSent, 1);
    *sent = (NodeSent){.sequence = (guint64)sqlite3_column_int64(statement, 0),
                       .group = g_strdup((const char *)sqlite3_column_text(statement, 1)),
                       .members = (guint)sqlite3_column_int(statement, 2),
                       .spread = sqlite3_column_int(statement, 3) != 0,
                       .given_up = (guint)sqlite3_column_int(statement, 4),
                       .waiting = (guint)sqlite3_column_int(statement, 5)};
    g_ptr_array_add(list, sent);
  }
  return step == 0 ? g_steal_pointer(&list) : NULL;
}

GPtrArray *
node_store_awaited(NodeStore *store, guint64 sequence, const IdentityPublic *after, guint most,
                   GError **error)
{
  static const IdentityPublic first;
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)node_awaited_free);
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, error,
                       "SELECT awaited.origin, contact.name, tries, trouble FROM awaited LEFT JOIN contact "
                       "USING(origin) WHERE "
                       "sequence = ? AND awaited.origin > ? ORDER BY awaited.origin LIMIT ?",
                       "ibi", (gint64)sequence, after ? after->bytes : first.bytes,
                       after ? sizeof after->bytes : 0, (gint64)most);
  int step = statement ? 1 : -1;
  while (step > 0 && (step = database_step(statement, error)) > 0) {
    NodeAwaited *awaited = g_new0(NodeAwaited, 1);
    g_ptr_array_add(list, awaited);
    database_blob(statement, 0, awaited->origin.bytes, sizeof awaited->origin.bytes);
    awaited->name = g_strdup((const char *)sqlite3_column_text(statement, 1));
    awaited->tries = (guint)sqlite3_column_int(statement, 2);
    awaited->trouble = g_strdup((const char *)sqlite3_column_text(statement, 3));
  }
  return step == 0 ? g_steal_pointer(&list) : NULL;
}
