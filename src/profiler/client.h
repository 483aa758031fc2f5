/* The device's end of a conversation about a profile (message.h): it asks, waits, and reads what it gets,
 * which is another machine's word. */
#pragma once

#include "profile/graph.h"
#include "profiler/message.h"

typedef struct ProfilerClient ProfilerClient;

/* Begins a session with a clone: "local" or NULL, the one on this machine, for which a process is forked (the
 * caller has one thread), or a paired one. NULL with an error, GONE where it is out of reach. */
ProfilerClient *profiler_client_open(const char *clone, GError **error);
void profiler_client_close(ProfilerClient *client); /* and waits for that process */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfilerClient, profiler_client_close)

/* What is told meanwhile; each may be NULL. */
typedef struct {
  void (*progress)(const Doppel__Wire__ProfilerProgress *progress, gpointer user);
  void (*output)(guint stream, const guint8 *bytes, gsize length, gpointer user); /* 1 or 2 */
  gpointer user;
} ProfilerWatcher;

typedef struct {
  ProfilerMessage *alone, *profiled; /* each has a ProfilerRan; NULL: it did not come to that */
  ProfileGraph *graph;               /* NULL: there is no profile */
  guint64 bytes;                     /* of the profile */
} ProfilerResult;
void profiler_result_clear(ProfilerResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ProfilerResult, profiler_result_clear)

/* Has a program profiled, of which this device has the file `program`. FALSE with an error: what the clone
 * says, HOSTILE for a profile that makes no sense, MISMATCH where the clone has another version of a file
 * that matters. *result tells in any case how far it came; without a graph, and without an error, it says
 * why. */
gboolean profiler_client_profile(ProfilerClient *client, const ProfileObject *program,
                                 const ProfilerStart *start, const ProfilerWatcher *watcher,
                                 ProfilerResult *result, GError **error);

/* Afterwards: has the clone look at calls of functions (`texts`, as after "doppel run -f"; at most
 * PROFILER_FUNCTIONS), a run of the program for each, of at most so many seconds. Hands out what was seen of
 * each. FALSE with an error, and then some may be missing. */
typedef void (*ProfilerSeenFunc)(const Doppel__Wire__ProfilerSeen *seen, gpointer user);
gboolean profiler_client_observe(ProfilerClient *client, const GPtrArray *texts, guint seconds,
                                 const ProfilerWatcher *watcher, ProfilerSeenFunc take, gpointer user,
                                 GError **error);
