/* Whether a call, or a result, has the form that the table prescribes: what arrives over the link is built by
 * others. */
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "mirror/pincall_parts.h"

/* A walk along the regions, which have to come in the order of the arguments. */
typedef struct {
  const PinCall *call;
  guint next;
  const char *fault;
} Walk;

/* The next region if it is of this argument, part and message; else the walk has failed and NULL. */
static const PinRegion *
take(Walk *walk, guint arg, PinPart part, guint message)
{
  if (walk->fault)
    return NULL;
  if (walk->next < walk->call->regions->len) {
    const PinRegion *region = pincall_region(walk->call, walk->next);
    if (region->arg == arg && region->part == part && region->message == message) {
      walk->next++;
      return region;
    }
  }
  walk->fault = "a region is missing or out of order";
  return NULL;
}

static void
require(Walk *walk, gboolean condition, const char *fault)
{
  if (!condition && !walk->fault)
    walk->fault = fault;
}

/* One region of exactly this many bytes each way. */
static const PinRegion *
take_exact(Walk *walk, guint arg, PinPart part, guint64 in, guint64 room)
{
  const PinRegion *region = take(walk, arg, part, 0);
  if (region)
    require(walk, region->in == in && region->room == room, "a region has the wrong size");
  return walk->fault ? NULL : region;
}

static void
check_text(Walk *walk, guint arg, guint32 longest)
{
  const PinRegion *region = take(walk, arg, PIN_PART_WHOLE, 0);
  if (region)
    require(walk,
            region->room == 0 && region->in > 0 && region->in <= longest &&
                memchr(region->bytes, '\0', region->in) == region->bytes + region->in - 1,
            "a text is too long or not terminated");
}

static void
check_sized(Walk *walk, guint arg)
{
  const PinRegion *region = take(walk, arg, PIN_PART_WHOLE, 0);
  guint32 size = 0;
  if (region && region->in >= sizeof size)
    memcpy(&size, region->bytes, sizeof size);
  require(walk, region && region->room == 0 && size == region->in,
          "a structure does not have the size that it states");
}

/* A length that counts `size`-byte elements, without overflow. */
static guint64
measured(Walk *walk, SyscallArg arg)
{
  guint64 count = walk->call->args[arg.with], size = MAX(arg.size, 1);
  require(walk, count <= PIN_TOTAL_MAX / size, "a length is beyond all bounds");
  return walk->fault ? 0 : count * size;
}

static void
check_segments(Walk *walk, guint arg, guint message, guint64 count, gboolean in)
{
  require(walk, count <= PIN_SEGMENTS, "there are too many segments");
  for (guint64 i = 0; i < count && !walk->fault; i++) {
    const PinRegion *region = take(walk, arg, PIN_PART_SEGMENT, message);
    require(walk, region && (in ? region->room : region->in) == 0, "a segment goes the wrong way");
  }
}

static gint64
check_pin(void *user, gint32 number)
{
  return number;
}

static void
check_message(Walk *walk, guint arg, guint message, gboolean in, gboolean many)
{
  const PinRegion *region = take(walk, arg, PIN_PART_HEADER, message);
  guint32 room = in && !many ? 0 : sizeof(PinMessageHeader);
  require(walk, region && region->in == sizeof(PinMessageHeader) && region->room == room,
          "a message's header is damaged");
  if (walk->fault)
    return;
  PinMessageHeader header = pincall_header(region);
  require(walk, (header.present & ~(PIN_MESSAGE_NAME | PIN_MESSAGE_CONTROL)) == 0,
          "a message's header is damaged");
  if (header.present & PIN_MESSAGE_NAME) {
    const PinRegion *name = take(walk, arg, PIN_PART_NAME, message);
    require(walk,
            name && (in ? name->room : name->in) == 0 && name->in <= PIN_SOCKADDR &&
                name->room <= PIN_SOCKADDR,
            "a message's address is too long");
  }
  if (header.present & PIN_MESSAGE_CONTROL) {
    const PinRegion *control = take(walk, arg, PIN_PART_CONTROL, message);
    require(walk,
            control && (in ? control->room : control->in) == 0 && control->in <= PIN_VALUE_MAX &&
                control->room <= PIN_VALUE_MAX,
            "a message's control data is too long");
    if (!walk->fault && in)
      require(walk, pincall_translate_control(control->bytes, control->in, check_pin, NULL),
              "a message's control data is damaged");
  }
  check_segments(walk, arg, message, header.segments, in);
}

static void
check_messages(Walk *walk, guint arg, SyscallArg what)
{
  gboolean in = what.kind == SYSCALL_ARG_IN_MSGHDR || what.kind == SYSCALL_ARG_IN_MMSGHDR;
  gboolean many = what.kind == SYSCALL_ARG_IN_MMSGHDR || what.kind == SYSCALL_ARG_OUT_MMSGHDR;
  guint64 count = many ? walk->call->args[what.with] : 1;
  require(walk, count <= PIN_SEGMENTS, "there are too many messages");
  for (guint i = 0; i < count && !walk->fault; i++)
    check_message(walk, arg, i, in, many);
}

