/* Who did what to a text: a text as stretches that were there at first, or that somebody inserted, and that
 * stay as they are deleted, with who did it. What one of several did can be told from it as an operation on
 * the text of before, beside the others: for recovery after a fork. */
#include "clonedoc/document_struct.h"

typedef enum {
  COMMON = 0, /* there at first */
  SENT,       /* by the entry that is submitted as it is */
  REST,       /* by the same member */
  OTHERS,
} Who;

typedef struct {
  Who by;
  gboolean gone;
  Who gone_by;
  gsize scalars;
  const char *utf8; /* of REST's only; lives as long as the operation */
  gsize bytes;
} Stretch;

typedef struct {
  GArray *stretches; /* of Stretch; the text of before goes on for ever in the last one */
} Layers;

#define FOR_EVER (2 * (gsize)OT_TEXT_BYTES_MAX)

static void
add(GArray *to, Stretch stretch)
{
  if (stretch.scalars > 0)
    g_array_append_val(to, stretch);
}

/* What is inserted where the cursor is. */
static void
add_inserted(GArray *to, OtCursor *cursor, Who by)
{
  OtPart part;
  while (cursor->left.scalars > 0 && cursor->left.kind == OT_INSERT) {
    ot_cursor_take(cursor, cursor->left.scalars, &part);
    Stretch stretch = {.by = by, .scalars = part.scalars};
    if (by == REST) {
      stretch.utf8 = part.utf8;
      stretch.bytes = part.bytes;
    }
    add(to, stretch);
  }
}

/* Cuts the first `scalars` off. */
static Stretch
cut(Stretch *stretch, gsize scalars)
{
  Stretch first = *stretch;
  first.scalars = scalars;
  stretch->scalars -= scalars;
  if (stretch->by != REST)
    return first;
  first.bytes = ot_utf8_offset(stretch->utf8, stretch->bytes, scalars);
  stretch->utf8 += first.bytes;
  stretch->bytes -= first.bytes;
  return first;
}

/* Goes through one that is to be seen. */
static void
go_through(GArray *to, OtCursor *cursor, Stretch stretch, Who by)
{
  OtPart part;
  while (stretch.scalars > 0) {
    add_inserted(to, cursor, by);
    if (cursor->left.scalars == 0) {
      add(to, stretch);
      return;
    }
    Stretch first = cut(&stretch, MIN(stretch.scalars, cursor->left.scalars));
    ot_cursor_take(cursor, first.scalars, &part);
    first.gone = part.kind == OT_DELETE;
    first.gone_by = by;
    add(to, first);
  }
}

static void
layers_do(Layers *layers, const OtOp *op, Who by)
{
  OtCursor cursor;
  GArray *to = g_array_new(FALSE, FALSE, sizeof(Stretch));
  ot_cursor_init(&cursor, op);
  for (guint i = 0; i < layers->stretches->len; i++) {
    Stretch stretch = g_array_index(layers->stretches, Stretch, i);
    if (stretch.gone)
      add(to, stretch);
    else
      go_through(to, &cursor, stretch, by);
  }
  g_array_unref(layers->stretches);
  layers->stretches = to;
}

/* What REST did to the text of before and SENT. What others deleted of what this member inserted stays
 * deleted: they cannot delete it in another history. What they deleted of the text of before they do again
 * themselves.
 */
static OtOp *
layers_rest(const Layers *layers)
{
  OtOp *op = ot_op_new();
  for (guint i = 0; i < layers->stretches->len; i++) {
    const Stretch *each = &g_array_index(layers->stretches, Stretch, i);
    if (each->by == OTHERS || (each->by == COMMON && each->gone && each->gone_by == SENT))
      continue;
    if (each->by == REST && !each->gone)
      ot_op_insert(op, each->utf8, each->bytes, each->scalars);
    else if (each->by == SENT ? each->gone : each->by == COMMON && each->gone && each->gone_by == REST)
      ot_op_delete(op, each->scalars);
    else if (each->by != REST)
      ot_op_keep(op, each->scalars);
  }
  return op;
}

/* What this member did in `from` after entry `fork`, but for the edit `sent` (may be NULL), which is given as
 * it is on the text after `fork` and has its place at `sent_at` (0: in flight). It was made beside what came
 * before that place: so it is done first, and the others' over it. */
OtOp *
doc_layers_rest(const DocDocument *from, guint64 fork, guint64 sent_at, const OtOp *sent)
{
  Layers layers = {g_array_new(FALSE, FALSE, sizeof(Stretch))};
  add(layers.stretches, (Stretch){.by = COMMON, .scalars = FOR_EVER});
  g_autoptr(OtOp) over = sent ? ot_op_copy(sent) : NULL;
  if (sent)
    layers_do(&layers, sent, SENT);
  for (guint64 number = fork + 1; number <= doc_document_number(from); number++) {
    const DocDone *done = doc_document_done(from, number);
    gboolean was_sent = sent && number == sent_at;
    if (was_sent)
      g_clear_pointer(&over, ot_op_free);
    if (!done->op || was_sent)
      continue;
    if (!over) {
      layers_do(&layers, done->op, done->entry ? REST : OTHERS);
      continue;
    }
    OtOp *op, *next;
    ot_op_transform(done->op, over, &op, &next);
    layers_do(&layers, op, OTHERS);
    ot_op_free(op);
    ot_op_free(over);
    over = next;
  }
  /* In flight, it was counted already. */
  if (from->flight && !(sent && sent_at == 0))
    layers_do(&layers, from->flight, REST);
  layers_do(&layers, from->pending, REST);
  OtOp *rest = layers_rest(&layers);
  g_array_unref(layers.stretches);
  return rest;
}
