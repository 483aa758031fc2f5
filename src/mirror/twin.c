#include "base/error.h"
#include "mirror/lessen.h"
#include "mirror/twin_private.h"
#include "mirror/withhold.h"

MirrorTwin *
mirror_twin_new(MirrorProcess *process, gboolean primary, MirrorTrack track, int device, GError **error)
{
  g_autoptr(MirrorTwin) twin = g_new0(MirrorTwin, 1);
  twin->process = process;
  twin->primary = process->primary = primary;
  twin->copies = mirror_copies_new();
  twin->withheld = mirror_ranges_new();
  twin->tracker = mirror_tracker_new(process, track, device, error);
  return twin->tracker ? g_steal_pointer(&twin) : NULL;
}

void
mirror_twin_free(MirrorTwin *twin)
{
  if (!twin)
    return;
  mirror_tracker_free(twin->tracker);
  g_clear_pointer(&twin->agreed, g_hash_table_unref);
  mirror_layout_free(twin->layout);
  mirror_copies_free(twin->copies);
  g_array_unref(twin->withheld);
  g_free(twin);
}

/* ---- capture ---- */

static gboolean
refuse_foreign(const MirrorLayout *layout, GError **error)
{
  for (guint i = 0; i < layout->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, i);
    if (mapping->kind == MIRROR_MAP_FOREIGN)
      return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                              "the program shares memory with others or a device (%s)", mapping->path);
  }
  return TRUE;
}

static gboolean
read_runs(MirrorProcess *process, MirrorDelta *delta, GError **error)
{
  g_autoptr(GArray) pieces = g_array_new(FALSE, FALSE, sizeof(struct iovec));
  guint64 total = 0;
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    struct iovec piece = {(void *)(guintptr)run->address, mirror_run_bytes(run)};
    total += piece.iov_len;
    if (piece.iov_len)
      g_array_append_val(pieces, piece);
  }
  if (total > G_MAXUINT32 / 2)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "%" G_GUINT64_FORMAT " MB of memory changed, more than one block may move",
                            total >> 20);
  g_byte_array_set_size(delta->data, total);
  return mirror_memory_read_pieces(process, (const struct iovec *)pieces->data, pieces->len,
                                   delta->data->data, error);
}

/* What a mirror of which no call was notified still is; NULL: nothing is known. */
static const MirrorState *
still_so(const MirrorTwin *twin)
{
  return twin->primary || twin->still == MIRROR_LIVELY ? NULL : twin->agreed;
}

static gboolean
is_silent(const MirrorTwin *twin)
{
  return still_so(twin) && twin->still == MIRROR_SILENT;
}

gboolean
mirror_twin_ask(MirrorTwin *twin, GError **error)
{
  return is_silent(twin) || (mirror_state_quiet_rseq(twin->process, error) &&
                             mirror_state_ask(twin->process, still_so(twin), error));
}

gboolean
mirror_twin_answered(MirrorTwin *twin, GError **error)
{
  return mirror_state_answered(twin->process, error);
}

/* What the mirror let go, or mapped anew, without ever asking for it. */
static void
forget_let_go(MirrorTwin *twin, const MirrorDelta *delta)
{
  for (guint i = 0; twin->pager && i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    mirror_pager_forget(twin->pager, run->address, run->address + run->length);
  }
}

static gboolean
capture_memory(MirrorTwin *twin, MirrorDelta *delta, GError **error)
{
  if (!(is_silent(twin) && mirror_layout_holds(twin->process, twin->layout)) &&
      !mirror_layout_renew(twin->process, &twin->layout, error))
    return FALSE;
  /* A mapping that a block made and left is only a file of the replica to the other side. */
  return (!twin->primary || refuse_foreign(twin->layout, error)) &&
         (!twin->late || mirror_late_before_capture(twin->late, twin->layout, error)) &&
         mirror_tracker_changed(twin->tracker, twin->layout, delta->runs, error) &&
         (!twin->late || mirror_late_after_capture(twin->late, twin->layout, error)) &&
         (forget_let_go(twin, delta), mirror_withhold(twin, delta), read_runs(twin->process, delta, error));
}

static MirrorState *
capture_state(MirrorTwin *twin, const MirrorFiles *files, GError **error)
{
  return is_silent(twin) ? mirror_state_read_silent(twin->process, twin->layout, twin->agreed, error)
                         : mirror_state_read(twin->process, twin->layout, files, twin->counts, twin->user,
                                             still_so(twin), &twin->children, error);
}

void
twin_forget_unmapped(MirrorTwin *twin)
{
  guint64 at = 0;
  for (guint i = 0; i <= twin->layout->mappings->len; i++) {
    const MirrorMapping *mapping =
        i < twin->layout->mappings->len ? &g_array_index(twin->layout->mappings, MirrorMapping, i) : NULL;
    guint64 end = mapping ? mapping->start : -(guint64)COPIES_PAGE;
    if (at < end) {
      mirror_ranges_remove(twin->withheld, at, end);
      if (twin->pager)
        mirror_pager_forget(twin->pager, at, end);
      if (twin->kept)
        mirror_kept_take_along(twin->kept, at, end);
    }
    at = mapping ? mapping->end : end;
  }
}

MirrorDelta *
mirror_twin_capture(MirrorTwin *twin, const MirrorFiles *files, GError **error)
{
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  if (!mirror_thread_leader(twin->process)->answering && !mirror_twin_ask(twin, error))
    return NULL;
  MirrorState *now = capture_memory(twin, delta, error) ? capture_state(twin, files, error) : NULL;
  if (now && !mirror_process_stands(twin->process, error))
    g_clear_pointer(&now, g_hash_table_unref);
  if (!now) {
    mirror_twin_answered(twin, NULL);
    return NULL;
  }
  GBytes *limits =
      !twin->primary && twin->agreed ? mirror_state_get(twin->agreed, MIRROR_SECTION_LIMITS, 0) : NULL;
  if (limits)
    mirror_state_set(now, MIRROR_SECTION_LIMITS, 0, g_bytes_ref(limits));
  g_ptr_array_unref(delta->sections);
  delta->sections = mirror_state_difference(twin->agreed, now);
  mirror_lessen(twin, delta);
  if (mirror_delta_section(delta, MIRROR_SECTION_LAYOUT, 0))
    twin_forget_unmapped(twin);
  if (twin->primary)
    mirror_withheld_note(twin, delta);
  else if (twin->kept &&
           (!mirror_kept_note(twin, delta, error) || !mirror_process_stands(twin->process, error)))
    return g_hash_table_unref(now), NULL;
  g_clear_pointer(&twin->agreed, g_hash_table_unref);
  twin->agreed = now;
  return g_steal_pointer(&delta);
}
