/* Broadcast to groups (tree.h says to whom by whom): sends this clone's messages, takes those of others, and
 * passes them on. What it needs of its node are four functions. One thread; nothing blocks.
 *
 * Who takes a message answers that it forwards it, and when everybody below has it, or was tried often
 * enough, who has not: so a report comes up the tree to the sender, along which nobody waits for more than
 * the four that it has sent to. Who cannot be reached, refuses, has another list of members than the sender
 * (the digest in the message tells), or falls silent later, is gone round: its children are adopted, and
 * those who have the message already only report. Who was not reached is tried again a few times, for itself
 * alone.
 *
 * So a message reaches every member of its *sender's* list that can be reached and has the sender in its own,
 * and the sender knows who else there is. A member that lies (says that it forwards, and does not) keeps a
 * message from those below it: members are trusted with that. */
#pragma once

#include "c2c/group_message.h"
#include "c2c/group_seen.h"

#define GROUPS_TASKS_MAX   256   /* messages that are being passed on, or were lately */
#define GROUPS_PATIENCE_MS 90000 /* of a sender: what nobody reported of until then was not reached */
#define GROUPS_TRIES       3     /* of who was not reached, after the first */

typedef struct Groups Groups;

/* One message on its way to one member. */
typedef struct GroupCarriage GroupCarriage;

/* One message that is being passed on, or was lately. */
typedef struct GroupTask GroupTask;

typedef struct {
  /* The origins in that group, as this clone's owner has them, its own among them or not: an array of
   * IdentityPublic, the caller's; NULL where there is no such group. */
  GArray *(*members)(const char *group, void *data);
  /* Brings `packed` to that member's clone, and tells what is answered to it: groups_answered(), or
   * groups_lost(), in this call or later. */
  void (*carry)(GroupCarriage *carriage, const IdentityPublic *member, GBytes *packed, void *data);
  /* Whether the message was here before, remembered beyond the end of the process; a new one is for this
   * clone's own listeners: once each. */
  GroupNews (*take)(const GroupMessage *message, guint64 now_us, void *data);
  /* A task is over: its report is there. */
  void (*over)(GroupTask *task, void *data);
} GroupsNode;

/* `sequence`: of the last message that was ever sent from here, 0 for none. */
Groups *groups_new(const IdentityPublic *origin, const IdentityKey *clone_key, guint64 sequence,
                   const GroupsNode *node, void *data);

/* Nothing is passed on any more; of carriages under way groups_lost() has to be said all the same. */
void groups_free(Groups *groups);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Groups, groups_free)

/* A message to all others of that group, the caller's. NULL with an error: NOT_FOUND for no such group, USAGE
 * as group_message_new(). */
GroupMessage *groups_make(Groups *groups, const char *group, const void *body, gsize length, GError **error);

/* Sends what groups_make() made, now or in an earlier life of the process. The task, borrowed; NULL with an
 * error: NOT_FOUND for no such group, MISMATCH where it has other members by now, FAILED while too many are
 * under way. */
GroupTask *groups_send(Groups *groups, const GroupMessage *message, GError **error);

/* The task of an own message, borrowed. NULL: it is over for long, or never was. */
GroupTask *groups_find(const Groups *groups, guint64 sequence);

/* A message has come. `sender_key`: the clone key of the newest record of message->origin. What is to be
 * answered, with words (the caller's) for who asks why; with FORWARDS the task whose report is to follow,
 * borrowed (it may be over already). */
GroupStatus groups_take(Groups *groups, const GroupMessage *message, const IdentityPublic *sender_key,
                        char **words, GroupTask **task);

/* What a member answered. FALSE: that was the last, the carriage is none any more. */
gboolean groups_answered(GroupCarriage *carriage, const GroupAnswer *answer);

/* The member was not reached, or is heard of no more. */
void groups_lost(GroupCarriage *carriage);

/* Whether a carriage waits for the first answer still. */
gboolean groups_is_asking(const GroupCarriage *carriage);

/* When groups_step() has something to do (CLOCK_MONOTONIC ns; G_MAXINT64: nothing), and that. */
gint64 groups_due(const Groups *groups);
void groups_step(Groups *groups, gint64 now_ns);

/* Messages that are still being passed on. */
guint groups_under_way(const Groups *groups);

/* A task lives while it is held. */
GroupTask *group_task_ref(GroupTask *task);
void group_task_unref(GroupTask *task);
const GroupMessage *group_task_message(const GroupTask *task);
gboolean group_task_is_over(const GroupTask *task);
guint group_task_reached(const GroupTask *task); /* below this clone, so far */
guint group_task_size(const GroupTask *task);    /* members, the sender with them */
/* Once it is over: places in the sender's tree, rising; and during over() who they are. */
const GArray *group_task_missed(const GroupTask *task);
const IdentityPublic *group_task_member(const GroupTask *task, guint place);
