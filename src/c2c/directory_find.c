/* Looking a user up: at several directories at once, whose answers are held against each other. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_client_private.h"
#include "c2c/directory_watch.h"

#define NS_PER_MS   G_GINT64_CONSTANT(1000000)
#define MOMENT_NS   (300 * NS_PER_MS)  /* that others have to answer after the first who knows somebody */
#define PATIENCE_NS (2000 * NS_PER_MS) /* that who is to say whom a name means has to */
#define AWAY_NS     (1000 * NS_PER_MS) /* that who was away has, where nobody else knows of anybody */
#define WITNESSES   3                  /* answers that are held against each other; more are not asked for */

typedef struct {
  DirectoryLane *lane;
  gboolean over; /* it has answered, or failed */
  DirectoryTold *told;
} Asked;

struct DirectorySearch {
  DirectoryClient *client;
  DirectoryQuestion *question;
  DirectoryRound *round;
  Asked *asked; /* one for each lane */
  guint count, positive;
  GPtrArray *before;               /* of DirectoryResult: what was known */
  GArray *doubts;                  /* of IdentityPublic: whom a directory may be hiding */
  gint64 began, deadline, settles; /* CLOCK_MONOTONIC ns; `settles` 0: not yet known */
  GError *first;
};

void
directory_search_free(DirectorySearch *search)
{
  if (!search)
    return;
  directory_round_free(search->round);
  for (guint i = 0; i < search->count; i++)
    directory_told_free(search->asked[i].told);
  g_free(search->asked);
  g_ptr_array_unref(search->before);
  g_array_unref(search->doubts);
  directory_question_free(search->question);
  g_clear_error(&search->first);
  g_free(search);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectorySearch, directory_search_free)

static DirectoryQuestion *
lookup_question(const char *name, const IdentityPublic *origin, const IdentityPublic *home)
{
  DirectoryQuestion *question = directory_question_new(DIRECTORY_WHAT(LOOKUP));
  question->by_origin = name == NULL;
  question->has_home = home != NULL;
  if (home)
    question->home = *home;
  if (name) {
    g_free(question->name);
    question->name = g_strdup(name);
  } else {
    question->origin = *origin;
  }
  return question;
}

static GPtrArray *
remembered(DirectoryClient *client, const DirectoryQuestion *question)
{
  GPtrArray *known = directory_cache_find(client->cache, question->by_origin ? NULL : question->name,
                                          question->by_origin ? &question->origin : NULL,
                                          question->has_home ? &question->home : NULL, NULL);
  return known ? known : g_ptr_array_new_with_free_func((GDestroyNotify)directory_result_free);
}

static DirectorySearch *
search_new(DirectoryClient *client, DirectoryQuestion *question)
{
  DirectorySearch *search = g_new0(DirectorySearch, 1);
  search->client = client;
  search->question = question;
  search->count = client->lanes->len;
  search->asked = g_new0(Asked, search->count);
  for (guint i = 0; i < search->count; i++)
    search->asked[i].lane = client->lanes->pdata[i];
  search->before = remembered(client, question);
  search->doubts = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  search->began = clock_now_ns();
  search->deadline = search->began + client->timeout_ms * NS_PER_MS;
  search->round = directory_round_new(client->lanes, client->own, question, client->health);
  return search;
}

static void
take(DirectorySearch *search, guint index, const DirectoryAnswer *answer, const DirectoryHead *head,
     GError *why)
{
  DirectoryClient *client = search->client;
  Asked *asked = &search->asked[index];
  g_autoptr(GError) problem = why;
  asked->over = TRUE;
  directory_client_keep_pass(client, asked->lane);
  if (answer && (!head->proof.statement || directory_watch_saw(client->cache, head, &problem)))
    asked->told = directory_told_new(client->cache, asked->lane->place, search->question, answer, &problem);
  if (asked->told && asked->told->records->len > 0) {
    search->positive++;
    if (!search->settles)
      search->settles = clock_now_ns() + MOMENT_NS;
    if (search->positive >= WITNESSES)
      directory_round_hold(search->round);
  }
  if (problem && !search->first)
    search->first = g_steal_pointer(&problem);
}

