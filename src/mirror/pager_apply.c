/* Pages as the other side says they are: at the beginning of a block. */
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "mirror/page_table.h"
#include "mirror/pager_private.h"

enum { GAP_MAX = 32 }; /* pages between two runs that are armed with them: fewer mappings, some blank pages */

void
mirror_pager_set_store(MirrorPager *pager, PageStore *store)
{
  pager->store = store;
}

void
mirror_pager_forget(MirrorPager *pager, guint64 start, guint64 end)
{
  mirror_ranges_remove(pager->far, start, end);
  mirror_page_table_drop(pager->held, start, end);
  mirror_page_table_drop(pager->known, start, end);
}

gboolean
mirror_pager_write(MirrorPager *pager, guint64 address, const guint8 *bytes, gsize length, GError **error)
{
  MirrorRange part;
  mirror_pager_forget(pager, address, address + length);
  for (guint64 at = address, end = address + length; at < end;) {
    gboolean armed = mirror_ranges_meet(pager->armed, at, end, &part);
    guint64 stop = armed ? part.start : end;
    if (stop > at && !pager_write_present(pager, at, bytes + (at - address), stop - at, error))
      return FALSE;
    if (armed &&
        !pager_put(pager, part.start, bytes + (part.start - address), part.end - part.start, TRUE, error))
      return FALSE;
    at = armed ? part.end : end;
  }
  return TRUE;
}

/* ---- now ---- */

/* Of a run what is in one mapping. Only private memory without a file can be missing. */
typedef struct {
  guint64 address, length;
  MirrorRunKind kind;
  const guint8 *bytes; /* of its contents, or names */
  gboolean lazy;
} Part;

static Part
next_part(const MirrorLayout *layout, const MirrorRun *run, guint64 from, const guint8 *bytes)
{
  const MirrorMapping *mapping = mirror_layout_find(layout, from);
  guint64 end = run->address + run->length, pages = (from - run->address) / PAGE;
  gsize unit = run->kind == MIRROR_RUN_KNOWN ? PAGE_KEY_SIZE : run->kind == MIRROR_RUN_HELD ? PAGE : 0;
  return (Part){from, (mapping ? MIN(mapping->end, end) : end) - from, run->kind, bytes + pages * unit,
                mapping && mapping->kind == MIRROR_MAP_ANONYMOUS};
}

static gboolean
write_answered(MirrorPager *pager, const MirrorRun *run, const guint8 *bytes, GError **error)
{
  for (guint64 done = 0; done < run->length; done += PAGE) {
    const guint8 *page = run->kind == MIRROR_RUN_HOLE ? pager_zeros : bytes + done;
    if (!pager_write_present(pager, run->address + done, page, PAGE, error))
      return FALSE;
    if (run->kind == MIRROR_RUN_DATA)
      pager_keep(pager, page);
  }
  return TRUE;
}

/* What the other side (hostile) answers is written over what is there, each page once. */
static gboolean
take_now(MirrorPager *pager, const MirrorRanges *asked, const MirrorDelta *answer, GError **error)
{
  g_autoptr(GArray) left = mirror_ranges_new();
  guint64 at = 0;
  g_array_append_vals(left, asked->data, asked->len);
  for (guint i = 0; i < answer->runs->len; i++) {
    const MirrorRun *run = &g_array_index(answer->runs, MirrorRun, i);
    MirrorRange part;
    if ((run->kind != MIRROR_RUN_DATA && run->kind != MIRROR_RUN_HOLE) ||
        !mirror_ranges_meet(left, run->address, run->address + run->length, &part) ||
        part.end - part.start != run->length)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "pages that nobody asked for");
    if (!write_answered(pager, run, answer->data->data + at, error))
      return FALSE;
    mirror_ranges_remove(left, run->address, run->address + run->length);
    pager->counts.pages += run->length / PAGE;
    at += mirror_run_bytes(run);
  }
  return !left->len ||
         doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the page at 0x%" G_GINT64_MODIFIER "x did not come",
                          mirror_ranges_get(left, 0)->start);
}

