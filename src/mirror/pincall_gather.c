/* The mirror's side of a forwarded call, out: from its memory into a PinCall. */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/error.h"
#include "mirror/pincall_parts.h"

typedef struct {
  PinCall *call;
  const guint64 *args; /* as the program gave them */
  const MirrorMemoryOps *memory;
  PinOfFd pin_of_fd;
  void *fd_user;
  guint64 skip;             /* bytes of payload still to be left out */
  gsize total;              /* bytes of regions so far */
  gsize payload;            /* those of them that count against PINCALL_BYTES_MAX */
  gboolean local_directory; /* a DIRFD that is no pin: right only for an absolute path */
  const char *fault;
} Gather;

static gboolean
fail(Gather *gather, const char *fault)
{
  if (!gather->fault)
    gather->fault = fault;
  return FALSE;
}

static gboolean
read_memory(Gather *gather, guint64 address, void *to, gsize length)
{
  if (length == 0 || gather->memory->read(gather->memory->user, address, to, length))
    return TRUE;
  return fail(gather, "its arguments point to memory that cannot be read");
}

/* A region whose `in` bytes are read from `address`. NULL where that fails. */
static PinRegion *
add(Gather *gather, guint arg, PinPart part, guint message, guint64 address, guint64 in, guint64 room)
{
  guint64 size = MAX(in, room);
  if (gather->fault || size > PIN_TOTAL_MAX - gather->total ||
      gather->call->regions->len >= PINCALL_REGIONS_MAX) {
    fail(gather, "it moves too many bytes at once");
    return NULL;
  }
  gather->total += size;
  if (part == PIN_PART_SEGMENT)
    gather->payload += size;
  PinRegion *region = pincall_add_region(gather->call, arg, part, message, in, room);
  region->address = address;
  return read_memory(gather, address, region->bytes, in) ? region : NULL;
}

/* What is left of the payload's allowance. */
static guint64
allowance(const Gather *gather)
{
  return PINCALL_BYTES_MAX - MIN(gather->payload, PINCALL_BYTES_MAX);
}

static gboolean
may_shorten(const Gather *gather)
{
  return (gather->call->row->flags & SYSCALL_SHORT) != 0;
}

static void
gather_text(Gather *gather, guint arg, guint32 longest)
{
  g_autoptr(GByteArray) text = g_byte_array_new();
  for (guint64 address = gather->args[arg]; text->len < longest;) {
    guint8 piece[256];
    /* Never over the border of a page that the text may not reach. */
    gsize length = MIN(sizeof piece, 4096 - address % 4096);
    length = MIN(length, longest - text->len);
    if (!read_memory(gather, address, piece, length))
      return;
    const guint8 *end = memchr(piece, '\0', length);
    g_byte_array_append(text, piece, end ? end - piece + 1 : length);
    address += length;
    if (end) {
      PinRegion *region = add(gather, arg, PIN_PART_WHOLE, 0, 0, 0, text->len);
      if (!region)
        return;
      region->room = 0;
      region->in = text->len;
      region->bytes = g_memdup2(text->data, text->len);
      region->address = gather->args[arg];
      return;
    }
  }
  fail(gather, "it names something longer than a path can be");
}

/* Arrays of plain bytes or elements, in either direction. */
static void
gather_array(Gather *gather, guint arg, SyscallArg what)
{
  guint64 count = gather->call->args[what.with], size = MAX(what.size, 1), skip = 0;
  gboolean in = what.kind == SYSCALL_ARG_IN;
  if (may_shorten(gather)) {
    gather->call->asked = count > G_MAXINT64 / size ? G_MAXINT64 : count * size;
    skip = MIN(gather->skip, gather->call->asked) / size;
    count = MIN(count - skip, allowance(gather) / size);
  }
  if (count > PINCALL_BYTES_MAX / size) {
    fail(gather, "it moves too many bytes at once");
    return;
  }
  gather->call->args[what.with] = count;
  add(gather, arg, PIN_PART_WHOLE, 0, gather->args[arg] + skip * size, in ? count * size : 0,
      in ? 0 : count * size);
}

