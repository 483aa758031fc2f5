#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent_private.h"
#include "base/clock.h"
#include "base/error.h"
#include "identity/key.h"
#include "identity/paired.h"
#include "identity/user.h"
#include "replicator/clone_index.h"
#include "replicator/sync_rules.h"

#define END_MS        5000 /* for the agent's processes to end when it does */
#define RENEW_S       600  /* how often is looked whether the user's name is to be renewed */
#define RENEW_FIRST_S 2    /* after the start */

gint64
agent_now(void)
{
  return g_get_real_time() / G_USEC_PER_SEC;
}

gint64
agent_ticks(void)
{
  return clock_now_ns() / G_GINT64_CONSTANT(1000000000) + 1;
}

/* ---- files that say what to do ---- */

static gint64
stamp_of(const char *path)
{
  struct stat status;
  return stat(path, &status) < 0 ? 0
                                 : status.st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) +
                                       status.st_mtim.tv_nsec + (gint64)status.st_ino;
}

static gint64
config_stamp(void)
{
  g_autofree char *own = g_build_filename(g_get_user_config_dir(), "doppel", "doppel.conf", NULL);
  return (gint64)((guint64)stamp_of(POLICY_CONFIG_SYSTEM) * 31 + (guint64)stamp_of(own));
}

/* Of the list of clones, and of what each has a copy of. */
static gint64
clones_stamp(GPtrArray *clones)
{
  g_autofree char *directory = identity_directory();
  g_autofree char *list = g_build_filename(directory, "clones.conf", NULL);
  gint64 stamp = stamp_of(list);
  for (guint i = 0; clones && i < clones->len; i++) {
    g_autofree char *place = clone_index_directory(((const PairedClone *)clones->pdata[i])->name);
    g_autofree char *root = g_build_filename(place, "root", NULL);
    stamp = (gint64)((guint64)stamp * 31 + (guint64)stamp_of(root));
  }
  return stamp;
}

AgentClone *
agent_find(Agent *agent, const char *name)
{
  for (guint i = 0; i < agent->clones->len; i++) {
    AgentClone *clone = agent->clones->pdata[i];
    if (strcmp(clone->name, name) == 0)
      return clone;
  }
  return NULL;
}

static gboolean
is_paired(const GPtrArray *paired, const char *name)
{
  for (guint i = 0; i < paired->len; i++)
    if (strcmp(((const PairedClone *)paired->pdata[i])->name, name) == 0)
      return TRUE;
  return FALSE;
}

/* Whoever is at work for a clone, or waits for it, has to be done with it first. */
static gboolean
is_free(const Agent *agent, const AgentClone *clone)
{
  for (guint i = 0; i < agent->callers->len; i++) {
    const AgentCaller *caller = agent->callers->pdata[i];
    if (caller->has == clone || caller->wants == clone)
      return FALSE;
  }
  return clone->worker == AGENT_WORKER_NONE;
}

static void
refresh_clones(Agent *agent, const GPtrArray *paired)
{
  for (guint i = agent->clones->len; i-- > 0;) {
    AgentClone *clone = agent->clones->pdata[i];
    g_autofree char *root = clone_index_root(clone->directory);
    if (!is_paired(paired, clone->name)) {
      if (is_free(agent, clone)) {
        g_ptr_array_remove_index(agent->clones, i);
      } else {
        agent_worker_stop(clone);
        agent->clones_stamp = -1; /* the next time */
      }
    } else if (strcmp(root, clone->root) != 0) {
      agent_clone_watch(clone);
    }
  }
  for (guint i = 0; i < paired->len; i++) {
    const char *name = ((const PairedClone *)paired->pdata[i])->name;
    AgentClone *clone = agent_find(agent, name) ? NULL : agent_clone_new(agent, name);
    if (clone) {
      g_ptr_array_add(agent->clones, clone);
      g_message("%s: %s is watched: %s", clone->name, clone->root, tree_watch_text(clone->watch));
      agent_clone_turn(clone);
    }
  }
}

/* Conditions that the configuration says are the watch's from its beginning. */
static void conditions_changed(gpointer data);

static void
watch_conditions(Agent *agent)
{
  const ConditionsPlaces places = {.configured = agent->config.conditions};
  g_clear_pointer(&agent->conditions, conditions_watch_free);
  agent->settled = FALSE;
  agent->conditions = conditions_watch_new(&places, conditions_changed, agent);
}

static void
refresh_config(Agent *agent)
{
  g_autoptr(GError) error = NULL;
  PolicyConfig config;
  g_clear_pointer(&agent->problem, g_free);
  if (!policy_config_read(&config, &error)) {
    agent->problem = g_strdup(error->message);
    g_warning("%s; the configuration stays as it was", error->message);
    return;
  }
  gboolean same = conditions_equal(&config.conditions, &agent->config.conditions);
  agent->config = config;
  if (!same)
    watch_conditions(agent);
}

void
agent_refresh(Agent *agent)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) paired = paired_list(&error);
  gint64 config = config_stamp(), rules = sync_rules_stamp(), clones = paired ? clones_stamp(paired) : 0;
  if (config != agent->config_stamp)
    refresh_config(agent);
  agent->config_stamp = config;
  if (rules != agent->rules_stamp)
    for (guint i = 0; i < agent->clones->len; i++)
      agent_clone_watch(agent->clones->pdata[i]);
  agent->rules_stamp = rules;
  agent_gateway_turn(agent);
  if (!paired)
    g_warning("%s", error->message);
  if (!paired || clones == agent->clones_stamp)
    return;
  agent->clones_stamp = clones;
  refresh_clones(agent, paired);
}

