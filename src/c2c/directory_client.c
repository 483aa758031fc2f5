#include "c2c/directory_client.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_client_private.h"
#include "c2c/directory_watch.h"

void
directory_result_free(DirectoryResult *result)
{
  if (!result)
    return;
  g_clear_pointer(&result->record, record_unref);
  directory_signed_clear(&result->found);
  g_free(result);
}

void
directory_complaint_free(DirectoryComplaint *complaint)
{
  g_free(complaint->name);
  g_free(complaint);
}

void
directory_evidence_free(DirectoryEvidence *evidence)
{
  directory_signed_clear(&evidence->first);
  directory_signed_clear(&evidence->second);
  g_free(evidence->words);
  g_free(evidence);
}

static DirectoryClient *
client_new(DirectoryCache *cache, DirectoryHealth *health, const IdentityKey *own, int timeout_ms)
{
  DirectoryClient *client = g_new0(DirectoryClient, 1);
  client->cache = cache;
  client->health = health;
  client->own = own;
  client->places = g_ptr_array_new_with_free_func((GDestroyNotify)directory_place_free);
  client->lanes = g_ptr_array_new_with_free_func((GDestroyNotify)directory_lane_free);
  client->timeout_ms = timeout_ms;
  return client;
}

DirectoryClient *
directory_client_open(const char *path, const IdentityKey *own, GError **error)
{
  DirectoryCache *cache = directory_cache_open(path, error);
  return cache ? client_new(cache, directory_health_new(), own, DIRECTORY_CLIENT_MS) : NULL;
}

DirectoryClient *
directory_client_share(DirectoryClient *client)
{
  DirectoryClient *other = client_new(directory_cache_ref(client->cache),
                                      directory_health_ref(client->health), client->own, client->timeout_ms);
  other->asker = client->asker;
  directory_client_set(other, client->places);
  return other;
}

void
directory_client_close(DirectoryClient *client)
{
  if (!client)
    return;
  g_clear_pointer(&client->search, directory_search_free);
  g_ptr_array_unref(client->lanes);
  g_ptr_array_unref(client->places);
  directory_health_unref(client->health);
  directory_cache_close(client->cache);
  g_free(client);
}

void
directory_client_set(DirectoryClient *client, const GPtrArray *places)
{
  g_clear_pointer(&client->search, directory_search_free);
  g_ptr_array_set_size(client->places, 0);
  g_ptr_array_set_size(client->lanes, 0);
  for (guint i = 0; i < places->len; i++) {
    g_ptr_array_add(client->places, directory_place_copy(places->pdata[i]));
    DirectoryLane *lane = directory_lane_new(places->pdata[i]);
    lane->asker = client->asker;
    directory_cache_pass(client->cache, &lane->place->key, identity_key_public(client->own),
                         &lane->asker.pass, NULL);
    g_ptr_array_add(client->lanes, lane);
  }
}

void
directory_client_set_user(DirectoryClient *client, const IdentityPublic *origin)
{
  client->asker.has_origin = TRUE;
  client->asker.origin = *origin;
  for (guint i = 0; i < client->lanes->len; i++) {
    DirectoryLane *lane = client->lanes->pdata[i];
    lane->asker.has_origin = TRUE;
    lane->asker.origin = *origin;
  }
}

void
directory_client_keep_pass(DirectoryClient *client, DirectoryLane *lane)
{
  if (lane->new_pass)
    directory_cache_keep_pass(client->cache, &lane->place->key, identity_key_public(client->own),
                              &lane->asker.pass, NULL);
  lane->new_pass = FALSE;
}

const GPtrArray *
directory_client_places(const DirectoryClient *client)
{
  return client->places;
}

void
directory_client_set_timeout(DirectoryClient *client, int timeout_ms)
{
  client->timeout_ms = timeout_ms;
}

/* A connection to it: the one that is there, while it can be trusted to be. */
static DirectoryCall *
connect_to(DirectoryClient *client, DirectoryLane *lane, gboolean *fresh, GError **error)
{
  g_clear_pointer(&client->search, directory_search_free);
  *fresh = !directory_lane_is_fresh(lane);
  if (*fresh) {
    int timeout = MIN(client->timeout_ms, DIRECTORY_CONNECT_MS);
    directory_lane_hang_up(lane);
    lane->call = directory_call_new(lane->place, client->own, &lane->asker, timeout, error);
  }
  lane->used_at = clock_now_ns();
  return lane->call;
}

/* Asks one directory, once more over a new connection where the old one turns out to be gone. */
static DirectoryAnswer *
ask(DirectoryClient *client, DirectoryLane *lane, DirectoryQuestion *question, DirectoryHead *head,
    GError **error)
{
  for (;;) {
    gboolean fresh;
    g_autoptr(GError) why = NULL;
    DirectoryCall *call = connect_to(client, lane, &fresh, &why);
    DirectoryAnswer *answer =
        call ? directory_call_ask(call, question, client->timeout_ms, head, &why) : NULL;
    lane->used_at = clock_now_ns();
    if (answer) {
      directory_lane_answered(lane);
      directory_client_keep_pass(client, lane);
    }
    if (answer && head->proof.statement && !directory_watch_saw(client->cache, head, &why))
      g_clear_pointer(&answer, directory_answer_free);
    gboolean again = !answer && !fresh && g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
    if (!answer)
      directory_lane_hang_up(lane);
    if (again)
      continue;
    directory_health_note(client->health, &lane->place->key, answer ? NULL : why->message);
    if (!answer)
      g_propagate_error(error, g_steal_pointer(&why));
    return answer;
  }
}

