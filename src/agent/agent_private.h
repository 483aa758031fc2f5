/* What the files of agent.h share. */
#pragma once

#include "agent/agent.h"
#include "agent/agent_report.h"
#include "base/io.h"
#include "replicator/conditions_watch.h"
#include "replicator/policy.h"
#include "replicator/sync_memory.h"

typedef struct Agent Agent;
typedef struct AgentClone AgentClone;

/* A process that is connected. */
typedef struct {
  Agent *agent;
  Fd fd;
  pid_t process;
  guint in, out; /* sources */
  GByteArray *input, *output;
  AgentClone *has;   /* what it synchronises, or NULL */
  gboolean own;      /* it is a process of the agent's own, which may have ended by now */
  AgentClone *wants; /* what it waits for, or NULL */
  gboolean part;     /* of that */
  gint64 asked;      /* when a report was asked for: monotonic us; 0: none was */
} AgentCaller;

typedef enum { AGENT_WORKER_NONE, AGENT_WORKER_LOOKS, AGENT_WORKER_SYNCS, AGENT_WORKER_JOBS } AgentWorker;

struct AgentClone {
  Agent *agent;
  char *name, *directory, *root;
  TreeRules *rules;
  guint8 watch_name[REPLICATOR_WATCH];
  TreeWatch *watch;
  guint readable, drain, timer; /* sources */
  TreeDirty *dirty;             /* since the last synchronisation */
  TreeDirty *taken;             /* what somebody synchronises now, or NULL */
  TreeDirty *later;             /* where contents were put off */
  SyncMemory memory;
  gint64 memory_stamp;

  gint64 looked;     /* when the tree was looked at last: s since 1970; 0: never */
  gint64 look_began; /* monotonic us */
  gint64 walked;     /* when all of the tree was looked at last, and nothing left to do: s since 1970 */
  guint64 looked_version;
  ReplicatorPending pending; /* as of then */

  AgentWorker worker;
  pid_t process; /* of the worker */
  guint child;   /* source */
  gboolean stopping;
  AgentCaller *taker; /* who has `taken`, or NULL */
  PolicyDecision *decision;
  Doppel__Agent__Progress progress;
  gboolean progressed;

  gint64 not_before;   /* agent_ticks(): another process has the index, or attempts failed */
  guint failures;      /* of the agent's own processes, one after the other */
  AgentWorker failing; /* what failed last; NONE: nothing has since */
  gint64 jobs_due;     /* agent_ticks(); 0: not */
  gint64 jobs_asked;
  gint64 jobs_pause; /* s to the next question, where something is to come yet */
  guint jobs_running, jobs_waiting;
};

/* The process that is the device's gateway to the network of clones. */
typedef struct {
  gboolean wanted, busy; /* `busy`: another process was it, when this one was begun last */
  pid_t process;         /* 0: none */
  guint child, timer;    /* sources */
  gint64 since, began;   /* s since 1970; agent_ticks() */
  guint failures;        /* that it has ended, one after the other */
  gint64 again;          /* s since 1970: when it is begun again */
} AgentGateway;

struct Agent {
  GMainLoop *loop;
  TreeWatchWays ways;
  Fd lock, listener;
  gint64 since;
  PolicyConfig config;
  char *problem; /* with its file, or NULL */
  gint64 config_stamp, rules_stamp, clones_stamp;
  ConditionsWatch *conditions;
  gboolean settled, ending;
  gboolean had_link;
  GPtrArray *clones;  /* of AgentClone */
  GPtrArray *callers; /* of AgentCaller */
  guint waiting;      /* source: reports are not to wait any longer */
  AgentGateway gateway;
};

/* ---- agent.c ---- */

/* Takes notice of configuration, rules and pairings that have changed. */
void agent_refresh(Agent *agent);
AgentClone *agent_find(Agent *agent, const char *name);
gint64 agent_now(void);   /* s since 1970 */
gint64 agent_ticks(void); /* s, more than 0, that no setting of the clock changes: for what is waited for */

/* ---- agent_clone.c ---- */

/* NULL: it is none that was ever to be synchronised. */
AgentClone *agent_clone_new(Agent *agent, const char *name);
void agent_clone_free(AgentClone *clone);

/* Looks at the situation, and does what is to be done now. */
void agent_clone_turn(AgentClone *clone);

/* Fills `facts` with what is known now; what it points at stays the clone's. */
void agent_clone_facts(AgentClone *clone, AgentFacts *facts);

/* Decides anew, and does nothing about it. */
void agent_clone_judge(AgentClone *clone);
/* Whether what is pending is known: as it was at `when` (monotonic us), or, with 0, as far as it matters. */
gboolean agent_clone_knows_pending(AgentClone *clone, gint64 when);

/* What failed may be otherwise now: nothing waits because of it. */
void agent_clone_forgive(AgentClone *clone);

/* Watches anew, after the rules or the root have changed. */
void agent_clone_watch(AgentClone *clone);
gboolean agent_clone_has_root(const AgentClone *clone, const ProtobufCBinaryData *root);

/* What is to be synchronised goes to a caller; `scope` points at what `*paths` owns. */
void agent_clone_give(AgentClone *clone, AgentCaller *caller, gboolean own, Doppel__Agent__Scope *scope,
                      char ***paths);
/* It comes back: done, or not. */
void agent_clone_done(AgentClone *clone, const Doppel__Agent__Done *done);
void agent_clone_looked(AgentClone *clone, const Doppel__Agent__Looked *looked);
void agent_clone_give_up(AgentClone *clone);
void agent_clone_jobs(AgentClone *clone, const Doppel__Agent__Jobs *jobs);

/* ---- agent_worker.c ---- */

void agent_worker_start(AgentClone *clone, AgentWorker worker);
/* Asks it to end; agent_clone_turn() and agent_callers_turn() come when it has. */
void agent_worker_stop(AgentClone *clone);
/* Whether one of that kind is to wait, since the last one failed, or was in another's way. */
gboolean agent_worker_waits(const AgentClone *clone, AgentWorker worker);

/* In a child of the agent's, with the agent's process: nothing of it outlives the agent. */
void agent_worker_in_child(gpointer agent_process);

/* ---- agent_gateway.c ---- */

/* Begins it where it is wanted and nothing is to be waited for. */
void agent_gateway_turn(Agent *agent);
void agent_gateway_end(Agent *agent);
void agent_gateway_report(const Agent *agent, AgentReport *report);

/* ---- agent_callers.c ---- */

gboolean agent_callers_listen(Agent *agent, GError **error);
void agent_callers_end(Agent *agent);
/* Answers who waits and can be answered now. */
void agent_callers_turn(Agent *agent);
