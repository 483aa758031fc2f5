/* The agent's own processes, one at a time for each clone. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent_private.h"
#include "base/error.h"

#define BUSY_S    10 /* until it is tried again, where another process has the index, or it failed: */
#define DOUBLINGS 8  /* of that, at most, while it fails again and again */

static void
note_crash(AgentClone *clone, int status)
{
  g_autoptr(GError) error =
      g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_FAILED, "the process that synchronises was killed by signal %d",
                  WTERMSIG(status));
  g_autoptr(GError) problem = NULL;
  sync_memory_clear(&clone->memory);
  sync_memory_load(&clone->memory, clone->directory);
  sync_memory_note(&clone->memory, NULL, error);
  if (!sync_memory_save(&clone->memory, clone->directory, &problem))
    g_warning("%s: %s, which %s", clone->name, error->message, problem->message);
}

/* The policies know of failures what is written down; what could not be is not to be tried all the time. */
static void
note_failure(AgentClone *clone, AgentWorker worker)
{
  clone->failing = worker;
  clone->failures = MIN(clone->failures + 1, DOUBLINGS + 1);
  clone->not_before = agent_ticks() + (BUSY_S << (clone->failures - 1));
}

static void
note_end(AgentClone *clone, AgentWorker worker, int status)
{
  if (WIFSIGNALED(status))
    note_crash(clone, status);
  if (WIFEXITED(status) && WEXITSTATUS(status) == AGENT_WORK_BUSY)
    clone->not_before = agent_ticks() + BUSY_S;
  else if (!WIFEXITED(status) || WEXITSTATUS(status) != AGENT_WORK_DONE)
    note_failure(clone, worker);
  else if (worker == AGENT_WORKER_SYNCS || clone->failing == worker)
    agent_clone_forgive(clone);
}

gboolean
agent_worker_waits(const AgentClone *clone, AgentWorker worker)
{
  gboolean other = worker == AGENT_WORKER_LOOKS && clone->failing == AGENT_WORKER_SYNCS;
  return agent_ticks() < clone->not_before && !other;
}

static void
ended(GPid process, int status, gpointer data)
{
  AgentClone *clone = data;
  Agent *agent = clone->agent;
  gboolean stopped = clone->stopping;
  AgentWorker worker = clone->worker;
  g_spawn_close_pid(process);
  clone->child = 0;
  clone->process = 0;
  clone->worker = AGENT_WORKER_NONE;
  clone->stopping = FALSE;
  clone->progressed = FALSE;
  if (worker != AGENT_WORKER_JOBS && !stopped)
    note_end(clone, worker, status);
  if (agent->ending)
    return;
  if (stopped || clone->failing) /* it may be paired no longer */
    agent_refresh(agent);
  agent_callers_turn(agent);
  if (g_ptr_array_find(agent->clones, clone, NULL))
    agent_clone_turn(clone);
}

/* Nothing of it outlives the agent, which could not tell it from another's. */
void
agent_worker_in_child(gpointer agent_process)
{
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != GPOINTER_TO_INT(agent_process))
    _exit(1);
}

void
agent_worker_start(AgentClone *clone, AgentWorker worker)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *work =
      g_strconcat("--work=", worker == AGENT_WORKER_JOBS ? AGENT_WORK_JOBS : AGENT_WORK_SYNC, NULL);
  char *words[] = {(char *)"/proc/self/exe", (char *)"agent", work, (char *)"--", clone->name, NULL};
  clone->worker = worker;
  clone->stopping = FALSE;
  if (!g_spawn_async(NULL, words, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL,
                     agent_worker_in_child, GINT_TO_POINTER(getpid()), &clone->process, &error)) {
    g_warning("a process that synchronises cannot be started: %s", error->message);
    clone->worker = AGENT_WORKER_NONE;
    clone->failing = AGENT_WORKER_NONE;
    clone->not_before = agent_ticks() + BUSY_S;
    return;
  }
  /* What it had to say comes first. */
  clone->child = g_child_watch_add_full(G_PRIORITY_LOW, clone->process, ended, clone, NULL);
}

void
agent_worker_stop(AgentClone *clone)
{
  if (clone->worker == AGENT_WORKER_NONE || clone->stopping)
    return;
  clone->stopping = TRUE;
  kill(clone->process, SIGTERM);
}
