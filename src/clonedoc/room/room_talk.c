/* Conversations: what comes is taken at once, what is answered leaves when it is kept. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "clonedoc/room/room_struct.h"

#define READ_BYTES   (256u << 10) /* in one step */
#define QUESTION_MS  30000        /* until there is a question, and until an answer is read */
#define STRANGER_MAX (64u << 10)  /* bytes that who is no member of anything may ask with, in vain */
#define PROGRESS_MS  500
#define VERIFY_MS    10000 /* for who is asked */
#define PACE_MOST_MS 1000u

void
room_talk_free(RoomTalk *talk)
{
  io_close(&talk->fd);
  g_clear_pointer(&talk->check, room_check_free);
  g_free(talk->name);
  g_byte_array_unref(talk->in);
  g_byte_array_unref(talk->held);
  g_byte_array_unref(talk->out);
  g_free(talk);
}

void
doc_room_converse(DocRoom *room, int fd, DocRoomService service, const IdentityPublic *user, const char *name)
{
  RoomTalk *talk = g_new0(RoomTalk, 1);
  talk->room = room;
  talk->fd = fd;
  talk->service = service;
  if (user)
    talk->user = *user;
  talk->frame_max = service == DOC_ROOM_DEVICE                             ? DOC_ROOM_FRAME_MAX
                    : service == DOC_ROOM_HEADS && !room_knows(room, user) ? STRANGER_MAX
                                                                           : DOC_ROOM_PEER_MAX;
  talk->name = g_strdup(name);
  talk->in = g_byte_array_new();
  talk->held = g_byte_array_new();
  talk->out = g_byte_array_new();
  talk->deadline = clock_now_ns() + MS(QUESTION_MS);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  g_ptr_array_add(room->talks, talk);
  talk->dead = room->talks->len > ROOM_TALKS_MAX;
}

static void
end_verify(RoomTalk *talk)
{
  talk->verify_at = 0;
  g_clear_pointer(&talk->check, room_check_free);
}

void
room_talks_forget(DocRoom *room, const RoomDocument *document, const RoomCopy *copy)
{
  for (guint i = 0; i < room->talks->len; i++) {
    RoomTalk *talk = room->talks->pdata[i];
    if (talk->document != document || (copy && talk->copy != copy))
      continue;
    talk->document = NULL;
    talk->copy = NULL;
    end_verify(talk);
    talk->hands = FALSE;
    talk->ending = TRUE;
  }
}

/* ---- answers ---- */

void
room_tell(RoomTalk *talk, DocRoomAnswer *answer, Doppel__Room__Answer__WhatCase what)
{
  answer->what_case = what;
  wire_stream_put(talk->held, &answer->base);
}

void
room_tell_end(RoomTalk *talk)
{
  DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
  answer.end = TRUE;
  room_tell(talk, &answer, DOC_ROOM_TELL(END));
  talk->ending = TRUE;
}

void
room_tell_failed(RoomTalk *talk, const GError *error)
{
  g_autofree char *words = NULL;
  Doppel__Room__Failed failed;
  doc_room_failed_init(&failed, error, &words);
  if (talk->service == DOC_ROOM_DEVICE) {
    DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
    answer.failed = &failed;
    room_tell(talk, &answer, DOC_ROOM_TELL(FAILED));
  } else {
    DocRoomPeerAnswer answer = DOPPEL__ROOM__PEER_ANSWER__INIT;
    answer.failed = &failed;
    wire_stream_put(talk->held, &answer.base);
  }
  talk->ending = TRUE;
}

/* ---- a copy ---- */

static void
tell_row(RoomTalk *talk)
{
  const RoomDocument *document = talk->document;
  talk->told_version = document->version;
  talk->told_role = doc_document_role(document->doc);
  talk->told_settled = talk->room->options.beside && doc_document_is_settled(document->doc);
  room_tell_row(talk, document);
}

static gboolean
open_copy(RoomTalk *talk, RoomDocument *document, const Doppel__Room__Open *open, GError **error)
{
  if (!document->doc)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "accept the invitation to this document first");
  RoomCopy *copy = room_copy_find(document, open->copy.data);
  if (!copy && open->begun)
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                            "the clone does not know this copy any more: it has to be begun anew");
  if (copy && !open->begun) {
    room_talks_forget(talk->room, document, copy);
    g_ptr_array_remove(document->copies, copy);
    copy = NULL;
  }
  if (!copy)
    copy = room_copy_add(document, open->copy.data);
  if (!copy)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "too many copies of this document are open");
  room_talks_forget(talk->room, document, copy); /* an earlier link to the same copy */
  copy->used = g_get_real_time() / G_USEC_PER_SEC;
  copy->dirty = TRUE;
  talk->document = document;
  talk->copy = copy;
  talk->pace_ms = MIN(open->pace_ms, PACE_MOST_MS);
  doc_pair_begin(copy->pair);
  tell_row(talk);
  return TRUE;
}

