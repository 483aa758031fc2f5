/* What of the device's tree is no longer as the clone was told: a walk against the index. No content is read;
 * what is said of a path is only that it must be looked at. */
#pragma once

#include "replica/tree_index.h"
#include "replica/tree_rules.h"

/* A path of the device at which something is to be told. */
typedef struct {
  char *path;
  ReplicaType type;
  gint64 node;    /* what the clone has of it, or NONE: it is new */
  gint64 in_way;  /* what the clone has at the path and is to go, or NONE */
  gint64 basis;   /* of a file without a node: one whose content may be like it, or NONE */
  gboolean moved; /* the node is elsewhere in the clone, or held */
  guint64 size;   /* of a file: bytes */
  gint64 mtime_ns;
} TreeChange;

typedef struct {
  GArray *changes;  /* of TreeChange, directories before what is in them */
  GHashTable *gone; /* nodes (gint64 *) that are no more, only the topmost */
  GPtrArray *notes; /* of strings: what is not replicated though no rule says so, and why */
  guint64 seen;     /* entries that were looked at */
  guint64 bytes;    /* of the files among the changes */
} TreePlan;

void tree_plan_free(TreePlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TreePlan, tree_plan_free)

/* Walks the tree below `root`: all of it, or, where `directories` (paths, NULL-terminated) is not NULL, only
 * the entries of those, and all of what is new in them or has moved there. File systems that the kernel makes
 * up, and those in memory, are not entered where they are mounted below the root. A directory that cannot be
 * read stays in the clone as it is, with a note. NULL with an error of the root or of the index. */
TreePlan *tree_scan(TreeIndex *index, const TreeRules *rules, int root, const char *const *directories,
                    GError **error);
