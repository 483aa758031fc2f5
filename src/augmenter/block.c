/* A block's beginning and end in the clone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>

#include "augmenter/augmenter.h"
#include "augmenter/paths.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "mirror/signals.h"

/* ---- beginning ---- */

static gboolean
put_early_signals(Augmenter *augmenter, GError **error)
{
  for (guint i = 0; i < augmenter->early->len; i++) {
    const QueuedSignal *queued = &g_array_index(augmenter->early, QueuedSignal, i);
    MirrorSignal signal = {queued->own_tid, queued->info};
    if (!mirror_signals_put(augmenter->process, &signal, error))
      return FALSE;
  }
  augmenter->signals_seen = augmenter->early->len;
  g_array_set_size(augmenter->early, 0);
  return TRUE;
}

/* The first system call of a lone thread is looked out for: a block that only computes makes none, and then
 * much need not be asked after it. */
static gboolean
resume_all(Augmenter *augmenter, GError **error)
{
  augmenter->called = augmenter->process->threads->len > 1;
  int request = augmenter->called ? PTRACE_CONT : PTRACE_SYSCALL;
  for (guint i = 0; i < augmenter->process->threads->len; i++) {
    MirrorThread *thread = augmenter->process->threads->pdata[i];
    if (thread->stopped && !mirror_thread_resume(thread, request, error))
      return FALSE;
  }
  return TRUE;
}

static void
note_pins(Augmenter *augmenter)
{
  gsize length;
  GBytes *section = mirror_state_get(augmenter->twin->agreed, MIRROR_SECTION_FILES, 0);
  const guint8 *bytes = section ? g_bytes_get_data(section, &length) : NULL;
  g_autoptr(GPtrArray) files = bytes ? mirror_files_unpack(bytes, length, NULL) : NULL;
  g_hash_table_remove_all(augmenter->pins);
  for (guint i = 0; files && i < files->len; i++) {
    const MirrorFile *file = files->pdata[i];
    if (file->kind == MIRROR_FILE_PIN)
      g_hash_table_add(augmenter->pins, GINT_TO_POINTER(file->pin));
  }
}

/* Blocks mostly return to where the last one did. A breakpoint in a debug register is no part of the program
 * and may stay; one in its text may not. */
static gboolean
set_return(Augmenter *augmenter, guint64 address, GError **error)
{
  if (augmenter->return_address && augmenter->return_address != address &&
      !mirror_breakpoint_remove(augmenter->process, augmenter->return_address, error))
    return FALSE;
  augmenter->return_address = address;
  return !address || mirror_breakpoint_add(augmenter->process, address, TRUE, error);
}

gboolean
augmenter_commit(Augmenter *augmenter, GError **error)
{
  augmenter->uncommitted = FALSE;
  return !augmenter->paths || paths_commit(augmenter->paths, error);
}

gboolean
augmenter_block_begin(Augmenter *augmenter, const Doppel__Engine__Block *block, GError **error)
{
  gboolean begun;
  if (augmenter->phase != MIRROR_READY || !augmenter->incoming_complete ||
      block->block != augmenter->block + 1)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a block at a wrong moment");
  gint64 start = clock_now_ns();
  /* The device goes on from the last block: it has taken it. */
  if (augmenter->uncommitted && !augmenter_commit(augmenter, error))
    return FALSE;
  stay_settle(augmenter);
  if (!paths_stale(augmenter->paths, block->n_stale, block->stale, error) ||
      !paths_prepare_delta(augmenter->paths, augmenter->incoming, error) ||
      !mirror_twin_apply(augmenter->twin, augmenter->incoming, &begun, error))
    return FALSE;
  note_pins(augmenter);
  g_clear_pointer(&augmenter->incoming, mirror_delta_free);
  augmenter->incoming_complete = FALSE;
  augmenter->block = block->block;
  augmenter->block_thread = block->thread;
  augmenter->entry_sp = block->entry_sp;
  augmenter->primary_has_children = block->children;
  g_hash_table_remove_all(augmenter->clock_bases);
  g_array_set_size(augmenter->bufferable, 0);
  for (gsize i = 0; i < block->n_bufferable; i++)
    g_array_append_val(augmenter->bufferable, block->bufferable[i]);
  for (gsize i = 0; i < block->n_reserved; i++)
    g_array_append_val(augmenter->reserved, block->reserved[i]);
  if (!mirror_thread_find_own(augmenter->process, augmenter->block_thread))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a block of a thread %d that does not exist",
                            block->thread);
  if (!set_return(augmenter, block->return_address, error))
    return FALSE;
  if (!put_early_signals(augmenter, error))
    return FALSE;
  augmenter->phase = MIRROR_RUNNING;
  augmenter->noticed = augmenter->signals_seen > 0;
  augmenter->started_ns = clock_now_ns();
  augmenter->apply_ns = augmenter->started_ns - start;
  return resume_all(augmenter, error);
}