static void
gather_sized(Gather *gather, guint arg)
{
  guint32 size;
  if (!read_memory(gather, gather->args[arg], &size, sizeof size))
    return;
  if (size < sizeof size || size > 4096)
    fail(gather, "a structure states a size that cannot be");
  else
    add(gather, arg, PIN_PART_WHOLE, 0, gather->args[arg], size, 0);
}

/* Pieces of an iovec, the payload's allowance and the bytes to skip applied. The number of pieces that go. */
static guint64
gather_segments(Gather *gather, guint arg, guint message, guint64 address, guint64 count, gboolean in)
{
  g_autofree struct iovec *pieces = NULL;
  guint64 taken = 0;
  if (count > PIN_SEGMENTS) {
    fail(gather, "it has more pieces than the kernel takes");
    return 0;
  }
  pieces = g_new(struct iovec, count + 1);
  if (!read_memory(gather, address, pieces, count * sizeof *pieces))
    return 0;
  gboolean full = FALSE;
  for (guint64 i = 0; i < count && !gather->fault; i++) {
    guint64 length = pieces[i].iov_len, start = (guintptr)pieces[i].iov_base;
    gather->call->asked += MIN(length, (guint64)G_MAXINT64 - gather->call->asked);
    guint64 skipped = MIN(gather->skip, length);
    gather->skip -= skipped;
    if (full || (skipped > 0 && skipped == length))
      continue;
    guint64 going = MIN(length - skipped, allowance(gather));
    full = going < length - skipped;
    add(gather, arg, PIN_PART_SEGMENT, message, start + skipped, in ? going : 0, in ? 0 : going);
    taken++;
  }
  return taken;
}

static void
gather_iovec(Gather *gather, guint arg, SyscallArg what)
{
  guint64 count = gather->call->args[what.with];
  gather->call->args[what.with] =
      gather_segments(gather, arg, 0, gather->args[arg], count, what.kind == SYSCALL_ARG_IN_IOVEC);
}

static gint64
control_pin(void *user, gint32 fd)
{
  Gather *gather = user;
  return gather->pin_of_fd(gather->fd_user, fd);
}

static void
gather_control(Gather *gather, guint arg, guint message, const struct msghdr *header, gboolean in)
{
  guint64 address = (guintptr)header->msg_control, length = header->msg_controllen;
  if (!in) {
    add(gather, arg, PIN_PART_CONTROL, message, address, 0, MIN(length, PIN_VALUE_MAX));
    return;
  }
  if (length > PIN_VALUE_MAX) {
    fail(gather, "a message has too much control data");
    return;
  }
  PinRegion *region = add(gather, arg, PIN_PART_CONTROL, message, address, length, 0);
  if (region && !pincall_translate_control(region->bytes, region->in, control_pin, gather))
    fail(gather, "a message hands over a descriptor that exists in the clone only");
}

static void
gather_message(Gather *gather, guint arg, guint message, guint64 address, gboolean in, gboolean many)
{
  struct msghdr raw;
  if (!read_memory(gather, address, &raw, sizeof raw))
    return;
  /* What was sent in part has sent its control data. */
  gboolean has_name = raw.msg_name && (!in || raw.msg_namelen > 0);
  gboolean has_control = raw.msg_control && raw.msg_controllen > 0 && !(in && gather->skip > 0);
  if ((gint32)raw.msg_namelen < 0 || (in && has_name && raw.msg_namelen > PIN_SOCKADDR)) {
    fail(gather, "a message's address is too long");
    return;
  }
  guint at = gather->call->regions->len;
  if (!add(gather, arg, PIN_PART_HEADER, message, 0, 0, sizeof(PinMessageHeader)))
    return;
  PinMessageHeader header = {.present =
                                 (has_name ? PIN_MESSAGE_NAME : 0) | (has_control ? PIN_MESSAGE_CONTROL : 0)};
  guint32 name = MIN(raw.msg_namelen, PIN_SOCKADDR);
  if (has_name)
    add(gather, arg, PIN_PART_NAME, message, (guintptr)raw.msg_name, in ? name : 0, in ? 0 : name);
  if (has_control)
    gather_control(gather, arg, message, &raw, in);
  header.segments = gather_segments(gather, arg, message, (guintptr)raw.msg_iov, raw.msg_iovlen, in);
  PinRegion *region = pincall_region(gather->call, at);
  region->in = sizeof header;
  region->room = in && !many ? 0 : sizeof header;
  region->bytes = g_memdup2(&header, sizeof header);
  region->address = address;
}

