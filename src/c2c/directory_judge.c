/* First come, and only forward: which records a directory takes. */
#include <string.h>

#include "base/error.h"
#include "c2c/directory_work.h"

#define KNOWN_MAX     4096 /* records that are held decoded */
#define CONFLICTS_MAX 32   /* in a row, before others are to have their turn */

void
directory_judge_init(DirectoryJudge *judge, DirectoryStore *store, const IdentityPublic *home)
{
  judge->store = store;
  judge->home = *home;
  judge->known =
      g_hash_table_new_full(identity_public_hash, identity_public_same, NULL, (GDestroyNotify)record_unref);
}

void
directory_judge_clear(DirectoryJudge *judge)
{
  g_hash_table_unref(judge->known);
}

static void
remember(DirectoryJudge *judge, Record *record)
{
  if (g_hash_table_size(judge->known) >= KNOWN_MAX)
    g_hash_table_remove_all(judge->known);
  g_hash_table_replace(judge->known, &record->origin, record_ref(record));
}

static void
settle(DirectoryCandidate *candidate, DirectoryStatus status, const char *words)
{
  candidate->judged = TRUE;
  candidate->status = status;
  candidate->words = words;
}

/* What is stored of the candidate's user, decoded: 1, 0, -1. */
static int
stored_record(DirectoryJudge *judge, const IdentityPublic *origin, Record **record, guint64 *number,
              GError **error)
{
  g_autoptr(DirectoryRow) row = NULL;
  int found = directory_store_get(judge->store, origin, &row, error);
  if (found <= 0)
    return found;
  *number = row->number;
  Record *known = g_hash_table_lookup(judge->known, origin);
  if (known && memcmp(known->hash, row->hash, sizeof row->hash) == 0) {
    *record = record_ref(known);
    return 1;
  }
  gsize length;
  const void *bytes = g_bytes_get_data(row->record, &length);
  *record = record_decode(bytes, length, origin, error);
  if (!*record) {
    g_prefix_error(error, "a record in the store is damaged (see \"cloneds check\"): ");
    return -1;
  }
  remember(judge, *record);
  return 1;
}

static int
name_is_free(DirectoryJudge *judge, const Record *record, GError **error)
{
  g_autoptr(GArray) holders = directory_store_find(judge->store, record->name, &judge->home, error);
  if (!holders)
    return -1;
  for (guint i = 0; i < holders->len; i++)
    if (!identity_public_equal(&g_array_index(holders, IdentityPublic, i), &record->origin))
      return 0;
  return 1;
}

/* A batch touches no user and no name twice: what does waits for the next. */
typedef struct {
  GHashTable *users, *names;
  GArray *puts;          /* of DirectoryPut */
  GPtrArray *candidates; /* whose they are */
  DirectoryState state;
} Batch;

static void
batch_clear(Batch *batch)
{
  g_hash_table_unref(batch->users);
  g_hash_table_unref(batch->names);
  g_array_unref(batch->puts);
  g_ptr_array_unref(batch->candidates);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Batch, batch_clear)

static void
add_put(Batch *batch, DirectoryCandidate *candidate, const Record *before)
{
  Record *record = candidate->record;
  DirectoryPut put = {.record = record, .update = candidate->update};
  if (!candidate->update) {
    directory_chain_extend(&batch->state, record->hash);
    put.number = batch->state.number;
    memcpy(put.chain, batch->state.chain, sizeof put.chain);
  }
  g_array_append_val(batch->puts, put);
  g_ptr_array_add(batch->candidates, candidate);
  g_hash_table_add(batch->users, &record->origin);
  g_hash_table_add(batch->names, g_strdup(record->name));
  if (before)
    g_hash_table_add(batch->names, g_strdup(before->name));
}

