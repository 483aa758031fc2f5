/* The file: what a document is lies in a few rows, so that an edit writes the little that it changes. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/room/room_struct.h"

#define LAYOUT         1
#define APPLICATION_ID 0x646f7052 /* "dopR" */

static const char layout[] =
    "CREATE TABLE document(name BLOB PRIMARY KEY, title TEXT NOT NULL, addresses TEXT NOT NULL,"
    " server BLOB NOT NULL, stage INTEGER NOT NULL, inviter TEXT, inviter_user BLOB, invitation BLOB,"
    " invitation_number INTEGER NOT NULL, start INTEGER NOT NULL, digest BLOB NOT NULL, start_entry BLOB,"
    " fault INTEGER NOT NULL, pardon INTEGER NOT NULL, fault_words TEXT, fault_at INTEGER NOT NULL,"
    " proof BLOB);"
    "CREATE TABLE state(name BLOB PRIMARY KEY, state BLOB NOT NULL);"
    "CREATE TABLE own(name BLOB PRIMARY KEY, own BLOB NOT NULL, head BLOB, ahead BLOB,"
    " changed INTEGER NOT NULL);"
    "CREATE TABLE entry(name BLOB NOT NULL, number INTEGER NOT NULL, entry BLOB NOT NULL,"
    " verdict INTEGER NOT NULL, time INTEGER NOT NULL, PRIMARY KEY(name, number));"
    "CREATE TABLE copy(name BLOB NOT NULL, id BLOB NOT NULL, pair BLOB NOT NULL, used INTEGER NOT NULL,"
    " PRIMARY KEY(name, id));"
    "CREATE TABLE person(name BLOB NOT NULL, key BLOB NOT NULL, user BLOB NOT NULL, said TEXT NOT NULL,"
    " invite INTEGER NOT NULL, entry INTEGER NOT NULL, from_now INTEGER NOT NULL, head INTEGER NOT NULL,"
    " head_at INTEGER NOT NULL, PRIMARY KEY(name, key));";