static void
gather_messages(Gather *gather, guint arg, SyscallArg what)
{
  gboolean in = what.kind == SYSCALL_ARG_IN_MMSGHDR;
  guint64 count = MIN(gather->call->args[what.with], PIN_SEGMENTS);
  if (gather->skip > 0) {
    fail(gather, "a part of several messages has been sent");
    return;
  }
  for (guint64 i = 0; i < count && !gather->fault; i++)
    gather_message(gather, arg, i, gather->args[arg] + i * sizeof(struct mmsghdr), in, TRUE);
  gather->call->args[what.with] = count;
  /* Fewer messages may be sent than were given, but not less than a message. */
  if (gather->call->asked > gather->payload)
    fail(gather, "it moves too many bytes at once");
}

static void
gather_value(Gather *gather, guint arg, SyscallArg what)
{
  gint32 length;
  if (gather->args[what.with] == 0) {
    fail(gather, "it asks for a value without saying how long it may be");
    return;
  }
  if (!read_memory(gather, gather->args[what.with], &length, sizeof length))
    return;
  if (length < 0 || length > (gint32)PIN_VALUE_MAX) {
    fail(gather, "it asks for a value longer than can be");
    return;
  }
  add(gather, what.with, PIN_PART_LENGTH, 0, gather->args[what.with], 4, 4);
  add(gather, arg, PIN_PART_WHOLE, 0, gather->args[arg], 0, length);
}

/* PIN_NONE fails the gathering. */
static gint64
set_pin(Gather *gather, int fd)
{
  gint64 pin = gather->pin_of_fd(gather->fd_user, fd);
  if (pin == PIN_NONE || pin > G_MAXINT32)
    fail(gather, "it waits for descriptors of both sides");
  return pin;
}

static void
gather_pollfds(Gather *gather, guint arg, SyscallArg what)
{
  guint64 count = gather->call->args[what.with];
  if (count > PINCALL_BYTES_MAX / sizeof(struct pollfd)) {
    fail(gather, "it waits for too many descriptors");
    return;
  }
  PinRegion *region = add(gather, arg, PIN_PART_WHOLE, 0, gather->args[arg], count * sizeof(struct pollfd),
                          count * sizeof(gint16));
  struct pollfd *entries = region ? (struct pollfd *)(void *)region->bytes : NULL;
  for (guint64 i = 0; i < count && !gather->fault; i++)
    if (entries[i].fd >= 0) {
      gint64 pin = set_pin(gather, entries[i].fd);
      entries[i].fd = MAX(pin, -1);
    }
}

static void
gather_fdset(Gather *gather, guint arg, SyscallArg what)
{
  guint64 count = gather->call->args[what.with];
  if (count > PIN_FDS_MAX) {
    fail(gather, "it waits for too many descriptors");
    return;
  }
  g_autofree guint64 *words = g_new0(guint64, count / 64 + 1);
  if (!read_memory(gather, gather->args[arg], words, (count + 63) / 64 * 8))
    return;
  g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(PinSetEntry));
  for (guint64 fd = 0; fd < count && !gather->fault; fd++) {
    gint64 pin = words[fd / 64] >> fd % 64 & 1 ? set_pin(gather, fd) : PIN_IGNORED;
    PinSetEntry entry = {.fd = fd, .pin = pin};
    if (pin >= 0)
      g_array_append_val(entries, entry);
  }
  gsize size = entries->len * sizeof(PinSetEntry);
  PinRegion *region = add(gather, arg, PIN_PART_WHOLE, 0, 0, 0, size);
  if (!region)
    return;
  region->in = size;
  region->bytes = g_memdup2(entries->data, size);
  region->address = gather->args[arg];
}

