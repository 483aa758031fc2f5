#include "mirror/late_private.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

enum { EVENTS = 64, WINDOW_MIN = 8, WINDOW_MAX = 256, ALL_AT_ONCE = 2048 /* pages */ };

void
late_space_free(LateSpace *space)
{
  io_close(&space->fd);
  mirror_places_free(space->far);
  g_free(space);
}

/* ---- what the kernel tells ---- */

static void
wake(int fd, guint64 start, guint64 end)
{
  struct uffdio_range range = {start, end - start};
  ioctl(fd, UFFDIO_WAKE, &range);
}

static void
on_fork(MirrorLate *late, LateSpace *space, int fd)
{
  if (mirror_places_empty(space->far)) {
    close(fd);
    return;
  }
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  if (!late->heirs->len)
    late->heirs_since = (gint64)now.tv_sec * 1000000000 + now.tv_nsec;
  LateSpace *heir = g_new(LateSpace, 1);
  *heir = (LateSpace){fd, mirror_places_copy(space->far)};
  g_ptr_array_add(late->heirs, heir);
}

/* The old place, where it stays (MREMAP_DONTUNMAP), is empty; where it does not, its end is told next. What
 * was at the new place is gone. */
static void
on_remap(MirrorLate *late, LateSpace *space, guint64 from, guint64 to, guint64 length)
{
  mirror_places_clear(space->far, to, to + length, NULL);
  mirror_places_move(space->far, from, to, length);
  wake(space->fd, from, from + length);
  if (space != &late->own)
    return;
  mirror_ranges_add(late->armed, to, to + length);
  mirror_ranges_add(late->strange, to, to + length);
  mirror_ranges_remove(late->let_go, from, from + length);
}

