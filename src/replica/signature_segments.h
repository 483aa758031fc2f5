/* What a search finds becomes steps: copies and zeros that go on where the last ended are one segment, and a
 * step has so many segments and literals at most (replica/generation.h). */
#pragma once

#include "replica/generation.h"

typedef struct {
  gsize piece;           /* bytes of literals of a step, at most */
  GenerationSegment run; /* the copy or zeros that may still grow; length 0: none */
  GenerationStep *filling;
  guint8 *literals; /* of `filling` */
  gsize literal_length;
  GQueue ready; /* of GenerationStep *, whoever takes one's */
} SignatureSegments;

void signature_segments_init(SignatureSegments *segments);
/* Drops what is there, for another content. */
void signature_segments_clear(SignatureSegments *segments);

/* The next bytes of the content, of which `left` are left, these among them. */
void signature_segments_literal(SignatureSegments *segments, const guint8 *bytes, gsize length, guint64 left);
/* The next bytes are a copy, or zeros. */
void signature_segments_known(SignatureSegments *segments, const GenerationSegment *known);
/* Nothing follows. */
void signature_segments_end(SignatureSegments *segments);
