#include "replicator/history.h"

#include "base/error.h"
#include "replica/message.h"
#include "replica/path.h"
#include "replicator/conversation.h"
#include "replicator/sync_path.h"

static GArray *
read_generations(const Doppel__Sync__Generations *answer)
{
  GArray *generations = g_array_new(FALSE, FALSE, sizeof(HistoryGeneration));
  for (gsize i = 0; i < answer->n_generation; i++) {
    const Doppel__Sync__Generation *message = answer->generation[i];
    HistoryGeneration generation = {.number = message->number,
                                    .time_ns = message->time_ns,
                                    .kept_ns = message->kept_ns,
                                    .nodes = message->nodes,
                                    .bytes = message->bytes,
                                    .reasons = message->reasons};
    g_array_append_val(generations, generation);
  }
  return generations;
}

static gboolean
ask_to_keep(Link *link, const GenerationRetention *rules, const GArray *pin, const GArray *unpin,
            GError **error)
{
  Doppel__Sync__Keep keep = DOPPEL__SYNC__KEEP__INIT;
  Doppel__Sync__Rules wanted = DOPPEL__SYNC__RULES__INIT;
  if (rules) {
    wanted.last = rules->last;
    wanted.hourly = rules->hours;
    wanted.daily = rules->days;
    wanted.weekly = rules->weeks;
    wanted.monthly = rules->months;
    keep.rules = &wanted;
  }
  keep.n_pin = pin ? pin->len : 0;
  keep.pin = pin ? (guint64 *)pin->data : NULL;
  keep.n_unpin = unpin ? unpin->len : 0;
  keep.unpin = unpin ? (guint64 *)unpin->data : NULL;
  return SYNC_SEND(link, KEEP, keep, &keep, error);
}

static gboolean
ask_for_list(Link *link, GError **error)
{
  Doppel__Sync__List list = DOPPEL__SYNC__LIST__INIT;
  return SYNC_SEND(link, LIST, list, &list, error);
}

GArray *
history_keep(Link *link, const GenerationRetention *rules, const GArray *pin, const GArray *unpin,
             GenerationRetention *now, GError **error)
{
  gboolean changes = rules || (pin && pin->len) || (unpin && unpin->len);
  g_autoptr(SyncMessage) welcome = conversation_hello(link, FALSE, error);
  if (!welcome || !(changes ? ask_to_keep(link, rules, pin, unpin, error) : ask_for_list(link, error)))
    return NULL;
  g_autoptr(SyncMessage) answer = conversation_answer(link, DOPPEL__SYNC__MESSAGE__KIND_GENERATIONS, error);
  if (!answer)
    return NULL;
  const Doppel__Sync__Rules *told = answer->generations->rules;
  if (now && told)
    *now = (GenerationRetention){.last = told->last,
                                 .hours = told->hourly,
                                 .days = told->daily,
                                 .weeks = told->weekly,
                                 .months = told->monthly};
  return read_generations(answer->generations);
}

GArray *
history_list(Link *link, GError **error)
{
  return history_keep(link, NULL, NULL, NULL, NULL, error);
}

static gboolean
take_difference(const Doppel__Sync__Entry *entry, HistoryDiffers differs, void *user, GError **error)
{
  g_auto(ReplicaFacts) facts = {0};
  g_autofree char *path = sync_path_take(&entry->path, error);
  if (!path || !replica_facts_all_from_message(entry->facts, &facts, error))
    return FALSE;
  if (entry->change < DOPPEL__SYNC__CHANGE__ADDED || entry->change > DOPPEL__SYNC__CHANGE__METADATA)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone tells of /%s what cannot be", path);
  differs(user, path, entry->change, facts.type == REPLICA_ABSENT ? NULL : &facts);
  return TRUE;
}

gboolean
history_compare(Link *link, guint64 older, guint64 newer, const char *path, HistoryDiffers differs,
                void *user, GError **error)
{
  Doppel__Sync__Compare compare = DOPPEL__SYNC__COMPARE__INIT;
  guint taken = 0;
  compare.older = older;
  compare.newer = newer;
  compare.path = replica_path_to_message(path);
  compare.grant = CONVERSATION_GRANT;
  g_autoptr(SyncMessage) welcome = conversation_hello(link, FALSE, error);
  if (!welcome || !SYNC_SEND(link, COMPARE, compare, &compare, error))
    return FALSE;
  for (;;) {
    gboolean end;
    g_autoptr(SyncMessage) message = conversation_next(link, &taken, &end, error);
    if (!message || end)
      return message != NULL;
    if (message->kind_case != DOPPEL__SYNC__MESSAGE__KIND_ENTRIES)
      return sync_unexpected(message, error);
    for (gsize i = 0; i < message->entries->n_entry; i++)
      if (!take_difference(message->entries->entry[i], differs, user, error))
        return FALSE;
  }
}
