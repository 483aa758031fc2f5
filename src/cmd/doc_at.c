/* A document that somebody works at: its copy, and the way to the clone. */
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "clonedoc/merge.h"
#include "cmd/doc.h"

#define FIRST_PATIENCE_MS 120000 /* where this device has nothing of it yet */
#define SHOW_US           (G_USEC_PER_SEC / 4)

void
doc_at_clear(DocAt *at)
{
  g_clear_pointer(&at->session, doc_session_free);
  g_clear_pointer(&at->copy, doc_copy_free);
  g_clear_pointer(&at->known, doc_known_free);
  g_clear_pointer(&at->copies, doc_copies_free);
}

gboolean
doc_at_open(DocAt *at, const char *word, gboolean offline, GError **error)
{
  at->copies = doc_copies(error);
  at->known = at->copies ? doc_known_find(at->copies, word, offline ? NULL : doc_ask, error) : NULL;
  if (!at->known)
    return FALSE;
  g_autoptr(DocRow) row = doc_known_row(at->known);
  if (row && !doc_row_is_accepted(row, error))
    return FALSE;
  at->copy = doc_copy_open(at->copies, &at->known->document, error);
  if (!at->copy)
    return FALSE;
  at->session = doc_session_new(at->copies, at->copy, offline ? NULL : doc_dial);
  if (!offline || doc_copy_is_filled(at->copy))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                          "this device has no copy of \"%s\" yet: \"doppel doc open\" brings it",
                          at->known->title);
}

static void
add(OtOp **shown, OtOp *op)
{
  if (shown && op) {
    OtOp *both = *shown ? ot_op_compose(*shown, op) : ot_op_copy(op);
    ot_op_free(*shown);
    *shown = both;
  }
}

static void
tell_lost(DocAt *at)
{
  g_autofree char *lost = doc_session_take_lost(at->session);
  if (lost)
    fprintf(stderr,
            "doppel doc: %s had an older state of \"%s\" than it had shown, and this device begins anew "
            "with it. What the document was like here is in %s.\n",
            doc_room_called(), at->known->title, lost);
}

gboolean
doc_at_wait(DocAt *at, struct pollfd *fds, guint count, int timeout_ms, OtOp **shown, GError **error)
{
  g_autofree struct pollfd *all = g_new(struct pollfd, count + DOC_SESSION_FDS);
  guint own = doc_session_prepare(at->session, all, &timeout_ms);
  for (guint i = 0; i < count; i++)
    all[own + i] = fds[i];
  poll(all, own + count, timeout_ms);
  for (guint i = 0; i < count; i++)
    fds[i].revents = all[own + i].revents;
  g_autoptr(OtOp) op = NULL;
  gboolean good = doc_session_work(at->session, &op, error);
  add(shown, op);
  tell_lost(at);
  return good;
}

/* ---- until something is true ---- */

typedef gboolean (*Condition)(DocAt *at, gboolean *true_now, GError **error);

typedef struct {
  const char *words;
  gint64 begun_us, shown_us;
  gboolean shown;
} Progress;

static void
tell_progress(Progress *progress, DocAt *at)
{
  gint64 now = g_get_monotonic_time();
  if (!isatty(STDERR_FILENO) || now - progress->begun_us < G_USEC_PER_SEC ||
      now - progress->shown_us < SHOW_US)
    return;
  progress->shown_us = now;
  progress->shown = TRUE;
  fprintf(stderr, "\r%s: %s, %u s\033[K", at->known->title, progress->words,
          (guint)((now - progress->begun_us) / G_USEC_PER_SEC));
}

/* *done: it came true. Ends early where the clone cannot be reached, unless `patient`. */
static gboolean
wait_until(DocAt *at, Condition condition, const char *words, int patience_ms, gboolean patient, OtOp **shown,
           gboolean *done, GError **error)
{
  gint64 begun = g_get_monotonic_time(), end = begun + patience_ms * G_GINT64_CONSTANT(1000);
  Progress progress = {.words = words, .begun_us = begun};
  gboolean good = TRUE;
  *done = FALSE;
  while (good && !*done) {
    gint64 now = g_get_monotonic_time();
    if (now >= end || (!patient && doc_session_trouble(at->session)))
      break;
    tell_progress(&progress, at);
    good = doc_at_wait(at, NULL, 0, (int)MIN((end - now) / 1000 + 1, 250), shown, error) &&
           condition(at, done, error);
  }
  if (progress.shown)
    fputs("\r\033[K", stderr);
  return good;
}

