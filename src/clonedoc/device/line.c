#include "clonedoc/device/line.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "wire/message.h"

#define READ_MAX (4u << 20) /* bytes at a time */
#define PIECE    65536

/* After something was said what comes is gathered for so long, at both ends: each message costs a phone's
 * radio more than what is in it. */
#define PACE_MS 100

struct DocLine {
  DocCopy *copy;
  Fd fd;
  GByteArray *in, *out;
  GPtrArray *said;    /* of the pair's, not taken yet; of GBytes */
  DocRoomAnswer *row; /* or NULL */
  gint64 pair_at;     /* CLOCK_MONOTONIC ns: the pair's next message, no sooner */
  gboolean answered;  /* the pair's other end has said something */
  gboolean current;   /* and everything that it had at the beginning, */
  gboolean whole;     /* which was the document's text: of a history that is being read there is none yet */
};

static void
ask(DocLine *line)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Open open = DOPPEL__ROOM__OPEN__INIT;
  guint8 id[DOC_COPY_LENGTH];
  gboolean begun;
  doc_copy_id(line->copy, id, &begun);
  const DocName *document = doc_copy_name(line->copy);
  open.document = wire_borrow(document->bytes, sizeof document->bytes);
  open.copy = wire_borrow(id, sizeof id);
  open.begun = begun;
  open.pace_ms = PACE_MS;
  question.what_case = DOC_ROOM_ASK(OPEN);
  question.open = &open;
  wire_stream_put(line->out, &question.base);
}
G_STATIC_ASSERT(DOC_COPY_LENGTH == DOC_ROOM_COPY_LENGTH);

DocLine *
doc_line_new(DocCopy *copy, int fd, GError **error)
{
  g_auto(Fd) taken = fd;
  if (!doc_copy_keep(copy, error))
    return NULL;
  DocLine *line = g_new0(DocLine, 1);
  *line =
      (DocLine){.copy = copy, .fd = io_steal_fd(&taken), .in = g_byte_array_new(), .out = g_byte_array_new()};
  line->said = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  ask(line);
  return line;
}

void
doc_line_free(DocLine *line)
{
  if (!line)
    return;
  doc_copy_let_go(line->copy);
  io_close(&line->fd);
  g_byte_array_unref(line->in);
  g_byte_array_unref(line->out);
  g_ptr_array_unref(line->said);
  if (line->row)
    doc_room_answer_free(line->row);
  g_free(line);
}

void
doc_line_prepare(const DocLine *line, struct pollfd *fd, int *timeout_ms)
{
  *fd = (struct pollfd){.fd = line->fd, .events = POLLIN | (line->out->len > 0 ? POLLOUT : 0)};
  if (line->pair_at == 0)
    return;
  int left = clock_left_ms(line->pair_at);
  *timeout_ms = *timeout_ms < 0 ? left : MIN(*timeout_ms, left);
}

const Doppel__Room__Row *
doc_line_row(const DocLine *line)
{
  return line->row ? line->row->row : NULL;
}

gboolean
doc_line_is_current(const DocLine *line)
{
  return line->current;
}

/* ---- the socket ---- */

static gboolean
lost(int number, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_GONE, "the connection was lost%s%s", number ? ": " : "",
                          number ? g_strerror(number) : "");
}

static gboolean
flush(DocLine *line, GError **error)
{
  while (line->out->len > 0) {
    gssize sent = send(line->fd, line->out->data, line->out->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0)
      return errno == EAGAIN || lost(errno, error);
    g_byte_array_remove_range(line->out, 0, sent);
  }
  return TRUE;
}

/* *over: nothing more will come. */
static gboolean
receive(DocLine *line, gboolean *over, GError **error)
{
  guint8 piece[PIECE];
  for (gsize all = 0; all < READ_MAX;) {
    gssize got = recv(line->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return errno == EAGAIN || lost(errno, error);
    *over = got == 0;
    if (got == 0)
      break;
    g_byte_array_append(line->in, piece, got);
    all += got;
  }
  return TRUE;
}

/* ---- what comes ---- */

static gboolean
take(DocLine *line, DocRoomAnswer *taken, GError **error)
{
  g_autoptr(DocRoomAnswer) answer = taken;
  DocRoomAnswer *old = line->row;
  switch (answer->what_case) {
  case DOC_ROOM_TELL(ROW):
    line->row = g_steal_pointer(&answer);
    if (old)
      doc_room_answer_free(old);
    return TRUE;
  case DOC_ROOM_TELL(PAIR):
    g_ptr_array_add(line->said, g_bytes_new(answer->pair.data, answer->pair.len));
    return TRUE;
  case DOC_ROOM_TELL(SAID):
    line->current = TRUE; /* when what came before it is taken */
    line->whole |= answer->said;
    return TRUE;
  case DOC_ROOM_TELL(FAILED):
    return doc_room_failed(answer->failed, error);
  case DOC_ROOM_TELL(END):
    return lost(0, error);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone's answer is none");
  }
}

static gboolean
take_frames(DocLine *line, GError **error)
{
  for (;;) {
    g_autoptr(GBytes) frame = NULL;
    int got = wire_stream_take(line->in, DOC_ROOM_FRAME_MAX, &frame, error);
    if (got <= 0)
      return got == 0;
    gsize length;
    const void *data = g_bytes_get_data(frame, &length);
    DocRoomAnswer *answer = doc_room_answer_take(data, length, error);
    if (!answer || !take(line, answer, error))
      return FALSE;
  }
}

static gboolean
step(DocLine *line, OtOp **shown, GError **error)
{
  g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  gboolean later = line->answered && clock_now_ns() < line->pair_at;
  if (!doc_copy_step(line->copy, line->said, later ? NULL : out, shown, error))
    return FALSE;
  if (!later)
    line->pair_at =
        out->len > 0 && line->answered ? clock_now_ns() + PACE_MS * G_GINT64_CONSTANT(1000000) : 0;
  line->answered |= line->said->len > 0;
  g_ptr_array_set_size(line->said, 0);
  for (guint i = 0; i < out->len; i++) {
    DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
    question.what_case = DOC_ROOM_ASK(PAIR);
    question.pair = wire_borrow_bytes(out->pdata[i]);
    wire_stream_put(line->out, &question.base);
  }
  return !line->whole || doc_copy_set_filled(line->copy, error);
}

gboolean
doc_line_work(DocLine *line, OtOp **shown, GError **error)
{
  gboolean over = FALSE;
  *shown = NULL;
  if (!flush(line, error) || !receive(line, &over, error) || !take_frames(line, error))
    return FALSE;
  if (line->row && !step(line, shown, error))
    return FALSE;
  if (over)
    return lost(0, error);
  return flush(line, error);
}
