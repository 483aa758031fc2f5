#include "replicator/agree.h"

#include <string.h>

#include "base/error.h"
#include "replicator/manifest.h"

static gboolean
same_store(const CloneIndexState *state, const Doppel__Sync__Welcome *welcome)
{
  return welcome->store.len == sizeof state->store &&
         memcmp(state->store, welcome->store.data, sizeof state->store) == 0;
}

static guint64
head_of(const Doppel__Sync__Welcome *welcome)
{
  return welcome->head ? welcome->head->number : 0;
}

/* The answer to the COMMIT was lost. */
static gboolean
was_committed(const CloneIndexState *state, const Doppel__Sync__Welcome *welcome)
{
  return state->attempting && state->commit_time_ns && head_of(welcome) == state->attempting &&
         welcome->head->time_ns == state->commit_time_ns && welcome->head->nodes == state->commit_nodes;
}

static gboolean
same_attempt(const CloneIndexState *state, const Doppel__Sync__Attempt *attempt)
{
  return state->attempting && attempt && attempt->generation == state->attempting &&
         memcmp(attempt->identity.data, state->attempt, sizeof state->attempt) == 0;
}

static void
leave_attempt(CloneIndexState *state)
{
  state->attempting = 0;
  state->commit_time_ns = 0;
  state->commit_nodes = 0;
  state->heard = 0;
  memset(state->attempt, 0, sizeof state->attempt);
}

/* The index as it is now says what the clone has, or can be made to. */
static gboolean
reconcile(CloneIndex *index, const Doppel__Sync__Welcome *welcome, guint64 *durable)
{
  CloneIndexState *state = &index->state;
  if (!same_store(state, welcome))
    return FALSE;
  if (was_committed(state, welcome)) {
    tree_index_committed(index->tree);
    state->head = head_of(welcome);
    state->head_time_ns = welcome->head->time_ns;
    leave_attempt(state);
    return TRUE;
  }
  if (head_of(welcome) != state->head)
    return FALSE;
  /* What a step was told to make and is not cannot be told apart from what it made, where it was not heard
   * of. */
  if (same_attempt(state, welcome->attempt) && welcome->attempt->n_mismatch == state->heard)
    *durable = welcome->attempt->durable;
  state->commit_time_ns = 0;
  if (!tree_index_back_to(index->tree, *durable))
    return FALSE;
  if (*durable)
    tree_index_durable(index->tree, *durable);
  else
    leave_attempt(state);
  return TRUE;
}

static SyncMessage *
abandon(Link *link, GError **error)
{
  Doppel__Sync__Abandon message = DOPPEL__SYNC__ABANDON__INIT;
  if (!SYNC_SEND(link, ABANDON, abandon, &message, error))
    return NULL;
  return conversation_answer(link, DOPPEL__SYNC__MESSAGE__KIND_WELCOME, error);
}

static gboolean
rebuild(Link *link, CloneIndex *index, const Doppel__Sync__Welcome *welcome, GError **error)
{
  CloneIndexState *state = &index->state;
  if (welcome->store.len != sizeof state->store)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone does not say which store it has");
  if (!clone_index_reset(index, error))
    return FALSE;
  if (welcome->head && !manifest_receive(link, index->tree, welcome->head->number, FALSE, error))
    return FALSE;
  memcpy(state->store, welcome->store.data, sizeof state->store);
  state->head = head_of(welcome);
  state->head_time_ns = welcome->head ? welcome->head->time_ns : 0;
  return TRUE;
}

gboolean
replicator_agree(Link *link, CloneIndex *index, const Doppel__Sync__Welcome *welcome, guint64 *durable,
                 GError **error)
{
  *durable = 0;
  gboolean agreed = reconcile(index, welcome, durable);
  if (!agreed)
    *durable = 0;
  /* An attempt of which nothing is to be kept. */
  g_autoptr(SyncMessage) fresh = NULL;
  if (welcome->attempt && *durable == 0) {
    fresh = abandon(link, error);
    if (!fresh)
      return FALSE;
    welcome = fresh->welcome;
  }
  return (agreed || rebuild(link, index, welcome, error)) && clone_index_save(index, error);
}
