#include "clonedoc/server/call.h"

#include <string.h>

#include "base/error.h"
#include "wire/message.h"
#include "wire/unpack.h"

#define LENGTH_BYTES 4u /* before each entry */

static const char *const status_names[] = {
    "ok", "malformed", "no such document", "not allowed", "refused", "busy", "full", "failed",
};

const char *
doc_status_name(DocStatus status)
{
  return status_names[status];
}

void
doc_call_free(DocCall *call)
{
  if (!call)
    return;
  g_clear_pointer(&call->entry, g_bytes_unref);
  g_free(call);
}

GBytes *
doc_call_encode(const DocCall *call)
{
  Doppel__Wire__DocCall wire = DOPPEL__WIRE__DOC_CALL__INIT;
  Doppel__Wire__DocRange range = DOPPEL__WIRE__DOC_RANGE__INIT;
  range.from = call->from;
  range.count = call->count;
  wire.id = call->id;
  wire.document = wire_borrow(call->document.bytes, sizeof call->document.bytes);
  wire.what_case = call->what;
  if (call->what == DOC_WHAT(APPEND))
    wire.append = wire_borrow_bytes(call->entry);
  else if (call->what == DOC_WHAT(READ))
    wire.read = &range;
  else if (call->what == DOC_WHAT(FOLLOW))
    wire.follow = &range;
  else if (call->what == DOC_WHAT(HEAD))
    wire.head = TRUE;
  else
    wire.end = call->ends;
  return wire_pack(&wire.base);
}

static gboolean
take_range(DocCall *call, const Doppel__Wire__DocRange *range)
{
  call->from = range->from;
  call->count = range->count;
  return range->from > 0 && range->count <= (call->what == DOC_WHAT(READ) ? DOC_ENTRIES_MAX : 0);
}

static gboolean
take_call(DocCall *call, const Doppel__Wire__DocCall *wire)
{
  call->id = wire->id;
  call->what = wire->what_case;
  if (wire->id == 0 || !wire_take(&wire->document, call->document.bytes, sizeof call->document.bytes))
    return FALSE;
  switch (wire->what_case) {
  case DOC_WHAT(APPEND):
    call->entry = g_bytes_new(wire->append.data, wire->append.len);
    return wire->append.len > 0 && wire->append.len <= DOC_ENVELOPE_MAX;
  case DOC_WHAT(READ):
    return take_range(call, wire->read);
  case DOC_WHAT(FOLLOW):
    return take_range(call, wire->follow);
  case DOC_WHAT(HEAD):
    return wire->head;
  case DOC_WHAT(END):
    call->ends = wire->end;
    return wire->end > 0;
  default:
    return FALSE;
  }
}

DocCall *
doc_call_decode(const void *data, gsize length, GError **error)
{
  g_autoptr(DocCall) call = g_new0(DocCall, 1);
  Doppel__Wire__DocCall *wire =
      length <= DOC_CALL_MAX ? wire_unpack(&doppel__wire__doc_call__descriptor, data, length) : NULL;
  gboolean taken = wire && take_call(call, wire);
  if (wire)
    doppel__wire__doc_call__free_unpacked(wire, NULL);
  if (taken)
    return g_steal_pointer(&call);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a call of an ordering server is damaged");
  return NULL;
}

DocAnswer *
doc_answer_new(guint64 id, DocStatus status, const char *words)
{
  DocAnswer *answer = g_new0(DocAnswer, 1);
  answer->id = id;
  answer->status = status;
  answer->words = g_strdup(words);
  answer->entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  return answer;
}

void
doc_answer_free(DocAnswer *answer)
{
  if (!answer)
    return;
  g_free(answer->words);
  g_ptr_array_unref(answer->entries);
  g_clear_pointer(&answer->head, g_bytes_unref);
  g_free(answer);
}

/* One field for all of them: nothing is allocated for an entry before its length was looked at. */
static GByteArray *
join_entries(const GPtrArray *entries)
{
  GByteArray *all = g_byte_array_new();
  for (guint i = 0; i < entries->len; i++) {
    gsize length;
    const guint8 *bytes = g_bytes_get_data(entries->pdata[i], &length);
    guint32 size = GUINT32_TO_LE((guint32)length);
    g_byte_array_append(all, (const guint8 *)&size, LENGTH_BYTES);
    g_byte_array_append(all, bytes, (guint)length);
  }
  return all;
}

