#include "cmd/status_report.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cmd/clone_store.h"
#include "replicator/policy.h"
#include "replicator/policy_text.h"

#define NS_PER_S G_GINT64_CONSTANT(1000000000)

static char *
time_text(gint64 seconds, gboolean machine)
{
  return clone_store_time(CLAMP(seconds, 0, G_MAXINT64 / NS_PER_S) * NS_PER_S, machine);
}

/* ---- for people ---- */

/* A line with text that is anybody's: nothing of it steers the terminal. */
static void line(const char *title, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
line(const char *title, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree char *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_autofree char *valid = g_utf8_make_valid(text, -1);
  g_autoptr(GString) plain = g_string_new(NULL);
  for (const char *at = valid; *at; at = g_utf8_next_char(at))
    g_string_append_unichar(plain, g_unichar_iscntrl(g_utf8_get_char(at)) ? '?' : g_utf8_get_char(at));
  printf("%-12s%s\n", title, plain->str);
}

static void
print_agent(const Doppel__Agent__Report *report)
{
  g_autofree char *since = time_text(report->since, FALSE);
  if (report->process)
    line("agent", "runs since %s, as process %u", since, report->process);
  else
    line("agent", "none runs; \"doppel agent --help\" tells how to start it");
  if (*report->problem)
    line("problem", "%s: the configuration stays as it was", report->problem);
  for (gsize i = 0; i < report->n_condition; i++) {
    const Doppel__Agent__Condition *condition = report->condition[i];
    gboolean known = strcmp(condition->source, conditions_source_name(CONDITIONS_NOBODY)) != 0;
    line(i ? "" : "conditions", "%s: %s%s%s%s", condition->name, condition->value, known ? " (" : "",
         known ? condition->source : "", known ? ")" : "");
  }
}

static void
print_gateway(const Doppel__Agent__Gateway *gateway)
{
  if (!gateway)
    return;
  g_autofree char *since = time_text(gateway->since, FALSE), *again = time_text(gateway->again, FALSE);
  if (gateway->process)
    line("gateway", "runs since %s, as process %u", since, gateway->process);
  else if (gateway->busy)
    line("gateway", "another process is it; the agent tries again at %s", again);
  else
    line("gateway", "has ended %u times in a row, and is begun again at %s; the agent has printed why",
         gateway->failures, again);
}

static void
print_last(const Doppel__Agent__Clone *clone)
{
  g_autofree char *when = time_text(clone->time, FALSE), *sent = clone_store_size(clone->sent);
  g_autofree char *bytes = clone_store_size(clone->bytes);
  if (!clone->generation)
    line("generation", "none yet");
  else if (clone->nodes)
    line("generation",
         "%" G_GUINT64_FORMAT " of %s: %" G_GUINT64_FORMAT " paths; %s looked at closely, %s sent, in %.1f s",
         clone->generation, when, clone->nodes, bytes, sent, clone->seconds);
  else
    line("generation", "%" G_GUINT64_FORMAT " of %s", clone->generation, when);
  g_autofree char *failed = time_text(clone->last_failure, FALSE);
  if (clone->failures)
    line("failure", "%s: %s", failed, clone->failure);
}

static void
print_pending(const Doppel__Agent__Clone *clone)
{
  g_autofree char *size = clone_store_size(clone->pending_bytes), *big = clone_store_size(clone->big_bytes);
  g_autofree char *looked = time_text(clone->looked, FALSE), *since = time_text(clone->big_since, FALSE);
  if (!clone->known)
    line("pending", "not known before the tree is looked at");
  else if (clone->entries)
    line("pending", "%" G_GUINT64_FORMAT " changed, %s, as of %s", clone->entries, size, looked);
  else
    line("pending", "nothing");
  if (clone->known && clone->big_entries)
    line("", "%" G_GUINT64_FORMAT " big ones, %s%s%s", clone->big_entries, big,
         clone->big_since ? ", put off since " : "", clone->big_since ? since : "");
  line("changes", "%s", clone->watch);
  if (*clone->lost)
    line("", "all of the tree is looked at next: %s", clone->lost);
  else if (clone->directories)
    line("", "in %u director%s", clone->directories, clone->directories == 1 ? "y" : "ies");
}

static void
print_progress(const Doppel__Agent__Clone *clone)
{
  const Doppel__Agent__Progress *progress = clone->progress;
  if (!*clone->busy)
    return;
  if (!progress || !progress->paths) {
    line("now", "%s", clone->busy);
    return;
  }
  g_autofree char *done = clone_store_size(progress->bytes_done), *all = clone_store_size(progress->bytes);
  g_autofree char *sent = clone_store_size(progress->sent);
  line("now", "%s: %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " paths, %s of %s; %s sent", clone->busy,
       progress->paths_done, progress->paths, done, all, sent);
}

static void
print_decision(const Doppel__Agent__Decision *decision)
{
  if (!decision)
    return;
  line("decision", "%s: %s", decision->level, decision->summary);
  for (gsize i = 0; i < decision->n_reason; i++) {
    const Doppel__Agent__Reason *reason = decision->reason[i];
    line("", "%-9s  %-5s  %s", reason->rule, reason->holds ? "holds" : "waits", reason->text);
  }
}

static void
print_clone(const Doppel__Agent__Clone *clone)
{
  g_autofree char *root = g_strndup((const char *)clone->root.data, clone->root.len);
  g_autofree char *asked = time_text(clone->asked, FALSE);
  putchar('\n');
  line("clone", "%s, of %s", clone->name, root);
  print_last(clone);
  print_pending(clone);
  print_progress(clone);
  print_decision(clone->decision);
  if (clone->asked)
    line("jobs", "%u run, the results of %u wait (asked at %s)", clone->running, clone->waiting, asked);
}

/* ---- for programs ---- */

static void
add_text(GString *json, const char *key, const char *text)
{
  g_string_append_printf(json, "\"%s\": ", key);
  if (text && *text)
    json_append_string(json, text);
  else
    g_string_append(json, "null");
  g_string_append(json, ", ");
}

static void
add_time(GString *json, const char *key, gint64 seconds)
{
  g_autofree char *text = seconds > 0 && seconds < G_MAXINT32 * 2LL ? time_text(seconds, TRUE) : NULL;
  add_text(json, key, text);
}

static void
add_number(GString *json, const char *key, guint64 number)
{
  g_string_append_printf(json, "\"%s\": %" G_GUINT64_FORMAT ", ", key, number);
}

static void
add_boolean(GString *json, const char *key, gboolean value)
{
  g_string_append_printf(json, "\"%s\": %s, ", key, value ? "true" : "false");
}

/* An object or array ends where a comma would be. */
static void
close_with(GString *json, const char *end)
{
  if (g_str_has_suffix(json->str, ", "))
    g_string_truncate(json, json->len - 2);
  g_string_append_printf(json, "%s, ", end);
}

static void
add_conditions(GString *json, const Doppel__Agent__Report *report)
{
  g_string_append(json, "\"conditions\": [");
  for (gsize i = 0; i < report->n_condition; i++) {
    g_string_append(json, "{");
    add_text(json, "name", report->condition[i]->name);
    add_text(json, "value", report->condition[i]->value);
    add_text(json, "source", report->condition[i]->source);
    close_with(json, "}");
  }
  close_with(json, "]");
}

static void
add_gateway(GString *json, const Doppel__Agent__Gateway *gateway)
{
  if (!gateway) {
    add_text(json, "gateway", NULL);
    return;
  }
  g_string_append(json, "\"gateway\": {");
  add_number(json, "process", gateway->process);
  add_time(json, "since", gateway->process ? gateway->since : 0);
  add_number(json, "failures", gateway->failures);
  add_time(json, "again", gateway->process ? 0 : gateway->again);
  add_boolean(json, "busy", gateway->busy);
  close_with(json, "}");
}

static void
add_decision(GString *json, const Doppel__Agent__Decision *decision)
{
  if (!decision) {
    add_text(json, "decision", NULL);
    return;
  }
  g_string_append(json, "\"decision\": {");
  add_text(json, "level", decision->level);
  add_boolean(json, "now", decision->now);
  add_time(json, "look_again", decision->look_again);
  add_boolean(json, "big", decision->big);
  add_number(json, "rate", decision->rate);
  add_number(json, "compression", decision->compression);
  add_text(json, "summary", decision->summary);
  g_string_append(json, "\"rules\": [");
  for (gsize i = 0; i < decision->n_reason; i++) {
    const Doppel__Agent__Reason *reason = decision->reason[i];
    g_string_append(json, "{");
    add_text(json, "rule", reason->rule);
    add_boolean(json, "holds", reason->holds);
    add_time(json, "until", reason->holds ? 0 : reason->until);
    add_text(json, "text", reason->text);
    close_with(json, "}");
  }
  close_with(json, "]");
  close_with(json, "}");
}

static void
add_pending(GString *json, const Doppel__Agent__Clone *clone)
{
  if (clone->known) {
    g_string_append(json, "\"pending\": {");
    add_number(json, "entries", clone->entries);
    add_number(json, "bytes", clone->pending_bytes);
    add_number(json, "big_entries", clone->big_entries);
    add_number(json, "big_bytes", clone->big_bytes);
    add_time(json, "big_since", clone->big_since);
    add_time(json, "looked", clone->looked);
    close_with(json, "}");
  } else {
    add_text(json, "pending", NULL);
  }
  add_text(json, "watch", clone->watch);
  add_text(json, "walk", clone->lost);
  add_number(json, "directories", clone->directories);
}

static void
add_progress(GString *json, const Doppel__Agent__Clone *clone)
{
  const Doppel__Agent__Progress *progress = clone->progress;
  add_text(json, "busy", clone->busy);
  if (!progress) {
    add_text(json, "progress", NULL);
    return;
  }
  g_string_append(json, "\"progress\": {");
  add_number(json, "paths", progress->paths);
  add_number(json, "paths_done", progress->paths_done);
  add_number(json, "bytes", progress->bytes);
  add_number(json, "bytes_done", progress->bytes_done);
  add_number(json, "sent", progress->sent);
  close_with(json, "}");
}

static void
add_clone(GString *json, const Doppel__Agent__Clone *clone)
{
  g_autofree char *root = g_strndup((const char *)clone->root.data, clone->root.len);
  char seconds[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append(json, "\n {");
  add_text(json, "name", clone->name);
  add_text(json, "root", root);
  add_number(json, "generation", clone->generation);
  add_time(json, "time", clone->time);
  add_number(json, "paths", clone->nodes);
  add_number(json, "bytes", clone->bytes);
  add_number(json, "sent", clone->sent);
  g_string_append_printf(json, "\"seconds\": %s, ",
                         g_ascii_formatd(seconds, sizeof seconds, "%.3f", CLAMP(clone->seconds, 0, 1e9)));
  add_pending(json, clone);
  add_number(json, "failures", clone->failures);
  add_time(json, "last_failure", clone->last_failure);
  add_text(json, "failure", clone->failure);
  add_progress(json, clone);
  add_decision(json, clone->decision);
  if (clone->asked) {
    g_string_append(json, "\"jobs\": {");
    add_number(json, "running", clone->running);
    add_number(json, "waiting", clone->waiting);
    add_time(json, "asked", clone->asked);
    close_with(json, "}");
  } else {
    add_text(json, "jobs", NULL);
  }
  close_with(json, "}");
}

static void
print_json(const Doppel__Agent__Report *report)
{
  g_autoptr(GString) json = g_string_new("{");
  if (report->process) {
    g_string_append(json, "\"agent\": {");
    add_number(json, "process", report->process);
    add_time(json, "since", report->since);
    add_number(json, "cpu_us", report->cpu_us);
    close_with(json, "}");
  } else {
    add_text(json, "agent", NULL);
  }
  add_text(json, "problem", report->problem);
  add_conditions(json, report);
  add_gateway(json, report->gateway);
  g_string_append(json, "\n\"clones\": [");
  for (gsize i = 0; i < report->n_clone; i++)
    add_clone(json, report->clone[i]);
  close_with(json, "]");
  g_string_truncate(json, json->len - 2);
  g_string_append(json, "}");
  puts(json->str);
}

void
status_report_print(const Doppel__Agent__Report *report, gboolean json)
{
  if (json) {
    print_json(report);
    return;
  }
  print_agent(report);
  print_gateway(report->gateway);
  for (gsize i = 0; i < report->n_clone; i++)
    print_clone(report->clone[i]);
  if (!report->n_clone)
    fputs("\nNothing is kept current: \"doppel pair\" gives this device a clone, \"doppel sync\" fills it.\n",
          stdout);
}
