#include "clonedoc/merge.h"

#include <sodium.h>
#include <string.h>

#include "base/error.h"
#include "clonedoc/difference.h"

/* For lines, and for characters: together less than a second. */
#define WORK (G_GINT64_CONSTANT(1) << 24)

/* What differs in more bytes than that is another text. */
#define COMPARED_MAX (64u << 20)

typedef struct {
  const char *utf8;
  gsize bytes;
} Stretch;

/* One of the two texts as a sequence: the elements as numbers that are equal where they are, and the marks of
 * those that the other has not. */
typedef struct {
  GArray *numbers; /* of guint32 */
  guint8 *marks;
} Sequence;

static void
sequence_init(Sequence *sequence)
{
  sequence->numbers = g_array_new(FALSE, FALSE, sizeof(guint32));
  sequence->marks = NULL;
}

static void
sequence_clear(Sequence *sequence)
{
  g_clear_pointer(&sequence->numbers, g_array_unref);
  g_clear_pointer(&sequence->marks, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Sequence, sequence_clear)

static guint32
number(const Sequence *sequence, gsize at)
{
  return g_array_index(sequence->numbers, guint32, at);
}

static gsize
scalars_in(Stretch text)
{
  gsize scalars = 0;
  for (gsize i = 0; i < text.bytes; i++)
    scalars += ((guint8)text.utf8[i] & 0xc0) != 0x80;
  return scalars;
}

static gboolean
is_inside(Stretch text, gsize at)
{
  return at < text.bytes && ((guint8)text.utf8[at] & 0xc0) == 0x80;
}

/* Takes what both have at their beginning and their end off them, in whole characters. */
static void
trim(Stretch *from, Stretch *to, gsize *head, gsize *tail)
{
  gsize most = MIN(from->bytes, to->bytes), start = 0, end = 0;
  while (start < most && from->utf8[start] == to->utf8[start])
    start++;
  while (start > 0 && (is_inside(*from, start) || is_inside(*to, start)))
    start--;
  while (end < most - start && from->utf8[from->bytes - end - 1] == to->utf8[to->bytes - end - 1])
    end++;
  while (end > 0 && (is_inside(*from, from->bytes - end) || is_inside(*to, to->bytes - end)))
    end--;
  *head = start;
  *tail = end;
  *from = (Stretch){from->utf8 + start, from->bytes - start - end};
  *to = (Stretch){to->utf8 + start, to->bytes - start - end};
}

static void
change(OtOp *op, Stretch from, Stretch to)
{
  ot_op_insert(op, to.utf8, to.bytes, scalars_in(to));
  ot_op_delete(op, scalars_in(from));
}

static void
keep(OtOp *op, const char *utf8, gsize bytes)
{
  ot_op_keep(op, scalars_in((Stretch){utf8, bytes}));
}

static gboolean
compare(Sequence *from, Sequence *to, gint64 *work)
{
  from->marks = g_malloc(from->numbers->len + 1);
  to->marks = g_malloc(to->numbers->len + 1);
  return doc_difference((const guint32 *)from->numbers->data, from->numbers->len, from->marks,
                        (const guint32 *)to->numbers->data, to->numbers->len, to->marks, work);
}

/* How many from `at` on are marked. */
static gsize
marked(const Sequence *sequence, gsize at)
{
  gsize end = at;
  while (end < sequence->numbers->len && sequence->marks[end])
    end++;
  return end - at;
}

/* How many from there on are the same in both. */
static gsize
common(const Sequence *a, gsize i, const Sequence *b, gsize j)
{
  gsize count = 0;
  while (i + count < a->numbers->len && !a->marks[i + count] && j + count < b->numbers->len &&
         !b->marks[j + count])
    count++;
  return count;
}

static gsize
line_bytes(Stretch text)
{
  const char *end = memchr(text.utf8, '\n', text.bytes);
  return end ? end - text.utf8 + 1 : text.bytes;
}

/* Takes `count` lines off the beginning. */
static Stretch
take_lines(Stretch *text, gsize count)
{
  Stretch taken = {text->utf8, 0};
  for (; count > 0; count--) {
    gsize bytes = line_bytes(*text);
    taken.bytes += bytes;
    *text = (Stretch){text->utf8 + bytes, text->bytes - bytes};
  }
  return taken;
}

/* ---- by characters ---- */

static void
read_characters(Sequence *sequence, Stretch text)
{
  for (gsize at = 0; at < text.bytes; at = g_utf8_next_char(text.utf8 + at) - text.utf8) {
    guint32 character = g_utf8_get_char(text.utf8 + at);
    g_array_append_val(sequence->numbers, character);
  }
}

/* FALSE: too much work, and nothing was added. */
static gboolean
add_characters(OtOp *op, Stretch from, Stretch to, gint64 *work)
{
  g_auto(Sequence) a, b;
  sequence_init(&a);
  sequence_init(&b);
  read_characters(&a, from);
  read_characters(&b, to);
  if (!compare(&a, &b, work))
    return FALSE;
  for (gsize i = 0, j = 0; i < a.numbers->len || j < b.numbers->len;) {
    gsize gone = marked(&a, i), come = marked(&b, j), bytes = ot_utf8_offset(to.utf8, to.bytes, come);
    ot_op_insert(op, to.utf8, bytes, come);
    ot_op_delete(op, gone);
    gsize same = common(&a, i += gone, &b, j += come);
    ot_op_keep(op, same);
    bytes += ot_utf8_offset(to.utf8 + bytes, to.bytes - bytes, same);
    to = (Stretch){to.utf8 + bytes, to.bytes - bytes};
    i += same;
    j += same;
  }
  return TRUE;
}

static gsize
lines_in(Stretch text)
{
  gsize lines = 0;
  for (; text.bytes > 0; lines++)
    take_lines(&text, 1);
  return lines;
}

static void add_changed(OtOp *op, Stretch from, Stretch to, gint64 *work);

/* What is too much to be compared as a whole: as many lines as before are each taken to have become the one
 * in its place. */
static void
add_by_place(OtOp *op, Stretch from, Stretch to, gint64 *work)
{
  gsize lines = lines_in(from);
  if (lines == 1 || lines != lines_in(to)) {
    change(op, from, to);
    return;
  }
  for (; lines > 0; lines--)
    add_changed(op, take_lines(&from, 1), take_lines(&to, 1), work);
}

/* What became something else. */
static void
add_changed(OtOp *op, Stretch from, Stretch to, gint64 *work)
{
  gsize head, tail;
  const char *start = from.utf8;
  trim(&from, &to, &head, &tail);
  keep(op, start, head);
  if (from.bytes == 0 || to.bytes == 0)
    change(op, from, to);
  else if (!add_characters(op, from, to, work))
    add_by_place(op, from, to, work);
  keep(op, from.utf8 + from.bytes, tail);
}

/* ---- by lines ---- */

/* Secret: who writes a text cannot know which of its lines would fall together. */
static guint8 hash_key[crypto_shorthash_KEYBYTES];

static void
make_hash_key(void)
{
  static gsize made;
  if (!g_once_init_enter(&made))
    return;
  randombytes_buf(hash_key, sizeof hash_key);
  g_once_init_leave(&made, 1);
}

static guint
stretch_hash(gconstpointer data)
{
  const Stretch *line = data;
  guint32 hash[crypto_shorthash_BYTES / sizeof(guint32)];
  crypto_shorthash((guint8 *)hash, (const guint8 *)line->utf8, line->bytes, hash_key);
  return hash[0];
}

static gboolean
stretch_equal(gconstpointer a, gconstpointer b)
{
  const Stretch *left = a, *right = b;
  return left->bytes == right->bytes && memcmp(left->utf8, right->utf8, left->bytes) == 0;
}

static void
read_lines(Sequence *sequence, Stretch text, GHashTable *known)
{
  while (text.bytes > 0) {
    Stretch line = {text.utf8, line_bytes(text)};
    gpointer found;
    if (!g_hash_table_lookup_extended(known, &line, NULL, &found)) {
      found = GUINT_TO_POINTER(g_hash_table_size(known));
      g_hash_table_insert(known, g_memdup2(&line, sizeof line), found);
    }
    guint32 value = GPOINTER_TO_UINT(found);
    g_array_append_val(sequence->numbers, value);
    text = (Stretch){text.utf8 + line.bytes, text.bytes - line.bytes};
  }
}

/* What only one of the two has is a change for certain: it is left out of the search. */
static void
leave_out(const Sequence *sequence, const guint8 *others, Sequence *rest)
{
  for (gsize i = 0; i < sequence->numbers->len; i++)
    if (others[number(sequence, i)])
      g_array_append_val(rest->numbers, g_array_index(sequence->numbers, guint32, i));
}

/* The marks of the whole, from those of what was not left out. */
static void
put_back(Sequence *sequence, const guint8 *others, const Sequence *rest)
{
  gsize next = 0;
  sequence->marks = g_malloc(sequence->numbers->len + 1);
  for (gsize i = 0; i < sequence->numbers->len; i++)
    sequence->marks[i] = others[number(sequence, i)] ? rest->marks[next++] : TRUE;
}

static guint8 *
which(const Sequence *sequence, gsize numbers)
{
  guint8 *there = g_malloc0(numbers + 1);
  for (gsize i = 0; i < sequence->numbers->len; i++)
    there[number(sequence, i)] = TRUE;
  return there;
}

static void
compare_lines(Sequence *a, Sequence *b, gsize numbers)
{
  g_autofree guint8 *in_a = which(a, numbers), *in_b = which(b, numbers);
  g_auto(Sequence) of_a, of_b;
  gint64 work = WORK;
  sequence_init(&of_a);
  sequence_init(&of_b);
  leave_out(a, in_b, &of_a);
  leave_out(b, in_a, &of_b);
  compare(&of_a, &of_b, &work);
  put_back(a, in_b, &of_a);
  put_back(b, in_a, &of_b);
}

static void
add_lines(OtOp *op, Stretch from, Stretch to)
{
  g_autoptr(GHashTable) known = g_hash_table_new_full(stretch_hash, stretch_equal, g_free, NULL);
  g_auto(Sequence) a, b;
  gint64 work = WORK;
  make_hash_key();
  sequence_init(&a);
  sequence_init(&b);
  read_lines(&a, from, known);
  read_lines(&b, to, known);
  compare_lines(&a, &b, g_hash_table_size(known));
  for (gsize i = 0, j = 0; i < a.numbers->len || j < b.numbers->len;) {
    gsize gone = marked(&a, i), come = marked(&b, j);
    Stretch before = take_lines(&from, gone), after = take_lines(&to, come);
    add_changed(op, before, after, &work);
    gsize same = common(&a, i += gone, &b, j += come);
    before = take_lines(&from, same);
    take_lines(&to, same);
    keep(op, before.utf8, before.bytes);
    i += same;
    j += same;
  }
}

/* ---- whole texts ---- */

static gboolean
check(const char *which_text, const char *utf8, gsize bytes, GError **error)
{
  gsize scalars;
  if (bytes > OT_TEXT_BYTES_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "%s has %zu bytes; a document may have %" G_GUINT64_FORMAT " MiB of text",
                            which_text, bytes, OT_TEXT_BYTES_MAX >> 20);
  if (!ot_utf8_check(utf8, bytes, &scalars))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "%s is not text in UTF-8; save it as that (a document holds nothing else)",
                            which_text);
  return TRUE;
}

