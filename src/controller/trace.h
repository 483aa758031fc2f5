/* A file in the Chrome trace-event format, which Perfetto and chrome://tracing open ("Trace Event Format",
 * Google, the array form): written as it comes, so that it can be read whatever ends the writer.
 *
 * Times are CLOCK_MONOTONIC in ns. All functions but the first take a NULL trace, which records nothing. */
#pragma once

#include <glib.h>

typedef struct Trace Trace;

/* A row of the picture. Events on one do not overlap but by lying in one another. */
typedef enum {
  TRACE_PROGRAM,    /* device: where the program runs, and the parts of its blocks */
  TRACE_LOCAL,      /* device: calls that were timed there */
  TRACE_SESSION,    /* device: sessions being opened, mirrors being ordered */
  TRACE_CONNECTION, /* device: from the dialling to the clone's first word */
  TRACE_PULLS,      /* device: memory that the clone asked for */
  TRACE_FILES,      /* device: questions about files, and their changes */
  TRACE_CALLS,      /* device: calls that the clone forwarded; a lane for each that may be under way */
  TRACE_MIRROR,     /* clone: blocks */
  TRACE_SETUP,      /* clone: the mirror being made */
  TRACE_TRACKS,
} TraceTrack;

/* Recording stops, with a note, after `events_max` events. USAGE where the file cannot be written. */
#define TRACE_EVENTS_MAX 2000000
Trace *trace_new(const char *path, guint64 events_max, GError **error);

/* Of events with one start the longer comes first: viewers lay the later into the earlier.
 * `members`: what an object of JSON has between its braces; NULL: nothing. An end before the start counts as
 * the start. */
void trace_event(Trace *trace, TraceTrack track, guint lane, const char *name, gint64 start_ns, gint64 end_ns,
                 const char *members);
void trace_instant(Trace *trace, TraceTrack track, const char *name, gint64 at_ns, const char *members);
/* Bytes on the wire so far. */
void trace_wire(Trace *trace, gint64 at_ns, guint64 sent, guint64 received);

/* What was recorded so far is in the file, whatever happens next. */
void trace_flush(Trace *trace);

/* Ends the file and tells the user on standard error where it is, and what is missing in it. Frees. */
void trace_end(Trace *trace);
