/* The messages about profiles that the clone makes (wire/profiler.proto), over a link: CloneCloud section 4
 * has the analysis of a program done in the clone.
 *
 * A device whose first message of a session is on this channel speaks to service.h and to nothing else in
 * that session. It asks one thing at a time. */
#pragma once

#include "link/link.h"
#include "wire/profiler.pb-c.h"

#define PROFILER_CHANNEL     8
#define PROFILER_MESSAGE_MAX (2u << 20)    /* bytes of one message */
#define PROFILER_PIECE       (32u << 10)   /* of a profile or of output in one message */
#define PROFILER_FILE_MAX    (512u << 20)  /* of a profile */
#define PROFILER_STATS_MAX   (1536u << 10) /* of what the engine says of a run */
#define PROFILER_FUNCTIONS   64u           /* that are observed at once */
#define PROFILER_SECONDS_MAX 1000000u      /* of a run */

/* What a run is for. */
typedef enum {
  PROFILER_ALONE,    /* how long it takes */
  PROFILER_VALGRIND, /* the profile */
  PROFILER_OBSERVED, /* what the engine sees of a function */
  PROFILER_RUNS,
} ProfilerRunKind;

typedef Doppel__Wire__ProfilerMessage ProfilerMessage;
typedef Doppel__Wire__ProfilerStart ProfilerStart;
typedef Doppel__Wire__ProfilerRan ProfilerRan;

void profiler_message_free(ProfilerMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfilerMessage, profiler_message_free)

/* Packs and checks without a link. NULL with HOSTILE for what no correct peer sends. */
GBytes *profiler_message_pack(const ProfilerMessage *message);
ProfilerMessage *profiler_message_unpack(const guint8 *data, gsize length, GError **error);

/* A message of this kind with these contents, as in PROFILER_MESSAGE(RAN, ran, &ran). */
#define PROFILER_MESSAGE(KIND, field, contents)                                                              \
  (&(ProfilerMessage){PROTOBUF_C_MESSAGE_INIT(&doppel__wire__profiler_message__descriptor),                  \
                      DOPPEL__WIRE__PROFILER_MESSAGE__KIND_##KIND,                                           \
                      {.field = (contents)}})

/* FALSE with USAGE for one that is too long. */
gboolean profiler_message_send(Link *link, const ProfilerMessage *message, GError **error);

/* The next message that has arrived. NULL: none yet, or with an error HOSTILE one that makes no sense. */
ProfilerMessage *profiler_message_take(Link *link, GError **error);

/* Waits for it, driving the link. NULL with GONE at the link's end or after `timeout_ms` (-1: as long as the
 * link lives). */
ProfilerMessage *profiler_message_wait(Link *link, int timeout_ms, GError **error);
