#include "clonedoc/pair.h"

#include "base/error.h"
#include "wire/doc_pair.pb-c.h"
#include "wire/message.h"

#define VERSION 1

/* The shown text is what the other end has shown of itself so far, then `flight`, then `pending`: either is
 * kept as it is after all that was taken. */
struct DocPair {
  DocPairEnd end;
  guint64 link;    /* how often begun */
  guint64 other;   /* the other end's number of its last link that we know of */
  guint64 given;   /* the number of our last bundle */
  guint64 seen;    /* ... of the other end's that we took */
  gsize length;    /* of the shown text */
  OtOp *flight;    /* the bundle `given`, while the other end is not known to have seen it; or NULL */
  OtOp *pending;   /* what was edited since */
  gboolean silent; /* has not said hello yet over this link */
  gboolean open;   /* the other end has */
  gboolean owing;  /* something was taken, which the other end does not know yet */
};

static DocPair *
new_empty(DocPairEnd end)
{
  DocPair *pair = g_new0(DocPair, 1);
  pair->end = end;
  return pair;
}

DocPair *
doc_pair_new(DocPairEnd end)
{
  DocPair *pair = new_empty(end);
  pair->pending = ot_op_new();
  return pair;
}

void
doc_pair_free(DocPair *pair)
{
  if (!pair)
    return;
  ot_op_free(pair->flight);
  ot_op_free(pair->pending);
  g_free(pair);
}

static void
replace(OtOp **op, OtOp *with)
{
  ot_op_free(*op);
  *op = with;
}

gsize
doc_pair_length(const DocPair *pair)
{
  return pair->length;
}

gboolean
doc_pair_is_open(const DocPair *pair)
{
  return pair->open;
}

gboolean
doc_pair_has_said_all(const DocPair *pair)
{
  return pair->open && !pair->silent && ot_op_empty(pair->pending);
}

gboolean
doc_pair_has_met(const DocPair *pair)
{
  return pair->other > 0;
}

gboolean
doc_pair_is_settled(const DocPair *pair)
{
  return !pair->flight && ot_op_empty(pair->pending);
}

/* Of our bundles, what the other end is known to have seen. */
static guint64
acknowledged(const DocPair *pair)
{
  return pair->given - (pair->flight != NULL);
}

/* How long a text was before `op` made it `after` long. */
static gsize
length_before(gsize after, const OtOp *op)
{
  return after - ot_op_inserted(op) + ot_op_deleted(op);
}

static gboolean
check_fit(const OtOp *op, gsize length, GError **error)
{
  if (ot_op_reach(op) > length)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "an edit reaches %zu characters far, and the text has %zu", ot_op_reach(op),
                            length);
  return TRUE;
}

static gboolean
check_growth(const OtOp *op, gsize length, GError **error)
{
  if (length > DOC_PAIR_LENGTH_MAX || ot_op_inserted(op) > DOC_PAIR_LENGTH_MAX - length)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "a document may have %" G_GUINT64_FORMAT " million characters",
                            DOC_PAIR_LENGTH_MAX / 1000000);
  return TRUE;
}

gboolean
doc_pair_edit(DocPair *pair, const OtOp *op, GError **error)
{
  if (!check_fit(op, pair->length, error) || !check_growth(op, pair->length, error))
    return FALSE;
  replace(&pair->pending, ot_op_compose(pair->pending, op));
  pair->length += ot_op_inserted(op) - ot_op_deleted(op);
  return TRUE;
}

/* ---- saying ---- */

void
doc_pair_begin(DocPair *pair)
{
  pair->link++;
  pair->silent = TRUE;
  pair->open = FALSE;
  pair->owing = FALSE;
}

static GBytes *
say_hello(const DocPair *pair)
{
  Doppel__Wire__DocPairHello hello = DOPPEL__WIRE__DOC_PAIR_HELLO__INIT;
  Doppel__Wire__DocPairMessage message = DOPPEL__WIRE__DOC_PAIR_MESSAGE__INIT;
  hello.version = VERSION;
  hello.clone = pair->end == DOC_PAIR_CLONE;
  hello.link = pair->link;
  hello.given = pair->given;
  hello.seen = pair->seen;
  message.hello = &hello;
  return wire_pack(&message.base);
}

static GByteArray *
packed(const OtOp *op)
{
  GByteArray *bytes = g_byte_array_new();
  ot_op_pack(op, bytes);
  return bytes;
}

static void
add(OtOp *op, const OtPart *part)
{
  if (part->kind == OT_KEEP)
    ot_op_keep(op, part->scalars);
  else if (part->kind == OT_DELETE)
    ot_op_delete(op, part->scalars);
  else
    ot_op_insert(op, part->utf8, part->bytes, part->scalars);
}

