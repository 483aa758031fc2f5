#include "clonedoc/difference.h"

#include <string.h>

/* Further apart than twice this, a search has used up what it may long before. */
#define DISTANCE_MAX 4096

typedef struct {
  const guint32 *a, *b;
  guint8 *a_marks, *b_marks;
  gint64 *work;
  gssize reached[2][2 * DISTANCE_MAX + 3];
} Search;

/* A stretch of either. */
typedef struct {
  gsize a, a_end, b, b_end;
} Box;

static void
trim(const Search *search, Box *box)
{
  while (box->a < box->a_end && box->b < box->b_end && search->a[box->a] == search->b[box->b]) {
    box->a++;
    box->b++;
  }
  while (box->a < box->a_end && box->b < box->b_end &&
         search->a[box->a_end - 1] == search->b[box->b_end - 1]) {
    box->a_end--;
    box->b_end--;
  }
}

/* A search from one end of a box of `n` by `m`: `a` and `b` are read from there by `stride`, and on each
 * diagonal k, where x of `a` and x - k of `b` are behind, it knows how far it has `reached`. */
typedef struct {
  const guint32 *a, *b;
  gssize n, m, stride;
  gssize *reached;
  gssize x, k; /* where it met the other one */
} Half;

/* How far one comes on diagonal `k` by `d` changes, before what is the same from there on. */
static gssize
change(const Half *half, gssize k, gssize d)
{
  const gssize *reached = half->reached;
  if (k == -d || k == -half->m)
    return reached[k + 1];
  if (k == d || k == half->n || reached[k - 1] >= reached[k + 1])
    return reached[k - 1] + 1;
  return reached[k + 1];
}

/* As far as `d` changes take `half`, on the diagonals that cross the box. TRUE: it met the other one, which
 * is `other_d` far. `left` becomes less than 0 when it is given up. */
static gboolean
advance(Half *half, gssize d, const Half *other, gssize other_d, gint64 *left)
{
  gssize n = half->n, m = half->m, delta = n - m;
  gboolean may_meet = (delta + d + other_d) % 2 == 0;
  gssize first = -d + 2 * ((MAX(d - m, 0) + 1) / 2), last = d - 2 * ((MAX(d - n, 0) + 1) / 2);
  for (gssize k = first; k <= last && *left >= 0; k += 2) {
    gssize start = change(half, k, d), x = start;
    while (x < n && x - k < m && half->a[x * half->stride] == half->b[(x - k) * half->stride])
      x++;
    *left -= 1 + x - start;
    half->reached[k] = x;
    if (may_meet && ABS(delta - k) <= other_d && x + other->reached[delta - k] >= n) {
      half->x = x;
      half->k = k;
      return TRUE;
    }
  }
  return FALSE;
}

/* A point in the middle of a way with the fewest changes: where two searches from both ends meet. FALSE: it
 * would cost too much. The box is trimmed, so that either side of the point has changes. */
static gboolean
find_middle(Search *search, const Box *box, gsize *a_middle, gsize *b_middle)
{
  gssize n = box->a_end - box->a, m = box->b_end - box->b;
  gint64 may = *search->work / 4, left = may;
  Half start = {search->a + box->a, search->b + box->b, n, m, 1, search->reached[0] + DISTANCE_MAX + 1, 0, 0};
  Half end = {search->a + box->a_end - 1,
              search->b + box->b_end - 1,
              n,
              m,
              -1,
              search->reached[1] + DISTANCE_MAX + 1,
              0,
              0};
  gboolean found = FALSE;
  start.reached[1] = end.reached[1] = 0;
  for (gssize d = 0; d <= DISTANCE_MAX && left >= 0 && !found; d++) {
    if (advance(&start, d, &end, d - 1, &left)) {
      *a_middle = box->a + start.x;
      *b_middle = box->b + start.x - start.k;
      found = TRUE;
    } else if (advance(&end, d, &start, d, &left)) {
      *a_middle = box->a_end - end.x;
      *b_middle = box->b_end - end.x + end.k;
      found = TRUE;
    }
  }
  *search->work -= may - left;
  return found;
}

/* Halves of the changes each: no deeper than the logarithm of DISTANCE_MAX. */
static gboolean
search_box(Search *search, Box box)
{
  gsize a = 0, b = 0;
  trim(search, &box);
  gboolean simple = box.a == box.a_end || box.b == box.b_end;
  if (!simple && find_middle(search, &box, &a, &b)) {
    gboolean first = search_box(search, (Box){box.a, a, box.b, b});
    return search_box(search, (Box){a, box.a_end, b, box.b_end}) && first;
  }
  memset(search->a_marks + box.a, 1, box.a_end - box.a);
  memset(search->b_marks + box.b, 1, box.b_end - box.b);
  return simple;
}

gboolean
doc_difference(const guint32 *a, gsize a_count, guint8 *a_marks, const guint32 *b, gsize b_count,
               guint8 *b_marks, gint64 *work)
{
  g_autofree Search *search = g_new(Search, 1);
  search->a = a;
  search->b = b;
  search->a_marks = a_marks;
  search->b_marks = b_marks;
  search->work = work;
  memset(a_marks, 0, a_count);
  memset(b_marks, 0, b_count);
  return search_box(search, (Box){0, a_count, 0, b_count});
}
