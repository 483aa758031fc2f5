/* Delivers what is in the outbox: a thread for each user that something is due for, so that one who is away
 * keeps nobody waiting. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/send_deliver.h"
#include "c2c/send_outbox.h"
#include "c2c/send_receipt.h"
#include "c2c/service_message.h"
#include "c2c/service_node.h"
#include "c2c/services.h"

#define WORKERS_MOST 16
#define PAUSE_MOST_S 900
#define TRIES_MOST   3000 /* about a month: then it is given up */
#define NOTE_US      (G_USEC_PER_SEC / 2)
#define LOOK_MS      60000

guint
send_outbox_pause_s(guint tries)
{
  return tries >= 9 ? PAUSE_MOST_S : MIN(2u << tries, PAUSE_MOST_S);
}

typedef struct {
  SendBox *box;
  const SendItem *item;
  gint64 noted_us;
} Delivery;

static gboolean
note_progress(guint64 done, guint64 size, gpointer data)
{
  Delivery *delivery = data;
  gboolean there = TRUE;
  gint64 now = g_get_monotonic_time();
  if (now - delivery->noted_us < NOTE_US)
    return TRUE;
  delivery->noted_us = now;
  send_box_state(delivery->box, delivery->item->id, DOPPEL__SEND__STATE__SENDING, done, delivery->item->tries,
                 0, "", &there, NULL);
  return there;
}

static gboolean
take_receipt(SendBox *box, const ServicePlace *place, const SendItem *item, const SendMessage *answer,
             GError **error)
{
  IdentityPublic key;
  if (answer->what_case != DOPPEL__SEND__MESSAGE__WHAT_RECEIPT)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%s's clone gave no receipt", item->user);
  return service_node->clone_key(place, item->user, &key, error) &&
         send_receipt_check(answer->receipt, item, &key, NULL, error) &&
         send_box_receipt(box, item->id, answer->receipt, TRUE, error);
}

static gboolean
deliver(SendBox *box, const ServicePlace *place, int fd, SendItem *item, SendWhy *why, GError **error)
{
  Delivery delivery = {box, item, 0};
  g_auto(SendDelivery) result = {0};
  Doppel__Send__Offer offer = DOPPEL__SEND__OFFER__INIT;
  offer.item = (ProtobufCBinaryData){SEND_ITEM, (guint8 *)item->item};
  offer.hash = (ProtobufCBinaryData){SEND_HASH, (guint8 *)item->hash};
  offer.name = item->name;
  offer.size = item->size;
  offer.mode = item->mode;
  offer.mtime_ns = item->mtime_ns;
  g_auto(Fd) file = send_box_content(box, item->id, error);
  gboolean done = file >= 0 &&
                  send_deliver(fd, DOPPEL__SEND__MESSAGE__WHAT_OFFER, &offer, item->size, file, note_progress,
                               &delivery, &result, error) &&
                  take_receipt(box, place, item, result.answer, error);
  *why = result.why;
  /* Who has more than the last time is there, however often the stream breaks. */
  if (result.resumed > item->sent)
    item->tries = 0;
  item->sent = result.resumed;
  return done;
}

/* Whether trying again may help. */
static gboolean
is_final(const SendItem *item, SendWhy why, const GError *error)
{
  if (item->tries >= TRIES_MOST)
    return TRUE;
  if (why != DOPPEL__SEND__WHY__NONE)
    return why == DOPPEL__SEND__WHY__WRONG || why == DOPPEL__SEND__WHY__MALFORMED;
  return g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND) ||
         g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
}

static gboolean
postpone(SendBox *box, const SendItem *item, SendWhy why, const GError *problem, GError **error)
{
  gboolean final = is_final(item, why, problem);
  guint64 pause = send_outbox_pause_s(item->tries) * (guint64)G_USEC_PER_SEC;
  /* Not everybody at the same moment, after a clone host was away. */
  gint64 due = g_get_real_time() + pause + g_random_int() % (pause / 4 + 1);
  return send_box_state(box, item->id, final ? DOPPEL__SEND__STATE__REFUSED : DOPPEL__SEND__STATE__KEPT,
                        item->sent, item->tries + 1, final ? 0 : due, problem->message, NULL, error);
}

/* What is due for the user (any: NULL). */
static GPtrArray *
list_due(SendBox *box, const char *user, GError **error)
{
  gint64 now = g_get_real_time();
  g_autoptr(GPtrArray) items = send_box_list(box, DOPPEL__SEND__STATE__KEPT, error);
  for (guint i = 0; items && i < items->len;) {
    const SendItem *item = items->pdata[i];
    if ((!user || g_str_equal(item->user, user)) && item->due_us <= now)
      i++;
    else
      g_ptr_array_remove_index(items, i);
  }
  return g_steal_pointer(&items);
}

/* Items that waited because the user was away wait together. */
static gboolean
postpone_from(SendBox *box, GPtrArray *items, guint first, SendWhy why, const GError *problem, GError **error)
{
  for (guint i = first; i < items->len; i++)
    if (!postpone(box, items->pdata[i], why, problem, error))
      return FALSE;
  return TRUE;
}

