#include "clonedoc/device/session.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "clonedoc/device/copies_struct.h"

#define BUSY_MS        300 /* until another program's line is looked for again */
#define PAUSE_LEAST_MS 1000
#define PAUSE_MOST_MS  15000

/* Of the thread that dials and the session; the last one frees it. */
typedef struct {
  DocDial dial;
  GMutex mutex;
  Fd done; /* eventfd */
  Fd fd;
  GError *error;
} Dialling;

struct DocSession {
  DocCopies *copies;
  DocCopy *copy;
  DocDial dial;
  Dialling *dialling; /* or NULL */
  DocLine *line;      /* or NULL */
  GError *trouble;
  gboolean shared; /* another program has the line */
  gint64 next_us;  /* when to try again */
  int pause_ms;
  guint begun_anew; /* how often */
  char *lost;
};

static void
dialling_clear(gpointer data)
{
  Dialling *dialling = data;
  g_mutex_clear(&dialling->mutex);
  io_close(&dialling->done);
  io_close(&dialling->fd);
  g_clear_error(&dialling->error);
}

static void
dialling_release(Dialling *dialling)
{
  g_atomic_rc_box_release_full(dialling, dialling_clear);
}

static gpointer
dial_in_thread(gpointer data)
{
  Dialling *dialling = data;
  GError *error = NULL;
  int fd = dialling->dial(&error);
  g_mutex_lock(&dialling->mutex);
  dialling->fd = fd;
  dialling->error = error;
  g_mutex_unlock(&dialling->mutex);
  eventfd_write(dialling->done, 1);
  dialling_release(dialling);
  return NULL;
}

DocSession *
doc_session_new(DocCopies *copies, DocCopy *copy, DocDial dial)
{
  DocSession *session = g_new0(DocSession, 1);
  *session = (DocSession){.copies = copies, .copy = copy, .dial = dial, .pause_ms = PAUSE_LEAST_MS};
  return session;
}

void
doc_session_free(DocSession *session)
{
  if (!session)
    return;
  g_clear_pointer(&session->dialling, dialling_release);
  g_clear_pointer(&session->line, doc_line_free);
  doc_copy_let_go(session->copy);
  g_clear_error(&session->trouble);
  g_free(session->lost);
  g_free(session);
}

const GError *
doc_session_trouble(const DocSession *session)
{
  return session->trouble;
}

const Doppel__Room__Row *
doc_session_row(const DocSession *session)
{
  return session->line ? doc_line_row(session->line) : NULL;
}

gboolean
doc_session_is_current(const DocSession *session)
{
  return session->shared ? doc_copy_is_filled(session->copy)
                         : session->line && doc_line_is_current(session->line);
}

char *
doc_session_take_lost(DocSession *session)
{
  return g_steal_pointer(&session->lost);
}

void
doc_session_hurry(DocSession *session)
{
  session->next_us = 0;
}

/* ---- the way to the clone ---- */

static void
wait_ms(DocSession *session, int pause_ms)
{
  session->next_us = g_get_monotonic_time() + pause_ms * G_GINT64_CONSTANT(1000);
}

static void
fail(DocSession *session, GError *why)
{
  g_clear_error(&session->trouble);
  session->trouble = why;
  wait_ms(session, session->pause_ms);
  session->pause_ms = MIN(2 * session->pause_ms, PAUSE_MOST_MS);
}

static void
dial(DocSession *session)
{
  g_autoptr(GError) error = NULL;
  session->shared = FALSE;
  if (!doc_copy_keep(session->copy, &error)) {
    session->shared = g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_ABORTED);
    if (session->shared)
      wait_ms(session, BUSY_MS);
    else
      fail(session, g_steal_pointer(&error));
    return;
  }
  Dialling *dialling = g_atomic_rc_box_new0(Dialling);
  *dialling = (Dialling){.dial = session->dial, .fd = -1, .done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  g_mutex_init(&dialling->mutex);
  session->dialling = g_atomic_rc_box_acquire(dialling);
  g_thread_unref(g_thread_new("doc-dial", dial_in_thread, dialling));
}

