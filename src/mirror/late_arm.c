/* What is far, from one block to the next: all threads stand. */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/late_private.h"
#include "mirror/userfault.h"

/* ---- beginning and end ---- */

static gboolean
fill(guint64 address, gsize length, void *user, GError **error)
{
  return mirror_late_fill(user, address, length, error);
}

static gboolean
serve(void *user, GError **error)
{
  return mirror_late_serve(user, error);
}

static int
make_userfaultfd(MirrorProcess *process, int device, GError **error)
{
  gint64 made;
  if (!mirror_userfault_make(process, device, TRUE, &made, error))
    return -1;
  if (made >= 0)
    return mirror_userfault_fetch(process, made, error);
  doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                   "the kernel grants no userfaultfd that serves system calls (%s)", g_strerror(-made));
  return -1;
}

MirrorLate *
mirror_late_new(MirrorProcess *process, int device, MirrorPull pull, void *user, GError **error)
{
  int fd = make_userfaultfd(process, device, error);
  if (fd < 0)
    return NULL;
  if (!mirror_userfault_begin(fd, UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
                                      UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)) {
    doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                     "this kernel's userfaultfd does not tell what a program does to its memory (%s)",
                     g_strerror(errno));
    close(fd);
    return NULL;
  }
  MirrorLate *late = g_new0(MirrorLate, 1);
  *late = (MirrorLate){.process = process,
                       .pull = pull,
                       .user = user,
                       .own = {fd, mirror_places_new()},
                       .heirs = g_ptr_array_new_with_free_func((GDestroyNotify)late_space_free),
                       .armed = mirror_ranges_new(),
                       .strange = mirror_ranges_new(),
                       .let_go = mirror_ranges_new()};
  process->fill = fill;
  process->serve = serve;
  process->fill_user = late;
  return late;
}

void
mirror_late_on_failure(MirrorLate *late, void (*failed)(const GError *error, void *user))
{
  late->failed = failed;
}

void
mirror_late_free(MirrorLate *late)
{
  if (!late)
    return;
  late->process->fill = NULL;
  late->process->serve = NULL;
  late->process->tells = FALSE;
  g_ptr_array_unref(late->heirs);
  io_close(&late->own.fd);
  mirror_places_free(late->own.far);
  g_array_unref(late->armed);
  g_array_unref(late->strange);
  g_array_unref(late->let_go);
  g_free(late);
}

static void
unregister(MirrorLate *late, guint64 start, guint64 end)
{
  struct uffdio_range range = {start, end - start};
  ioctl(late->own.fd, UFFDIO_UNREGISTER, &range);
}

static void
unregister_all(MirrorLate *late)
{
  for (guint i = 0; i < late->armed->len; i++)
    unregister(late, mirror_ranges_get(late->armed, i)->start, mirror_ranges_get(late->armed, i)->end);
}

/* What the program had moved when the last session ended was not told then. */
gboolean
mirror_late_attach(MirrorLate *late, MirrorTracker *tracker, GError **error)
{
  if (!mirror_late_serve(late, error))
    return FALSE;
  unregister_all(late);
  g_array_set_size(late->armed, 0);
  g_array_set_size(late->strange, 0);
  late->tracker = tracker;
  return TRUE;
}

/* The program may run, and may have unmapped what is told here as armed: what is not there, or not ours, the
 * kernel leaves alone. */
void
mirror_late_detach(MirrorLate *late)
{
  unregister_all(late);
  mirror_places_clear(late->own.far, 0, G_MAXUINT64, NULL);
  g_array_set_size(late->let_go, 0);
  late->tracker = NULL;
}

int
mirror_late_fd(const MirrorLate *late)
{
  return late->own.fd;
}

guint64
mirror_late_bytes(const MirrorLate *late)
{
  return mirror_places_sum(late->own.far);
}

gboolean
mirror_late_has_heirs(const MirrorLate *late)
{
  return late->heirs->len > 0;
}

gint64
mirror_late_heirs_since(const MirrorLate *late)
{
  return late->heirs_since;
}

/* ---- a block's beginning ---- */

static gboolean
is_in(const MirrorRanges *ranges, const MirrorMapping *area)
{
  MirrorRange part;
  return mirror_ranges_meet(ranges, area->start, area->end, &part);
}

static gboolean
has_far(const MirrorLate *late, const MirrorMapping *area)
{
  MirrorRange part;
  guint64 origin;
  return mirror_places_meet(late->own.far, area->start, area->end, &part, &origin);
}

gboolean
mirror_late_before_capture(MirrorLate *late, const MirrorLayout *layout, GError **error)
{
  if (!mirror_late_serve(late, error))
    return FALSE;
  for (guint i = 0; late->strange->len && i < layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(layout->areas, MirrorMapping, i);
    if (!is_in(late->strange, area))
      continue;
    if (has_far(late, area) && !late_fetch(late, &late->own, area->start, area->end, error))
      return FALSE;
    unregister(late, area->start, area->end);
    mirror_ranges_remove(late->armed, area->start, area->end);
  }
  g_array_set_size(late->strange, 0);
  return TRUE;
}

