/* One clone, and what is known of the tree that it has a copy of. */
#include <glib-unix.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/agent_private.h"
#include "replicator/clone_index.h"
#include "replicator/sync_rules.h"

#define LOOK_GOOD_S  60          /* for which a look counts, though something has changed since */
#define WALK_S       (24 * 3600) /* after which all of the tree is looked at, whatever was told */
#define JOBS_FIRST_S 60          /* to the next question after jobs of which something is to come yet, */
#define JOBS_LAST_S  3600        /* to which that doubles while nothing does */
#define SCOPE_MAX    (8u << 20)  /* bytes of paths; more are a walk */

/* ---- watching ---- */

static gboolean readable(int fd, GIOCondition condition, gpointer data);

static void
listen_to_watch(AgentClone *clone)
{
  int fd = tree_watch_fd(clone->watch);
  if (fd >= 0 && !clone->readable && !clone->drain)
    clone->readable = g_unix_fd_add(fd, G_IO_IN, readable, clone);
}

/* A descriptor may be another's afterwards. */
static void
take_changes(AgentClone *clone)
{
  if (clone->readable)
    g_source_remove(clone->readable);
  clone->readable = 0;
  tree_watch_take(clone->watch);
  listen_to_watch(clone);
}

static gboolean
drain(gpointer data)
{
  AgentClone *clone = data;
  gboolean was_clean = tree_dirty_is_clean(clone->dirty);
  clone->drain = 0;
  take_changes(clone);
  if (was_clean && !tree_dirty_is_clean(clone->dirty))
    agent_clone_turn(clone);
  return G_SOURCE_REMOVE;
}

/* Much may come together: it is left where it is for a moment. */
static gboolean
readable(int fd, GIOCondition condition, gpointer data)
{
  AgentClone *clone = data;
  clone->readable = 0;
  clone->drain = g_timeout_add(tree_watch_patience_ms(clone->watch), drain, clone);
  return G_SOURCE_REMOVE;
}

static void
stop_watching(AgentClone *clone)
{
  if (clone->readable)
    g_source_remove(clone->readable);
  if (clone->drain)
    g_source_remove(clone->drain);
  clone->readable = clone->drain = 0;
  g_clear_pointer(&clone->watch, tree_watch_free);
}

void
agent_clone_watch(AgentClone *clone)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *root = clone_index_root(clone->directory);
  g_autoptr(TreeRules) rules = sync_rules_load(root, &error);
  stop_watching(clone);
  if (rules) {
    g_clear_pointer(&clone->rules, tree_rules_free);
    clone->rules = g_steal_pointer(&rules);
  } else {
    g_warning("%s; the rules stay as they were", error->message);
    if (!clone->rules)
      clone->rules = tree_rules_new();
  }
  g_free(clone->root);
  clone->root = g_steal_pointer(&root);
  /* What was walked under the old name says nothing of what the new rules let in. */
  randombytes_buf(clone->watch_name, sizeof clone->watch_name);
  clone->watch = tree_watch_new(clone->root, clone->rules, clone->agent->ways, clone->dirty);
  clone->looked = 0;
  agent_clone_forgive(clone);
  listen_to_watch(clone);
}

void
agent_clone_forgive(AgentClone *clone)
{
  clone->failures = 0;
  clone->failing = AGENT_WORKER_NONE;
  clone->not_before = 0;
}

gboolean
agent_clone_has_root(const AgentClone *clone, const ProtobufCBinaryData *root)
{
  return root->len == strlen(clone->root) && memcmp(root->data, clone->root, root->len) == 0;
}

/* ---- what is known ---- */

static gint64
stamp_of(const char *directory, const char *name)
{
  g_autofree char *path = g_build_filename(directory, name, NULL);
  struct stat status;
  return stat(path, &status) < 0 ? 0
                                 : status.st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) +
                                       status.st_mtim.tv_nsec + (gint64)status.st_ino;
}

static void
remember(AgentClone *clone)
{
  gint64 stamp = stamp_of(clone->directory, "memory");
  if (stamp == clone->memory_stamp)
    return;
  sync_memory_clear(&clone->memory);
  sync_memory_load(&clone->memory, clone->directory);
  clone->memory_stamp = stamp;
}