#define RUN(ROOM, SQL, KINDS, ...)                                                                           \
  database_statements_run((ROOM)->statements, error, SQL, KINDS, ##__VA_ARGS__)
#define NAME(DOCUMENT) (const void *)(DOCUMENT)->name.bytes, (gsize)DOC_NAME_LENGTH

static const void *
data_of(GBytes *bytes, gsize *length)
{
  *length = 0;
  return bytes ? g_bytes_get_data(bytes, length) : NULL;
}

static GBytes *
column_bytes(sqlite3_stmt *statement, int column)
{
  const void *data = sqlite3_column_blob(statement, column);
  return data ? g_bytes_new(data, sqlite3_column_bytes(statement, column)) : NULL;
}

static gboolean
damaged(const DocRoom *room, GError **error)
{
  return doppel_error_set(
      error, DOPPEL_ERROR_FAILED,
      "what is kept of documents in %s is damaged: put a copy in its place, or move it away "
      "and have yourself invited anew",
      room->options.path);
}

/* ---- keeping ---- */

static gboolean
keep_facts(DocRoom *room, RoomDocument *document, GError **error)
{
  gsize invitation_length, start_length, proof_length;
  g_autofree char *addresses = g_strjoinv(" ", document->server->addresses);
  const void *invitation = data_of(document->invitation, &invitation_length);
  const void *start = data_of(document->start_entry, &start_length);
  const void *proof = data_of(document->proof, &proof_length);
  return RUN(room, "INSERT OR REPLACE INTO document VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
             "bttbitbbiibbiitib", NAME(document), document->title, addresses,
             (const void *)document->server->key.bytes, (gsize)IDENTITY_PUBLIC_LENGTH,
             (gint64)document->stage, document->from, (const void *)document->from_user.bytes,
             (gsize)IDENTITY_PUBLIC_LENGTH, invitation, invitation_length,
             (gint64)document->invitation_number, (gint64)document->start.number,
             (const void *)document->start.digest.bytes, (gsize)DOC_CHAIN_LENGTH, start, start_length,
             (gint64)room_fault(document), (gint64)document->pardon, document->fault_words,
             document->fault_at, proof, proof_length);
}

static gboolean
keep_own(DocRoom *room, RoomDocument *document, GError **error)
{
  g_autoptr(GBytes) bytes = doc_document_save_own(document->doc);
  gsize length, head_length, ahead_length;
  const void *own = data_of(bytes, &length), *head = data_of(document->head.packed, &head_length),
             *ahead = data_of(document->ahead.packed, &ahead_length);
  return RUN(room, "INSERT OR REPLACE INTO own VALUES(?,?,?,?,?)", "bbbbi", NAME(document), own, length, head,
             head_length, ahead, ahead_length, document->changed);
}

static gboolean
keep_state(DocRoom *room, RoomDocument *document, GError **error)
{
  g_autoptr(GBytes) bytes = doc_document_save(document->doc);
  gsize length;
  const void *state = data_of(bytes, &length);
  document->state_at = doc_document_number(document->doc);
  return RUN(room, "INSERT OR REPLACE INTO state VALUES(?,?)", "bb", NAME(document), state, length);
}

static gboolean
keep_entries(DocRoom *room, RoomDocument *document, GError **error)
{
  gint64 now = g_get_real_time() / G_USEC_PER_SEC;
  if (document->forget_entries && !RUN(room, "DELETE FROM entry WHERE name = ? AND number > ?", "bi",
                                       NAME(document), (gint64)document->forget_after))
    return FALSE;
  document->forget_entries = FALSE;
  for (guint i = 0; i < document->fresh->len; i++) {
    const RoomEntry *entry = document->fresh->pdata[i];
    gsize length;
    const void *bytes = data_of(entry->entry, &length);
    if (!RUN(room, "INSERT OR REPLACE INTO entry VALUES(?,?,?,?,?)", "bibii", NAME(document),
             (gint64)entry->number, bytes, length, (gint64)entry->verdict, now))
      return FALSE;
  }
  g_ptr_array_set_size(document->fresh, 0);
  return TRUE;
}

/* All of them where one has come or gone. */
static gboolean
keep_copies(DocRoom *room, RoomDocument *document, GError **error)
{
  gboolean all = document->copies_dirty;
  document->copies_dirty = FALSE;
  if (all && !RUN(room, "DELETE FROM copy WHERE name = ?", "b", NAME(document)))
    return FALSE;
  for (guint i = 0; i < document->copies->len; i++) {
    RoomCopy *copy = document->copies->pdata[i];
    if (!copy->dirty && !all)
      continue;
    g_autoptr(GBytes) pair = doc_pair_save(copy->pair);
    gsize length;
    const void *bytes = data_of(pair, &length);
    copy->dirty = FALSE;
    if (!RUN(room, "INSERT OR REPLACE INTO copy VALUES(?,?,?,?)", "bbbi", NAME(document),
             (const void *)copy->id, (gsize)sizeof copy->id, bytes, length, copy->used))
      return FALSE;
  }
  return TRUE;
}

static gboolean
keep_people(DocRoom *room, RoomDocument *document, GError **error)
{
  for (guint i = 0; i < document->people->len; i++) {
    RoomPerson *person = document->people->pdata[i];
    if (!person->dirty)
      continue;
    person->dirty = FALSE;
    if (!RUN(room, "INSERT OR REPLACE INTO person VALUES(?,?,?,?,?,?,?,?,?)", "bbbtiiiii", NAME(document),
             (const void *)person->key.bytes, (gsize)IDENTITY_PUBLIC_LENGTH, (const void *)person->user.bytes,
             (gsize)IDENTITY_PUBLIC_LENGTH, person->name, (gint64)person->invite, (gint64)person->entry,
             (gint64)person->from_now, (gint64)person->head, person->head_at))
      return FALSE;
  }
  return TRUE;
}

static gboolean
keep(DocRoom *room, RoomDocument *document, GError **error)
{
  /* The state that is kept is never further on than the entries and never without what comes after it. */
  if (document->doc && (document->state_at + ROOM_STATE_EACH <= doc_document_number(document->doc) ||
                        doc_document_number(document->doc) < document->state_at))
    document->state_dirty = TRUE;
  if ((document->facts_dirty && !keep_facts(room, document, error)) || !keep_entries(room, document, error) ||
      (document->state_dirty && document->doc && !keep_state(room, document, error)) ||
      (document->own_dirty && document->doc && !keep_own(room, document, error)) ||
      !keep_copies(room, document, error) || !keep_people(room, document, error))
    return FALSE;
  document->facts_dirty = document->state_dirty = document->own_dirty = FALSE;
  return TRUE;
}

static gboolean
forget(DocRoom *room, RoomDocument *document, GError **error)
{
  return RUN(room, "DELETE FROM document WHERE name = ?", "b", NAME(document)) &&
         RUN(room, "DELETE FROM state WHERE name = ?", "b", NAME(document)) &&
         RUN(room, "DELETE FROM own WHERE name = ?", "b", NAME(document)) &&
         RUN(room, "DELETE FROM entry WHERE name = ?", "b", NAME(document)) &&
         RUN(room, "DELETE FROM copy WHERE name = ?", "b", NAME(document)) &&
         RUN(room, "DELETE FROM person WHERE name = ?", "b", NAME(document));
}

static gboolean
is_dirty(const RoomDocument *document)
{
  gboolean dirty = document->left || document->facts_dirty || document->own_dirty || document->state_dirty ||
                   document->copies_dirty || document->forget_entries || document->fresh->len > 0;
  for (guint i = 0; !dirty && i < document->copies->len; i++)
    dirty = ((const RoomCopy *)document->copies->pdata[i])->dirty;
  for (guint i = 0; !dirty && i < document->people->len; i++)
    dirty = ((const RoomPerson *)document->people->pdata[i])->dirty;
  return dirty;
}

gboolean
room_store_keep(DocRoom *room, GError **error)
{
  gboolean begun = FALSE;
  for (guint i = 0; i < room->documents->len; i++) {
    RoomDocument *document = room->documents->pdata[i];
    if (!is_dirty(document))
      continue;
    if (!begun && !RUN(room, "BEGIN IMMEDIATE", ""))
      return FALSE;
    begun = TRUE;
    if (document->left ? !forget(room, document, error) : !keep(room, document, error))
      return FALSE;
  }
  return !begun || RUN(room, "COMMIT", "");
}

/* ---- entries ---- */

gboolean
room_entries_each(const RoomDocument *document, guint64 from, guint64 to, RoomEntryEach *each, gpointer data,
                  GError **error)
{
  g_autoptr(DatabaseUse) statement =
      database_statements_use(document->room->statements, error,
                              "SELECT number, entry, verdict, time FROM entry WHERE name = ? AND number "
                              "BETWEEN ? AND ? ORDER BY number",
                              "bii", NAME(document), (gint64)from, (gint64)MIN(to, (guint64)G_MAXINT64));
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    g_autoptr(GBytes) entry = column_bytes(statement, 1);
    guint64 number = (guint64)sqlite3_column_int64(statement, 0);
    gint64 verdict = sqlite3_column_int64(statement, 2);
    if (document->forget_entries && number > document->forget_after)
      break;
    if (verdict < DOC_GOOD || verdict > DOC_VOID_OLD)
      return damaged(document->room, error);
    if (entry && !each(number, entry, (DocVerdict)verdict, sqlite3_column_int64(statement, 3), data))
      return TRUE;
  }
  if (step < 0)
    return FALSE;
  for (guint i = 0; i < document->fresh->len; i++) {
    const RoomEntry *fresh = document->fresh->pdata[i];
    if (fresh->number >= from && fresh->number <= to &&
        !each(fresh->number, fresh->entry, fresh->verdict, g_get_real_time() / G_USEC_PER_SEC, data))
      return TRUE;
  }
  return TRUE;
}

