/* The attempt at the next generation: its log, and the layer that its steps are done in. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "replica/generation_store_private.h"

/* The head of the log; then the parts' numbers. All little-endian. */
typedef struct {
  guint8 identity[GENERATION_IDENTITY];
  guint64 generation;
  guint64 nodes; /* in the tree before the log's first step */
  guint64 bytes;
} LogHead;

static void
stop_writing(GenerationStore *store)
{
  if (store->apply)
    generation_losses_move(&store->losses, generation_apply_losses(store->apply));
  g_clear_pointer(&store->apply, generation_apply_free);
  g_clear_pointer(&store->log, generation_log_free);
}

void
generation_attempt_clear(GenerationStore *store)
{
  stop_writing(store);
  g_clear_pointer(&store->lease, generation_lease_free);
  g_array_set_size(store->parts, 0);
  store->top = store->bytes = 0;
  store->attempt = (GenerationAttempt){0};
}

static GBytes *
pack_head(const GenerationStore *store, guint64 nodes)
{
  LogHead head = {.generation = GUINT64_TO_LE(store->attempt.generation),
                  .nodes = GUINT64_TO_LE(nodes),
                  .bytes = GUINT64_TO_LE(store->bytes)};
  memcpy(head.identity, store->attempt.identity, sizeof head.identity);
  GByteArray *bytes = g_byte_array_new();
  g_byte_array_append(bytes, (const guint8 *)&head, sizeof head);
  for (guint i = 0; i < store->parts->len; i++) {
    guint64 part = GUINT64_TO_LE(g_array_index(store->parts, guint64, i));
    g_byte_array_append(bytes, (const guint8 *)&part, sizeof part);
  }
  return g_byte_array_free_to_bytes(bytes);
}

static gboolean
unpack_head(GenerationStore *store, GBytes *bytes, guint64 *nodes)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  LogHead head;
  if (length < sizeof head || (length - sizeof head) % sizeof(guint64) ||
      (length - sizeof head) / sizeof(guint64) >= GENERATION_LAYERS)
    return FALSE;
  memcpy(&head, data, sizeof head);
  memcpy(store->attempt.identity, head.identity, sizeof head.identity);
  store->attempt.generation = GUINT64_FROM_LE(head.generation);
  store->bytes = GUINT64_FROM_LE(head.bytes);
  *nodes = GUINT64_FROM_LE(head.nodes);
  for (gsize at = sizeof head; at < length; at += sizeof(guint64)) {
    guint64 part;
    memcpy(&part, data + at, sizeof part);
    part = GUINT64_FROM_LE(part);
    g_array_append_val(store->parts, part);
  }
  return TRUE;
}

static gboolean
add_layer(GenerationStore *store, GenerationStack *stack, int layer)
{
  if (layer >= 0)
    generation_stack_add(stack, layer);
  return layer >= 0;
}

/* The layer that is written to, the attempt's complete ones, the generation's below. */
static GenerationStack *
open_stack(GenerationStore *store, GError **error)
{
  g_autoptr(GenerationStack) stack = generation_stack_new();
  gboolean good = add_layer(store, stack, generation_store_make_layer(store, &store->top));
  for (guint i = 0; good && i < store->parts->len; i++)
    good =
        add_layer(store, stack, generation_store_open_layer(store, g_array_index(store->parts, guint64, i)));
  for (guint i = 0; good && store->lease && i < store->lease->stack->len; i++)
    good = add_layer(store, stack,
                     generation_store_open_layer(store, g_array_index(store->lease->stack, guint64, i)));
  if (!good)
    doppel_error_errno(error, "cannot open the layers of the clone");
  return good ? g_steal_pointer(&stack) : NULL;
}

/* The lease keeps the layers below while they are merged for others. */
static gboolean
start_layer(GenerationStore *store, guint64 nodes, GError **error)
{
  if (!store->lease && generation_head_last(store->head)) {
    store->lease = generation_lease_take(store->directory, 0, error);
    if (!store->lease)
      return FALSE;
  }
  GenerationStack *stack = open_stack(store, error);
  store->apply = stack ? generation_apply_new(stack, nodes, error) : NULL;
  if (store->apply)
    generation_apply_set_base(store->apply, store->base);
  return store->apply != NULL;
}

static gboolean
forget(GenerationStore *store, GError **error)
{
  generation_attempt_clear(store);
  if (unlinkat(store->directory, GENERATION_ATTEMPT, 0) < 0 && errno != ENOENT)
    return doppel_error_errno(error, "cannot remove the log of a synchronisation");
  if (fsync(store->directory) < 0)
    return doppel_error_errno(error, "cannot bring the clone's files to the disk");
  return generation_store_sweep(store, error);
}

static gboolean
clean_layers(GenerationStore *store, GError **error)
{
  for (guint i = 0; i <= store->parts->len; i++) {
    guint64 number = i ? g_array_index(store->parts, guint64, i - 1) : store->top;
    g_auto(Fd) layer = generation_store_open_layer(store, number);
    errno = layer < 0 ? errno : generation_apply_clean(layer, TRUE);
    if (errno)
      return doppel_error_errno(error, "cannot complete a layer of the clone");
  }
  return TRUE;
}

