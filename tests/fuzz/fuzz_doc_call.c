/* Calls of an ordering server and its answers, in parts or whole: whatever decodes says the same when it is
 * encoded again, and is within its limits. */
#include "clonedoc/server/call.h"
#include "input.h"

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static gboolean
bytes_equal(GBytes *a, GBytes *b)
{
  return a && b ? g_bytes_equal(a, b) : a == b;
}

static void
look_at_call(const void *data, gsize length)
{
  g_autoptr(DocCall) call = doc_call_decode(data, length, NULL);
  if (!call)
    return;
  demand(call->id > 0 && call->count <= DOC_ENTRIES_MAX);
  demand((call->what == DOC_WHAT(APPEND)) == (call->entry != NULL));
  g_autoptr(GBytes) packed = doc_call_encode(call);
  gsize size;
  const void *bytes = g_bytes_get_data(packed, &size);
  g_autoptr(DocCall) again = doc_call_decode(bytes, size, NULL);
  demand(again && again->id == call->id && again->what == call->what && again->from == call->from &&
         again->count == call->count && again->ends == call->ends &&
         doc_name_equal(&again->document, &call->document) && bytes_equal(again->entry, call->entry));
}

static void
look_at_answer(const void *data, gsize length)
{
  g_autoptr(DocAnswer) answer = doc_answer_decode(data, length, NULL);
  if (!answer)
    return;
  demand(answer->entries->len <= DOC_ENTRIES_MAX && answer->fault < DOC_FAULTS &&
         doc_status_name(answer->status) != NULL);
  g_autoptr(GBytes) packed = doc_answer_encode(answer);
  gsize size;
  const void *bytes = g_bytes_get_data(packed, &size);
  g_autoptr(DocAnswer) again = doc_answer_decode(bytes, size, NULL);
  demand(again && again->id == answer->id && again->status == answer->status &&
         again->number == answer->number && again->fault == answer->fault &&
         again->entries->len == answer->entries->len && bytes_equal(again->head, answer->head) &&
         g_strcmp0(again->words, answer->words) == 0);
  for (guint i = 0; i < answer->entries->len; i++)
    demand(g_bytes_equal(answer->entries->pdata[i], again->entries->pdata[i]));
}

static void
look_at_parts(Input input)
{
  DocParts parts = {NULL};
  gsize most = input_number(&input, 2);
  while (input.left > 0) {
    static const guint32 channels[] = {DOC_CHANNEL, DOC_CHANNEL_PART, DOC_CHANNEL_PART, 0};
    LinkMessage message = {.channel = channels[input_below(&input, G_N_ELEMENTS(channels))]};
    message.data = input_blob(&input, &message.length);
    g_autoptr(GBytes) whole = NULL;
    int step = doc_parts_take(&parts, &message, most, &whole, NULL);
    demand((step > 0) == (whole != NULL) && (!whole || g_bytes_get_size(whole) <= most));
    demand(!parts.bytes || parts.bytes->len <= most);
    if (step < 0)
      break;
  }
  doc_parts_clear(&parts);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  look_at_call(data, length);
  look_at_answer(data, length);
  look_at_parts((Input){data, length});
  return 0;
}
