/* The clone's end: an attempt. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "replicator/receive_private.h"

/* Contents of the attempt that were not what the device's index says: its identity, then 8 bytes for each
 * step. The device may be cut off before it has heard of one, or has sent it again; then it has to be told at
 * its next coming. */
#define MISMATCHES "mismatches"

void
receiver_generation(const GenerationRecord *record, Doppel__Sync__Generation *message)
{
  doppel__sync__generation__init(message);
  message->number = record->number;
  message->time_ns = record->time_ns;
  message->kept_ns = record->kept_ns;
  message->nodes = record->nodes;
  message->bytes = record->bytes;
}

static void
load_mismatches(Receiver *receiver, const GenerationAttempt *attempt)
{
  guint8 identity[GENERATION_IDENTITY];
  guint64 number;
  g_array_set_size(receiver->mismatches, 0);
  g_auto(Fd) fd = openat(receiver->directory, MISMATCHES, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 || io_read_all(fd, identity, sizeof identity) != sizeof identity ||
      memcmp(identity, attempt->identity, sizeof identity) != 0)
    return;
  while (receiver->mismatches->len < SYNC_MISMATCH_MAX &&
         io_read_all(fd, &number, sizeof number) == sizeof number)
    if (number <= attempt->last)
      g_array_append_val(receiver->mismatches, number);
}

/* All of them are counted, by both ends; a public base that is gone makes one of each file under way. */
static gboolean
save_mismatch(Receiver *receiver, const GenerationAttempt *attempt, GError **error)
{
  gboolean first = receiver->mismatches->len == 0;
  if (receiver->mismatches->len >= SYNC_MISMATCH_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                            "too many contents were not what the device took them for");
  g_array_append_val(receiver->mismatches, attempt->last);
  g_auto(Fd) fd = openat(receiver->directory, MISMATCHES,
                         O_WRONLY | O_CREAT | (first ? O_TRUNC : O_APPEND) | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 || (first && !io_write_all(fd, attempt->identity, sizeof attempt->identity)) ||
      !io_write_all(fd, &attempt->last, sizeof attempt->last) || fdatasync(fd) < 0)
    return doppel_error_errno(error, "the clone cannot note a content that is not as it should be");
  return TRUE;
}

static void
fill_attempt(Receiver *receiver, GenerationAttempt *attempt, Doppel__Sync__Attempt *message)
{
  doppel__sync__attempt__init(message);
  load_mismatches(receiver, attempt);
  message->identity = (ProtobufCBinaryData){sizeof attempt->identity, attempt->identity};
  message->generation = attempt->generation;
  message->durable = attempt->durable;
  message->n_mismatch = receiver->mismatches->len;
  message->mismatch = (guint64 *)receiver->mismatches->data;
}

gboolean
receiver_welcome(Receiver *receiver, GError **error)
{
  Doppel__Sync__Welcome welcome = DOPPEL__SYNC__WELCOME__INIT;
  Doppel__Sync__Generation generation;
  Doppel__Sync__Attempt attempt;
  GenerationAttempt now;
  g_autoptr(GError) problem = NULL;
  g_autoptr(GenerationHead) head =
      receiver_store(receiver) < 0 ? NULL : generation_head_read(receiver_store(receiver), &problem);
  if (problem && !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)) {
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
  }
  const GenerationRecord *last = head ? generation_head_last(head) : NULL;
  welcome.version = SYNC_VERSION;
  welcome.contents = receiver->store ? receiver_public_length(receiver) : 0;
  if (head)
    welcome.store = (ProtobufCBinaryData){sizeof head->identity, head->identity};
  if (last) {
    receiver_generation(last, &generation);
    welcome.head = &generation;
  }
  if (receiver->store && generation_store_attempt(receiver->store, &now)) {
    fill_attempt(receiver, &now, &attempt);
    welcome.attempt = &attempt;
  }
  return SYNC_SEND(receiver->link, WELCOME, welcome, &welcome, error);
}

static gboolean
is_meant(const GenerationAttempt *attempt, const Doppel__Sync__Attempt *begin)
{
  return begin->generation == attempt->generation && begin->durable == attempt->last &&
         memcmp(begin->identity.data, attempt->identity, sizeof attempt->identity) == 0;
}

gboolean
receiver_begin(Receiver *receiver, const Doppel__Sync__Attempt *begin, GError **error)
{
  GenerationAttempt attempt;
  if (!generation_store_begin_as(receiver->store, begin->identity.data, &attempt, error))
    return FALSE;
  if (!is_meant(&attempt, begin))
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "the clone is not where the device takes it to be");
  load_mismatches(receiver, &attempt);
  receiver->durable = attempt.durable;
  return TRUE;
}