gboolean
agent_clone_knows_pending(AgentClone *clone, gint64 when)
{
  const PolicyConfig *config = &clone->agent->config;
  gint64 now = agent_now(), age = now - clone->looked;
  take_changes(clone);
  /* While it is looked at, nobody knows what will be put back. */
  if (tree_dirty_is_clean(clone->dirty) && !(when && clone->taken))
    return TRUE;
  if (!clone->looked || age < 0)
    return FALSE;
  /* Of a tree that does not stand still more is never known. */
  if (when && clone->look_began >= when && !clone->taken)
    return TRUE;
  if (!tree_watch_tells(clone->watch))
    return !when && age < config->opportunity_every;
  return tree_dirty_version(clone->dirty) == clone->looked_version || (!when && age < LOOK_GOOD_S);
}

void
agent_clone_facts(AgentClone *clone, AgentFacts *facts)
{
  gboolean known = agent_clone_knows_pending(clone, 0), clean = tree_dirty_is_clean(clone->dirty);
  static const char *const busy[] = {NULL, "looking at what has changed", "synchronising",
                                     "bringing home what jobs did"};
  remember(clone);
  *facts = (AgentFacts){.name = clone->name,
                        .root = clone->root,
                        .memory = &clone->memory,
                        .watch = tree_watch_text(clone->watch),
                        .lost = tree_dirty_lost(clone->dirty),
                        .directories = tree_dirty_count(clone->dirty),
                        .known = known,
                        .pending = clone->pending,
                        .looked = clone->looked,
                        .busy = busy[clone->worker],
                        .progress = clone->progressed ? &clone->progress : NULL,
                        .decision = clone->decision,
                        .asked = clone->jobs_asked,
                        .running = clone->jobs_running,
                        .waiting = clone->jobs_waiting};
  if (clone->taker && !clone->taker->own)
    facts->busy = "synchronising, as somebody asked for it";
  /* What was too much once may be less by now: after a while it is looked at again. */
  if (!known && agent_now() - clone->looked > clone->agent->config.opportunity_every)
    facts->pending = (ReplicatorPending){0};
  if (clean) {
    facts->pending = (ReplicatorPending){0};
    facts->looked = agent_now();
    if (!tree_dirty_is_clean(clone->later)) {
      facts->pending.big_entries = clone->memory.big_entries;
      facts->pending.big_bytes = clone->memory.big_bytes;
    }
  }
}

static PolicySituation
situation_of(AgentClone *clone, AgentFacts *facts)
{
  PolicySituation situation = {0};
  g_autoptr(GDateTime) now = g_date_time_new_now_local();
  agent_clone_facts(clone, facts);
  situation.conditions = conditions_watch_get(clone->agent->conditions);
  situation.pending = agent_report_pending(facts);
  policy_set_clock(&situation, now);
  return situation;
}

/* ---- giving away, and taking back ---- */

static void
fill_scope(AgentClone *clone, const PolicyDecision *decision, Doppel__Agent__Scope *scope, char ***paths)
{
  gsize bytes = 0;
  *paths = tree_dirty_paths(clone->taken);
  guint count = g_strv_length(*paths);
  for (guint i = 0; i < count; i++)
    bytes += strlen((*paths)[i]);
  scope->watch = (ProtobufCBinaryData){sizeof clone->watch_name, clone->watch_name};
  scope->everything = tree_dirty_lost(clone->taken) || bytes > SCOPE_MAX;
  scope->why = (char *)(tree_dirty_lost(clone->taken) ? tree_dirty_lost(clone->taken)
                        : scope->everything           ? "so much has changed that a walk is no dearer"
                                                      : "");
  scope->directory = g_new0(ProtobufCBinaryData, MAX(count, 1));
  scope->n_directory = scope->everything ? 0 : count;
  for (gsize i = 0; i < scope->n_directory; i++)
    scope->directory[i] = (ProtobufCBinaryData){strlen((*paths)[i]), (guint8 *)(*paths)[i]};
  scope->later = decision->big ? 0 : clone->agent->config.big;
  scope->rate = decision->rate;
  scope->compression = (guint32)decision->compression;
}

static PolicyDecision *
decide_on_demand(AgentClone *clone)
{
  AgentFacts facts;
  PolicySituation situation = situation_of(clone, &facts);
  return policy_decide(&clone->agent->config, &situation, POLICY_ON_DEMAND);
}