/* What the member may not write, or the document cannot hold, is taken back from the copy. */
static gboolean
edit(RoomTalk *talk, const OtOp *op, GError **error)
{
  RoomDocument *document = talk->document;
  g_autoptr(GError) why = NULL;
  g_autoptr(OtOp) back = ot_op_invert(op, doc_document_text(document->doc));
  talk->copy->dirty = TRUE;
  if (!doc_document_edit(document->doc, op, &why)) {
    document->version++;
    return doc_pair_edit(talk->copy->pair, back, error);
  }
  document->own_dirty = TRUE;
  document->changed = g_get_real_time() / G_USEC_PER_SEC;
  room_copies_edit(document, op, talk->copy);
  return TRUE;
}

static gboolean
take_pair(RoomTalk *talk, const ProtobufCBinaryData *message, GError **error)
{
  g_autoptr(OtOp) shown = NULL;
  if (!talk->copy)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "there is no open copy");
  if (!doc_pair_take(talk->copy->pair, message->data, message->len, &shown, error))
    return FALSE;
  talk->copy->dirty = TRUE;
  return !shown || edit(talk, shown, error);
}

/* ---- questions ---- */

static const void *
document_of(const DocRoomQuestion *question)
{
  switch (question->what_case) {
  case DOC_ROOM_ASK(ACCEPT):
    return question->accept.data;
  case DOC_ROOM_ASK(CHANGE):
    return question->change->document.data;
  case DOC_ROOM_ASK(MEMBERS):
    return question->members.data;
  case DOC_ROOM_ASK(LOG):
    return question->log->document.data;
  case DOC_ROOM_ASK(VERIFY):
    return question->verify.data;
  case DOC_ROOM_ASK(CHECK):
    return question->check.data;
  case DOC_ROOM_ASK(LEAVE):
    return question->leave->document.data;
  case DOC_ROOM_ASK(RECOVER):
    return question->recover->document.data;
  case DOC_ROOM_ASK(OPEN):
    return question->open->document.data;
  default:
    return NULL;
  }
}

static void
begin_verify(RoomTalk *talk, RoomDocument *document)
{
  talk->document = document;
  talk->verify_at = clock_now_ns();
  talk->deadline = talk->verify_at + MS(VERIFY_MS);
  if (!talk->brief && document->doc && document->stage != ROOM_STAGE(RECOVERING))
    talk->check = room_check_new(document);
  talk->told_at = talk->verify_at;
  room_peers_soon(document);
  if (room_follows(document) && document->ask == 0 && document->server->client)
    document->ask = doc_client_head(document->server->client, &document->name);
}

/* An answer of rows; FALSE: it failed. */
static gboolean
answer(RoomTalk *talk, RoomDocument *document, const DocRoomQuestion *question, GError **error)
{
  const Doppel__Room__Recover *recover = question->recover;
  const IdentityPublic *key = NULL;
  switch (question->what_case) {
  case DOC_ROOM_ASK(LIST):
    for (guint i = 0; i < talk->room->documents->len; i++)
      if (!((const RoomDocument *)talk->room->documents->pdata[i])->left)
        room_tell_row(talk, talk->room->documents->pdata[i]);
    return TRUE;
  case DOC_ROOM_ASK(CREATE):
    document = room_create(talk->room, question->create, error);
    break;
  case DOC_ROOM_ASK(ACCEPT):
    if (!room_accept(document, error))
      return FALSE;
    break;
  case DOC_ROOM_ASK(CHANGE):
    if (!room_change(document, question->change, error))
      return FALSE;
    break;
  case DOC_ROOM_ASK(MEMBERS):
    room_tell_people(talk, document);
    return TRUE;
  case DOC_ROOM_ASK(SELF):
    room_tell_self(talk);
    return TRUE;
  case DOC_ROOM_ASK(BRING):
    document = room_bring(talk->room, &question->bring, error);
    break;
  case DOC_ROOM_ASK(LOG):
    return room_tell_log(talk, document, question->log, error);
  case DOC_ROOM_ASK(LEAVE):
    return room_leave(document, question->leave->unsent, error);
  case DOC_ROOM_ASK(RECOVER):
    key = recover->server.len > 0 ? (const IdentityPublic *)recover->server.data : NULL;
    if (!room_recover_begin(document, recover->addresses, recover->n_addresses, key, error))
      return FALSE;
    break;
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "that is no question");
  }
  if (document)
    room_tell_row(talk, document);
  return document != NULL;
}