gboolean
receiver_abandon(Receiver *receiver, GError **error)
{
  GenerationAttempt attempt;
  if (generation_store_attempt(receiver->store, &attempt) &&
      !generation_store_abandon(receiver->store, error))
    return FALSE;
  return receiver_welcome(receiver, error);
}

gboolean
receiver_tell_durable(Receiver *receiver, GError **error)
{
  GenerationAttempt attempt;
  Doppel__Sync__Durable durable = DOPPEL__SYNC__DURABLE__INIT;
  if (!generation_store_attempt(receiver->store, &attempt) || attempt.durable <= receiver->durable)
    return TRUE;
  receiver->durable = durable.number = attempt.durable;
  return SYNC_SEND(receiver->link, DURABLE, durable, &durable, error);
}

static gboolean
is_commit(GBytes *message)
{
  g_autoptr(GenerationStep) step = generation_step_unpack(message, NULL);
  return step && step->kind == GENERATION_COMMIT;
}

/* The device does not know yet that a content was a mismatch, and cannot have told it again. */
static gboolean
refuse_commit(Receiver *receiver, GError **error)
{
  GenerationAttempt attempt;
  Doppel__Sync__Durable durable = DOPPEL__SYNC__DURABLE__INIT;
  if (!generation_store_sync(receiver->store, error) || !generation_store_attempt(receiver->store, &attempt))
    return FALSE;
  receiver->durable = durable.number = attempt.durable;
  durable.uncommitted = TRUE;
  return SYNC_SEND(receiver->link, DURABLE, durable, &durable, error);
}

static gboolean
tell_mismatch(Receiver *receiver, GError **error)
{
  GenerationAttempt attempt;
  Doppel__Sync__Mismatch mismatch = DOPPEL__SYNC__MISMATCH__INIT;
  if (!generation_store_attempt(receiver->store, &attempt) || !save_mismatch(receiver, &attempt, error))
    return FALSE;
  mismatch.number = attempt.last;
  return SYNC_SEND(receiver->link, MISMATCH, mismatch, &mismatch, error);
}

static gboolean
tell_committed(Receiver *receiver, GError **error)
{
  Doppel__Sync__Committed committed = DOPPEL__SYNC__COMMITTED__INIT;
  Doppel__Sync__Generation generation;
  Doppel__Sync__Loss losses[GENERATION_LOST_KINDS], *list[GENERATION_LOST_KINDS];
  const GenerationLosses *lost = generation_store_losses(receiver->store);
  receiver->committed = TRUE;
  receiver->durable = 0;
  receiver_generation(generation_head_last(generation_store_head(receiver->store)), &generation);
  committed.generation = &generation;
  committed.loss = list;
  for (guint i = 0; lost && i < GENERATION_LOST_KINDS; i++) {
    if (!lost->count[i])
      continue;
    Doppel__Sync__Loss *loss = list[committed.n_loss++] = &losses[i];
    doppel__sync__loss__init(loss);
    loss->kind = i;
    loss->count = lost->count[i];
    if (lost->first[i])
      loss->first = (ProtobufCBinaryData){strlen(lost->first[i]), (guint8 *)lost->first[i]};
  }
  return SYNC_SEND(receiver->link, COMMITTED, committed, &committed, error);
}

/* The attempt cannot be continued: there is nothing to keep of it. */
static gboolean
refuse(Receiver *receiver, GError *problem, GError **error)
{
  if (!g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_FAILED))
    generation_store_abandon(receiver->store, NULL);
  g_propagate_error(error, problem);
  return FALSE;
}

static gboolean
feed(Receiver *receiver, GBytes *message, GError **error)
{
  GError *problem = NULL;
  switch (generation_store_feed(receiver->store, message, &problem)) {
  case GENERATION_DONE:
    return receiver_tell_durable(receiver, error);
  case GENERATION_MISMATCH:
    return tell_mismatch(receiver, error) && receiver_tell_durable(receiver, error);
  case GENERATION_COMPLETE:
    return tell_committed(receiver, error);
  default:
    return refuse(receiver, problem, error);
  }
}

static gboolean
do_step(Receiver *receiver, const ProtobufCBinaryData *step, guint32 heard, GError **error)
{
  GenerationAttempt attempt;
  if (!generation_store_attempt(receiver->store, &attempt))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a step came before its attempt was begun");
  g_autoptr(GBytes) message = g_bytes_new(step->data, step->len);
  if (heard < receiver->mismatches->len && is_commit(message))
    return refuse_commit(receiver, error);
  return feed(receiver, message, error);
}

gboolean
receiver_step(Receiver *receiver, const Doppel__Sync__Step *step, GError **error)
{
  for (gsize i = 0; i < step->n_step; i++)
    if (!do_step(receiver, &step->step[i], step->heard, error))
      return FALSE;
  return TRUE;
}
