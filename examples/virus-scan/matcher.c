/* Aho, Corasick: Efficient string matching: an aid to bibliographic search (1975), over a few fixed bytes of
 * each pattern, its anchor. Where an anchor is found, the rest of the pattern is compared around it. */
#include "matcher.h"

#include <string.h>

#define ANCHOR_MAX 4
#define ANCHOR_MIN 2

typedef struct {
  guint32 next[256];
  /* The first of the anchors that end here, and the nearest state behind this one at which some do. */
  gint32 anchor;
  guint32 also;
} State;

/* The anchor of signature number `signature`, its bytes being those of a run from an offset on. */
typedef struct {
  const Signature *of;
  guint32 signature;
  guint32 run;
  guint32 offset;
  guint32 length;
  /* Another one that ends at the same state; -1: none. */
  gint32 sibling;
} Anchor;

struct Matcher {
  GArray *states;
  GArray *anchors;
};

static guint
distinct(const PatternByte *bytes, gsize length)
{
  guint count = 0;
  for (gsize i = 0; i < length; i++) {
    gsize j = 0;
    while (j < i && bytes[j].value != bytes[i].value)
      j++;
    count += j == i;
  }
  return count;
}

/* How many bytes without a wildcard begin here. */
static gsize
fixed_bytes(const PatternRun *run, gsize from)
{
  gsize length = 0;
  while (length < ANCHOR_MAX && from + length < run->length && run->bytes[from + length].mask == 0xff)
    length++;
  return length;
}

/* The longest, and of those the one with most different bytes: it will be seen least where nothing is. */
static gboolean
choose_anchor(const Signature *signature, Anchor *anchor)
{
  guint best = 0;
  for (gsize i = 0; i < signature->n_runs; i++) {
    const PatternRun *run = &signature->runs[i];
    for (gsize from = 0; from < run->length; from++) {
      gsize length = fixed_bytes(run, from);
      guint worth = (guint)length * (ANCHOR_MAX + 1) + distinct(run->bytes + from, length);
      if (length < ANCHOR_MIN || worth <= best)
        continue;
      best = worth;
      *anchor =
          (Anchor){.of = signature, .run = (guint32)i, .offset = (guint32)from, .length = (guint32)length};
    }
  }
  return best > 0;
}

static guint32
add_state(Matcher *matcher)
{
  State state = {.anchor = -1};
  g_array_append_val(matcher->states, state);
  return matcher->states->len - 1;
}

static void
add_anchor(Matcher *matcher, Anchor *anchor)
{
  guint32 at = 0;
  for (gsize i = 0; i < anchor->length; i++) {
    guint8 byte = anchor->of->runs[anchor->run].bytes[anchor->offset + i].value;
    guint32 next = g_array_index(matcher->states, State, at).next[byte];
    if (next == 0) {
      next = add_state(matcher);
      g_array_index(matcher->states, State, at).next[byte] = next;
    }
    at = next;
  }
  State *state = &g_array_index(matcher->states, State, at);
  anchor->sibling = state->anchor;
  state->anchor = (gint32)matcher->anchors->len;
  g_array_append_val(matcher->anchors, *anchor);
}

/* Makes the tree of anchors an automaton: where no anchor goes on, the longest end of what was read that
 * begins one. */
static void
link_states(Matcher *matcher)
{
  State *states = (State *)matcher->states->data;
  g_autofree guint32 *back = g_new0(guint32, matcher->states->len);
  g_autoptr(GArray) queue = g_array_new(FALSE, FALSE, sizeof(guint32));
  for (int byte = 0; byte < 256; byte++)
    if (states[0].next[byte])
      g_array_append_val(queue, states[0].next[byte]);
  for (guint i = 0; i < queue->len; i++) {
    guint32 at = g_array_index(queue, guint32, i), behind = back[at];
    states[at].also = states[behind].anchor >= 0 ? behind : states[behind].also;
    for (int byte = 0; byte < 256; byte++) {
      guint32 next = states[at].next[byte];
      if (next) {
        back[next] = states[behind].next[byte];
        g_array_append_val(queue, next);
      } else {
        states[at].next[byte] = states[behind].next[byte];
      }
    }
  }
}

