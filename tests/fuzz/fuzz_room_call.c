/* Every message about documents, in frames that come in pieces: what is taken is packed and taken again as it
 * is, and what failed can be told as an error. */
#include "clonedoc/room/room_call.h"
#include "input.h"
#include "wire/message.h"

enum { MOST = 4096 };

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static gpointer
take(guint kind, const void *data, gsize length, GError **error)
{
  switch (kind) {
  case 0:
    return doc_room_question_take(data, length, error);
  case 1:
    return doc_room_answer_take(data, length, error);
  case 2:
    return doc_room_invitation_take(data, length, error);
  case 3:
    return doc_room_heads_take(data, length, error);
  case 4:
    return doc_room_peer_answer_take(data, length, error);
  default:
    return doc_room_caller_take(data, length, error);
  }
}

static void
try_failed(const Doppel__Room__Failed *failed)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *words = NULL;
  Doppel__Room__Failed again;
  demand(!doc_room_failed(failed, &error) && error);
  doc_room_failed_init(&again, error, &words);
  demand(doc_room_is_line(words, 1, DOC_ROOM_WORDS_MAX));
}

static void
try_message(guint kind, GBytes *frame)
{
  g_autoptr(GError) error = NULL;
  gsize length;
  const void *data = g_bytes_get_data(frame, &length);
  ProtobufCMessage *message = take(kind, data, length, &error);
  demand((message == NULL) == (error != NULL));
  if (!message)
    return;
  g_autoptr(GBytes) packed = wire_pack(message);
  data = g_bytes_get_data(packed, &length);
  ProtobufCMessage *again = take(kind, data, length, NULL);
  g_autoptr(GBytes) same = again ? wire_pack(again) : NULL;
  demand(!same || g_bytes_equal(packed, same)); /* fields of no known number may not come back */
  if (kind == 1 && ((const DocRoomAnswer *)message)->what_case == DOC_ROOM_TELL(FAILED))
    try_failed(((const DocRoomAnswer *)message)->failed);
  if (kind == 4 && ((const DocRoomPeerAnswer *)message)->failed)
    try_failed(((const DocRoomPeerAnswer *)message)->failed);
  protobuf_c_message_free_unpacked(message, NULL);
  if (again)
    protobuf_c_message_free_unpacked(again, NULL);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  g_autoptr(GByteArray) in = g_byte_array_new();
  guint kind = input_below(&input, 6);
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
