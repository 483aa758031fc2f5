#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "base/error.h"
#include "mirror/process_private.h"

gboolean
process_write_raw(MirrorProcess *process, guint64 address, const void *from, gsize length, GError **error)
{
  if (process->fill && !process->fill(address, length, process->fill_user, error))
    return FALSE;
  for (gsize done = 0; done < length;) {
    ssize_t got = pwrite(process->memory, (const guint8 *)from + done, length - done, address + done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return doppel_error_errno(
          error, "writing %" G_GSIZE_FORMAT " bytes at 0x%" G_GINT64_MODIFIER "x of process %d", length,
          address, process->pid);
    done += got;
  }
  return TRUE;
}

gboolean
process_read_raw(MirrorProcess *process, guint64 address, void *to, gsize length, GError **error)
{
  for (gsize done = 0; done < length;) {
    ssize_t got = pread(process->memory, (guint8 *)to + done, length - done, address + done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      if (got == 0)
        errno = EIO;
      return doppel_error_errno(
          error, "reading %" G_GSIZE_FORMAT " bytes at 0x%" G_GINT64_MODIFIER "x of process %d", length,
          address, process->pid);
    }
    done += got;
  }
  return TRUE;
}

gboolean
mirror_memory_read(MirrorProcess *process, guint64 address, void *to, gsize length, GError **error)
{
  return (!process->fill || process->fill(address, length, process->fill_user, error)) &&
         mirror_memory_read_present(process, address, to, length, error);
}

static void
hide_breakpoints(const MirrorProcess *process, guint64 address, void *to, gsize length)
{
  for (guint i = 0; i < process->breakpoint_count; i++) {
    const MirrorBreakpoint *breakpoint = &process->breakpoints[i];
    for (gsize k = 0; breakpoint->slot < 0 && k < arch_trap_length; k++)
      if (breakpoint->address + k >= address && breakpoint->address + k < address + length)
        ((guint8 *)to)[breakpoint->address + k - address] = breakpoint->original[k];
  }
}

gboolean
mirror_memory_read_present(MirrorProcess *process, guint64 address, void *to, gsize length, GError **error)
{
  if (!process_read_raw(process, address, to, length, error))
    return FALSE;
  hide_breakpoints(process, address, to, length);
  return TRUE;
}

/* What could not be read so is read from its first byte on again, by the way that says why. */
static gboolean
read_batch(const MirrorProcess *process, const struct iovec *pieces, guint count, void *to, gsize length)
{
  struct iovec here = {to, length};
  return process_vm_readv(process->pid, &here, 1, pieces, count, 0) == (ssize_t)length;
}

gboolean
mirror_memory_read_pieces(MirrorProcess *process, const struct iovec *pieces, guint count, void *to,
                          GError **error)
{
  guint8 *at = to;
  for (guint first = 0, batch; first < count; first += batch) {
    gsize length = 0;
    for (batch = 0; first + batch < count && batch < IOV_MAX; batch++)
      length += pieces[first + batch].iov_len;
    gboolean done = read_batch(process, pieces + first, batch, at, length);
    for (guint i = first; i < first + batch; at += pieces[i++].iov_len) {
      guint64 address = (guintptr)pieces[i].iov_base;
      if (!done && !process_read_raw(process, address, at, pieces[i].iov_len, error))
        return FALSE;
      hide_breakpoints(process, address, at, pieces[i].iov_len);
    }
  }
  return TRUE;
}

gboolean
mirror_memory_write(MirrorProcess *process, guint64 address, const void *from, gsize length, GError **error)
{
  if (!process_write_raw(process, address, from, length, error))
    return FALSE;
  for (guint i = 0; i < process->breakpoint_count; i++) {
    MirrorBreakpoint *breakpoint = &process->breakpoints[i];
    if (breakpoint->slot >= 0 || breakpoint->address >= address + length ||
        breakpoint->address + arch_trap_length <= address)
      continue;
    for (gsize k = 0; k < arch_trap_length; k++)
      if (breakpoint->address + k >= address && breakpoint->address + k < address + length)
        breakpoint->original[k] = ((const guint8 *)from)[breakpoint->address + k - address];
    if (!process_write_raw(process, breakpoint->address, arch_trap, arch_trap_length, error))
      return FALSE;
  }
  return TRUE;
}
