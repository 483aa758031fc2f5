/* Mappings made what the other side has: the steps of a plan (layout.h), in the process's own name. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/error.h"
#include "mirror/twin_private.h"

gboolean
twin_call(MirrorProcess *process, gint64 nr, const guint64 arguments[6], gint64 *result, const char *what,
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
         twin_call(process, SYS_openat, arguments, fd, "opening, to map", mapping, error);
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
  gboolean made = twin_call(process, SYS_mmap, arguments, &result, "mapping", mapping, error);
  if (fd >= 0) {
    const guint64 closing[6] = {fd};
    if (!mirror_inject_one(mirror_thread_leader(process), SYS_close, closing, &result, made ? error : NULL))
      return FALSE;
  }
  return made;
}

guint
twin_area_at(const MirrorLayout *layout, guint64 address)
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
    if (twin_overlaps(mapping->start, mapping->end, address, address + 1))
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
  guint at = twin_area_at(twin->layout, last);
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

gboolean
twin_take_step(MirrorTwin *twin, const GArray *steps, guint index, GError **error)
{
  MirrorProcess *process = twin->process;
  const MirrorStep *step = &g_array_index(steps, MirrorStep, index);
  const MirrorMapping *mapping = &step->mapping;
  gint64 result;
  guint64 arguments[6] = {mapping->start, mapping->end - mapping->start, mapping->prot};
  switch (step->kind) {
  case MIRROR_STEP_UNMAP:
    return twin_call(process, SYS_munmap, arguments, &result, "unmapping", mapping, error);
  case MIRROR_STEP_PROTECT:
    return twin_call(process, SYS_mprotect, arguments, &result, "protecting", mapping, error);
  case MIRROR_STEP_GROW_STACK: {
    MirrorCall touch = {ARCH_BATCH_TOUCH, {mapping->start}};
    return mirror_inject(mirror_thread_leader(process), &touch, 1, error);
  }
  case MIRROR_STEP_MAP:
    return grow(twin, steps, index, mapping) || make_mapping(process, mapping, FALSE, error);
  }
  return TRUE;
}

gboolean
twin_steps_sane(MirrorProcess *process, const GArray *steps, GError **error)
{
  for (guint i = 0; i < steps->len; i++) {
    const MirrorMapping *mapping = &g_array_index(steps, MirrorStep, i).mapping;
    if (twin_overlaps(mapping->start, mapping->end, process->scratch, process->scratch + MIRROR_SCRATCH_SIZE))
      return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                              "the program uses the addresses at 0x%" G_GINT64_MODIFIER
                              "x that the engine works at",
                              process->scratch);
  }
  return TRUE;
}

gboolean
twin_make_new_first(MirrorTwin *twin, GArray *steps, GError **error)
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
      twin_take_step(twin, made, k, NULL);
    }
    return FALSE;
  }
  return TRUE;
}
