/* What node_groups.c (messages on their way), node_groups_kept.c (those kept for others) and
 * node_groups_given.c (those for this clone's programs) share. */
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
  GHashTable *given;    /* letter's id → Given (node_groups_given.c) */
  gint64 offer_at;      /* when programs are offered again what is kept for them; G_MAXINT64: nothing is */
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
void node_groups_tell(GError *error); /* takes it; NULL: says nothing */

/* node_groups_given.c */
GHashTable *node_given_new(void);
/* A message for this clone's own programs, kept before anybody else hears of it. */
GroupNews node_given_take(const GroupMessage *message, guint64 now_us, void *groups);
void node_given_step(NodeGroups *groups, gint64 now);
void node_given_clear(NodeGroups *groups);