static gboolean
take_question(RoomTalk *talk, const DocRoomQuestion *question, GError **error)
{
  const void *name = document_of(question);
  RoomDocument *document = name ? room_find(talk->room, name) : NULL;
  if (name && !document)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no such document here");
  if (question->what_case == DOC_ROOM_ASK(OPEN))
    return open_copy(talk, document, question->open, error);
  if (question->what_case == DOC_ROOM_ASK(VERIFY) || question->what_case == DOC_ROOM_ASK(CHECK)) {
    talk->brief = question->what_case == DOC_ROOM_ASK(CHECK);
    begin_verify(talk, document);
    return TRUE;
  }
  if (question->what_case == DOC_ROOM_ASK(STAY)) {
    room_stay(talk);
    return TRUE;
  }
  if (question->what_case == DOC_ROOM_ASK(CHANGE) && question->change->by_hand)
    return room_hand(talk, document, question->change, error);
  if (!answer(talk, document, question, error))
    return FALSE;
  room_tell_end(talk);
  return TRUE;
}

static gboolean
take_device_frame(RoomTalk *talk, const void *data, gsize length, GError **error)
{
  g_autoptr(DocRoomQuestion) question = doc_room_question_take(data, length, error);
  if (!question)
    return FALSE;
  if (question->what_case == DOC_ROOM_ASK(PAIR))
    return take_pair(talk, &question->pair, error);
  if (talk->asked)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a second question came");
  talk->asked = TRUE;
  return take_question(talk, question, error);
}

static gboolean
take_peer_frame(RoomTalk *talk, const void *data, gsize length, GError **error)
{
  if (talk->service == DOC_ROOM_HEADS) {
    g_autoptr(DocRoomHeads) heads = doc_room_heads_take(data, length, error);
    talk->ending = heads && room_answer_heads(talk, heads, error);
    return talk->ending;
  }
  g_autoptr(DocRoomInvitation) invitation = doc_room_invitation_take(data, length, error);
  if (!invitation || !room_take_invitation(talk->room, &talk->user, talk->name, invitation, error))
    return FALSE;
  DocRoomPeerAnswer taken = DOPPEL__ROOM__PEER_ANSWER__INIT;
  taken.taken = TRUE;
  wire_stream_put(talk->held, &taken.base);
  talk->ending = TRUE;
  return TRUE;
}

static void
take_frames(RoomTalk *talk)
{
  while (!talk->ending && talk->held->len < ROOM_OUT_MAX) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) frame = NULL;
    int step = wire_stream_take(talk->in, talk->frame_max, &frame, &error);
    if (step == 0)
      return;
    gsize length = 0;
    const void *data = frame ? g_bytes_get_data(frame, &length) : NULL;
    gboolean good =
        step > 0 && (talk->service == DOC_ROOM_DEVICE ? take_device_frame(talk, data, length, &error)
                                                      : take_peer_frame(talk, data, length, &error));
    if (!good) {
      room_tell_failed(talk, error);
      talk->document = NULL;
      talk->copy = NULL;
      end_verify(talk);
    }
  }
}

/* ---- reading and writing ---- */

static void
read_some(RoomTalk *talk)
{
  if (talk->ending || talk->ended || talk->out->len > ROOM_OUT_MAX)
    return;
  guint8 buffer[64 << 10];
  for (gsize sum = 0; sum < READ_BYTES;) {
    gssize got = recv(talk->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got > 0)
      g_byte_array_append(talk->in, buffer, (guint)got);
    else if (got == 0)
      talk->ended = TRUE;
    else if (errno != EAGAIN && errno != EWOULDBLOCK)
      talk->dead = TRUE;
    if (got <= 0)
      return;
    sum += (gsize)got;
  }
}

