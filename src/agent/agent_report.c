#include "agent/agent_report.h"

#include <string.h>

/* Text that may come from outside, as protobuf wants it. */
static char *
own_text(AgentReport *report, const char *text)
{
  char *valid = g_utf8_make_valid(text ? text : "", -1);
  g_ptr_array_add(report->owned, valid);
  return valid;
}

static gpointer
own(AgentReport *report, gpointer memory)
{
  g_ptr_array_add(report->owned, memory);
  return memory;
}

AgentReport *
agent_report_new(guint32 process, gint64 since, guint64 cpu_us, const char *problem)
{
  AgentReport *report = g_new0(AgentReport, 1);
  report->owned = g_ptr_array_new_with_free_func(g_free);
  report->report = (Doppel__Agent__Report)DOPPEL__AGENT__REPORT__INIT;
  report->report.process = process;
  report->report.since = since;
  report->report.cpu_us = cpu_us;
  report->report.problem = own_text(report, problem);
  return report;
}

void
agent_report_free(AgentReport *report)
{
  if (!report)
    return;
  g_free(report->report.clone);
  g_ptr_array_unref(report->owned);
  g_free(report);
}

void
agent_report_add_conditions(AgentReport *report, const Conditions *conditions)
{
  Doppel__Agent__Condition *all = own(report, g_new(Doppel__Agent__Condition, CONDITIONS_COUNT));
  report->report.condition = own(report, g_new(Doppel__Agent__Condition *, CONDITIONS_COUNT));
  for (guint i = 0; i < CONDITIONS_COUNT; i++) {
    all[i] = (Doppel__Agent__Condition)DOPPEL__AGENT__CONDITION__INIT;
    all[i].name = (char *)conditions_name(i);
    all[i].value = own(report, conditions_value_text(conditions, i));
    all[i].source = (char *)conditions_source_name(conditions->facts[i].source);
    report->report.condition[i] = &all[i];
  }
  report->report.n_condition = CONDITIONS_COUNT;
}

void
agent_report_set_gateway(AgentReport *report, guint32 process, gint64 since, guint failures, gint64 again,
                         gboolean busy)
{
  Doppel__Agent__Gateway *gateway = own(report, g_new(Doppel__Agent__Gateway, 1));
  *gateway = (Doppel__Agent__Gateway)DOPPEL__AGENT__GATEWAY__INIT;
  gateway->process = process;
  gateway->since = since;
  gateway->failures = failures;
  gateway->again = again;
  gateway->busy = busy;
  report->report.gateway = gateway;
}

static Doppel__Agent__Reason *
make_reason(AgentReport *report, const PolicyReason *reason)
{
  Doppel__Agent__Reason *made = own(report, g_new(Doppel__Agent__Reason, 1));
  *made = (Doppel__Agent__Reason)DOPPEL__AGENT__REASON__INIT;
  made->rule = own_text(report, reason->rule);
  made->holds = reason->holds;
  made->until = reason->until;
  made->text = own_text(report, reason->text);
  return made;
}

static Doppel__Agent__Decision *
make_decision(AgentReport *report, const PolicyDecision *decision)
{
  Doppel__Agent__Decision *made = own(report, g_new(Doppel__Agent__Decision, 1));
  g_autofree char *summary = policy_summary(decision);
  *made = (Doppel__Agent__Decision)DOPPEL__AGENT__DECISION__INIT;
  made->level = own_text(report, policy_level_name(decision->level));
  made->now = decision->now;
  made->look_again = decision->look_again;
  made->big = decision->big;
  made->rate = decision->rate;
  made->compression = decision->compression;
  made->summary = own_text(report, summary);
  made->n_reason = decision->reasons->len;
  made->reason = own(report, g_new(Doppel__Agent__Reason *, decision->reasons->len));
  for (guint i = 0; i < decision->reasons->len; i++)
    made->reason[i] = make_reason(report, &g_array_index(decision->reasons, PolicyReason, i));
  return made;
}

static void
set_last(AgentReport *report, Doppel__Agent__Clone *clone, const SyncMemory *memory)
{
  clone->generation = memory->generation;
  clone->time = memory->time;
  clone->nodes = memory->nodes;
  clone->bytes = memory->bytes;
  clone->sent = memory->sent;
  clone->seconds = memory->seconds;
  clone->failures = memory->failures;
  clone->last_failure = memory->last_failure;
  clone->failure = own_text(report, memory->failure);
}

static void
set_pending(AgentReport *report, Doppel__Agent__Clone *clone, const AgentFacts *facts)
{
  clone->watch = own_text(report, facts->watch);
  clone->lost = own_text(report, facts->lost);
  clone->directories = facts->directories;
  clone->known = facts->known;
  clone->entries = facts->pending.entries;
  clone->pending_bytes = facts->pending.bytes;
  clone->big_entries = facts->pending.big_entries;
  clone->big_bytes = facts->pending.big_bytes;
  clone->big_since = facts->memory->big_since;
  clone->looked = facts->looked;
}

void
agent_report_add_clone(AgentReport *report, const AgentFacts *facts)
{
  Doppel__Agent__Clone *clone = own(report, g_new(Doppel__Agent__Clone, 1));
  *clone = (Doppel__Agent__Clone)DOPPEL__AGENT__CLONE__INIT;
  clone->name = own_text(report, facts->name);
  clone->root = (ProtobufCBinaryData){strlen(facts->root), own(report, (guint8 *)g_strdup(facts->root))};
  set_last(report, clone, facts->memory);
  set_pending(report, clone, facts);
  clone->busy = own_text(report, facts->busy);
  if (facts->progress)
    clone->progress = own(report, g_memdup2(facts->progress, sizeof *facts->progress));
  if (facts->decision)
    clone->decision = make_decision(report, facts->decision);
  clone->asked = facts->asked;
  clone->running = facts->running;
  clone->waiting = facts->waiting;
  report->report.clone = g_renew(Doppel__Agent__Clone *, report->report.clone, report->report.n_clone + 1);
  report->report.clone[report->report.n_clone++] = clone;
}

PolicyPending
agent_report_pending(const AgentFacts *facts)
{
  const SyncMemory *memory = facts->memory;
  return (PolicyPending){.entries = facts->known ? (gint64)MIN(facts->pending.entries, G_MAXINT64) : -1,
                         .bytes = facts->pending.bytes,
                         .big_entries = (gint64)MIN(facts->pending.big_entries, G_MAXINT64),
                         .big_bytes = facts->pending.big_bytes,
                         .big_since = memory->big_since,
                         .last_generation = memory->time,
                         .failures = memory->failures,
                         .last_failure = memory->last_failure};
}
