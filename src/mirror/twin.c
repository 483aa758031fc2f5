#include "mirror/twin.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/error.h"
#include "mirror/lessen.h"
#include "mirror/withhold.h"

static MirrorTwin *
twin_new(MirrorProcess *process, gboolean primary, MirrorTrack track, int device, GError **error)
{
  g_autoptr(MirrorTwin) twin = g_new0(MirrorTwin, 1);
  twin->process = process;
  twin->primary = process->primary = primary;
  twin->copies = mirror_copies_new();
  twin->withheld = mirror_ranges_new();
  twin->tracker = mirror_tracker_new_demanding(process, track, device, error);
  return twin->tracker ? g_steal_pointer(&twin) : NULL;
}

MirrorTwin *
mirror_twin_new(MirrorProcess *process, gboolean primary, MirrorTrack track, GError **error)
{
  return twin_new(process, primary, track, -1, error);
}

MirrorTwin *
mirror_twin_new_demanding(MirrorProcess *process, MirrorTrack track, int device, GError **error)
{
  return twin_new(process, FALSE, track, device, error);
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
  guint64 total = 0;
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    total += mirror_run_bytes(run);
  }
  if (total > G_MAXUINT32 / 2)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "%" G_GUINT64_FORMAT " MB of memory changed, more than one block may move",
                            total >> 20);
  g_byte_array_set_size(delta->data, total);
  guint64 at = 0;
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    guint64 bytes = mirror_run_bytes(run);
    if (bytes && !mirror_memory_read_present(process, run->address, delta->data->data + at, bytes, error))
      return FALSE;
    at += bytes;
  }
  return TRUE;
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

/* Pages of which one of the twins has no mapping any more are with nobody. */
static void
forget_unmapped(MirrorTwin *twin)
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
    forget_unmapped(twin);
  if (twin->primary)
    mirror_withheld_note(twin, delta);
  else if (twin->kept &&
           (!mirror_kept_note(twin, delta, error) || !mirror_process_stands(twin->process, error)))
    return g_hash_table_unref(now), NULL;
  g_clear_pointer(&twin->agreed, g_hash_table_unref);
  twin->agreed = now;
  return g_steal_pointer(&delta);
}

/* ---- apply: mappings ---- */

static gboolean
overlaps(guint64 a_start, guint64 a_end, guint64 b_start, guint64 b_end)
{
  return a_start < b_end && b_start < a_end;
}

static gboolean
call(MirrorProcess *process, gint64 nr, const guint64 arguments[6], gint64 *result, const char *what,
     const MirrorMapping *mapping, GError **error)
{
  if (!mirror_inject_one(mirror_thread_leader(process), nr, arguments, result, error))
    return FALSE;
  if (*result >= 0 || *result < -4095)
    return TRUE;
  errno = -*result;
  return doppel_error_errno(error, "%s %" G_GUINT64_FORMAT " KB at 0x%" G_GINT64_MODIFIER "x%s%s", what,
                            (mapping->end - mapping->start) >> 10, mapping->start,
                            mapping->path ? " of " : "", mapping->path ? mapping->path : "");
}

static gboolean
open_mapped(MirrorProcess *process, const MirrorMapping *mapping, gint64 *fd, GError **error)
{
  guint64 room = mirror_scratch_bytes(process);
  int flags = mapping->kind == MIRROR_MAP_SHARED_FILE ? O_RDWR : O_RDONLY;
  const guint64 arguments[6] = {AT_FDCWD, room, flags | O_CLOEXEC};
  return mirror_memory_write(process, room, mapping->path, strlen(mapping->path) + 1, error) &&
         call(process, SYS_openat, arguments, fd, "opening, to map", mapping, error);
}

