#include "profiler/message.h"

#include <string.h>

#include "base/error.h"
#include "replica/message.h"
#include "replica/path.h"
#include "replicator/job_message.h"

#define WORK_NS_MAX 1e6 /* of an instruction */

enum { NOTES_MAX = 1024, STREAMS = 2, TEXT_MAX = 4096 };

void
profiler_message_free(ProfilerMessage *message)
{
  if (message)
    doppel__wire__profiler_message__free_unpacked(message, NULL);
}

/* ---- checks ---- */

static gboolean
is_text(const ProtobufCBinaryData *bytes)
{
  return !memchr(bytes->len ? bytes->data : (const guint8 *)"", 0, bytes->len);
}

static gboolean
is_absolute(const ProtobufCBinaryData *path)
{
  return path->len > 0 && path->len < REPLICA_PATH_MAX && path->data[0] == '/' && is_text(path);
}

static gboolean
are_seconds(guint32 seconds)
{
  return seconds > 0 && seconds <= PROFILER_SECONDS_MAX;
}

static const char *
start_fault(const ProfilerStart *start)
{
  /* A job's own reader knows what makes sense of the program. */
  g_autoptr(GBytes) packed = start->program ? replica_message_pack(&start->program->base) : NULL;
  gsize length = 0;
  const guint8 *data = packed ? g_bytes_get_data(packed, &length) : NULL;
  g_autoptr(JobRequest) request = packed ? job_request_unpack(data, length, NULL) : NULL;
  if (!request)
    return "a program that is none";
  if (request->checkpoint.len)
    return "a checkpoint to profile";
  if ((start->input.len && !is_absolute(&start->input)) || start->input_offset > G_MAXINT64)
    return "a standard input that is none";
  return are_seconds(start->seconds) ? NULL : "a time that is none";
}

static const char *
observe_fault(const Doppel__Wire__ProfilerObserve *observe)
{
  if (!observe->n_function || observe->n_function > PROFILER_FUNCTIONS || !are_seconds(observe->seconds))
    return "nothing to observe";
  for (gsize i = 0; i < observe->n_function; i++)
    if (!observe->function[i].len || observe->function[i].len > TEXT_MAX || !is_text(&observe->function[i]))
      return "a function that is none";
  return NULL;
}

static const char *
ran_fault(const ProfilerRan *ran)
{
  return ran->run >= PROFILER_RUNS || ran->n_note > NOTES_MAX || ran->wall_ns > G_MAXINT64 ||
                 ran->cpu_ns > G_MAXINT64 || ran->status > 255 || ran->signal > 127 ||
                 !(ran->work_ns >= 0 && ran->work_ns < WORK_NS_MAX)
             ? "a run that is none"
             : NULL;
}

static const char *
message_fault(const ProfilerMessage *message)
{
  switch (message->kind_case) {
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_START:
    return start_fault(message->start);
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_OBSERVE:
    return observe_fault(message->observe);
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_PROGRESS:
    return message->progress->run < PROFILER_RUNS ? NULL : "progress of nothing";
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_OUTPUT:
    return message->output->stream - 1 < STREAMS && message->output->bytes.len <= PROFILER_PIECE
               ? NULL
               : "output of nothing";
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_RAN:
    return ran_fault(message->ran);
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_OBJECT:
    return is_absolute(&message->object->path) ? NULL : "a path that is none";
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_BYTES:
    return message->bytes->bytes.len <= PROFILER_PIECE ? NULL : "a piece that is none";
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_SEEN:
    return message->seen->function < PROFILER_FUNCTIONS && is_text(&message->seen->stats)
               ? NULL
               : "a function that is none";
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND__NOT_SET:
    return "of an unknown kind";
  default:
    return NULL;
  }
}

static gpointer
refuse(const char *fault, GError **error)
{
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message about profiles makes no sense: %s", fault);
  return NULL;
}

GBytes *
profiler_message_pack(const ProfilerMessage *message)
{
  return replica_message_pack(&message->base);
}

ProfilerMessage *
profiler_message_unpack(const guint8 *data, gsize length, GError **error)
{
  g_autoptr(ProfilerMessage) message =
      length <= PROFILER_MESSAGE_MAX ? doppel__wire__profiler_message__unpack(NULL, length, data) : NULL;
  const char *fault = message ? message_fault(message) : "not a message";
  return fault ? refuse(fault, error) : g_steal_pointer(&message);
}

/* ---- over a link ---- */

gboolean
profiler_message_send(Link *link, const ProfilerMessage *message, GError **error)
{
  g_autoptr(GBytes) packed = profiler_message_pack(message);
  gsize length;
  const void *data = g_bytes_get_data(packed, &length);
  if (length > PROFILER_MESSAGE_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "the arguments and the environment are too long to be sent to the clone: "
                            "%" G_GSIZE_FORMAT " bytes, where %u are the most",
                            length, PROFILER_MESSAGE_MAX);
  return link_send(link, PROFILER_CHANNEL, &(struct iovec){(void *)data, length}, 1, error);
}

/* NULL: there is none. */
static ProfilerMessage *
from_link(const LinkMessage *raw, GError **error)
{
  if (!raw || raw->channel == PROFILER_CHANNEL)
    return raw ? profiler_message_unpack(raw->data, raw->length, error) : NULL;
  return refuse("on the channel of others", error);
}

ProfilerMessage *
profiler_message_take(Link *link, GError **error)
{
  g_autoptr(LinkMessage) raw = link_take(link);
  return from_link(raw, error);
}

ProfilerMessage *
profiler_message_wait(Link *link, int timeout_ms, GError **error)
{
  g_autoptr(LinkMessage) raw = link_await(link, timeout_ms, error);
  return from_link(raw, error);
}
