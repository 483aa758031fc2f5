/* What the files of device_restore.h share. */
#pragma once

#include "replica/tree_walk.h"
#include "replicator/device_restore.h"

#define DEVICE_RESTORE_DRAFT ".doppel-restoring-" /* and the node's number: what is not complete */
#define DEVICE_RESTORE_ASIDE ".doppel-before"

#define DEVICE_RESTORE_PART_MIN (1u << 20) /* bytes: a draft that is smaller begins anew */

typedef struct {
  gint64 id;
  char *path;
} RestoringDirectory;

/* A file whose content is to come. */
typedef struct {
  TreeNode node;
  char *path;
  guint64 offset; /* so much of it is there already */
  guint tries;
} RestoringFile;

typedef struct {
  Link *link;
  CloneIndex *index;
  const DeviceRestoreOptions *options;
  DeviceRestored *restored;
  DeviceRestoreProgress progress;
  int root;
  guint64 root_dev;
  gboolean elsewhere; /* something is on another file system than the root */
  char *own;          /* where doppel keeps this device's keys, below the root; NULL: not there */
  TreeNear near;
  SignatureSearch *search;
  GPtrArray *directories; /* of RestoringDirectory, each before what is in it */
  GPtrArray *waiting;     /* of RestoringFile */
  guint64 waiting_bytes;
  guint64 unsaved; /* bytes that were written since the index was */
  gint64 saved_at; /* CLOCK_MONOTONIC ns */
} DeviceRestoring;

void restoring_report(DeviceRestoring *restoring);

/* Sets `error` to what errno says of a path. FALSE. */
gboolean restoring_refused(DeviceRestoring *restoring, const char *path, GError **error);

/* Writes down what is done when it is time, or `now`: to the disk first, then in the index. */
gboolean restoring_save(DeviceRestoring *restoring, gboolean now, GError **error);

/* device_restore_place.c: one path. */

/* A directory to hold what is in it; its own facts are set by restoring_complete_directory(), after that. */
gboolean restoring_make_directory(DeviceRestoring *restoring, const TreeNode *node, const char *path,
                                  GError **error);
gboolean restoring_complete_directory(DeviceRestoring *restoring, const RestoringDirectory *directory,
                                      GError **error);

/* What is neither file nor directory. */
gboolean restoring_make_node(DeviceRestoring *restoring, const TreeNode *node, const char *path,
                             GError **error);

/* Whether the file is there already, with its content; then it is complete afterwards. -1 with an error. */
int restoring_adopt(DeviceRestoring *restoring, const TreeNode *node, const char *path, GError **error);

/* The draft of a file: one that was there is continued from *offset. A descriptor, or -1 with errno. */
int restoring_open_draft(DeviceRestoring *restoring, const TreeNode *node, const char *path, guint64 *offset);

/* Takes the draft for the file where its content is what it should be (1), and removes it otherwise (0). -1
 * with an error. */
int restoring_place_draft(DeviceRestoring *restoring, const TreeNode *node, const char *path, int draft,
                          GError **error);

/* device_restore_fetch.c: contents, many files at a time. */
gboolean restoring_want(DeviceRestoring *restoring, const TreeNode *node, const char *path, GError **error);
/* Fetches what is wanted. */
gboolean restoring_fetch(DeviceRestoring *restoring, GError **error);
void restoring_file_free(gpointer file);
