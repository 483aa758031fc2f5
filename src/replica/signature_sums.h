/* The two sums of a block (signature.h). */
#pragma once

#include <string.h>
#include <xxhash.h>

#include "replica/signature.h"

static inline void
signature_free_hasher(XXH3_state_t *state)
{
  XXH3_freeState(state);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(XXH3_state_t, signature_free_hasher)

/* The sum of the bytes, and the sum of each byte times its distance from the end: both modulo 2^32. */
typedef struct {
  guint32 sum, rank;
} SignatureRoll;

SignatureRoll signature_roll_start(const guint8 *bytes, gsize length);

static inline void
signature_roll_on(SignatureRoll *roll, gsize length, guint8 out, guint8 in)
{
  roll->sum += in - out;
  roll->rank += roll->sum - (guint32)length * out;
}

/* The weak sum: multiplied, since of the two parts only the lower bits differ much between blocks. */
static inline guint32
signature_weak(SignatureRoll roll)
{
  return (((guint64)roll.rank << 32 | roll.sum) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15)) >> 32;
}

static inline guint64
signature_strong(const SignatureKey *key, const guint8 *bytes, gsize length)
{
  return XXH3_64bits_withSecret(bytes, length, key->secret, sizeof key->secret) >> 16;
}

static inline void
signature_sum_get(const guint8 *sums, guint64 block, guint32 *weak, guint64 *strong)
{
  const guint8 *at = sums + block * SIGNATURE_SUM;
  guint16 high;
  guint32 low;
  memcpy(weak, at, sizeof *weak);
  memcpy(&low, at + sizeof *weak, sizeof low);
  memcpy(&high, at + sizeof *weak + sizeof low, sizeof high);
  *strong = (guint64)high << 32 | low;
}

static inline void
signature_sum_put(guint8 at[static SIGNATURE_SUM], guint32 weak, guint64 strong)
{
  guint32 low = strong;
  guint16 high = strong >> 32;
  memcpy(at, &weak, sizeof weak);
  memcpy(at + sizeof weak, &low, sizeof low);
  memcpy(at + sizeof weak + sizeof low, &high, sizeof high);
}
