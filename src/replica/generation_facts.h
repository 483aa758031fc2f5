/* Owners, modes, attributes and times of a clone's files, as far as this machine and user can keep them. */
#pragma once

#include "replica/facts.h"

/* What could not be kept, for the report to the device's user. Not having it is no error: the content is
 * there, and everything that follows goes on. */
typedef enum {
  GENERATION_LOST_OWNER,      /* not root, or an id without a place in this user namespace; set-id bits, which
                                 would mean somebody else's rights then, are not set either */
  GENERATION_LOST_ATTRIBUTES, /* the file system keeps no such attribute, or none so large; capabilities
                                 without CAP_SETFCAP */
  GENERATION_LOST_NODE, /* a device node without CAP_MKNOD; and a character device 0:0, which on an overlay
                           says that nothing is there. An empty file stands for it. */
  GENERATION_LOST_KINDS,
} GenerationLost;

typedef struct {
  guint64 count[GENERATION_LOST_KINDS];
  char *first[GENERATION_LOST_KINDS]; /* a path each, as an example */
} GenerationLosses;

void generation_losses_clear(GenerationLosses *losses);
void generation_losses_add(GenerationLosses *losses, GenerationLost kind, const char *path);

/* Adds what `from` counts to `to`, and empties it. */
void generation_losses_move(GenerationLosses *to, GenerationLosses *from);

/* Sets all metadata of `name` in `directory`, which is of the facts' type (or stands for it), and notes what
 * cannot be. `path` is for the note. 0, or an errno: of the disk, not of permissions. */
int generation_facts_set(int directory, const char *name, const ReplicaFacts *facts, const char *path,
                         GenerationLosses *losses);

/* Makes the node that `facts` tell of, of any type but files and directories, without its metadata.
 * *stands_in: an empty file was made for it, which has the node's type and number in the attribute
 * user.doppel.node. 0, or an errno. */
int generation_node_make(int directory, const char *name, const ReplicaFacts *facts, gboolean *stands_in);

/* Turns the facts of an empty file that stands for a node into those of the node. `directory` and `name` are
 * the file's. */
void generation_node_recognise(int directory, const char *name, ReplicaFacts *facts);
