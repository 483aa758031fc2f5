#include "c2c/directory_told.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_call.h"

#define HOME_LAG_S 5 /* a record that was made so shortly before may have come in just after the answer */
#define OTHER_LAG_S                                                                                          \
  120 /* directories that are not the user's home are told by others: two rounds of healing */

void
directory_told_free(DirectoryTold *told)
{
  if (!told)
    return;
  directory_signed_clear(&told->proof);
  g_clear_pointer(&told->records, g_ptr_array_unref);
  g_free(told);
}

static gboolean
fits(const Record *record, const DirectoryQuestion *question)
{
  if (question->has_home && !identity_public_equal(&record->directory, &question->home))
    return FALSE;
  return question->by_origin ? identity_public_equal(&record->origin, &question->origin)
                             : strcmp(record->name, question->name) == 0;
}

/* A page has its users in the order of their origins, each once, from the one after that it was asked for. */
static gboolean
follows(const DirectoryTold *told, const Record *record, const DirectoryQuestion *question)
{
  const Record *last = told->records->len > 0 ? told->records->pdata[told->records->len - 1] : NULL;
  const IdentityPublic *before = last ? &last->origin : question->by_origin ? &question->origin : NULL;
  return !before || memcmp(record->origin.bytes, before->bytes, sizeof before->bytes) > 0;
}

/* Verifies a record, keeps it, and adds it. */
static gboolean
add(DirectoryTold *told, DirectoryCache *cache, GBytes *bytes, const DirectoryQuestion *question,
    const DirectoryFound *found, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(Record) record = record_decode(data, length, NULL, error);
  if (!record)
    return FALSE;
  if (found->count == 0 && !fits(record, question))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the directory told of somebody else");
  if (found->count > 0 && !follows(told, record, question))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the directory's list is out of order");
  if (directory_cache_put(cache, record, found, &told->proof, NULL, error) < 0)
    return FALSE;
  g_ptr_array_add(told->records, g_steal_pointer(&record));
  return TRUE;
}

DirectoryTold *
directory_told_new(DirectoryCache *cache, const DirectoryPlace *place, const DirectoryQuestion *question,
                   const DirectoryAnswer *answer, GError **error)
{
  if (answer->status != DIRECTORY_STATUS(OK) && answer->status != DIRECTORY_STATUS(UNKNOWN)) {
    directory_answer_refusal(answer, place->address, error);
    return NULL;
  }
  g_autoptr(DirectoryFound) found = directory_found_verify(&answer->found, &place->key, question, error);
  if (!found)
    return NULL;
  if (ABS(found->time - clock_unix_time()) > DIRECTORY_CLOCKS_S) {
    doppel_error_set(error, DOPPEL_ERROR_DENIED, "the directory %s answered with something of another time",
                     place->address);
    return NULL;
  }
  g_autoptr(DirectoryTold) told = g_new0(DirectoryTold, 1);
  told->directory = place->key;
  told->time = found->time;
  told->number = found->number;
  directory_signed_copy(&told->proof, &answer->found);
  told->records = g_ptr_array_new_with_free_func((GDestroyNotify)record_unref);
  for (guint i = 0; i < found->records->len; i++)
    if (!add(told, cache, found->records->pdata[i], question, found, error)) {
      g_prefix_error(error, "the directory %s: ", place->address);
      return NULL;
    }
  return g_steal_pointer(&told);
}

Record *
directory_told_record(const DirectoryTold *told, const IdentityPublic *origin)
{
  for (guint i = 0; i < told->records->len; i++) {
    Record *record = told->records->pdata[i];
    if (identity_public_equal(&record->origin, origin))
      return record;
  }
  return NULL;
}

DirectoryResult *
directory_told_result(const DirectoryTold *told, Record *record)
{
  DirectoryResult *result = g_new0(DirectoryResult, 1);
  result->record = record_ref(record);
  result->told = told->time;
  result->directory = told->directory;
  directory_signed_copy(&result->found, &told->proof);
  return result;
}

GPtrArray *
directory_told_results(const DirectoryTold *told, DirectoryCache *cache)
{
  GPtrArray *results = g_ptr_array_new_with_free_func((GDestroyNotify)directory_result_free);
  for (guint i = 0; i < told->records->len; i++) {
    Record *record = told->records->pdata[i];
    g_autoptr(GPtrArray) known = directory_cache_find(cache, NULL, &record->origin, NULL, NULL);
    const DirectoryResult *kept = known && known->len > 0 ? known->pdata[0] : NULL;
    gboolean same = !kept || memcmp(kept->record->hash, record->hash, sizeof record->hash) == 0;
    g_ptr_array_add(results, same ? directory_told_result(told, record) : g_ptr_array_steal_index(known, 0));
  }
  return results;
}

/* Long enough before the directory answered for it to have had it. */
static gboolean
was_there(const Record *record, const DirectoryTold *told)
{
  gboolean home = identity_public_equal(&record->directory, &told->directory);
  gint64 made = MAX(record->issued, record->whereabouts_issued);
  return made + (home ? HOME_LAG_S : OTHER_LAG_S) <= told->time;
}

/* It had told the record itself, of a list that was not longer: two statements that both have its signature.
 */
static void
prove(const DirectoryTold *told, const DirectoryResult *before, const DirectoryBest *best,
      DirectoryCache *cache)
{
  if (!before || before->told == 0 || !identity_public_equal(&before->directory, &told->directory) ||
      memcmp(before->record->hash, best->record->hash, sizeof before->record->hash) != 0)
    return;
  g_autoptr(DirectoryFound) found = directory_found_verify(&before->found, &told->directory, NULL, NULL);
  if (!found || told->number < found->number)
    return;
  g_autofree char *key = identity_public_to_text(&told->directory);
  g_warning("the directory %s contradicts itself: it has taken back a record of %s", key, best->record->name);
  directory_cache_add_evidence(cache, &told->directory, &before->found, &told->proof,
                               "it has taken back what it had told of a user", NULL);
}

gboolean
directory_told_hold(const DirectoryTold *told, const DirectoryBest *best, const DirectoryResult *before,
                    gboolean whole, DirectoryCache *cache)
{
  const Record *known = best->record, *record = directory_told_record(told, &known->origin);
  gboolean home = identity_public_equal(&known->directory, &told->directory);
  if (record ? !record_supersedes(known, record) : !home) {
    if (record)
      directory_cache_uncomplain(cache, &told->directory, &known->origin, NULL);
    return FALSE;
  }
  if (!record && !whole)
    return TRUE;
  if (!was_there(known, told))
    return FALSE;
  const DirectoryComplaint complaint = {.directory = told->directory,
                                        .origin = known->origin,
                                        .witness = best->witness,
                                        .name = known->name,
                                        .kind = record ? DIRECTORY_OLDER : DIRECTORY_HIDES,
                                        .last = clock_unix_time()};
  directory_cache_complain(cache, &complaint, NULL);
  prove(told, before, best, cache);
  return FALSE;
}