/* Whether there is a mapping at the place of a missing page: protecting that changes nothing else. */
static gboolean
is_mapped(int fd, guint64 address)
{
  struct uffdio_writeprotect protect = {.range = {address, PAGE}, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
  return ioctl(fd, UFFDIO_WRITEPROTECT, &protect) == 0 || errno != ENOENT;
}

/* What one thread unmapped can be told after what another has moved there since. So only what is where it
 * always was is known to be gone; and what is armed, or was moved, is so only as far as is known here. */
static void
clear_unmapped(LateSpace *space, guint64 start, guint64 end)
{
  MirrorRange part;
  guint64 origin;
  mirror_places_lost(space->far, start, end);
  for (guint64 at = start; mirror_places_meet(space->far, at, end, &part, &origin); at = part.end)
    if (!is_mapped(space->fd, part.start))
      mirror_places_clear(space->far, part.start, part.end, NULL);
}

static void
on_removed(MirrorLate *late, LateSpace *space, guint64 start, guint64 end, gboolean unmapped)
{
  gboolean own = space == &late->own;
  if (unmapped)
    clear_unmapped(space, start, end);
  else
    mirror_places_clear(space->far, start, end, own ? late->let_go : NULL);
  wake(space->fd, start, end);
  if (own && unmapped)
    mirror_ranges_remove(late->let_go, start, end);
}

static void
on_event(MirrorLate *late, LateSpace *space, const struct uffd_msg *event, GArray *faults)
{
  guint64 at = event->arg.pagefault.address / PAGE * PAGE;
  switch (event->event) {
  case UFFD_EVENT_PAGEFAULT:
    if (faults)
      g_array_append_val(faults, at);
    else
      wake(space->fd, at, at + PAGE);
    return;
  case UFFD_EVENT_FORK:
    on_fork(late, space, (int)event->arg.fork.ufd);
    return;
  case UFFD_EVENT_REMAP:
    on_remap(late, space, event->arg.remap.from, event->arg.remap.to, event->arg.remap.len);
    return;
  case UFFD_EVENT_REMOVE:
  case UFFD_EVENT_UNMAP:
    on_removed(late, space, event->arg.remove.start, event->arg.remove.end, event->event == UFFD_EVENT_UNMAP);
    return;
  }
}

static gboolean
read_events(MirrorLate *late, LateSpace *space, GArray *faults, GError **error)
{
  struct uffd_msg events[EVENTS];
  for (;;) {
    ssize_t got = read(space->fd, events, sizeof events);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return errno == EAGAIN || doppel_error_errno(error, "reading what the program does to its memory");
    for (gsize i = 0; i < (gsize)got / sizeof *events; i++)
      on_event(late, space, &events[i], faults);
    if (got < (ssize_t)sizeof *events)
      return TRUE;
  }
}

/* Memory of the space is just being changed (EAGAIN), of which there is, or will be in a moment, an event to
 * read. */
static gboolean
settle(MirrorLate *late, LateSpace *space, GError **error)
{
  struct pollfd fd = {.fd = space->fd, .events = POLLIN};
  poll(&fd, 1, 1);
  return read_events(late, space, NULL, error);
}

/* ---- putting pages ---- */

static gboolean
copy_page(int fd, guint64 address, const guint8 *page, guint64 mode)
{
  struct uffdio_copy copy = {.dst = address, .src = (guintptr)page, .len = PAGE, .mode = mode};
  int result;
  do
    result = ioctl(fd, UFFDIO_COPY, &copy);
  while (result < 0 && errno == EINTR);
  return result == 0;
}

/* A mapping that is not there twice in a row is gone: had it only been moved, the kernel would have said
 * EAGAIN until that was told. */
static gboolean
put_in(MirrorLate *late, LateSpace *space, guint64 origin, const guint8 *page, GError **error)
{
  guint64 now, missed = 0;
  while (mirror_places_now(space->far, origin, &now)) {
    gboolean put = copy_page(space->fd, now, page, UFFDIO_COPY_MODE_WP);
    if (!put && (errno == EAGAIN || (errno == ENOENT && missed != now))) {
      missed = errno == ENOENT ? now : 0;
      if (!settle(late, space, error))
        return FALSE;
      continue;
    }
    if (!put && errno != EEXIST && errno != ENOENT && errno != ESRCH)
      return doppel_error_errno(error, "putting a page at 0x%" G_GINT64_MODIFIER "x", now);
    mirror_places_came(space->far, origin, origin + PAGE);
    if (!put)
      wake(space->fd, now, now + PAGE);
  }
  return TRUE;
}

static gboolean
put_page(MirrorLate *late, guint64 origin, const guint8 *page, GError **error)
{
  if (!put_in(late, &late->own, origin, page, error))
    return FALSE;
  for (guint i = 0; i < late->heirs->len; i++)
    if (!put_in(late, late->heirs->pdata[i], origin, page, error))
      return FALSE;
  return TRUE;
}

static gboolean
is_let_go(MirrorLate *late, guint64 address)
{
  MirrorRange part;
  return mirror_ranges_meet(late->let_go, address, address + PAGE, &part) || !late->tracker ||
         mirror_tracker_is_bare(late->tracker, address);
}

static gboolean
put_blank(MirrorLate *late, guint64 address, gboolean *again, GError **error)
{
  static const guint8 zeros[PAGE];
  gboolean put = copy_page(late->own.fd, address, zeros, is_let_go(late, address) ? 0 : UFFDIO_COPY_MODE_WP);
  *again = !put && errno == EAGAIN;
  if (*again && !settle(late, &late->own, error))
    return FALSE;
  if (!put)
    wake(late->own.fd, address, address + PAGE);
  return TRUE;
}

/* ---- fetching ---- */

static void
blank(MirrorLate *late, guint64 start, guint64 end)
{
  guint64 now;
  for (guint64 at = start; at < end; at += PAGE)
    if (mirror_places_now(late->own.far, at, &now))
      wake(late->own.fd, now, now + PAGE);
  mirror_places_came(late->own.far, start, end);
  for (guint i = 0; i < late->heirs->len; i++)
    mirror_places_came(((LateSpace *)late->heirs->pdata[i])->far, start, end);
}

/* What was asked for is all that may come, and all of it has to. */
static gboolean
fetch(MirrorLate *late, const MirrorRanges *wanted, GError **error)
{
  g_autoptr(MirrorDelta) answer = mirror_delta_new();
  g_autoptr(GArray) missing = g_array_copy((GArray *)wanted);
  if (!late->pull(wanted, answer, late->user, error))
    return FALSE;
  guint64 data = 0;
  for (guint i = 0; i < answer->runs->len; i++) {
    const MirrorRun *run = &g_array_index(answer->runs, MirrorRun, i);
    const guint8 *bytes = answer->data->data + data;
    guint64 end = run->address + run->length;
    MirrorRange part;
    if ((run->kind != MIRROR_RUN_DATA && run->kind != MIRROR_RUN_HOLE) ||
        mirror_run_bytes(run) > answer->data->len - data ||
        !mirror_ranges_meet(missing, run->address, end, &part) || part.end - part.start != run->length)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "pages that nobody asked for");
    data += mirror_run_bytes(run);
    mirror_ranges_remove(missing, run->address, end);
    if (run->kind == MIRROR_RUN_HOLE)
      blank(late, run->address, end);
    for (guint64 at = 0; run->kind == MIRROR_RUN_DATA && at < run->length; at += PAGE)
      if (!put_page(late, run->address + at, bytes + at, error))
        return FALSE;
  }
  return !missing->len ||
         doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the page at 0x%" G_GINT64_MODIFIER "x did not come",
                          mirror_ranges_get(missing, 0)->start);
}

/* These origins come, as far as they are far. */
static gboolean
fetch_or_fail(MirrorLate *late, const MirrorRanges *wanted, GError **error)
{
  g_autoptr(GError) why = NULL;
  if (!wanted->len || fetch(late, wanted, &why))
    return TRUE;
  if (late->failed)
    late->failed(why, late->user);
  g_propagate_error(error, g_steal_pointer(&why));
  return FALSE;
}

