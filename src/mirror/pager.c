#include "mirror/pager_private.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "mirror/page_table.h"

enum {
  EVENTS = 64,
  ASK_MAX = 16384, /* pages that one question is for, and ranges: what the other side answers at once */
  ASK_RANGES_MAX = 4096,
};

const guint8 pager_zeros[PAGE];

static gboolean
fill(guint64 address, gsize length, void *user, GError **error)
{
  return mirror_pager_fill(user, address, length, error);
}

static gboolean
serve(void *user, GError **error)
{
  return mirror_pager_serve(user, error);
}

static void
replaced(guint64 start, guint64 end, void *user)
{
  MirrorPager *pager = user;
  mirror_pager_forget(pager, start, end);
  mirror_ranges_remove(pager->armed, start, end);
}

MirrorPager *
mirror_pager_new(MirrorProcess *process, MirrorTracker *tracker, MirrorCopies *copies, MirrorPull pull,
                 void *user)
{
  MirrorPager *pager = g_new0(MirrorPager, 1);
  *pager = (MirrorPager){
      .process = process,
      .tracker = tracker,
      .copies = copies,
      .pull = pull,
      .user = user,
      .armed = mirror_ranges_new(),
      .far = mirror_ranges_new(),
      .held = mirror_page_table_new(),
      .known = mirror_page_table_new(),
  };
  process->fill = fill;
  process->serve = serve;
  process->fill_user = pager;
  mirror_tracker_on_replaced(tracker, replaced, pager);
  mirror_tracker_set_missing(tracker, pager->far);
  return pager;
}

void
mirror_pager_free(MirrorPager *pager)
{
  if (!pager)
    return;
  pager->process->fill = NULL;
  pager->process->serve = NULL;
  mirror_tracker_on_replaced(pager->tracker, NULL, NULL);
  mirror_tracker_set_missing(pager->tracker, NULL);
  g_array_unref(pager->armed);
  g_array_unref(pager->far);
  g_hash_table_unref(pager->held);
  g_hash_table_unref(pager->known);
  g_free(pager);
}

int
mirror_pager_fd(const MirrorPager *pager)
{
  return mirror_tracker_demand(pager->tracker);
}

const MirrorPagerCounts *
mirror_pager_counts(const MirrorPager *pager)
{
  return &pager->counts;
}

/* ---- putting pages into the process ---- */

/* One call of the kernel: bytes that were put there; 0 with errno. Mode: UFFDIO_COPY_MODE_WP where both sides
 * have the page so; 0 for a change of the process's own. */
static gsize
copy_once(MirrorPager *pager, guint64 address, const guint8 *bytes, gsize length, guint64 mode)
{
  struct uffdio_copy copy = {.dst = address, .src = (guintptr)bytes, .len = length, .mode = mode};
  for (;;) {
    copy.copy = 0;
    if (ioctl(mirror_pager_fd(pager), UFFDIO_COPY, &copy) == 0)
      return length;
    if (copy.copy > 0)
      return copy.copy;
    if (errno != EAGAIN && errno != EINTR)
      return 0;
  }
}

