#include "controller/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "base/json.h"

enum { BUFFER = 64 << 10, LANES_MAX = 64 };

typedef enum { SIDE_DEVICE = 1, SIDE_CLONE } Side; /* the format's process ids; the real ones may be alike */

static const struct {
  Side side;
  const char *name;
} tracks[TRACE_TRACKS] = {
    [TRACE_PROGRAM] = {SIDE_DEVICE, "program"},
    [TRACE_LOCAL] = {SIDE_DEVICE, "calls on the device"},
    [TRACE_SESSION] = {SIDE_DEVICE, "session"},
    [TRACE_CONNECTION] = {SIDE_DEVICE, "connection"},
    [TRACE_PULLS] = {SIDE_DEVICE, "pulls"},
    [TRACE_FILES] = {SIDE_DEVICE, "files"},
    [TRACE_CALLS] = {SIDE_DEVICE, "forwarded calls"},
    [TRACE_MIRROR] = {SIDE_CLONE, "mirror"},
    [TRACE_SETUP] = {SIDE_CLONE, "setup"},
};

struct Trace {
  int fd;
  char *path;
  GString *buffer; /* whole events */
  gint64 zero_ns;
  guint64 events, events_max, lost;
  int failed;                  /* errno of a write */
  guint64 named[TRACE_TRACKS]; /* bit n: lane n has its name */
};

/* ---- the file ---- */

void
trace_flush(Trace *trace)
{
  if (!trace || !trace->buffer->len)
    return;
  if (!trace->failed && !io_write_all(trace->fd, trace->buffer->str, trace->buffer->len))
    trace->failed = errno ? errno : EIO;
  g_string_truncate(trace->buffer, 0);
}

/* Nanoseconds as the format's microseconds, whatever the locale has for a point. */
static void
append_us(GString *json, const char *member, gint64 ns)
{
  gint64 shown = MAX(ns, 0);
  g_string_append_printf(json, ",\"%s\":%" G_GINT64_FORMAT ".%03d", member, shown / 1000,
                         (int)(shown % 1000));
}

static void
append_head(GString *json, const char *name, char phase, Side side, guint tid)
{
  g_string_append(json, "{\"name\":");
  json_append_string(json, name);
  g_string_append_printf(json, ",\"ph\":\"%c\",\"pid\":%d,\"tid\":%u", phase, side, tid);
}

static void
append_tail(GString *json, const char *extra, const char *members)
{
  if (extra)
    g_string_append_printf(json, ",%s", extra);
  if (members)
    g_string_append_printf(json, ",\"args\":{%s}", members);
  g_string_append_c(json, '}');
}

/* Beyond the limit, once. */
static void
note_full(Trace *trace)
{
  if (trace->failed)
    return;
  g_string_append(trace->buffer, ",\n");
  append_head(trace->buffer, "no more was recorded", 'i', SIDE_DEVICE, 0);
  append_us(trace->buffer, "ts", clock_now_ns() - trace->zero_ns);
  append_tail(trace->buffer, "\"s\":\"g\"", NULL);
}

/* Whether one more is recorded; the caller appends it. */
static gboolean
begin(Trace *trace)
{
  if (!trace)
    return FALSE;
  if (trace->events >= trace->events_max || trace->failed) {
    if (trace->lost++ == 0)
      note_full(trace);
    return FALSE;
  }
  if (trace->buffer->len >= BUFFER)
    trace_flush(trace);
  g_string_append(trace->buffer, trace->events++ ? ",\n" : "[\n");
  return TRUE;
}

static void
metadata(Trace *trace, const char *what, Side side, guint tid, const char *member, const char *text)
{
  if (!begin(trace))
    return;
  append_head(trace->buffer, what, 'M', side, tid);
  g_string_append_printf(trace->buffer, ",\"args\":{\"%s\":", member);
  if (text)
    json_append_string(trace->buffer, text);
  else
    g_string_append_printf(trace->buffer, "%u", tid);
  g_string_append(trace->buffer, "}}");
}