gboolean
mirror_late_after_capture(MirrorLate *late, const MirrorLayout *layout, GError **error)
{
  for (guint i = 0; late->armed->len && i < layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(layout->areas, MirrorMapping, i);
    if (!is_in(late->armed, area) || has_far(late, area))
      continue;
    if (!mirror_tracker_take_back(late->tracker, late->own.fd, area->start, area->end, error))
      return FALSE;
    mirror_ranges_remove(late->armed, area->start, area->end);
    mirror_ranges_remove(late->let_go, area->start, area->end);
  }
  late->process->tells = late->armed->len > 0;
  return TRUE;
}

/* ---- its end ---- */

void
mirror_late_forget(MirrorLate *late, guint64 start, guint64 end)
{
  mirror_places_clear(late->own.far, start, end, NULL);
  mirror_ranges_remove(late->let_go, start, end);
}

/* Only private memory without a file, and only where the kernel's own view is so. */
static gboolean
may_be_late(const MirrorLate *late, const MirrorLayout *layout, const MirrorRun *run)
{
  guint64 at = run->address, end = run->address + run->length;
  for (guint i = 0; at < end && i < layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(layout->areas, MirrorMapping, i);
    if (area->end <= at)
      continue;
    if (area->start > at || area->kind != MIRROR_MAP_ANONYMOUS)
      return FALSE;
    at = area->end;
  }
  return at >= end && late->tracker && mirror_tracker_kind(late->tracker) == MIRROR_TRACK_PAGEMAP;
}

static gboolean
write_answer(MirrorLate *late, MirrorRanges *missing, const MirrorDelta *answer, GError **error)
{
  static const guint8 zeros[PAGE];
  guint64 data = 0;
  for (guint i = 0; i < answer->runs->len; i++) {
    const MirrorRun *run = &g_array_index(answer->runs, MirrorRun, i);
    guint64 end = run->address + run->length;
    MirrorRange part;
    if ((run->kind != MIRROR_RUN_DATA && run->kind != MIRROR_RUN_HOLE) ||
        mirror_run_bytes(run) > answer->data->len - data ||
        !mirror_ranges_meet(missing, run->address, end, &part) || part.end - part.start != run->length)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "pages that nobody asked for");
    for (guint64 at = 0; at < run->length; at += PAGE) {
      const guint8 *page = run->kind == MIRROR_RUN_HOLE ? zeros : answer->data->data + data + at;
      if (!mirror_memory_write(late->process, run->address + at, page, PAGE, error))
        return FALSE;
    }
    data += mirror_run_bytes(run);
    mirror_ranges_remove(missing, run->address, end);
  }
  return !missing->len || doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "pages that did not come");
}

static gboolean
bring_now(MirrorLate *late, MirrorRanges *wanted, GError **error)
{
  g_autoptr(MirrorDelta) answer = mirror_delta_new();
  return !wanted->len ||
         (late->pull(wanted, answer, late->user, error) && write_answer(late, wanted, answer, error));
}

gboolean
mirror_late_put_now(MirrorLate *late, const MirrorLayout *layout, const MirrorDelta *delta, GError **error)
{
  g_autoptr(GArray) wanted = mirror_ranges_new();
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (run->kind == MIRROR_RUN_FAR && !may_be_late(late, layout, run))
      mirror_ranges_add(wanted, run->address, run->address + run->length);
  }
  return bring_now(late, wanted, error);
}

static gboolean
joins(const GArray *areas, guint index)
{
  const MirrorMapping *area = &g_array_index(areas, MirrorMapping, index);
  return index + 1 < areas->len && area->end == area[1].start && mirror_mapping_alike(area, area + 1);
}

static gboolean
arm_area(MirrorLate *late, const MirrorMapping *area)
{
  if (!mirror_tracker_lend(late->tracker, late->own.fd, area->start, area->end, NULL))
    return FALSE;
  mirror_ranges_add(late->armed, area->start, area->end);
  return TRUE;
}

/* Always all of what is alike: the kernel moves and grows only what is of one kind. FALSE where it cannot be.
 */
static gboolean
arm(MirrorLate *late, const MirrorLayout *layout, guint64 start, guint64 end)
{
  for (guint i = 0, last; i < layout->areas->len; i = last + 1) {
    for (last = i; joins(layout->areas, last);)
      last++;
    if (g_array_index(layout->areas, MirrorMapping, last).end <= start ||
        g_array_index(layout->areas, MirrorMapping, i).start >= end)
      continue;
    for (guint k = i; k <= last; k++)
      if (!arm_area(late, &g_array_index(layout->areas, MirrorMapping, k)))
        return FALSE;
  }
  return TRUE;
}

gboolean
mirror_late_arm(MirrorLate *late, const MirrorLayout *layout, const MirrorDelta *delta, GError **error)
{
  g_autoptr(GArray) now = mirror_ranges_new();
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    guint64 end = run->address + run->length;
    mirror_late_forget(late, run->address, end);
    if (run->kind != MIRROR_RUN_FAR || !may_be_late(late, layout, run))
      continue;
    if (arm(late, layout, run->address, end))
      mirror_places_add(late->own.far, run->address, end);
    else
      mirror_ranges_add(now, run->address, end);
  }
  late->window = late->expected = 0;
  late->process->tells = late->armed->len > 0;
  return bring_now(late, now, error);
}