static void
gather_sigset(Gather *gather, guint arg, SyscallArg what)
{
  guint64 set[2] = {gather->args[arg], 0};
  if (what.kind == SYSCALL_ARG_SIGSET)
    set[1] = gather->args[what.with];
  else if (!read_memory(gather, gather->args[arg], set, sizeof set))
    return;
  if (set[0] == 0) {
    gather->call->args[arg] = 0;
    return;
  }
  if (set[1] != PIN_SIGSET)
    fail(gather, "a signal set has another size than the kernel's");
  else
    add(gather, arg, PIN_PART_WHOLE, 0, set[0], PIN_SIGSET, 0);
}

static void
gather_behind_pointer(Gather *gather, guint arg, SyscallArg what)
{
  guint64 address = gather->args[arg];
  switch ((SyscallArgKind)what.kind) {
  case SYSCALL_ARG_PATH:
    gather_text(gather, arg, PIN_PATH_MAX);
    break;
  case SYSCALL_ARG_STRING:
    gather_text(gather, arg, PIN_STRING_MAX);
    break;
  case SYSCALL_ARG_IN:
  case SYSCALL_ARG_OUT:
  case SYSCALL_ARG_OUT_WHOLE:
    gather_array(gather, arg, what);
    break;
  case SYSCALL_ARG_OUT_BITS:
    if (gather->call->args[what.with] > PIN_NODES_MAX)
      fail(gather, "it asks for too many bits");
    else
      add(gather, arg, PIN_PART_WHOLE, 0, address, 0, pincall_bits_bytes(gather->call->args[what.with]));
    break;
  case SYSCALL_ARG_IN_FIXED:
    add(gather, arg, PIN_PART_WHOLE, 0, address, what.size, 0);
    break;
  case SYSCALL_ARG_OUT_FIXED:
  case SYSCALL_ARG_OUT_FDS:
    add(gather, arg, PIN_PART_WHOLE, 0, address, 0, what.size);
    break;
  case SYSCALL_ARG_INOUT_FIXED:
  case SYSCALL_ARG_OUT_KEPT:
    add(gather, arg, PIN_PART_WHOLE, 0, address, what.size, what.size);
    break;
  case SYSCALL_ARG_IN_SIZED:
    gather_sized(gather, arg);
    break;
  case SYSCALL_ARG_IN_IOVEC:
  case SYSCALL_ARG_OUT_IOVEC:
    gather_iovec(gather, arg, what);
    break;
  case SYSCALL_ARG_IN_MSGHDR:
  case SYSCALL_ARG_OUT_MSGHDR:
    gather_message(gather, arg, 0, address, what.kind == SYSCALL_ARG_IN_MSGHDR, FALSE);
    break;
  case SYSCALL_ARG_IN_MMSGHDR:
  case SYSCALL_ARG_OUT_MMSGHDR:
    gather_messages(gather, arg, what);
    break;
  case SYSCALL_ARG_IN_SOCKADDR:
    if (gather->call->args[what.with] > PIN_SOCKADDR)
      fail(gather, "a socket address is longer than can be");
    else
      add(gather, arg, PIN_PART_WHOLE, 0, address, gather->call->args[what.with], 0);
    break;
  case SYSCALL_ARG_OUT_VALUE:
    gather_value(gather, arg, what);
    break;
  case SYSCALL_ARG_POLLFDS:
    gather_pollfds(gather, arg, what);
    break;
  case SYSCALL_ARG_FDSET:
    gather_fdset(gather, arg, what);
    break;
  case SYSCALL_ARG_SIGSET:
  case SYSCALL_ARG_SIGSET_PAIR:
    gather_sigset(gather, arg, what);
    break;
  default:
    break;
  }
}

/* A directory that is the clone's own is not a pin; an absolute path does without it. */
static void
gather_directory(Gather *gather, guint arg)
{
  int fd = gather->args[arg];
  gint64 pin = fd == AT_FDCWD ? PIN_NONE : gather->pin_of_fd(gather->fd_user, fd);
  gather->local_directory |= fd != AT_FDCWD && pin < 0;
  gather->call->args[arg] = pin >= 0 && pin <= G_MAXINT32 ? (guint64)pin : (guint64)(gint64)AT_FDCWD;
}