void
agent_clone_give(AgentClone *clone, AgentCaller *caller, gboolean own, Doppel__Agent__Scope *scope,
                 char ***paths)
{
  g_autoptr(PolicyDecision) on_demand = own ? NULL : decide_on_demand(clone);
  /* Somebody may ask how things are before the clone had its first turn. */
  if (own && !clone->decision)
    agent_clone_judge(clone);
  take_changes(clone);
  tree_dirty_merge(clone->dirty, clone->later);
  clone->taken = tree_dirty_take(clone->dirty);
  clone->taker = caller;
  clone->look_began = g_get_monotonic_time();
  scope->look = own && clone->worker == AGENT_WORKER_LOOKS;
  fill_scope(clone, on_demand ? on_demand : clone->decision, scope, paths);
  if (scope->look)
    scope->later = clone->agent->config.big;
}

static void
put_back(AgentClone *clone)
{
  tree_dirty_merge(clone->dirty, clone->taken);
  g_clear_pointer(&clone->taken, tree_dirty_free);
  clone->taker = NULL;
}

void
agent_clone_give_up(AgentClone *clone)
{
  put_back(clone);
  clone->look_began = 0;
  clone->progressed = FALSE;
}

void
agent_clone_done(AgentClone *clone, const Doppel__Agent__Done *done)
{
  clone->progressed = FALSE;
  if (!done->good) {
    agent_clone_give_up(clone);
    return;
  }
  g_clear_pointer(&clone->taken, tree_dirty_free);
  clone->taker = NULL;
  clone->looked = 0;
  agent_clone_forgive(clone);
  clone->jobs_due = agent_ticks();
  clone->jobs_pause = 0;
  if (done->walked)
    clone->walked = agent_now();
  /* What was put off before was asked for with the rest. */
  g_clear_pointer(&clone->later, tree_dirty_free);
  clone->later = tree_dirty_new();
  if (done->later_many)
    tree_dirty_lose(clone->later, "so much was put off that a walk is no dearer");
  for (gsize i = 0; i < done->n_later; i++) {
    g_autofree char *path = agent_message_path(&done->later[i]);
    tree_dirty_add(clone->later, path);
  }
}

/* Where nothing was found there is nothing to come back to. */
void
agent_clone_looked(AgentClone *clone, const Doppel__Agent__Looked *looked)
{
  gboolean quiet = tree_dirty_is_clean(clone->dirty);
  clone->looked = agent_now();
  clone->pending = (ReplicatorPending){.entries = looked->entries,
                                       .bytes = looked->bytes,
                                       .big_entries = looked->big_entries,
                                       .big_bytes = looked->big_bytes};
  if (looked->entries || looked->big_entries) {
    put_back(clone);
  } else {
    if (tree_dirty_lost(clone->taken))
      clone->walked = clone->looked;
    g_clear_pointer(&clone->taken, tree_dirty_free);
    clone->taker = NULL;
  }
  clone->looked_version = quiet ? tree_dirty_version(clone->dirty) : G_MAXUINT64;
}

/* ---- jobs ---- */

/* It is asked again, ever more rarely while nothing comes. */
static void
ask_after_jobs(AgentClone *clone)
{
  clone->jobs_pause = CLAMP(2 * clone->jobs_pause, JOBS_FIRST_S, JOBS_LAST_S);
  clone->jobs_due = agent_ticks() + clone->jobs_pause;
  agent_worker_start(clone, AGENT_WORKER_JOBS);
}

void
agent_clone_jobs(AgentClone *clone, const Doppel__Agent__Jobs *jobs)
{
  gboolean same = clone->jobs_running == jobs->running && clone->jobs_waiting == jobs->waiting;
  clone->jobs_asked = agent_now();
  clone->jobs_running = jobs->running;
  clone->jobs_waiting = jobs->waiting;
  if (!jobs->running && !jobs->waiting)
    clone->jobs_due = 0;
  if (same)
    return;
  clone->jobs_pause = 0;
  if (clone->jobs_due)
    clone->jobs_due = agent_ticks() + JOBS_FIRST_S;
}

/* ---- turns ---- */

static gboolean
timed(gpointer data)
{
  AgentClone *clone = data;
  clone->timer = 0;
  agent_clone_turn(clone);
  return G_SOURCE_REMOVE;
}

/* Whatever the clocks do, somebody looks every minute. */
static void
look_again_in(AgentClone *clone, gint64 seconds)
{
  if (clone->timer)
    g_source_remove(clone->timer);
  gint64 wait = CLAMP(seconds, 1, 60);
  clone->timer = g_timeout_add_seconds((guint)wait, timed, clone);
}

