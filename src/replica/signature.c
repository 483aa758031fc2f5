#include "replica/signature.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "replica/signature_sums.h"

#define BLOCK_STEP 256u /* bytes: what signature_roll_start() takes at once */
#define CHUNK      (128u << 10)

void
signature_key_init(SignatureKey *key, const guint8 *seed, gsize length)
{
  for (guint i = 0; i < SIGNATURE_SECRET / sizeof(XXH128_hash_t); i++) {
    XXH128_hash_t part = XXH3_128bits_withSeed(seed, length, i);
    memcpy(key->secret + i * sizeof part, &part, sizeof part);
  }
}

guint32
signature_block_for(guint64 size)
{
  guint64 root = sqrt((double)size) / 2;
  return CLAMP(root / BLOCK_STEP * BLOCK_STEP, SIGNATURE_BLOCK_MIN, SIGNATURE_BLOCK_MAX);
}

Signature *
signature_new(const guint8 hash[static GENERATION_CONTENT_HASH], guint64 size, guint32 block, GBytes *sums)
{
  guint64 blocks = block ? size / block + (size % block != 0) : 0;
  gsize length = sums ? g_bytes_get_size(sums) : 0;
  if (block > SIGNATURE_BLOCK_MAX || (block && block < SIGNATURE_BLOCK_MIN) || length % SIGNATURE_SUM != 0 ||
      length / SIGNATURE_SUM != blocks)
    return NULL;
  Signature *signature = g_new(Signature, 1);
  *signature =
      (Signature){.size = size, .block = block, .blocks = blocks, .sums = sums ? g_bytes_ref(sums) : NULL};
  memcpy(signature->hash, hash, sizeof signature->hash);
  return signature;
}

void
signature_free(Signature *signature)
{
  if (!signature)
    return;
  g_clear_pointer(&signature->sums, g_bytes_unref);
  g_free(signature);
}

gboolean
signature_hash_fd(int fd, guint64 size, guint8 hash[static GENERATION_CONTENT_HASH])
{
  g_autoptr(XXH3_state_t) state = XXH3_createState();
  XXH3_128bits_reset(state);
  g_autofree guint8 *chunk = g_malloc(MIN(CHUNK, MAX(size, 1)));
  for (guint64 at = 0; at < size;) {
    ssize_t got = pread(fd, chunk, MIN(CHUNK, size - at), at);
    if (got < 0 && errno == EINTR)
      continue;
    if (got == 0)
      errno = ENODATA;
    if (got <= 0)
      return FALSE;
    XXH3_128bits_update(state, chunk, got);
    at += got;
  }
  XXH128_canonicalFromHash((XXH128_canonical_t *)hash, XXH3_128bits_digest(state));
  return TRUE;
}

/* A row is 16 bytes, one vector, whose columns are summed side by side: taken apart into even and odd bytes,
 * they have 16 bits each, which 16 rows, that is BLOCK_STEP bytes, cannot overflow in either sum. */
typedef guint16 Columns __attribute__((vector_size(16)));
typedef guint32 Totals __attribute__((vector_size(16)));
#define ROW  16 /* bytes */
#define ROWS 16 /* of a step */

/* Each total is of four columns: those at a distance of `part` from the first, by fours. */
typedef struct {
  Totals sum;    /* of a column's bytes */
  Totals before; /* of `sum` before each step */
  Totals rank;   /* of each byte times the number of rows that follow in its step */
} ColumnSums;

/* Columns of 16 bits become two of 32, the lower ones first. */
static inline void
add_columns(ColumnSums sums[static 2], Columns sum, Columns rank)
{
  sums[0].before += sums[0].sum;
  sums[1].before += sums[1].sum;
  sums[0].sum += (Totals)sum & 0xffff;
  sums[1].sum += (Totals)sum >> 16;
  sums[0].rank += (Totals)rank & 0xffff;
  sums[1].rank += (Totals)rank >> 16;
}

static inline void
add_step(ColumnSums sums[static 4], const guint8 *bytes)
{
  Columns low = {0}, low_rank = {0}, high = {0}, high_rank = {0};
  for (guint i = 0; i < ROWS; i++) {
    Columns row;
    memcpy(&row, bytes + i * ROW, sizeof row);
    low_rank += low;
    high_rank += high;
    low += row & 0xff;
    high += row >> 8;
  }
  add_columns(sums, low, low_rank);
  add_columns(sums + 2, high, high_rank);
}

/* The first column of four is in the lowest byte or, on other machines, in the highest. */
static guint
first_column(guint part)
{
  static const guint little[] = {0, 2, 1, 3};
  return G_BYTE_ORDER == G_LITTLE_ENDIAN ? little[part] : 3 - little[part];
}

SignatureRoll
signature_roll_start(const guint8 *bytes, gsize length)
{
  ColumnSums sums[4] = {{{0}}};
  gsize at = 0;
  for (; at + BLOCK_STEP <= length; at += BLOCK_STEP)
    add_step(sums, bytes + at);
  SignatureRoll roll = {0};
  for (guint part = 0; part < 4; part++)
    for (guint i = 0; i < 4; i++) {
      guint32 sum = sums[part].sum[i];
      roll.sum += sum;
      roll.rank += sums[part].before[i] * BLOCK_STEP + sums[part].rank[i] * ROW +
                   sum * (ROW - 4 * i - first_column(part));
    }
  for (; at < length; at++) {
    roll.sum += bytes[at];
    roll.rank += roll.sum;
  }
  return roll;
}
