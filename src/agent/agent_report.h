/* What "doppel status" tells, put together: by an agent about what it does, or without one by whoever asks.
 */
#pragma once

#include "agent/agent_message.h"
#include "replicator/policy.h"
#include "replicator/sync_memory.h"

typedef struct {
  Doppel__Agent__Report report;
  GPtrArray *owned; /* what it points at */
} AgentReport;

/* Empty, but for the agent's process (0: there is none), since when it runs (s since 1970), what processor
 * time it has used, and what is wrong with the configuration (NULL: nothing). */
AgentReport *agent_report_new(guint32 process, gint64 since, guint64 cpu_us, const char *problem);
void agent_report_free(AgentReport *report);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AgentReport, agent_report_free)

void agent_report_add_conditions(AgentReport *report, const Conditions *conditions);

/* The gateway to the network of clones that the agent holds, as process (0: it has ended so often, and is
 * begun again then; `busy`: since another process is the gateway). Times are s since 1970. */
void agent_report_set_gateway(AgentReport *report, guint32 process, gint64 since, guint failures,
                              gint64 again, gboolean busy);

/* All is copied. */
typedef struct {
  const char *name, *root;
  const SyncMemory *memory;
  const char *watch, *lost; /* how changes are noticed; why all is to be looked at, or NULL */
  guint directories;
  gboolean known; /* `pending` */
  ReplicatorPending pending;
  gint64 looked;
  const char *busy;                        /* NULL: nothing goes on */
  const Doppel__Agent__Progress *progress; /* or NULL */
  const PolicyDecision *decision;          /* or NULL */
  gint64 asked;
  guint running, waiting;
} AgentFacts;
void agent_report_add_clone(AgentReport *report, const AgentFacts *facts);

/* What the policies are to know of it. */
PolicyPending agent_report_pending(const AgentFacts *facts);
