#include "pair_end.h"

#include "wire/doc_pair.pb-c.h"

void
pair_end_init(PairEnd *end, DocPairEnd which)
{
  end->pair = doc_pair_new(which);
  end->text = ot_text_new();
}

void
pair_end_clear(PairEnd *end)
{
  g_clear_pointer(&end->pair, doc_pair_free);
  g_clear_pointer(&end->text, ot_text_free);
}

void
pair_end_type(PairEnd *end, gsize at, gsize deleted, const char *utf8)
{
  g_autoptr(OtOp) op = ot_op_new_edit(at, deleted, utf8, strlen(utf8));
  g_autoptr(GError) error = NULL;
  g_assert_true(ot_op_apply(op, end->text, &error));
  g_assert_true(doc_pair_edit(end->pair, op, &error));
  g_assert_no_error(error);
}

gboolean
pair_end_hear(PairEnd *end, GBytes *message, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data(message, &length);
  g_autoptr(GBytes) before = doc_pair_save(end->pair);
  g_autoptr(OtOp) shown = NULL;
  gboolean taken = doc_pair_take(end->pair, data, length, &shown, error);
  if (!taken) {
    g_autoptr(GBytes) after = doc_pair_save(end->pair);
    g_assert_null(shown);
    g_assert_true(g_bytes_equal(before, after));
  }
  if (shown)
    g_assert_true(ot_op_apply(shown, end->text, NULL));
  g_assert_cmpuint(doc_pair_length(end->pair), ==, ot_text_length(end->text));
  return taken;
}

char *
pair_end_text(const PairEnd *end)
{
  return ot_text_copy(end->text, 0, ot_text_length(end->text), NULL);
}

static void
note(PairTalk *talk, GBytes *message)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(message, &length);
  Doppel__Wire__DocPairMessage *wire = doppel__wire__doc_pair_message__unpack(NULL, length, data);
  g_assert_nonnull(wire);
  talk->messages++;
  talk->bundles += wire->number > 0;
  talk->longest = MAX(talk->longest, length);
  if (talk->bytes)
    g_string_append_len(talk->bytes, (const char *)data, length);
  doppel__wire__doc_pair_message__free_unpacked(wire, NULL);
}

/* Says what `from` has to say. */
static gboolean
say(PairEnd *from, PairEnd *to, PairTalk *talk)
{
  g_autoptr(GBytes) message = doc_pair_next(from->pair);
  g_autoptr(GError) error = NULL;
  if (!message)
    return FALSE;
  if (talk)
    note(talk, message);
  pair_end_hear(to, message, &error);
  g_assert_no_error(error);
  return TRUE;
}

void
pair_meet(PairEnd *one, PairEnd *other, PairTalk *talk)
{
  doc_pair_begin(one->pair);
  doc_pair_begin(other->pair);
  for (gboolean said = TRUE; said;) {
    said = say(one, other, talk);
    said = say(other, one, talk) || said;
  }
  g_assert_true(doc_pair_is_settled(one->pair) && doc_pair_is_settled(other->pair));
  g_assert_true(ot_text_equal(one->text, other->text));
}