/* Origins of what is far in [start, end). */
static void
want_all(MirrorLate *late, LateSpace *space, guint64 start, guint64 end, guint64 most, MirrorRanges *wanted)
{
  MirrorRange part;
  guint64 origin;
  for (guint64 at = start;
       mirror_places_meet(space->far, at, end, &part, &origin) && mirror_ranges_sum(wanted) < most;
       at = part.end) {
    guint64 room = most - mirror_ranges_sum(wanted);
    mirror_ranges_add(wanted, origin, origin + MIN(part.end - part.start, room));
  }
}

gboolean
late_fetch(MirrorLate *late, LateSpace *space, guint64 start, guint64 end, GError **error)
{
  for (;;) {
    g_autoptr(GArray) wanted = mirror_ranges_new();
    want_all(late, space, start, end, ALL_AT_ONCE * PAGE, wanted);
    if (!wanted->len || !fetch_or_fail(late, wanted, error))
      return !wanted->len;
  }
}

static gboolean
fetch_all(MirrorLate *late, LateSpace *space, GError **error)
{
  return late_fetch(late, space, 0, G_MAXUINT64, error);
}

/* A child has nobody to ask later, since its parent may be served, and change, meanwhile: it gets all at
 * once. The end of its userfaultfd lets it go. */
static gboolean
provide_heirs(MirrorLate *late, GError **error)
{
  while (late->heirs->len) {
    LateSpace *heir = late->heirs->pdata[0];
    if (!fetch_all(late, &late->own, error) || !fetch_all(late, heir, error))
      return FALSE;
    g_ptr_array_remove(late->heirs, heir);
  }
  return TRUE;
}

/* ---- faults ---- */

/* Who walks through memory gets more with each step. */
static void
want(MirrorLate *late, guint64 address, MirrorRanges *wanted)
{
  MirrorRange part;
  guint64 origin;
  if (!mirror_places_meet(late->own.far, address, G_MAXUINT64, &part, &origin) || part.start != address)
    return;
  late->window = address == late->expected ? MIN(late->window * 2, WINDOW_MAX) : WINDOW_MIN;
  guint64 length = MIN(part.end - part.start, late->window * PAGE);
  late->expected = address + length;
  mirror_ranges_add(wanted, origin, origin + length);
}

static gboolean
is_far(const MirrorLate *late, guint64 address)
{
  MirrorRange part;
  guint64 origin;
  return mirror_places_meet(late->own.far, address, address + PAGE, &part, &origin);
}

gboolean
mirror_late_serve(MirrorLate *late, GError **error)
{
  for (;;) {
    g_autoptr(GArray) faults = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_autoptr(GArray) wanted = mirror_ranges_new();
    if (!read_events(late, &late->own, faults, error))
      return FALSE;
    for (guint i = 0; i < faults->len; i++)
      want(late, g_array_index(faults, guint64, i), wanted);
    if (!fetch_or_fail(late, wanted, error) || !provide_heirs(late, error))
      return FALSE;
    /* Those that are far now have been moved here meanwhile: their threads have been woken. */
    gboolean again;
    for (guint i = 0; i < faults->len; i++)
      if (!is_far(late, g_array_index(faults, guint64, i)) &&
          !put_blank(late, g_array_index(faults, guint64, i), &again, error))
        return FALSE;
    if (!faults->len)
      return TRUE;
  }
}

/* ---- for who looks from outside ---- */

/* The mark of tracking in place of a page looks like one that is swapped out: for that, too, there is nothing
 * to put, as the kernel knows. */
static gboolean
is_there(const MirrorLate *late, guint64 address)
{
  guint64 entry = 0;
  return pread(late->process->pagemap, &entry, sizeof entry, address / PAGE * sizeof entry) != sizeof entry ||
         entry >> 63;
}

/* Besides what is far, an armed page that nobody ever touched would be waited for as well; how far what is
 * armed has grown since (mremap(2)) the kernel alone knows. */
gboolean
mirror_late_fill(MirrorLate *late, guint64 address, gsize length, GError **error)
{
  guint64 start = address / PAGE * PAGE, end = (address + length + PAGE - 1) / PAGE * PAGE;
  if (!late->armed->len || !length || end <= start)
    return TRUE;
  /* What was moved, and not told yet, is to be found where it is. */
  if (!mirror_late_serve(late, error) || !late_fetch(late, &late->own, start, end, error))
    return FALSE;
  for (guint64 at = start; at < end; at += PAGE)
    for (gboolean again = TRUE; again && !is_there(late, at);)
      if (!put_blank(late, at, &again, error))
        return FALSE;
  return TRUE;
}

gboolean
mirror_late_fill_all(MirrorLate *late, GError **error)
{
  return mirror_late_serve(late, error) && fetch_all(late, &late->own, error) && provide_heirs(late, error);
}