static GenerationRecord *
make_record(const GenerationStore *store, gint64 time_ns, guint64 nodes, guint64 bytes)
{
  const GenerationRecord *below = generation_head_last(store->head);
  GenerationRecord *record = generation_record_new();
  record->number = store->attempt.generation;
  record->time_ns = time_ns;
  record->kept_ns = g_get_real_time() * 1000;
  record->nodes = nodes;
  record->bytes = bytes;
  g_array_append_val(record->layers, store->top);
  g_array_append_vals(record->layers, store->parts->data, store->parts->len);
  if (below)
    g_array_append_vals(record->layers, below->layers->data, below->layers->len);
  return record;
}

/* The attempt becomes a generation. Its log, with the COMMIT in it, is durable: what fails here is done by
 * the next generation_attempt_recover(). */
static gboolean
finish(GenerationStore *store, gint64 time_ns, GError **error)
{
  guint64 nodes = generation_apply_nodes(store->apply);
  guint64 bytes = store->bytes + generation_apply_bytes(store->apply);
  stop_writing(store);
  if (!clean_layers(store, error) || !generation_store_flush(store, error))
    return FALSE;
  GenerationHead *head = generation_head_copy(store->head);
  g_ptr_array_add(head->generations, make_record(store, time_ns, nodes, bytes));
  return generation_store_move_head(store, head, error) && forget(store, error);
}

static GenerationOutcome
do_step(GenerationStore *store, const GenerationStep *step, GError **error)
{
  if (step->kind == GENERATION_COMMIT && step->generation != store->attempt.generation) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                     "the device wants to complete generation %" G_GUINT64_FORMAT
                     " instead of %" G_GUINT64_FORMAT,
                     step->generation, store->attempt.generation);
    return GENERATION_REFUSED;
  }
  return generation_apply_step(store->apply, step, error);
}

/* A content that the public base does not have is in the log as one that was begun and came to nothing
 * (note_nothing()): so a TAKE that is there was done, and what was told after it counts on that. */
static gboolean
is_same_outcome(GenerationOutcome outcome, const GenerationStep *step, GError **error)
{
  return outcome != GENERATION_MISMATCH || step->kind != GENERATION_TAKE ||
         doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                          "the public base has lost a content that was taken from it");
}

/* Does what is in the log again. */
static gboolean
replay(GenerationStore *store, GError **error)
{
  GError *failure = NULL;
  g_autoptr(GBytes) message = NULL;
  while ((message = generation_log_next(store->log, &failure))) {
    g_autoptr(GenerationStep) step = generation_step_unpack(message, error);
    if (!step)
      return FALSE;
    if (step->number != generation_log_last(store->log))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the log of a synchronisation is out of order");
    GenerationOutcome outcome = do_step(store, step, error);
    if (outcome == GENERATION_REFUSED || !is_same_outcome(outcome, step, error))
      return FALSE;
    if (outcome == GENERATION_COMPLETE)
      return finish(store, step->time_ns, error);
    g_clear_pointer(&message, g_bytes_unref);
  }
  if (failure)
    g_propagate_error(error, failure);
  return !failure;
}

static gboolean
redo(GenerationStore *store, gboolean *useless, GError **error)
{
  guint64 nodes = 0;
  const GenerationRecord *last = generation_head_last(store->head);
  *useless = !unpack_head(store, generation_log_head(store->log), &nodes) ||
             store->attempt.generation != (last ? last->number : 0) + 1;
  if (*useless)
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "it is not the next generation's");
  for (guint i = 0; i < store->parts->len; i++)
    store->last_layer = MAX(store->last_layer, g_array_index(store->parts, guint64, i));
  return generation_store_sweep(store, error) && start_layer(store, nodes, error) && replay(store, error);
}