gboolean
pager_write_present(MirrorPager *pager, guint64 address, const guint8 *bytes, gsize length, GError **error)
{
  for (gsize done = 0; done < length;) {
    ssize_t got = pwrite(pager->process->memory, bytes + done, length - done, address + done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return doppel_error_errno(
          error, "writing %" G_GSIZE_FORMAT " bytes at 0x%" G_GINT64_MODIFIER "x of process %d", length,
          address, pager->process->pid);
    done += got;
  }
  return TRUE;
}

/* Whole pages. Those that are there already are written over, or left as they are. Where the mapping has gone
 * meanwhile there is nothing to put anywhere. */
static gboolean
put_as(MirrorPager *pager, guint64 address, const guint8 *bytes, gsize length, guint64 mode, gboolean over,
       GError **error)
{
  for (gsize done = 0; done < length;) {
    gsize now = copy_once(pager, address + done, bytes + done, length - done, mode);
    /* The kernel does not go past the end of a mapping. */
    if (!now && errno == ENOENT)
      now = copy_once(pager, address + done, bytes + done, PAGE, mode);
    if (!now && errno != EEXIST && errno != ENOENT && errno != ESRCH)
      return doppel_error_errno(error, "putting a page at 0x%" G_GINT64_MODIFIER "x", address + done);
    if (!now && errno != ESRCH) {
      struct uffdio_range range = {address + done, PAGE};
      if (over && !pager_write_present(pager, address + done, bytes + done, PAGE, error))
        return FALSE;
      ioctl(mirror_pager_fd(pager), UFFDIO_WAKE, &range);
    }
    done += now ? now : PAGE;
  }
  return TRUE;
}

gboolean
pager_put(MirrorPager *pager, guint64 address, const guint8 *bytes, gsize length, gboolean over,
          GError **error)
{
  return put_as(pager, address, bytes, length, UFFDIO_COPY_MODE_WP, over, error);
}

/* The page was let go by the process (madvise(2)) after it had been armed: the mark in its place is gone. */
static gboolean
was_let_go(MirrorPager *pager, guint64 address)
{
  return mirror_tracker_is_bare(pager->tracker, address);
}

/* Zeros where nothing is: a change where the process has let something go. */
static gboolean
put_blank(MirrorPager *pager, guint64 address, GError **error)
{
  pager->counts.zeros++;
  return put_as(pager, address, pager_zeros, PAGE, was_let_go(pager, address) ? 0 : UFFDIO_COPY_MODE_WP,
                FALSE, error);
}

/* TRUE where there was such a page. */
static gboolean
put_held(MirrorPager *pager, guint64 address, gboolean *done, GError **error)
{
  HeldPage *page = g_hash_table_lookup(pager->held, &address);
  if (!page)
    return FALSE;
  mirror_copies_put(pager->copies, address, page->bytes);
  pager->walk.used += page->ahead;
  *done = pager_put(pager, address, page->bytes, PAGE, FALSE, error);
  g_hash_table_remove(pager->held, &address);
  return TRUE;
}

void
pager_keep(MirrorPager *pager, const guint8 *page)
{
  PageKey key;
  if (!pager->store)
    return;
  page_key(page, &key);
  page_store_put(pager->store, &key, page);
}

/* TRUE where the store has it. */
static gboolean
put_known(MirrorPager *pager, guint64 address, gboolean *done, GError **error)
{
  const KnownPage *known = g_hash_table_lookup(pager->known, &address);
  guint8 page[PAGE];
  gboolean found = known && pager->store && page_store_get(pager->store, &known->key, page);
  g_hash_table_remove(pager->known, &address);
  if (!found)
    return FALSE;
  mirror_ranges_remove(pager->far, address, address + PAGE);
  mirror_copies_put(pager->copies, address, page);
  *done = pager_put(pager, address, page, PAGE, FALSE, error);
  return TRUE;
}

/* What the other side says is there waits to be touched. It (hostile) must not reach beyond what it has been
 * asked to keep. */
static gboolean
hold_answer(MirrorPager *pager, const MirrorDelta *answer, GError **error)
{
  guint64 at = 0;
  for (guint i = 0; i < answer->runs->len; i++) {
    const MirrorRun *run = &g_array_index(answer->runs, MirrorRun, i);
    MirrorRange part;
    if ((run->kind != MIRROR_RUN_DATA && run->kind != MIRROR_RUN_HOLE) ||
        !mirror_ranges_meet(pager->far, run->address, run->address + run->length, &part) ||
        part.end - part.start != run->length)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "pages that nobody asked for");
    const guint8 *bytes = answer->data->data + at;
    at += mirror_run_bytes(run);
    mirror_pager_forget(pager, run->address, run->address + run->length);
    pager->counts.pages += run->length / PAGE;
    if (run->kind == MIRROR_RUN_DATA)
      pager_hold(pager, run->address, bytes, run->length, TRUE);
  }
  return TRUE;
}