/* FALSE where the store fails. */
static gboolean
judge_one(DirectoryJudge *judge, Batch *batch, DirectoryCandidate *candidate, GError **error)
{
  Record *record = candidate->record;
  g_autoptr(Record) before = NULL;
  guint64 number = 0;
  if (g_hash_table_contains(batch->users, &record->origin) ||
      g_hash_table_contains(batch->names, record->name))
    return TRUE;
  int found = stored_record(judge, &record->origin, &before, &number, error);
  if (found < 0)
    return FALSE;
  if (before && g_hash_table_contains(batch->names, before->name))
    return TRUE;
  if (before && memcmp(before->hash, record->hash, sizeof record->hash) == 0 &&
      (candidate->update || number > 0)) {
    candidate->number = number;
    settle(candidate, DIRECTORY_STATUS(OK), NULL);
    return TRUE;
  }
  if (before && !record_supersedes(record, before)) {
    settle(candidate, DIRECTORY_STATUS(STALE), NULL);
    return TRUE;
  }
  int free_name = candidate->update ? 1 : name_is_free(judge, record, error);
  if (free_name < 0)
    return FALSE;
  if (free_name == 0)
    settle(candidate, DIRECTORY_STATUS(TAKEN), NULL);
  else
    add_put(batch, candidate, before);
  return TRUE;
}

static gboolean
fill_batch(DirectoryJudge *judge, Batch *batch, GPtrArray *candidates, GError **error)
{
  for (guint i = 0; i < candidates->len && batch->puts->len < DIRECTORY_BATCH_MAX; i++) {
    DirectoryCandidate *candidate = candidates->pdata[i];
    if (!candidate->judged && !judge_one(judge, batch, candidate, error))
      return FALSE;
  }
  return TRUE;
}

static void
settle_batch(DirectoryJudge *judge, const Batch *batch, GArray *registered)
{
  for (guint i = 0; i < batch->candidates->len; i++) {
    DirectoryCandidate *candidate = batch->candidates->pdata[i];
    DirectoryPut put = g_array_index(batch->puts, DirectoryPut, i);
    candidate->number = put.number;
    settle(candidate, DIRECTORY_STATUS(OK), NULL);
    remember(judge, candidate->record);
    if (put.number == 0)
      continue;
    put.record = record_ref(put.record);
    put.update = NULL;
    g_array_append_val(registered, put);
  }
}

/* One commit, where there is something to commit. */
static DirectoryOutcome
commit_some(DirectoryJudge *judge, GPtrArray *candidates, GArray *registered, gboolean *committed,
            GError **error)
{
  DirectoryState before;
  *committed = FALSE;
  if (!directory_store_state(judge->store, &before, error))
    return DIRECTORY_FAILED;
  g_auto(Batch) batch = {.users = g_hash_table_new(identity_public_hash, identity_public_same),
                         .names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                         .puts = g_array_new(FALSE, FALSE, sizeof(DirectoryPut)),
                         .candidates = g_ptr_array_new(),
                         .state = before};
  if (!fill_batch(judge, &batch, candidates, error))
    return DIRECTORY_FAILED;
  if (batch.puts->len == 0)
    return DIRECTORY_DONE;
  DirectoryOutcome outcome = directory_store_commit(
      judge->store, &before, &batch.state, (const DirectoryPut *)batch.puts->data, batch.puts->len, error);
  *committed = outcome == DIRECTORY_DONE;
  if (*committed)
    settle_batch(judge, &batch, registered);
  return outcome;
}

static gboolean
all_judged(GPtrArray *candidates)
{
  for (guint i = 0; i < candidates->len; i++)
    if (!((DirectoryCandidate *)candidates->pdata[i])->judged)
      return FALSE;
  return TRUE;
}

static void
give_up(GPtrArray *candidates, DirectoryStatus status, const char *words)
{
  for (guint i = 0; i < candidates->len; i++)
    if (!((DirectoryCandidate *)candidates->pdata[i])->judged)
      settle(candidates->pdata[i], status, words);
}

guint
directory_judge_all(DirectoryJudge *judge, GPtrArray *candidates, GArray *registered)
{
  guint commits = 0;
  for (guint conflicts = 0; !all_judged(candidates);) {
    g_autoptr(GError) error = NULL;
    gboolean committed;
    DirectoryOutcome outcome = commit_some(judge, candidates, registered, &committed, &error);
    commits += committed;
    if (outcome == DIRECTORY_FAILED) {
      g_printerr("cloneds: %s\n", error->message);
      give_up(candidates, DIRECTORY_STATUS(FAILED),
              "its store cannot be written to; its operator's log says why");
    } else if (outcome == DIRECTORY_CONFLICT && ++conflicts == CONFLICTS_MAX) {
      give_up(candidates, DIRECTORY_STATUS(BUSY), NULL);
    }
  }
  return commits;
}
