/* A system call that a clone asks its device to make: unpacked, judged, laid out; then the scratch memory
 * behind it, with what a kernel may have left there, taken as its result. */
#include <string.h>

#include "mirror/pincall.h"

#define SCRATCH_ADDRESS 0x7e0000000000u

static gboolean
scratch_read(void *user, guint64 address, void *to, gsize length)
{
  if (address < SCRATCH_ADDRESS || address - SCRATCH_ADDRESS > PINCALL_SCRATCH ||
      length > PINCALL_SCRATCH - (address - SCRATCH_ADDRESS))
    __builtin_trap(); /* the engine would read what is not the call's */
  memcpy(to, (guint8 *)user + (address - SCRATCH_ADDRESS), length);
  return TRUE;
}

static gint64
pin_of_fd(void *user, int fd)
{
  return fd >= 0 ? fd : PIN_NONE;
}

static int
fd_of_pin(void *user, guint32 pin)
{
  return pin < 2000 ? (int)pin : -1;
}

static void
execute(const PinCall *call, guint8 *scratch)
{
  g_autoptr(PinPlacement) placement =
      pincall_place(call, SCRATCH_ADDRESS, PINCALL_SCRATCH, fd_of_pin, NULL, NULL);
  if (!placement)
    return;
  if (placement->image->len > placement->used || placement->used > PINCALL_SCRATCH)
    __builtin_trap();
  if (placement->image->len > 0)
    memcpy(scratch, placement->image->data, placement->image->len);
  MirrorMemoryOps memory = {scratch_read, NULL, scratch};
  static const gint64 values[] = {-11, 0, 1, 3, 100, 1 << 30};
  for (guint i = 0; i < G_N_ELEMENTS(values); i++) {
    g_autoptr(PinResult) result = pincall_collect(call, placement, values[i], &memory, pin_of_fd, NULL, NULL);
    if (!result || !pinresult_check(call, result, NULL))
      continue;
    g_autoptr(GByteArray) packed = pinresult_pack(result);
    g_autoptr(PinResult) back = pinresult_unpack(call, packed->data, packed->len, NULL);
    if (!back)
      __builtin_trap();
  }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static guint8 *scratch;
  if (!scratch)
    scratch = g_malloc0(PINCALL_SCRATCH);
  g_autoptr(PinCall) call = pincall_unpack(data, length, NULL);
  if (!call)
    return 0;
  g_autoptr(GByteArray) packed = pincall_pack(call);
  g_autoptr(PinCall) back = pincall_unpack(packed->data, packed->len, NULL);
  if (!back)
    __builtin_trap();
  pincall_may_be_buffered(call);
  pincall_payload(call);
  if (pincall_permitted(call, NULL, NULL))
    execute(call, scratch);
  return 0;
}
