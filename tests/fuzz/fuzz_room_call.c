/* Every message about documents, in frames that come in pieces: what is taken is within the limits that those
 * who take it rely on, is packed and taken again as it is, and what failed can be told as an error. */
#include "base/line.h"
#include "clonedoc/room/handed.h"
#include "input.h"
#include "wire/message.h"

enum { MOST = 65536 };

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

typedef gpointer Take(const void *data, gsize length, GError **error);

static Take *const takes[] = {
    (Take *)doc_room_question_take, (Take *)doc_room_answer_take,      (Take *)doc_room_invitation_take,
    (Take *)doc_room_heads_take,    (Take *)doc_room_peer_answer_take, (Take *)doc_room_caller_take,
};

static void
try_failed(const Doppel__Room__Failed *failed)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *words = NULL;
  Doppel__Room__Failed again;
  demand(!doc_room_failed(failed, &error) && error);
  doc_room_failed_init(&again, error, &words);
  demand(line_is_plain(words, 1, DOC_ROOM_WORDS_MAX));
}

static void
look_at_question(const DocRoomQuestion *question)
{
  if (question->what_case == DOC_ROOM_ASK(CHANGE)) {
    const Doppel__Room__Change *change = question->change;
    demand(change->document.len == DOC_NAME_LENGTH && strlen(change->user) <= DOC_ROOM_USER_MAX);
    demand(change->key.len == 0 || change->key.len == IDENTITY_PUBLIC_LENGTH);
    demand(change->origin.len == 0 || change->origin.len == IDENTITY_PUBLIC_LENGTH);
  } else if (question->what_case == DOC_ROOM_ASK(OPEN)) {
    demand(question->open->document.len == DOC_NAME_LENGTH &&
           question->open->copy.len == DOC_ROOM_COPY_LENGTH);
  } else if (question->what_case == DOC_ROOM_ASK(BRING)) {
    demand(question->bring.len <= DOC_HANDED_MAX);
  } else if (question->what_case == DOC_ROOM_ASK(CREATE)) {
    demand(question->create->n_addresses >= 1 && question->create->server.len == IDENTITY_PUBLIC_LENGTH);
    demand(g_utf8_validate(question->create->title, -1, NULL));
  }
}

static void
look_at_answer(const DocRoomAnswer *answer)
{
  if (answer->what_case == DOC_ROOM_TELL(ROW)) {
    demand(answer->row->document.len == DOC_NAME_LENGTH && answer->row->n_addresses >= 1);
    demand(g_utf8_validate(answer->row->words, -1, NULL) && !strchr(answer->row->words, '\n'));
  } else if (answer->what_case == DOC_ROOM_TELL(PERSON)) {
    demand(answer->person->user.len == IDENTITY_PUBLIC_LENGTH &&
           answer->person->key.len == IDENTITY_PUBLIC_LENGTH);
  } else if (answer->what_case == DOC_ROOM_TELL(FAILED)) {
    try_failed(answer->failed);
  }
}

/* Nothing in it, at any depth, has a number of no field: what is packed of that need not be a message. */
static gboolean
is_known(const ProtobufCMessage *message)
{
  gboolean known = message->n_unknown_fields == 0;
  for (guint i = 0; known && i < message->descriptor->n_fields; i++) {
    const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
    const guint8 *at = (const guint8 *)message + field->offset;
    const guint8 *how = (const guint8 *)message + field->quantifier_offset;
    gboolean repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    if (field->type != PROTOBUF_C_TYPE_MESSAGE ||
        (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && *(const guint32 *)how != field->id))
      continue;
    ProtobufCMessage *const *parts =
        repeated ? *(ProtobufCMessage * *const *)at : (ProtobufCMessage *const *)at;
    gsize count = repeated ? *(const gsize *)how : *parts != NULL;
    for (gsize part = 0; known && part < count; part++)
      known = is_known(parts[part]);
  }
  return known;
}

static void
try_packed(guint kind, const ProtobufCMessage *message)
{
  if (!is_known(message))
    return;
  g_autoptr(GBytes) packed = wire_pack(message);
  ProtobufCMessage *again = takes[kind](g_bytes_get_data(packed, NULL), g_bytes_get_size(packed), NULL);
  demand(again != NULL);
  g_autoptr(GBytes) same = wire_pack(again);
  demand(g_bytes_equal(packed, same));
  protobuf_c_message_free_unpacked(again, NULL);
}

static void
try_message(guint kind, GBytes *frame)
{
  g_autoptr(GError) error = NULL;
  gsize length;
  const void *data = g_bytes_get_data(frame, &length);
  ProtobufCMessage *message = takes[kind](data, length, &error);
  demand((message == NULL) == (error != NULL));
  if (!message)
    return;
  try_packed(kind, message);
  if (kind == 0)
    look_at_question((const DocRoomQuestion *)message);
  if (kind == 1)
    look_at_answer((const DocRoomAnswer *)message);
  if (kind == 4 && ((const DocRoomPeerAnswer *)message)->failed)
    try_failed(((const DocRoomPeerAnswer *)message)->failed);
  protobuf_c_message_free_unpacked(message, NULL);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  g_autoptr(GByteArray) in = g_byte_array_new();
  guint kind = input_below(&input, G_N_ELEMENTS(takes));
  while (input.left > 0) {
    gsize got;
    const guint8 *bytes = input_bytes(&input, 1 + input_number(&input, 1), &got);
    GBytes *frame;
    int step;
    g_byte_array_append(in, bytes, (guint)got);
    while ((step = wire_stream_take(in, MOST, &frame, NULL)) > 0) {
      g_autoptr(GBytes) taken = frame;
      demand(g_bytes_get_size(taken) > 0 && g_bytes_get_size(taken) <= MOST);
      try_message(kind, taken);
    }
    if (step < 0)
      return 0;
  }
  return 0;
}