static gboolean
add_entry(guint64 number, GBytes *entry, DocVerdict verdict, gint64 time, gpointer data)
{
  g_ptr_array_add(data, g_bytes_ref(entry));
  return TRUE;
}

GPtrArray *
room_entries(const RoomDocument *document, guint64 from, guint64 to, GError **error)
{
  g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  if (from <= to && !room_entries_each(document, from, to, add_entry, entries, error))
    return NULL;
  if (entries->len == (from <= to ? to - from + 1 : 0))
    return g_steal_pointer(&entries);
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "not all of these entries are kept here");
  return NULL;
}

/* ---- loading ---- */

static gboolean
take_again(guint64 number, GBytes *entry, DocVerdict verdict, gint64 time, gpointer data)
{
  RoomDocument *document = data;
  g_auto(DocTaken) taken = {0};
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  document->bytes += length;
  return number <= doc_document_number(document->doc) ||
         doc_document_take(document->doc, number, bytes, length, &taken, NULL);
}

static gboolean
load_head(const RoomDocument *document, DocHead *head, sqlite3_stmt *statement, int column)
{
  g_autoptr(GBytes) packed = column_bytes(statement, column);
  gsize length;
  const void *bytes = data_of(packed, &length);
  return !packed || (doc_head_decode(head, bytes, length, &document->server->key, NULL) &&
                     doc_name_equal(&head->document, &document->name));
}

