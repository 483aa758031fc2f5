/* What the files of tree_watch.h share. */
#pragma once

#include "base/io.h"
#include "replica/tree_mounts.h"
#include "replica/tree_watch.h"

typedef struct TreeFanotify TreeFanotify;
typedef struct TreeInotify TreeInotify;

struct TreeWatch {
  char *root;
  const TreeRules *rules;
  TreeWatchWays ways;
  TreeDirty *dirty;
  GPtrArray *mounts; /* of TreeMount; NULL: they cannot be read */
  Fd mountinfo;      /* tells when it changes */
  TreeFanotify *fanotify;
  TreeInotify *inotify; /* one of these, or none */
  char *text;
  gboolean blind; /* nobody tells, or not of all of it */
  gint64 begun;   /* when it was last tried: monotonic us */
};

/* Of 64 KiB: a kernel's queue of 16,384 events is shorter, and what comes while it is read is for the next
 * time. */
#define TREE_WATCH_READS 256u

/* Adds the directory, unless the rules leave it or something above it out. */
void tree_watch_add(TreeWatch *watch, const char *path);

/* Whether the rules leave a directory or something above it out. */
gboolean tree_watch_omits(const TreeWatch *watch, const char *path);

/* Each NULL with the reason in *why, for people. */
TreeFanotify *tree_fanotify_new(TreeWatch *watch, char **why);
void tree_fanotify_free(TreeFanotify *fanotify);
int tree_fanotify_fd(const TreeFanotify *fanotify);
void tree_fanotify_take(TreeFanotify *fanotify);

TreeInotify *tree_inotify_new(TreeWatch *watch, char **why);
void tree_inotify_free(TreeInotify *inotify);
int tree_inotify_fd(const TreeInotify *inotify);
guint tree_inotify_count(const TreeInotify *inotify);
/* FALSE: it has lost track, and is to be made anew; *why is a static text. */
gboolean tree_inotify_take(TreeInotify *inotify, const char **why);
