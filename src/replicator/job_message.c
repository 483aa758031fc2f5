#include "replicator/job_message.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/error.h"
#include "replica/hashes.h"
#include "replica/message.h"
#include "replica/path.h"

enum {
  GROUPS_MAX = 65536,
  WORDS_MAX = 1 << 16,
  HOST_NAME_MAX_BYTES = 64,
  MOUNTPOINTS_MAX = 4096,
  RUN_BYTES = 16
};

void
job_message_free(JobMessage *message)
{
  if (message)
    doppel__wire__job_message__free_unpacked(message, NULL);
}

void
job_request_free(JobRequest *request)
{
  if (request)
    doppel__wire__job_request__free_unpacked(request, NULL);
}

void
job_state_free(JobState *state)
{
  if (state)
    doppel__wire__job_state__free_unpacked(state, NULL);
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
are_texts(gsize count, const ProtobufCBinaryData *list)
{
  gboolean good = count <= WORDS_MAX;
  for (gsize i = 0; good && i < count; i++)
    good = is_text(&list[i]);
  return good;
}

static gboolean
are_limits(gsize count, Doppel__Wire__JobRlimit *const *limits)
{
  guint32 seen = 0;
  for (gsize i = 0; i < count; i++) {
    if (limits[i]->resource >= RLIM_NLIMITS || (seen >> limits[i]->resource & 1) ||
        limits[i]->soft > limits[i]->hard)
      return FALSE;
    seen |= 1u << limits[i]->resource;
  }
  return TRUE;
}

static const char *
request_fault(const JobRequest *request)
{
  if (!is_absolute(&request->path) || !is_absolute(&request->directory))
    return "a path that is none";
  if (!request->n_argument || !are_texts(request->n_argument, request->argument) ||
      !are_texts(request->n_environment, request->environment))
    return "arguments that are none";
  if (request->n_group > GROUPS_MAX || request->umask > 0777 || request->uid == (guint32)-1 ||
      request->gid == (guint32)-1)
    return "a user that is none";
  if (!are_limits(request->n_limit, request->limit))
    return "limits that are none";
  if (request->monotonic_ns < 0 || request->boottime_ns < 0)
    return "clocks that show a time before they began";
  if (request->checkpoint.len && request->checkpoint.len != RUN_BYTES)
    return "a checkpoint that is none";
  return strlen(request->host_name) > HOST_NAME_MAX_BYTES ? "a name that is too long" : NULL;
}

static const char *
state_fault(const JobState *state)
{
  if (state->phase > DOPPEL__WIRE__JOB_STATE__PHASE__INTERRUPTED || state->status > 255 || state->signal > 64)
    return "an end that is none";
  if (state->n_mountpoint > MOUNTPOINTS_MAX || !are_texts(state->n_left_out, state->left_out))
    return "names that are none";
  for (gsize i = 0; i < state->n_mountpoint; i++)
    if (!is_absolute(&state->mountpoint[i]))
      return "a mount point that is none";
  return state->changes_bytes && state->changes_hash.len != REPLICA_HASH_SIZE ? "changes without a hash"
                                                                              : NULL;
}

static const char *
message_fault(const JobMessage *message)
{
  switch (message->kind_case) {
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_START:
    return request_fault(message->start);
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_SUMMARY:
    if (!message->summary->state || !are_texts(message->summary->n_argument, message->summary->argument) ||
        !is_text(&message->summary->directory))
      return "a job that is none";
    return state_fault(message->summary->state);
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_BYTES:
    return message->bytes->bytes.len > JOB_BYTES_MAX || message->bytes->offset > G_MAXINT64
               ? "a piece that is none"
               : NULL;
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_LOGS:
    return message->logs->streams > JOB_LOGS_BOTH ? "a stream that is none" : NULL;
  case DOPPEL__WIRE__JOB_MESSAGE__KIND__NOT_SET:
    return "of an unknown kind";
  default:
    return NULL;
  }
}

static gpointer
refuse(const char *fault, GError **error)
{
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message about jobs makes no sense: %s", fault);
  return NULL;
}

JobMessage *
job_message_unpack(const guint8 *data, gsize length, GError **error)
{
  g_autoptr(JobMessage) message =
      length <= JOB_MESSAGE_MAX ? doppel__wire__job_message__unpack(NULL, length, data) : NULL;
  const char *fault = message ? message_fault(message) : "not a message";
  return fault ? refuse(fault, error) : g_steal_pointer(&message);
}

JobRequest *
job_request_unpack(const guint8 *data, gsize length, GError **error)
{
  g_autoptr(JobRequest) request = doppel__wire__job_request__unpack(NULL, length, data);
  const char *fault = request ? request_fault(request) : "not a request";
  return fault ? refuse(fault, error) : g_steal_pointer(&request);
}

JobState *
job_state_unpack(const guint8 *data, gsize length, GError **error)
{
  g_autoptr(JobState) state = doppel__wire__job_state__unpack(NULL, length, data);
  const char *fault = state ? state_fault(state) : "not a state";
  return fault ? refuse(fault, error) : g_steal_pointer(&state);
}

gboolean
job_state_is_over(const JobState *state)
{
  return state->phase >= DOPPEL__WIRE__JOB_STATE__PHASE__ENDED;
}

void
job_state_explain(JobState *state, const char *reason)
{
  if (state->reason != protobuf_c_empty_string)
    free(state->reason);
  g_autofree char *valid = g_utf8_make_valid(reason, -1);
  state->reason = strdup(valid);
}

/* ---- over a link ---- */

GBytes *
job_message_pack(const JobMessage *message)
{
  return replica_message_pack(&message->base);
}

gboolean
job_message_send(Link *link, const JobMessage *message, GError **error)
{
  g_autoptr(GBytes) packed = job_message_pack(message);
  gsize length;
  const void *data = g_bytes_get_data(packed, &length);
  if (length > JOB_MESSAGE_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "the arguments and the environment are too long for a job: %" G_GSIZE_FORMAT
                            " bytes, where %u are the most",
                            length, JOB_MESSAGE_MAX);
  return link_send(link, JOB_CHANNEL, &(struct iovec){(void *)data, length}, 1, error);
}

/* NULL: there is none. */
static JobMessage *
from_link(const LinkMessage *raw, GError **error)
{
  if (!raw || raw->channel == JOB_CHANNEL)
    return raw ? job_message_unpack(raw->data, raw->length, error) : NULL;
  return refuse("on the channel of others", error);
}

JobMessage *
job_message_take(Link *link, GError **error)
{
  g_autoptr(LinkMessage) raw = link_take(link);
  return from_link(raw, error);
}

JobMessage *
job_message_wait(Link *link, int timeout_ms, GError **error)
{
  g_autoptr(LinkMessage) raw = link_await(link, timeout_ms, error);
  return from_link(raw, error);
}
