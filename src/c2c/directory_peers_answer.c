/* The asked side: what a directory shows its peers of what it has, and what it takes from them. */
#include <string.h>

#include "base/error.h"
#include "c2c/directory_peers.h"

Record *
directory_peers_judge(const DirectorySigned *update, const IdentityPublic *keys, guint count,
                      const IdentityPublic *own, IdentityPublic *home, GError **error)
{
  g_autoptr(Record) record = directory_update_verify(update, home, NULL, error);
  if (!record)
    return NULL;
  /* Of the own users the own log says everything. */
  for (guint i = 0; i < count && !identity_public_equal(home, own); i++)
    if (identity_public_equal(home, &keys[i]))
      return g_steal_pointer(&record);
  doppel_error_set(error, DOPPEL_ERROR_DENIED,
                   "an update is signed by a directory that is no peer of this one");
  return NULL;
}

static DirectoryAnswer *
failed(const GError *why)
{
  return directory_answer_new(DIRECTORY_STATUS(FAILED), why->message);
}

static DirectoryAnswer *
answer_digests(DirectoryStore *store, const IdentityPublic *home)
{
  g_autoptr(GError) error = NULL;
  g_autofree guint8 *digests = g_malloc(DIRECTORY_DIGESTS_LENGTH);
  if (!directory_digest_all(store, home, digests, &error))
    return failed(error);
  DirectoryAnswer *answer = directory_answer_new(DIRECTORY_STATUS(OK), NULL);
  answer->digests = g_bytes_new_take(g_steal_pointer(&digests), DIRECTORY_DIGESTS_LENGTH);
  return answer;
}

static DirectoryAnswer *
answer_bucket(DirectoryStore *store, const IdentityPublic *home, guint bucket)
{
  g_autoptr(GError) error = NULL;
  GArray *seen = directory_store_seen(store, home, (guint8)bucket, &error);
  if (!seen)
    return failed(error);
  DirectoryAnswer *answer = directory_answer_new(DIRECTORY_STATUS(OK), NULL);
  answer->more = seen->len > DIRECTORY_SEEN_MAX;
  g_array_set_size(seen, MIN(seen->len, DIRECTORY_SEEN_MAX));
  answer->seen = seen;
  return answer;
}

/* The home's own signature under a row: kept, or made where this is the home. FALSE: there is none. */
static gboolean
update_of(const DirectoryRow *row, const IdentityKey *own, DirectorySigned *update)
{
  if (identity_public_equal(&row->home, identity_key_public(own)) && row->number > 0) {
    *update = directory_update_sign(own, row->number, row->record);
    return TRUE;
  }
  gsize length = 0;
  const void *data = row->update ? g_bytes_get_data(row->update, &length) : NULL;
  return data && directory_signed_unpack(data, length, update, NULL);
}

static DirectoryAnswer *
answer_fetch(DirectoryStore *store, const IdentityKey *own, const DirectoryQuestion *question)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryAnswer) answer = directory_answer_new(DIRECTORY_STATUS(OK), NULL);
  gsize bytes = 0;
  guint done = 0;
  answer->updates = directory_updates_new();
  for (; done < question->origins->len && bytes < DIRECTORY_BULK; done++) {
    g_autoptr(DirectoryRow) row = NULL;
    DirectorySigned update = {0};
    int found =
        directory_store_get(store, &g_array_index(question->origins, IdentityPublic, done), &row, &error);
    if (found < 0)
      return failed(error);
    if (!found || !identity_public_equal(&row->home, &question->home) || !update_of(row, own, &update))
      continue;
    bytes += g_bytes_get_size(update.statement);
    g_array_append_val(answer->updates, update);
  }
  answer->number = done;
  answer->more = done < question->origins->len;
  return g_steal_pointer(&answer);
}

DirectoryAnswer *
directory_peers_answer(DirectoryStore *store, const IdentityKey *own, const DirectoryQuestion *question)
{
  DirectoryAnswer *answer;
  switch (question->what) {
  case DIRECTORY_WHAT(DIGESTS):
    answer = answer_digests(store, &question->home);
    break;
  case DIRECTORY_WHAT(BUCKET):
    answer = answer_bucket(store, &question->home, question->bucket);
    break;
  case DIRECTORY_WHAT(FETCH):
    answer = answer_fetch(store, own, question);
    break;
  default:
    answer = directory_answer_new(DIRECTORY_STATUS(MALFORMED), "this is no question of a peer's");
  }
  answer->id = question->id;
  return answer;
}