/* The next part of what is wanted that one question may be for; empty at the end. */
static MirrorRanges *
next_question(const MirrorRanges *wanted, guint64 *from)
{
  MirrorRanges *part = mirror_ranges_new();
  MirrorRange range;
  for (guint64 left = (guint64)ASK_MAX * PAGE; left && part->len < ASK_RANGES_MAX;
       left -= range.end - range.start) {
    if (!mirror_ranges_meet(wanted, *from, G_MAXUINT64, &range))
      break;
    range.end = MIN(range.end, range.start + left);
    *from = range.end;
    mirror_ranges_add(part, range.start, range.end);
  }
  return part;
}

gboolean
pager_ask(MirrorPager *pager, const MirrorRanges *wanted, PagerTake take, GError **error)
{
  for (guint64 from = 0;;) {
    g_autoptr(MirrorDelta) answer = mirror_delta_new();
    g_autoptr(GArray) question = next_question(wanted, &from);
    if (!question->len)
      return TRUE;
    pager->counts.pulls++;
    if (!pager->pull(question, answer, pager->user, error) || !take(pager, question, answer, error))
      return FALSE;
  }
}

static gboolean
take_far(MirrorPager *pager, const MirrorRanges *asked, const MirrorDelta *answer, GError **error)
{
  MirrorRange part;
  if (!hold_answer(pager, answer, error))
    return FALSE;
  for (guint i = 0; i < asked->len; i++)
    if (mirror_ranges_meet(pager->far, mirror_ranges_get(asked, i)->start, mirror_ranges_get(asked, i)->end,
                           &part))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                              "the page at 0x%" G_GINT64_MODIFIER "x did not come", part.start);
  return TRUE;
}

/* None of `wanted` is far afterwards: it is held, or, where it was zeros, blank. */
static gboolean
fetch(MirrorPager *pager, const MirrorRanges *wanted, GError **error)
{
  return pager_ask(pager, wanted, take_far, error);
}

/* ---- faults ---- */

static gboolean
on_fault(MirrorPager *pager, guint64 address, MirrorRanges *wanted, GArray *later, GError **error)
{
  MirrorRange part;
  gboolean done = TRUE;
  pager_walk_step(pager, address);
  /* In whatever way it went: what is known of it is no longer true. */
  if (was_let_go(pager, address))
    mirror_pager_forget(pager, address, address + PAGE);
  if (put_held(pager, address, &done, error))
    return done;
  if (!mirror_ranges_meet(pager->far, address, address + PAGE, &part))
    return put_blank(pager, address, error);
  if (put_known(pager, address, &done, error))
    return done;
  if (!mirror_ranges_meet(wanted, address, address + PAGE, &part))
    pager_walk_want(pager, address, wanted);
  g_array_append_val(later, address);
  return TRUE;
}

/* A page that was asked for, and not with another one. */
static gboolean
put_asked(MirrorPager *pager, guint64 address, GError **error)
{
  HeldPage *page = g_hash_table_lookup(pager->held, &address);
  gboolean done;
  if (page && page->ahead) {
    page->ahead = FALSE;
    pager->walk.ahead--;
  }
  return put_held(pager, address, &done, error) ? done : put_blank(pager, address, error);
}

gboolean
mirror_pager_serve(MirrorPager *pager, GError **error)
{
  struct uffd_msg events[EVENTS];
  int fd = mirror_pager_fd(pager);
  if (fd < 0)
    return TRUE;
  ssize_t got = read(fd, events, sizeof events);
  if (got < 0)
    return errno == EAGAIN || errno == EINTR || doppel_error_errno(error, "reading the faults of the mirror");
  g_autoptr(GArray) wanted = mirror_ranges_new();
  g_autoptr(GArray) later = g_array_new(FALSE, FALSE, sizeof(guint64));
  for (gsize i = 0; i < (gsize)got / sizeof *events; i++)
    if (events[i].event == UFFD_EVENT_PAGEFAULT &&
        !on_fault(pager, events[i].arg.pagefault.address / PAGE * PAGE, wanted, later, error))
      return FALSE;
  if (!fetch(pager, wanted, error))
    return FALSE;
  for (guint i = 0; i < later->len; i++)
    if (!put_asked(pager, g_array_index(later, guint64, i), error))
      return FALSE;
  return TRUE;
}

