#include "mirror/pinlog.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>

#include "mirror/pincall_parts.h"

/* Something that was read: the bytes of one call, and what came with them. */
typedef struct {
  GByteArray *bytes;
  gsize used;             /* bytes of it that were handed out again */
  gint64 value;           /* what the call returned; more than the bytes where a message was truncated */
  GByteArray *name;       /* the sender's address, or NULL */
  guint32 name_length;    /* as the kernel told it */
  GByteArray *control;    /* control data, descriptors as pins, or NULL */
  guint32 control_length; /* as the kernel told it */
  guint32 flags;          /* msg_flags */
} Input;

typedef struct {
  guint64 written; /* bytes still to be swallowed */
  GQueue inputs;   /* Input, oldest first */
} Pin;

typedef struct {
  PinCall *call;
  PinResult *result;
} Other;

struct PinLog {
  GHashTable *pins; /* pin number to Pin */
  GQueue others;    /* Other, oldest first */
};

static void
free_input(Input *input)
{
  g_byte_array_unref(input->bytes);
  g_clear_pointer(&input->name, g_byte_array_unref);
  g_clear_pointer(&input->control, g_byte_array_unref);
  g_free(input);
}

static void
free_pin(gpointer data)
{
  Pin *pin = data;
  g_queue_clear_full(&pin->inputs, (GDestroyNotify)free_input);
  g_free(pin);
}

static void
free_other(Other *other)
{
  pincall_free(other->call);
  pinresult_free(other->result);
  g_free(other);
}

PinLog *
pinlog_new(void)
{
  PinLog *log = g_new0(PinLog, 1);
  log->pins = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, free_pin);
  g_queue_init(&log->others);
  return log;
}

void
pinlog_forget(PinLog *log)
{
  g_hash_table_remove_all(log->pins);
  g_queue_clear_full(&log->others, (GDestroyNotify)free_other);
}

void
pinlog_free(PinLog *log)
{
  if (!log)
    return;
  pinlog_forget(log);
  g_hash_table_unref(log->pins);
  g_free(log);
}

gboolean
pinlog_empty(const PinLog *log)
{
  return g_hash_table_size(log->pins) == 0 && g_queue_is_empty((GQueue *)&log->others);
}

static Pin *
find_pin(const PinLog *log, guint64 number)
{
  return g_hash_table_lookup(log->pins, GUINT_TO_POINTER((guint)number));
}

static Pin *
make_pin(PinLog *log, guint64 number)
{
  Pin *pin = find_pin(log, number);
  if (!pin) {
    pin = g_new0(Pin, 1);
    g_queue_init(&pin->inputs);
    g_hash_table_insert(log->pins, GUINT_TO_POINTER((guint)number), pin);
  }
  return pin;
}

static void
drop_if_idle(PinLog *log, guint64 number)
{
  const Pin *pin = find_pin(log, number);
  if (pin && pin->written == 0 && g_queue_is_empty((GQueue *)&pin->inputs))
    g_hash_table_remove(log->pins, GUINT_TO_POINTER((guint)number));
}

static gboolean
has_kind(const SyscallRow *row, SyscallArgKind kind)
{
  for (guint arg = 0; arg < SYSCALL_ARGS; arg++)
    if (row->args[arg].kind == kind)
      return TRUE;
  return FALSE;
}

/* MSG_PEEK and its like are questions, not input: what they saw is still there. */
static gboolean
peeks(const PinCall *call)
{
  if (call->row->nr == SYS_recvfrom)
    return (call->args[3] & MSG_PEEK) != 0;
  return call->row->nr == SYS_recvmsg && (call->args[2] & MSG_PEEK) != 0;
}

/* ---- noting ---- */

static guint64
written_bytes(const PinCall *call, const PinResult *result)
{
  if (!has_kind(call->row, SYSCALL_ARG_IN_MMSGHDR))
    return result->value;
  guint64 bytes = 0;
  for (guint i = 0; i < result->blobs->len; i++) {
    PinMessageHeader header;
    memcpy(&header, g_array_index(result->blobs, PinBlob, i).bytes, sizeof header);
    bytes += header.bytes;
  }
  return bytes;
}

static GByteArray *
copy_blob(const PinBlob *blob)
{
  GByteArray *bytes = g_byte_array_new();
  g_byte_array_append(bytes, blob->bytes, blob->length);
  return bytes;
}