static gboolean
make_mapping(MirrorProcess *process, const MirrorMapping *mapping, gboolean keep_others, GError **error)
{
  gint64 fd = -1, result;
  gboolean file = mapping->kind == MIRROR_MAP_FILE || mapping->kind == MIRROR_MAP_SHARED_FILE;
  guint64 flags = keep_others ? MAP_FIXED_NOREPLACE : MAP_FIXED;
  flags |= mapping->kind == MIRROR_MAP_SHARED || mapping->kind == MIRROR_MAP_SHARED_FILE ? MAP_SHARED
                                                                                         : MAP_PRIVATE;
  flags |= file ? 0 : MAP_ANONYMOUS;
  flags |= mapping->prot & PROT_WRITE ? 0 : MAP_NORESERVE;
  if (file && !open_mapped(process, mapping, &fd, error))
    return FALSE;
  const guint64 arguments[6] = {mapping->start, mapping->end - mapping->start, mapping->prot, flags, fd,
                                mapping->offset};
  gboolean made = call(process, SYS_mmap, arguments, &result, "mapping", mapping, error);
  if (fd >= 0) {
    const guint64 closing[6] = {fd};
    if (!mirror_inject_one(mirror_thread_leader(process), SYS_close, closing, &result, made ? error : NULL))
      return FALSE;
  }
  return made;
}

/* Index of the first area that ends beyond an address. */
static guint
area_at(const MirrorLayout *layout, guint64 address)
{
  guint low = 0, high = layout->areas->len;
  while (low < high) {
    guint middle = (low + high) / 2;
    if (g_array_index(layout->areas, MirrorMapping, middle).end > address)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

static gboolean
is_stepped_on(const GArray *steps, guint count, guint64 address)
{
  for (guint i = 0; i < count; i++) {
    const MirrorMapping *mapping = &g_array_index(steps, MirrorStep, i).mapping;
    if (overlaps(mapping->start, mapping->end, address, address + 1))
      return TRUE;
  }
  return FALSE;
}

/* What continues a mapping is made by letting that one grow: to the kernel they are one then, as they are on
 * the other side, and can be moved as one (mremap(2)). `done` of the steps were taken before. FALSE: it has
 * to be made by itself. */
static gboolean
grow(MirrorTwin *twin, const GArray *steps, guint done, const MirrorMapping *mapping)
{
  guint64 last = mapping->start - COPIES_PAGE;
  guint at = area_at(twin->layout, last);
  const MirrorMapping *before =
      at < twin->layout->areas->len ? &g_array_index(twin->layout->areas, MirrorMapping, at) : NULL;
  const guint64 arguments[6] = {last, COPIES_PAGE, mapping->end - last};
  gint64 result;
  return before && before->start <= last && before->end == mapping->start &&
         before->kind == MIRROR_MAP_ANONYMOUS && mapping->kind == MIRROR_MAP_ANONYMOUS &&
         before->prot == mapping->prot && !is_stepped_on(steps, done, last) &&
         mirror_inject_one(mirror_thread_leader(twin->process), SYS_mremap, arguments, &result, NULL) &&
         (guint64)result == last;
}

static gboolean
take_step(MirrorTwin *twin, const GArray *steps, guint index, GError **error)
{
  MirrorProcess *process = twin->process;
  const MirrorStep *step = &g_array_index(steps, MirrorStep, index);
  const MirrorMapping *mapping = &step->mapping;
  gint64 result;
  guint64 arguments[6] = {mapping->start, mapping->end - mapping->start, mapping->prot};
  switch (step->kind) {
  case MIRROR_STEP_UNMAP:
    return call(process, SYS_munmap, arguments, &result, "unmapping", mapping, error);
  case MIRROR_STEP_PROTECT:
    return call(process, SYS_mprotect, arguments, &result, "protecting", mapping, error);
  case MIRROR_STEP_GROW_STACK: {
    MirrorCall touch = {ARCH_BATCH_TOUCH, {mapping->start}};
    return mirror_inject(mirror_thread_leader(process), &touch, 1, error);
  }
  case MIRROR_STEP_MAP:
    return grow(twin, steps, index, mapping) || make_mapping(process, mapping, FALSE, error);
  }
  return TRUE;
}

static gboolean
steps_sane(MirrorProcess *process, const GArray *steps, GError **error)
{
  for (guint i = 0; i < steps->len; i++) {
    const MirrorMapping *mapping = &g_array_index(steps, MirrorStep, i).mapping;
    if (overlaps(mapping->start, mapping->end, process->scratch, process->scratch + MIRROR_SCRATCH_SIZE))
      return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                              "the program uses the addresses at 0x%" G_GINT64_MODIFIER
                              "x that the engine works at",
                              process->scratch);
  }
  return TRUE;
}

/* New mappings where nothing is now are what can fail for want of memory: they are made first, and taken back
 * if one fails. */
static gboolean
make_new_first(MirrorTwin *twin, GArray *steps, GError **error)
{
  MirrorProcess *process = twin->process;
  g_autoptr(GArray) made = g_array_new(FALSE, FALSE, sizeof(MirrorStep));
  for (guint i = 0; i < steps->len; i++) {
    MirrorStep *step = &g_array_index(steps, MirrorStep, i);
    if (step->kind != MIRROR_STEP_MAP || mirror_layout_find(twin->layout, step->mapping.start) ||
        mirror_layout_find(twin->layout, step->mapping.end - 1))
      continue;
    if (grow(twin, steps, 0, &step->mapping) || make_mapping(process, &step->mapping, TRUE, error)) {
      g_array_append_val(made, *step);
      step->kind = MIRROR_STEP_PROTECT; /* what is left of it does nothing */
      continue;
    }
    for (guint k = 0; k < made->len; k++) {
      g_array_index(made, MirrorStep, k).kind = MIRROR_STEP_UNMAP;
      take_step(twin, made, k, NULL);
    }
    return FALSE;
  }
  return TRUE;
}

/* ---- apply: memory ---- */

static gboolean
runs_sane(const MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  guint64 bytes = 0, scratch = twin->process->scratch;
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (overlaps(run->address, run->address + run->length, scratch, scratch + MIRROR_SCRATCH_SIZE))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "memory that is not the program's");
    if (!twin->pager && run->kind > MIRROR_RUN_CHANGES && !(twin->late && run->kind == MIRROR_RUN_FAR))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                              "memory that is to be asked for, where nobody can");
    if (mirror_run_bytes(run) > delta->data->len - bytes ||
        (run->kind == MIRROR_RUN_CHANGES &&
         !mirror_changes_apply(delta->data->data + bytes, run->changes, NULL)))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "changes of memory that make no sense");
    bytes += mirror_run_bytes(run);
  }
  if (bytes != delta->data->len)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "runs of memory that do not fit their contents");
  return TRUE;
}

