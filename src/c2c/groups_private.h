/* What groups.c (this clone's messages, and those of others) and group_task.c (one message on its way) share.
 */
#pragma once

#include "c2c/groups.h"

#define GROUP_HOP_LEAST 3000 /* ms that a report is waited for, at least */

struct Groups {
  IdentityPublic origin;
  const IdentityKey *clone_key;
  const GroupsNode *node;
  void *data;
  guint64 sequence; /* of the last message sent */
  GPtrArray *tasks; /* the oldest first */
};

struct GroupTask {
  Groups *groups; /* NULL once they were freed */
  GroupMessage *message;
  Tree *tree; /* NULL some time after it is over */
  TreeDuty *duty;
  GPtrArray *carriages;
  GArray *again;   /* of Again (group_task.c) */
  GArray *missed;  /* places */
  gint64 deadline; /* CLOCK_MONOTONIC ns; once it is over: of the task */
  guint asking;    /* carriages without an answer */
  guint reached;   /* by carriages that have ended */
  guint size;      /* of the tree */
  guint place;     /* this clone's */
  guint holders;
  gboolean over, busy /* in group_task_advance() */;
};

/* Takes the tree, in which this clone stands at `place`; the task is borrowed. */
GroupTask *group_task_new(Groups *groups, Tree *tree, guint place, const GroupMessage *message,
                          guint patience_ms);

/* Hands the message to those whom it is this clone's turn to send to, a few at a time. */
void group_task_advance(GroupTask *task, gint64 now);

/* What has not come until now does not count any more. */
void group_task_give_up(GroupTask *task);

/* When one of these has something to do (CLOCK_MONOTONIC ns). */
gint64 group_task_due(const GroupTask *task);

/* Nobody waits for its carriages any more: each is freed by whoever carries it. */
void group_task_let_go(GroupTask *task);