/* The next answer until then. FALSE: there is none. */
static gboolean
step(DirectorySearch *search, gint64 until)
{
  DirectoryAnswer *answer = NULL;
  g_auto(DirectoryHead) head = {0};
  GError *why = NULL;
  int index = directory_round_next(search->round, until, &answer, &head, &why);
  if (index < 0)
    return FALSE;
  take(search, (guint)index, answer, &head, why);
  directory_answer_free(answer);
  return TRUE;
}

/* Whether it needs no more words whom the name means: the directory whose names are meant has told, or
 * failed, or told the same before. */
static gboolean
is_certain(const DirectorySearch *search)
{
  const DirectoryQuestion *question = search->question;
  if (question->by_origin)
    return TRUE;
  for (guint i = 0; i < search->count; i++) {
    const Asked *asked = &search->asked[i];
    if (question->has_home ? identity_public_equal(&asked->lane->place->key, &question->home) : i == 0)
      return asked->over;
  }
  return TRUE;
}

static gboolean
is_said_before(const DirectorySearch *search)
{
  const IdentityPublic *home =
      search->question->has_home ? &search->question->home : &search->asked[0].lane->place->key;
  for (guint i = 0; i < search->before->len; i++) {
    const DirectoryResult *known = search->before->pdata[i];
    if (known->told == 0 || !identity_public_equal(&known->record->directory, home))
      continue;
    for (guint k = 0; k < search->count; k++)
      if (search->asked[k].told && directory_told_record(search->asked[k].told, &known->record->origin))
        return TRUE;
  }
  return FALSE;
}

/* Until when to wait for more; 0: no longer. */
static gint64
wait_until(const DirectorySearch *search)
{
  guint healthy = directory_round_waits(search->round, FALSE);
  if (directory_round_waits(search->round, TRUE) == 0)
    return 0;
  if (search->positive == 0)
    return healthy > 0 ? search->deadline : MIN(search->deadline, search->began + AWAY_NS);
  if (!is_certain(search) && !is_said_before(search))
    return MIN(search->deadline, MAX(search->settles, search->began + PATIENCE_NS));
  return healthy > 0 ? MIN(search->deadline, search->settles) : 0;
}

/* The newest of that user, of what was told now and what directories had told before. */
static DirectoryBest
best_of(const DirectorySearch *search, const IdentityPublic *origin)
{
  DirectoryBest best = {NULL};
  for (guint i = 0; i < search->before->len; i++) {
    const DirectoryResult *known = search->before->pdata[i];
    if (known->told > 0 && identity_public_equal(&known->record->origin, origin))
      best = (DirectoryBest){known->record, known->directory};
  }
  for (guint i = 0; i < search->count; i++) {
    const DirectoryTold *told = search->asked[i].told;
    Record *record = told ? directory_told_record(told, origin) : NULL;
    if (record && (!best.record || record_supersedes(record, best.record)))
      best = (DirectoryBest){record, told->directory};
  }
  return best;
}

static const DirectoryResult *
known_before(const DirectorySearch *search, const IdentityPublic *origin)
{
  for (guint i = 0; i < search->before->len; i++) {
    const DirectoryResult *known = search->before->pdata[i];
    if (identity_public_equal(&known->record->origin, origin))
      return known;
  }
  return NULL;
}

static void
add_origin(GArray *origins, const IdentityPublic *origin)
{
  for (guint i = 0; i < origins->len; i++)
    if (identity_public_equal(&g_array_index(origins, IdentityPublic, i), origin))
      return;
  g_array_append_val(origins, *origin);
}