static DirectoryLane *
lane_of(const DirectoryClient *client, const IdentityPublic *key)
{
  for (guint i = 0; i < client->lanes->len; i++) {
    DirectoryLane *lane = client->lanes->pdata[i];
    if (identity_public_equal(&lane->place->key, key))
      return lane;
  }
  return NULL;
}

gboolean
directory_client_register(DirectoryClient *client, const Record *record, guint64 *number,
                          DirectoryStatus *status, GError **error)
{
  DirectoryLane *lane = lane_of(client, &record->directory);
  if (status)
    *status = DIRECTORY_STATUS(OK);
  if (!lane)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "the record's home directory is none of those that are known here");
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(REGISTER));
  question->record = g_bytes_ref(record->bytes);
  directory_client_set_user(client, &record->origin);
  g_auto(DirectoryHead) head = {0};
  g_autoptr(DirectoryAnswer) answer = ask(client, lane, question, &head, error);
  if (!answer)
    return FALSE;
  if (status)
    *status = answer->status;
  if (answer->status != DIRECTORY_STATUS(OK))
    return directory_answer_refusal(answer, lane->place->address, error);
  if (answer->number == 0 || answer->number > head.state.number)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the directory %s says that it registered something outside of its list",
                            lane->place->address);
  *number = answer->number;
  return directory_cache_put(client->cache, (Record *)record, NULL, NULL, NULL, error) >= 0;
}

Record *
directory_client_known(DirectoryClient *client, const IdentityPublic *origin)
{
  g_autoptr(GPtrArray) known = directory_cache_find(client->cache, NULL, origin, NULL, NULL);
  return known && known->len > 0 ? record_ref(((DirectoryResult *)known->pdata[0])->record) : NULL;
}

gboolean
directory_client_learn(DirectoryClient *client, Record *record, Record **newer, GError **error)
{
  return directory_cache_put(client->cache, record, NULL, NULL, newer, error) > 0;
}

GPtrArray *
directory_client_list(DirectoryClient *client, const IdentityPublic *after, guint count, gboolean *more,
                      DirectoryHead *head, GError **error)
{
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(LIST));
  question->count = CLAMP(count, 1, DIRECTORY_PAGE_MAX);
  question->by_origin = after != NULL;
  if (after)
    question->origin = *after;
  g_autoptr(GError) first = NULL;
  /* The home directory's list is meant, unless that is away. */
  for (guint i = 0; i < 2 * client->lanes->len; i++) {
    DirectoryLane *lane = client->lanes->pdata[i % client->lanes->len];
    if (directory_health_is_away(client->health, &lane->place->key) != (i >= client->lanes->len))
      continue;
    g_autoptr(GError) why = NULL;
    g_auto(DirectoryHead) seen = {0};
    g_autoptr(DirectoryAnswer) answer = ask(client, lane, question, &seen, &why);
    g_autoptr(DirectoryTold) told =
        answer ? directory_told_new(client->cache, lane->place, question, answer, &why) : NULL;
    if (told) {
      *more = answer->more && told->records->len > 0;
      if (head)
        directory_head_copy(head, &seen);
      return directory_told_results(told, client->cache);
    }
    if (!first)
      first = g_steal_pointer(&why);
  }
  if (first)
    g_propagate_error(error, g_steal_pointer(&first));
  else
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "no directory is known here");
  return NULL;
}

GArray *
directory_client_heads(DirectoryClient *client)
{
  GArray *heads = directory_cache_heads(client->cache, NULL);
  return heads ? heads : directory_heads_new();
}

gboolean
directory_client_saw_head(DirectoryClient *client, const DirectorySigned *proof, GError **error)
{
  g_auto(DirectoryHead) head = {0};
  if (!directory_head_verify(proof, NULL, &head, error))
    return FALSE;
  if (!lane_of(client, &head.directory))
    return TRUE;
  if (head.time > clock_unix_time() + DIRECTORY_CLOCKS_S)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "a directory's head is of times to come");
  return directory_watch_saw(client->cache, &head, error);
}

gboolean
directory_client_watch(DirectoryClient *client, GError **error)
{
  gboolean good = TRUE;
  for (guint i = 0; i < client->lanes->len; i++) {
    DirectoryLane *lane = client->lanes->pdata[i];
    g_autoptr(GError) why = NULL;
    gboolean fresh;
    DirectoryCall *call = connect_to(client, lane, &fresh, &why);
    if (call && !directory_watch_ask(client->cache, call, &lane->place->key, client->timeout_ms, &why))
      directory_lane_hang_up(lane);
    lane->used_at = clock_now_ns();
    if (directory_client_is_marked(client, &lane->place->key))
      good = doppel_error_set(good ? error : NULL, DOPPEL_ERROR_MISMATCH,
                              "the directory %s has contradicted itself: do not trust its list",
                              lane->place->address);
  }
  return good;
}

GPtrArray *
directory_client_evidence(DirectoryClient *client, GError **error)
{
  return directory_cache_evidence(client->cache, NULL, error);
}

gboolean
directory_client_is_marked(DirectoryClient *client, const IdentityPublic *directory)
{
  g_autoptr(GPtrArray) evidence = directory_cache_evidence(client->cache, directory, NULL);
  return evidence && evidence->len > 0;
}

GPtrArray *
directory_client_complaints(DirectoryClient *client, const IdentityPublic *origin, GError **error)
{
  return directory_cache_complaints(client->cache, origin, error);
}

void
directory_client_health(DirectoryClient *client, const IdentityPublic *directory, gint64 *answered,
                        gint64 *away, char **words)
{
  directory_health_tell(client->health, directory, answered, away, words);
}