/* A hole in one area. Shared memory forgets nothing by being let go, and of a file without a name what comes
 * back then is the file. */
static void
add_hole(GArray *calls, const MirrorMapping *area, guint64 start, guint64 end)
{
  int advice = area->kind == MIRROR_MAP_SHARED     ? MADV_REMOVE
               : area->kind == MIRROR_MAP_DETACHED ? -1 /* none does it */
                                                   : MADV_DONTNEED;
  MirrorCall hole = {SYS_madvise, {start, end - start, (guint64)advice}};
  g_array_append_val(calls, hole);
}

static GArray *
plan_holes(const MirrorLayout *layout, const MirrorDelta *delta)
{
  GArray *calls = g_array_new(FALSE, TRUE, sizeof(MirrorCall));
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    guint64 end = run->address + run->length;
    gboolean gone = run->kind == MIRROR_RUN_HOLE || run->kind > MIRROR_RUN_CHANGES;
    for (guint k = area_at(layout, run->address); gone && k < layout->areas->len; k++) {
      const MirrorMapping *area = &g_array_index(layout->areas, MirrorMapping, k);
      if (area->start >= end)
        break;
      add_hole(calls, area, MAX(area->start, run->address), MIN(area->end, end));
    }
  }
  return calls;
}

static gboolean
write_zeros(MirrorProcess *process, guint64 address, guint64 length, GError **error)
{
  static const guint8 zeros[1 << 16];
  for (guint64 done = 0; done < length; done += sizeof zeros)
    if (!mirror_memory_write(process, address + done, zeros, MIN(sizeof zeros, length - done), error))
      return FALSE;
  return TRUE;
}