DocDocument *
room_kept_state(const RoomDocument *document, GError **error)
{
  DocRoom *room = document->room;
  g_autoptr(DatabaseUse) state = database_statements_use(
      room->statements, error, "SELECT state FROM state WHERE name = ?", "b", NAME(document));
  if (!state || database_step(state, error) < 0)
    return NULL;
  g_autoptr(GBytes) bytes = column_bytes(state, 0);
  gsize length;
  const void *data = data_of(bytes, &length);
  g_autoptr(DocDocument) doc = doc_document_load(room->key, data, length, NULL);
  if (doc && doc_name_equal(doc_document_name(doc), &document->name))
    return g_steal_pointer(&doc);
  damaged(room, error);
  return NULL;
}

static DatabaseUse *
use_own(const RoomDocument *document, GError **error)
{
  g_autoptr(DatabaseUse) own = database_statements_use(
      document->room->statements, error, "SELECT own, head, ahead, changed FROM own WHERE name = ?", "b",
      NAME(document));
  return own && database_step(own, error) >= 0 ? g_steal_pointer(&own) : NULL;
}

static gboolean
load_heads(const RoomDocument *document, sqlite3_stmt *own, DocHead *head, DocHead *ahead, GError **error)
{
  return (load_head(document, head, own, 1) && load_head(document, ahead, own, 2)) ||
         damaged(document->room, error);
}

gboolean
room_kept_heads(const RoomDocument *document, DocHead *head, DocHead *ahead, GError **error)
{
  g_autoptr(DatabaseUse) own = use_own(document, error);
  return own && load_heads(document, own, head, ahead, error);
}

