/* The memory and the small state that the other twin sends: pieces, as unpacked messages or made of the
 * input's choices; then every section, as it is looked at before a process is touched. */
#include "input.h"
#include "mirror/copies.h"
#include "mirror/twin.h"

enum { PIECES_MAX = 8, PARTS_MAX = 16, LIMIT = 3 << 20, PAGE = 4096 };

int LLVMFuzzerTestOneInput(const guint8 *data, gsize length);

/* ---- sections ---- */

static void
try_steps(const MirrorLayout *from, const MirrorLayout *to)
{
  g_autoptr(GArray) steps = mirror_layout_steps(from, to);
  for (guint i = 0; i < steps->len; i++) {
    const MirrorStep *step = &g_array_index(steps, MirrorStep, i);
    if (step->mapping.start >= step->mapping.end || step->mapping.start % PAGE || step->mapping.end % PAGE)
      __builtin_trap();
  }
}

static void
try_layout(const guint8 *bytes, gsize length)
{
  static const char before[] = "400 10 5 2 0 /bin/true\0"
                               "500 80 3 0 0 \0"
                               "7fffffff0 f 3 1 0 ";
  g_autoptr(MirrorLayout) layout = mirror_layout_unpack(bytes, length, NULL);
  g_autoptr(MirrorLayout) former = mirror_layout_unpack((const guint8 *)before, sizeof before, NULL);
  if (!former)
    __builtin_trap();
  if (!layout)
    return;
  gsize size;
  const guint8 *packed = g_bytes_get_data(mirror_layout_pack(layout), &size);
  g_autoptr(MirrorLayout) back = mirror_layout_unpack(packed, size, NULL);
  if (!back || !g_bytes_equal(mirror_layout_pack(layout), mirror_layout_pack(back)))
    __builtin_trap();
  for (guint i = 0; i < layout->mappings->len; i++) {
    guint64 last = g_array_index(layout->mappings, MirrorMapping, i).end - 1;
    if (mirror_layout_find(layout, last) != &g_array_index(layout->mappings, MirrorMapping, i))
      __builtin_trap();
  }
  try_steps(former, layout);
  try_steps(layout, former);
  g_autoptr(GArray) none = mirror_layout_steps(layout, back);
  if (none->len)
    __builtin_trap();
}

static void
try_files(const guint8 *bytes, gsize length)
{
  g_autoptr(GPtrArray) files = mirror_files_unpack(bytes, length, NULL);
  if (!files)
    return;
  g_autoptr(GByteArray) packed = g_byte_array_new();
  g_autoptr(GByteArray) again = g_byte_array_new();
  mirror_files_pack(files, packed);
  g_autoptr(GPtrArray) back = mirror_files_unpack(packed->data, packed->len, NULL);
  if (!back || back->len != files->len)
    __builtin_trap();
  mirror_files_pack(back, again);
  if (packed->len != again->len || (packed->len && memcmp(packed->data, again->data, packed->len) != 0))
    __builtin_trap();
}

static void
try_section(const MirrorSection *section)
{
  if (!section->bytes)
    return;
  gsize length;
  const guint8 *bytes = g_bytes_get_data(section->bytes, &length);
  gboolean right = mirror_state_check(section->kind, section->bytes, NULL);
  if (section->kind == MIRROR_SECTION_LAYOUT)
    try_layout(bytes, length);
  else if (section->kind == MIRROR_SECTION_FILES)
    try_files(bytes, length);
  else if (section->kind == MIRROR_SECTION_MISC && right)
    g_free(mirror_state_directory(section->bytes));
}

/* ---- memory ---- */

/* A page that is changed must be left alone beyond its borders, and be what the changes say. */
static void
try_changes(const guint8 *changes, gsize length)
{
  static guint8 room[3 * PAGE], former[PAGE];
  memset(room, 0, sizeof room);
  guint8 *page = room + PAGE;
  gboolean can = mirror_changes_apply(changes, length, NULL);
  if (mirror_changes_apply(changes, length, page) != can)
    __builtin_trap();
  if (memcmp(room, former, PAGE) != 0 || memcmp(page + PAGE, former, PAGE) != 0)
    __builtin_trap();
  g_autoptr(GByteArray) packed = g_byte_array_new();
  gsize size = mirror_changes_pack(former, page, packed);
  g_autofree guint8 *again = g_malloc0(PAGE);
  if (size && (!mirror_changes_apply(packed->data, size, again) || memcmp(again, page, PAGE) != 0))
    __builtin_trap();
}

static void
try_runs(const MirrorDelta *delta)
{
  gsize at = 0;
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (run->kind == MIRROR_RUN_CHANGES)
      try_changes(delta->data->data + at, run->changes);
    at += mirror_run_bytes(run);
  }
}

/* ---- pieces ---- */

static gboolean
try_piece(MirrorDelta *delta, const Doppel__Engine__DeltaPiece *piece, gboolean *complete)
{
  if (!mirror_delta_receive(delta, piece, LIMIT, complete, NULL))
    return FALSE;
  guint64 bytes = 0;
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    bytes += mirror_run_bytes(run);
    if (!run->length || run->address + run->length < run->address)
      __builtin_trap();
  }
  if (bytes != delta->data->len || bytes > LIMIT)
    __builtin_trap();
  return TRUE;
}