/* The beginning of `op` that packs into `room` bytes; after it, `rest` is what is left of it. */
static OtOp *
cut(const OtOp *op, gsize room, OtOp **rest)
{
  enum { COUNT_BYTES = 5 }; /* of a packed count, at most */
  OtOp *head = ot_op_new();
  OtCursor cursor;
  OtPart part;
  *rest = ot_op_new();
  ot_cursor_init(&cursor, op);
  while (cursor.left.scalars > 0 && room >= COUNT_BYTES + 4) {
    gsize scalars = cursor.left.scalars;
    room -= COUNT_BYTES;
    if (cursor.left.kind == OT_INSERT && cursor.left.bytes > room)
      scalars = g_utf8_strlen(cursor.left.utf8, room);
    ot_cursor_take(&cursor, scalars, &part);
    room -= part.kind == OT_INSERT ? part.bytes : 0;
    add(head, &part);
    if (part.kind != OT_DELETE)
      ot_op_keep(*rest, part.scalars);
  }
  while (cursor.left.scalars > 0) {
    ot_cursor_take(&cursor, cursor.left.scalars, &part);
    add(*rest, &part);
  }
  return head;
}

static GBytes *
say_seen(DocPair *pair, guint64 number, const GByteArray *edit)
{
  Doppel__Wire__DocPairMessage message = DOPPEL__WIRE__DOC_PAIR_MESSAGE__INIT;
  message.to = pair->other;
  message.seen = pair->seen;
  message.number = number;
  if (edit)
    message.edit = wire_borrow(edit->data, edit->len);
  pair->owing = FALSE;
  return wire_pack(&message.base);
}

static GBytes *
say_bundle(DocPair *pair)
{
  g_autoptr(GByteArray) edit = packed(pair->pending);
  if (edit->len <= DOC_PAIR_EDIT_MAX) {
    pair->flight = pair->pending;
    pair->pending = ot_op_new();
  } else {
    OtOp *rest;
    pair->flight = cut(pair->pending, DOC_PAIR_EDIT_MAX, &rest);
    replace(&pair->pending, rest);
    g_byte_array_set_size(edit, 0);
    ot_op_pack(pair->flight, edit);
  }
  pair->given++;
  return say_seen(pair, pair->given, edit);
}

GBytes *
doc_pair_next(DocPair *pair)
{
  if (pair->silent) {
    pair->silent = FALSE;
    return say_hello(pair);
  }
  if (!pair->open)
    return NULL;
  if (!pair->flight && !ot_op_empty(pair->pending))
    return say_bundle(pair);
  return pair->owing ? say_seen(pair, 0, NULL) : NULL;
}

/* ---- taking ---- */

static gboolean
set_back(GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                          "the device or its clone has an older copy of the document than before; attach the "
                          "document to the device anew");
}

/* Whatever of ours the other end has not seen by now it never will, since it takes nothing that is not for
 * the link it says hello on: so it may be said otherwise, together with what came after it. That holds of a
 * hello that was delayed, too: what its sender takes from then on is answers to it. But one that is not newer
 * than the last one was answered already, and says nothing of now. */
static gboolean
take_hello(DocPair *pair, const Doppel__Wire__DocPairHello *hello, GError **error)
{
  if (hello->version != VERSION)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "the other end keeps documents in step by version %u, and this one by %u; "
                            "install the same version of doppel on both",
                            hello->version, VERSION);
  if (!hello->clone == (pair->end == DOC_PAIR_DEVICE) || hello->link == 0 || hello->link > G_MAXINT64)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a damaged hello for a document");
  if (hello->link <= pair->other && pair->open)
    return TRUE;
  if (hello->link <= pair->other || hello->seen > pair->given || hello->seen < acknowledged(pair) ||
      hello->given < pair->seen || hello->given - pair->seen > 1)
    return set_back(error);
  if (pair->flight && hello->seen < pair->given) {
    replace(&pair->pending, ot_op_compose(pair->flight, pair->pending));
    pair->given--;
  }
  g_clear_pointer(&pair->flight, ot_op_free);
  pair->other = hello->link;
  pair->open = TRUE;
  return TRUE;
}

static void
take_seen(DocPair *pair, guint64 seen)
{
  if (seen == pair->given)
    g_clear_pointer(&pair->flight, ot_op_free);
}

/* What `theirs` is after `*ours`, which becomes what it is after `theirs`. */
static OtOp *
pass(const DocPair *pair, const OtOp *theirs, OtOp **ours)
{
  OtOp *theirs_later, *ours_later;
  if (pair->end == DOC_PAIR_CLONE)
    ot_op_transform(*ours, theirs, &ours_later, &theirs_later);
  else
    ot_op_transform(theirs, *ours, &theirs_later, &ours_later);
  replace(ours, ours_later);
  return theirs_later;
}

/* The bundle that comes next. Who makes one has taken all that we know it to have seen, and may or may not
 * have seen our flight. */
