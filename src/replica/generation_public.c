/* Contents that the clone's host has in its public base are named instead of sent. */
#include <string.h>

#include "replica/generation_steps_private.h"

#define MISSES_MAX                                                                                           \
  64u /* contents that were not there after all: then what was told of the base is worth nothing */

void
generation_steps_set_public(GenerationSteps *steps, const PublicSet *set,
                            const guint8 salt[static GENERATION_SALT])
{
  steps->public = set;
  memcpy(steps->salt, salt, sizeof steps->salt);
}

void
generation_public_missed(GenerationSteps *steps)
{
  if (steps->public && ++steps->misses > MISSES_MAX)
    steps->public = NULL;
}

static gboolean
may_have(const PublicSet *set, const ReplicaFacts *facts)
{
  return set && facts->size >= PUBLIC_BASE_MIN &&
         (facts->size < PUBLIC_BASE_LARGE || public_set_has(set, public_base_size_key(facts->size)));
}

static void
prove(const guint8 *bytes, gsize length, gpointer proof)
{
  public_proof_add(proof, bytes, length);
}

/* Its sums, for what is told of it later, and the proof that it is here, in one pass. NULL where it cannot be
 * read. */
static Signature *
sign_and_prove(GenerationSteps *steps, GenerationReading *reading, guint8 tag[static GENERATION_PROOF])
{
  PublicProof proof;
  g_autoptr(GError) error = NULL;
  public_proof_begin(&proof, steps->salt);
  reading->hashed = FALSE; /* the search reads it anew */
  signature_search_begin(steps->search, reading->fd, reading->facts.size, NULL, 0);
  signature_search_set_reader(steps->search, prove, &proof);
  for (GenerationStep *step; (step = signature_search_next(steps->search, &error));)
    generation_step_free(step);
  signature_search_set_reader(steps->search, NULL, NULL);
  public_proof_end(&proof, tag);
  return error || signature_search_short(steps->search) ? NULL : signature_search_end(steps->search);
}

static void
emit_take(GenerationSteps *steps, const GenerationReading *reading, const Signature *signature,
          const guint8 tag[static GENERATION_PROOF], gboolean dirty)
{
  GenerationStep *step = generation_steps_at(GENERATION_TAKE, reading->path);
  replica_facts_copy(&step->facts, &reading->facts);
  memcpy(step->hash, signature->hash, sizeof step->hash);
  memcpy(step->salt, steps->salt, sizeof step->salt);
  memcpy(step->proof, tag, sizeof step->proof);
  guint64 number = generation_steps_emit(steps, step);
  gint64 id = generation_steps_close(steps, number, reading->node, reading->path, &reading->facts,
                                     signature->hash, dirty);
  tree_index_sign(steps->index, id, signature);
  steps->progress.taken += reading->facts.size;
}

gboolean
generation_public_tell(GenerationSteps *steps, GenerationReading *reading)
{
  guint8 tag[GENERATION_PROOF], hash[GENERATION_CONTENT_HASH];
  /* What the clone has elsewhere it need not be told to fetch. */
  if (reading->like != TREE_NONE || !may_have(steps->public, &reading->facts) ||
      !generation_reading_hash(steps, reading, hash) || !public_set_has(steps->public, public_base_key(hash)))
    return FALSE;
  g_autoptr(Signature) signature = sign_and_prove(steps, reading, tag);
  if (!signature || memcmp(signature->hash, hash, sizeof hash) != 0)
    return FALSE;
  emit_take(steps, reading, signature, tag, generation_reading_dirty(reading));
  return TRUE;
}