static void
check_value(Walk *walk, guint arg, SyscallArg what)
{
  require(walk, walk->call->args[what.with] == 1, "a value has no length");
  const PinRegion *length = take_exact(walk, what.with, PIN_PART_LENGTH, 4, 4);
  guint32 bytes = 0;
  if (length)
    memcpy(&bytes, length->bytes, sizeof bytes);
  require(walk, bytes <= PIN_VALUE_MAX, "a value is too long");
  take_exact(walk, arg, PIN_PART_WHOLE, 0, bytes);
}

static void
check_pollfds(Walk *walk, guint arg, SyscallArg what)
{
  guint64 count = walk->call->args[what.with];
  require(walk, count <= PIN_TOTAL_MAX / 8, "a set is too large");
  take_exact(walk, arg, PIN_PART_WHOLE, count * 8, count * 2);
}

static void
check_fdset(Walk *walk, guint arg, SyscallArg what)
{
  guint64 count = walk->call->args[what.with];
  require(walk, count <= PIN_FDS_MAX, "a set is too large");
  const PinRegion *region = take(walk, arg, PIN_PART_WHOLE, 0);
  require(walk, region && region->in % sizeof(PinSetEntry) == 0 && region->room == region->in,
          "a set is damaged");
  for (gsize at = 0; !walk->fault && at < region->in; at += sizeof(PinSetEntry)) {
    PinSetEntry entry;
    memcpy(&entry, region->bytes + at, sizeof entry);
    require(walk, entry.fd >= 0 && entry.fd < count && entry.pin <= G_MAXINT32, "a set is damaged");
  }
}

static void
check_behind_pointer(Walk *walk, guint arg, SyscallArg what)
{
  switch ((SyscallArgKind)what.kind) {
  case SYSCALL_ARG_PATH:
    check_text(walk, arg, PIN_PATH_MAX);
    break;
  case SYSCALL_ARG_STRING:
    check_text(walk, arg, PIN_STRING_MAX);
    break;
  case SYSCALL_ARG_IN:
    take_exact(walk, arg, PIN_PART_WHOLE, measured(walk, what), 0);
    break;
  case SYSCALL_ARG_OUT:
  case SYSCALL_ARG_OUT_WHOLE:
    take_exact(walk, arg, PIN_PART_WHOLE, 0, measured(walk, what));
    break;
  case SYSCALL_ARG_OUT_BITS:
    require(walk, walk->call->args[what.with] <= PIN_NODES_MAX, "a length is beyond all bounds");
    take_exact(walk, arg, PIN_PART_WHOLE, 0, pincall_bits_bytes(walk->call->args[what.with]));
    break;
  case SYSCALL_ARG_IN_FIXED:
    take_exact(walk, arg, PIN_PART_WHOLE, what.size, 0);
    break;
  case SYSCALL_ARG_OUT_FIXED:
  case SYSCALL_ARG_OUT_FDS:
    take_exact(walk, arg, PIN_PART_WHOLE, 0, what.size);
    break;
  case SYSCALL_ARG_INOUT_FIXED:
  case SYSCALL_ARG_OUT_KEPT:
    take_exact(walk, arg, PIN_PART_WHOLE, what.size, what.size);
    break;
  case SYSCALL_ARG_IN_SIZED:
    check_sized(walk, arg);
    break;
  case SYSCALL_ARG_IN_IOVEC:
  case SYSCALL_ARG_OUT_IOVEC:
    check_segments(walk, arg, 0, walk->call->args[what.with], what.kind == SYSCALL_ARG_IN_IOVEC);
    break;
  case SYSCALL_ARG_IN_MSGHDR:
  case SYSCALL_ARG_OUT_MSGHDR:
  case SYSCALL_ARG_IN_MMSGHDR:
  case SYSCALL_ARG_OUT_MMSGHDR:
    check_messages(walk, arg, what);
    break;
  case SYSCALL_ARG_IN_SOCKADDR:
    require(walk, walk->call->args[what.with] <= PIN_SOCKADDR, "a socket address is too long");
    take_exact(walk, arg, PIN_PART_WHOLE, walk->call->args[what.with], 0);
    break;
  case SYSCALL_ARG_OUT_VALUE:
    check_value(walk, arg, what);
    break;
  case SYSCALL_ARG_POLLFDS:
    check_pollfds(walk, arg, what);
    break;
  case SYSCALL_ARG_FDSET:
    check_fdset(walk, arg, what);
    break;
  case SYSCALL_ARG_SIGSET:
    require(walk, walk->call->args[what.with] == PIN_SIGSET, "a signal set has the wrong size");
    take_exact(walk, arg, PIN_PART_WHOLE, PIN_SIGSET, 0);
    break;
  case SYSCALL_ARG_SIGSET_PAIR:
    take_exact(walk, arg, PIN_PART_WHOLE, PIN_SIGSET, 0);
    break;
  default: /* LENGTH_INOUT was taken with the value that it measures */
    break;
  }
}

