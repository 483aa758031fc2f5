/* A generation: what a synchronisation did to the clone's copy of the device's tree, as numbered steps in an
 * order in which they can be done (docs/decisions/0014-generations.md; CloneCloud sections 3 and 4: the
 * Replicator's incremental checkpoints).
 *
 * The steps of an attempt are numbered from 1. A later step about a path replaces an earlier one, so that a
 * device that was cut off goes on after the last durable number with what its tree is by then. Paths are
 * relative to the tree's root, without "." and ".." and empty components; names need not be UTF-8. */
#pragma once

#include "replica/facts.h"

#define GENERATION_CONTENT_HASH 16           /* bytes: XXH3-128, canonical (big-endian) form */
#define GENERATION_SALT         16           /* bytes: what a proof's key is made from */
#define GENERATION_PROOF        16           /* bytes: Poly1305 */
#define GENERATION_LITERAL_MAX  (256u << 10) /* bytes of literals of one step */
#define GENERATION_SEGMENTS_MAX 4096u        /* of one step */
#define GENERATION_SOURCES_MAX  16u          /* of one content */
#define GENERATION_PATH_MAX     (32u << 10)  /* bytes; longer than PATH_MAX: paths are walked, not passed */
#define GENERATION_MESSAGE_MAX  (1u << 20)   /* bytes of one packed step */

typedef enum {
  GENERATION_LIFT = 1, /* what is at `path` waits under `hold`, with all that is in it */
  GENERATION_DROP,     /* what waits under `hold` is at `path`, where nothing is */
  GENERATION_REMOVE,   /* nothing is at `path` any more, nor in it */
  GENERATION_PLACE, /* `path` is this; where the same type is there already, only its metadata is set (files:
                       always) */
  GENERATION_OPEN,  /* a content for `path` begins, put together from `sources`, as they are now, and literals
                     */
  GENERATION_SEGMENTS, /* more of it */
  GENERATION_CLOSE,    /* it is complete, and replaces what was at `path` */
  GENERATION_LINK,     /* `path` is a further name of the inode at `to` */
  GENERATION_COMMIT,   /* the generation is complete */
  GENERATION_WHOLE,    /* OPEN, SEGMENTS and CLOSE in one: most files are small, and a step has its price */
  GENERATION_TAKE,     /* `path` gets a content that the clone host's public base has (public_base.h), and
                          replaces what was there */
} GenerationKind;

typedef struct {
  enum { GENERATION_LITERAL = 1, GENERATION_COPY, GENERATION_ZEROS } kind;
  guint64 length;
  const guint8 *bytes; /* LITERAL; whoever made the step owns them */
  guint source;        /* COPY: index into the sources */
  guint64 offset;      /* COPY: in the source */
} GenerationSegment;

typedef struct {
  GenerationKind kind;
  guint64 number;
  char *path;         /* all but SEGMENTS, CLOSE and COMMIT; what is said of OPEN and CLOSE is so of WHOLE */
  char *to;           /* LINK */
  guint64 hold;       /* LIFT and DROP */
  ReplicaFacts facts; /* PLACE, OPEN and TAKE; `size` of the latter two is that of the whole content */
  GPtrArray *sources; /* OPEN: of char *; NULL: none */
  GArray *segments;   /* SEGMENTS: of GenerationSegment; WHOLE: NULL for an empty content */
  GBytes *data;       /* keeps the literals (and need not be them); NULL: somebody else does */
  guint8 hash[GENERATION_CONTENT_HASH]; /* CLOSE and TAKE */
  guint8 salt[GENERATION_SALT];         /* TAKE */
  guint8 proof[GENERATION_PROOF];       /* TAKE: that the device has the content */
  guint64 generation;                   /* COMMIT */
  gint64 time_ns;
  guint64 nodes;
} GenerationStep;

GenerationStep *generation_step_new(GenerationKind kind);
void generation_step_free(GenerationStep *step);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationStep, generation_step_free)

/* The step as a message of at most GENERATION_MESSAGE_MAX bytes. Of the facts what can be set travels, and
 * `size` of OPEN and TAKE. */
GBytes *generation_step_pack(const GenerationStep *step);

/* The step in a message (hostile), which owns all that it points at. What comes out has every property above
 * that can be checked without the tree: paths are valid, and of the root ("") only a PLACE as a directory;
 * lengths are not 0 and add up within 63 bits; no more literals, segments and sources than the greatest
 * numbers; a source's index is below GENERATION_SOURCES_MAX (not below the number of the OPEN before).
 * NULL with HOSTILE. */
GenerationStep *generation_step_unpack(GBytes *message, GError **error);