static gboolean
take_entries(GPtrArray *entries, const ProtobufCBinaryData *from)
{
  gsize at = 0;
  while (at < from->len) {
    guint32 size;
    if (from->len - at < LENGTH_BYTES || entries->len == DOC_ENTRIES_MAX)
      return FALSE;
    memcpy(&size, from->data + at, LENGTH_BYTES);
    size = GUINT32_FROM_LE(size);
    at += LENGTH_BYTES;
    if (size == 0 || size > DOC_ENVELOPE_MAX || size > from->len - at)
      return FALSE;
    g_ptr_array_add(entries, g_bytes_new(from->data + at, size));
    at += size;
  }
  return TRUE;
}

GBytes *
doc_answer_encode(const DocAnswer *answer)
{
  Doppel__Wire__DocAnswer wire = DOPPEL__WIRE__DOC_ANSWER__INIT;
  g_autoptr(GByteArray) entries = join_entries(answer->entries);
  wire.id = answer->id;
  wire.status = answer->status;
  if (answer->words)
    wire.words = answer->words;
  wire.number = answer->number;
  wire.entries = wire_borrow(entries->data, entries->len);
  if (answer->head)
    wire.head = wire_borrow_bytes(answer->head);
  wire.fault = answer->fault;
  return wire_pack(&wire.base);
}

static DocAnswer *
take_answer(const Doppel__Wire__DocAnswer *wire)
{
  g_autoptr(DocAnswer) answer = doc_answer_new(wire->id, wire->status, wire->words[0] ? wire->words : NULL);
  answer->number = wire->number;
  answer->fault = (DocFault)wire->fault;
  if (wire->status < 0 || (gsize)wire->status >= G_N_ELEMENTS(status_names) || wire->fault >= DOC_FAULTS ||
      strlen(wire->words) > DOC_WORDS_MAX || !g_utf8_validate(wire->words, -1, NULL) ||
      wire->head.len > DOC_HEAD_MAX || !take_entries(answer->entries, &wire->entries) ||
      answer->number > G_MAXUINT64 - answer->entries->len ||
      (answer->entries->len > 0 && answer->number == 0))
    return NULL;
  if (wire->head.len > 0)
    answer->head = g_bytes_new(wire->head.data, wire->head.len);
  return g_steal_pointer(&answer);
}

DocAnswer *
doc_answer_decode(const void *data, gsize length, GError **error)
{
  Doppel__Wire__DocAnswer *wire =
      length <= DOC_ANSWER_MAX ? wire_unpack(&doppel__wire__doc_answer__descriptor, data, length) : NULL;
  DocAnswer *answer = wire ? take_answer(wire) : NULL;
  if (wire)
    doppel__wire__doc_answer__free_unpacked(wire, NULL);
  if (!answer)
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "an answer of the documents' server is damaged");
  return answer;
}

/* ---- parts ---- */

gboolean
doc_message_send(Link *link, GBytes *bytes, GError **error)
{
  gsize left;
  const guint8 *data = g_bytes_get_data(bytes, &left);
  for (; left > DOC_PART_MAX; data += DOC_PART_MAX, left -= DOC_PART_MAX)
    if (!link_queue(link, DOC_CHANNEL_PART, &(struct iovec){(void *)data, DOC_PART_MAX}, 1, error))
      return FALSE;
  return link_send(link, DOC_CHANNEL, &(struct iovec){(void *)data, left}, 1, error);
}

void
doc_parts_clear(DocParts *parts)
{
  g_clear_pointer(&parts->bytes, g_byte_array_unref);
}

int
doc_parts_take(DocParts *parts, const LinkMessage *message, gsize most, GBytes **whole, GError **error)
{
  gsize before = parts->bytes ? parts->bytes->len : 0;
  if ((message->channel != DOC_CHANNEL && message->channel != DOC_CHANNEL_PART) || before > most ||
      message->length > most - before) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                     "a message on channel %u of %zu bytes is none of a conversation about documents",
                     message->channel, before + message->length);
    return -1;
  }
  if (message->channel == DOC_CHANNEL && before == 0) {
    *whole = g_bytes_new(message->data, message->length);
    return 1;
  }
  if (!parts->bytes)
    parts->bytes = g_byte_array_new();
  g_byte_array_append(parts->bytes, message->data, (guint)message->length);
  if (message->channel == DOC_CHANNEL_PART)
    return 0;
  *whole = g_byte_array_free_to_bytes(g_steal_pointer(&parts->bytes));
  return 1;
}
