/* What the parts of a store share (generation_store.h). */
#pragma once

#include "base/io.h"
#include "replica/generation_lease.h"
#include "replica/generation_log.h"
#include "replica/generation_store.h"

#define GENERATION_ATTEMPT "attempt" /* the log's name */

struct GenerationStore {
  Fd directory, layers, lock;
  Fd base; /* the host's public base; -1: it has none */
  GenerationHead *head;
  guint64 log_limit;
  guint64 last_layer; /* the greatest number that a layer ever had, as far as this process knows */
  /* The attempt. `apply` is NULL while its layer is not to be written to, be it that there is none or that it
   * has to be made anew. */
  GenerationLog *log;
  GenerationApply *apply;
  GenerationAttempt attempt;
  GenerationLease *lease; /* of the generation below */
  GArray *parts;          /* of guint64, top first: layers that are complete */
  guint64 top;            /* the layer that is written to; 0: none */
  guint64 bytes;          /* of contents in the complete ones */
  GenerationLosses losses;
};

/* Makes a directory for a layer with a number of its own. A descriptor, or -1 with errno. */
int generation_store_make_layer(GenerationStore *store, guint64 *number);
int generation_store_open_layer(GenerationStore *store, guint64 number);

/* Makes the file system that the store is on write everything out. FALSE with an error. */
gboolean generation_store_flush(GenerationStore *store, GError **error);

/* Makes `head` (which becomes the store's) the list of generations, and removes the layers that nothing names
 * any more. FALSE with an error, when the old list still holds; a layer that cannot be removed is none. */
gboolean generation_store_move_head(GenerationStore *store, GenerationHead *head, GError **error);

/* Continues the attempt whose log there is, if there is one; also completes one that had come to its end. */
gboolean generation_attempt_recover(GenerationStore *store, GError **error);
void generation_attempt_clear(GenerationStore *store);

GenerationHead *generation_head_copy(const GenerationHead *head);