/* ---- end ---- */

static gboolean
cancel_forwarded(Augmenter *augmenter, GError **error)
{
  for (guint i = 0; i < augmenter->held->len; i++)
    if (!augmenter_cancel(augmenter, augmenter->held->pdata[i], error))
      return FALSE;
  return TRUE;
}

/* Calls that were not begun are made again, here in the next block or on the device. */
static void
send_back_held(Augmenter *augmenter)
{
  for (guint i = augmenter->held->len; i-- > 0;) {
    HeldCall *call = augmenter->held->pdata[i];
    if (call->state == CALL_HELD && !call->child)
      augmenter_answer(augmenter, call, MIRROR_CALL_INTERRUPTED);
  }
}

static gboolean
send_abort(Augmenter *augmenter, GError **error)
{
  Doppel__Engine__BlockEnd end = DOPPEL__ENGINE__BLOCK_END__INIT;
  end.block = augmenter->block;
  end.how = DOPPEL__ENGINE__HOW__ABORTED;
  end.reason = augmenter->end_reason;
  augmenter->phase = MIRROR_ENDING; /* until the device drops us */
  return ENGINE_SEND(augmenter->link, BLOCK_END, block_end, &end, error);
}

gboolean
augmenter_block_end(Augmenter *augmenter, Doppel__Engine__How how, gint32 status, const char *reason,
                    GError **error)
{
  if (augmenter->phase != MIRROR_RUNNING)
    return TRUE;
  augmenter->phase = MIRROR_ENDING;
  augmenter->ended_ns = clock_now_ns();
  augmenter->how = how;
  augmenter->end_status = status;
  g_free(augmenter->end_reason);
  augmenter->end_reason = g_strdup(reason);
  if (how == DOPPEL__ENGINE__HOW__ABORTED)
    return send_abort(augmenter, error);
  for (guint i = 0; i < augmenter->process->threads->len; i++) {
    MirrorThread *thread = augmenter->process->threads->pdata[i];
    if (!thread->stopped && ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) == 0)
      thread->interrupting = TRUE;
  }
  return cancel_forwarded(augmenter, error) && augmenter_block_settle(augmenter, error);
}

static gboolean
has_children(Augmenter *augmenter)
{
  for (guint i = 0; i < augmenter->process->threads->len; i++) {
    MirrorThread *thread = augmenter->process->threads->pdata[i];
    char path[64];
    snprintf(path, sizeof path, "task/%d/children", thread->tid);
    g_autofree char *text = io_read_file_at(augmenter->process->directory, path, 1 << 16);
    if (text && *text)
      return TRUE;
  }
  return FALSE;
}

static gboolean
send_piece(Doppel__Engine__DeltaPiece *piece, void *user, GError **error)
{
  EngineMessage message = {PROTOBUF_C_MESSAGE_INIT(&doppel__engine__message__descriptor),
                           DOPPEL__ENGINE__MESSAGE__KIND_DELTA,
                           {.delta = piece}};
  /* The end of the block comes right behind the last one. */
  return (piece->last ? engine_queue : engine_send)(((Augmenter *)user)->link, &message, error);
}

