/* A block's result becomes the program's own: all of it, or nothing. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "controller/block_private.h"
#include "controller/rerun.h"

static gboolean
write_outputs(Controller *controller, GError **error)
{
  const Doppel__Engine__BlockEnd *end = controller->end->block_end;
  for (gsize i = 0; i < end->n_output; i++) {
    for (gsize at = 0; at < end->output[i]->bytes.len; at += 65536) {
      Doppel__Engine__Output piece = *end->output[i];
      piece.bytes.data += at;
      piece.bytes.len = MIN(65536, piece.bytes.len - at);
      if (!pins_output(controller, &piece, error))
        return FALSE;
      while (pins_output_active(controller)) {
        struct pollfd fd = {.fd = controller->signals, .events = POLLIN};
        if (poll(&fd, 1, -1) < 0 && errno != EINTR)
          return doppel_error_errno(error, "waiting");
        if (signals_own(controller) && !block_work_primary(controller, error))
          return FALSE;
      }
    }
  }
  return TRUE;
}

static gboolean
take_signals(Controller *controller, GError **error)
{
  const Doppel__Engine__BlockEnd *end = controller->end->block_end;
  for (gsize i = 0; i < end->n_pending; i++) {
    MirrorSignal signal = {.own_tid = end->pending[i]->thread};
    if (end->pending[i]->info.len != sizeof signal.info)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a signal of a wrong length");
    memcpy(&signal.info, end->pending[i]->info.data, sizeof signal.info);
    if (!mirror_signals_put(controller->process, &signal, error))
      return FALSE;
  }
  return TRUE;
}

/* The program ended in the clone: the primary ends as it did. */
static gboolean
exit_primary(Controller *controller, gint32 status, GError **error)
{
  const guint64 arguments[6] = {(guint64)status};
  MirrorThread *leader = mirror_thread_leader(controller->process);
  if (!mirror_call_start(leader, SYS_exit_group, arguments, error))
    return FALSE;
  while (!controller->exited) {
    int wait_status;
    pid_t tid = waitpid(-1, &wait_status, __WALL);
    if (tid < 0 && errno == EINTR)
      continue;
    if (tid < 0)
      break;
    if (rerun_child_stop(controller, tid, wait_status))
      continue;
    if (tid == controller->pid && !WIFSTOPPED(wait_status)) {
      controller->exited = TRUE;
      controller->exit_status = wait_status;
    } else if (WIFSTOPPED(wait_status) && tid != controller->augmenter) {
      ptrace(PTRACE_CONT, tid, 0, 0);
    }
  }
  return TRUE;
}

/* Threads that the block made are the program's now. */
static void
adopt_threads(Controller *controller)
{
  for (guint i = 0; i < controller->incoming->sections->len; i++) {
    const MirrorSection *section = controller->incoming->sections->pdata[i];
    MirrorThread *thread = section->kind == MIRROR_SECTION_REGISTERS && section->bytes
                               ? mirror_thread_find_own(controller->process, section->id)
                               : NULL;
    if (thread && GPOINTER_TO_INT(thread->user) == THREAD_RESERVED)
      thread->user = GINT_TO_POINTER(THREAD_PROGRAM);
  }
}

G_NORETURN
static void
cannot_go_on(Controller *controller, const GError *error)
{
  fprintf(stderr,
          "doppel: the block's result could not be put into the program (%s). The program was stopped: its "
          "state is neither "
          "the old nor the new one.\n",
          error->message);
  timeline_close(controller);
  kill(controller->pid, SIGKILL);
  _exit(70);
}

/* --check: both sides have told what they have. */
static gboolean
twins_equal(Controller *controller, GError **error)
{
  const Doppel__Engine__BlockEnd *end = controller->end->block_end;
  if (!controller->options->check || !end->has_digest)
    return TRUE;
  g_autoptr(GPtrArray) files =
      mirror_files_read_primary(controller->process, controller_is_inherited, controller, error);
  g_autoptr(GBytes) own = files ? mirror_twin_digest(controller->twin, files, error) : NULL;
  if (!own)
    return FALSE;
  g_autoptr(GBytes) other = g_bytes_new(end->digest.data, end->digest.len);
  g_autofree char *parts = mirror_digest_differ(own, other);
  return !parts || doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                                    "after block %" G_GUINT64_FORMAT " the twins differ in their %s",
                                    controller->block, parts);
}

gboolean
block_reintegrate(Controller *controller, GError **error)
{
  const Doppel__Engine__BlockEnd *end = controller->end->block_end;
  gboolean begun = FALSE;
  if (!pins_stop_all(controller, error) || !device_files_ready(controller->files, end->file_changes, error))
    return FALSE;
  if (end->how != DOPPEL__ENGINE__HOW__EXITED && !controller->incoming_complete)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a block's end without its state");
  if (!write_outputs(controller, error) || !pins_stop_all(controller, error) ||
      !device_files_commit(controller->files, error))
    return FALSE;
  if (end->how == DOPPEL__ENGINE__HOW__EXITED)
    return exit_primary(controller, end->status, error);
  g_autoptr(GError) why = NULL;
  controller->block_taken = controller->block;
  if (!mirror_twin_apply(controller->twin, controller->incoming, &begun, &why)) {
    if (begun || end->file_changes)
      cannot_go_on(controller, why);
    controller->block_taken--;
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
  }
  adopt_threads(controller);
  if (!home_secure(controller, &why) || !twins_equal(controller, &why))
    cannot_go_on(controller, why);
  pins_end(controller);
  if (!take_signals(controller, &why))
    cannot_go_on(controller, why);
  signals_requeue(controller, MIN(end->signals_seen, controller->signals_sent->len));
  /* The next block says it, too; sooner only where the clone has something to put in order meanwhile. */
  Doppel__Engine__Commit commit = DOPPEL__ENGINE__COMMIT__INIT;
  commit.block = controller->block;
  if (end->file_changes)
    ENGINE_SEND(controller->link, COMMIT, commit, &commit, NULL);
  return TRUE;
}
