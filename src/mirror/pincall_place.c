/* The device's side of a forwarded call, in: from a PinCall into the primary's scratch memory and registers.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "base/error.h"
#include "mirror/pincall_parts.h"

#define ALIGNMENT 16u

typedef struct {
  const PinCall *call;
  PinPlacement *placement;
  guint64 base; /* the scratch memory */
  gsize size;   /* of it */
  gsize used;
  PinToFd fd_of_pin;
  void *fd_user;
  gint highest;                 /* descriptor in a select set, or -1 */
  guint set_entry;              /* of all select sets together, the next entry to be filled in */
  guint64 tables[SYSCALL_ARGS]; /* address of an argument's iovec, of its first msghdr, of pselect6's pair */
  const char *fault;
} Layout;

void
pinplacement_free(PinPlacement *placement)
{
  if (!placement)
    return;
  g_byte_array_unref(placement->image);
  g_array_unref(placement->addresses);
  g_array_unref(placement->set_fds);
  g_free(placement);
}

static guint64
reserve(Layout *layout, gsize length)
{
  gsize start = (layout->used + ALIGNMENT - 1) & ~(gsize)(ALIGNMENT - 1);
  if (start > layout->size || length > layout->size - start) {
    layout->fault = "the scratch memory is too small";
    return layout->base;
  }
  layout->used = start + length;
  return layout->base + start;
}

static guint64 *
address_of(const Layout *layout, guint index)
{
  return &g_array_index(layout->placement->addresses, guint64, index);
}

/* Where reserved memory lies in the image; valid until the image grows. */
static gpointer
in_image(const Layout *layout, guint64 address)
{
  return layout->placement->image->data + (address - layout->base);
}

static int
find_fd(Layout *layout, guint64 pin)
{
  int fd = pin <= G_MAXINT32 ? layout->fd_of_pin(layout->fd_user, pin) : -1;
  if (fd < 0)
    layout->fault = "it names a pin that does not exist";
  return fd;
}

/* Highest descriptor of all select sets, which gives the sets' size. */
static void
measure_fdsets(Layout *layout)
{
  for (guint i = 0; i < layout->call->regions->len && !layout->fault; i++) {
    const PinRegion *region = pincall_region(layout->call, i);
    if (pincall_argument(layout->call, region->arg).kind != SYSCALL_ARG_FDSET)
      continue;
    const PinSetEntry *entries = (const PinSetEntry *)(const void *)region->bytes;
    for (gsize k = 0; k < region->in / sizeof *entries && !layout->fault; k++) {
      gint fd = find_fd(layout, entries[k].pin);
      g_array_append_val(layout->placement->set_fds, fd);
      layout->highest = MAX(layout->highest, fd);
    }
  }
}

static gsize
fdset_bytes(const Layout *layout)
{
  return ((gsize)(layout->highest + 1) + 63) / 64 * 8;
}

/* Bytes of table that an argument needs beside its regions. */
static gsize
table_bytes(const Layout *layout, guint arg)
{
  SyscallArg what = pincall_argument(layout->call, arg);
  switch ((SyscallArgKind)what.kind) {
  case SYSCALL_ARG_IN_IOVEC:
  case SYSCALL_ARG_OUT_IOVEC:
    return layout->call->args[what.with] * sizeof(struct iovec);
  case SYSCALL_ARG_IN_MSGHDR:
  case SYSCALL_ARG_OUT_MSGHDR:
    return sizeof(struct msghdr);
  case SYSCALL_ARG_IN_MMSGHDR:
  case SYSCALL_ARG_OUT_MMSGHDR:
    return layout->call->args[what.with] * sizeof(struct mmsghdr);
  case SYSCALL_ARG_SIGSET_PAIR:
    return 2 * sizeof(guint64);
  default:
    return 0;
  }
}

static gsize
region_bytes(const Layout *layout, const PinRegion *region)
{
  if (pincall_argument(layout->call, region->arg).kind == SYSCALL_ARG_FDSET)
    return fdset_bytes(layout);
  return MAX(region->in, region->room);
}

