/* A room of documents among a device's service, other members' clones and servers, who say anything in any
 * order. Nobody but a server makes it believe a fault, what it says can be taken, and what it keeps it can
 * begin with again. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "room_bed.h"
#include "wire/message.h"

enum { TALKS = 6, STEPS = 60 };

typedef struct {
  int fd; /* -1: none */
  DocRoomService service;
  gboolean opened; /* the pair goes with it */
  GByteArray *in;
} Talk;

static Bed *bed;
static Talk talks[TALKS];
static DocPair *pair; /* of the talk that opened the copy */
static OtText *text;
static gboolean forked; /* somebody has shown what the server has signed twice, or it lies */

static void
close_talk(Talk *talk)
{
  if (talk->fd < 0)
    return;
  close(talk->fd);
  talk->fd = -1;
  g_byte_array_set_size(talk->in, 0);
  if (talk->opened) {
    g_clear_pointer(&pair, doc_pair_free);
    g_clear_pointer(&text, ot_text_free);
  }
  talk->opened = FALSE;
}

static Talk *
open_talk(Input *input, DocRoomService service)
{
  Talk *talk = &talks[input_below(input, TALKS)];
  close_talk(talk);
  talk->service = service;
  talk->fd = bed_converse(service, input_below(input, 4) == 3 ? bed->eve : bed->bob);
  return talk;
}

