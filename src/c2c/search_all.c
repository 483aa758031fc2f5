/* "search-all", for the owner's devices: asks the clones of all contacts at once, each by a thread of its
 * own, and passes on what they find as it comes: the first hit at once, then what has come within a moment,
 * the best first. One that is away or does not answer keeps nobody waiting. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "base/line.h"
#include "c2c/search_query.h"
#include "c2c/search_queue.h"
#include "c2c/service_message.h"
#include "c2c/service_node.h"
#include "c2c/services.h"
#include "c2c/share_message.h"

#define THREADS_MOST 100 /* each has a connection to the node, and a stream */
#define STACK        (512 * 1024)
#define LOOK_US      (50 * 1000)
#define TOGETHER_US  (20 * 1000) /* nobody notices, and hits of several users come in order */
#define WAITING_MOST 500u        /* hits; who brings more waits until they are passed on */
#define PATIENCE_S   30

typedef struct Search Search;

/* One user who is asked. */
typedef struct {
  Search *search;
  char *user;
  int fd;         /* of the stream; -1: none (any more) */
  gboolean ended; /* nothing of it is passed on any more */
  gboolean told;  /* how it ended was said */
  char *words;    /* why it ended; NULL: all was answered */
  gint64 ended_us;
  guint hits;
} Ask;

/* Threads may outlive the answer: they may hang in a dial. */
struct Search {
  gint references;
  const ServicePlace *place;
  Doppel__Share__Query query; /* what each of them is asked */
  char *words;
  guint limit;
  gint64 begun_us;
  int fd;       /* of the owner's device */
  GMutex mutex; /* for what is below */
  GCond change; /* something has come, or somebody has ended */
  GCond room;   /* what has come was passed on */
  SearchQueue *queue;
  gint64 passed_us; /* when hits were passed on last; 0: none yet */
  gboolean over;    /* nothing is written any more */
  guint left;       /* who has not ended */
  GPtrArray *asks;
};

static void
search_unref(Search *search)
{
  if (!g_atomic_int_dec_and_test(&search->references))
    return;
  search_queue_free(search->queue);
  g_ptr_array_unref(search->asks);
  g_free(search->words);
  g_mutex_clear(&search->mutex);
  g_cond_clear(&search->change);
  g_cond_clear(&search->room);
  g_free(search);
}

static void
ask_free(gpointer data)
{
  Ask *ask = data;
  g_free(ask->user);
  g_free(ask->words);
  g_free(ask);
}

/* With the lock. */
static void
put(Search *search, Doppel__Share__Message__WhatCase which, void *message)
{
  if (!search->over && !share_message_put(search->fd, which, message, NULL))
    search->over = TRUE;
}

/* With the lock: it has ended, unless it had before. */
static void
note_end(Ask *ask, const char *words)
{
  if (ask->ended)
    return;
  ask->ended = TRUE;
  ask->ended_us = g_get_monotonic_time();
  ask->words = words ? line_of(words, SHARE_SNIPPET_MAX) : NULL;
}

/* With the lock, after its hits were passed on: how it ended. */
static void
tell_end(Ask *ask)
{
  Doppel__Share__Peer peer = DOPPEL__SHARE__PEER__INIT;
  if (!ask->ended || ask->told)
    return;
  ask->told = TRUE;
  peer.user = ask->user;
  peer.done = !ask->words;
  peer.words = ask->words ? ask->words : peer.words;
  peer.hits = ask->hits;
  peer.took_ms = (ask->ended_us - ask->search->begun_us) / 1000;
  put(ask->search, DOPPEL__SHARE__MESSAGE__WHAT_PEER, &peer);
}

/* With the lock: all that has come, and who has ended. */
static void
pass_on(Search *search)
{
  const char *user;
  ShareMessage *message;
  while ((message = search_queue_take(search->queue, &user))) {
    char *said = message->hit->user; /* the message's, and not believed */
    message->hit->user = (char *)user;
    put(search, DOPPEL__SHARE__MESSAGE__WHAT_HIT, message->hit);
    message->hit->user = said;
    share_message_free(message);
    search->passed_us = g_get_monotonic_time();
  }
  for (guint i = 0; i < search->asks->len; i++)
    tell_end(search->asks->pdata[i]);
  g_cond_broadcast(&search->room);
}

/* Makes the stream known, so that it can be broken off. FALSE where it is too late. */
static gboolean
register_stream(Ask *ask, int fd)
{
  g_mutex_lock(&ask->search->mutex);
  gboolean wanted = !ask->search->over && !ask->ended;
  ask->fd = wanted ? fd : -1;
  g_mutex_unlock(&ask->search->mutex);
  return wanted;
}

/* Takes the message. */
static gboolean
take_hit(Ask *ask, ShareMessage *message, GError **error)
{
  g_autoptr(ShareMessage) hit = message;
  Search *search = ask->search;
  if (ask->hits >= search->limit)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "more came than was asked for");
  g_mutex_lock(&search->mutex);
  while (search_queue_length(search->queue) >= WAITING_MOST && !search->over && !ask->ended)
    g_cond_wait(&search->room, &search->mutex);
  if (!search->over && !ask->ended) {
    ask->hits++;
    search_queue_add(search->queue, ask->user, g_steal_pointer(&hit));
    g_cond_signal(&search->change);
  }
  g_mutex_unlock(&search->mutex);
  return TRUE;
}

static gboolean
converse(Ask *ask, int fd, GError **error)
{
  if (!share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_QUERY, &ask->search->query, error))
    return FALSE;
  for (;;) {
    g_autoptr(ShareMessage) message = share_message_receive(fd, error);
    if (!message)
      return FALSE;
    if (message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_END)
      return TRUE;
    if (message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_FAILED)
      return share_message_failed(message->failed, error);
    if (message->what_case != DOPPEL__SHARE__MESSAGE__WHAT_HIT)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "something else came than what was found");
    if (!take_hit(ask, g_steal_pointer(&message), error))
      return FALSE;
  }
}

