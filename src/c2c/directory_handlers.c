/* What everybody may ask a directory. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_work.h"

#define AHEAD_S     (24 * 3600)          /* how far clocks may be apart */
#define HASHES_READ (8 * DIRECTORY_BULK) /* of records, to answer with nothing but their hashes */

static gboolean
is_served(const DirectoryServer *server, const IdentityPublic *provider)
{
  const GArray *providers = directory_server_providers(server);
  for (guint i = 0; providers && i < providers->len; i++)
    if (identity_public_equal(&g_array_index(providers, IdentityPublic, i), provider))
      return TRUE;
  return !providers || providers->len == 0;
}

static gboolean
refuse(DirectoryTask *task, DirectoryStatus status, const char *message)
{
  directory_task_answer(task, status, message);
  return FALSE;
}

static gboolean
verify_register(DirectoryTask *task)
{
  g_autoptr(GError) error = NULL;
  gsize length;
  const void *bytes = g_bytes_get_data(task->question->record, &length);
  g_autoptr(Record) record = record_decode(bytes, length, NULL, &error);
  gint64 now = clock_unix_time();
  if (!record)
    return refuse(task,
                  g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED) ? DIRECTORY_STATUS(UNPROVED)
                                                                            : DIRECTORY_STATUS(MALFORMED),
                  error->message);
  if (!identity_public_equal(&record->directory, identity_key_public(directory_server_key(task->server))))
    return refuse(task, DIRECTORY_STATUS(FOREIGN), "the user's home is another directory");
  if (!is_served(task->server, &record->provider))
    return refuse(task, DIRECTORY_STATUS(FOREIGN), "users of that provider are not registered here");
  if (record->expires <= now || (!record->revoked && record->whereabouts_expires <= now))
    return refuse(task, DIRECTORY_STATUS(EXPIRED), NULL);
  if (record->issued > now + AHEAD_S || record->whereabouts_issued > now + AHEAD_S)
    return refuse(task, DIRECTORY_STATUS(EXPIRED), "it was issued in times to come");
  directory_task_add(task, g_steal_pointer(&record), NULL);
  return TRUE;
}

gboolean
directory_record_is_of(const Record *record, const IdentityPublic *key)
{
  return record->expires > clock_unix_time() &&
         (identity_public_equal(key, &record->key) ||
          (!record->revoked &&
           (identity_public_equal(key, &record->clone_key) || identity_public_equal(key, &record->device))));
}

static void
judged_register(DirectoryTask *task)
{
  const DirectoryCandidate *candidate = task->candidates->pdata[0];
  directory_task_answer(task, candidate->status, candidate->words);
  task->answer->number = candidate->number;
  task->proved = task->proves && candidate->status == DIRECTORY_STATUS(OK) &&
                 directory_record_is_of(candidate->record, &task->peer);
}

/* The user's record, where their home is the one that was asked for. */
static gboolean
add_user(DirectoryStore *store, const IdentityPublic *origin, const DirectoryQuestion *question,
         GPtrArray *records, GError **error)
{
  g_autoptr(DirectoryRow) row = NULL;
  int found = directory_store_get(store, origin, &row, error);
  if (found > 0 && (!question->has_home || identity_public_equal(&row->home, &question->home)))
    g_ptr_array_add(records, g_bytes_ref(row->record));
  return found >= 0;
}

static gboolean
add_named(DirectoryStore *store, const IdentityPublic *home, const DirectoryQuestion *question,
          GPtrArray *records, GError **error)
{
  g_autoptr(GArray) origins = directory_store_find(store, question->name, home, error);
  for (guint i = 0; origins && i < origins->len && records->len < DIRECTORY_FOUND_MAX; i++)
    if (!add_user(store, &g_array_index(origins, IdentityPublic, i), question, records, error))
      return FALSE;
  return origins != NULL;
}

static gboolean
is_among(const GPtrArray *records, guint first, GBytes *record)
{
  for (guint i = 0; i < first; i++)
    if (g_bytes_equal(records->pdata[i], record))
      return TRUE;
  return FALSE;
}

/* The own users first: no other directory can crowd them out with users of the same name. */
static gboolean
add_all_named(DirectoryTask *task, DirectoryStore *store, GPtrArray *records, GError **error)
{
  const DirectoryQuestion *question = task->question;
  if (question->has_home)
    return add_named(store, &question->home, question, records, error);
  const IdentityPublic *own = identity_key_public(directory_server_key(task->server));
  g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  if (!add_named(store, own, question, records, error) || !add_named(store, NULL, question, all, error))
    return FALSE;
  guint first = records->len;
  for (guint i = 0; i < all->len && records->len < DIRECTORY_FOUND_MAX; i++)
    if (!is_among(records, first, all->pdata[i]))
      g_ptr_array_add(records, g_bytes_ref(all->pdata[i]));
  return TRUE;
}

static void
answer_found(DirectoryTask *task, const GPtrArray *records, const DirectoryState *state,
             DirectoryStatus empty)
{
  directory_task_answer(task, records->len > 0 ? DIRECTORY_STATUS(OK) : empty, NULL);
  task->answer->found = directory_found_sign(directory_server_key(task->server), task->question, records,
                                             state->number, clock_unix_time());
}