static void
send_bytes(const Talk *talk, const void *bytes, gsize length)
{
  gssize sent = length > 0 ? send(talk->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
  (void)sent; /* what the room does not read is lost with the link */
}

static void
say(const Talk *talk, const ProtobufCMessage *message)
{
  g_autoptr(GByteArray) out = g_byte_array_new();
  wire_stream_put(out, message);
  send_bytes(talk, out->data, out->len);
}

/* ---- what it says ---- */

static void
heed(Talk *talk, const DocRoomAnswer *answer)
{
  g_autoptr(OtOp) shown = NULL;
  if (answer->what_case != DOC_ROOM_TELL(PAIR))
    return;
  bed_demand(talk->opened);
  if (doc_pair_take(pair, answer->pair.data, answer->pair.len, &shown, NULL) && shown)
    bed_demand(ot_op_apply(shown, text, NULL));
}

static void
hear(Talk *talk)
{
  guint8 buffer[16384];
  gssize got;
  GBytes *frame;
  gsize most = talk->service == DOC_ROOM_DEVICE ? DOC_ROOM_FRAME_MAX : DOC_ROOM_PEER_MAX;
  while ((got = recv(talk->fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
    g_byte_array_append(talk->in, buffer, (guint)got);
  for (int step; (step = wire_stream_take(talk->in, most, &frame, NULL)) != 0;) {
    bed_demand(step > 0);
    g_autoptr(GBytes) taken = frame;
    gsize length;
    const void *data = g_bytes_get_data(taken, &length);
    g_autoptr(DocRoomAnswer) answer =
        talk->service == DOC_ROOM_DEVICE ? doc_room_answer_take(data, length, NULL) : NULL;
    g_autoptr(DocRoomPeerAnswer) peers =
        talk->service == DOC_ROOM_DEVICE ? NULL : doc_room_peer_answer_take(data, length, NULL);
    bed_demand(answer || peers);
    if (answer)
      heed(talk, answer);
  }
}

static void
hear_all(void)
{
  for (guint i = 0; i < TALKS; i++)
    if (talks[i].fd >= 0)
      hear(&talks[i]);
}

/* ---- a device ---- */

static ProtobufCBinaryData
some_bytes(Input *input)
{
  gsize length;
  const guint8 *bytes = input_blob(input, &length);
  return wire_borrow(bytes, length);
}

static ProtobufCBinaryData
some_name(Input *input)
{
  guint which = input_below(input, BED_DOCUMENTS + 2);
  if (which < BED_DOCUMENTS)
    return wire_borrow(bed->shelves[which].name.bytes, DOC_NAME_LENGTH);
  guint count = bed->room->documents->len;
  if (which == BED_DOCUMENTS && count > 0)
    return wire_borrow(((RoomDocument *)bed->room->documents->pdata[input_below(input, count)])->name.bytes,
                       DOC_NAME_LENGTH);
  return some_bytes(input);
}

static ProtobufCBinaryData
some_key(Input *input)
{
  const IdentityKey *keys[] = {bed->bob, bed->ann, bed->eve, bed->server};
  guint which = input_below(input, G_N_ELEMENTS(keys) + 2);
  if (which < G_N_ELEMENTS(keys))
    return wire_borrow(identity_key_public(keys[which])->bytes, IDENTITY_PUBLIC_LENGTH);
  return which == G_N_ELEMENTS(keys) ? (ProtobufCBinaryData){0} : some_bytes(input);
}

static char *
some_words(Input *input, const char *usual)
{
  gsize length;
  if (input_below(input, 4) < 3)
    return g_strdup(usual);
  const guint8 *bytes = input_blob(input, &length);
  return g_strndup((const char *)bytes, length);
}

static void
ask_change(const Talk *talk, DocRoomQuestion *question, Input *input)
{
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  g_autofree char *user = some_words(input, "bob"), *name = some_words(input, "");
  change.document = some_name(input);
  change.user = user;
  change.name = name;
  change.role = (Doppel__Room__Role)input_below(input, 5);
  change.from_now = input_below(input, 2);
  change.origin = some_key(input);
  change.key = some_key(input);
  question->change = &change;
  say(talk, &question->base);
}

static void
ask_elsewhere(const Talk *talk, DocRoomQuestion *question, Input *input)
{
  Doppel__Room__Create create = DOPPEL__ROOM__CREATE__INIT;
  Doppel__Room__Recover recover = DOPPEL__ROOM__RECOVER__INIT;
  g_autofree char *title = some_words(input, "other"), *address = some_words(input, "host:1");
  create.title = title;
  create.addresses = recover.addresses = &address;
  create.n_addresses = 1;
  create.server = wire_borrow(identity_key_public(bed->server)->bytes, IDENTITY_PUBLIC_LENGTH);
  recover.n_addresses = input_below(input, 2);
  recover.document = some_name(input);
  if (recover.n_addresses > 0)
    recover.server = some_key(input);
  question->create = &create;
  if (question->what_case == DOC_ROOM_ASK(RECOVER))
    question->recover = &recover;
  say(talk, &question->base);
}

static void
ask_open(Talk *talk, DocRoomQuestion *question, Input *input)
{
  Doppel__Room__Open open = DOPPEL__ROOM__OPEN__INIT;
  guint8 copy[DOC_ROOM_COPY_LENGTH] = {(guint8)input_below(input, 12)};
  for (guint i = 0; i < TALKS; i++)
    if (talks[i].opened)
      close_talk(&talks[i]);
  open.document = some_name(input);
  open.copy = wire_borrow(copy, sizeof copy);
  open.begun = input_below(input, 3) == 2;
  question->open = &open;
  pair = doc_pair_new(DOC_PAIR_DEVICE);
  text = ot_text_new();
  talk->opened = TRUE;
  doc_pair_begin(pair);
  say(talk, &question->base);
}

static void
ask(Input *input)
{
  static const Doppel__Room__Question__WhatCase kinds[] = {
      DOC_ROOM_ASK(OPEN),   DOC_ROOM_ASK(LIST),    DOC_ROOM_ASK(CREATE), DOC_ROOM_ASK(ACCEPT),
      DOC_ROOM_ASK(CHANGE), DOC_ROOM_ASK(MEMBERS), DOC_ROOM_ASK(LOG),    DOC_ROOM_ASK(VERIFY),
      DOC_ROOM_ASK(LEAVE),  DOC_ROOM_ASK(RECOVER), DOC_ROOM_ASK(PAIR)};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Range range = DOPPEL__ROOM__RANGE__INIT;
  Doppel__Room__Leave leave = DOPPEL__ROOM__LEAVE__INIT;
  Talk *talk = open_talk(input, DOC_ROOM_DEVICE);
  question.what_case = kinds[input_below(input, G_N_ELEMENTS(kinds))];
  switch (question.what_case) {
  case DOC_ROOM_ASK(OPEN):
    ask_open(talk, &question, input);
    return;
  case DOC_ROOM_ASK(CREATE):
  case DOC_ROOM_ASK(RECOVER):
    ask_elsewhere(talk, &question, input);
    return;
  case DOC_ROOM_ASK(CHANGE):
    ask_change(talk, &question, input);
    return;
  case DOC_ROOM_ASK(LOG):
    range.document = some_name(input);
    range.from = input_below(input, 8) < 7 ? input_below(input, 8) : input_number(input, 8);
    range.count = input_below(input, 8) < 7 ? input_below(input, 8) : (guint32)input_number(input, 4);
    question.log = &range;
    break;
  case DOC_ROOM_ASK(LEAVE):
    leave.document = some_name(input);
    leave.unsent = input_below(input, 2);
    question.leave = &leave;
    break;
  case DOC_ROOM_ASK(LIST):
    question.list = TRUE;
    break;
  case DOC_ROOM_ASK(PAIR):
    question.pair = some_bytes(input);
    break;
  default: /* a document's name */
    question.accept = some_name(input);
  }
  say(talk, &question.base);
}

static Talk *
opened(void)
{
  for (guint i = 0; i < TALKS; i++)
    if (talks[i].opened)
      return &talks[i];
  return NULL;
}

static void
say_pair(const Talk *talk, ProtobufCBinaryData message)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.what_case = DOC_ROOM_ASK(PAIR);
  question.pair = message;
  say(talk, &question.base);
}

static void
type(Input *input)
{
  const Talk *talk = opened();
  if (!talk)
    return;
  gsize length = ot_text_length(text), at = input_below(input, 32), deleted = input_below(input, 4);
  at = MIN(at, length);
  deleted = MIN(deleted, length - at);
  g_autoptr(OtOp) op = ot_op_new_edit(at, deleted, "typed", input_below(input, 6));
  bed_demand(doc_pair_edit(pair, op, NULL) && ot_op_apply(op, text, NULL));
  for (GBytes *next; (next = doc_pair_next(pair)); g_bytes_unref(next))
    say_pair(talk, wire_borrow_bytes(next));
}

/* The device's end, with one of its bytes changed; or anything. */
static void
mistype(Input *input)
{
  const Talk *talk = opened();
  if (!talk)
    return;
  g_autoptr(GBytes) next = input_below(input, 2) ? doc_pair_next(pair) : NULL;
  if (!next) {
    say_pair(talk, some_bytes(input));
    return;
  }
  gsize length;
  g_autofree guint8 *bytes = g_memdup2(g_bytes_get_data(next, NULL), g_bytes_get_size(next));
  length = g_bytes_get_size(next);
  bytes[input_number(input, 2) % length] = (guint8)input_number(input, 1);
  say_pair(talk, wire_borrow(bytes, length));
}

/* ---- other members ---- */

static ProtobufCBinaryData
some_head(Input *input)
{
  guint which = input_below(input, 5);
  const BedShelf *shelf = &bed->shelves[input_below(input, BED_DOCUMENTS)];
  if (which < 3 && shelf->heads[which]) {
    forked |= which == 1;
    return wire_borrow_bytes(shelf->heads[which]);
  }
  return which == 3 ? (ProtobufCBinaryData){0} : some_bytes(input);
}

static ProtobufCBinaryData
some_proof(Input *input)
{
  guint which = input_below(input, 6);
  const BedShelf *shelf = &bed->shelves[input_below(input, BED_DOCUMENTS)];
  if (which == 5 && shelf->proof) {
    forked = TRUE;
    return wire_borrow_bytes(shelf->proof);
  }
  return which == 4 ? some_bytes(input) : (ProtobufCBinaryData){0};
}

static gsize
some_heads(Input *input, Doppel__Room__Head *heads, Doppel__Room__Head **of_heads)
{
  gsize count = 1 + input_below(input, 4);
  for (gsize i = 0; i < count; i++) {
    heads[i] = (Doppel__Room__Head)DOPPEL__ROOM__HEAD__INIT;
    heads[i].document = some_name(input);
    heads[i].head = some_head(input);
    heads[i].proof = some_proof(input);
    of_heads[i] = &heads[i];
  }
  return count;
}

static void
tell_heads(Input *input)
{
  Doppel__Room__Head heads[4], *of_heads[4];
  DocRoomHeads message = DOPPEL__ROOM__HEADS__INIT;
  const Talk *talk = open_talk(input, DOC_ROOM_HEADS);
  message.n_heads = some_heads(input, heads, of_heads);
  message.heads = of_heads;
  say(talk, &message.base);
}

static void
tell_invitation(Input *input)
{
  DocRoomInvitation invitation;
  char *address;
  const Talk *talk = open_talk(input, DOC_ROOM_INVITE);
  bed_invitation(&invitation, &address);
  g_autofree char *title = some_words(input, invitation.title), *where = some_words(input, address);
  invitation.title = title;
  address = where;
  switch (input_below(input, 6)) {
  case 0:
    invitation.document = some_name(input);
    break;
  case 1:
    invitation.entry = some_bytes(input);
    break;
  case 2:
    invitation.server = some_key(input);
    break;
  case 3:
    invitation.number = input_number(input, 1);
    invitation.start = input_number(input, 1);
    invitation.digest = some_name(input);
    break;
  default:
    break;
  }
  say(talk, &invitation.base);
}

/* What the room has to tell others is answered. */
static void
carry(Input *input)
{
  g_autoptr(DocErrand) errand = doc_room_next_errand(bed->room);
  Doppel__Room__Head heads[4], *of_heads[4];
  DocRoomPeerAnswer message = DOPPEL__ROOM__PEER_ANSWER__INIT;
  gsize length;
  if (!errand)
    return;
  const void *said = g_bytes_get_data(errand->message, &length);
  if (g_str_equal(errand->service, "doc-heads")) {
    g_autoptr(DocRoomHeads) told = doc_room_heads_take(said, length, NULL);
    bed_demand(told != NULL);
  } else {
    g_autoptr(DocRoomInvitation) told = doc_room_invitation_take(said, length, NULL);
    bed_demand(told != NULL);
  }
  g_autoptr(GError) away = g_error_new_literal(DOPPEL_ERROR, DOPPEL_ERROR_GONE, "their clone is away");
  guint which = input_below(input, 4);
  message.taken = TRUE;
  if (which == 0)
    message.n_heads = some_heads(input, heads, of_heads);
  message.heads = of_heads;
  ProtobufCBinaryData bytes = which == 1 ? some_bytes(input) : (ProtobufCBinaryData){0};
  g_autoptr(GBytes) answer = which == 1   ? g_bytes_new(bytes.data, bytes.len)
                             : which == 2 ? NULL
                                          : wire_pack(&message.base);
  doc_room_errand_done(bed->room, errand->id, answer, answer ? NULL : away);
}

/* ---- */

static void
babble(Input *input)
{
  const Talk *talk = &talks[input_below(input, TALKS)];
  if (talk->fd < 0 || input_below(input, 2))
    talk = open_talk(input, (DocRoomService)input_below(input, 3));
  ProtobufCBinaryData bytes = some_bytes(input);
  guint32 prefix = GUINT32_TO_BE((guint32)bytes.len);
  if (input_below(input, 2))
    send_bytes(talk, &prefix, sizeof prefix);
  send_bytes(talk, bytes.data, bytes.len);
}

static void
restart(void)
{
  for (guint i = 0; i < TALKS; i++)
    close_talk(&talks[i]);
  bed_restart();
}

static void
step(Input *input)
{
  switch (input_below(input, 16)) {
  case 0:
  case 1:
    ask(input);
    break;
  case 2:
    type(input);
    break;
  case 3:
    mistype(input);
    break;
  case 4:
    tell_heads(input);
    break;
  case 5:
    tell_invitation(input);
    break;
  case 6:
    carry(input);
    break;
  case 7:
    babble(input);
    break;
  case 8:
    bed_bob_writes();
    break;
  case 9:
    bed_serve(NULL);
    break;
  case 10:
    forked = TRUE;
    bed_serve(input);
    break;
  case 11:
    restart();
    break;
  case 12:
    close_talk(&talks[input_below(input, TALKS)]);
    break;
  default:
    bed_work();
    hear_all();
  }
}

static void
check(void)
{
  for (guint i = 0; !forked && i < bed->room->documents->len; i++) {
    const RoomDocument *document = bed->room->documents->pdata[i];
    bed_demand(room_fault(document) == DOC_FAULT_NONE ||
               doc_name_equal(&document->name, &bed->shelves[BED_STOPPED].name));
  }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  bed = bed_begin();
  forked = FALSE;
  for (guint i = 0; i < TALKS; i++)
    talks[i] = (Talk){-1, DOC_ROOM_DEVICE, FALSE, g_byte_array_new()};
  for (guint i = 0; i < STEPS && input.left > 0; i++)
    step(&input);
  bed_work();
  hear_all();
  check();
  restart();
  for (guint i = 0; i < TALKS; i++)
    g_byte_array_unref(talks[i].in);
  bed_end();
  return 0;
}