static gboolean
deliver_all(SendBox *box, const ServicePlace *place, const char *user, GPtrArray *items, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_auto(Fd) fd = service_node->dial(place, user, "send", &problem);
  if (fd < 0)
    return postpone_from(box, items, 0, DOPPEL__SEND__WHY__NONE, problem, error);
  service_message_patience(fd, SERVICE_PATIENCE_S);
  for (guint i = 0; i < items->len; i++) {
    SendItem *item = items->pdata[i];
    SendWhy why = DOPPEL__SEND__WHY__NONE;
    gboolean there = TRUE;
    if (!send_box_state(box, item->id, DOPPEL__SEND__STATE__SENDING, 0, item->tries, 0, "", &there, error))
      return FALSE;
    if (!there || deliver(box, place, fd, item, &why, &problem))
      continue;
    /* A refusal is about this item. Anything else is about the stream, or leaves it in the middle of
     * something. */
    if (why == DOPPEL__SEND__WHY__NONE || why == DOPPEL__SEND__WHY__WRONG)
      return postpone(box, item, why, problem, error) &&
             (why == DOPPEL__SEND__WHY__WRONG ||
              g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_ABORTED) ||
              postpone_from(box, items, i + 1, why, problem, error));
    if (!postpone(box, item, why, problem, error))
      return FALSE;
    g_clear_error(&problem);
  }
  return TRUE;
}

gboolean
send_outbox_deliver(const ServicePlace *place, const char *user, GError **error)
{
  g_autoptr(SendBox) box = send_outbox_open(place, error);
  g_autoptr(GPtrArray) items = box ? list_due(box, user, error) : NULL;
  if (!items || items->len == 0)
    return items != NULL;
  gboolean done = deliver_all(box, place, user, items, error);
  return send_box_sweep(box, done ? error : NULL) && done;
}

/* ---- the process ---- */

typedef struct {
  const ServicePlace *place;
  GMutex mutex;
  GHashTable *busy; /* users that a thread is at */
  gboolean failed;  /* a thread could not say in the box how its items stand */
  int done;         /* eventfd: a thread has ended */
} Runner;

typedef struct {
  Runner *runner;
  char *user;
} Work;

static gpointer
work(gpointer data)
{
  Work *work = data;
  g_autoptr(GError) error = NULL;
  gboolean done = send_outbox_deliver(work->runner->place, work->user, &error);
  if (!done)
    fprintf(stderr, "outbox: %s\n", error->message);
  g_mutex_lock(&work->runner->mutex);
  work->runner->failed |= !done;
  g_hash_table_remove(work->runner->busy, work->user);
  g_mutex_unlock(&work->runner->mutex);
  eventfd_write(work->runner->done, 1);
  g_free(work->user);
  g_free(work);
  return NULL;
}

static void
start(Runner *runner, const char *user)
{
  Work *new_work = g_new(Work, 1);
  *new_work = (Work){runner, g_strdup(user)};
  g_thread_unref(g_thread_new("outbox", work, new_work));
}

/* Starts who can be started. */
static gboolean
start_due(Runner *runner, SendBox *box, GError **error)
{
  g_autoptr(GPtrArray) items = list_due(box, NULL, error);
  g_mutex_lock(&runner->mutex);
  if (runner->failed) {
    g_mutex_unlock(&runner->mutex);
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "it begins anew");
  }
  for (guint i = 0; items && i < items->len; i++) {
    const SendItem *item = items->pdata[i];
    if (g_hash_table_size(runner->busy) < WORKERS_MOST && !g_hash_table_contains(runner->busy, item->user)) {
      g_hash_table_add(runner->busy, g_strdup(item->user));
      start(runner, item->user);
    }
  }
  g_mutex_unlock(&runner->mutex);
  return items != NULL;
}

/* Milliseconds until the next that waits is due. What is due already waits for a thread, which wakes us. */
static int
next_due_ms(SendBox *box)
{
  gint64 now = g_get_real_time(), left = LOOK_MS;
  g_autoptr(GPtrArray) items = send_box_list(box, DOPPEL__SEND__STATE__KEPT, NULL);
  for (guint i = 0; items && i < items->len; i++) {
    const SendItem *item = items->pdata[i];
    if (item->due_us > now)
      left = MIN(left, (item->due_us - now) / 1000 + 1);
  }
  return left;
}

/* What has happened is told by the box; only that something has is told here. */
static void
drain(int fd)
{
  char buffer[4096];
  while (read(fd, buffer, sizeof buffer) > 0)
    ;
}

static gboolean
run(Runner *runner, GError **error)
{
  g_autoptr(SendBox) box = send_outbox_open(runner->place, error);
  if (!box || !send_box_restart(box, error))
    return FALSE;
  g_autofree char *directory = g_build_filename(runner->place->directory, "outbox", NULL);
  g_auto(Fd) watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (watch < 0 || inotify_add_watch(watch, directory, IN_ATTRIB) < 0)
    return doppel_error_errno(error, "cannot watch %s", directory);
  struct pollfd fds[] = {{.fd = watch, .events = POLLIN}, {.fd = runner->done, .events = POLLIN}};
  for (;;) {
    if (!start_due(runner, box, error))
      return FALSE;
    poll(fds, G_N_ELEMENTS(fds), next_due_ms(box));
    drain(watch);
    drain(runner->done);
  }
}

int
send_runner_run(const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  Runner runner = {.place = place, .done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  g_mutex_init(&runner.mutex);
  runner.busy = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  run(&runner, &error);
  fprintf(stderr, "outbox: %s\n", error ? error->message : "it ended");
  /* Threads may still be at something that a new process goes on with: they end with this one. */
  _exit(1);
}
