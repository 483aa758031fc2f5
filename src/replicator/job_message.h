/* The messages about background jobs (wire/job.proto) over a link: CloneCloud's background augmentation.
 *
 * A device whose first message of a session is on this channel speaks to the clone's jobs (job_service.h) and
 * to nothing else in that session. It asks one thing at a time. */
#pragma once

#include "link/link.h"
#include "wire/job.pb-c.h"

#define JOB_CHANNEL     3
#define JOB_MESSAGE_MAX (1u << 20)   /* bytes of one message */
#define JOB_BYTES_MAX   (256u << 10) /* of a JobBytes */
/* So many bytes answer one request for bytes, unless there are no more: then the device asks on. What waits
 * to be sent is bounded by it. */
#define JOB_WINDOW (16u << 20)

/* JobLogs.streams: */
enum { JOB_LOGS_STDOUT = 1, JOB_LOGS_STDERR = 2, JOB_LOGS_BOTH = 3 };

typedef Doppel__Wire__JobMessage JobMessage;
typedef Doppel__Wire__JobRequest JobRequest;
typedef Doppel__Wire__JobState JobState;
typedef Doppel__Wire__JobSummary JobSummary;

void job_message_free(JobMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobMessage, job_message_free)
void job_request_free(JobRequest *request);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobRequest, job_request_free)
void job_state_free(JobState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobState, job_state_free)

/* Packs and checks without a link. NULL with HOSTILE for what no correct peer sends. */
GBytes *job_message_pack(const JobMessage *message);
JobMessage *job_message_unpack(const guint8 *data, gsize length, GError **error);
JobRequest *job_request_unpack(const guint8 *data, gsize length, GError **error);
JobState *job_state_unpack(const guint8 *data, gsize length, GError **error);

/* Sends the message whose kind and contents are given, as in JOB_SEND(link, LIST, list, &number, error).
 * FALSE with USAGE for one that is too long. */
gboolean job_message_send(Link *link, const JobMessage *message, GError **error);
#define JOB_SEND(link, KIND, field, contents, error)                                                         \
  job_message_send((link),                                                                                   \
                   &(JobMessage){PROTOBUF_C_MESSAGE_INIT(&doppel__wire__job_message__descriptor),            \
                                 DOPPEL__WIRE__JOB_MESSAGE__KIND_##KIND,                                     \
                                 {.field = (contents)}},                                                     \
                   (error))

/* The next message that has arrived. NULL: none yet, or with an error HOSTILE one that makes no sense. */
JobMessage *job_message_take(Link *link, GError **error);

/* Waits for it, driving the link. NULL with GONE at the link's end or after `timeout_ms` (-1: as long as the
 * link lives). */
JobMessage *job_message_wait(Link *link, int timeout_ms, GError **error);

/* Whether the job will change no more by itself. */
gboolean job_state_is_over(const JobState *state);

/* Says why it is so, for people. */
void job_state_explain(JobState *state, const char *reason);