/* What is the same at both ends is passed over at once, but for what the first and the last changed line have
 * of it, by which they are known for the same as others. */
static void
widen(Stretch *from, Stretch *to, gsize *head, gsize *tail)
{
  const char *start = from->utf8, *end = from->utf8 + from->bytes;
  gsize before = 0, after = 0;
  while (before < *head && start[-1 - (gssize)before] != '\n')
    before++;
  if (end[-1] != '\n' || to->utf8[to->bytes - 1] != '\n')
    while (after < *tail && (after == 0 || end[after - 1] != '\n'))
      after++;
  *head -= before;
  *tail -= after;
  *from = (Stretch){from->utf8 - before, from->bytes + before + after};
  *to = (Stretch){to->utf8 - before, to->bytes + before + after};
}

/* All between the first and the last difference. */
static OtOp *
replace(const char *from, Stretch a, Stretch b)
{
  OtOp *op = ot_op_new();
  keep(op, from, a.utf8 - from);
  change(op, a, b);
  return op;
}

OtOp *
doc_merge_difference(const char *from, gsize from_bytes, const char *to, gsize to_bytes, GError **error)
{
  if (!check("the text before", from, from_bytes, error) || !check("the text after", to, to_bytes, error))
    return NULL;
  Stretch a = {from, from_bytes}, b = {to, to_bytes};
  gsize head, tail;
  trim(&a, &b, &head, &tail);
  g_autoptr(OtOp) whole = replace(from, a, b);
  if (a.bytes == 0 || b.bytes == 0 || MAX(a.bytes, b.bytes) > COMPARED_MAX)
    return g_steal_pointer(&whole);
  g_autoptr(OtOp) op = ot_op_new();
  widen(&a, &b, &head, &tail);
  keep(op, from, head);
  add_lines(op, a, b);
  return ot_op_inserted(op) < ot_op_inserted(whole) ? g_steal_pointer(&op) : g_steal_pointer(&whole);
}

OtOp *
doc_merge_saved(const char *base, gsize base_bytes, const char *saved, gsize saved_bytes,
                const OtOp *meanwhile, GError **error)
{
  g_autoptr(OtOp) change_there = doc_merge_difference(base, base_bytes, saved, saved_bytes, error);
  if (!change_there)
    return NULL;
  if (ot_op_reach(meanwhile) > scalars_in((Stretch){base, base_bytes})) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "what came meanwhile does not fit the text before");
    return NULL;
  }
  OtOp *meanwhile_later, *there_later;
  ot_op_transform(meanwhile, change_there, &meanwhile_later, &there_later);
  ot_op_free(meanwhile_later);
  return there_later;
}
