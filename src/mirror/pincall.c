#include "mirror/pincall.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "mirror/pincall_parts.h"

static void
clear_region(gpointer region)
{
  g_free(((PinRegion *)region)->bytes);
}

PinCall *
pincall_new(const SyscallRow *row)
{
  PinCall *call = g_new0(PinCall, 1);
  call->row = row;
  call->regions = g_array_new(FALSE, TRUE, sizeof(PinRegion));
  g_array_set_clear_func(call->regions, clear_region);
  return call;
}

void
pincall_free(PinCall *call)
{
  if (!call)
    return;
  g_array_unref(call->regions);
  g_free(call);
}

static void
clear_blob(gpointer blob)
{
  g_free(((PinBlob *)blob)->bytes);
}

PinResult *
pinresult_new(gint64 value)
{
  PinResult *result = g_new0(PinResult, 1);
  result->value = value;
  result->blobs = g_array_new(FALSE, TRUE, sizeof(PinBlob));
  g_array_set_clear_func(result->blobs, clear_blob);
  return result;
}

void
pinresult_free(PinResult *result)
{
  if (!result)
    return;
  g_array_unref(result->blobs);
  g_free(result);
}

void
pinresult_add(PinResult *result, guint region, const void *bytes, gsize length)
{
  PinBlob blob = {.region = region, .bytes = g_memdup2(bytes, length), .length = length};
  g_array_append_val(result->blobs, blob);
}

PinRegion *
pincall_add_region(PinCall *call, guint arg, PinPart part, guint message, guint32 in, guint32 room)
{
  PinRegion region = {.arg = arg, .part = part, .message = message, .in = in, .room = room};
  region.bytes = in > 0 ? g_malloc0(in) : NULL;
  g_array_append_val(call->regions, region);
  return pincall_region(call, call->regions->len - 1);
}

gint
pincall_find_region(const PinCall *call, guint arg, PinPart part)
{
  for (guint i = 0; i < call->regions->len; i++)
    if (pincall_region(call, i)->arg == arg && pincall_region(call, i)->part == part)
      return i;
  return -1;
}

PinMessageHeader
pincall_header(const PinRegion *region)
{
  PinMessageHeader header;
  memcpy(&header, region->bytes, sizeof header);
  return header;
}

SyscallArg
pincall_argument(const PinCall *call, guint arg)
{
  return syscall_argument(call->row, call->args, arg);
}

gboolean
pincall_kind_is_pointer(SyscallArgKind kind)
{
  return kind >= SYSCALL_ARG_PATH && kind <= SYSCALL_ARG_SIGSET_PAIR;
}

gboolean
pincall_kind_survives_failure(SyscallArgKind kind)
{
  return kind == SYSCALL_ARG_INOUT_FIXED || kind == SYSCALL_ARG_OUT_KEPT;
}

PinCall *
pincall_copy(const PinCall *call)
{
  PinCall *copy = pincall_new(call->row);
  memcpy(copy->args, call->args, sizeof copy->args);
  copy->asked = call->asked;
  for (guint i = 0; i < call->regions->len; i++) {
    const PinRegion *from = pincall_region(call, i);
    PinRegion *to = pincall_add_region(copy, from->arg, from->part, from->message, from->in, from->room);
    if (from->in > 0)
      memcpy(to->bytes, from->bytes, from->in);
  }
  return copy;
}

static gboolean
regions_equal(const PinRegion *a, const PinRegion *b, SyscallArgKind kind)
{
  if (a->arg != b->arg || a->part != b->part || a->message != b->message || a->in != b->in ||
      a->room != b->room)
    return FALSE;
  return kind == SYSCALL_ARG_OUT_KEPT || a->in == 0 || memcmp(a->bytes, b->bytes, a->in) == 0;
}

gboolean
pincall_equal(const PinCall *a, const PinCall *b)
{
  if (a->row != b->row || memcmp(a->args, b->args, sizeof a->args) != 0 || a->regions->len != b->regions->len)
    return FALSE;
  for (guint i = 0; i < a->regions->len; i++) {
    const PinRegion *region = pincall_region(a, i);
    if (!regions_equal(region, pincall_region(b, i), pincall_argument(a, region->arg).kind))
      return FALSE;
  }
  return TRUE;
}

guint32
pincall_bits_bytes(guint64 count)
{
  return count == 0 ? 0 : (count - 1 + 63) / 64 * 8;
}