static gboolean
send_memory(Augmenter *augmenter, GError **error)
{
  g_autoptr(GPtrArray) files = NULL;
  augmenter->twin->still = augmenter->noticed  ? MIRROR_LIVELY
                           : augmenter->called ? MIRROR_STILL
                                               : MIRROR_SILENT;
  if (augmenter->twin->still != MIRROR_SILENT &&
      (!(files = mirror_files_read_mirror(augmenter->process, error)) ||
       !mirror_files_fetch(augmenter->process, files, error)))
    return FALSE;
  stay_before_capture(augmenter);
  g_autoptr(MirrorDelta) delta = mirror_twin_capture(augmenter->twin, files, error);
  if (delta && augmenter->twin->children)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "a child process outlives the block");
  augmenter->captured_ns = clock_now_ns();
  return delta && mirror_delta_send(delta, send_piece, augmenter, error);
}

static void
add_signal(GPtrArray *messages, pid_t own_tid, const siginfo_t *info)
{
  Doppel__Engine__Signal *message = g_new(Doppel__Engine__Signal, 1);
  doppel__engine__signal__init(message);
  message->thread = own_tid;
  message->info.data = (guint8 *)info;
  message->info.len = sizeof *info;
  g_ptr_array_add(messages, message);
}

/* A signal that the Augmenter sent for the device carries the Augmenter's word of who sent it; the device's
 * is the right one. */
static void
restore_senders(Augmenter *augmenter, GArray *pending)
{
  for (guint i = 0; i < pending->len; i++) {
    MirrorSignal *signal = &g_array_index(pending, MirrorSignal, i);
    for (guint k = 0; k < augmenter->signals->len; k++) {
      QueuedSignal *queued = &g_array_index(augmenter->signals, QueuedSignal, k);
      if (queued->info.si_signo != signal->info.si_signo)
        continue;
      signal->info = queued->info;
      g_array_remove_index(augmenter->signals, k);
      break;
    }
  }
}

static gboolean
send_end(Augmenter *augmenter, GArray *pending, gboolean file_changes, GError **error)
{
  g_autoptr(GPtrArray) signals = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GPtrArray) outputs = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GPtrArray) taken = augmenter_output_take(augmenter);
  for (guint i = 0; i < pending->len; i++) {
    const MirrorSignal *signal = &g_array_index(pending, MirrorSignal, i);
    add_signal(signals, signal->own_tid, &signal->info);
  }
  for (guint i = 0; i < augmenter->end_signals->len; i++) {
    const QueuedSignal *signal = &g_array_index(augmenter->end_signals, QueuedSignal, i);
    add_signal(signals, signal->own_tid, &signal->info);
  }
  for (guint i = 0; i < taken->len; i++) {
    const PinOutput *output = taken->pdata[i];
    Doppel__Engine__Output *message = g_new(Doppel__Engine__Output, 1);
    doppel__engine__output__init(message);
    message->pin = output->pin;
    message->bytes.data = output->bytes->data;
    message->bytes.len = output->bytes->len;
    g_ptr_array_add(outputs, message);
  }
  Doppel__Engine__BlockEnd end = DOPPEL__ENGINE__BLOCK_END__INIT;
  end.block = augmenter->block;
  end.how = augmenter->how;
  end.has_status = TRUE;
  end.status = augmenter->end_status;
  end.reason = augmenter->end_reason;
  end.n_output = outputs->len;
  end.output = (Doppel__Engine__Output **)outputs->pdata;
  end.n_pending = signals->len;
  end.pending = (Doppel__Engine__Signal **)signals->pdata;
  end.apply_ns = augmenter->apply_ns;
  end.run_ns = augmenter->ended_ns - augmenter->started_ns;
  end.capture_ns = augmenter->captured_ns - augmenter->ended_ns;
  end.has_send_ns = TRUE;
  end.send_ns = clock_now_ns() - augmenter->captured_ns;
  end.n_unused = augmenter->reserved->len;
  end.unused = (gint32 *)(void *)augmenter->reserved->data;
  end.file_changes = file_changes;
  end.has_worn = TRUE;
  end.worn = paths_are_worn(augmenter->paths);
  end.signals_seen = augmenter->signals_seen;
  g_autoptr(GBytes) digest = NULL;
  if (augmenter->check && augmenter->how != DOPPEL__ENGINE__HOW__EXITED) {
    g_autoptr(GPtrArray) files = mirror_files_read_mirror(augmenter->process, error);
    if (!files || !(digest = mirror_twin_digest(augmenter->twin, files, error)))
      return FALSE;
    end.has_digest = TRUE;
    end.digest.data = (guint8 *)g_bytes_get_data(digest, &end.digest.len);
  }
  g_autoptr(GArray) untouched = mirror_pager_untouched(augmenter->twin->pager);
  g_autofree Doppel__Engine__PageRange *ranges = g_new(Doppel__Engine__PageRange, untouched->len + 1);
  g_autofree Doppel__Engine__PageRange **range_list = g_new(Doppel__Engine__PageRange *, untouched->len + 1);
  gsize count = mirror_ranges_message(untouched, ranges, range_list);
  end.n_untouched = MIN(count, MIRROR_RANGES_MAX); /* what is not told teaches nothing */
  end.untouched = range_list;
  gboolean sent = ENGINE_SEND(augmenter->link, BLOCK_END, block_end, &end, error);
  g_array_set_size(augmenter->reserved, 0);
  g_array_set_size(augmenter->end_signals, 0);
  return sent;
}