/* First what has to be written, in one piece; behind it what is only filled by the call. */
static void
reserve_all(Layout *layout)
{
  for (guint arg = 0; arg < SYSCALL_ARGS; arg++)
    if (pincall_kind_is_pointer(pincall_argument(layout->call, arg).kind) && layout->call->args[arg] == 1)
      layout->tables[arg] = reserve(layout, table_bytes(layout, arg));
  for (guint only_filled = 0; only_filled < 2; only_filled++) {
    for (guint i = 0; i < layout->call->regions->len && !layout->fault; i++) {
      const PinRegion *region = pincall_region(layout->call, i);
      if ((region->in == 0) != (only_filled == 1) || region->part == PIN_PART_HEADER)
        continue;
      *address_of(layout, i) = reserve(layout, region_bytes(layout, region));
    }
    /* A message's pieces are told in an iovec of its own. */
    for (guint i = 0; i < layout->call->regions->len && !layout->fault && !only_filled; i++)
      if (pincall_region(layout->call, i)->part == PIN_PART_HEADER)
        *address_of(layout, i) =
            reserve(layout, pincall_header(pincall_region(layout->call, i)).segments * sizeof(struct iovec));
    if (!only_filled && !layout->fault) {
      g_byte_array_set_size(layout->placement->image, layout->used);
      memset(layout->placement->image->data, 0, layout->used);
    }
  }
}

static void
fill_pollfds(Layout *layout, const PinRegion *region, struct pollfd *entries)
{
  for (gsize i = 0; i < region->in / sizeof *entries; i++) {
    if (entries[i].fd >= 0)
      entries[i].fd = find_fd(layout, entries[i].fd);
    entries[i].revents = 0;
  }
}

static void
fill_fdset(Layout *layout, const PinRegion *region, guint64 *words)
{
  for (gsize i = 0; i < region->in / sizeof(PinSetEntry); i++) {
    gint fd = g_array_index(layout->placement->set_fds, gint, layout->set_entry++);
    words[fd / 64] |= (guint64)1 << fd % 64;
  }
}

static gint64
fd_for_control(void *user, gint32 pin)
{
  return find_fd(user, pin);
}

/* The bytes of a region, descriptors put in. */
static void
fill_region(Layout *layout, guint index)
{
  const PinRegion *region = pincall_region(layout->call, index);
  if (region->in == 0 || region->part == PIN_PART_HEADER)
    return;
  SyscallArgKind kind = pincall_argument(layout->call, region->arg).kind;
  guint8 *to = in_image(layout, *address_of(layout, index));
  if (kind == SYSCALL_ARG_FDSET) {
    fill_fdset(layout, region, (guint64 *)(void *)to);
    return;
  }
  memcpy(to, region->bytes, region->in);
  if (kind == SYSCALL_ARG_POLLFDS)
    fill_pollfds(layout, region, (struct pollfd *)(void *)to);
  else if (region->part == PIN_PART_CONTROL &&
           !pincall_translate_control(to, region->in, fd_for_control, layout))
    layout->fault = "it hands over a pin that does not exist";
}

static struct iovec
piece_of(const Layout *layout, guint index)
{
  const PinRegion *region = pincall_region(layout->call, index);
  return (struct iovec){(void *)(guintptr)*address_of(layout, index), MAX(region->in, region->room)};
}

/* The message that starts with region `index`; its iovec was reserved under the header's address, which from
 * now on is that of the message. */
static void
fill_message(Layout *layout, guint index, guint64 address)
{
  PinMessageHeader header = pincall_header(pincall_region(layout->call, index));
  guint64 pieces = *address_of(layout, index);
  struct msghdr raw = {.msg_iov = (void *)(guintptr)pieces, .msg_iovlen = header.segments};
  guint at = index + 1;
  if (header.present & PIN_MESSAGE_NAME) {
    struct iovec name = piece_of(layout, at++);
    raw.msg_name = name.iov_base;
    raw.msg_namelen = name.iov_len;
  }
  if (header.present & PIN_MESSAGE_CONTROL) {
    struct iovec control = piece_of(layout, at++);
    raw.msg_control = control.iov_base;
    raw.msg_controllen = control.iov_len;
  }
  for (guint i = 0; i < header.segments; i++) {
    struct iovec piece = piece_of(layout, at + i);
    memcpy((struct iovec *)in_image(layout, pieces) + i, &piece, sizeof piece);
  }
  memcpy(in_image(layout, address), &raw, sizeof raw);
  *address_of(layout, index) = address;
}

static void
fill_messages(Layout *layout, guint arg)
{
  SyscallArgKind kind = pincall_argument(layout->call, arg).kind;
  gboolean many = kind == SYSCALL_ARG_IN_MMSGHDR || kind == SYSCALL_ARG_OUT_MMSGHDR;
  for (guint i = 0; i < layout->call->regions->len; i++) {
    const PinRegion *region = pincall_region(layout->call, i);
    if (region->arg == arg && region->part == PIN_PART_HEADER)
      fill_message(layout, i,
                   layout->tables[arg] +
                       region->message * (many ? sizeof(struct mmsghdr) : sizeof(struct msghdr)));
  }
}

