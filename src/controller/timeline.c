#include "controller/timeline.h"

#include "base/clock.h"
#include "base/json.h"
#include "controller/controller.h"

enum { WIRE_EVERY_NS = 1000000 };

gint64
timeline_now(const Controller *controller)
{
  return controller->timeline.trace ? clock_now_ns() : 0;
}

gboolean
timeline_open(Controller *controller, GError **error)
{
  if (!controller->options->trace)
    return TRUE;
  controller->timeline.trace = trace_new(controller->options->trace, TRACE_EVENTS_MAX, error);
  return controller->timeline.trace != NULL;
}

/* ---- the program on the device ---- */

void
timeline_here(Controller *controller)
{
  controller->timeline.here_since_ns = timeline_now(controller);
}

static void
leave_here(Controller *controller, gint64 until_ns)
{
  Timeline *timeline = &controller->timeline;
  if (!timeline->here_since_ns)
    return;
  g_autofree char *name = g_path_get_basename(controller->program);
  trace_event(timeline->trace, TRACE_PROGRAM, 0, name, timeline->here_since_ns, until_ns, NULL);
  timeline->here_since_ns = 0;
}

void
timeline_local(Controller *controller, const char *function, gint64 start_ns, gint64 took_ns)
{
  trace_event(controller->timeline.trace, TRACE_LOCAL, 0, function, start_ns, start_ns + took_ns, NULL);
}

void
timeline_close(Controller *controller)
{
  leave_here(controller, timeline_now(controller));
  g_clear_pointer(&controller->timeline.trace, trace_end);
}

/* ---- a block ---- */

static char *
member_text(const char *name, const char *text)
{
  GString *json = g_string_new(NULL);
  json_append_string(json, name);
  g_string_append_c(json, ':');
  json_append_string(json, text);
  return g_string_free(json, FALSE);
}

static char *
block_members(const Controller *controller, const char *how)
{
  const Traffic *traffic = &controller->meter.now;
  g_autofree char *said = member_text("how", how);
  GString *json = g_string_new(said);
  g_string_append_printf(json, ",\"block\":%" G_GUINT64_FORMAT ",\"round_trips\":%" G_GUINT64_FORMAT,
                         controller->block, traffic->round_trips);
  if (controller->link) {
    const LinkCounters *counters = link_counters(controller->link);
    g_string_append_printf(json, ",\"sent\":%" G_GUINT64_FORMAT ",\"received\":%" G_GUINT64_FORMAT,
                           counters->bytes_sent - controller->bytes_out_before,
                           counters->bytes_received - controller->bytes_in_before);
  }
  for (TrafficKind kind = 0; kind < TRAFFIC_KINDS; kind++)
    g_string_append_printf(json, ",\"%s\":%" G_GUINT64_FORMAT, traffic_kind_names[kind],
                           traffic_bytes(traffic, kind));
  return g_string_free(json, FALSE);
}

/* The next part begins where this one ends. */
static gint64
part(Trace *trace, TraceTrack track, const char *name, gint64 start_ns, gint64 took_ns)
{
  if (took_ns > 0)
    trace_event(trace, track, 0, name, start_ns, start_ns + took_ns, NULL);
  return start_ns + MAX(took_ns, 0);
}

/* What the clone did lies in the middle of the time that was waited, for nothing tells how the wire's share
 * is spread over both ways; unless it had the mirror to make first. */
static gint64
draw_waiting(Controller *controller, const char *function, gint64 start_ns)
{
  static const char *const names[] = {"apply", "run", "capture", "send"};
  Trace *trace = controller->timeline.trace;
  const gint64 *clone = controller->split + SPLIT_CLONE_APPLY;
  gint64 wire_ns = controller->split[SPLIT_WIRE], end_ns = start_ns + wire_ns;
  gint64 there_ns = MAX(start_ns + wire_ns / 2, MIN(controller->timeline.ready_ns, start_ns + wire_ns));
  gint64 back_ns = there_ns, at = there_ns;
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    back_ns += clone[i];
  end_ns += back_ns - there_ns;
  trace_event(trace, TRACE_PROGRAM, 0, "wait", start_ns, end_ns, NULL);
  if (back_ns == there_ns)
    return end_ns;
  part(trace, TRACE_PROGRAM, controller->timeline.ready_ns > start_ns ? "wire and setup" : "wire: there",
       start_ns, there_ns - start_ns);
  part(trace, TRACE_PROGRAM, "wire: back", back_ns, end_ns - back_ns);
  trace_event(trace, TRACE_MIRROR, 0, function, there_ns, back_ns, NULL);
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    at = part(trace, TRACE_MIRROR, names[i], at, clone[i]);
  return end_ns;
}

static char *
how_name(const Controller *controller)
{
  const ProtobufCEnumValue *value =
      protobuf_c_enum_descriptor_get_value(&doppel__engine__how__descriptor, controller->end->block_end->how);
  return g_ascii_strdown(value ? value->name : "unknown", -1);
}

