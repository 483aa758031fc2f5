/* Does the steps of an attempt (generation.h) in the top layer of a stack, below which nothing escapes: every
 * name is opened by itself, never through a symbolic link, never onto another mount (openat2(2)).
 *
 * A layer has three things in it: `tree`, the device's; `hold`, where lifted things wait under their numbers;
 * and names for what is being made, of which a complete layer has none. The same stack of `tree` directories
 * is what overlayfs is given to show the generation. With only one layer, `tree` is simply the tree.
 *
 * Root is needed for owners and device nodes, CAP_SETFCAP for capabilities; what cannot be had is counted as
 * lost (generation_facts.h) and the rest is done. Who is not root, even in a user namespace, also cannot go
 * through directories of the device that their owner may not read, write and search (EACCES): enter a user
 * namespace with the id mapped to root for that. */
#pragma once

#include "replica/generation.h"
#include "replica/generation_facts.h"
#include "replica/generation_stack.h"

typedef struct GenerationApply GenerationApply;

typedef enum {
  GENERATION_REFUSED, /* an error: what the layer holds now is nothing, and it must be made anew */
  GENERATION_DONE,
  GENERATION_MISMATCH, /* of a CLOSE: the hash is another; of a TAKE: there is no such content. `path` is what
                          it was before. The attempt goes on: the device sends the file whole. */
  GENERATION_COMPLETE, /* of a COMMIT: nothing waits any more, and the count is right */
} GenerationOutcome;

#define GENERATION_TREE "tree"
#define GENERATION_HOLD "hold"

/* Continues in the first layer of `stack` (which becomes the object's), whose tree has `nodes` nodes. NULL
 * with an error. */
GenerationApply *generation_apply_new(GenerationStack *stack, guint64 nodes, GError **error);
/* Where a TAKE's contents are: the directory of a public base (public_base.h), which stays the caller's; -1:
 * there are none, as at first. */
void generation_apply_set_base(GenerationApply *apply, int base);
void generation_apply_free(GenerationApply *apply);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationApply, generation_apply_free)

/* Does one step, as generation_step_unpack() lets it pass. Errors: MISMATCH where the tree is not what the
 * step takes for granted (the device's index is wrong), HOSTILE for steps that cannot follow each other,
 * FAILED where the system refuses (a full disk).
 */
GenerationOutcome generation_apply_step(GenerationApply *apply, const GenerationStep *step, GError **error);

/* Whether a content is open: then the layer cannot be closed yet. */
gboolean generation_apply_in_content(const GenerationApply *apply);

/* Removes from a layer whose attempt is complete all that is not the tree; `whole` FALSE: but not what waits.
 * 0, or an errno. */
int generation_apply_clean(int layer, gboolean whole);

guint64 generation_apply_nodes(const GenerationApply *apply);      /* in the tree, with what waits */
guint64 generation_apply_bytes(const GenerationApply *apply);      /* of contents that were put together */
GenerationLosses *generation_apply_losses(GenerationApply *apply); /* may be moved away */
