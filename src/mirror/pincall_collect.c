/* The device's side of a forwarded call, out: from the primary's scratch memory into a PinResult. */
#include <poll.h>
#include <string.h>

#include "base/error.h"
#include "mirror/pincall_parts.h"

typedef struct {
  const PinCall *call;
  const PinPlacement *placement;
  const MirrorMemoryOps *memory;
  PinOfFd pin_of_fd;
  void *fd_user;
  PinResult *result;
  guint64 left;    /* bytes of payload still to be found in segments */
  guint32 control; /* bytes of the current message's control data */
  guint32 name;    /* of its address */
  guint set_entry; /* of all select sets together, the next entry */
  gboolean failed;
} Collect;

static guint64
address_of(const Collect *collect, guint index)
{
  return g_array_index(collect->placement->addresses, guint64, index);
}

static gboolean
read_memory(Collect *collect, guint64 address, void *to, gsize length)
{
  if (length > 0 && !collect->memory->read(collect->memory->user, address, to, length))
    collect->failed = TRUE;
  return !collect->failed;
}

static void
collect_bytes(Collect *collect, guint index, gsize length)
{
  g_autofree guint8 *bytes = g_malloc(MAX(length, 1));
  if (length > 0 && read_memory(collect, address_of(collect, index), bytes, length))
    pinresult_add(collect->result, index, bytes, length);
}

static gint64
make_pin(void *user, gint32 fd)
{
  Collect *collect = user;
  gint64 pin = collect->pin_of_fd(collect->fd_user, fd);
  return pin <= G_MAXINT32 ? pin : -1;
}

static void
collect_new_fds(Collect *collect, guint index)
{
  gint32 fds[2];
  if (!read_memory(collect, address_of(collect, index), fds, sizeof fds))
    return;
  for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
    gint64 pin = make_pin(collect, fds[i]);
    collect->failed |= pin < 0;
    fds[i] = pin;
  }
  pinresult_add(collect->result, index, fds, sizeof fds);
}

static void
collect_value(Collect *collect, guint index)
{
  const PinRegion *region = pincall_region(collect->call, index);
  SyscallArg what = pincall_argument(collect->call, region->arg);
  gint length_at = pincall_find_region(collect->call, what.with, PIN_PART_LENGTH);
  gint32 length;
  if (!read_memory(collect, address_of(collect, length_at), &length, sizeof length))
    return;
  collect_bytes(collect, index, length < 0 ? 0 : MIN((guint32)length, region->room));
}

static void
collect_pollfds(Collect *collect, guint index)
{
  const PinRegion *region = pincall_region(collect->call, index);
  gsize count = region->in / sizeof(struct pollfd);
  g_autofree struct pollfd *entries = g_new(struct pollfd, count + 1);
  g_autofree gint16 *events = g_new(gint16, count + 1);
  if (!read_memory(collect, address_of(collect, index), entries, region->in))
    return;
  for (gsize i = 0; i < count; i++)
    events[i] = entries[i].revents;
  pinresult_add(collect->result, index, events, count * sizeof *events);
}

/* Which descriptors are ready, by the numbers that they have in the mirror. */
static void
collect_fdset(Collect *collect, guint index)
{
  const PinRegion *region = pincall_region(collect->call, index);
  const PinSetEntry *entries = (const PinSetEntry *)(const void *)region->bytes;
  gsize size = (collect->placement->set_size + 63) / 64 * 8;
  g_autofree guint64 *words = g_malloc0(size + 8);
  if (!read_memory(collect, address_of(collect, index), words, size))
    return;
  g_autoptr(GArray) ready = g_array_new(FALSE, FALSE, sizeof(PinSetEntry));
  for (gsize i = 0; i < region->in / sizeof *entries; i++) {
    gint fd = g_array_index(collect->placement->set_fds, gint, collect->set_entry++);
    if (words[fd / 64] >> fd % 64 & 1)
      g_array_append_val(ready, entries[i]);
  }
  pinresult_add(collect->result, index, ready->data, ready->len * sizeof(PinSetEntry));
}

/* A message's header; sets what its other regions need. Messages beyond those that the call did are left
 * alone. */