static gboolean
is_current(DocAt *at, gboolean *true_now, GError **error)
{
  *true_now = doc_session_is_current(at->session);
  return TRUE;
}

static gboolean
is_delivered(DocAt *at, gboolean *true_now, GError **error)
{
  return doc_copy_is_settled(at->copy, true_now, error);
}

static const char *
trouble(DocAt *at)
{
  const GError *why = doc_session_trouble(at->session);
  return why ? why->message : "it does not answer in time";
}

gboolean
doc_at_meet(DocAt *at, int patience_ms, OtOp **shown, GError **error)
{
  gboolean current, first = !doc_copy_is_filled(at->copy);
  if (!wait_until(at, is_current, first ? "getting the document" : "asking for the document",
                  first ? FIRST_PATIENCE_MS : patience_ms, FALSE, shown, &current, error))
    return FALSE;
  if (first && !current) {
    const GError *why = doc_session_trouble(at->session);
    return doppel_error_set(error, why ? (DoppelErrorCode)why->code : DOPPEL_ERROR_GONE,
                            "nothing of \"%s\" is on this device yet, and %s cannot be asked: %s",
                            at->known->title, doc_room_called(), trouble(at));
  }
  if (!current) {
    fprintf(stderr, "doppel doc: %s cannot be reached (%s): this is the copy of this device.\n",
            doc_room_called(), trouble(at));
    return TRUE;
  }
  const DocRow *row = doc_session_row(at->session);
  if (row && !doc_copy_is_filled(at->copy))
    return doppel_error_set(error, DOPPEL_ERROR_GONE,
                            "nothing of \"%s\" is here yet, and it does not come now: %s", at->known->title,
                            row->words[0] ? row->words : "the document's server does not answer in time");
  if (row && doc_is_direct() && !row->up && row->state != DOPPEL__ROOM__STATE__REMOVED)
    fprintf(stderr,
            "doppel doc: the document's server cannot be reached (%s): this is the copy of this device.\n",
            row->words[0] ? row->words : "it does not answer in time");
  return !row || doc_known_keep(at->copies, row, error);
}

gboolean
doc_at_deliver(DocAt *at, int patience_ms, OtOp **shown, GError **error)
{
  gboolean delivered;
  if (!doc_copy_is_settled(at->copy, &delivered, error))
    return FALSE;
  doc_session_hurry(at->session);
  if (!delivered &&
      !wait_until(at, is_delivered, "bringing it there", patience_ms, FALSE, shown, &delivered, error))
    return FALSE;
  if (!delivered)
    fprintf(stderr,
            "doppel doc: \"%s\" is kept on this device; %s cannot be reached (%s). It goes there with the "
            "next \"doppel doc\" that reaches it.\n",
            at->known->title, doc_room_called(), trouble(at));
  return TRUE;
}

/* ---- the text ---- */

gboolean
doc_at_may_write(const DocAt *at, GError **error)
{
  g_autoptr(DocRow) kept = doc_known_row(at->known);
  const DocRow *row = doc_session_row(at->session);
  row = row ? row : kept;
  return !row || doc_row_may_write(row, error);
}

char *
doc_at_text(const DocAt *at, gsize *bytes)
{
  const OtText *text = doc_copy_text(at->copy);
  return ot_text_copy(text, 0, ot_text_length(text), bytes);
}

gboolean
doc_at_replace(DocAt *at, const char *to, gsize bytes, GError **error)
{
  gsize old_bytes;
  if (!doc_copy_refresh(at->copy, NULL, error))
    return FALSE;
  g_autofree char *old = doc_at_text(at, &old_bytes);
  g_autoptr(OtOp) op = doc_merge_difference(old, old_bytes, to, bytes, error);
  return op && doc_copy_edit(at->copy, op, NULL, error);
}
