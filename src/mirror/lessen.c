#include "mirror/lessen.h"

#include <string.h>
#include <sys/mman.h>

#include "mirror/page_index.h"

enum { PAGE = COPIES_PAGE };

/* Private memory only: what is in a file's page can become another without a word of the process. */
static gboolean
may_copy(const MirrorMapping *mapping)
{
  return mapping && (mapping->kind == MIRROR_MAP_ANONYMOUS || mapping->kind == MIRROR_MAP_STACK ||
                     (mapping->kind == MIRROR_MAP_FILE && (mapping->prot & PROT_WRITE)));
}

void
mirror_copies_note(MirrorTwin *twin, guint64 address, const guint8 *bytes, guint64 length)
{
  for (guint64 at = 0; at < length; at += PAGE)
    if (may_copy(mirror_layout_find(twin->layout, address + at)))
      mirror_copies_put(twin->copies, address + at, bytes + at);
}

typedef struct {
  MirrorTwin *twin;
  GArray *runs;
  GByteArray *data;
} Lessened;

static void
append_run(GArray *runs, const MirrorRun *run)
{
  MirrorRun *last = runs->len ? &g_array_index(runs, MirrorRun, runs->len - 1) : NULL;
  if (last && run->kind != MIRROR_RUN_CHANGES && last->kind == run->kind &&
      last->address + last->length == run->address)
    last->length += run->length;
  else
    g_array_append_val(runs, *run);
}

/* The other side keeps it, as far as is known here. */
static gboolean
is_kept(MirrorTwin *twin, const guint8 *page, PageKey *key)
{
  if (!twin->index)
    return FALSE;
  page_key(page, key);
  if (page_index_has(twin->index, key))
    return TRUE;
  page_index_add(twin->index, key);
  return FALSE;
}

/* A mapping of nothing reads as zeros where it has no page. */
static gboolean
is_hole(MirrorTwin *twin, guint64 address, const guint8 *page)
{
  const MirrorMapping *mapping = twin->primary ? mirror_layout_find(twin->layout, address) : NULL;
  return mapping && mapping->kind == MIRROR_MAP_ANONYMOUS && page_is_zero(page);
}

static void
append_page(Lessened *to, guint64 address, MirrorRunKind kind, const guint8 *former, const guint8 *page)
{
  MirrorTwin *twin = to->twin;
  MirrorRun run = {address, PAGE, kind, 0};
  PageKey key;
  if (former && (run.changes = mirror_changes_pack(former, page, to->data))) {
    run.kind = MIRROR_RUN_CHANGES;
  } else if (is_hole(twin, address, page)) {
    run.kind = MIRROR_RUN_HOLE;
  } else if (is_kept(twin, page, &key)) {
    run.kind = MIRROR_RUN_KNOWN;
    g_byte_array_append(to->data, key.bytes, sizeof key.bytes);
  } else {
    g_byte_array_append(to->data, page, PAGE);
  }
  append_run(to->runs, &run);
}

/* Many pages are written and yet are what they were: stacks, scratch memory. */
static void
append_whole(Lessened *to, const MirrorRun *run, const guint8 *bytes, gboolean note)
{
  MirrorTwin *twin = to->twin;
  for (guint64 at = 0; at < run->length; at += PAGE) {
    guint64 address = run->address + at;
    const guint8 *former = twin->whole_pages ? NULL : mirror_copies_get(twin->copies, address);
    if (former && memcmp(former, bytes + at, PAGE) == 0)
      continue;
    append_page(to, address, run->kind, former, bytes + at);
    if (note)
      mirror_copies_note(twin, address, bytes + at, PAGE);
  }
}

/* Where mappings change, or much does, copies are no use. */
void
mirror_lessen(MirrorTwin *twin, MirrorDelta *delta)
{
  gboolean much = delta->data->len > COPIES_MAX * PAGE;
  if (much || mirror_delta_section(delta, MIRROR_SECTION_LAYOUT, 0))
    mirror_copies_clear(twin->copies);
  Lessened to = {twin, g_array_new(FALSE, FALSE, sizeof(MirrorRun)),
                 g_byte_array_sized_new(delta->data->len + 1)};
  guint64 at = 0;
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (run->kind == MIRROR_RUN_DATA || run->kind == MIRROR_RUN_HELD) {
      append_whole(&to, run, delta->data->data + at, !much);
    } else {
      mirror_copies_drop(twin->copies, run->address, run->length);
      append_run(to.runs, run);
    }
    at += mirror_run_bytes(run);
  }
  g_array_unref(delta->runs);
  g_byte_array_unref(delta->data);
  delta->runs = to.runs;
  delta->data = to.data;
}