static void
collect_header(Collect *collect, guint index)
{
  const PinRegion *region = pincall_region(collect->call, index);
  SyscallArgKind kind = pincall_argument(collect->call, region->arg).kind;
  gboolean many = kind == SYSCALL_ARG_IN_MMSGHDR || kind == SYSCALL_ARG_OUT_MMSGHDR;
  struct mmsghdr raw = {};
  collect->left = collect->control = collect->name = 0;
  if (many && region->message >= collect->result->value)
    return;
  if (!read_memory(collect, address_of(collect, index), &raw, many ? sizeof raw : sizeof raw.msg_hdr))
    return;
  collect->left = many ? raw.msg_len : (guint64)collect->result->value;
  collect->control = MIN(raw.msg_hdr.msg_controllen, G_MAXUINT32);
  collect->name = raw.msg_hdr.msg_namelen;
  PinMessageHeader header = {.name = collect->name,
                             .control = collect->control,
                             .flags = raw.msg_hdr.msg_flags,
                             .bytes = raw.msg_len};
  pinresult_add(collect->result, index, &header, sizeof header);
}

static void
collect_control(Collect *collect, guint index)
{
  gsize length = MIN(collect->control, pincall_region(collect->call, index)->room);
  g_autofree guint8 *bytes = g_malloc(MAX(length, 1));
  if (!read_memory(collect, address_of(collect, index), bytes, length))
    return;
  if (pincall_translate_control(bytes, length, make_pin, collect))
    pinresult_add(collect->result, index, bytes, length);
  else
    collect->failed = TRUE;
}

static void
collect_segment(Collect *collect, guint index)
{
  gsize length = MIN(collect->left, pincall_region(collect->call, index)->room);
  collect->left -= length;
  collect_bytes(collect, index, length);
}

static void
collect_whole(Collect *collect, guint index)
{
  const PinRegion *region = pincall_region(collect->call, index);
  SyscallArg what = pincall_argument(collect->call, region->arg);
  switch ((SyscallArgKind)what.kind) {
  case SYSCALL_ARG_OUT:
    collect_bytes(collect, index, MIN((guint64)collect->result->value, region->room / what.size) * what.size);
    break;
  case SYSCALL_ARG_OUT_VALUE:
    collect_value(collect, index);
    break;
  case SYSCALL_ARG_OUT_FDS:
    collect_new_fds(collect, index);
    break;
  case SYSCALL_ARG_POLLFDS:
    collect_pollfds(collect, index);
    break;
  case SYSCALL_ARG_FDSET:
    collect_fdset(collect, index);
    break;
  default:
    collect_bytes(collect, index, region->room);
  }
}

static void
collect_region(Collect *collect, guint index)
{
  const PinRegion *region = pincall_region(collect->call, index);
  if (region->room == 0)
    return;
  /* What a failed call has left in memory is not its result, but for what was there before. */
  SyscallArgKind kind = pincall_argument(collect->call, region->arg).kind;
  if (collect->result->value < 0 && !pincall_kind_survives_failure(kind))
    return;
  switch ((PinPart)region->part) {
  case PIN_PART_HEADER:
    collect_header(collect, index);
    break;
  case PIN_PART_NAME:
    collect_bytes(collect, index, MIN(collect->name, region->room));
    break;
  case PIN_PART_CONTROL:
    collect_control(collect, index);
    break;
  case PIN_PART_SEGMENT:
    collect_segment(collect, index);
    break;
  case PIN_PART_LENGTH:
    collect_bytes(collect, index, region->room);
    break;
  default:
    collect_whole(collect, index);
  }
}

PinResult *
pincall_collect(const PinCall *call, const PinPlacement *placement, gint64 value,
                const MirrorMemoryOps *memory, PinOfFd pin_of_fd, void *fd_user, GError **error)
{
  g_autoptr(PinResult) result = pinresult_new(MAX(value, -4095));
  Collect collect = {.call = call,
                     .placement = placement,
                     .memory = memory,
                     .pin_of_fd = pin_of_fd,
                     .fd_user = fd_user,
                     .result = result,
                     .left = MAX(value, 0)};
  for (guint i = 0; i < call->regions->len && !collect.failed; i++)
    collect_region(&collect, i);
  if (value >= 0 && call->row->flags & SYSCALL_RETURNS_FD && !collect.failed) {
    result->value = make_pin(&collect, value);
    collect.failed = result->value < 0;
  }
  if (collect.failed) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED,
                     "the result of %s cannot be read from the process that made it", call->row->name);
    return NULL;
  }
  return g_steal_pointer(&result);
}