static void
note_input_part(Input *input, const PinRegion *region, SyscallArgKind kind, const PinBlob *blob)
{
  if (region->part == PIN_PART_HEADER) {
    PinMessageHeader header;
    memcpy(&header, blob->bytes, sizeof header);
    input->name_length = header.name;
    input->control_length = header.control;
    input->flags = header.flags;
  } else if (region->part == PIN_PART_LENGTH) {
    memcpy(&input->name_length, blob->bytes, sizeof input->name_length);
  } else if (region->part == PIN_PART_NAME || kind == SYSCALL_ARG_OUT_VALUE) {
    input->name = copy_blob(blob);
  } else if (region->part == PIN_PART_CONTROL) {
    input->control = copy_blob(blob);
  } else {
    g_byte_array_append(input->bytes, blob->bytes, blob->length);
  }
}

/* An end of file is noted too: a terminal tells it once only. */
static void
note_input(PinLog *log, const PinCall *call, const PinResult *result)
{
  if (result->value < 0 || (result->value == 0 && pincall_payload(call) == 0))
    return;
  Input *input = g_new0(Input, 1);
  input->bytes = g_byte_array_new();
  input->value = result->value;
  for (guint i = 0; i < result->blobs->len; i++) {
    const PinBlob *blob = &g_array_index(result->blobs, PinBlob, i);
    const PinRegion *region = pincall_region(call, blob->region);
    note_input_part(input, region, pincall_argument(call, region->arg).kind, blob);
  }
  g_queue_push_tail(&make_pin(log, call->args[0])->inputs, input);
}

static void
note_other(PinLog *log, const PinCall *call, const PinResult *result)
{
  Other *other = g_new0(Other, 1);
  other->call = pincall_copy(call);
  other->result = pinresult_new(result->value);
  for (guint i = 0; i < result->blobs->len; i++) {
    const PinBlob *blob = &g_array_index(result->blobs, PinBlob, i);
    pinresult_add(other->result, blob->region, blob->bytes, blob->length);
  }
  g_queue_push_tail(&log->others, other);
}

void
pinlog_note(PinLog *log, const PinCall *call, const PinResult *result)
{
  /* A question can be asked again, and a call that only would have waited has done nothing. */
  if (call->row->flags & (SYSCALL_READINESS | SYSCALL_CONSTANT) || peeks(call))
    return;
  if (result->value == -EAGAIN || result->value == -EINTR)
    return;
  if (pincall_is_stream_input(call->row))
    note_input(log, call, result);
  else if (pincall_is_stream_output(call->row) && result->value > 0)
    make_pin(log, call->args[0])->written += written_bytes(call, result);
  else if (!pincall_is_stream_output(call->row) || result->value == 0)
    note_other(log, call, result);
}

/* ---- answering ---- */

/* Where a result's bytes come from while they are laid into a new call's regions. */
typedef struct {
  const Input *input;
  PinResult *result;
  gsize used; /* bytes handed out */
} HandOut;

static void
hand_out_bytes(HandOut *out, guint index, const PinRegion *region)
{
  gsize length = MIN(out->input->bytes->len - out->input->used - out->used, region->room);
  if (length > 0)
    pinresult_add(out->result, index, out->input->bytes->data + out->input->used + out->used, length);
  out->used += length;
}

static void
hand_out_part(HandOut *out, guint index, const GByteArray *bytes, const PinRegion *region)
{
  if (bytes && MIN(bytes->len, region->room) > 0)
    pinresult_add(out->result, index, bytes->data, MIN(bytes->len, region->room));
}

/* `index` is the region that follows what is left to hand out, so that the blobs stay in order. */
static void
hand_out_region(HandOut *out, const PinCall *call, guint index)
{
  const PinRegion *region = pincall_region(call, index);
  SyscallArgKind kind = pincall_argument(call, region->arg).kind;
  const Input *input = out->input;
  if (region->part == PIN_PART_HEADER) {
    gboolean wanted = (pincall_header(region).present & PIN_MESSAGE_CONTROL) != 0;
    PinMessageHeader header = {
        .name = input->name_length, .control = wanted ? input->control_length : 0, .flags = input->flags};
    pinresult_add(out->result, index, &header, sizeof header);
  } else if (region->part == PIN_PART_LENGTH) {
    pinresult_add(out->result, index, &input->name_length, sizeof input->name_length);
  } else if (region->part == PIN_PART_NAME || kind == SYSCALL_ARG_OUT_VALUE) {
    hand_out_part(out, index, input->name, region);
  } else if (region->part == PIN_PART_CONTROL) {
    hand_out_part(out, index, input->control, region);
  } else {
    hand_out_bytes(out, index, region);
  }
}

