#include "cmd/sync_scope.h"

#include <string.h>

#include "base/error.h"
#include "replica/tree_dirty.h"

#define TAKE_MS   10000 /* the agent's own process has to end first */
#define DONE_MS   2000
#define REPORT_US 500000

#define LATER_MAX  (AGENT_MESSAGE_MAX / 2) /* bytes of directories */
#define LENGTH_MAX 8u                      /* bytes before each of them */

void
sync_scope_clear(SyncScope *scope)
{
  g_clear_pointer(&scope->agent, agent_client_free);
  g_clear_pointer(&scope->answer, agent_message_free);
  g_clear_pointer(&scope->directories, g_strfreev);
}

const Doppel__Agent__Scope *
sync_scope_said(const SyncScope *scope)
{
  return scope->answer ? scope->answer->scope : NULL;
}

static void
take_directories(SyncScope *scope, const Doppel__Agent__Scope *said)
{
  if (said->everything)
    return;
  scope->directories = g_new0(char *, said->n_directory + 1);
  for (gsize i = 0; i < said->n_directory; i++)
    scope->directories[i] = agent_message_path(&said->directory[i]);
}

gboolean
sync_scope_take(SyncScope *scope, const char *clone, const char *root, gboolean part, GError **error)
{
  Doppel__Agent__Take take = DOPPEL__AGENT__TAKE__INIT;
  *scope = (SyncScope){.agent = agent_client_new()};
  if (!scope->agent)
    return TRUE;
  take.clone = (char *)clone;
  take.root = (ProtobufCBinaryData){strlen(root), (guint8 *)root};
  take.part = part;
  scope->answer = agent_client_ask(scope->agent, AGENT_MESSAGE(TAKE, take, &take),
                                   DOPPEL__AGENT__MESSAGE__KIND_SCOPE, TAKE_MS);
  const Doppel__Agent__Scope *said = sync_scope_said(scope);
  if (said && said->busy)
    return doppel_error_set(error, DOPPEL_ERROR_GONE,
                            "another synchronisation with this clone goes on on this device: wait for its "
                            "end, or stop it (\"doppel status\" shows it)");
  if (said && said->watch.len)
    take_directories(scope, said);
  else
    sync_scope_clear(scope);
  return TRUE;
}

void
sync_scope_apply(const SyncScope *scope, ReplicatorOptions *options)
{
  const Doppel__Agent__Scope *said = sync_scope_said(scope);
  if (!said)
    return;
  options->directories = (const char *const *)scope->directories;
  options->watch = said->watch.data;
  options->later = said->later;
  if (!options->rate)
    options->rate = said->rate;
}

void
sync_scope_progress(SyncScope *scope, const ReplicatorProgress *progress)
{
  gint64 now = g_get_monotonic_time();
  if (!scope->agent || now - scope->told < REPORT_US)
    return;
  Doppel__Agent__Progress message = DOPPEL__AGENT__PROGRESS__INIT;
  message.phase = progress->phase;
  message.paths = progress->paths;
  message.paths_done = progress->paths_done;
  message.bytes = progress->bytes;
  message.bytes_done = progress->bytes_done;
  message.sent = progress->sent;
  message.rate = progress->rate;
  message.left_s = progress->left_s;
  scope->told = now;
  agent_client_tell(scope->agent, AGENT_MESSAGE(PROGRESS, progress, &message));
}

/* Directories of what was put off. */
static TreeDirty *
later_directories(const ReplicatorResult *result)
{
  TreeDirty *directories = tree_dirty_new();
  for (guint i = 0; result && result->later && i < result->later->len; i++) {
    const char *path = result->later->pdata[i], *slash = strrchr(path, '/');
    g_autofree char *directory = g_strndup(path, slash ? slash - path : 0);
    tree_dirty_add(directories, directory);
  }
  return directories;
}

void
sync_scope_done(SyncScope *scope, const ReplicatorResult *result)
{
  if (!scope->agent)
    return;
  gsize bytes = 0;
  Doppel__Agent__Done done = DOPPEL__AGENT__DONE__INIT;
  g_autoptr(TreeDirty) later = later_directories(result);
  g_auto(GStrv) paths = tree_dirty_paths(later);
  guint count = g_strv_length(paths);
  g_autofree ProtobufCBinaryData *directories = g_new(ProtobufCBinaryData, MAX(count, 1));
  for (guint i = 0; i < count; i++) {
    directories[i] = (ProtobufCBinaryData){strlen(paths[i]), (guint8 *)paths[i]};
    bytes += directories[i].len + LENGTH_MAX;
  }
  done.good = result != NULL;
  done.walked = result && result->walked;
  done.later_many = tree_dirty_lost(later) || bytes > LATER_MAX;
  done.later = directories;
  done.n_later = done.later_many ? 0 : count;
  g_autoptr(AgentMessage) noted = agent_client_ask(scope->agent, AGENT_MESSAGE(DONE, done, &done),
                                                   DOPPEL__AGENT__MESSAGE__KIND_NOTED, DONE_MS);
  sync_scope_clear(scope);
}