static gboolean
put_known_now(MirrorPager *pager, const Part *part, MirrorRanges *missing, GError **error)
{
  for (guint64 i = 0; i < part->length / PAGE; i++) {
    guint64 address = part->address + i * PAGE;
    guint8 page[PAGE];
    PageKey key;
    memcpy(key.bytes, part->bytes + i * PAGE_KEY_SIZE, PAGE_KEY_SIZE);
    if (!pager->store || !page_store_get(pager->store, &key, page))
      mirror_ranges_add(missing, address, address + PAGE);
    else if (!pager_write_present(pager, address, page, PAGE, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
put_part_now(MirrorPager *pager, const Part *part, MirrorRanges *missing, GError **error)
{
  if (!part->lazy && part->kind != MIRROR_RUN_KNOWN)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "memory that cannot be asked for later");
  switch (part->kind) {
  case MIRROR_RUN_KNOWN:
    return put_known_now(pager, part, missing, error);
  case MIRROR_RUN_HELD:
    return pager_write_present(pager, part->address, part->bytes, part->length, error);
  default:
    mirror_ranges_add(missing, part->address, part->address + part->length);
    return TRUE;
  }
}

typedef gboolean (*PartDo)(MirrorPager *pager, const Part *part, MirrorRanges *ranges, GError **error);

/* Does this with each part of a delta that can wait, or with each that cannot. */
static gboolean
each_part(MirrorPager *pager, const MirrorLayout *layout, const MirrorDelta *delta, gboolean waiting,
          PartDo what, MirrorRanges *ranges, GError **error)
{
  gboolean demand = mirror_pager_fd(pager) >= 0;
  guint64 at = 0;
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    const guint8 *bytes = delta->data->data + at;
    at += mirror_run_bytes(run);
    if (run->kind <= MIRROR_RUN_CHANGES)
      continue;
    for (guint64 from = run->address; from < run->address + run->length;) {
      Part part = next_part(layout, run, from, bytes);
      if ((part.lazy && demand) == waiting && !what(pager, &part, ranges, error))
        return FALSE;
      from += part.length;
    }
  }
  return TRUE;
}

static void
keep_all(MirrorPager *pager, const MirrorDelta *delta)
{
  guint64 at = 0;
  for (guint i = 0; pager->store && i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    for (guint64 done = 0; run->kind == MIRROR_RUN_DATA && done < run->length; done += PAGE)
      pager_keep(pager, delta->data->data + at + done);
    at += mirror_run_bytes(run);
  }
}

gboolean
mirror_pager_put_now(MirrorPager *pager, const MirrorLayout *layout, const MirrorDelta *delta, GError **error)
{
  g_autoptr(GArray) missing = mirror_ranges_new();
  keep_all(pager, delta);
  return each_part(pager, layout, delta, FALSE, put_part_now, missing, error) &&
         pager_ask(pager, missing, take_now, error);
}

/* ---- when they are touched ---- */

static gboolean
arm_range(MirrorPager *pager, guint64 start, guint64 end, GError **error)
{
  struct uffdio_register registration = {.range = {start, end - start},
                                         .mode = UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING};
  if (ioctl(mirror_pager_fd(pager), UFFDIO_REGISTER, &registration) < 0)
    return doppel_error_errno(error, "arming the memory at 0x%" G_GINT64_MODIFIER "x", start);
  mirror_ranges_add(pager->armed, start, end);
  return TRUE;
}

/* Only where nothing is can a mapping grow in its place. */
static gboolean
may_grow(const MirrorPager *pager, guint64 end, guint64 new_end)
{
  g_autoptr(MirrorLayout) layout = new_end > end ? mirror_layout_read(pager->process, NULL) : NULL;
  for (guint i = 0; layout && i < layout->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, i);
    if (mapping->start < new_end && mapping->end > end)
      return FALSE;
  }
  return layout != NULL;
}

gboolean
mirror_pager_resize(MirrorPager *pager, guint64 address, gsize length, gsize new_length, GError **error)
{
  guint64 start = address / PAGE * PAGE, end = start + (length + PAGE - 1) / PAGE * PAGE;
  guint64 new_end = start + (new_length + PAGE - 1) / PAGE * PAGE;
  MirrorRange part;
  if (mirror_pager_fd(pager) < 0 || end <= start || !mirror_ranges_meet(pager->armed, start, end, &part))
    return TRUE;
  if (!mirror_pager_bring(pager, address, length, error))
    return FALSE;
  /* Where that fails the range was never one mapping. */
  arm_range(pager, start, end, NULL);
  if (may_grow(pager, end, new_end)) {
    /* Nothing is there, whatever once was. */
    mirror_pager_forget(pager, end, new_end);
    end = new_end;
  }
  mirror_ranges_add(pager->armed, start, end);
  return TRUE;
}

/* What lies between two runs close to each other is armed as well, where it is of one mapping. */
static gboolean
arm_far(MirrorPager *pager, const MirrorLayout *layout, const MirrorRanges *new, GError **error)
{
  for (guint i = 0; i < new->len;) {
    MirrorRange range = *mirror_ranges_get(new, i++);
    while (i < new->len && mirror_ranges_get(new, i)->start - range.end <=
                                   GAP_MAX *PAGE &&mirror_layout_find(layout, range.start) ==
                               mirror_layout_find(layout, mirror_ranges_get(new, i)->start))
      range.end = mirror_ranges_get(new, i++)->end;
    MirrorRange part;
    gboolean already = mirror_ranges_meet(pager->armed, range.start, range.end, &part) &&
                       part.end - part.start == range.end - range.start;
    if (!already && !arm_range(pager, range.start, range.end, error))
      return FALSE;
  }
  return TRUE;
}

void
pager_hold(MirrorPager *pager, guint64 address, const guint8 *bytes, guint64 length, gboolean ahead)
{
  for (guint64 done = 0; done < length; done += PAGE) {
    HeldPage *page = g_new(HeldPage, 1);
    page->address = address + done;
    page->told = FALSE;
    page->ahead = ahead;
    memcpy(page->bytes, bytes + done, PAGE);
    g_hash_table_replace(pager->held, &page->address, page);
    pager->walk.ahead += ahead;
    pager_keep(pager, page->bytes);
  }
}

static void
name(MirrorPager *pager, guint64 address, const guint8 *keys, guint64 pages)
{
  for (guint64 i = 0; i < pages; i++) {
    KnownPage *known = g_new0(KnownPage, 1);
    known->address = address + i * PAGE;
    memcpy(known->key.bytes, keys + i * PAGE_KEY_SIZE, PAGE_KEY_SIZE);
    g_hash_table_replace(pager->known, &known->address, known);
  }
}

static gboolean
arm_part(MirrorPager *pager, const Part *part, MirrorRanges *armed, GError **error)
{
  guint64 end = part->address + part->length;
  mirror_ranges_add(armed, part->address, end);
  mirror_pager_forget(pager, part->address, end);
  if (part->kind == MIRROR_RUN_HELD)
    pager_hold(pager, part->address, part->bytes, part->length, FALSE);
  else
    mirror_ranges_add(pager->far, part->address, end);
  if (part->kind == MIRROR_RUN_KNOWN)
    name(pager, part->address, part->bytes, part->length / PAGE);
  return TRUE;
}

gboolean
mirror_pager_arm(MirrorPager *pager, const MirrorLayout *layout, const MirrorDelta *delta, GError **error)
{
  g_autoptr(GArray) armed = mirror_ranges_new();
  pager_walk_begin(pager);
  return each_part(pager, layout, delta, TRUE, arm_part, armed, error) &&
         arm_far(pager, layout, armed, error);
}

/* ---- afterwards ---- */

static void
tell(MirrorRanges *ranges, guint64 address, gboolean *told)
{
  if (!*told)
    mirror_ranges_add(ranges, address, address + PAGE);
  *told = TRUE;
}

MirrorRanges *
mirror_pager_untouched(MirrorPager *pager)
{
  MirrorRanges *ranges = mirror_ranges_new();
  GHashTableIter iterator;
  gpointer value;
  g_hash_table_iter_init(&iterator, pager->held);
  while (g_hash_table_iter_next(&iterator, NULL, &value))
    tell(ranges, ((HeldPage *)value)->address, &((HeldPage *)value)->told);
  g_hash_table_iter_init(&iterator, pager->known);
  while (g_hash_table_iter_next(&iterator, NULL, &value))
    tell(ranges, ((KnownPage *)value)->address, &((KnownPage *)value)->told);
  return ranges;
}