static void
check_argument(Walk *walk, guint arg)
{
  SyscallArg what = pincall_argument(walk->call, arg);
  guint64 value = walk->call->args[arg];
  if (pincall_kind_is_pointer(what.kind)) {
    require(walk, value <= 1, "an address was sent");
    if (value == 1)
      check_behind_pointer(walk, arg, what);
    return;
  }
  switch ((SyscallArgKind)what.kind) {
  case SYSCALL_ARG_NONE:
  case SYSCALL_ARG_ADDRESS:
    require(walk, value == 0, "an address was sent");
    break;
  case SYSCALL_ARG_FD:
    require(walk, value <= G_MAXINT32 || value == G_MAXUINT64, "a descriptor is no pin");
    break;
  case SYSCALL_ARG_DIRFD:
    require(walk, value <= G_MAXINT32 || value == (guint64)(gint64)AT_FDCWD, "a descriptor is no pin");
    break;
  case SYSCALL_ARG_UNSUPPORTED:
    require(walk, FALSE, "this request is never made for the other side");
    break;
  default:
    break;
  }
}

static void
check_total(Walk *walk)
{
  guint64 total = 0;
  for (guint i = 0; i < walk->call->regions->len; i++) {
    const PinRegion *region = pincall_region(walk->call, i);
    total += MAX(region->in, region->room);
  }
  require(walk, total <= PIN_TOTAL_MAX, "the call is too long");
}

gboolean
pincall_check(const PinCall *call, GError **error)
{
  Walk walk = {.call = call};
  for (guint arg = 0; arg < SYSCALL_ARGS; arg++)
    check_argument(&walk, arg);
  require(&walk, walk.next == call->regions->len, "there are more regions than the call has");
  check_total(&walk);
  if (walk.fault)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the peer sent a damaged system call %s: %s",
                            call->row->name, walk.fault);
  return TRUE;
}

/* How long the blob of a region must be, where the call and its return value say so; -1: anything up to the
 * room. */
static gint64
exact_length(const PinCall *call, const PinRegion *region, gint64 value)
{
  SyscallArg what = pincall_argument(call, region->arg);
  if (region->part == PIN_PART_HEADER || region->part == PIN_PART_LENGTH)
    return region->room;
  if (region->part != PIN_PART_WHOLE)
    return -1;
  switch ((SyscallArgKind)what.kind) {
  case SYSCALL_ARG_OUT:
    return MIN((guint64)value, region->room / what.size) * what.size;
  case SYSCALL_ARG_OUT_VALUE:
  case SYSCALL_ARG_FDSET:
    return -1;
  default:
    return region->room;
  }
}

static gboolean
blob_is_right(const PinCall *call, const PinResult *result, const PinBlob *blob)
{
  const PinRegion *region = pincall_region(call, blob->region);
  SyscallArgKind kind = pincall_argument(call, region->arg).kind;
  if (region->room == 0 || blob->length > region->room ||
      (result->value < 0 && !pincall_kind_survives_failure(kind)))
    return FALSE;
  gint64 exact = exact_length(call, region, result->value);
  if (exact >= 0 && blob->length != exact)
    return FALSE;
  if (region->part == PIN_PART_CONTROL)
    return pincall_translate_control(blob->bytes, blob->length, check_pin, NULL);
  if (kind == SYSCALL_ARG_FDSET)
    return blob->length % sizeof(PinSetEntry) == 0;
  return TRUE;
}

/* A count of bytes that goes beyond what the program made room for would make it read what is not there. */
static gboolean
value_is_right(const PinCall *call, gint64 value)
{
  if (value < -4095)
    return FALSE;
  if (value > 0 && call->row->flags & SYSCALL_RETURNS_FD)
    return value <= G_MAXINT32;
  if (value <= 0 || !(call->row->flags & (SYSCALL_INPUT | SYSCALL_OUTPUT)))
    return TRUE;
  for (guint arg = 0; arg < SYSCALL_ARGS; arg++)
    if (pincall_argument(call, arg).kind == SYSCALL_ARG_IN_MMSGHDR)
      return value <= call->args[pincall_argument(call, arg).with];
  /* MSG_TRUNC asks for a message's true length. */
  guint64 flags = strcmp(call->row->name, "recvfrom") == 0  ? call->args[3]
                  : strcmp(call->row->name, "recvmsg") == 0 ? call->args[2]
                                                            : 0;
  return flags & MSG_TRUNC || value <= pincall_payload(call);
}

gboolean
pinresult_check(const PinCall *call, const PinResult *result, GError **error)
{
  gint64 last = -1;
  gboolean right = value_is_right(call, result->value);
  for (guint i = 0; right && i < result->blobs->len; i++) {
    const PinBlob *blob = &g_array_index(result->blobs, PinBlob, i);
    right =
        (gint64)blob->region > last && blob->region < call->regions->len && blob_is_right(call, result, blob);
    last = blob->region;
  }
  if (!right)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the peer sent a result that %s cannot have (%" G_GINT64_FORMAT ")",
                            call->row->name, result->value);
  return TRUE;
}
