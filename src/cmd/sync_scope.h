/* What of a tree is to be synchronised, as far as an agent knows: without one, all of it is looked at. */
#pragma once

#include "agent/agent_client.h"
#include "replicator/sync.h"

typedef struct {
  AgentClient *agent;   /* NULL: there is none, or it has nothing to say */
  AgentMessage *answer; /* a Scope, or NULL */
  char **directories;
  gint64 told; /* when the agent was last told of progress: monotonic us */
} SyncScope;

void sync_scope_clear(SyncScope *scope);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SyncScope, sync_scope_clear)

/* Asks the agent, whose own synchronisation gives way. With `part` only that; the caller knows what to
 * synchronise. FALSE with GONE: another process synchronises. */
gboolean sync_scope_take(SyncScope *scope, const char *clone, const char *root, gboolean part,
                         GError **error);

/* What the agent's answer means; all that it says nothing of stays. */
void sync_scope_apply(const SyncScope *scope, ReplicatorOptions *options);

/* Tells the agent how it goes on, and what came of it: `result` is NULL where it failed. */
void sync_scope_progress(SyncScope *scope, const ReplicatorProgress *progress);
void sync_scope_done(SyncScope *scope, const ReplicatorResult *result);

/* The agent's Scope, or NULL. */
const Doppel__Agent__Scope *sync_scope_said(const SyncScope *scope);