static void
set_decision(AgentClone *clone, PolicyDecision *decision)
{
  policy_decision_free(clone->decision);
  clone->decision = decision;
}

/* A synchronisation goes on only while it may. */
static void
judge_running(AgentClone *clone, PolicySituation *situation)
{
  if (clone->worker != AGENT_WORKER_SYNCS || clone->stopping)
    return;
  situation->running = TRUE;
  g_autoptr(PolicyDecision) decision =
      policy_decide(&clone->agent->config, situation, clone->decision->level);
  if (decision->now)
    return;
  g_autofree char *summary = policy_summary(decision);
  g_message("%s: the synchronisation stops: %s", clone->name, summary);
  set_decision(clone, g_steal_pointer(&decision));
  agent_worker_stop(clone);
}

static gboolean
jobs_may_come(AgentClone *clone, const PolicySituation *situation)
{
  if (!clone->jobs_due || agent_ticks() < clone->jobs_due)
    return FALSE;
  g_autoptr(PolicyDecision) decision = policy_decide(&clone->agent->config, situation, POLICY_FINE);
  return decision->now;
}

static void
begin_work(AgentClone *clone, const AgentFacts *facts)
{
  g_autofree char *summary = policy_summary(clone->decision);
  if (facts->known)
    g_message("%s: synchronises, %s: %s", clone->name, policy_level_name(clone->decision->level), summary);
  agent_worker_start(clone, facts->known ? AGENT_WORKER_SYNCS : AGENT_WORKER_LOOKS);
}

static void
lose_after_a_day(AgentClone *clone)
{
  gint64 age = agent_now() - clone->walked;
  if (clone->walked && (age > WALK_S || age < 0) && !tree_dirty_lost(clone->dirty))
    tree_dirty_lose(clone->dirty, "all of it is looked at once a day");
}

void
agent_clone_judge(AgentClone *clone)
{
  AgentFacts facts;
  PolicySituation situation = situation_of(clone, &facts);
  if (clone->worker != AGENT_WORKER_SYNCS && !clone->taker)
    set_decision(clone, policy_decide_automatic(&clone->agent->config, &situation));
}

void
agent_clone_turn(AgentClone *clone)
{
  Agent *agent = clone->agent;
  AgentFacts facts;
  if (!agent->settled || agent->ending)
    return;
  remember(clone);
  lose_after_a_day(clone);
  PolicySituation situation = situation_of(clone, &facts);
  look_again_in(clone, 60);
  if (clone->worker != AGENT_WORKER_NONE || clone->taker) {
    judge_running(clone, &situation);
    return;
  }
  set_decision(clone, policy_decide_automatic(&agent->config, &situation));
  if (agent_ticks() < clone->not_before)
    look_again_in(clone, clone->not_before - agent_ticks());
  else if (clone->decision->now)
    begin_work(clone, &facts);
  else if (jobs_may_come(clone, &situation))
    ask_after_jobs(clone);
  else
    look_again_in(clone, clone->decision->look_again - situation.now);
}

/* ---- the whole ---- */

AgentClone *
agent_clone_new(Agent *agent, const char *name)
{
  g_autofree char *directory = clone_index_directory(name);
  g_autofree char *root = g_build_filename(directory, "root", NULL);
  if (!g_file_test(root, G_FILE_TEST_IS_REGULAR))
    return NULL;
  AgentClone *clone = g_new0(AgentClone, 1);
  clone->agent = agent;
  clone->name = g_strdup(name);
  clone->directory = g_steal_pointer(&directory);
  clone->dirty = tree_dirty_new();
  clone->later = tree_dirty_new();
  clone->memory_stamp = -1;
  clone->jobs_due = agent_ticks();
  agent_clone_watch(clone);
  return clone;
}

void
agent_clone_free(AgentClone *clone)
{
  if (clone->child)
    g_source_remove(clone->child);
  if (clone->timer)
    g_source_remove(clone->timer);
  stop_watching(clone);
  g_clear_pointer(&clone->taken, tree_dirty_free);
  tree_dirty_free(clone->dirty);
  tree_dirty_free(clone->later);
  g_clear_pointer(&clone->rules, tree_rules_free);
  sync_memory_clear(&clone->memory);
  policy_decision_free(clone->decision);
  g_free(clone->name);
  g_free(clone->directory);
  g_free(clone->root);
  g_free(clone);
}