/* The number of the track's lane, which gets its name when it is first used. */
static guint
tid_of(Trace *trace, TraceTrack track, guint lane)
{
  guint used = MIN(lane, LANES_MAX - 1), tid = 1 + (guint)track * LANES_MAX + used;
  if (trace && !(trace->named[track] >> used & 1)) {
    g_autofree char *name =
        used ? g_strdup_printf("%s %u", tracks[track].name, used + 1) : g_strdup(tracks[track].name);
    trace->named[track] |= 1ull << used;
    metadata(trace, "thread_name", tracks[track].side, tid, "name", name);
    metadata(trace, "thread_sort_index", tracks[track].side, tid, "sort_index", NULL);
  }
  return tid;
}

Trace *
trace_new(const char *path, guint64 events_max, GError **error)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "cannot write %s: %s (-o names another file)", path,
                     g_strerror(errno));
    return NULL;
  }
  Trace *trace = g_new0(Trace, 1);
  trace->fd = fd;
  trace->path = g_strdup(path);
  trace->buffer = g_string_sized_new(BUFFER + 4096);
  trace->events_max = events_max;
  trace->zero_ns = clock_now_ns();
  metadata(trace, "process_name", SIDE_DEVICE, 0, "name", "device");
  metadata(trace, "process_name", SIDE_CLONE, 0, "name", "clone");
  tid_of(trace, TRACE_PROGRAM, 0);
  tid_of(trace, TRACE_MIRROR, 0);
  trace_flush(trace);
  return trace;
}

/* ---- events ---- */

void
trace_event(Trace *trace, TraceTrack track, guint lane, const char *name, gint64 start_ns, gint64 end_ns,
            const char *members)
{
  if (!trace)
    return;
  guint tid = tid_of(trace, track, lane);
  if (!begin(trace))
    return;
  append_head(trace->buffer, name, 'X', tracks[track].side, tid);
  append_us(trace->buffer, "ts", start_ns - trace->zero_ns);
  append_us(trace->buffer, "dur", end_ns - start_ns);
  append_tail(trace->buffer, NULL, members);
}

void
trace_instant(Trace *trace, TraceTrack track, const char *name, gint64 at_ns, const char *members)
{
  if (!trace)
    return;
  guint tid = tid_of(trace, track, 0);
  if (!begin(trace))
    return;
  append_head(trace->buffer, name, 'i', tracks[track].side, tid);
  append_us(trace->buffer, "ts", at_ns - trace->zero_ns);
  append_tail(trace->buffer, "\"s\":\"p\"", members);
}

void
trace_wire(Trace *trace, gint64 at_ns, guint64 sent, guint64 received)
{
  if (!begin(trace))
    return;
  append_head(trace->buffer, "bytes on the wire", 'C', SIDE_DEVICE, 0);
  append_us(trace->buffer, "ts", at_ns - trace->zero_ns);
  g_string_append_printf(trace->buffer,
                         ",\"args\":{\"sent\":%" G_GUINT64_FORMAT ",\"received\":%" G_GUINT64_FORMAT "}}",
                         sent, received);
}

void
trace_end(Trace *trace)
{
  if (!trace)
    return;
  g_string_append(trace->buffer, "\n]\n");
  trace_flush(trace);
  if (trace->failed)
    fprintf(stderr, "doppel: %s is not complete: %s\n", trace->path, g_strerror(trace->failed));
  else
    fprintf(stderr,
            "doppel: the run's timeline is in %s; https://ui.perfetto.dev and chrome://tracing show it\n",
            trace->path);
  if (trace->lost && !trace->failed)
    fprintf(stderr,
            "doppel: it ends after %" G_GUINT64_FORMAT " events; %" G_GUINT64_FORMAT
            " more were not recorded\n",
            trace->events, trace->lost);
  close(trace->fd);
  g_string_free(trace->buffer, TRUE);
  g_free(trace->path);
  g_free(trace);
}
