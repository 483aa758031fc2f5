#include "mirror/withhold.h"

#include <string.h>

#include "base/error.h"
#include "mirror/page_index.h"

enum {
  PAGE = COPIES_PAGE,
  FEW = 16,    /* pages: asking for so few one by one would cost more than sending them */
  CHEAP = 128, /* bytes that a difference may have to be sent on suspicion */
};

/* The other side knows the page, and little has changed in it. */
static gboolean
is_cheap(MirrorTwin *twin, guint64 address)
{
  const guint8 *former = mirror_copies_get(twin->copies, address);
  guint8 now[PAGE];
  if (twin->whole_pages || !former || !mirror_memory_read(twin->process, address, now, PAGE, NULL))
    return FALSE;
  g_autoptr(GByteArray) changes = g_byte_array_new();
  gsize length = mirror_changes_pack(former, now, changes);
  return length > 0 && length <= CHEAP;
}

static MirrorRunKind
choose(MirrorTwin *twin, guint64 address)
{
  static const MirrorRunKind kinds[] = {
      [MIRROR_SEND] = MIRROR_RUN_DATA, [MIRROR_LEND] = MIRROR_RUN_HELD, [MIRROR_KEEP] = MIRROR_RUN_FAR};
  return is_cheap(twin, address) ? MIRROR_RUN_DATA : kinds[twin->choose(address, twin->choose_user)];
}

static void
append(GArray *runs, guint64 address, guint64 length, MirrorRunKind kind)
{
  MirrorRun *last = runs->len ? &g_array_index(runs, MirrorRun, runs->len - 1) : NULL;
  if (last && last->kind == kind && last->address + last->length == address) {
    last->length += length;
    return;
  }
  MirrorRun run = {address, length, kind, 0};
  g_array_append_val(runs, run);
}

static void
split(MirrorTwin *twin, const MirrorRun *run, GArray *runs)
{
  for (guint64 at = run->address, end = run->address + run->length; at < end;) {
    const MirrorMapping *mapping = mirror_layout_find(twin->layout, at);
    guint64 stop = mapping ? MIN(mapping->end, end) : end;
    if (!mapping || mapping->kind != MIRROR_MAP_ANONYMOUS) {
      append(runs, at, stop - at, MIRROR_RUN_DATA);
      at = stop;
    }
    for (; at < stop; at += PAGE)
      append(runs, at, PAGE, choose(twin, at));
  }
}

void
mirror_withhold(MirrorTwin *twin, MirrorDelta *delta)
{
  guint64 bytes = 0;
  for (guint i = 0; i < delta->runs->len; i++)
    bytes += mirror_run_bytes(&g_array_index(delta->runs, MirrorRun, i));
  if (!twin->choose || bytes <= FEW * PAGE)
    return;
  GArray *runs = g_array_new(FALSE, FALSE, sizeof(MirrorRun));
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (run->kind == MIRROR_RUN_DATA)
      split(twin, run, runs);
    else
      g_array_append_val(runs, *run);
  }
  g_array_unref(delta->runs);
  delta->runs = runs;
}

void
mirror_withheld_note(MirrorTwin *twin, const MirrorDelta *delta)
{
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (run->kind == MIRROR_RUN_FAR || run->kind == MIRROR_RUN_KNOWN)
      mirror_ranges_add(twin->withheld, run->address, run->address + run->length);
    else if (twin->withheld->len)
      mirror_ranges_remove(twin->withheld, run->address, run->address + run->length);
  }
}

static gboolean
leave(MirrorTwin *twin, const MirrorRun *run, GError **error)
{
  guint8 page[PAGE];
  for (guint64 at = 0; at < run->length; at += PAGE) {
    if (!mirror_memory_read_present(twin->process, run->address + at, page, PAGE, error))
      return FALSE;
    mirror_kept_leave(twin->kept, run->address + at, page);
  }
  return TRUE;
}

gboolean
mirror_kept_note(MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (run->kind != MIRROR_RUN_FAR)
      mirror_kept_take_along(twin->kept, run->address, run->address + run->length);
    else if (!leave(twin, run, error))
      return FALSE;
  }
  return TRUE;
}

void
mirror_withheld_superseded(MirrorTwin *twin, const MirrorDelta *delta)
{
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (twin->withheld->len)
      mirror_ranges_remove(twin->withheld, run->address, run->address + run->length);
    if (twin->kept)
      mirror_kept_drop(twin->kept, run->address, run->address + run->length);
  }
}

/* Pages of zeros travel as holes. */
static void
append_contents(MirrorTwin *twin, MirrorDelta *answer, guint64 address, const guint8 *bytes, guint64 length)
{
  static const guint8 zeros[PAGE];
  for (guint64 done = 0; done < length; done += PAGE) {
    gboolean blank = memcmp(bytes + done, zeros, PAGE) == 0;
    append(answer->runs, address + done, PAGE, blank ? MIRROR_RUN_HOLE : MIRROR_RUN_DATA);
    if (blank)
      continue;
    g_byte_array_append(answer->data, bytes + done, PAGE);
    mirror_copies_put(twin->copies, address + done, bytes + done);
    if (twin->index) {
      PageKey key;
      page_key(bytes + done, &key);
      page_index_add(twin->index, &key);
    }
  }
}

static gboolean
give_range(MirrorTwin *twin, const MirrorRange *range, MirrorDelta *answer, GError **error)
{
  enum { STEP = 64 * PAGE };
  g_autofree guint8 *bytes = g_malloc(STEP);
  for (guint64 at = range->start; at < range->end; at += STEP) {
    guint64 length = MIN(range->end - at, STEP);
    if (!mirror_memory_read(twin->process, at, bytes, length, error))
      return FALSE;
    append_contents(twin, answer, at, bytes, length);
  }
  return TRUE;
}

gboolean
mirror_withheld_give(MirrorTwin *twin, const MirrorRanges *wanted, MirrorDelta *answer, GError **error)
{
  MirrorRange part;
  if (mirror_ranges_sum(wanted) > (guint64)MIRROR_GIVE_MAX * PAGE)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone asks for too many pages at once");
  for (guint i = 0; i < wanted->len; i++) {
    const MirrorRange *range = mirror_ranges_get(wanted, i);
    for (guint64 at = range->start; mirror_ranges_meet(twin->withheld, at, range->end, &part);
         at = part.end) {
      if (!give_range(twin, &part, answer, error))
        return FALSE;
      mirror_ranges_remove(twin->withheld, part.start, part.end);
    }
  }
  return TRUE;
}