gboolean
generation_attempt_recover(GenerationStore *store, GError **error)
{
  g_autoptr(GError) failure = NULL;
  generation_attempt_clear(store);
  generation_losses_clear(&store->losses);
  store->log = generation_log_open(store->directory, GENERATION_ATTEMPT, &failure);
  if (g_error_matches(failure, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    return generation_store_sweep(store, error);
  gboolean useless = FALSE;
  if (store->log && redo(store, &useless, &failure))
    return TRUE;
  stop_writing(store);
  if (g_error_matches(failure, DOPPEL_ERROR, DOPPEL_ERROR_FAILED)) { /* the disk: it may work later */
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
  }
  if (!useless) /* else it has become a generation */
    g_warning("a synchronisation has to begin anew: %s", failure->message);
  return forget(store, error);
}

static gboolean
begin_new(GenerationStore *store, const guint8 *identity, GError **error)
{
  const GenerationRecord *last = generation_head_last(store->head);
  guint64 nodes = last ? last->nodes : 0;
  generation_losses_clear(&store->losses);
  memcpy(store->attempt.identity, identity, sizeof store->attempt.identity);
  store->attempt.generation = (last ? last->number : 0) + 1;
  g_autoptr(GBytes) head = pack_head(store, nodes);
  store->log = generation_log_new(store->directory, GENERATION_ATTEMPT, 1, head, error);
  return store->log && start_layer(store, nodes, error);
}

gboolean
generation_store_begin(GenerationStore *store, GenerationAttempt *attempt, GError **error)
{
  guint8 identity[GENERATION_IDENTITY];
  randombytes_buf(identity, sizeof identity);
  return generation_store_begin_as(store, identity, attempt, error);
}

gboolean
generation_store_begin_as(GenerationStore *store, const guint8 identity[static GENERATION_IDENTITY],
                          GenerationAttempt *attempt, GError **error)
{
  const GenerationRecord *last = generation_head_last(store->head);
  if (!store->apply && last && last->layers->len > GENERATION_STACK_MOST &&
      !generation_store_tidy(store, NULL, GENERATION_STACK_USUAL, error))
    return FALSE;
  if (!store->apply && !generation_attempt_recover(store, error))
    return FALSE;
  if (!store->apply && !begin_new(store, identity, error)) {
    stop_writing(store);
    return FALSE;
  }
  return generation_store_attempt(store, attempt);
}

gboolean
generation_store_attempt(const GenerationStore *store, GenerationAttempt *attempt)
{
  if (!store->apply)
    return FALSE;
  *attempt = store->attempt;
  attempt->durable = generation_log_durable(store->log);
  attempt->last = generation_log_last(store->log);
  return TRUE;
}

/* What was done so far is a layer that stays, and the log begins anew. Until the new log is there, the old
 * one is the truth. */
static gboolean
close_part(GenerationStore *store, GError **error)
{
  guint64 first = generation_log_last(store->log) + 1, nodes = generation_apply_nodes(store->apply);
  store->bytes += generation_apply_bytes(store->apply);
  stop_writing(store);
  g_auto(Fd) layer = generation_store_open_layer(store, store->top);
  errno = layer < 0 ? errno : generation_apply_clean(layer, FALSE);
  if (errno)
    return doppel_error_errno(error, "cannot complete a layer of the clone");
  if (!generation_store_flush(store, error))
    return FALSE;
  g_array_prepend_val(store->parts, store->top);
  g_autoptr(GBytes) head = pack_head(store, nodes);
  store->log = generation_log_new(store->directory, GENERATION_ATTEMPT, first, head, error);
  return store->log && start_layer(store, nodes, error);
}

static guint64
log_limit(const GenerationStore *store)
{
  guint64 limit = store->log_limit;
  for (guint i = 0; i < store->parts->len && limit < G_MAXUINT64 / 2; i++)
    limit += limit / 2;
  return limit;
}

/* The step's number is in the log, with something that changes nothing. */
static GBytes *
note_nothing(const GenerationStep *step)
{
  GenerationStep nothing = {.kind = GENERATION_OPEN,
                            .number = step->number,
                            .path = step->path,
                            .facts = {.type = REPLICA_FILE, .mode = 0600}};
  return generation_step_pack(&nothing);
}

static gboolean
log_step(GenerationStore *store, GBytes *message, const GenerationStep *step, GenerationOutcome outcome,
         GError **error)
{
  gboolean missed = outcome == GENERATION_MISMATCH && step->kind == GENERATION_TAKE;
  g_autoptr(GBytes) logged = missed ? note_nothing(step) : g_bytes_ref(message);
  if (!generation_log_append(store->log, logged, error))
    return FALSE;
  if (outcome == GENERATION_COMPLETE)
    return generation_log_sync(store->log, error) && finish(store, step->time_ns, error);
  if (generation_log_size(store->log) < log_limit(store) || generation_apply_in_content(store->apply))
    return TRUE;
  return close_part(store, error);
}

GenerationOutcome
generation_store_feed(GenerationStore *store, GBytes *message, GError **error)
{
  if (!store->apply) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "no synchronisation has begun");
    return GENERATION_REFUSED;
  }
  g_autoptr(GenerationStep) step = generation_step_unpack(message, error);
  if (!step)
    return GENERATION_REFUSED;
  if (step->number != generation_log_last(store->log) + 1) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                     "the device sent step %" G_GUINT64_FORMAT " after step %" G_GUINT64_FORMAT, step->number,
                     generation_log_last(store->log));
    return GENERATION_REFUSED;
  }
  GenerationOutcome outcome = do_step(store, step, error);
  if (outcome != GENERATION_REFUSED && log_step(store, message, step, outcome, error))
    return outcome;
  stop_writing(store);
  return GENERATION_REFUSED;
}

gboolean
generation_store_sync(GenerationStore *store, GError **error)
{
  if (!store->apply || generation_log_sync(store->log, error))
    return TRUE;
  stop_writing(store);
  return FALSE;
}

gint64
generation_store_due_us(const GenerationStore *store)
{
  return store->apply ? generation_log_due_us(store->log) : -1;
}

gboolean
generation_store_abandon(GenerationStore *store, GError **error)
{
  return forget(store, error);
}
