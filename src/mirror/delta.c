#include "mirror/delta.h"

#include <string.h>

#include "base/error.h"
#include "mirror/copies.h"

enum { PIECE_BYTES = 1 << 20, PAGE = 4096 };
#define SECTION_BYTES_MAX (256u << 20) /* of all */
#define SECTIONS_MAX      (3u << 16)
#define RUNS_MAX          (1u << 22)

MirrorDelta *
mirror_delta_new(void)
{
  MirrorDelta *delta = g_new0(MirrorDelta, 1);
  delta->sections = g_ptr_array_new_with_free_func((GDestroyNotify)mirror_section_free);
  delta->runs = g_array_new(FALSE, FALSE, sizeof(MirrorRun));
  delta->data = g_byte_array_sized_new(1);
  return delta;
}

void
mirror_delta_free(MirrorDelta *delta)
{
  if (!delta)
    return;
  g_ptr_array_unref(delta->sections);
  g_array_unref(delta->runs);
  g_byte_array_unref(delta->data);
  g_free(delta);
}

/* ---- ranges ---- */

gsize
mirror_ranges_message(const MirrorRanges *ranges, Doppel__Engine__PageRange *messages,
                      Doppel__Engine__PageRange **list)
{
  for (guint i = 0; i < ranges->len; i++) {
    const MirrorRange *range = mirror_ranges_get(ranges, i);
    doppel__engine__page_range__init(&messages[i]);
    messages[i].page = range->start / PAGE;
    messages[i].pages = (range->end - range->start) / PAGE;
    list[i] = &messages[i];
  }
  return ranges->len;
}

gboolean
mirror_ranges_receive(MirrorRanges *ranges, gsize count, Doppel__Engine__PageRange **list, GError **error)
{
  guint64 last = 0;
  if (count > MIRROR_RANGES_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "too many ranges of pages");
  for (gsize i = 0; i < count; i++) {
    /* In their order: to sort them would be the other side's way to keep this one busy. */
    if (list[i]->page == 0 || list[i]->pages == 0 || list[i]->page >= 1ull << 45 ||
        list[i]->pages >= 1ull << 45 || list[i]->page < last)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a range of pages that cannot be");
    last = list[i]->page + list[i]->pages;
    mirror_ranges_add(ranges, list[i]->page * PAGE, last * PAGE);
  }
  return TRUE;
}

/* ---- the delta ---- */

const MirrorSection *
mirror_delta_section(const MirrorDelta *delta, guint32 kind, guint32 id)
{
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    if (section->kind == kind && section->id == id)
      return section;
  }
  return NULL;
}

/* ---- sending ---- */

static void
add_section(GPtrArray *into, const MirrorSection *section)
{
  Doppel__Engine__Section *message = g_new(Doppel__Engine__Section, 1);
  doppel__engine__section__init(message);
  message->kind = section->kind;
  message->id = section->id;
  if (section->bytes) {
    gsize length;
    message->has_bytes = TRUE;
    message->bytes.data = (guint8 *)g_bytes_get_data(section->bytes, &length);
    message->bytes.len = length;
  }
  g_ptr_array_add(into, message);
}

static void
add_run(GPtrArray *into, guint64 address, guint64 length, const MirrorRun *run)
{
  Doppel__Engine__Run *message = g_new(Doppel__Engine__Run, 1);
  doppel__engine__run__init(message);
  message->page = address / PAGE;
  message->pages = length / PAGE;
  message->kind = run->kind;
  message->has_changes = run->kind == MIRROR_RUN_CHANGES;
  message->changes = run->changes;
  g_ptr_array_add(into, message);
}

