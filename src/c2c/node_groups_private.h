/* What node_groups.c (messages on their way) and node_groups_kept.c (messages that are kept) share. */
#pragma once

#include "c2c/groups.h"
#include "c2c/node_private.h"
#include "c2c/node_store_groups.h"

/* A member for whom messages of this clone are kept. */
typedef struct {
  IdentityPublic origin;
  guint64 sequence; /* of the one that is being brought; 0: none is */
  guint tries;
  gint64 due; /* CLOCK_MONOTONIC ns */
} NodeAwaiter;

struct NodeGroups {
  Node *node;
  Groups *groups;
  GPtrArray *letters;   /* of Letter (node_groups.c) */
  GHashTable *awaiters; /* origin → NodeAwaiter */
  guint bringing;       /* of them, now */
  gint64 drain_at;      /* when programs are offered again what is kept for them; G_MAXINT64: nothing is */
};

/* node_groups.c: brings a message to that awaiter, and says node_kept_brought(). */
void node_groups_bring(NodeGroups *groups, NodeAwaiter *awaiter, GBytes *packed);

/* node_groups_kept.c */
void node_kept_load(NodeGroups *groups);
/* An own message is over: it is kept for those who were missed. */
void node_kept_spread(NodeGroups *groups, const GroupTask *task);
/* How it went; `words` NULL: it has it. */
void node_kept_brought(NodeGroups *groups, NodeAwaiter *awaiter, const char *words);
gint64 node_kept_due(const NodeGroups *groups);
void node_kept_step(NodeGroups *groups, gint64 now);
/* A message for this clone's own programs: at once, or when one listens. */
GroupNews node_kept_take(const GroupMessage *message, guint64 now_us, void *groups);