gboolean
pincall_translate_control(guint8 *bytes, gsize length, PinTranslate translate, void *user)
{
  for (gsize at = 0; length - at >= sizeof(struct cmsghdr);) {
    struct cmsghdr item;
    memcpy(&item, bytes + at, sizeof item);
    if (item.cmsg_len < sizeof item || item.cmsg_len > length - at)
      return FALSE;
    gsize last = 0; /* end of the descriptors in this item */
    if (item.cmsg_level == SOL_SOCKET &&
        (item.cmsg_type == SCM_RIGHTS || item.cmsg_type == 4 /* SCM_PIDFD */))
      last = item.cmsg_len;
    for (gsize place = sizeof item; place + sizeof(gint32) <= last; place += sizeof(gint32)) {
      gint32 number;
      memcpy(&number, bytes + at + place, sizeof number);
      gint64 other = translate(user, number);
      if (other < 0 || other > G_MAXINT32)
        return FALSE;
      number = other;
      memcpy(bytes + at + place, &number, sizeof number);
    }
    gsize step = CMSG_ALIGN(item.cmsg_len);
    if (step > length - at)
      break;
    at += step;
  }
  return TRUE;
}

/* Arguments that must be one of a few numbers for the call to mean on the device what it means in the mirror.
 */
static const struct {
  const char *call;
  guint8 arg;
  guint32 mask;
  const char *objection;
} restrictions[] = {
    {"setitimer", 0, 1 << 0, "a timer of CPU time counts what the mirror uses"},
    {"getitimer", 0, 1 << 0, "a timer of CPU time counts what the mirror uses"},
    {"timer_create", 0, 1 << 0 | 1 << 1 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 11,
     "a timer of CPU time counts what the mirror uses"},
    {"get_mempolicy", 4, 1 << 0 | 1 << 4, "the placement of an address is asked for"},
};

static const char *
signal_objection(const PinCall *call)
{
  gint32 target = call->args[0];
  if (call->row->nr == SYS_kill && target == -1)
    return "a signal to everything at once reaches more than the program knows of";
  return NULL;
}

static const char *
timer_objection(const PinCall *call)
{
  gint at = pincall_find_region(call, 1, PIN_PART_WHOLE);
  if (call->row->nr != SYS_timer_create || at < 0)
    return NULL;
  gint32 notify;
  memcpy(&notify, pincall_region(call, at)->bytes + 12, sizeof notify);
  gboolean known = notify == SIGEV_SIGNAL || notify == SIGEV_NONE || notify == SIGEV_THREAD_ID;
  return known ? NULL : "an unknown way to tell that a timer has ended";
}

const char *
pincall_objection(const PinCall *call)
{
  const SyscallRow *row = call->row;
  gboolean may =
      row->class == SYSCALL_FD || row->class == SYSCALL_FORWARD || row->flags & SYSCALL_MAY_FORWARD;
  if (!may)
    return "this call is never made for the other side";
  if (row->handler == SYSCALL_HANDLER_PRCTL && syscall_prctl_class(row, call->args) != SYSCALL_FORWARD)
    return "this option is never set for the other side";
  for (guint i = 0; i < G_N_ELEMENTS(restrictions); i++) {
    guint32 value = call->args[restrictions[i].arg];
    if (strcmp(restrictions[i].call, row->name) == 0 && (value >= 32 || !(restrictions[i].mask >> value & 1)))
      return restrictions[i].objection;
  }
  const char *objection = signal_objection(call);
  return objection ? objection : timer_objection(call);
}

gboolean
pincall_is_stream_output(const SyscallRow *row)
{
  return (row->flags & SYSCALL_OUTPUT) != 0;
}

gboolean
pincall_is_stream_input(const SyscallRow *row)
{
  return (row->flags & SYSCALL_INPUT) != 0;
}

gboolean
pincall_may_be_buffered(const PinCall *call)
{
  if (!pincall_is_stream_output(call->row))
    return FALSE;
  for (guint i = 0; i < call->regions->len; i++) {
    const PinRegion *region = pincall_region(call, i);
    if (region->part == PIN_PART_NAME || region->part == PIN_PART_CONTROL || region->message > 0)
      return FALSE;
    if (pincall_argument(call, region->arg).kind == SYSCALL_ARG_IN_SOCKADDR)
      return FALSE;
  }
  for (guint i = 0; i < SYSCALL_ARGS; i++)
    if (pincall_argument(call, i).kind == SYSCALL_ARG_IN_MMSGHDR)
      return FALSE;
  if (call->row->nr == SYS_sendto || call->row->nr == SYS_sendmsg) {
    guint64 flags = call->args[call->row->nr == SYS_sendto ? 3 : 2];
    return (flags & ~(guint64)(MSG_NOSIGNAL | MSG_MORE)) == 0;
  }
  return TRUE;
}

gsize
pincall_payload(const PinCall *call)
{
  gsize payload = 0;
  for (guint i = 0; i < call->regions->len; i++) {
    const PinRegion *region = pincall_region(call, i);
    SyscallArgKind kind = pincall_argument(call, region->arg).kind;
    if (region->part == PIN_PART_SEGMENT ||
        (region->part == PIN_PART_WHOLE && (kind == SYSCALL_ARG_IN || kind == SYSCALL_ARG_OUT)))
      payload += MAX(region->in, region->room);
  }
  return payload;
}