static PinLogAnswer
deliver(const PinCall *call, const PinResult *result, const PinLogProcess *process, gint64 *value)
{
  if (pincall_scatter(call, result, process->memory, process->fd_of_pin, process->fd_user, value, NULL))
    return PINLOG_ANSWERED;
  /* As the kernel says where a program gives it memory that cannot be written. */
  *value = -EFAULT;
  return PINLOG_ANSWERED;
}

static PinLogAnswer
answer_input(PinLog *log, const PinCall *call, const PinLogProcess *process, gint64 *value)
{
  Pin *pin = find_pin(log, call->args[0]);
  Input *input = pin ? g_queue_peek_head(&pin->inputs) : NULL;
  if (!input || pincall_payload(call) == 0)
    return PINLOG_NOT_IN_LOG;
  g_autoptr(PinResult) result = pinresult_new(0);
  HandOut out = {.input = input, .result = result};
  for (guint i = 0; i < call->regions->len; i++)
    hand_out_region(&out, call, i);
  gboolean first = input->used == 0, last = input->used + out.used == input->bytes->len;
  /* A message that had been cut off is as long as it was, if it is given out whole again. */
  result->value = first && last ? input->value : out.used;
  if (!peeks(call)) {
    input->used += out.used;
    /* Control data belongs to the first bytes that it came with. */
    g_clear_pointer(&input->control, g_byte_array_unref);
    input->control_length = 0;
    if (last)
      free_input(g_queue_pop_head(&pin->inputs));
    drop_if_idle(log, call->args[0]);
  }
  return deliver(call, result, process, value);
}

/* sendmmsg counts messages: as many as were sent whole. */
static PinLogAnswer
answer_messages(Pin *pin, const PinCall *call, const PinLogProcess *process, gint64 *value)
{
  g_autoptr(PinResult) result = pinresult_new(0);
  for (guint i = 0; i < call->regions->len; i++) {
    const PinRegion *region = pincall_region(call, i);
    if (region->part != PIN_PART_HEADER)
      continue;
    PinMessageHeader header = {};
    for (guint k = i + 1; k < call->regions->len && pincall_region(call, k)->message == region->message; k++)
      header.bytes += pincall_region(call, k)->part == PIN_PART_SEGMENT ? pincall_region(call, k)->in : 0;
    if (header.bytes > pin->written)
      break;
    pin->written -= header.bytes;
    pinresult_add(result, i, &header, sizeof header);
    result->value++;
  }
  return result->value > 0 ? deliver(call, result, process, value) : PINLOG_NOT_IN_LOG;
}

static PinLogAnswer
answer_output(PinLog *log, const PinCall *call, const PinLogProcess *process, gint64 *value)
{
  Pin *pin = find_pin(log, call->args[0]);
  if (!pin || pin->written == 0)
    return PINLOG_NOT_IN_LOG;
  PinLogAnswer answer = PINLOG_ANSWERED;
  if (has_kind(call->row, SYSCALL_ARG_IN_MMSGHDR)) {
    answer = answer_messages(pin, call, process, value);
  } else {
    guint64 done = MIN(call->asked, pin->written);
    pin->written -= done;
    *value = done;
    answer = done == call->asked ? PINLOG_ANSWERED : PINLOG_PARTLY;
  }
  drop_if_idle(log, call->args[0]);
  return answer;
}

/* Of a set's pin: POLLIN where input waits here, POLLOUT where output is to be swallowed. */
static gint16
readiness(const PinLog *log, guint64 number)
{
  const Pin *pin = find_pin(log, number);
  if (!pin)
    return 0;
  return (g_queue_is_empty((GQueue *)&pin->inputs) ? 0 : POLLIN | POLLRDNORM) |
         (pin->written > 0 ? POLLOUT | POLLWRNORM : 0);
}