/* Everybody whom somebody told of, or had told of. */
static GArray *
origins_of(const DirectorySearch *search, gboolean now)
{
  GArray *origins = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  for (guint i = 0; i < search->count; i++) {
    const DirectoryTold *told = search->asked[i].told;
    for (guint k = 0; told && k < told->records->len; k++)
      add_origin(origins, &((const Record *)told->records->pdata[k])->origin);
  }
  for (guint i = 0; !now && i < search->before->len; i++)
    add_origin(origins, &((const DirectoryResult *)search->before->pdata[i])->record->origin);
  return origins;
}

static void
hold(DirectorySearch *search)
{
  g_autoptr(GArray) origins = origins_of(search, FALSE);
  for (guint i = 0; i < origins->len; i++) {
    const IdentityPublic *origin = &g_array_index(origins, IdentityPublic, i);
    DirectoryBest best = best_of(search, origin);
    for (guint k = 0; best.record && k < search->count; k++)
      if (search->asked[k].told &&
          directory_told_hold(search->asked[k].told, &best, known_before(search, origin),
                              search->question->by_origin, search->client->cache))
        add_origin(search->doubts, origin);
  }
}

/* Whom the question meant: a name may have been given up meanwhile. */
static gboolean
is_meant(const DirectoryQuestion *question, const Record *record)
{
  return (question->by_origin || strcmp(record->name, question->name) == 0) &&
         (!question->has_home || identity_public_equal(&record->directory, &question->home));
}

/* The newest of each user; where what was known is newer than all that was told, that. */
static GPtrArray *
results_of(const DirectorySearch *search)
{
  GPtrArray *results = g_ptr_array_new_with_free_func((GDestroyNotify)directory_result_free);
  g_autoptr(GArray) origins = origins_of(search, TRUE);
  for (guint i = 0; i < origins->len; i++) {
    const IdentityPublic *origin = &g_array_index(origins, IdentityPublic, i);
    g_autoptr(GPtrArray) known = directory_cache_find(search->client->cache, NULL, origin, NULL, NULL);
    DirectoryResult *result = known && known->len > 0 ? g_ptr_array_steal_index(known, 0) : NULL;
    for (guint k = 0; result && k < search->count; k++) {
      const DirectoryTold *told = search->asked[k].told;
      Record *record = told ? directory_told_record(told, origin) : NULL;
      if (record && memcmp(record->hash, result->record->hash, sizeof record->hash) == 0) {
        directory_result_free(result);
        result = directory_told_result(told, record);
        break;
      }
    }
    if (result && is_meant(search->question, result->record))
      g_ptr_array_add(results, result);
    else
      directory_result_free(result);
  }
  return results;
}

/* Which of those that should have answered did not. */
static char *
silent(const DirectorySearch *search)
{
  GString *list = g_string_new(NULL);
  for (guint i = 0; i < search->count; i++) {
    const DirectoryPlace *place = search->asked[i].lane->place;
    if (!search->asked[i].told)
      g_string_append_printf(list, "%s%s", list->len > 0 ? ", " : "",
                             place->name ? place->name : place->address);
  }
  return g_string_free(list, FALSE);
}

static void
not_found(DirectorySearch *search, GError **error)
{
  const DirectoryQuestion *question = search->question;
  gboolean answered = FALSE;
  for (guint i = 0; i < search->count; i++)
    answered = answered || search->asked[i].told;
  if (search->count == 0) {
    doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "no directory is known here: name one with \"doppel name claim --directory ADDRESS=KEY\"");
    return;
  }
  g_autofree char *away = silent(search);
  if (!answered && search->first) {
    g_propagate_error(error, g_steal_pointer(&search->first));
  } else if (!answered) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "no directory answers (%s)", away);
  } else {
    g_autofree char *key = question->by_origin ? identity_public_to_text(&question->origin) : NULL;
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "no directory knows a user \"%s%s\"%s%s%s",
                     key ? "key:" : "", key ? key : question->name, *away ? " (not answered: " : "", away,
                     *away ? ")" : "");
  }
}

