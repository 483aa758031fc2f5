#include "replica/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/pack.h"
#include "replica/path.h"
#include "replica/transaction.h"

struct ReplicaApply {
  Fd root, state;
  ReplicaUnpacker *unpacker;
  ReplicaTransaction transaction;
  gboolean begun; /* checked and staged */
  gboolean ready; /* planned */
  gboolean failed, committed;
  guint current; /* the entry whose staged file `fd` is */
  Fd fd;
};

static gboolean
begin(ReplicaApply *apply, GError **error)
{
  if (apply->begun)
    return TRUE;
  apply->begun = TRUE;
  ReplicaTransaction *transaction = &apply->transaction;
  if (!replica_transaction_check(transaction, error))
    return FALSE;
  if (transaction->entries->len == 0)
    return TRUE;
  transaction->journal = replica_journal_new(apply->state, error);
  return transaction->journal && replica_transaction_stage(transaction, error);
}

static gboolean
write_at(int fd, const ReplicaPiece *piece, guint64 offset)
{
  for (gsize done = 0; done < piece->length;) {
    ssize_t put = pwrite(fd, piece->bytes + done, piece->length - done, offset + done);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return FALSE;
    done += put;
  }
  return TRUE;
}

static gboolean
write_staged(ReplicaApply *apply, const ReplicaPiece *piece, const ReplicaItem *item)
{
  if (!piece->bytes) /* it is a hole already */
    return TRUE;
  if (apply->fd < 0 || apply->current != piece->entry) {
    io_close(&apply->fd);
    apply->fd = replica_path_open(apply->root, item->staged, O_WRONLY);
    apply->current = piece->entry;
  }
  return apply->fd >= 0 && write_at(apply->fd, piece, piece->offset);
}

/* Content for a file that changes in place waits in the journal's data file. */
static gboolean
write_aside(ReplicaApply *apply, const ReplicaPiece *piece, ReplicaItem *item)
{
  ReplicaJournal *journal = apply->transaction.journal;
  ReplicaSaved redo = {
      .offset = piece->offset, .length = piece->length, .at = journal->data_size, .zeros = !piece->bytes};
  if (!item->redo)
    item->redo = g_array_new(FALSE, FALSE, sizeof(ReplicaSaved));
  g_array_append_val(item->redo, redo);
  if (!piece->bytes)
    return TRUE;
  journal->data_size += piece->length;
  return write_at(journal->data, piece, redo.at);
}

static gboolean
take_piece(const ReplicaPiece *piece, gpointer user_data, GError **error)
{
  ReplicaApply *apply = user_data;
  if (!begin(apply, error))
    return FALSE;
  ReplicaItem *item = replica_transaction_item(&apply->transaction, piece->entry);
  gboolean good = item->staged ? write_staged(apply, piece, item) : write_aside(apply, piece, item);
  const ReplicaEntry *entry = apply->transaction.entries->pdata[piece->entry];
  return good || doppel_error_errno(error, "cannot write the new content of %s", entry->path);
}

ReplicaApply *
replica_apply_new(int root, int state, const ReplicaApplyOptions *options, GError **error)
{
  g_autoptr(ReplicaApply) apply = g_new0(ReplicaApply, 1);
  apply->fd = -1;
  apply->root = fcntl(root, F_DUPFD_CLOEXEC, 3);
  apply->state = fcntl(state, F_DUPFD_CLOEXEC, 3);
  apply->unpacker = replica_unpacker_new(take_piece, apply);
  replica_transaction_init(&apply->transaction, apply->root, replica_unpacker_entries(apply->unpacker));
  if (options) {
    apply->transaction.seen = options->seen;
    apply->transaction.durable = options->durable;
  }
  if (apply->root < 0 || apply->state < 0) {
    doppel_error_errno(error, "cannot keep the root directory open");
    return NULL;
  }
  return g_steal_pointer(&apply);
}

