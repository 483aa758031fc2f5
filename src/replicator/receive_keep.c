/* The clone's end: which generations stay. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "replicator/receive_private.h"

#define LOCK    "keep.lock"
#define LOOK_MS 20

static gboolean
wait_for_lock(Receiver *receiver, int lock, GError **error)
{
  while (flock(lock, LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return doppel_error_errno(error, "the lock " LOCK " in %s cannot be taken", receiver->place->directory);
    /* A store is tidied up without a device, too. */
    if (link_state(receiver->link) != LINK_DEAD && !receiver_wait(receiver, 0, NULL))
      continue;
    g_usleep(LOOK_MS * 1000);
  }
  return TRUE;
}

int
receiver_keep_lock(Receiver *receiver, GError **error)
{
  g_auto(Fd) lock = openat(receiver->directory, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock < 0)
    doppel_error_errno(error, "the lock " LOCK " in %s cannot be made", receiver->place->directory);
  return lock >= 0 && wait_for_lock(receiver, lock, error) ? io_steal_fd(&lock) : -1;
}

static gboolean
take_rules(const Doppel__Sync__Rules *rules, GenerationRetention *retention, GError **error)
{
  const guint32 all[] = {rules->last, rules->hourly, rules->daily, rules->weekly, rules->monthly};
  for (guint i = 0; i < G_N_ELEMENTS(all); i++)
    if (all[i] > GENERATION_RETENTION_MOST)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                              "at most %u generations can be kept by a rule, not %u",
                              GENERATION_RETENTION_MOST, all[i]);
  retention->last = rules->last;
  retention->hours = rules->hourly;
  retention->days = rules->daily;
  retention->weeks = rules->weekly;
  retention->months = rules->monthly;
  return TRUE;
}

static void
unpin(GArray *pins, guint64 number)
{
  for (guint i = pins->len; i-- > 0;)
    if (g_array_index(pins, guint64, i) == number)
      g_array_remove_index(pins, i);
}

static gboolean
pin(const GenerationHead *head, GArray *pins, guint64 number, GError **error)
{
  if (!generation_head_find(head, number))
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "there is no generation %" G_GUINT64_FORMAT
                            " to pin: \"doppel snapshots\" lists what there is",
                            number);
  unpin(pins, number);
  if (pins->len >= GENERATION_RETENTION_MOST)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "at most %u generations can be pinned",
                            GENERATION_RETENTION_MOST);
  g_array_append_val(pins, number);
  return TRUE;
}

/* Pins of what is gone say nothing any more. */
static void
forget_gone(const GenerationHead *head, GArray *pins)
{
  for (guint i = pins->len; i-- > 0;)
    if (!generation_head_find(head, g_array_index(pins, guint64, i)))
      g_array_remove_index(pins, i);
}

static gboolean
change(const GenerationHead *head, const Doppel__Sync__Keep *message, GenerationRetention *retention,
       GError **error)
{
  if (message->rules && !take_rules(message->rules, retention, error))
    return FALSE;
  if (!retention->pins)
    retention->pins = g_array_new(FALSE, FALSE, sizeof(guint64));
  forget_gone(head, retention->pins);
  for (gsize i = 0; i < message->n_unpin; i++)
    unpin(retention->pins, message->unpin[i]);
  for (gsize i = 0; i < message->n_pin; i++)
    if (!pin(head, retention->pins, message->pin[i], error))
      return FALSE;
  return TRUE;
}

gboolean
receiver_keep(Receiver *receiver, const Doppel__Sync__Keep *message, GError **error)
{
  int store = receiver_store(receiver);
  if (store < 0)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "nothing was synchronised to the clone %s yet",
                            receiver->place->name);
  g_auto(GenerationRetention) retention = {0};
  g_auto(Fd) lock = receiver_keep_lock(receiver, error);
  g_autoptr(GenerationHead) head = lock < 0 ? NULL : generation_head_read(store, error);
  if (!head || !generation_retention_read(receiver->directory, &retention, error) ||
      !change(head, message, &retention, error) ||
      !generation_retention_write(receiver->directory, &retention, error))
    return FALSE;
  return receiver_list(receiver, error);
}