static void
ask_one(gpointer data, gpointer user_data)
{
  Ask *ask = data;
  Search *search = ask->search;
  g_autoptr(GError) error = NULL;
  g_auto(Fd) fd = -1;
  if (register_stream(ask, -1)) {
    fd = service_node->dial(search->place, ask->user, "search", &error);
    if (fd >= 0 && register_stream(ask, fd)) {
      service_message_patience(fd, PATIENCE_S);
      converse(ask, fd, &error);
    }
  }
  g_mutex_lock(&search->mutex);
  ask->fd = -1;
  note_end(ask, error ? error->message : NULL);
  search->left--;
  g_cond_signal(&search->change);
  g_mutex_unlock(&search->mutex);
  search_unref(search);
}

/* Whom to ask: those who were named, or all contacts. */
static char **
choose_users(const ServicePlace *place, const Doppel__Share__Query *query, GError **error)
{
  if (query->n_user == 0)
    return service_node->contacts(place, error);
  g_autoptr(GPtrArray) users = g_ptr_array_new();
  for (gsize i = 0; i < query->n_user; i++)
    g_ptr_array_add(users, g_strdup(query->user[i]));
  g_ptr_array_add(users, NULL);
  return (char **)g_ptr_array_steal(users, NULL);
}

/* Until all have ended, or the time is over, or nobody waits for it any more. */
static void
wait_for_all(Search *search, guint wait_ms)
{
  gint64 until = search->begun_us + wait_ms * G_GINT64_CONSTANT(1000), now;
  while (search->left > 0 && !search->over && (now = g_get_monotonic_time()) < until) {
    gboolean waiting = search_queue_length(search->queue) > 0;
    gint64 due = waiting ? search->passed_us + TOGETHER_US : now + LOOK_US;
    if (due > now)
      g_cond_wait_until(&search->change, &search->mutex, MIN(until, due));
    else
      pass_on(search);
    search->over = search->over || service_message_hung_up(search->fd);
  }
}

/* Says who did not answer, and breaks their streams off: nobody goes on looking for what is not waited for.
 */
static void
end_all(Search *search, guint wait_ms)
{
  g_autofree char *words = g_strdup_printf("no answer within %u.%u s", wait_ms / 1000, wait_ms % 1000 / 100);
  for (guint i = 0; i < search->asks->len; i++) {
    Ask *ask = search->asks->pdata[i];
    note_end(ask, words);
    if (ask->fd >= 0)
      shutdown(ask->fd, SHUT_RDWR);
  }
  pass_on(search);
  if (!search->over)
    share_message_end(search->fd, NULL);
  search->over = TRUE;
  g_cond_broadcast(&search->room);
}

static Search *
search_new(int fd, const ServicePlace *place, const Doppel__Share__Query *query, char **users)
{
  Search *search = g_new0(Search, 1);
  search->references = 1;
  search->place = place;
  search->fd = fd;
  search->words = g_strdup(query->words);
  search->limit = query->limit ? query->limit : SHARE_LIMIT_USUAL;
  search->query = (Doppel__Share__Query)DOPPEL__SHARE__QUERY__INIT;
  search->query.words = search->words;
  search->query.limit = search->limit;
  search->begun_us = g_get_monotonic_time();
  search->queue = search_queue_new();
  search->asks = g_ptr_array_new_with_free_func(ask_free);
  g_mutex_init(&search->mutex);
  g_cond_init(&search->change);
  g_cond_init(&search->room);
  for (guint i = 0; users[i]; i++) {
    Ask *ask = g_new0(Ask, 1);
    *ask = (Ask){.search = search, .user = g_strdup(users[i]), .fd = -1};
    g_ptr_array_add(search->asks, ask);
  }
  search->left = search->asks->len;
  return search;
}

static gboolean
search_all(int fd, const ServicePlace *place, const Doppel__Share__Query *query, GError **error)
{
  g_autofree char *match = search_query_match(query->words, error); /* a mistake is said once, and here */
  g_auto(GStrv) users = match ? choose_users(place, query, error) : NULL;
  if (!users)
    return FALSE;
  guint wait_ms = query->wait_ms ? query->wait_ms : SHARE_WAIT_USUAL;
  Search *search = search_new(fd, place, query, users);
  GThreadPool *pool = g_thread_pool_new(ask_one, NULL, THREADS_MOST, FALSE, NULL);
  g_atomic_int_add(&search->references, search->asks->len);
  for (guint i = 0; i < search->asks->len; i++)
    g_thread_pool_push(pool, search->asks->pdata[i], NULL);
  g_mutex_lock(&search->mutex);
  wait_for_all(search, wait_ms);
  end_all(search, wait_ms);
  g_mutex_unlock(&search->mutex);
  g_thread_pool_free(pool, FALSE, FALSE);
  search_unref(search);
  return TRUE;
}

/* A process of a service may have so much address space; a thread usually takes a large part of it, unused.
 */
static void
save_space(void)
{
  pthread_attr_t attributes;
  mallopt(M_ARENA_MAX, 2);
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK);
  pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
}

static gboolean
answer(int fd, const ShareMessage *question, void *data, GError **error)
{
  if (question->what_case == DOPPEL__SHARE__MESSAGE__WHAT_QUERY)
    return search_all(fd, data, question->query, error);
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "that is no query");
}

int
search_all_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  save_space();
  service_message_patience(fd, PATIENCE_S);
  return share_message_serve(fd, service, answer, (void *)place);
}