/* A hole that could not be made in the usual way: locked memory is asked for in another (Linux 5.18). */
static gboolean
retry_hole(MirrorProcess *process, const MirrorCall *hole, GError **error)
{
  const guint64 again[6] = {hole->argument[0], hole->argument[1], 24 /* MADV_DONTNEED_LOCKED */};
  gint64 result = hole->result;
  if (hole->argument[2] != MADV_DONTNEED)
    return write_zeros(process, hole->argument[0], hole->argument[1], error);
  if (result == -EINVAL &&
      !mirror_inject_one(mirror_thread_leader(process), SYS_madvise, again, &result, error))
    return FALSE;
  errno = -result;
  return result >= 0 ||
         doppel_error_errno(error, "emptying memory at 0x%" G_GINT64_MODIFIER "x", hole->argument[0]);
}

static gboolean
write_holes(MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  g_autoptr(GArray) calls = plan_holes(twin->layout, delta);
  MirrorThread *leader = mirror_thread_leader(twin->process);
  if (!mirror_inject(leader, (MirrorCall *)(void *)calls->data, calls->len, error))
    return FALSE;
  for (guint i = 0; i < calls->len; i++) {
    const MirrorCall *hole = &g_array_index(calls, MirrorCall, i);
    if (hole->result < 0 && !retry_hole(twin->process, hole, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
is_touched(const MirrorMapping *area, const MirrorDelta *delta)
{
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (overlaps(run->address, run->address + run->length, area->start, area->end))
      return TRUE;
  }
  return FALSE;
}

/* Shared memory that must not be written is the one kind that a tracer cannot write either. */
static gboolean
protect_shared(MirrorTwin *twin, const MirrorDelta *delta, gboolean open, GError **error)
{
  for (guint i = 0; i < twin->layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(twin->layout->areas, MirrorMapping, i);
    const guint64 arguments[6] = {area->start, area->end - area->start,
                                  open ? PROT_READ | PROT_WRITE : area->prot};
    gint64 result;
    if (area->kind == MIRROR_MAP_SHARED && !(area->prot & PROT_WRITE) && is_touched(area, delta) &&
        !call(twin->process, SYS_mprotect, arguments, &result, "protecting", area, error))
      return FALSE;
  }
  return TRUE;
}

/* A page made of what it was, and what changed in it. */
static gboolean
write_changes(MirrorTwin *twin, const MirrorRun *run, const guint8 *changes, GError **error)
{
  guint8 room[COPIES_PAGE], *page = mirror_copies_get(twin->copies, run->address);
  if (!page && !mirror_memory_read(twin->process, run->address, room, sizeof room, error))
    return FALSE;
  mirror_changes_apply(changes, run->changes, page ? page : room);
  if (!mirror_memory_write(twin->process, run->address, page ? page : room, COPIES_PAGE, error))
    return FALSE;
  if (!page)
    mirror_copies_note(twin, run->address, room, COPIES_PAGE);
  return TRUE;
}

static gboolean
write_run(MirrorTwin *twin, const MirrorRun *run, const guint8 *bytes, gboolean note, GError **error)
{
  if (twin->late && run->kind != MIRROR_RUN_CHANGES)
    mirror_late_forget(twin->late, run->address, run->address + run->length);
  switch (run->kind) {
  case MIRROR_RUN_CHANGES:
    return write_changes(twin, run, bytes, error);
  case MIRROR_RUN_DATA:
    if (note)
      mirror_copies_note(twin, run->address, bytes, run->length);
    return twin->pager ? mirror_pager_write(twin->pager, run->address, bytes, run->length, error)
                       : mirror_memory_write(twin->process, run->address, bytes, run->length, error);
  default:
    mirror_copies_drop(twin->copies, run->address, run->length);
    if (twin->pager)
      mirror_pager_forget(twin->pager, run->address, run->address + run->length);
    return TRUE;
  }
}

static gboolean
write_runs(MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  guint64 at = 0;
  gboolean note = delta->data->len <= COPIES_MAX * COPIES_PAGE;
  if (!protect_shared(twin, delta, TRUE, error))
    return FALSE;
  if (!note || mirror_delta_section(delta, MIRROR_SECTION_LAYOUT, 0))
    mirror_copies_clear(twin->copies);
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (!write_run(twin, run, delta->data->data + at, note, error))
      return FALSE;
    at += mirror_run_bytes(run);
  }
  return write_holes(twin, delta, error) && protect_shared(twin, delta, FALSE, error);
}

/* ---- apply: threads ---- */

static gboolean
threads_present(MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    if (section->kind != MIRROR_SECTION_REGISTERS || !section->bytes ||
        mirror_thread_find_own(twin->process, section->id))
      continue;
    if (twin->primary)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a thread %u that was never reserved",
                              section->id);
    if (twin->next_thread && !twin->next_thread(section->id, twin->next_user, error))
      return FALSE;
    MirrorThread *made = mirror_thread_create(twin->process, error);
    if (!made)
      return FALSE;
    if (made->own_tid != (pid_t)section->id)
      return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                              "a thread of the mirror got the id %d instead of %u", made->own_tid,
                              section->id);
  }
  return TRUE;
}

