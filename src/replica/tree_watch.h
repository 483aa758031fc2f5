/* Who tells what changes in a tree (docs/decisions/0017-agent.md): fanotify(7) for whole file systems where
 * that is permitted and most of the file system is the tree, inotify(7) on each directory otherwise, and
 * where neither can be had, nobody. What is told is only which directories changed; tree_scan() looks at
 * them.
 *
 * Not told by anybody: what is written through a mapping that stays, until the file is let go of; and what
 * others change in a file system that this kernel shares with them. */
#pragma once

#include "replica/tree_dirty.h"
#include "replica/tree_rules.h"

typedef struct TreeWatch TreeWatch;

typedef enum {
  TREE_WATCH_FANOTIFY = 1 << 0,
  TREE_WATCH_INOTIFY = 1 << 1,
} TreeWatchWays;

/* Watches the tree at `root` (absolute, without links), but for what the rules (the caller's) leave out, by
 * one of `ways`. What changes goes to `dirty` (the caller's), which holds everything at first: what changed
 * before nobody has seen. */
TreeWatch *tree_watch_new(const char *root, const TreeRules *rules, TreeWatchWays ways, TreeDirty *dirty);
void tree_watch_free(TreeWatch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TreeWatch, tree_watch_free)

/* A descriptor that is readable while there is something to take; -1: there never is. It may be another after
 * tree_watch_take(). */
int tree_watch_fd(const TreeWatch *watch);

/* How long it may be left unread, in ms, so that the kernel's queue hardly ever overflows. */
guint tree_watch_patience_ms(const TreeWatch *watch);

/* Takes what has been told so far: all that changed before the call is in `dirty` afterwards. Where nobody
 * tells, that is everything. */
void tree_watch_take(TreeWatch *watch);

/* Whether changes are told at all; how, or why not, for people: "inotify, 5012 directories". */
gboolean tree_watch_tells(const TreeWatch *watch);
const char *tree_watch_text(TreeWatch *watch);