static void
seen_while_freezing(const MirrorStop *stop, void *user)
{
  ((Augmenter *)user)->noticed = TRUE;
  if (stop->kind == MIRROR_STOP_SIGNAL)
    augmenter_keep_signal(user, stop->thread);
}

/* All is in: captures and sends. */
static gboolean
finish(Augmenter *augmenter, GError **error)
{
  g_autoptr(GArray) pending = g_array_new(FALSE, FALSE, sizeof(MirrorSignal));
  augmenter->captured_ns = augmenter->ended_ns;
  gboolean file_changes = FALSE;
  if (!augmenter_memory_came(augmenter, error))
    return FALSE;
  if (!mirror_process_freeze(augmenter->process, seen_while_freezing, augmenter, error))
    return FALSE;
  /* All stand: what was not born will not be. */
  augmenter_creation_over(augmenter, augmenter->creator,
                          mirror_thread_find_own(augmenter->process, augmenter->creating_id) != NULL);
  const MirrorBreakpoint *at_return = mirror_breakpoint_find(augmenter->process, augmenter->return_address);
  if (at_return && at_return->slot < 0 &&
      !mirror_breakpoint_remove(augmenter->process, augmenter->return_address, error))
    return FALSE;
  if (augmenter->how == DOPPEL__ENGINE__HOW__EXITED && has_children(augmenter))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "a child process outlives the block");
  if (augmenter->how != DOPPEL__ENGINE__HOW__EXITED) {
    if (!mirror_signals_take(augmenter->process, pending, error) || !send_memory(augmenter, error))
      return FALSE;
    restore_senders(augmenter, pending);
  }
  return paths_send_changes(augmenter->paths, &file_changes, error) &&
         send_end(augmenter, pending, file_changes, error);
}

gboolean
augmenter_block_settle(Augmenter *augmenter, GError **error)
{
  if (augmenter->phase != MIRROR_ENDING || augmenter->how == DOPPEL__ENGINE__HOW__ABORTED)
    return TRUE;
  for (guint i = 0; i < augmenter->held->len; i++) {
    const HeldCall *call = augmenter->held->pdata[i];
    if (call->state == CALL_FORWARDED && !call->child)
      return TRUE;
  }
  if (paths_busy(augmenter->paths))
    return TRUE;
  send_back_held(augmenter);
  g_autoptr(GError) why = NULL;
  if (!finish(augmenter, &why)) {
    if (g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_GONE)) {
      g_propagate_error(error, g_steal_pointer(&why));
      return FALSE;
    }
    g_free(augmenter->end_reason);
    augmenter->end_reason = g_strdup(why->message);
    augmenter->how = DOPPEL__ENGINE__HOW__ABORTED;
    return send_abort(augmenter, error);
  }
  augmenter->phase = MIRROR_READY;
  augmenter->asked_threads = FALSE;
  augmenter->uncommitted = TRUE;
  if (augmenter->store)
    page_store_commit(augmenter->store);
  return TRUE;
}