/* FALSE: it goes on. */
static gboolean
take_dialled(DocSession *session)
{
  eventfd_t count;
  if (eventfd_read(session->dialling->done, &count) < 0)
    return FALSE;
  g_autoptr(GError) error = NULL;
  g_mutex_lock(&session->dialling->mutex);
  int fd = io_steal_fd(&session->dialling->fd);
  error = g_steal_pointer(&session->dialling->error);
  g_mutex_unlock(&session->dialling->mutex);
  g_clear_pointer(&session->dialling, dialling_release);
  if (fd >= 0)
    session->line = doc_line_new(session->copy, fd, &error);
  if (!session->line) {
    doc_copy_let_go(session->copy);
    fail(session, g_steal_pointer(&error));
  }
  return TRUE;
}

/* What was typed is worth more than order in a folder. */
static gboolean
save_lost(DocSession *session, const char *text, GError **error)
{
  g_autoptr(GDateTime) now = g_date_time_new_now_local();
  g_autofree char *time = g_date_time_format(now, "%Y%m%dT%H%M%S");
  g_autofree char *name = g_strdup_printf("typed-%s-%u.txt", time, g_random_int_range(1000, 10000));
  g_free(session->lost);
  session->lost = g_build_filename(session->copies->folder, name, NULL);
  return g_file_set_contents_full(session->lost, text, -1, G_FILE_SET_CONTENTS_DURABLE, 0600, error);
}

static gboolean
begin_anew(DocSession *session, GError **error)
{
  g_autofree char *lost = NULL;
  return doc_copy_keep(session->copy, error) && doc_copy_anew(session->copy, &lost, error) &&
         (!lost || save_lost(session, lost, error));
}

/* ---- driving ---- */

guint
doc_session_prepare(DocSession *session, struct pollfd *fds, int *timeout_ms)
{
  guint count = 0;
  fds[count++] = (struct pollfd){.fd = doc_copies_fd(session->copies), .events = POLLIN};
  if (session->line)
    doc_line_prepare(session->line, &fds[count++], timeout_ms);
  else if (session->dialling)
    fds[count++] = (struct pollfd){.fd = session->dialling->done, .events = POLLIN};
  else if (session->dial) {
    gint64 left = (session->next_us - g_get_monotonic_time()) / 1000 + 1;
    int ms = (int)CLAMP(left, 0, PAUSE_MOST_MS);
    *timeout_ms = *timeout_ms < 0 ? ms : MIN(*timeout_ms, ms);
  }
  return count;
}

static void
add(OtOp **shown, OtOp *op)
{
  if (op && *shown) {
    OtOp *both = ot_op_compose(*shown, op);
    ot_op_free(*shown);
    *shown = both;
    ot_op_free(op);
  } else if (op)
    *shown = op;
}

/* The line has ended with `why`. */
static gboolean
give_up_line(DocSession *session, GError *why, OtOp **shown, GError **error)
{
  gboolean anew = g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH), good = TRUE;
  g_clear_pointer(&session->line, doc_line_free);
  fail(session, why);
  if (anew) {
    OtOp *nothing = ot_op_new();
    ot_op_delete(nothing, ot_text_length(doc_copy_text(session->copy)));
    add(shown, nothing);
    good = begin_anew(session, error);
    /* No trouble yet, if the next line does. */
    if (session->begun_anew++ == 0) {
      g_clear_error(&session->trouble);
      wait_ms(session, 0);
    }
  }
  doc_copy_let_go(session->copy);
  return good;
}

static gboolean
work_line(DocSession *session, OtOp **shown, GError **error)
{
  g_autoptr(GError) why = NULL;
  OtOp *op = NULL;
  gboolean good = doc_line_work(session->line, &op, &why);
  add(shown, op);
  if (!good)
    return give_up_line(session, g_steal_pointer(&why), shown, error);
  if (doc_line_is_current(session->line)) {
    session->pause_ms = PAUSE_LEAST_MS;
    g_clear_error(&session->trouble);
  }
  return TRUE;
}

gboolean
doc_session_work(DocSession *session, OtOp **shown, GError **error)
{
  *shown = NULL;
  doc_copies_heed(session->copies);
  if (session->dialling)
    take_dialled(session);
  if (!session->line && !session->dialling && session->dial && g_get_monotonic_time() >= session->next_us)
    dial(session);
  if (session->line)
    return work_line(session, shown, error);
  return doc_copy_refresh(session->copy, shown, error);
}