GPtrArray *
directory_client_find(DirectoryClient *client, const char *name, const IdentityPublic *origin,
                      const IdentityPublic *home, GError **error)
{
  if (name && !record_name_check(name, error))
    return NULL;
  g_clear_pointer(&client->search, directory_search_free);
  g_autoptr(DirectorySearch) search = search_new(client, lookup_question(name, origin, home));
  for (gint64 until; (until = wait_until(search)) > 0;)
    if (!step(search, until))
      break;
  hold(search);
  g_autoptr(GPtrArray) results = results_of(search);
  /* Whom a directory denies that has proved to exist is shown all the same: it may be withholding them. */
  if (results->len == 0 && search->before->len > 0) {
    g_ptr_array_unref(results);
    results = search->before;
    search->before = remembered(client, search->question);
  }
  if (results->len == 0)
    not_found(search, error);
  client->search = g_steal_pointer(&search);
  return results->len > 0 ? g_steal_pointer(&results) : NULL;
}

gboolean
directory_client_linger(DirectoryClient *client, int ms)
{
  DirectorySearch *search = client->search;
  if (!search)
    return FALSE;
  gint64 until = MIN(search->deadline, clock_now_ns() + ms * NS_PER_MS);
  if (step(search, until)) {
    hold(search);
    return TRUE;
  }
  if (clock_now_ns() < search->deadline && directory_round_waits(search->round, TRUE) > 0)
    return TRUE;
  /* A name may have been given up; a user is never. */
  g_autoptr(GArray) doubts = g_array_ref(search->doubts);
  g_clear_pointer(&client->search, directory_search_free);
  for (guint i = 0; i < doubts->len; i++) {
    g_autoptr(GPtrArray) ignored =
        directory_client_find(client, NULL, &g_array_index(doubts, IdentityPublic, i), NULL, NULL);
  }
  return client->search != NULL;
}
static DirectoryResult *
only_one(DirectoryClient *client, const char *user, GPtrArray *results, GError **error)
{
  const DirectoryPlace *own = client->places->len > 0 ? client->places->pdata[0] : NULL;
  for (guint i = 0; own && i < results->len; i++) {
    const DirectoryResult *result = results->pdata[i];
    if (identity_public_equal(&result->record->directory, &own->key))
      return g_ptr_array_steal_index(results, i);
  }
  if (results->len == 1)
    return g_ptr_array_steal_index(results, 0);
  g_autoptr(GString) list = g_string_new(NULL);
  for (guint i = 0; i < results->len; i++) {
    const DirectoryResult *result = results->pdata[i];
    g_autofree char *key = identity_public_to_text(&result->record->origin);
    g_string_append_printf(list, "%skey:%s", i ? ", " : "", key);
  }
  doppel_error_set(error, DOPPEL_ERROR_USAGE, "several users are called \"%s\": say which, by key: %s", user,
                   list->str);
  return NULL;
}

static const DirectoryPlace *
place_named(const DirectoryClient *client, const char *name)
{
  for (guint i = 0; i < client->places->len; i++) {
    const DirectoryPlace *place = client->places->pdata[i];
    if (place->name && strcmp(place->name, name) == 0)
      return place;
  }
  return NULL;
}

DirectoryResult *
directory_client_whois(DirectoryClient *client, const char *user, GError **error)
{
  const char *slash = strchr(user, '/'), *name = slash ? slash + 1 : user;
  g_autofree char *directory = slash ? g_strndup(user, (gsize)(slash - user)) : NULL;
  const DirectoryPlace *place = directory ? place_named(client, directory) : NULL;
  IdentityPublic origin;
  gboolean by_key = g_str_has_prefix(name, "key:");
  if (directory && !place) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "no directory is called \"%s\" here: see directory.conf",
                     directory);
    return NULL;
  }
  if (by_key && !identity_public_from_text(name + strlen("key:"), &origin, error))
    return NULL;
  g_autoptr(GPtrArray) results = directory_client_find(client, by_key ? NULL : name, by_key ? &origin : NULL,
                                                       place ? &place->key : NULL, error);
  return results ? only_one(client, user, results, error) : NULL;
}