static void
fill_iovec(Layout *layout, guint arg)
{
  struct iovec *to = in_image(layout, layout->tables[arg]);
  for (guint i = 0; i < layout->call->regions->len; i++)
    if (pincall_region(layout->call, i)->arg == arg)
      *to++ = piece_of(layout, i);
}

static guint64
place_pointer(Layout *layout, guint arg, SyscallArgKind kind)
{
  switch (kind) {
  case SYSCALL_ARG_IN_IOVEC:
  case SYSCALL_ARG_OUT_IOVEC:
    fill_iovec(layout, arg);
    return layout->tables[arg];
  case SYSCALL_ARG_IN_MSGHDR:
  case SYSCALL_ARG_OUT_MSGHDR:
  case SYSCALL_ARG_IN_MMSGHDR:
  case SYSCALL_ARG_OUT_MMSGHDR:
    fill_messages(layout, arg);
    return layout->tables[arg];
  default:
    break;
  }
  gint at = pincall_find_region(layout->call, arg,
                                kind == SYSCALL_ARG_LENGTH_INOUT ? PIN_PART_LENGTH : PIN_PART_WHOLE);
  guint64 address = at >= 0 ? *address_of(layout, at) : 0;
  if (kind != SYSCALL_ARG_SIGSET_PAIR)
    return address;
  guint64 pair[2] = {address, PIN_SIGSET};
  memcpy(in_image(layout, layout->tables[arg]), pair, sizeof pair);
  return layout->tables[arg];
}

static guint64
place_argument(Layout *layout, guint arg)
{
  SyscallArgKind kind = pincall_argument(layout->call, arg).kind;
  guint64 value = layout->call->args[arg];
  if (pincall_kind_is_pointer(kind))
    return value == 1 ? place_pointer(layout, arg, kind) : 0;
  switch (kind) {
  case SYSCALL_ARG_INT:
    return value;
  case SYSCALL_ARG_FD:
    return value == G_MAXUINT64 ? value : (guint64)(gint64)find_fd(layout, value);
  case SYSCALL_ARG_DIRFD:
    return value == (guint64)(gint64)AT_FDCWD ? value : (guint64)(gint64)find_fd(layout, value);
  default:
    return 0;
  }
}

/* select's first argument counts descriptors, and those are others here. */
static void
place_set_size(Layout *layout)
{
  layout->placement->set_size = layout->highest + 1;
  for (guint arg = 0; arg < SYSCALL_ARGS; arg++) {
    SyscallArg what = layout->call->row->args[arg];
    if (what.kind == SYSCALL_ARG_FDSET)
      layout->placement->args[what.with] = layout->placement->set_size;
  }
}

PinPlacement *
pincall_place(const PinCall *call, guint64 scratch_address, gsize scratch_size, PinToFd fd_of_pin,
              void *fd_user, GError **error)
{
  g_autoptr(PinPlacement) placement = g_new0(PinPlacement, 1);
  placement->image = g_byte_array_sized_new(ALIGNMENT); /* its data is never NULL */
  placement->addresses = g_array_sized_new(FALSE, TRUE, sizeof(guint64), call->regions->len);
  g_array_set_size(placement->addresses, call->regions->len);
  placement->set_fds = g_array_new(FALSE, FALSE, sizeof(gint));
  Layout layout = {.call = call,
                   .placement = placement,
                   .base = scratch_address,
                   .size = scratch_size,
                   .fd_of_pin = fd_of_pin,
                   .fd_user = fd_user,
                   .highest = -1};
  measure_fdsets(&layout);
  if (!layout.fault)
    reserve_all(&layout);
  for (guint i = 0; i < call->regions->len && !layout.fault; i++)
    fill_region(&layout, i);
  for (guint arg = 0; arg < SYSCALL_ARGS && !layout.fault; arg++)
    placement->args[arg] = place_argument(&layout, arg);
  place_set_size(&layout);
  placement->used = layout.used;
  if (layout.fault) {
    doppel_error_set(error, DOPPEL_ERROR_DENIED, "the clone's system call %s was refused: %s",
                     call->row->name, layout.fault);
    return NULL;
  }
  return g_steal_pointer(&placement);
}
