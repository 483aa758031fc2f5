#include "c2c/directory_peer_asked.h"

#include "c2c/directory_peer_service.h"

static const DirectoryPeerKeys *
asked_keys(const DirectoryTask *task)
{
  return directory_peer_service_keys(directory_server_data(task->server));
}

static gboolean
verify_updates(DirectoryTask *task)
{
  const DirectoryPeerKeys *keys = asked_keys(task);
  if (!directory_peer_keys_has(keys, &task->peer)) {
    directory_task_answer(task, DIRECTORY_STATUS(FOREIGN), "you are no peer of this directory");
    return FALSE;
  }
  guint good = 0;
  for (guint i = 0; i < task->question->updates->len; i++) {
    const DirectorySigned *update = &g_array_index(task->question->updates, DirectorySigned, i);
    Record *record = directory_peer_keys_judge(keys, update);
    if (record)
      directory_task_add(task, record, directory_signed_pack(update));
    good += record != NULL;
  }
  if (good == 0)
    directory_task_answer(task, DIRECTORY_STATUS(UNPROVED), "none of these updates is a peer's");
  return good > 0;
}

static void
judged_updates(DirectoryTask *task)
{
  DirectoryStatus status = DIRECTORY_STATUS(OK);
  for (guint i = 0; i < task->candidates->len; i++) {
    const DirectoryCandidate *candidate = task->candidates->pdata[i];
    /* What is known already, or is older, is no reason to send it again; what could not be put is. */
    if (candidate->status == DIRECTORY_STATUS(FAILED) || candidate->status == DIRECTORY_STATUS(BUSY))
      status = candidate->status;
  }
  directory_task_answer(task, status, NULL);
}

static gboolean
read_for_peer(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  const DirectoryPeerKeys *keys = asked_keys(task);
  if (!directory_peer_keys_has(keys, &task->peer))
    directory_task_answer(task, DIRECTORY_STATUS(FOREIGN), "you are no peer of this directory");
  else
    task->answer = directory_peers_answer(store, directory_server_key(task->server), task->question);
  return TRUE;
}

/* Fetching is for everybody: what is fetched proves itself. */
static gboolean
read_fetch(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  task->answer = directory_peers_answer(store, directory_server_key(task->server), task->question);
  return TRUE;
}

const DirectoryHandler directory_peer_asked[] = {
    {.what = DIRECTORY_WHAT(UPDATES), .price = 2, .verify = verify_updates, .judged = judged_updates},
    {.what = DIRECTORY_WHAT(DIGESTS), .price = 16, .read = read_for_peer},
    {.what = DIRECTORY_WHAT(BUCKET), .price = 2, .read = read_for_peer},
    {.what = DIRECTORY_WHAT(FETCH), .price = 8, .read = read_fetch},
};
const guint directory_peer_asked_count = G_N_ELEMENTS(directory_peer_asked);