static gboolean
unpacked_piece(MirrorDelta *delta, Input *input, gboolean *complete)
{
  gsize length;
  const guint8 *bytes = input_blob(input, &length);
  Doppel__Engine__DeltaPiece *piece = doppel__engine__delta_piece__unpack(NULL, length, bytes);
  gboolean good = piece && try_piece(delta, piece, complete);
  if (piece)
    doppel__engine__delta_piece__free_unpacked(piece, NULL);
  return good;
}

/* Contents that fit the runs, or that do not. */
static void
add_data(Input *input, Doppel__Engine__DeltaPiece *piece, guint8 *room, gsize wanted)
{
  gsize length = input_below(input, 8) ? wanted : input_number(input, 2), got;
  const guint8 *from = input_bytes(input, length, &got);
  memset(room, 0, length);
  if (got)
    memcpy(room, from, got);
  piece->has_data = input_below(input, 8) != 0;
  piece->data = (ProtobufCBinaryData){length, room};
}

static gboolean
made_piece(MirrorDelta *delta, Input *input, gboolean *complete)
{
  static guint8 room[1 << 17];
  Doppel__Engine__Section sections[PARTS_MAX], *section_list[PARTS_MAX];
  Doppel__Engine__Run runs[PARTS_MAX], *run_list[PARTS_MAX];
  Doppel__Engine__DeltaPiece piece = DOPPEL__ENGINE__DELTA_PIECE__INIT;
  gsize wanted = 0;
  piece.section = section_list;
  piece.run = run_list;
  piece.n_section = input_below(input, PARTS_MAX);
  piece.n_run = input_below(input, PARTS_MAX);
  piece.last = input_below(input, 2);
  for (guint i = 0; i < piece.n_section; i++) {
    doppel__engine__section__init(section_list[i] = &sections[i]);
    sections[i].kind = input_below(input, MIRROR_SECTION_COUNT + 1);
    sections[i].id = input_number(input, 1);
    sections[i].has_bytes = input_below(input, 4) != 0;
    sections[i].bytes.data = (guint8 *)input_blob(input, &sections[i].bytes.len);
  }
  for (guint i = 0; i < piece.n_run; i++) {
    doppel__engine__run__init(run_list[i] = &runs[i]);
    runs[i].kind = input_below(input, MIRROR_RUN_KINDS + 1);
    runs[i].page = input_number(input, 6);
    runs[i].pages = input_below(input, 4) ? input_below(input, 3) : input_number(input, 6);
    runs[i].has_changes = runs[i].kind == MIRROR_RUN_CHANGES;
    runs[i].changes = runs[i].has_changes ? input_number(input, 1) : 0;
    gboolean whole = runs[i].kind == MIRROR_RUN_DATA || runs[i].kind == MIRROR_RUN_HELD;
    wanted += whole ? MIN(runs[i].pages, 2) * PAGE : runs[i].changes;
  }
  add_data(input, &piece, room, wanted);
  return try_piece(delta, &piece, complete);
}

/* ---- ranges ---- */

/* A model of few pages: what is beyond it is only looked at for its form. */
enum { MODEL_PAGES = 64 };

static void
compare_ranges(const MirrorRanges *ranges, const guint8 *model)
{
  for (guint i = 0; i < ranges->len; i++) {
    const MirrorRange *range = mirror_ranges_get(ranges, i);
    if (range->start >= range->end || range->start % PAGE || range->end % PAGE ||
        (i > 0 && mirror_ranges_get(ranges, i - 1)->end >= range->start))
      __builtin_trap();
  }
  for (guint64 page = 0; page < MODEL_PAGES; page++) {
    MirrorRange part;
    if (mirror_ranges_meet(ranges, page * PAGE, (page + 1) * PAGE, &part) != model[page])
      __builtin_trap();
  }
}

static void
try_ranges(Input *input)
{
  guint8 model[MODEL_PAGES] = {0};
  Doppel__Engine__PageRange messages[PARTS_MAX], *list[PARTS_MAX];
  g_autoptr(GArray) ranges = mirror_ranges_new();
  guint count = input_below(input, PARTS_MAX);
  for (guint i = 0; i < count; i++) {
    doppel__engine__page_range__init(list[i] = &messages[i]);
    gboolean odd = input_below(input, 16) == 0;
    messages[i].page = odd ? input_number(input, 8) : 1 + input_below(input, MODEL_PAGES);
    messages[i].pages = odd ? input_number(input, 8) : 1 + input_below(input, 9);
  }
  if (!mirror_ranges_receive(ranges, count, list, NULL))
    return;
  for (guint i = 0; i < count; i++)
    for (guint64 page = messages[i].page; page < MODEL_PAGES && page - messages[i].page < messages[i].pages;)
      model[page++] = 1;
  compare_ranges(ranges, model);
  for (guint turn = input_below(input, PARTS_MAX); turn > 0; turn--) {
    guint64 start = input_below(input, MODEL_PAGES), end = MIN(start + turn, MODEL_PAGES);
    gboolean add = turn % 3 == 0;
    (add ? mirror_ranges_add : mirror_ranges_remove)(ranges, start * PAGE, end * PAGE);
    memset(model + start, add, end - start);
  }
  compare_ranges(ranges, model);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  gboolean complete = FALSE;
  for (guint i = 0; i < PIECES_MAX && input.left && !complete; i++)
    if (!(input_below(&input, 4) ? made_piece : unpacked_piece)(delta, &input, &complete))
      return 0;
  for (guint i = 0; i < delta->sections->len; i++)
    try_section(delta->sections->pdata[i]);
  try_runs(delta);
  try_ranges(&input);
  return 0;
}