static gboolean
load_doc(RoomDocument *document, DocFault fault, GError **error)
{
  DocRoom *room = document->room;
  document->doc = room_kept_state(document, error);
  g_autoptr(DatabaseUse) own = document->doc ? use_own(document, error) : NULL;
  if (!own)
    return FALSE;
  document->state_at = doc_document_number(document->doc);
  DocFault known = room_fault(document);
  if (!room_entries_each(document, 1, G_MAXINT64, take_again, document, error))
    return FALSE;
  g_autoptr(GBytes) own_bytes = column_bytes(own, 0);
  gsize length;
  const void *data = data_of(own_bytes, &length);
  if (!own_bytes || room_fault(document) != known ||
      !doc_document_load_own(document->doc, data, length, NULL))
    return damaged(room, error);
  if (!load_heads(document, own, &document->head, &document->ahead, error))
    return FALSE;
  document->changed = sqlite3_column_int64(own, 3);
  document->stuck = document->bytes > room->options.document_bytes;
  if (fault != DOC_FAULT_NONE && known == DOC_FAULT_NONE)
    doc_document_stop(document->doc, fault, doc_document_number(document->doc), NULL);
  else if (document->head.packed && fault == DOC_FAULT_NONE)
    doc_document_check_head(document->doc, &document->head, NULL);
  return TRUE;
}

static gboolean
load_copies(RoomDocument *document, GError **error)
{
  g_autoptr(DatabaseUse) statement =
      database_statements_use(document->room->statements, error,
                              "SELECT id, pair, used FROM copy WHERE name = ?", "b", NAME(document));
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    g_autoptr(GBytes) bytes = column_bytes(statement, 1);
    RoomCopy *copy = g_new0(RoomCopy, 1);
    gsize length;
    const void *data = data_of(bytes, &length);
    g_ptr_array_add(document->copies, copy);
    copy->used = sqlite3_column_int64(statement, 2);
    copy->pair = doc_pair_load(DOC_PAIR_CLONE, data, length, NULL);
    if (!database_blob(statement, 0, copy->id, sizeof copy->id) || !copy->pair ||
        doc_pair_length(copy->pair) != ot_text_length(doc_document_text(document->doc)))
      return damaged(document->room, error);
  }
  return step == 0;
}

static gboolean
load_people(RoomDocument *document, GError **error)
{
  g_autoptr(DatabaseUse) statement = database_statements_use(
      document->room->statements, error,
      "SELECT key, user, said, invite, entry, from_now, head, head_at FROM person WHERE name = ?", "b",
      NAME(document));
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    RoomPerson *person = g_new0(RoomPerson, 1);
    g_ptr_array_add(document->people, person);
    person->name = g_strdup((const char *)sqlite3_column_text(statement, 2));
    person->invite = (RoomInvite)sqlite3_column_int(statement, 3);
    person->entry = (guint64)sqlite3_column_int64(statement, 4);
    person->from_now = sqlite3_column_int(statement, 5) != 0;
    person->head = (guint64)sqlite3_column_int64(statement, 6);
    person->head_at = sqlite3_column_int64(statement, 7);
    person->told = -1;
    if (!database_blob(statement, 0, person->key.bytes, sizeof person->key) ||
        !database_blob(statement, 1, person->user.bytes, sizeof person->user) || !person->name ||
        !doc_room_is_line(person->name, 0, DOC_ROOM_USER_MAX) || person->invite > ROOM_INVITE_DUE)
      return damaged(document->room, error);
  }
  return step == 0;
}

/* What is shown of it, and what the rest rests on. */
static gboolean
is_whole(const RoomDocument *document)
{
  gboolean invited = document->stage == ROOM_STAGE(INVITED);
  return doc_room_is_line(document->title, 1, DOC_ROOM_TITLE_MAX) &&
         (!document->from || doc_room_is_line(document->from, 0, DOC_ROOM_USER_MAX)) &&
         (invited || document->stage == ROOM_STAGE(JOINED) || document->stage == ROOM_STAGE(JOINING) ||
          document->stage == ROOM_STAGE(RECOVERING)) &&
         (!invited || (document->invitation && document->from));
}

