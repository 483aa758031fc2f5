#include "cmd/agent_work.h"

#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "base/error.h"
#include "cmd/clone_where.h"
#include "cmd/cmd.h"
#include "cmd/gateway.h"
#include "cmd/job_words.h"
#include "cmd/name.h"
#include "cmd/sync_once.h"
#include "cmd/sync_scope.h"
#include "replicator/sync_memory.h"
#include "replicator/sync_root.h"
#include "replicator/sync_rules.h"

static void
report_progress(void *user, const ReplicatorProgress *progress)
{
  sync_scope_progress(user, progress);
}

static gboolean
look(SyncScope *scope, CloneIndex *index, const ReplicatorOptions *options, GError **error)
{
  g_autoptr(TreePlan) plan = replicator_plan(index, options, error);
  if (!plan)
    return FALSE;
  ReplicatorPending pending = replicator_pending(index, options, plan, options->later);
  Doppel__Agent__Looked looked = DOPPEL__AGENT__LOOKED__INIT;
  looked.entries = pending.entries;
  looked.bytes = pending.bytes;
  looked.big_entries = pending.big_entries;
  looked.big_bytes = pending.big_bytes;
  return agent_client_tell(scope->agent, AGENT_MESSAGE(LOOKED, looked, &looked));
}

static gboolean
synchronise(SyncScope *scope, const PairedClone *clone, CloneIndex *index, const ReplicatorOptions *options,
            GError **error)
{
  g_auto(ReplicatorResult) result = {0};
  int compression = (int)sync_scope_said(scope)->compression;
  gboolean good = sync_once(clone, index, options, compression, NULL, NULL, &result, error);
  if (good && result.made)
    fprintf(stderr,
            "%s: generation %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT
            " paths looked at closely, %" G_GUINT64_FORMAT " bytes sent\n",
            clone->name, result.generation, result.paths, result.sent);
  sync_scope_done(scope, good ? &result : NULL);
  if (good)
    name_keep("agent");
  return good;
}

/* What could not even be begun is a failure that the next attempt waits after, too. */
static void
note_failure(const char *directory, const GError *error)
{
  g_auto(SyncMemory) memory = {0};
  g_autoptr(GError) unsaved = NULL;
  sync_memory_load(&memory, directory);
  sync_memory_note(&memory, NULL, error);
  if (!sync_memory_save(&memory, directory, &unsaved))
    fprintf(stderr, "doppel agent: what follows %s\n", unsaved->message);
}

/* Nobody may be there to see that everything would be removed in the clone. */
static gboolean
is_mounted(CloneIndex *index, const char *root, GError **error)
{
  return !sync_root_is_bare(index, root) ||
         doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                          "the tree %s is empty, and another directory than it was: is its file system "
                          "mounted? (\"doppel sync\" takes it as it is)",
                          root);
}

static int
work_sync(const PairedClone *clone, GError **error)
{
  g_autofree char *directory = clone_index_directory(clone->name);
  g_autofree char *root = clone_index_root(directory);
  g_auto(SyncScope) scope = {0};
  g_autoptr(GError) taken = NULL;
  ReplicatorOptions options = {.root = root, .progress = report_progress, .user = &scope};
  if (!sync_scope_take(&scope, clone->name, root, FALSE, error) || !sync_scope_said(&scope))
    return AGENT_WORK_BUSY;
  g_autoptr(CloneIndex) index = clone_index_open(directory, &taken);
  if (g_error_matches(taken, DOPPEL_ERROR, DOPPEL_ERROR_GONE))
    return AGENT_WORK_BUSY;
  if (taken)
    g_propagate_error(error, g_steal_pointer(&taken));
  g_autoptr(TreeRules) rules = index ? sync_rules_load(root, error) : NULL;
  options.rules = rules;
  sync_scope_apply(&scope, &options);
  gboolean looks = sync_scope_said(&scope)->look, begun = rules && is_mounted(index, root, error);
  gboolean good = begun && (looks ? look(&scope, index, &options, error)
                                  : synchronise(&scope, clone, index, &options, error));
  if (!good && (looks || !begun) && *error)
    note_failure(directory, *error);
  return good ? AGENT_WORK_DONE : AGENT_WORK_FAILED;
}

static void
count_jobs(const GPtrArray *jobs, Doppel__Agent__Jobs *count)
{
  for (guint i = 0; i < jobs->len; i++) {
    const JobSummary *job = ((const JobMessage *)jobs->pdata[i])->summary;
    count->running += !job->foreign && !job_state_is_over(job->state);
    count->waiting += job_collect_is_due(job);
  }
}

static int
work_jobs(const PairedClone *clone, GError **error)
{
  Doppel__Agent__Jobs count = DOPPEL__AGENT__JOBS__INIT;
  g_autoptr(AgentClient) agent = agent_client_new();
  g_autoptr(JobClient) client = agent ? job_client_open(clone->name, error) : NULL;
  g_autoptr(GPtrArray) jobs = client ? job_client_list(client, error) : NULL;
  if (!jobs)
    return AGENT_WORK_FAILED;
  count_jobs(jobs, &count);
  if (count.waiting) {
    job_words_collect_all("agent", client, jobs);
    g_autoptr(GPtrArray) now = job_client_list(client, error);
    if (!now)
      return AGENT_WORK_FAILED;
    count = (Doppel__Agent__Jobs)DOPPEL__AGENT__JOBS__INIT;
    count_jobs(now, &count);
  }
  count.clone = clone->name;
  return agent_client_tell(agent, AGENT_MESSAGE(JOBS, jobs, &count)) ? AGENT_WORK_DONE : AGENT_WORK_FAILED;
}

int
agent_work(const char *work, const char *name)
{
  if (strcmp(work, AGENT_WORK_GATEWAY) == 0)
    return gateway_hold();
  g_autoptr(GError) error = NULL;
  clone_where_check(NULL, name);
  g_autoptr(PairedClone) clone = paired_find(name, &error);
  int status = AGENT_WORK_FAILED;
  if (clone && strcmp(work, AGENT_WORK_SYNC) == 0)
    status = work_sync(clone, &error);
  else if (clone && strcmp(work, AGENT_WORK_JOBS) == 0)
    status = work_jobs(clone, &error);
  if (error)
    cmd_fail("agent", error);
  return status;
}
