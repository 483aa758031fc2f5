#include "mirror/kept.h"

#include <string.h>

#include "base/error.h"
#include "mirror/copies.h"
#include "mirror/page_table.h"
#include "mirror/withhold.h"

enum { PAGE = COPIES_PAGE };

typedef struct {
  guint64 address;
  guint8 bytes[PAGE];
} KeptPage;

struct MirrorKept {
  GHashTable *pages;  /* address → KeptPage: of blocks that the device has taken */
  GHashTable *fresh;  /* the same of the last one */
  MirrorRanges *gone; /* of `pages`, once the last one is taken */
};

MirrorKept *
mirror_kept_new(void)
{
  MirrorKept *kept = g_new0(MirrorKept, 1);
  kept->pages = mirror_page_table_new();
  kept->fresh = mirror_page_table_new();
  kept->gone = mirror_ranges_new();
  return kept;
}

void
mirror_kept_free(MirrorKept *kept)
{
  if (!kept)
    return;
  g_hash_table_unref(kept->pages);
  g_hash_table_unref(kept->fresh);
  g_array_unref(kept->gone);
  g_free(kept);
}

void
mirror_kept_leave(MirrorKept *kept, guint64 address, const guint8 *page)
{
  KeptPage *new = g_new(KeptPage, 1);
  new->address = address;
  memcpy(new->bytes, page, PAGE);
  g_hash_table_replace(kept->fresh, &new->address, new);
}

void
mirror_kept_take_along(MirrorKept *kept, guint64 start, guint64 end)
{
  if (g_hash_table_size(kept->pages))
    mirror_ranges_add(kept->gone, start, end);
}

void
mirror_kept_settle(MirrorKept *kept)
{
  for (guint i = 0; i < kept->gone->len; i++)
    mirror_page_table_drop(kept->pages, mirror_ranges_get(kept->gone, i)->start,
                           mirror_ranges_get(kept->gone, i)->end);
  g_array_set_size(kept->gone, 0);
  GHashTableIter iterator;
  gpointer value;
  g_hash_table_iter_init(&iterator, kept->fresh);
  while (g_hash_table_iter_next(&iterator, NULL, &value)) {
    KeptPage *page = value;
    g_hash_table_iter_steal(&iterator);
    g_hash_table_replace(kept->pages, &page->address, page);
  }
}

void
mirror_kept_drop(MirrorKept *kept, guint64 start, guint64 end)
{
  mirror_page_table_drop(kept->pages, start, end);
}

guint64
mirror_kept_pages(const MirrorKept *kept)
{
  return (guint64)g_hash_table_size(kept->pages) + g_hash_table_size(kept->fresh);
}

static void
give(MirrorKept *kept, const KeptPage *page, MirrorDelta *answer)
{
  static const guint8 zeros[PAGE];
  GArray *runs = answer->runs;
  gboolean blank = memcmp(page->bytes, zeros, PAGE) == 0;
  MirrorRun run = {page->address, PAGE, blank ? MIRROR_RUN_HOLE : MIRROR_RUN_DATA, 0};
  MirrorRun *last = runs->len ? &g_array_index(runs, MirrorRun, runs->len - 1) : NULL;
  if (last && last->kind == run.kind && last->address + last->length == run.address)
    last->length += PAGE;
  else
    g_array_append_val(runs, run);
  if (!blank)
    g_byte_array_append(answer->data, page->bytes, PAGE);
  g_hash_table_remove(kept->pages, &run.address);
}

gboolean
mirror_kept_give(MirrorKept *kept, const MirrorRanges *wanted, MirrorDelta *answer, GError **error)
{
  if (mirror_ranges_sum(wanted) > (guint64)MIRROR_GIVE_MAX * PAGE)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device asks for too many pages at once");
  for (guint i = 0; i < wanted->len; i++)
    for (guint64 at = mirror_ranges_get(wanted, i)->start; at < mirror_ranges_get(wanted, i)->end;
         at += PAGE) {
      const KeptPage *page = g_hash_table_lookup(kept->pages, &at);
      if (page)
        give(kept, page, answer);
    }
  return TRUE;
}