/* ---- for who looks from outside ---- */

gboolean
mirror_pager_is_far(const MirrorPager *pager, guint64 start, guint64 end)
{
  MirrorRange part;
  return mirror_ranges_meet(pager->far, start, end, &part);
}

static void
all_of(const MirrorRanges *ranges, guint64 start, guint64 end, MirrorRanges *into)
{
  MirrorRange part;
  for (guint64 at = start; mirror_ranges_meet(ranges, at, end, &part); at = part.end)
    mirror_ranges_add(into, part.start, part.end);
}

/* Pages of a range of which something is known. */
static void
all_known(MirrorPager *pager, guint64 start, guint64 end, MirrorRanges *into)
{
  GHashTableIter iterator;
  gpointer key;
  all_of(pager->far, start, end, into);
  if ((end - start) / PAGE < g_hash_table_size(pager->held)) {
    for (guint64 at = start; at < end; at += PAGE)
      if (g_hash_table_contains(pager->held, &at))
        mirror_ranges_add(into, at, at + PAGE);
    return;
  }
  g_hash_table_iter_init(&iterator, pager->held);
  while (g_hash_table_iter_next(&iterator, &key, NULL)) {
    guint64 address = *(const guint64 *)key;
    if (address >= start && address < end)
      mirror_ranges_add(into, address, address + PAGE);
  }
}

/* As far as it can be had here. */
static gboolean
bring_page(MirrorPager *pager, guint64 address, GError **error)
{
  gboolean done = TRUE;
  if (was_let_go(pager, address))
    mirror_pager_forget(pager, address, address + PAGE);
  return put_held(pager, address, &done, error) || put_known(pager, address, &done, error) ? done : TRUE;
}

gboolean
mirror_pager_bring(MirrorPager *pager, guint64 address, gsize length, GError **error)
{
  guint64 start = address / PAGE * PAGE, end = (address + length + PAGE - 1) / PAGE * PAGE;
  g_autoptr(GArray) known = mirror_ranges_new();
  g_autoptr(GArray) wanted = mirror_ranges_new();
  if (!length || end <= start)
    return TRUE;
  all_known(pager, start, end, known);
  for (guint i = 0; i < known->len; i++)
    for (guint64 at = mirror_ranges_get(known, i)->start; at < mirror_ranges_get(known, i)->end; at += PAGE)
      if (!bring_page(pager, at, error))
        return FALSE;
  all_of(pager->far, start, end, wanted);
  if (!fetch(pager, wanted, error))
    return FALSE;
  for (guint i = 0; i < wanted->len; i++)
    for (guint64 at = mirror_ranges_get(wanted, i)->start; at < mirror_ranges_get(wanted, i)->end;
         at += PAGE) {
      gboolean done = TRUE;
      if (put_held(pager, at, &done, error) && !done)
        return FALSE;
    }
  return TRUE;
}

gboolean
mirror_pager_fill(MirrorPager *pager, guint64 address, gsize length, GError **error)
{
  guint64 start = address / PAGE * PAGE, end = (address + length + PAGE - 1) / PAGE * PAGE;
  g_autoptr(GArray) armed = mirror_ranges_new();
  if (!mirror_pager_bring(pager, address, length, error))
    return FALSE;
  all_of(pager->armed, start, end, armed);
  for (guint i = 0; length && i < armed->len; i++)
    for (guint64 at = mirror_ranges_get(armed, i)->start; at < mirror_ranges_get(armed, i)->end; at += PAGE)
      if (!put_blank(pager, at, error))
        return FALSE;
  return TRUE;
}

gboolean
mirror_pager_fill_all(MirrorPager *pager, GError **error)
{
  return mirror_pager_bring(pager, 0, -(gsize)PAGE, error);
}
