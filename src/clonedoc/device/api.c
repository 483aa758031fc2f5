/* libdoppel-doc: a session as C programs have it. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "base/error.h"
#include "base/io.h"
#include "clonedoc/device/api_direct.h"
#include "clonedoc/device/known.h"
#include "clonedoc/device/session.h"
#include "doppel/c2c.h"
#include "doppel/doc.h"

#define QUESTION_S 120

struct DoppelDoc {
  gboolean direct;
  DocCopies *copies;
  DocKnown *known;
  DocRow *row; /* as it is known on this device, but for numbers; or NULL */
  DocCopy *copy;
  DocSession *session;
  OtOp *untaken; /* what is in the copy and not in what the editor shows; or NULL */
  char *told;    /* of the last change */
  Fd ready;      /* epoll */
  Fd timer;
  struct pollfd watched[DOC_SESSION_FDS];
  guint watched_count;
};

static int
dial(GError **error)
{
  char *why = NULL;
  C2c *c2c = c2c_open(NULL, &why);
  int fd = c2c ? c2c_dial(c2c, NULL, "doc", &why) : -1;
  c2c_close(c2c);
  if (fd < 0)
    doppel_error_set(error, DOPPEL_ERROR_GONE, "%s", why ? why : "the clone cannot be reached");
  free(why);
  return fd;
}

static gboolean
ask(DocRoomQuestion *question, DocEach each, gpointer data, GError **error)
{
  const struct timeval patience = {.tv_sec = QUESTION_S};
  g_auto(Fd) fd = dial(error);
  if (fd < 0)
    return FALSE;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  return doc_ask_over(fd, question, each, data, error);
}

static int
tell(const GError *error, char **why)
{
  if (why)
    *why = strdup(error->message);
  return -1;
}

/* ---- what to wait for ---- */

static gboolean
is_watched(const struct pollfd *fd, const struct pollfd *among, guint count)
{
  for (guint i = 0; i < count; i++)
    if (among[i].fd == fd->fd)
      return TRUE;
  return FALSE;
}

static void
watch(DoppelDoc *doc)
{
  struct pollfd now[DOC_SESSION_FDS];
  int timeout_ms = -1;
  guint count = doc_session_prepare(doc->session, now, &timeout_ms);
  struct itimerspec timer = {0};
  for (guint i = 0; i < doc->watched_count; i++)
    if (!is_watched(&doc->watched[i], now, count))
      epoll_ctl(doc->ready, EPOLL_CTL_DEL, doc->watched[i].fd, NULL);
  for (guint i = 0; i < count; i++) {
    struct epoll_event event = {.events = (guint32)now[i].events, .data.fd = now[i].fd};
    /* Whatever had this number before may have been closed, and be gone from there by itself. */
    if (epoll_ctl(doc->ready, EPOLL_CTL_ADD, now[i].fd, &event) < 0)
      epoll_ctl(doc->ready, EPOLL_CTL_MOD, now[i].fd, &event);
  }
  memcpy(doc->watched, now, sizeof now);
  doc->watched_count = count;
  if (timeout_ms >= 0)
    timer.it_value = (struct timespec){timeout_ms / 1000, MAX(timeout_ms % 1000 * 1000000L, 1)};
  timerfd_settime(doc->timer, 0, &timer, NULL);
}

static gboolean
open_waiting(DoppelDoc *doc, GError **error)
{
  doc->ready = epoll_create1(EPOLL_CLOEXEC);
  doc->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = doc->timer};
  if (doc->ready < 0 || doc->timer < 0 || epoll_ctl(doc->ready, EPOLL_CTL_ADD, doc->timer, &event) < 0)
    return doppel_error_errno(error, "cannot wait for the document");
  watch(doc);
  return TRUE;
}

/* ---- opening ---- */

static gboolean
open_document(DoppelDoc *doc, const char *document, gboolean offline, GError **error)
{
  DocAsker asker = doc->direct ? doc_direct_ask : ask;
  doc->copies = doc_known_open(doc->direct, error);
  doc->known = doc->copies ? doc_known_find(doc->copies, document, offline ? NULL : asker, error) : NULL;
  if (!doc->known)
    return FALSE;
  doc->row = doc_known_row(doc->known);
  if (doc->row && !doc_row_is_accepted(doc->row, error))
    return FALSE;
  doc->copy = doc_copy_open(doc->copies, &doc->known->document, error);
  if (!doc->copy)
    return FALSE;
  doc->session = doc_session_new(doc->copies, doc->copy,
                                 offline       ? NULL
                                 : doc->direct ? api_direct_dial
                                               : dial);
  return open_waiting(doc, error);
}