Matcher *
matcher_new(GPtrArray *signatures, GError **error)
{
  g_autoptr(Matcher) matcher = g_new0(Matcher, 1);
  matcher->states = g_array_new(FALSE, FALSE, sizeof(State));
  matcher->anchors = g_array_new(FALSE, FALSE, sizeof(Anchor));
  add_state(matcher);
  for (guint i = 0; i < signatures->len; i++) {
    const Signature *signature = g_ptr_array_index(signatures, i);
    Anchor anchor;
    if (signature->sha256)
      continue;
    if (!choose_anchor(signature, &anchor)) {
      g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                  "%s: a pattern needs %d bytes without a wildcard that follow one another", signature->name,
                  ANCHOR_MIN);
      return NULL;
    }
    anchor.signature = i;
    add_anchor(matcher, &anchor);
  }
  link_states(matcher);
  return g_steal_pointer(&matcher);
}

void
matcher_free(Matcher *matcher)
{
  g_array_free(matcher->states, TRUE);
  g_array_free(matcher->anchors, TRUE);
  g_free(matcher);
}

static gboolean
run_is_at(const PatternRun *run, const guint8 *data, gsize size, gsize at)
{
  if (at > size || run->length > size - at)
    return FALSE;
  for (gsize i = 0; i < run->length; i++)
    if ((data[at + i] & run->bytes[i].mask) != run->bytes[i].value)
      return FALSE;
  return TRUE;
}

/* Whether runs[0] and those after it follow what ended at `end`. */
static gboolean
follows(const PatternRun *runs, gsize n_runs, const guint8 *data, gsize size, gsize end)
{
  if (n_runs == 0)
    return TRUE;
  for (gsize gap = runs->gap_min; gap <= runs->gap_max && end + gap < size; gap++)
    if (run_is_at(runs, data, size, end + gap) &&
        follows(runs + 1, n_runs - 1, data, size, end + gap + runs->length))
      return TRUE;
  return FALSE;
}

/* Whether runs[0] .. runs[last - 1] stand before runs[last], which begins at `begin`. */
static gboolean
precedes(const PatternRun *runs, gsize last, const guint8 *data, gsize size, gsize begin)
{
  if (last == 0)
    return TRUE;
  const PatternRun *run = &runs[last - 1];
  for (gsize gap = runs[last].gap_min; gap <= runs[last].gap_max && gap + run->length <= begin; gap++) {
    gsize at = begin - gap - run->length;
    if (run_is_at(run, data, size, at) && precedes(runs, last - 1, data, size, at))
      return TRUE;
  }
  return FALSE;
}

static gboolean
pattern_is_around(const Anchor *anchor, const guint8 *data, gsize size, gsize anchor_end)
{
  const PatternRun *runs = anchor->of->runs, *run = &runs[anchor->run];
  gsize before = anchor->offset + anchor->length;
  if (anchor_end < before)
    return FALSE;
  gsize begin = anchor_end - before;
  return run_is_at(run, data, size, begin) && precedes(runs, anchor->run, data, size, begin) &&
         follows(run + 1, anchor->of->n_runs - anchor->run - 1, data, size, begin + run->length);
}

static void
check_anchors(const Matcher *matcher, guint32 at, const guint8 *data, gsize size, gsize end, gboolean *found)
{
  const State *states = (const State *)matcher->states->data;
  if (states[at].anchor < 0)
    at = states[at].also;
  for (; at != 0; at = states[at].also)
    for (gint32 i = states[at].anchor; i >= 0;) {
      const Anchor *anchor = &g_array_index(matcher->anchors, Anchor, i);
      if (!found[anchor->signature])
        found[anchor->signature] = pattern_is_around(anchor, data, size, end);
      i = anchor->sibling;
    }
}

void
matcher_scan(const Matcher *matcher, const guint8 *data, gsize size, gboolean *found)
{
  const State *states = (const State *)matcher->states->data;
  guint32 at = 0;
  for (gsize i = 0; i < size; i++) {
    at = states[at].next[data[i]];
    if (G_UNLIKELY(states[at].anchor >= 0 || states[at].also != 0))
      check_anchors(matcher, at, data, size, i + 1, found);
  }
}
