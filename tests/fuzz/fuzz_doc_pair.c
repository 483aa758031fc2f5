/* An end of a document's pair that goes on from any bytes, and is told anything: bytes, and messages that
 * make sense but for what they say. Whatever is refused changes nothing, whatever is taken fits the text, and
 * what is kept is read again as what it was. */
#include "clonedoc/pair.h"
#include "input.h"
#include "wire/doc_pair.pb-c.h"
#include "wire/message.h"

enum { STEPS = 40, LENGTH_MAX = 5000 };

typedef struct {
  DocPair *pair;
  OtText *text;
  guint64 link;
} End;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static DocPair *
load(GBytes *bytes)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return doc_pair_load(DOC_PAIR_CLONE, data, length, NULL);
}

static void
restart(End *end)
{
  g_autoptr(GBytes) kept = doc_pair_save(end->pair);
  doc_pair_free(end->pair);
  end->pair = load(kept);
  demand(end->pair != NULL);
  g_autoptr(GBytes) again = doc_pair_save(end->pair);
  demand(g_bytes_equal(kept, again));
}

static void
hear(End *end, const void *data, gsize length)
{
  g_autoptr(GBytes) before = doc_pair_save(end->pair);
  g_autoptr(OtOp) shown = NULL;
  gboolean taken = doc_pair_take(end->pair, data, length, &shown, NULL);
  g_autoptr(GBytes) after = doc_pair_save(end->pair);
  demand(taken ? !shown || ot_op_apply(shown, end->text, NULL) : !shown && g_bytes_equal(before, after));
}

static void
hear_message(End *end, const Doppel__Wire__DocPairMessage *message)
{
  g_autoptr(GBytes) bytes = wire_pack(&message->base);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  hear(end, data, length);
}

static Doppel__Wire__DocPairState *
state_of(const End *end)
{
  g_autoptr(GBytes) kept = doc_pair_save(end->pair);
  gsize length;
  const guint8 *data = g_bytes_get_data(kept, &length);
  Doppel__Wire__DocPairState *state = doppel__wire__doc_pair_state__unpack(NULL, length, data);
  demand(state != NULL);
  return state;
}

/* Mostly what it has to be, where that is an input of 0. */
static void
hear_hello(End *end, Input *input)
{
  Doppel__Wire__DocPairMessage message = DOPPEL__WIRE__DOC_PAIR_MESSAGE__INIT;
  Doppel__Wire__DocPairHello hello = DOPPEL__WIRE__DOC_PAIR_HELLO__INIT;
  Doppel__Wire__DocPairState *state = state_of(end);
  message.hello = &hello;
  hello.version = 1;
  hello.link = state->other + 1 - input_below(input, 3);
  hello.given = state->seen + input_below(input, 3);
  hello.seen = state->given - input_below(input, 3);
  doppel__wire__doc_pair_state__free_unpacked(state, NULL);
  hear_message(end, &message);
}

/* One change, or any bytes. */
static void
make_edit(Input *input, GByteArray *packed)
{
  gsize length;
  guint at = input_number(input, 1), deleted = input_number(input, 1);
  const guint8 *bytes = input_blob(input, &length);
  if (at == 0xff) {
    g_byte_array_append(packed, bytes, length);
    return;
  }
  g_autoptr(OtOp) op = ot_op_new_edit(at, deleted, "letters", length % 8);
  ot_op_pack(op, packed);
}

static void
hear_bundle(End *end, Input *input)
{
  Doppel__Wire__DocPairMessage message = DOPPEL__WIRE__DOC_PAIR_MESSAGE__INIT;
  Doppel__Wire__DocPairState *state = state_of(end);
  g_autoptr(GByteArray) packed = g_byte_array_new();
  message.to = end->link;
  message.seen = state->given - input_below(input, 3);
  message.number = state->seen + 1 - input_below(input, 3);
  doppel__wire__doc_pair_state__free_unpacked(state, NULL);
  make_edit(input, packed);
  message.edit = wire_borrow(packed->data, packed->len);
  hear_message(end, &message);
}

static void
edit(End *end, Input *input)
{
  g_autoptr(GByteArray) packed = g_byte_array_new();
  make_edit(input, packed);
  g_autoptr(OtOp) op = ot_op_unpack(packed->data, packed->len, NULL);
  if (op && doc_pair_edit(end->pair, op, NULL))
    demand(ot_op_apply(op, end->text, NULL));
}

/* What it says is what the other end can take, as far as size goes. */
static void
say(End *end)
{
  g_autoptr(GBytes) message = doc_pair_next(end->pair);
  if (!message)
    return;
  gsize length;
  const guint8 *data = g_bytes_get_data(message, &length);
  demand(length <= DOC_PAIR_MESSAGE_MAX);
  Doppel__Wire__DocPairMessage *wire = doppel__wire__doc_pair_message__unpack(NULL, length, data);
  demand(wire != NULL);
  if (wire->hello)
    end->link = wire->hello->link;
  doppel__wire__doc_pair_message__free_unpacked(wire, NULL);
}

static void
step(End *end, Input *input)
{
  gsize length;
  const guint8 *blob;
  switch (input_below(input, 8)) {
  case 0:
    blob = input_blob(input, &length);
    hear(end, blob, length);
    break;
  case 1:
    hear_hello(end, input);
    break;
  case 2:
    edit(end, input);
    break;
  case 3:
    doc_pair_begin(end->pair);
    say(end);
    break;
  case 4:
    restart(end);
    break;
  case 5:
    say(end);
    break;
  default:
    hear_bundle(end, input);
  }
  demand(doc_pair_length(end->pair) == ot_text_length(end->text));
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  gsize kept;
  const guint8 *state = input_blob(&input, &kept);
  End end = {doc_pair_load(DOC_PAIR_CLONE, state, kept, NULL), ot_text_new(), 0};
  if (!end.pair)
    end.pair = doc_pair_new(DOC_PAIR_CLONE);
  restart(&end);
  if (doc_pair_length(end.pair) <= LENGTH_MAX) {
    g_autofree char *letters = g_strnfill(doc_pair_length(end.pair), 'x');
    ot_text_insert(end.text, 0, letters, doc_pair_length(end.pair), doc_pair_length(end.pair));
    for (guint i = 0; i < STEPS && input.left > 0; i++)
      step(&end, &input);
  }
  doc_pair_free(end.pair);
  ot_text_free(end.text);
  return 0;
}