static gboolean
apply_threads(MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    if (section->kind < MIRROR_SECTION_REGISTERS)
      continue;
    MirrorThread *thread = mirror_thread_find_own(twin->process, section->id);
    if (!section->bytes) {
      if (section->kind == MIRROR_SECTION_REGISTERS && thread && !mirror_thread_end(thread, error))
        return FALSE;
      continue;
    }
    if (!thread)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "state of a thread %u that does not exist",
                              section->id);
    gboolean done =
        section->kind == MIRROR_SECTION_EXTENDED ? mirror_state_apply_extended(thread, section->bytes, error)
        : section->kind == MIRROR_SECTION_THREAD ? mirror_state_apply_thread(thread, section->bytes, error)
                                                 : TRUE;
    if (!done)
      return FALSE;
  }
  /* Last, since every injection puts back what was there before it. */
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    MirrorThread *thread = mirror_thread_find_own(twin->process, section->id);
    if (section->kind == MIRROR_SECTION_REGISTERS && section->bytes && thread &&
        !mirror_state_apply_registers(thread, section->bytes, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- apply ---- */

typedef struct {
  MirrorLayout *layout; /* NULL: as it is */
  MirrorFiles *files;   /* NULL: as they are */
  GArray *steps;
} Plan;

static void
plan_clear(Plan *plan)
{
  mirror_layout_free(plan->layout);
  g_clear_pointer(&plan->files, g_ptr_array_unref);
  g_clear_pointer(&plan->steps, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Plan, plan_clear)

static gboolean
sections_sane(const MirrorDelta *delta, GError **error)
{
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    if (section->bytes && !mirror_state_check(section->kind, section->bytes, error))
      return FALSE;
  }
  return TRUE;
}

/* Descriptors that the block made on the primary and closed again in the mirror are no difference between the
 * lists of before and after it, and are there still. */
static GBytes *
files_wanted(const MirrorTwin *twin, const MirrorDelta *delta)
{
  const MirrorSection *section = mirror_delta_section(delta, MIRROR_SECTION_FILES, 0);
  if (section)
    return section->bytes;
  return twin->strays && twin->agreed ? mirror_state_get(twin->agreed, MIRROR_SECTION_FILES, 0) : NULL;
}

static gboolean
make_plan(MirrorTwin *twin, const MirrorDelta *delta, Plan *plan, GError **error)
{
  const MirrorSection *layout = mirror_delta_section(delta, MIRROR_SECTION_LAYOUT, 0);
  GBytes *files = files_wanted(twin, delta);
  gsize length;
  const guint8 *bytes;
  if (!runs_sane(twin, delta, error) || !sections_sane(delta, error))
    return FALSE;
  if (files) {
    bytes = g_bytes_get_data(files, &length);
    if (!(plan->files = mirror_files_unpack(bytes, length, error)))
      return FALSE;
  }
  if (!layout || !layout->bytes)
    return TRUE;
  bytes = g_bytes_get_data(layout->bytes, &length);
  if (!(plan->layout = mirror_layout_unpack(bytes, length, error)))
    return FALSE;
  return TRUE;
}

static gboolean
apply_sections(MirrorTwin *twin, const MirrorDelta *delta, const Plan *plan, GError **error)
{
  const MirrorSection *signals = mirror_delta_section(delta, MIRROR_SECTION_SIGNALS, 0);
  if (plan->files && !(twin->primary ? mirror_files_apply_primary(twin->process, plan->files, error)
                                     : mirror_files_apply_mirror(twin->process, plan->files, error)))
    return FALSE;
  const MirrorSection *limits = mirror_delta_section(delta, MIRROR_SECTION_LIMITS, 0);
  if (limits && limits->bytes && !twin->primary &&
      !mirror_state_apply_limits(twin->process, limits->bytes, error))
    return FALSE;
  GBytes *former = twin->agreed ? mirror_state_get(twin->agreed, MIRROR_SECTION_SIGNALS, 0) : NULL;
  if (signals && signals->bytes && !mirror_state_apply_signals(twin->process, former, signals->bytes, error))
    return FALSE;
  return apply_threads(twin, delta, error);
}

static void
agree(MirrorTwin *twin, const MirrorDelta *delta)
{
  if (!twin->agreed)
    twin->agreed = mirror_state_new();
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    mirror_state_set(twin->agreed, section->kind, section->id,
                     section->bytes ? g_bytes_ref(section->bytes) : NULL);
  }
}

gboolean
mirror_twin_apply(MirrorTwin *twin, const MirrorDelta *delta, gboolean *begun, GError **error)
{
  g_auto(Plan) plan = {0};
  MirrorProcess *process = twin->process;
  const MirrorSection *misc = mirror_delta_section(delta, MIRROR_SECTION_MISC, 0);
  gboolean former_unknown = !twin->agreed;
  *begun = FALSE;
  if (!make_plan(twin, delta, &plan, error))
    return FALSE;
  if (plan.layout || !twin->layout) {
    if (!mirror_layout_renew(twin->process, &twin->layout, error))
      return FALSE;
  }
  if (plan.layout) {
    g_autoptr(GArray) first = mirror_layout_steps(twin->layout, plan.layout);
    if (!steps_sane(process, first, error))
      return FALSE;
  }
  if (!threads_present(twin, delta, error))
    return FALSE;
  if (misc && misc->bytes) {
    if (!mirror_state_apply_misc(process, misc->bytes, error) ||
        (plan.layout && !mirror_layout_renew(twin->process, &twin->layout, error)))
      return FALSE;
  }
  if (plan.layout) {
    plan.steps = mirror_layout_steps(twin->layout, plan.layout);
    if (twin->primary && !make_new_first(twin, plan.steps, error))
      return FALSE;
  }
  *begun = TRUE;
  for (guint i = 0; plan.steps && i < plan.steps->len; i++)
    if (!take_step(twin, plan.steps, i, error))
      return FALSE;
  if ((plan.layout && !mirror_layout_renew(process, &twin->layout, error)) ||
      !write_runs(twin, delta, error) || !apply_sections(twin, delta, &plan, error))
    return FALSE;
  twin->strays = FALSE;
  agree(twin, delta);
  if (plan.layout)
    forget_unmapped(twin);
  mirror_withheld_superseded(twin, delta);
  /* Pages that cannot come later come now, and are no change of the process's own. */
  if ((twin->pager && !mirror_pager_put_now(twin->pager, twin->layout, delta, error)) ||
      (twin->late && !mirror_late_put_now(twin->late, twin->layout, delta, error)))
    return FALSE;
  /* Both sides are equal now: what was written to make them so is no change. The process has stood still
   * since its last capture, which began tracking anew: where no mapping changed, the delta's own pages are
   * all that was written. */
  gboolean begun_anew = plan.layout || former_unknown
                            ? mirror_tracker_changed(twin->tracker, twin->layout, NULL, error)
                            : mirror_tracker_forget(twin->tracker, twin->layout, delta->runs, error);
  return begun_anew && (!twin->pager || mirror_pager_arm(twin->pager, twin->layout, delta, error)) &&
         (!twin->late || mirror_late_arm(twin->late, twin->layout, delta, error));
}