static void
gather_fd(Gather *gather, guint arg)
{
  int fd = gather->args[arg];
  gint64 pin = fd == -1 ? -1 : gather->pin_of_fd(gather->fd_user, fd);
  if (fd != -1 && (pin < 0 || pin > G_MAXINT32))
    fail(gather, "one of its descriptors exists in the clone only");
  gather->call->args[arg] = pin;
}

static void
gather_argument(Gather *gather, guint arg)
{
  SyscallArg what = syscall_argument(gather->call->row, gather->args, arg);
  if (pincall_kind_is_pointer(what.kind)) {
    gather->call->args[arg] = gather->args[arg] != 0;
    if (gather->args[arg] != 0)
      gather_behind_pointer(gather, arg, what);
    return;
  }
  switch ((SyscallArgKind)what.kind) {
  case SYSCALL_ARG_NONE:
    gather->call->args[arg] = 0;
    break;
  case SYSCALL_ARG_ADDRESS:
    if (gather->args[arg] != 0)
      fail(gather, "one of its arguments is an address of this process");
    break;
  case SYSCALL_ARG_FD:
    gather_fd(gather, arg);
    break;
  case SYSCALL_ARG_DIRFD:
    gather_directory(gather, arg);
    break;
  case SYSCALL_ARG_UNSUPPORTED:
    fail(gather, "the device does not take this request from its clone");
    break;
  default:
    break;
  }
}

/* A value's length is meant only where there is a value. */
static void
drop_lonely_lengths(Gather *gather)
{
  for (guint arg = 0; arg < SYSCALL_ARGS; arg++) {
    SyscallArg what = gather->call->row->args[arg];
    if (what.kind == SYSCALL_ARG_OUT_VALUE && gather->call->args[arg] == 0)
      gather->call->args[what.with] = 0;
  }
}

/* A path that needs its directory needs it on the device. */
static void
check_directory(Gather *gather)
{
  if (!gather->local_directory)
    return;
  for (guint i = 0; i < 2 && gather->call->row->paths[i].use; i++) {
    gint at = pincall_find_region(gather->call, gather->call->row->paths[i].path, PIN_PART_WHOLE);
    if (at < 0 || pincall_region(gather->call, at)->bytes[0] == '\0')
      fail(gather, "one of its descriptors exists in the clone only");
  }
}

PinCall *
pincall_gather(const SyscallRow *row, const guint64 args[SYSCALL_ARGS], const MirrorMemoryOps *memory,
               PinOfFd pin_of_fd, void *fd_user, guint64 skip, GError **error)
{
  g_autoptr(PinCall) call = pincall_new(row);
  Gather gather = {
      .call = call, .args = args, .memory = memory, .pin_of_fd = pin_of_fd, .fd_user = fd_user, .skip = skip};
  for (guint arg = 0; arg < SYSCALL_ARGS; arg++) {
    gboolean narrow = row->args[arg].kind == SYSCALL_ARG_INT && row->args[arg].size == 4;
    call->args[arg] = narrow ? (guint32)args[arg] : args[arg];
  }
  for (guint arg = 0; arg < SYSCALL_ARGS && !gather.fault; arg++)
    gather_argument(&gather, arg);
  drop_lonely_lengths(&gather);
  if (!gather.fault)
    check_directory(&gather);
  if (!gather.fault)
    gather.fault = pincall_objection(call);
  if (gather.fault) {
    doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "%s cannot be made for the device: %s", row->name,
                     gather.fault);
    return NULL;
  }
  return g_steal_pointer(&call);
}

void
pincall_set_path(PinCall *call, guint index, const char *path)
{
  const SyscallPath *where = &call->row->paths[index];
  gint at = pincall_find_region(call, where->path, PIN_PART_WHOLE);
  if (at < 0)
    return;
  PinRegion *region = pincall_region(call, at);
  g_free(region->bytes);
  region->in = strlen(path) + 1;
  region->bytes = (guint8 *)g_strdup(path);
  if (where->dirfd >= 0)
    call->args[where->dirfd] = (guint64)(gint64)AT_FDCWD;
}