/* A row of `document`. */
static gboolean
load(DocRoom *room, sqlite3_stmt *row, GError **error)
{
  DocName name;
  IdentityPublic server;
  const char *title = (const char *)sqlite3_column_text(row, 1),
             *list = (const char *)sqlite3_column_text(row, 2);
  g_auto(GStrv) addresses = g_strsplit(list ? list : "", " ", -1);
  if (!database_blob(row, 0, name.bytes, sizeof name) ||
      !database_blob(row, 3, server.bytes, sizeof server) || !title ||
      !doc_room_are_addresses(addresses, g_strv_length(addresses), 1))
    return damaged(room, error);
  RoomDocument *document = room_document_new(room, &name, title);
  g_ptr_array_add(room->documents, document);
  document->server = room_server_get(room, addresses, g_strv_length(addresses), &server, error);
  if (!document->server)
    return FALSE;
  document->stage = (RoomStage)sqlite3_column_int(row, 4);
  document->from = g_strdup((const char *)sqlite3_column_text(row, 5));
  document->invitation = column_bytes(row, 7);
  document->invitation_number = (guint64)sqlite3_column_int64(row, 8);
  document->start.number = (guint64)sqlite3_column_int64(row, 9);
  document->start_entry = column_bytes(row, 11);
  document->pardon = (guint64)sqlite3_column_int64(row, 13);
  document->fault_words = g_strdup((const char *)sqlite3_column_text(row, 14));
  document->fault_at = sqlite3_column_int64(row, 15);
  document->proof = column_bytes(row, 16);
  int fault = sqlite3_column_int(row, 12);
  if (!database_blob(row, 6, document->from_user.bytes, sizeof document->from_user) ||
      !database_blob(row, 10, document->start.digest.bytes, sizeof document->start.digest) || fault < 0 ||
      fault >= DOC_FAULTS || !is_whole(document))
    return damaged(room, error);
  return document->stage == ROOM_STAGE(INVITED) ||
         (load_doc(document, (DocFault)fault, error) && load_copies(document, error) &&
          load_people(document, error));
}

static gboolean
load_all(DocRoom *room, GError **error)
{
  g_autoptr(DatabaseStatement) rows = database_prepare(room->db, error, "SELECT * FROM document", "");
  int step = -1;
  while (rows && (step = database_step(rows, error)) > 0)
    if (!load(room, rows, error))
      return FALSE;
  return step == 0;
}

static gint64
pragma(DocRoom *room, const char *sql, GError **error)
{
  g_autoptr(DatabaseStatement) statement = database_prepare(room->db, error, sql, "");
  return statement && database_step(statement, error) > 0 ? sqlite3_column_int64(statement, 0) : -1;
}

static gboolean
make_layout(DocRoom *room, GError **error)
{
  gint64 found = pragma(room, "PRAGMA user_version", error);
  gint64 application = found < 0 ? -1 : pragma(room, "PRAGMA application_id", error);
  if (found < 0 || application < 0)
    return FALSE;
  if (found == LAYOUT && application == APPLICATION_ID)
    return TRUE;
  if (found != 0 || application != 0)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "%s was written by another program, or a newer version of this one",
                            room->options.path);
  g_autofree char *sql =
      g_strdup_printf("BEGIN; %s PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT;", layout,
                      APPLICATION_ID, LAYOUT);
  return sqlite3_exec(room->db, sql, NULL, NULL, NULL) == SQLITE_OK || database_fail(room->db, error);
}

/* Locked for this process only: two rooms of one file would each keep what the other does not know. */
gboolean
room_store_open(DocRoom *room, GError **error)
{
  if (sqlite3_open_v2(room->options.path, &room->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
          SQLITE_OK ||
      sqlite3_exec(room->db,
                   "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                   "BEGIN EXCLUSIVE; COMMIT;",
                   NULL, NULL, NULL) != SQLITE_OK) {
    database_fail(room->db, error);
    g_prefix_error(error, "%s: ", room->options.path);
    return FALSE;
  }
  room->statements = database_statements_new(room->db);
  return make_layout(room, error) && load_all(room, error);
}