static void
undo(ReplicaApply *apply)
{
  g_autoptr(GError) error = NULL;
  if (apply->transaction.journal && !replica_journal_undo(apply->transaction.journal, apply->root, &error))
    g_warning("%s", error->message);
  g_clear_pointer(&apply->transaction.journal, replica_journal_free);
}

void
replica_apply_free(ReplicaApply *apply)
{
  if (!apply->committed)
    undo(apply);
  replica_transaction_clear(&apply->transaction);
  replica_unpacker_free(apply->unpacker);
  io_close(&apply->fd);
  io_close(&apply->root);
  io_close(&apply->state);
  g_free(apply);
}

static gboolean
finish(ReplicaApply *apply, GError **error)
{
  io_close(&apply->fd);
  if (!begin(apply, error))
    return FALSE;
  if (apply->transaction.journal && !replica_transaction_plan(&apply->transaction, error))
    return FALSE;
  apply->ready = TRUE;
  return TRUE;
}

gboolean
replica_apply_push(ReplicaApply *apply, const guint8 *data, gsize length, GError **error)
{
  if (apply->failed)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "the changes of files were refused already");
  gboolean good = replica_unpacker_push(apply->unpacker, data, length, error);
  if (good && replica_unpacker_done(apply->unpacker))
    good = finish(apply, error);
  if (!good) {
    apply->failed = TRUE;
    undo(apply);
  }
  return good;
}

gboolean
replica_apply_ready(const ReplicaApply *apply)
{
  return apply->ready;
}

GPtrArray *
replica_apply_conflicts(const ReplicaApply *apply)
{
  return apply->transaction.conflicts;
}

/* Makes the changes, so that they can still be taken back. */
static gboolean
run(ReplicaApply *apply, GError **error)
{
  if (!apply->ready || apply->failed || apply->committed)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "the changes of files are not complete");
  ReplicaJournal *journal = apply->transaction.journal;
  return !journal || replica_journal_run(journal, apply->root, error);
}

static void
take_back(ReplicaApply *apply, GError **error)
{
  g_autoptr(GError) stuck = NULL;
  apply->failed = TRUE;
  if (apply->transaction.journal && !replica_journal_undo(apply->transaction.journal, apply->root, &stuck))
    g_prefix_error(error, "taking changes of files back failed (%s), after: ", stuck->message);
  g_clear_pointer(&apply->transaction.journal, replica_journal_free);
}

gboolean
replica_apply_commit_all(ReplicaApply *const *applies, guint count, GError **error)
{
  guint done = 0;
  while (done < count && run(applies[done], error))
    done++;
  if (done < count) {
    for (guint i = done + 1; i-- > 0;)
      take_back(applies[i], error);
    return FALSE;
  }
  for (guint i = 0; i < count; i++) {
    applies[i]->committed = TRUE;
    if (applies[i]->transaction.journal)
      replica_journal_commit(applies[i]->transaction.journal, applies[i]->root);
  }
  return TRUE;
}

gboolean
replica_apply_commit(ReplicaApply *apply, GError **error)
{
  return replica_apply_commit_all(&apply, 1, error);
}

gboolean
replica_apply(int root, int state, ReplicaMessageFunc next, gpointer user_data,
              const ReplicaApplyOptions *options, GPtrArray *conflicts, GError **error)
{
  g_autoptr(ReplicaApply) apply = replica_apply_new(root, state, options, error);
  if (!apply)
    return FALSE;
  gboolean good = TRUE;
  while (good && !apply->ready) {
    GError *failure = NULL;
    g_autoptr(GBytes) message = next(user_data, &failure);
    if (!message) {
      if (failure)
        g_propagate_error(error, failure);
      else
        doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the changes of files ended too early");
      return FALSE;
    }
    gsize length;
    const guint8 *data = g_bytes_get_data(message, &length);
    good = replica_apply_push(apply, data, length, error);
  }
  for (guint i = 0; conflicts && i < apply->transaction.conflicts->len; i++)
    g_ptr_array_add(conflicts, g_strdup(apply->transaction.conflicts->pdata[i]));
  return good && replica_apply_commit(apply, error);
}
