/* The other end of a mux, which says what an input says: half of it makes sense, so that it gets far. */
#pragma once

#include "c2c/mux_state.h"
#include "input.h"

typedef struct {
  Link *link;
  gboolean dialler;
  guint32 next; /* the number of its next stream */
  Input *input;
  const char *const *services; /* that it opens; ends with NULL */
} Speaker;

/* Says something, and takes what was said to it. */
void speaker_speak(Speaker *speaker);

/* Data on a stream of a low number: a packet of c2c/local_frame.h. */
void speaker_say_frame(Speaker *speaker, const guint8 *packet, gsize length);
