#include "replica/signature_segments.h"

#include <string.h>

void
signature_segments_init(SignatureSegments *segments)
{
  *segments = (SignatureSegments){.piece = GENERATION_LITERAL_MAX};
  g_queue_init(&segments->ready);
}

void
signature_segments_clear(SignatureSegments *segments)
{
  g_queue_clear_full(&segments->ready, (GDestroyNotify)generation_step_free);
  g_clear_pointer(&segments->filling, generation_step_free);
  g_clear_pointer(&segments->literals, g_free);
  segments->run = (GenerationSegment){0};
}

static void
finish_step(SignatureSegments *segments)
{
  if (!segments->filling)
    return;
  g_queue_push_tail(&segments->ready, segments->filling);
  segments->filling->data =
      segments->literals ? g_bytes_new_take(g_steal_pointer(&segments->literals), segments->literal_length)
                         : NULL;
  segments->filling = NULL;
}

static void
add_segment(SignatureSegments *segments, const GenerationSegment *segment)
{
  if (segments->filling && segments->filling->segments->len == GENERATION_SEGMENTS_MAX)
    finish_step(segments);
  if (!segments->filling) {
    segments->filling = generation_step_new(GENERATION_SEGMENTS);
    segments->filling->segments = g_array_new(FALSE, FALSE, sizeof(GenerationSegment));
    segments->literal_length = 0;
  }
  g_array_append_val(segments->filling->segments, *segment);
}

static GenerationSegment *
last_segment(SignatureSegments *segments)
{
  GArray *all = segments->filling ? segments->filling->segments : NULL;
  return all ? &g_array_index(all, GenerationSegment, all->len - 1) : NULL;
}

static void
put_run(SignatureSegments *segments)
{
  if (segments->run.length)
    add_segment(segments, &segments->run);
  segments->run.length = 0;
}

/* Literals have room of their own from the first on, so that they stay where they are; what comes of them in
 * between is one segment all the same. */
void
signature_segments_literal(SignatureSegments *segments, const guint8 *bytes, gsize length, guint64 left)
{
  put_run(segments);
  while (length > 0) {
    if (segments->filling && segments->literal_length == segments->piece)
      finish_step(segments);
    gsize part = MIN(length, segments->piece - (segments->filling ? segments->literal_length : 0));
    GenerationSegment *last = last_segment(segments);
    if (!last || last->kind != GENERATION_LITERAL) {
      GenerationSegment segment = {.kind = GENERATION_LITERAL};
      add_segment(segments, &segment);
      last = last_segment(segments);
    }
    if (!segments->literals)
      segments->literals = g_malloc(MIN(segments->piece, left));
    guint8 *to = segments->literals + segments->literal_length;
    memcpy(to, bytes, part);
    last->bytes = last->length ? last->bytes : to;
    last->length += part;
    segments->literal_length += part;
    bytes += part;
    length -= part;
  }
}

static gboolean
run_goes_on(const GenerationSegment *run, const GenerationSegment *more)
{
  return run->length && run->kind == more->kind &&
         (run->kind == GENERATION_ZEROS ||
          (run->source == more->source && run->offset + run->length == more->offset));
}

void
signature_segments_known(SignatureSegments *segments, const GenerationSegment *known)
{
  if (run_goes_on(&segments->run, known)) {
    segments->run.length += known->length;
  } else {
    put_run(segments);
    segments->run = *known;
  }
}

void
signature_segments_end(SignatureSegments *segments)
{
  put_run(segments);
  finish_step(segments);
}
