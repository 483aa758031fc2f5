/* What the engine saw of a function whose calls were off-loaded, as "doppel run --stats=FILE" writes it. */
#pragma once

#include <glib.h>

#define PROFILER_SEEN_REASON 200 /* bytes of a reason */

/* Of one function, sums over blocks whose result counts. */
typedef struct {
  guint function;                           /* in the graph */
  guint64 blocks;                           /* that counted */
  guint64 first_out, first_in, first_trips; /* of the first: bytes from and to the device, and round trips */
  guint64 bytes_out, bytes_in, trips;       /* of all */
  double device_ns, clone_ns; /* of all, beside running: the device's work, and the clone's; both on the
                                 clone's host */
  guint64 cut, aborted;
  char *reason; /* the most frequent one of those, or why nothing was seen; NULL: none */
} ProfilerSeen;

void profiler_seen_free(ProfilerSeen *seen);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfilerSeen, profiler_seen_free)

/* Reads the first function of what the engine wrote, which comes from another machine, into `seen`, which is
 * all 0 but for `function`. FALSE where it is none. */
gboolean profiler_seen_read(ProfilerSeen *seen, const char *json, gsize length);
