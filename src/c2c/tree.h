/* Whom a message to a group goes to by whom: a tree over the group's members in which nobody sends to more
 * than four (TREE_DEGREE), the sender at its root. Everybody makes it for himself, the same, from the list of
 * members: they are sorted by a hash of (group, origin), and stand in a ring that begins with the sender.
 * Where all are there, n members cost n - 1 messages, the last of which passes through log4(n) others.
 *
 * A member that does not answer is skipped: who should have sent to it sends to its children in its place
 * (adopts them), and so on below. So every member that can be reached gets the message, each from one. */
#pragma once

#include <glib.h>

#include "identity/key.h"

#define TREE_DEGREE      4u
#define TREE_MEMBERS_MAX 65536u

typedef struct Tree Tree;

/* `members`: `count` origins in any order; twice the same counts once. The sender is one, named or not. NULL
 * for more than TREE_MEMBERS_MAX. */
Tree *tree_new(const char *group, const IdentityPublic *sender, const IdentityPublic *members, guint count);
void tree_free(Tree *tree);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Tree, tree_free)

/* Members, the sender with them: at places 0 (the sender) to this - 1. */
guint tree_size(const Tree *tree);
const IdentityPublic *tree_member(const Tree *tree, guint place);

/* FALSE where `origin` is no member. */
gboolean tree_find(const Tree *tree, const IdentityPublic *origin, guint *place);

/* The places that `place` sends to; how many. */
guint tree_children(const Tree *tree, guint place, guint children[TREE_DEGREE]);

/* Whether a message to `place` passes `above` or goes to it; and how many such places there are. */
gboolean tree_is_below(guint place, guint above);
guint tree_count(const Tree *tree, guint above);

/* What tells two lists of members apart (BLAKE2b-256 of the sorted origins). */
#define TREE_DIGEST_LENGTH 32
void tree_digest(const Tree *tree, guint8 digest[TREE_DIGEST_LENGTH]);

/* What one member has to do for one message: send to tree_duty_next() until there is none left, and say of
 * whom could not be reached that it was missed, which adds its children. */
typedef struct TreeDuty TreeDuty;
TreeDuty *tree_duty_new(const Tree *tree, guint place); /* the tree must outlive it */
void tree_duty_free(TreeDuty *duty);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TreeDuty, tree_duty_free)
gboolean tree_duty_next(TreeDuty *duty, guint *place);
void tree_duty_missed(TreeDuty *duty, guint place);
