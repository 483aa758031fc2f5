/* What the files of generation_steps.h share. */
#pragma once

#include "base/io.h"
#include "replica/generation_steps.h"
#include "replica/public_base.h"
#include "replica/tree_walk.h"

/* The names of one inode, of which the clone has at least `path`. */
typedef struct GenerationGroup {
  char *path;
  GHashTable *members; /* nodes (gint64 *) that are names of it in the clone */
} GenerationGroup;

/* A content that is being told. */
typedef struct {
  char *path;
  Fd fd;
  ReplicaFacts facts;
  gint64 read_ns; /* before the facts were read */
  guint tries;
  gboolean changed; /* while it was read */
  gboolean hashed;  /* the search has just read it for its hash */
  gint64 node;      /* what the clone has at the path, or NONE */
  gint64 like;      /* one that has this very content, by its hash, or NONE */
  gint64 basis;     /* another one that may be like it, or NONE */
  Signature *signatures[GENERATION_SOURCES_MAX];
  GPtrArray *sources; /* their paths */
  guint8 sources_hash[GENERATION_CONTENT_HASH];
  gboolean may_be_told; /* while nothing was told: it may prove to be what the clone has */
  gboolean opened;      /* its OPEN was told */
  GenerationStep *held; /* its first segments, while it was not */
  gboolean hash_known;  /* `hash` is the content's, before anything of it is told */
  guint8 hash[GENERATION_CONTENT_HASH];
  guint64 position, skip_to; /* bytes told; bytes that were told before a cut */
} GenerationReading;

typedef enum { STEPS_CONTINUE, STEPS_LIFT, STEPS_SHAPE, STEPS_FILL, STEPS_REMOVE, STEPS_AGAIN } StepsPhase;

struct GenerationSteps {
  TreeIndex *index;
  int root;
  TreePlan *plan;
  guint64 number; /* of the next step */
  StepsPhase phase;
  guint at; /* in the phase */
  TreeNear near;
  GArray *lifts;          /* of Lift */
  GArray *removals;       /* of gint64 */
  GHashTable *gone_files; /* parent (gint64 *) to GArray of gint64: what is gone in it */
  GHashTable *groups;     /* inode key to GenerationGroup */
  GQueue closes;          /* of those CLOSE and TAKE that are not durable, by number */
  GQueue again;           /* paths (char *) to send whole */
  char *relink;           /* the path whose content is sent again, and whose other names follow */
  GPtrArray *later;       /* paths (char *) of contents that were put off */
  guint64 later_size;     /* bytes from which they are; 0: never */
  char *continued;        /* the path whose content went on after a cut, or NULL */
  GenerationReading *reading;
  SignatureSearch *search;
  const PublicSet *public; /* what the clone host's public base has; NULL: nothing */
  guint8 salt[GENERATION_SALT];
  guint misses; /* of it */
  SignatureTick tick;
  gpointer tick_data;
  gint64 ticked_ns;
  GQueue ready; /* of GenerationStep * */
  char *parent_path;
  gint64 parent; /* the node at parent_path */
  GenerationProgress progress;
};

/* Numbers a step and makes it the next. */
guint64 generation_steps_emit(GenerationSteps *steps, GenerationStep *step);
GenerationStep *generation_steps_at(GenerationKind kind, const char *path);

/* The node of the directory that holds `path`; NONE where the clone has none. *name is the last component. */
gint64 generation_steps_parent(GenerationSteps *steps, const char *path, const char **name);

/* What the clone has at `path`. */
gboolean generation_steps_told(GenerationSteps *steps, const char *path, TreeNode *node);

/* The clone has this at `path` after step `number`; `id` is what it had there before, or NONE. */
gint64 generation_steps_put(GenerationSteps *steps, guint64 number, gint64 id, const char *path,
                            const ReplicaFacts *facts, const guint8 *hash, gboolean dirty);

/* The same of a content, with the step that completes it. */
gint64 generation_steps_close(GenerationSteps *steps, guint64 number, gint64 id, const char *path,
                              const ReplicaFacts *facts, const guint8 *hash, gboolean dirty);

/* Metadata, or a node that has no content. What is told already is not told again: FALSE. */
gboolean generation_steps_tell(GenerationSteps *steps, const char *path, const TreeNode *told,
                               const ReplicaFacts *facts, gboolean dirty);

/* The clone has several names of what was here, and this is no longer one of them. */
gboolean generation_steps_parted(const TreeNode *told, const ReplicaFacts *facts);

/* The clone loses that node. */
void generation_steps_remove(GenerationSteps *steps, gint64 node);

/* `path` is left as it is for now, with the reason. */
void generation_steps_leave(GenerationSteps *steps, const char *path, int failure);

/* The groups of those inodes of the device that have several names, by inode. */
GHashTable *generation_groups_new(void);
GenerationGroup *generation_group_find(GenerationSteps *steps, const ReplicaFacts *facts);

/* `path` is the first name of an inode that is told; the others that the clone has of it, `names` (of
 * TreeNode, or NULL for none), stay in the group. */
void generation_group_make(GenerationSteps *steps, const char *path, const ReplicaFacts *facts,
                           const GArray *names);

/* The inode that node `id` is a name of is made anew with the last step: `names`, but for that one, are no
 * longer names of the same, also if a cut comes before they are linked again. */
void generation_group_part(GenerationSteps *steps, gint64 id, const GArray *names);

/* `path`, where the clone has `told`, is to be a name of the group. */
void generation_group_link(GenerationSteps *steps, GenerationGroup *group, const char *path,
                           const TreeNode *told, const ReplicaFacts *facts, gboolean dirty);

/* Links the other names of the content that was sent again (steps->relink). */
void generation_group_link_again(GenerationSteps *steps);

/* Opens the file at `path`. 0 with *reading, or an errno. */
int generation_reading_open(GenerationSteps *steps, const char *path, GenerationReading **reading);

/* Tells of the file, which becomes the steps' own: nothing at all if it is as it was, or its metadata, or its
 * content, with which generation_reading_more() goes on. TRUE: it will be an inode of its own in the clone.
 */
gboolean generation_reading_tell(GenerationSteps *steps, GenerationReading *reading, const TreeNode *told);

/* Tells the whole content, whatever the clone has. FALSE: it cannot be read, and is left. */
gboolean generation_reading_tell_whole(GenerationSteps *steps, const char *path);

/* Whether what was read may be older than what is there. */
gboolean generation_reading_dirty(GenerationReading *reading);

/* The hash of the content as it is before it is told; FALSE where it cannot be read. */
gboolean generation_reading_hash(GenerationSteps *steps, GenerationReading *reading,
                                 guint8 hash[static GENERATION_CONTENT_HASH]);

/* Tells of a content that the public base has. FALSE: it has not, and nothing was told. */
gboolean generation_public_tell(GenerationSteps *steps, GenerationReading *reading);
/* A content was not what it should have been. */
void generation_public_missed(GenerationSteps *steps);

void generation_reading_more(GenerationSteps *steps);
void generation_reading_free(GenerationReading *reading);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationReading, generation_reading_free)

/* Goes on with a content that was half told, if it and its sources are what they were; `basis` may be one. */
gboolean generation_reading_continue(GenerationSteps *steps, const TreePart *part, gint64 basis);