static gboolean
take_bundle(DocPair *pair, const Doppel__Wire__DocPairMessage *message, OtOp **shown, GError **error)
{
  if (message->seen < acknowledged(pair))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "an edit of a document was made on a text of before");
  if (message->edit.len == 0 || message->edit.len > DOC_PAIR_EDIT_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "an edit of a document has %zu bytes",
                            message->edit.len);
  g_autoptr(OtOp) op = ot_op_unpack(message->edit.data, message->edit.len, error);
  if (!op)
    return FALSE;
  gsize length = length_before(pair->length, pair->pending);
  if (message->seen < pair->given)
    length = length_before(length, pair->flight);
  if (!check_fit(op, length, error) || !check_growth(op, length, error) ||
      !check_growth(op, pair->length, error))
    return FALSE;
  take_seen(pair, message->seen);
  if (pair->flight)
    replace(&op, pass(pair, op, &pair->flight));
  replace(&op, pass(pair, op, &pair->pending));
  pair->length += ot_op_inserted(op) - ot_op_deleted(op);
  pair->seen++;
  pair->owing = TRUE;
  if (!ot_op_empty(op))
    *shown = g_steal_pointer(&op);
  return TRUE;
}

static gboolean
take_message(DocPair *pair, const Doppel__Wire__DocPairMessage *message, OtOp **shown, GError **error)
{
  if (message->hello)
    return take_hello(pair, message->hello, error);
  if (message->to < pair->link)
    return TRUE;
  if (!pair->open || message->to > pair->link)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message for a document before a hello");
  if (message->seen > pair->given || (message->number > pair->seen && message->number - pair->seen > 1))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message for a document skips some before it");
  if (message->number > pair->seen)
    return take_bundle(pair, message, shown, error);
  take_seen(pair, message->seen);
  return TRUE;
}

gboolean
doc_pair_take(DocPair *pair, const void *data, gsize length, OtOp **shown, GError **error)
{
  *shown = NULL;
  Doppel__Wire__DocPairMessage *message =
      length <= DOC_PAIR_MESSAGE_MAX ? doppel__wire__doc_pair_message__unpack(NULL, length, data) : NULL;
  if (!message)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message for a document is damaged");
  gboolean taken = take_message(pair, message, shown, error);
  doppel__wire__doc_pair_message__free_unpacked(message, NULL);
  return taken;
}

/* ---- keeping ---- */

GBytes *
doc_pair_save(const DocPair *pair)
{
  Doppel__Wire__DocPairState state = DOPPEL__WIRE__DOC_PAIR_STATE__INIT;
  g_autoptr(GByteArray) flight = pair->flight ? packed(pair->flight) : NULL;
  g_autoptr(GByteArray) pending = packed(pair->pending);
  state.version = VERSION;
  state.clone = pair->end == DOC_PAIR_CLONE;
  state.link = pair->link;
  state.other = pair->other;
  state.given = pair->given;
  state.seen = pair->seen;
  state.length = pair->length;
  state.in_flight = flight != NULL;
  if (flight)
    state.flight = wire_borrow(flight->data, flight->len);
  state.pending = wire_borrow(pending->data, pending->len);
  return wire_pack(&state.base);
}

/* Whether `op` can have made a text `*after` long, which becomes how long it was before: longer than the
 * shown text may be, where what was in it is deleted here and not yet at the other end. */
static gboolean
can_have_made(const OtOp *op, gsize *after)
{
  if (ot_op_inserted(op) > *after)
    return FALSE;
  *after = length_before(*after, op);
  return *after <= OT_TEXT_BYTES_MAX && ot_op_reach(op) <= *after;
}

static gboolean
read_state(DocPair *pair, const Doppel__Wire__DocPairState *state)
{
  gsize length = state->length;
  if (state->version != VERSION || !state->clone != (pair->end == DOC_PAIR_DEVICE) ||
      state->link >= G_MAXINT64 || state->other > G_MAXINT64 || state->given >= G_MAXINT64 ||
      state->seen >= G_MAXINT64 || state->length > DOC_PAIR_LENGTH_MAX ||
      (state->in_flight ? state->given == 0 : state->flight.len > 0))
    return FALSE;
  pair->link = state->link;
  pair->other = state->other;
  pair->given = state->given;
  pair->seen = state->seen;
  pair->length = length;
  pair->pending = ot_op_unpack(state->pending.data, state->pending.len, NULL);
  if (!pair->pending || !can_have_made(pair->pending, &length))
    return FALSE;
  if (!state->in_flight)
    return TRUE;
  pair->flight = ot_op_unpack(state->flight.data, state->flight.len, NULL);
  return pair->flight && can_have_made(pair->flight, &length);
}

DocPair *
doc_pair_load(DocPairEnd end, const void *data, gsize length, GError **error)
{
  g_autoptr(DocPair) pair = new_empty(end);
  Doppel__Wire__DocPairState *state = doppel__wire__doc_pair_state__unpack(NULL, length, data);
  gboolean good = state && read_state(pair, state);
  if (state)
    doppel__wire__doc_pair_state__free_unpacked(state, NULL);
  if (good)
    return g_steal_pointer(&pair);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "what was kept of a document's pair is damaged");
  return NULL;
}