DoppelDoc *
doppel_doc_open(const char *document, unsigned flags, char **why)
{
  g_autoptr(GError) error = NULL;
  DoppelDoc *doc = g_new0(DoppelDoc, 1);
  doc->ready = doc->timer = -1;
  doc->direct = (flags & DOPPEL_DOC_DIRECT) != 0;
  if (doc->direct)
    api_direct_enter();
  if (open_document(doc, document, flags & DOPPEL_DOC_OFFLINE, &error))
    return doc;
  tell(error, why);
  doppel_doc_close(doc);
  return NULL;
}

void
doppel_doc_close(DoppelDoc *doc)
{
  if (!doc)
    return;
  g_clear_pointer(&doc->session, doc_session_free);
  g_clear_pointer(&doc->copy, doc_copy_free);
  g_clear_pointer(&doc->row, doc_row_free);
  g_clear_pointer(&doc->known, doc_known_free);
  g_clear_pointer(&doc->copies, doc_copies_free);
  g_clear_pointer(&doc->untaken, ot_op_free);
  g_free(doc->told);
  io_close(&doc->ready);
  io_close(&doc->timer);
  if (doc->direct)
    api_direct_leave();
  g_free(doc);
}

/* ---- the text ---- */

static void
note(DoppelDoc *doc, const OtOp *shown)
{
  if (!shown)
    return;
  OtOp *both = doc->untaken ? ot_op_compose(doc->untaken, shown) : ot_op_copy(shown);
  ot_op_free(doc->untaken);
  doc->untaken = both;
}

char *
doppel_doc_text(DoppelDoc *doc, size_t *bytes)
{
  const OtText *text = doc_copy_text(doc->copy);
  g_autofree char *utf8 = ot_text_copy(text, 0, ot_text_length(text), bytes);
  char *copy = malloc(*bytes + 1);
  if (copy)
    memcpy(copy, utf8, *bytes + 1);
  g_clear_pointer(&doc->untaken, ot_op_free);
  return copy;
}

/* How long the text is that the editor shows. */
static size_t
shown_length(const DoppelDoc *doc)
{
  size_t length = ot_text_length(doc_copy_text(doc->copy));
  return doc->untaken ? length - ot_op_inserted(doc->untaken) + ot_op_deleted(doc->untaken) : length;
}

static gboolean
may_write(const DoppelDoc *doc, GError **error)
{
  const DocRow *row = doc_session_row(doc->session);
  row = row ? row : doc->row;
  return !row || doc_row_may_write(row, error);
}

static gboolean
edit(DoppelDoc *doc, const OtOp *op, GError **error)
{
  g_autoptr(OtOp) later = NULL;
  g_autoptr(OtOp) others = NULL;
  OtOp *untaken = NULL;
  if (doc->untaken)
    ot_op_transform(doc->untaken, op, &untaken, &later);
  if (!doc_copy_edit(doc->copy, later ? later : op, &others, error)) {
    ot_op_free(untaken);
    return FALSE;
  }
  ot_op_free(doc->untaken);
  doc->untaken = untaken;
  note(doc, others);
  return TRUE;
}

int
doppel_doc_edit(DoppelDoc *doc, size_t at, size_t deleted, const char *utf8, size_t bytes, char **why)
{
  g_autoptr(GError) error = NULL;
  gsize scalars, length = shown_length(doc);
  if (!ot_utf8_check(utf8 ? utf8 : "", bytes, &scalars))
    doppel_error_set(&error, DOPPEL_ERROR_USAGE, "that is no UTF-8");
  else if (at > length || deleted > length - at)
    doppel_error_set(&error, DOPPEL_ERROR_USAGE, "the document ends before that");
  else if (may_write(doc, &error)) {
    g_autoptr(OtOp) op = ot_op_new_edit(at, deleted, utf8 ? utf8 : "", bytes);
    edit(doc, op, &error);
  }
  return error ? tell(error, why) : 0;
}