static gboolean
read_lookup(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  const DirectoryQuestion *question = task->question;
  g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  gboolean good = question->by_origin ? add_user(store, &question->origin, question, records, error)
                                      : add_all_named(task, store, records, error);
  if (good)
    answer_found(task, records, state, DIRECTORY_STATUS(UNKNOWN));
  return good;
}

static gboolean
read_list(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  const DirectoryQuestion *question = task->question;
  g_autoptr(GPtrArray) rows = directory_store_page(
      store, NULL, question->by_origin ? &question->origin : NULL, question->count, error);
  if (!rows)
    return FALSE;
  g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  gsize together = 0;
  for (guint i = 0; i < rows->len && together < DIRECTORY_BULK; i++) {
    const DirectoryRow *row = rows->pdata[i];
    together += g_bytes_get_size(row->record);
    g_ptr_array_add(records, g_bytes_ref(row->record));
  }
  answer_found(task, records, state, DIRECTORY_STATUS(OK));
  task->answer->more = records->len < rows->len || rows->len == question->count;
  return TRUE;
}

static gboolean
read_changes(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  const DirectoryQuestion *question = task->question;
  if (question->number > state->number) {
    directory_task_answer(task, DIRECTORY_STATUS(UNKNOWN), NULL);
    return TRUE;
  }
  gsize room = question->bytes > 0 ? question->bytes : HASHES_READ;
  g_autoptr(GPtrArray) changes = directory_store_changes(store, question->number, room, error);
  if (!changes)
    return FALSE;
  directory_task_answer(task, DIRECTORY_STATUS(OK), NULL);
  task->answer->entries = directory_entries_new();
  guint64 last = question->number;
  for (guint i = 0; i < changes->len; i++) {
    const DirectoryEntry *entry = changes->pdata[i];
    if (entry->number > state->number) /* newer than the head that goes with it */
      break;
    DirectoryLogEntry one = {.number = entry->number,
                             .record =
                                 entry->record && question->bytes > 0 ? g_bytes_ref(entry->record) : NULL};
    memcpy(one.hash, entry->hash, sizeof one.hash);
    g_array_append_val(task->answer->entries, one);
    last = entry->number;
  }
  task->answer->more = last < state->number;
  return TRUE;
}

static gboolean
read_head(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  DirectoryState at = {.number = task->question->number};
  directory_task_answer(task, DIRECTORY_STATUS(OK), NULL);
  if (at.number == 0)
    return TRUE;
  int found = at.number > state->number ? 0 : directory_store_chain(store, at.number, at.chain, error);
  if (found > 0)
    task->answer->head = directory_head_sign(directory_server_key(task->server), &at, clock_unix_time());
  else if (found == 0)
    directory_task_answer(task, DIRECTORY_STATUS(UNKNOWN), NULL);
  return found >= 0;
}

/* What is registered here is signed as it is asked for; what a home directory told is passed on as it was. */
static gboolean
add_update(DirectoryTask *task, DirectoryStore *store, const IdentityPublic *origin, gsize *together,
           GError **error)
{
  g_autoptr(DirectoryRow) row = NULL;
  DirectorySigned update = {0};
  int found = directory_store_get(store, origin, &row, error);
  if (found <= 0 || !identity_public_equal(&row->home, &task->question->home))
    return found >= 0;
  if (row->number > 0)
    update = directory_update_sign(directory_server_key(task->server), row->number, row->record);
  else if (!row->update || !directory_signed_unpack(g_bytes_get_data(row->update, NULL),
                                                    g_bytes_get_size(row->update), &update, error))
    return !row->update;
  *together += g_bytes_get_size(update.statement);
  g_array_append_val(task->answer->updates, update);
  return TRUE;
}

static gboolean
read_fetch(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  const GArray *origins = task->question->origins;
  gsize together = 0;
  directory_task_answer(task, DIRECTORY_STATUS(OK), NULL);
  task->answer->updates = directory_updates_new();
  guint i = 0;
  for (; i < origins->len && together < DIRECTORY_BULK; i++)
    if (!add_update(task, store, &g_array_index(origins, IdentityPublic, i), &together, error))
      return FALSE;
  task->answer->more = i < origins->len;
  return TRUE;
}

const DirectoryHandler directory_handlers[] = {
    {.what = DIRECTORY_WHAT(REGISTER), .price = 4, .verify = verify_register, .judged = judged_register},
    {.what = DIRECTORY_WHAT(LOOKUP), .price = 1, .read = read_lookup},
    {.what = DIRECTORY_WHAT(LIST), .price = 8, .read = read_list},
    {.what = DIRECTORY_WHAT(CHANGES), .price = 8, .read = read_changes},
    {.what = DIRECTORY_WHAT(HEAD), .price = 1, .read = read_head},
    {.what = DIRECTORY_WHAT(FETCH), .price = 16, .read = read_fetch},
};
const guint directory_handlers_count = G_N_ELEMENTS(directory_handlers);
