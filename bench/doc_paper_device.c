/* A device with a clone: its copy of the document, in step with the clone's over one link. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "clonedoc/device/line.h"
#include "doc_paper.h"
#include "link/link.h"
#include "wire/message.h"

enum { CHANNEL_LINE = 1, CHANNEL_QUESTION = 2 }; /* each question has the next one */

static const PaperWho *who;
static IdentityKey *key;
static DocCopies *copies;
static DocCopy *copy;
static DocLine *line;
static Link *link_;
static Fd pipe_ = -1; /* the other end of the line's stream */
static guint channel; /* of the question under way; 0: none */
static GByteArray *answers;
static guint channels = CHANNEL_QUESTION;
static gint64 done_at;
static PaperMoved moved_before;
static gboolean stirred; /* the line has something to do */

static void
open_device(const PaperWho *of)
{
  g_autoptr(GError) error = NULL;
  who = of;
  key = paper_key(who->number, 'd');
  g_autofree char *folder = g_strdup_printf("%s/device-%u", who->folder, who->number);
  copies = doc_copies_open(folder, &error);
  if (!copies)
    paper_die(who, folder, error->message);
  answers = g_byte_array_new();
}

/* ---- the link ---- */

static void
connect_clone(void)
{
  static const guint8 clone[16];
  g_autoptr(GError) error = NULL;
  g_autoptr(IdentityKey) theirs = paper_key(who->number, 'm');
  g_autofree char *address =
      g_strdup_printf("10.77.%u.2:%u", who->number + 1, PAPER_CLONE_PORT + who->number);
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  int ends[2];
  options.resume_ms = 0;
  options.keepalive_ms = 30000; /* as a documents' server's client */
  options.compression = -1;
  link_ = link_dial_later((const char *const[]){address, NULL}, key, identity_key_public(theirs), clone,
                          &options, &error);
  if (!link_ || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    paper_die(who, address, error ? error->message : g_strerror(errno));
  pipe_ = ends[1];
  line = doc_line_new(copy, ends[0], &error);
  if (!line)
    paper_die(who, "the line", error->message);
  stirred = TRUE;
}

static void
leave_clone(void)
{
  const LinkCounters *counters = link_counters(link_);
  moved_before.sent += counters->bytes_sent;
  moved_before.received += counters->bytes_received;
  moved_before.messages_sent += counters->messages_sent;
  moved_before.messages_received += counters->messages_received;
  g_clear_pointer(&line, doc_line_free);
  io_close(&pipe_);
  g_clear_pointer(&link_, link_free);
}

static void
say(guint32 on, const void *data, gsize length)
{
  g_autoptr(GError) error = NULL;
  struct iovec piece = {(void *)data, length};
  if (!link_send(link_, on, &piece, 1, &error))
    paper_die(who, "the link to the clone", error->message);
}

static void
ask(DocRoomQuestion *question, Doppel__Room__Question__WhatCase what)
{
  g_autoptr(GByteArray) frame = g_byte_array_new();
  question->what_case = what;
  wire_stream_put(frame, &question->base);
  channel = channels++;
  done_at = 0;
  g_byte_array_set_size(answers, 0);
  say(channel, frame->data, frame->len);
}

static void
check_finding(const Doppel__Room__Finding *finding)
{
  if (finding->fault[0] || finding->silent > 0 || finding->number == 0 || finding->server < finding->number)
    paper_die(who, "the security check",
              finding->fault[0] ? finding->fault : "not all members have answered");
}

static void
take_answers(const LinkMessage *message)
{
  g_byte_array_append(answers, message->data, (guint)message->length);
  for (;;) {
    g_autoptr(GBytes) frame = NULL;
    g_autoptr(GError) error = NULL;
    if (wire_stream_take(answers, DOC_ROOM_FRAME_MAX, &frame, &error) == 0)
      return;
    gsize length = 0;
    const void *data = frame ? g_bytes_get_data(frame, &length) : NULL;
    g_autoptr(DocRoomAnswer) answer = frame ? doc_room_answer_take(data, length, &error) : NULL;
    if (!answer)
      paper_die(who, "an answer of the clone's", error->message);
    if (answer->what_case == DOC_ROOM_TELL(FAILED))
      paper_die(who, "the clone", answer->failed->words);
    if (answer->what_case == DOC_ROOM_TELL(FINDING))
      check_finding(answer->finding);
    if (answer->what_case == DOC_ROOM_TELL(END)) {
      channel = 0;
      done_at = clock_now_ns();
    }
  }
}

static void
work_link(void)
{
  g_autoptr(GError) error = NULL;
  if (!link_work(link_, &error))
    paper_die(who, "the link to the clone", error->message);
  for (LinkMessage *message; (message = link_take(link_));) {
    gboolean of_line = message->channel == CHANNEL_LINE;
    if (of_line && !io_write_all(pipe_, message->data, message->length))
      paper_die(who, "the line", g_strerror(errno));
    stirred |= of_line;
    if (message->channel == channel)
      take_answers(message);
    link_message_free(message);
  }
}

static void
work_line(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) shown = NULL;
  guint8 buffer[4096];
  struct pollfd fd;
  int due_ms = -1;
  doc_line_prepare(line, &fd, &due_ms);
  if (!stirred && due_ms != 0)
    return;
  stirred = FALSE;
  if (!doc_line_work(line, &shown, &error))
    paper_die(who, "the line to the clone", error->message);
  if (shown)
    paper_shown(shown);
  for (gssize got; (got = recv(pipe_, buffer, sizeof buffer, 0)) > 0;)
    say(CHANNEL_LINE, buffer, (gsize)got);
}

