/* A plan (tree_scan.h) as the steps of an attempt, one after the other; contents are read as they go. The
 * index is changed with each step, as if it had arrived.
 *
 * Order: what moves is lifted, deepest first; then, directories before what is in them, what is in the way is
 * removed, what was lifted is dropped, and directories are placed; then contents, nodes and links; then what
 * is gone is removed, so that it could be copied from until then. A content that a cut left half told goes on
 * first. Paths that changed again since the scan, or cannot be read, are left for the next generation. */
#pragma once

#include "replica/public_set.h"
#include "replica/tree_scan.h"

typedef struct GenerationSteps GenerationSteps;

/* Steps for the tree at `root` (the caller's, like `plan` and `index`), numbered from `number`, which is one
 * more than the last durable step: tree_index_back_to() was asked for that, and the plan made after it. */
GenerationSteps *generation_steps_new(TreeIndex *index, int root, TreePlan *plan, guint64 number);
void generation_steps_free(GenerationSteps *steps);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationSteps, generation_steps_free)

/* Contents that are new, of files of this size (bytes) and above, are put off: the clone keeps what it has,
 * or nothing, and the index says so. A name, a move, or metadata of a content that seems to be as it was is
 * told. 0, which is how it begins: nothing is put off. */
void generation_steps_put_off(GenerationSteps *steps, guint64 size);

/* The paths of what was put off so far: of char *, the steps'. */
const GPtrArray *generation_steps_later(const GenerationSteps *steps);

/* While contents are read that have nothing to tell, generation_steps_next() does not return for long. Then
 * `tick` is called about every 100 ms: to look after the link, say. It may use all of this but
 * generation_steps_next() and generation_steps_free(). NULL: nothing is called. */
void generation_steps_set_tick(GenerationSteps *steps, SignatureTick tick, gpointer user_data);

/* Steps have at most so many bytes of contents from now on. */
void generation_steps_set_piece(GenerationSteps *steps, gsize piece);

/* What the clone host's public base has (the caller's, until the steps are freed): such contents are told by
 * TAKE. `salt` is to be drawn anew for each synchronisation, from randomness. */
void generation_steps_set_public(GenerationSteps *steps, const PublicSet *set,
                                 const guint8 salt[static GENERATION_SALT]);

/* The next step; NULL when there is no more to tell, or with an error of the index. The index is to be saved
 * (tree_index_save()) before a step is sent. */
GenerationStep *generation_steps_next(GenerationSteps *steps, GError **error);

/* The steps up to `number` are durable at the clone's end, and none of them was a mismatch. */
void generation_steps_durable(GenerationSteps *steps, guint64 number);

/* The content that step `number` closed or took was not what it should have been: it will be sent whole.
 * FALSE where no such step is known. */
gboolean generation_steps_mismatch(GenerationSteps *steps, guint64 number);

/* The COMMIT, when there is no more to tell; when it was done, tree_index_committed(). */
GenerationStep *generation_steps_commit(GenerationSteps *steps, guint64 generation);

/* That COMMIT was not done: its number is the next step's. */
void generation_steps_uncommit(GenerationSteps *steps);

typedef struct {
  guint64 changes, changes_done; /* paths */
  guint64 bytes, bytes_done;     /* of contents: of the files to look at, and looked at */
  guint64 literals;              /* bytes of contents that were told as such */
  guint64 taken;                 /* bytes of contents that were named instead: the public base has them */
  guint64 left;                  /* paths that were left for the next generation */
  guint64 later_bytes;           /* of contents that were put off */
} GenerationProgress;

GenerationProgress generation_steps_progress(const GenerationSteps *steps);
