#include "replicator/checkpoint_view.h"

#include "base/error.h"
#include "mirror/layout.h"
#include "mirror/ranges.h"
#include "mirror/state.h"

/* A part of an entry that no later one covers. */
typedef struct {
  const CheckpointBody *body;
  const CheckpointEntry *entry;
  guint64 start, length;
} Part;

static const CheckpointState *
newest(const GPtrArray *bodies)
{
  return ((const CheckpointBody *)bodies->pdata[bodies->len - 1])->state;
}

static void
add_uncovered(GArray *parts, MirrorRanges *covered, const CheckpointBody *body, const CheckpointEntry *entry)
{
  guint64 end = entry->start + entry->length;
  for (guint64 at = entry->start; at < end;) {
    MirrorRange hidden = {end, end};
    mirror_ranges_meet(covered, at, end, &hidden);
    if (at < hidden.start) {
      Part part = {body, entry, at, hidden.start - at};
      g_array_append_val(parts, part);
    }
    at = MAX(hidden.end, at + 1);
  }
  mirror_ranges_add(covered, entry->start, end);
}

/* From the newest to the oldest; nothing is older than the newest base. */
static GArray *
find_parts(const GPtrArray *bodies, gboolean memory, guint32 file, MirrorRanges *covered)
{
  GArray *parts = g_array_new(FALSE, FALSE, sizeof(Part));
  for (guint i = bodies->len; i-- > 0;) {
    const CheckpointBody *body = bodies->pdata[i];
    for (guint k = body->entries->len; k-- > 0;) {
      const CheckpointEntry *entry = &g_array_index(body->entries, CheckpointEntry, k);
      if (entry->memory == memory && (memory || entry->file == file))
        add_uncovered(parts, covered, body, entry);
    }
    if (body->state->whole)
      break;
  }
  return parts;
}

/* What is no memory any more counts as covered, and so does memory that is a file's. */
static MirrorRanges *
outside_memory(const CheckpointState *state, GError **error)
{
  const Doppel__Wire__CheckpointSection *found = NULL;
  for (gsize i = 0; i < state->n_section; i++)
    if (state->section[i]->kind == MIRROR_SECTION_LAYOUT)
      found = state->section[i];
  g_autoptr(MirrorLayout) layout =
      found ? mirror_layout_unpack(found->bytes.data, found->bytes.len, error) : NULL;
  if (!layout) {
    if (!found)
      doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a checkpoint of a process without memory");
    return NULL;
  }
  MirrorRanges *outside = mirror_ranges_new();
  mirror_ranges_add(outside, 0, G_MAXUINT64);
  for (guint i = 0; i < layout->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, i);
    if (mapping->kind != MIRROR_MAP_SHARED_FILE)
      mirror_ranges_remove(outside, mapping->start, mapping->end);
  }
  return outside;
}

static gboolean
tell(const Part *part, guint8 *room, CheckpointTake take, gpointer user, GError **error)
{
  if (part->entry->blank)
    return take(part->start, part->length, NULL, user, error);
  return checkpoint_body_unpack(part->body, part->entry, room, error) &&
         take(part->start, part->length, room + (part->start - part->entry->start), user, error);
}

static gboolean
tell_all(const GArray *parts, CheckpointTake take, gpointer user, GError **error)
{
  g_autofree guint8 *room = g_malloc(CHECKPOINT_PIECE);
  for (guint i = 0; i < parts->len; i++)
    if (!tell(&g_array_index(parts, Part, i), room, take, user, error))
      return FALSE;
  return TRUE;
}

gboolean
checkpoint_view_memory(const GPtrArray *bodies, CheckpointTake take, gpointer user, GError **error)
{
  g_autoptr(GArray) covered = outside_memory(newest(bodies), error);
  if (!covered)
    return FALSE;
  g_autoptr(GArray) parts = find_parts(bodies, TRUE, 0, covered);
  return tell_all(parts, take, user, error);
}

static int
by_start(gconstpointer a, gconstpointer b)
{
  guint64 left = ((const Part *)a)->start, right = ((const Part *)b)->start;
  return (left > right) - (left < right);
}

static GArray *
file_parts(const GPtrArray *bodies, guint32 file, guint64 size)
{
  g_autoptr(GArray) covered = mirror_ranges_new();
  mirror_ranges_add(covered, size, G_MAXUINT64);
  GArray *parts = find_parts(bodies, FALSE, file, covered);
  g_array_sort(parts, by_start);
  return parts;
}

gboolean
checkpoint_view_file(const GPtrArray *bodies, guint32 file, guint64 size, CheckpointTake take, gpointer user,
                     GError **error)
{
  g_autoptr(GArray) parts = file_parts(bodies, file, size);
  return tell_all(parts, take, user, error);
}

/* ---- merging ---- */

static gboolean
write_part(CheckpointWriter *writer, const Part *part, guint8 *room, GError **error)
{
  const CheckpointEntry *entry = part->entry;
  if (part->length == entry->length) {
    g_autofree guint8 *packed = checkpoint_body_record(part->body, entry, error);
    return packed && checkpoint_write_record(writer, packed, entry->packed, error);
  }
  if (!entry->blank && !checkpoint_body_unpack(part->body, entry, room, error))
    return FALSE;
  const guint8 *bytes = entry->blank ? NULL : room + (part->start - entry->start);
  return entry->memory ? checkpoint_write_memory(writer, part->start, part->length, bytes, error)
                       : checkpoint_write_block(writer, entry->file, part->start, part->length, bytes, error);
}

static gboolean
write_parts(CheckpointWriter *writer, const GArray *parts, GError **error)
{
  g_autofree guint8 *room = g_malloc(CHECKPOINT_PIECE);
  for (guint i = 0; i < parts->len; i++)
    if (!write_part(writer, &g_array_index(parts, Part, i), room, error))
      return FALSE;
  return TRUE;
}

gboolean
checkpoint_view_merge(const GPtrArray *bodies, CheckpointWriter *writer, GError **error)
{
  const CheckpointState *state = newest(bodies);
  g_autoptr(GArray) covered = outside_memory(state, error);
  if (!covered)
    return FALSE;
  g_autoptr(GArray) memory = find_parts(bodies, TRUE, 0, covered);
  if (!write_parts(writer, memory, error))
    return FALSE;
  for (gsize i = 0; i < state->n_file; i++) {
    g_autoptr(GArray) parts = file_parts(bodies, state->file[i]->file, state->file[i]->size);
    if (!write_parts(writer, parts, error))
      return FALSE;
  }
  CheckpointState base = *state;
  base.whole = TRUE;
  return checkpoint_write_state(writer, &base, error);
}