/* The number of ready descriptors in a poll set. */
static gint64
answer_pollfds(const PinLog *log, const PinRegion *region, guint index, PinResult *result)
{
  gsize count = region->in / sizeof(struct pollfd);
  const struct pollfd *entries = (const struct pollfd *)(const void *)region->bytes;
  g_autofree gint16 *events = g_new0(gint16, count + 1);
  gint64 ready = 0;
  for (gsize i = 0; i < count; i++) {
    events[i] = entries[i].fd < 0 ? 0 : readiness(log, entries[i].fd) & entries[i].events;
    ready += events[i] != 0;
  }
  pinresult_add(result, index, events, count * sizeof *events);
  return ready;
}

static gint64
answer_fdset(const PinLog *log, const PinRegion *region, guint index, gint16 wanted, PinResult *result)
{
  const PinSetEntry *entries = (const PinSetEntry *)(const void *)region->bytes;
  g_autoptr(GArray) ready = g_array_new(FALSE, FALSE, sizeof(PinSetEntry));
  for (gsize i = 0; i < region->in / sizeof *entries; i++)
    if (readiness(log, entries[i].pin) & wanted)
      g_array_append_val(ready, entries[i]);
  pinresult_add(result, index, ready->data, ready->len * sizeof(PinSetEntry));
  return ready->len;
}

static PinLogAnswer
answer_readiness(PinLog *log, const PinCall *call, const PinLogProcess *process, gint64 *value)
{
  static const gint16 wanted[SYSCALL_ARGS] = {0, POLLIN, POLLOUT, 0}; /* select's sets by argument */
  g_autoptr(PinResult) result = pinresult_new(0);
  for (guint i = 0; i < call->regions->len; i++) {
    const PinRegion *region = pincall_region(call, i);
    SyscallArgKind kind = pincall_argument(call, region->arg).kind;
    if (kind == SYSCALL_ARG_POLLFDS)
      result->value += answer_pollfds(log, region, i, result);
    else if (kind == SYSCALL_ARG_FDSET)
      result->value += answer_fdset(log, region, i, wanted[region->arg], result);
  }
  return result->value > 0 ? deliver(call, result, process, value) : PINLOG_NOT_IN_LOG;
}

/* The oldest noted call that is the same: threads may not take turns as they did at first. */
static PinLogAnswer
answer_other(PinLog *log, const PinCall *call, const PinLogProcess *process, gint64 *value)
{
  for (GList *link = log->others.head; link; link = link->next) {
    Other *other = link->data;
    if (!pincall_equal(other->call, call))
      continue;
    PinLogAnswer answer = deliver(call, other->result, process, value);
    free_other(other);
    g_queue_delete_link(&log->others, link);
    return answer;
  }
  return PINLOG_NOT_IN_LOG;
}

/* Of a set, what is no pin of the log does not matter. */
typedef struct {
  const PinLogProcess *process;
  gboolean set;
} Lookup;

static gint64
look_up_pin(void *user, int fd)
{
  Lookup *lookup = user;
  gint64 pin = lookup->process->pin_of_fd(lookup->process->fd_user, fd);
  return pin == PIN_NONE && lookup->set ? PIN_IGNORED : pin;
}

PinLogAnswer
pinlog_answer(PinLog *log, const SyscallRow *row, const guint64 args[SYSCALL_ARGS],
              const PinLogProcess *process, gint64 *value)
{
  if (pinlog_empty(log) || row->class == SYSCALL_NATIVE || row->class == SYSCALL_CUT)
    return PINLOG_NOT_IN_LOG;
  Lookup lookup = {process, (row->flags & SYSCALL_READINESS) != 0};
  g_autoptr(PinCall) call = pincall_gather(row, args, process->memory, look_up_pin, &lookup, 0, NULL);
  if (!call)
    return PINLOG_NOT_IN_LOG;
  if (row->flags & SYSCALL_READINESS)
    return answer_readiness(log, call, process, value);
  if (pincall_is_stream_input(row))
    return answer_input(log, call, process, value);
  if (pincall_is_stream_output(row)) {
    PinLogAnswer answer = answer_output(log, call, process, value);
    if (answer != PINLOG_NOT_IN_LOG)
      return answer;
  }
  return answer_other(log, call, process, value);
}