void
timeline_block(Controller *controller, const char *function, const char *aborted)
{
  Trace *trace = controller->timeline.trace;
  if (!trace)
    return;
  const gint64 *split = controller->split;
  gint64 now = clock_now_ns(), at = controller->block_start_ns;
  const char *name = function ? function : "the program", *reason = aborted;
  leave_here(controller, at);
  g_autofree char *how = aborted ? g_strdup("aborted") : how_name(controller);
  g_autofree char *members = block_members(controller, how);
  trace_event(trace, TRACE_PROGRAM, 0, name, at, now, members);
  at = part(trace, TRACE_PROGRAM, "stop", at, split[SPLIT_STOP]);
  at = part(trace, TRACE_PROGRAM, "capture", at, split[SPLIT_CAPTURE]);
  at = part(trace, TRACE_PROGRAM, "send", at, split[SPLIT_SEND]);
  if (split[SPLIT_SEND]) /* else nothing was sent, and nothing waited for */
    at = draw_waiting(controller, name, at);
  part(trace, TRACE_PROGRAM, aborted ? "give up" : "apply", at, now - at);
  if (!aborted && controller->end->block_end->how == DOPPEL__ENGINE__HOW__CUT)
    reason = controller->end->block_end->reason ? controller->end->block_end->reason : "";
  if (reason) {
    g_autofree char *why = member_text("reason", reason);
    trace_instant(trace, TRACE_PROGRAM, aborted ? "aborted" : "cut", now, why);
  }
  controller->timeline.wire_ns = 0;
  timeline_wire(controller);
  trace_flush(trace);
  if (!controller->exited)
    timeline_here(controller);
}

/* ---- the session ---- */

void
timeline_session(Controller *controller, const char *what, gint64 start_ns)
{
  Timeline *timeline = &controller->timeline;
  gint64 now = timeline_now(controller);
  trace_event(timeline->trace, TRACE_SESSION, 0, what, start_ns, now, NULL);
  trace_flush(timeline->trace);
}

void
timeline_hello(Controller *controller)
{
  Timeline *timeline = &controller->timeline;
  if (!timeline->dialled_ns)
    return;
  trace_event(timeline->trace, TRACE_CONNECTION, 0, "until the clone's first word", timeline->dialled_ns,
              timeline_now(controller), NULL);
  timeline->dialled_ns = 0;
}

void
timeline_started(Controller *controller, const Doppel__Engine__Started *started)
{
  Timeline *timeline = &controller->timeline;
  gint64 now = timeline_now(controller);
  timeline->ready_ns = started->setup_ns ? now : 0;
  guint64 had_ns = (guint64)MAX(now - timeline->ordered_ns, 0);
  if (timeline->trace && timeline->ordered_ns && started->setup_ns)
    trace_event(timeline->trace, TRACE_SETUP, 0, "make the mirror",
                now - (gint64)MIN(started->setup_ns, had_ns), now, NULL);
}

void
timeline_session_ends(Controller *controller)
{
  Timeline *timeline = &controller->timeline;
  if (controller->link)
    trace_instant(timeline->trace, TRACE_SESSION, "the session ends", timeline_now(controller), NULL);
  timeline->dialled_ns = timeline->ordered_ns = timeline->ready_ns = 0;
  timeline->reconnects = 0;
}

void
timeline_wire(Controller *controller)
{
  Timeline *timeline = &controller->timeline;
  if (!timeline->trace || !controller->link)
    return;
  gint64 now = clock_now_ns();
  if (now - timeline->wire_ns < WIRE_EVERY_NS)
    return;
  const LinkCounters *counters = link_counters(controller->link);
  timeline->wire_ns = now;
  trace_wire(timeline->trace, now, counters->bytes_sent, counters->bytes_received);
  if (counters->reconnects > timeline->reconnects)
    trace_instant(timeline->trace, TRACE_CONNECTION, "the link came back", now, NULL);
  timeline->reconnects = counters->reconnects;
}

/* ---- while a block runs ---- */

void
timeline_files(Controller *controller, const EngineMessage *message, gint64 start_ns)
{
  trace_event(controller->timeline.trace, TRACE_FILES, 0, engine_message_name(message), start_ns,
              timeline_now(controller), NULL);
}

void
timeline_call(Controller *controller, guint slot, const char *name, gint64 start_ns, gint64 result)
{
  if (!controller->timeline.trace)
    return;
  g_autofree char *members = g_strdup_printf("\"result\":%" G_GINT64_FORMAT, result);
  trace_event(controller->timeline.trace, TRACE_CALLS, slot, name, start_ns, clock_now_ns(), members);
}

void
timeline_pull(Controller *controller, gint64 start_ns, guint64 pages, guint64 bytes)
{
  if (!controller->timeline.trace)
    return;
  g_autofree char *members =
      g_strdup_printf("\"pages\":%" G_GUINT64_FORMAT ",\"bytes\":%" G_GUINT64_FORMAT, pages, bytes);
  trace_event(controller->timeline.trace, TRACE_PULLS, 0, "pull", start_ns, clock_now_ns(), members);
}