/* The first change of `op` on a text; *rest is what is left of it. */
static void
take_first(const OtOp *op, DoppelDocChange *change, char **utf8, OtOp **rest)
{
  OtCursor cursor;
  OtPart part;
  ot_cursor_init(&cursor, op);
  *change = (DoppelDocChange){0};
  *utf8 = NULL;
  if (cursor.left.kind == OT_KEEP) {
    ot_cursor_take(&cursor, cursor.left.scalars, &part);
    change->at = part.scalars;
  }
  if (cursor.left.scalars > 0 && cursor.left.kind == OT_INSERT) {
    ot_cursor_take(&cursor, cursor.left.scalars, &part);
    *utf8 = g_strndup(part.utf8, part.bytes);
    change->bytes = part.bytes;
    change->inserted = part.scalars;
  }
  if (cursor.left.scalars > 0 && cursor.left.kind == OT_DELETE) {
    ot_cursor_take(&cursor, cursor.left.scalars, &part);
    change->deleted = part.scalars;
  }
  *rest = ot_op_new();
  ot_op_keep(*rest, change->at + change->inserted);
  while (cursor.left.scalars > 0) {
    ot_cursor_take(&cursor, cursor.left.scalars, &part);
    if (part.kind == OT_KEEP)
      ot_op_keep(*rest, part.scalars);
    else if (part.kind == OT_INSERT)
      ot_op_insert(*rest, part.utf8, part.bytes, part.scalars);
    else
      ot_op_delete(*rest, part.scalars);
  }
}

int
doppel_doc_next(DoppelDoc *doc, DoppelDocChange *change)
{
  if (!doc->untaken || ot_op_empty(doc->untaken)) {
    g_clear_pointer(&doc->untaken, ot_op_free);
    return 0;
  }
  OtOp *rest;
  g_free(doc->told);
  take_first(doc->untaken, change, &doc->told, &rest);
  change->utf8 = doc->told ? doc->told : "";
  ot_op_free(doc->untaken);
  doc->untaken = rest;
  return 1;
}

/* ---- driving ---- */

int
doppel_doc_fd(const DoppelDoc *doc)
{
  return doc->ready;
}

/* What this user may is known without the clone, too. */
static void
keep_row(DoppelDoc *doc)
{
  const DocRow *row = doc_session_row(doc->session);
  if (!row || (doc->row && doc->row->role == row->role && doc->row->state == row->state))
    return;
  doc_known_keep(doc->copies, row, NULL); /* which the next one does who can */
  g_clear_pointer(&doc->row, doc_row_free);
  doc->row = doc_row_copy(row);
}

int
doppel_doc_work(DoppelDoc *doc, char **why)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) shown = NULL;
  gboolean good = doc_session_work(doc->session, &shown, &error);
  note(doc, shown);
  keep_row(doc);
  watch(doc);
  return good ? 0 : tell(error, why);
}

/* Without a clone what this device's room has is nobody else's yet: with the server it is. What is known of
 * that is what the room tells the program that talks with it. */
static gboolean
is_kept(DoppelDoc *doc)
{
  const DocRow *row = doc_session_row(doc->session);
  gboolean settled = FALSE;
  if (!doc_copy_is_settled(doc->copy, &settled, NULL) || !settled || !doc->direct)
    return settled;
  return row ? row->settled : doc_session_is_current(doc->session);
}

unsigned
doppel_doc_state(DoppelDoc *doc)
{
  gboolean kept = is_kept(doc);
  return (doc_copy_is_filled(doc->copy) ? DOPPEL_DOC_FILLED : 0) |
         (doc_session_is_current(doc->session) ? DOPPEL_DOC_CURRENT : 0) | (kept ? DOPPEL_DOC_KEPT : 0) |
         (may_write(doc, NULL) ? DOPPEL_DOC_WRITE : 0);
}

static const char *
what_is_wrong(const DoppelDoc *doc)
{
  const GError *trouble = doc_session_trouble(doc->session);
  const DocRow *row = doc_session_row(doc->session);
  return trouble ? trouble->message : row ? row->words : "";
}

int
doppel_doc_wait(DoppelDoc *doc, unsigned state, int timeout_ms, char **why)
{
  g_autoptr(GError) error = NULL;
  gint64 end = g_get_monotonic_time() + timeout_ms * G_GINT64_CONSTANT(1000);
  for (;;) {
    if (doppel_doc_work(doc, why) < 0)
      return -1;
    if ((doppel_doc_state(doc) & state) == state)
      return 0;
    gint64 left = (end - g_get_monotonic_time()) / 1000;
    struct pollfd ready = {.fd = doc->ready, .events = POLLIN};
    if (timeout_ms >= 0 && left <= 0)
      break;
    poll(&ready, 1, timeout_ms < 0 ? -1 : (int)left + 1);
  }
  const char *words = what_is_wrong(doc);
  doppel_error_set(&error, DOPPEL_ERROR_GONE, "not in time%s%s", words[0] ? ": " : "", words);
  return tell(error, why);
}