static void
prepare(GArray *fds, int *timeout_ms)
{
  struct pollfd own[LINK_POLL_MAX + 1];
  if (!link_)
    return;
  guint count = link_prepare(link_, own, timeout_ms);
  /* The other end of the line's socket is here: what is in it is known without asking. */
  doc_line_prepare(line, &own[count], timeout_ms);
  if (stirred)
    *timeout_ms = 0;
  g_array_append_vals(fds, own, count);
}

static void
work(void)
{
  if (!link_)
    return;
  work_link();
  work_line();
  if (!link_push(link_, NULL))
    paper_die(who, "the link to the clone", "it has ended");
}

/* ---- orders ---- */

static void
open_copy(const DocName *document)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) nothing = g_bytes_new(NULL, 0);
  DocKnown known = {.document = *document, .title = (char *)"paper", .row = nothing};
  if (!doc_copies_add(copies, &known, &error) || !(copy = doc_copy_open(copies, document, &error)))
    paper_die(who, "the copy", error->message);
  connect_clone();
}

static void
obey(const PaperOrder *order)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  const DocName *document = copy ? doc_copy_name(copy) : NULL;
  g_autoptr(IdentityKey) user = paper_key(order->value, 'u');
  switch (order->what) {
  case PAPER_OPEN:
    open_copy(&order->document);
    break;
  case PAPER_LEAVE:
    leave_clone();
    break;
  case PAPER_RETURN:
    connect_clone();
    break;
  case PAPER_CHECK:
    question.check = wire_borrow(document->bytes, sizeof document->bytes);
    ask(&question, DOC_ROOM_ASK(CHECK));
    break;
  case PAPER_REMOVE:
    change.document = wire_borrow(document->bytes, sizeof document->bytes);
    change.origin = wire_borrow(identity_key_public(user)->bytes, IDENTITY_PUBLIC_LENGTH);
    question.change = &change;
    ask(&question, DOC_ROOM_ASK(CHANGE));
    break;
  default:
    paper_die(who, "an order", "it is not for a device");
  }
}

static const OtText *
text(void)
{
  return copy ? doc_copy_text(copy) : NULL;
}

static void
edit(const OtOp *op)
{
  g_autoptr(GError) error = NULL;
  if (!doc_copy_edit(copy, op, NULL, &error))
    paper_die(who, "an edit", error->message);
  stirred = TRUE;
}

static void
look(PaperLook *look)
{
  gboolean settled = FALSE;
  look->joined = copy != NULL;
  look->done_at = done_at;
  look->settled = channel == 0 && (!copy || (doc_copy_is_settled(copy, &settled, NULL) && settled));
}

static PaperMoved
moved(void)
{
  PaperMoved sum = moved_before;
  if (!link_)
    return sum;
  const LinkCounters *counters = link_counters(link_);
  sum.sent += counters->bytes_sent;
  sum.received += counters->bytes_received;
  sum.messages_sent += counters->messages_sent;
  sum.messages_received += counters->messages_received;
  return sum;
}

const PaperPart paper_device = {
    .open = open_device,
    .prepare = prepare,
    .work = work,
    .obey = obey,
    .text = text,
    .edit = edit,
    .look = look,
    .moved = moved,
};