static void
write_some(RoomTalk *talk)
{
  gsize done = 0;
  while (done < talk->out->len) {
    gssize sent = send(talk->fd, talk->out->data + done, talk->out->len - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
      talk->dead = TRUE;
    if (sent <= 0)
      break;
    done += (gsize)sent;
  }
  if (done > 0)
    g_byte_array_remove_range(talk->out, 0, (guint)done);
  if (done > 0)
    talk->deadline = clock_now_ns() + MS(QUESTION_MS);
}

gboolean
room_talks_work(DocRoom *room)
{
  for (guint i = 0; i < room->talks->len; i++) {
    RoomTalk *talk = room->talks->pdata[i];
    if (!talk->dead)
      read_some(talk);
    /* What was said before the other end left counts. */
    take_frames(talk);
  }
  return FALSE;
}

/* ---- what is said without being asked ---- */

static void
say_pair(RoomTalk *talk)
{
  while (talk->out->len + talk->held->len < ROOM_OUT_MAX && clock_now_ns() >= talk->pair_at) {
    g_autoptr(GBytes) next = doc_pair_next(talk->copy->pair);
    if (!next) {
      talk->pair_at = 0;
      return;
    }
    DocRoomAnswer pair = DOPPEL__ROOM__ANSWER__INIT;
    gsize length;
    pair.pair.data = (guint8 *)g_bytes_get_data(next, &length);
    pair.pair.len = length;
    room_tell(talk, &pair, DOC_ROOM_TELL(PAIR));
    talk->copy->dirty = TRUE;
    if (doc_pair_is_open(talk->copy->pair))
      talk->pair_at = clock_now_ns() + MS(talk->pace_ms);
  }
}

static void
tell_said(RoomTalk *talk)
{
  const RoomDocument *document = talk->document;
  gboolean joined = document->stage != ROOM_STAGE(JOINING);
  if ((talk->said && (talk->said_joined || !joined)) || !doc_pair_has_said_all(talk->copy->pair) ||
      (!joined && !room_is_vain(document)))
    return;
  DocRoomAnswer said = DOPPEL__ROOM__ANSWER__INIT;
  if (!joined)
    tell_row(talk); /* why not */
  talk->said = TRUE;
  said.said = talk->said_joined = joined;
  room_tell(talk, &said, DOC_ROOM_TELL(SAID));
}

static void
drive_copy(RoomTalk *talk)
{
  DocDocument *doc = talk->document->doc;
  gboolean settled = talk->room->options.beside && doc_document_is_settled(doc);
  if (talk->told_version != talk->document->version || talk->told_role != doc_document_role(doc) ||
      talk->told_settled != settled)
    tell_row(talk);
  say_pair(talk);
  tell_said(talk);
}

static void
tell_progress(RoomTalk *talk)
{
  gint64 now = clock_now_ns();
  if (now < talk->told_at + MS(PROGRESS_MS) || talk->out->len + talk->held->len > 0)
    return;
  Doppel__Room__Checked checked = DOPPEL__ROOM__CHECKED__INIT;
  DocRoomAnswer progress = DOPPEL__ROOM__ANSWER__INIT;
  room_check_progress(talk->check, &checked.number, &checked.of);
  progress.checked = &checked;
  room_tell(talk, &progress, DOC_ROOM_TELL(CHECKED));
  talk->told_at = now;
}

static void
drive_verify(RoomTalk *talk)
{
  const RoomDocument *document = talk->document;
  gboolean asked = room_peers_asked(document, talk->verify_at) && document->ask == 0;
  if (talk->check && !talk->checked) {
    talk->checked = room_check_step(talk->check);
    talk->room->more = TRUE;
    tell_progress(talk);
  }
  if ((!asked && clock_now_ns() < talk->deadline) || (talk->check && !talk->checked))
    return;
  if (!talk->brief)
    room_tell_people(talk, document);
  room_tell_finding(talk, document);
  end_verify(talk);
  talk->document = NULL;
  talk->deadline = clock_now_ns() + MS(QUESTION_MS);
  room_tell_end(talk);
}

void
room_talks_drive(DocRoom *room)
{
  for (guint i = 0; i < room->talks->len; i++) {
    RoomTalk *talk = room->talks->pdata[i];
    if (talk->copy && !talk->dead)
      drive_copy(talk);
    else if (talk->verify_at > 0 && !talk->dead)
      drive_verify(talk);
    else if ((talk->stay || talk->hands) && !talk->dead && !talk->ending)
      room_wait_drive(talk);
  }
}

void
room_talks_release(DocRoom *room)
{
  for (guint i = room->talks->len; i > 0; i--) {
    RoomTalk *talk = room->talks->pdata[i - 1];
    g_byte_array_append(talk->out, talk->held->data, talk->held->len);
    g_byte_array_set_size(talk->held, 0);
    if (talk->out->len > 0 && !talk->dead)
      write_some(talk);
    /* Who has a copy open, or stays, may be silent for as long as they like, and have to read what they are
     * told. */
    if ((talk->copy || talk->stay) && talk->out->len == 0)
      talk->deadline = G_MAXINT64;
    else if (talk->deadline == G_MAXINT64)
      talk->deadline = clock_now_ns() + MS(QUESTION_MS);
    gboolean over = talk->ending || (talk->ended && talk->verify_at == 0 && !talk->stay);
    if (talk->dead || (over && (talk->out->len == 0 || talk->copy)) ||
        (talk->verify_at == 0 && clock_now_ns() > talk->deadline))
      g_ptr_array_remove_index(room->talks, i - 1);
  }
}