gboolean
mirror_delta_send(const MirrorDelta *delta, MirrorPieceSend send, void *user, GError **error)
{
  guint run = 0;
  guint64 run_done = 0;
  gsize data_done = 0;
  for (gboolean first = TRUE;; first = FALSE) {
    g_autoptr(GPtrArray) sections = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) runs = g_ptr_array_new_with_free_func(g_free);
    gsize data_at = data_done;
    for (guint i = 0; first && i < delta->sections->len; i++)
      add_section(sections, delta->sections->pdata[i]);
    while (run < delta->runs->len && data_done - data_at < PIECE_BYTES && runs->len < 8192) {
      const MirrorRun *each = &g_array_index(delta->runs, MirrorRun, run);
      guint64 length = each->length - run_done, left = PIECE_BYTES - (data_done - data_at);
      /* Changes stay together, and so does a page. */
      if (left < (each->kind == MIRROR_RUN_CHANGES ? each->changes : PAGE))
        break;
      gsize unit = each->kind == MIRROR_RUN_DATA || each->kind == MIRROR_RUN_HELD ? PAGE
                   : each->kind == MIRROR_RUN_KNOWN                               ? PAGE_KEY_SIZE
                                                                                  : 0;
      if (unit)
        length = MIN(length, left / unit * PAGE);
      data_done += unit ? length / PAGE * unit : mirror_run_bytes(each);
      add_run(runs, each->address + run_done, length, each);
      run_done += length;
      if (run_done == each->length)
        run++, run_done = 0;
    }
    Doppel__Engine__DeltaPiece piece = DOPPEL__ENGINE__DELTA_PIECE__INIT;
    piece.n_section = sections->len;
    piece.section = (Doppel__Engine__Section **)sections->pdata;
    piece.n_run = runs->len;
    piece.run = (Doppel__Engine__Run **)runs->pdata;
    piece.last = run == delta->runs->len;
    piece.has_data = data_done > data_at;
    if (piece.has_data)
      piece.data = (ProtobufCBinaryData){data_done - data_at, delta->data->data + data_at};
    if (!send(&piece, user, error))
      return FALSE;
    if (piece.last)
      return TRUE;
  }
}

/* ---- receiving ---- */

static gboolean
receive_sections(MirrorDelta *delta, const Doppel__Engine__DeltaPiece *piece, GError **error)
{
  for (gsize i = 0; i < piece->n_section; i++) {
    const Doppel__Engine__Section *message = piece->section[i];
    if (message->kind < MIRROR_SECTION_LAYOUT || message->kind >= MIRROR_SECTION_COUNT ||
        delta->section_bytes + message->bytes.len > SECTION_BYTES_MAX || delta->sections->len >= SECTIONS_MAX)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a section of state that does not exist");
    MirrorSection *section = g_new(MirrorSection, 1);
    *section =
        (MirrorSection){message->kind, message->id,
                        message->has_bytes ? g_bytes_new(message->bytes.data, message->bytes.len) : NULL};
    g_ptr_array_add(delta->sections, section);
    delta->section_bytes += message->bytes.len;
  }
  return TRUE;
}

/* Bytes of contents that the piece's runs call for; G_MAXUINT64 where they make no sense. */
static guint64
receive_runs(MirrorDelta *delta, const Doppel__Engine__DeltaPiece *piece)
{
  guint64 bytes = 0;
  if (delta->runs->len + piece->n_run > RUNS_MAX)
    return G_MAXUINT64;
  for (gsize i = 0; i < piece->n_run; i++) {
    const Doppel__Engine__Run *message = piece->run[i];
    if (message->kind >= MIRROR_RUN_KINDS || message->page == 0 || message->pages == 0 ||
        message->page >= 1ull << 45 || message->pages >= 1ull << 45)
      return G_MAXUINT64;
    MirrorRun run = {message->page * PAGE, message->pages * PAGE, message->kind, message->changes};
    if (run.kind == MIRROR_RUN_CHANGES &&
        (run.length != COPIES_PAGE || run.changes == 0 || run.changes > COPIES_PAGE))
      return G_MAXUINT64;
    bytes += mirror_run_bytes(&run);
    if (bytes > PIECE_BYTES)
      return G_MAXUINT64;
    g_array_append_val(delta->runs, run);
  }
  return bytes;
}

gboolean
mirror_delta_receive(MirrorDelta *delta, const Doppel__Engine__DeltaPiece *piece, guint64 limit,
                     gboolean *complete, GError **error)
{
  if (!receive_sections(delta, piece, error))
    return FALSE;
  guint64 wanted = receive_runs(delta, piece), have = piece->has_data ? piece->data.len : 0;
  if (wanted == G_MAXUINT64 || wanted != have ||
      delta->data->len + wanted > MIN(limit, G_MAXUINT32 - PIECE_BYTES))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "runs of memory that do not fit their contents");
  if (wanted)
    g_byte_array_append(delta->data, piece->data.data, wanted);
  *complete = piece->last;
  return TRUE;
}