/* ---- the loop ---- */

static void
turn_all(Agent *agent)
{
  for (guint i = 0; i < agent->clones->len; i++)
    agent_clone_turn(agent->clones->pdata[i]);
  agent_callers_turn(agent);
}

static void
conditions_changed(gpointer data)
{
  Agent *agent = data;
  Conditions conditions = conditions_watch_get(agent->conditions);
  gboolean link = conditions_get(&conditions, CONDITION_LINK) != CONDITION_LINK_NONE &&
                  conditions_get(&conditions, CONDITION_ONLINE) != 0;
  if (link && !agent->had_link) /* jobs may have ended meanwhile */
    for (guint i = 0; i < agent->clones->len; i++)
      ((AgentClone *)agent->clones->pdata[i])->jobs_due = agent_ticks();
  agent->had_link = link;
  agent->settled = TRUE;
  turn_all(agent);
}

/* The binding of the user's name to the clone, also where no file changes for months. */
static gboolean
renew_name(gpointer unused)
{
  g_autoptr(GError) error = NULL;
  char *words[] = {(char *)"/proc/self/exe", (char *)"name", (char *)"renew", NULL};
  if (user_renewal_is_due() &&
      !g_spawn_async(NULL, words, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &error))
    g_warning("a process that renews the name cannot be started: %s", error->message);
  return G_SOURCE_CONTINUE;
}

static gboolean
begin_renewing(gpointer unused)
{
  renew_name(NULL);
  g_timeout_add_seconds(RENEW_S, renew_name, NULL);
  return G_SOURCE_REMOVE;
}

static gboolean
every_minute(gpointer data)
{
  agent_refresh(data);
  return G_SOURCE_CONTINUE;
}

static gboolean
refresh_now(gpointer data)
{
  Agent *agent = data;
  agent->config_stamp = agent->rules_stamp = agent->clones_stamp = -1;
  agent_refresh(agent);
  turn_all(agent);
  return G_SOURCE_CONTINUE;
}

static gboolean
end(gpointer data)
{
  Agent *agent = data;
  agent->ending = TRUE;
  g_main_loop_quit(agent->loop);
  return G_SOURCE_CONTINUE;
}

static gboolean
any_works(const Agent *agent)
{
  for (guint i = 0; i < agent->clones->len; i++)
    if (((const AgentClone *)agent->clones->pdata[i])->worker != AGENT_WORKER_NONE)
      return TRUE;
  return FALSE;
}

static gboolean
tick(gpointer unused)
{
  return G_SOURCE_CONTINUE;
}

/* A synchronisation that is ended so goes on at the next one where it was. */
static void
end_work(Agent *agent)
{
  gint64 limit = g_get_monotonic_time() + END_MS * 1000;
  for (guint i = 0; i < agent->clones->len; i++)
    agent_worker_stop(agent->clones->pdata[i]);
  guint ticking = g_timeout_add(100, tick, NULL);
  while (any_works(agent) && g_get_monotonic_time() < limit)
    g_main_context_iteration(NULL, TRUE);
  g_source_remove(ticking);
  for (guint i = 0; i < agent->clones->len; i++) {
    const AgentClone *clone = agent->clones->pdata[i];
    if (clone->worker != AGENT_WORKER_NONE)
      kill(clone->process, SIGKILL);
  }
}

static void
serve(Agent *agent)
{
  agent->clones_stamp = -1;
  agent->config_stamp = config_stamp();
  agent->rules_stamp = sync_rules_stamp();
  agent_refresh(agent);
  watch_conditions(agent);
  g_timeout_add_seconds(60, every_minute, agent);
  g_timeout_add_seconds(RENEW_FIRST_S, begin_renewing, NULL);
  g_unix_signal_add(SIGTERM, end, agent);
  g_unix_signal_add(SIGINT, end, agent);
  g_unix_signal_add(SIGHUP, refresh_now, agent);
  if (!agent->clones->len)
    g_message("there is nothing to keep current yet: \"doppel pair\", then \"doppel sync\"");
  g_main_loop_run(agent->loop);
  agent_gateway_end(agent);
  end_work(agent);
}

gboolean
agent_run(TreeWatchWays ways, GError **error)
{
  Agent agent = {.ways = ways, .lock = -1, .listener = -1, .since = agent_now()};
  if (!policy_config_read(&agent.config, error))
    return FALSE;
  agent.clones = g_ptr_array_new_with_free_func((GDestroyNotify)agent_clone_free);
  agent.loop = g_main_loop_new(NULL, FALSE);
  gboolean good = agent_callers_listen(&agent, error);
  if (good)
    serve(&agent);
  agent.ending = TRUE;
  agent_callers_end(&agent);
  g_clear_pointer(&agent.conditions, conditions_watch_free);
  g_ptr_array_unref(agent.clones);
  g_main_loop_unref(agent.loop);
  g_free(agent.problem);
  io_close(&agent.lock);
  return good;
}
