#include "mirror/copies.h"

#include <string.h>

#include "mirror/page_table.h"

/* Changes of a page: spans, one behind the other, of a head and `length` bytes. */
typedef struct {
  guint16 offset, length; /* in the byte order of both twins: their memory is the same, too */
} Span;

enum {
  WORD = sizeof(guint64),
  GAP_MAX = 2 * WORD,               /* as much that is equal costs less in a span than two heads do */
  CHANGES_MAX = COPIES_PAGE * 3 / 8 /* beyond it a whole page, compressed, is no more */
};

struct MirrorCopies {
  GHashTable *pages; /* address → Copy */
};

typedef struct {
  guint64 address;
  guint8 bytes[COPIES_PAGE];
} Copy;

MirrorCopies *
mirror_copies_new(void)
{
  MirrorCopies *copies = g_new0(MirrorCopies, 1);
  copies->pages = mirror_page_table_new();
  return copies;
}

void
mirror_copies_free(MirrorCopies *copies)
{
  if (!copies)
    return;
  g_hash_table_unref(copies->pages);
  g_free(copies);
}

void
mirror_copies_clear(MirrorCopies *copies)
{
  g_hash_table_remove_all(copies->pages);
}

guint8 *
mirror_copies_get(MirrorCopies *copies, guint64 address)
{
  Copy *copy = g_hash_table_lookup(copies->pages, &address);
  return copy ? copy->bytes : NULL;
}

void
mirror_copies_put(MirrorCopies *copies, guint64 address, const guint8 *page)
{
  guint8 *known = mirror_copies_get(copies, address);
  if (known) {
    memcpy(known, page, COPIES_PAGE);
    return;
  }
  if (g_hash_table_size(copies->pages) >= COPIES_MAX)
    mirror_copies_clear(copies);
  Copy *copy = g_new(Copy, 1);
  copy->address = address;
  memcpy(copy->bytes, page, COPIES_PAGE);
  g_hash_table_insert(copies->pages, &copy->address, copy);
}

void
mirror_copies_drop(MirrorCopies *copies, guint64 address, guint64 length)
{
  mirror_page_table_drop(copies->pages, address, address + length);
}

/* Offset of the first word from `at` on that is, or is not, equal in both; the page's end where there is
 * none. */
static gsize
find_word(const guint8 *a, const guint8 *b, gsize at, gboolean equal)
{
  for (; at < COPIES_PAGE; at += WORD) {
    guint64 x, y;
    memcpy(&x, a + at, WORD);
    memcpy(&y, b + at, WORD);
    if ((x == y) == equal)
      break;
  }
  return at;
}

gsize
mirror_changes_pack(const guint8 *former, const guint8 *now, GByteArray *into)
{
  guint begin = into->len;
  for (gsize at = find_word(former, now, 0, FALSE); at < COPIES_PAGE;) {
    gsize end = find_word(former, now, at, TRUE), next = find_word(former, now, end, FALSE);
    while (next < COPIES_PAGE && next - end <= GAP_MAX) {
      end = find_word(former, now, next, TRUE);
      next = find_word(former, now, end, FALSE);
    }
    Span span = {at, end - at};
    if (into->len - begin + sizeof span + span.length > CHANGES_MAX) {
      g_byte_array_set_size(into, begin);
      return 0;
    }
    g_byte_array_append(into, (guint8 *)&span, sizeof span);
    g_byte_array_append(into, now + at, span.length);
    at = next;
  }
  /* Written, and as it was before: an empty span, so that it is some change. */
  if (into->len == begin)
    g_byte_array_append(into, (guint8 *)&(Span){0}, sizeof(Span));
  return into->len - begin;
}

gboolean
mirror_changes_apply(const guint8 *changes, gsize length, guint8 *page)
{
  for (gsize at = 0; at < length;) {
    Span span;
    if (length - at < sizeof span)
      return FALSE;
    memcpy(&span, changes + at, sizeof span);
    at += sizeof span;
    if (span.length > length - at || span.offset + span.length > COPIES_PAGE)
      return FALSE;
    if (page)
      memcpy(page + span.offset, changes + at, span.length);
    at += span.length;
  }
  return TRUE;
}
