/* One pass over a content: what of it is in the sources, its hash, its new signature. */
#include <errno.h>
#include <unistd.h>

#include "base/error.h"
#include "replica/signature_segments.h"
#include "replica/signature_sums.h"
#include "replica/signature_table.h"

#define WINDOW           (256u << 10) /* bytes of the content in memory, more for large blocks */
#define BLOCKS_IN_WINDOW 8

/* The content is judged up to `at`; what lies before the smaller of `at` and `signed_to` is of no more use.
 * Literals are cut off before the window moves on. All positions count from the content's start. */
struct SignatureSearch {
  const SignatureKey *key;
  SignatureTick tick;
  gpointer tick_data;
  SignatureReader reader;
  gpointer reader_data;
  int fd;
  guint64 size;
  const Signature *const *sources;
  guint count;
  guint32 step;     /* bytes of a block of the sources; of the new signature where there is none */
  gboolean matches; /* the sources have sums */

  guint8 *window;
  gsize room;
  guint64 begin, end; /* what of the content the window holds */
  guint64 at, literal_from, signed_to, hashed_to;
  gboolean ended, is_short;

  SignatureTable *table;
  gboolean table_filled;
  gboolean expects; /* the block that follows the last match */
  guint expected_source;
  guint64 expected_block;

  guint32 block; /* bytes of a block of the new signature; 0: none */
  GByteArray *sums;
  guint8 zero_sum[SIGNATURE_SUM]; /* of as many zeros as a block has bytes */
  guint32 zero_length;
  XXH3_state_t *hasher;
  guint8 hash[GENERATION_CONTENT_HASH]; /* of the content that signature_search_hash() read */
  gboolean hash_kept;                   /* that is the one in the window, which is searched now */

  SignatureSegments out;
};

SignatureSearch *
signature_search_new(const SignatureKey *key)
{
  SignatureSearch *search = g_new0(SignatureSearch, 1);
  search->key = key;
  search->table = signature_table_new();
  search->hasher = XXH3_createState();
  search->sums = g_byte_array_new();
  signature_segments_init(&search->out);
  return search;
}

void
signature_search_free(SignatureSearch *search)
{
  if (!search)
    return;
  signature_segments_clear(&search->out);
  signature_table_free(search->table);
  XXH3_freeState(search->hasher);
  g_byte_array_unref(search->sums);
  g_free(search->window);
  g_free(search);
}

/* An old length of a block is kept while it fits at all: sums can be taken over then. */
static guint32
block_for(guint64 size, guint32 old)
{
  guint32 ideal = signature_block_for(size);
  if (size <= SIGNATURE_SIZE_MIN)
    return 0;
  return old && old >= ideal / 2 && old <= ideal * 2 ? old : ideal;
}

static void
sum_zeros(SignatureSearch *search)
{
  if (search->zero_length == search->step)
    return;
  g_autofree guint8 *zeros = g_malloc0(search->step);
  signature_sum_put(search->zero_sum, signature_weak((SignatureRoll){0}),
                    signature_strong(search->key, zeros, search->step));
  search->zero_length = search->step;
}

static void
reserve(SignatureSearch *search, gsize room)
{
  if (room <= search->room)
    return;
  g_free(search->window);
  search->window = g_malloc(room);
  search->room = room;
}

static void
begin_at_start(SignatureSearch *search, int fd, guint64 size)
{
  signature_segments_clear(&search->out);
  search->fd = fd;
  search->size = size;
  search->begin = search->end = search->at = 0;
  search->literal_from = search->signed_to = search->hashed_to = 0;
  search->ended = search->is_short = search->hash_kept = FALSE;
  XXH3_128bits_reset(search->hasher);
}

static void
begin(SignatureSearch *search, guint64 size, const Signature *const *sources, guint count)
{
  search->sources = sources;
  search->count = count;
  search->matches = count && sources[0]->block;
  search->block = block_for(size, search->matches ? sources[0]->block : 0);
  search->step = search->matches ? sources[0]->block : MAX(search->block, SIGNATURE_BLOCK_MIN);
  reserve(search, MAX(WINDOW, BLOCKS_IN_WINDOW * MAX(search->step, search->block)));
  search->table_filled = FALSE;
  search->expects = search->matches;
  search->expected_source = search->expected_block = 0;
  g_byte_array_set_size(search->sums, 0);
  sum_zeros(search);
}

void
signature_search_begin(SignatureSearch *search, int fd, guint64 size, const Signature *const *sources,
                       guint count)
{
  begin_at_start(search, fd, size);
  begin(search, size, sources, count);
}

void
signature_search_begin_hashed(SignatureSearch *search, int fd, guint64 size, const Signature *const *sources,
                              guint count)
{
  guint64 had = search->begin == 0 && search->end == size ? size : 0;
  const guint8 *window = search->window;
  begin_at_start(search, fd, size);
  begin(search, size, sources, count);
  if (search->window == window) {
    search->end = had;
    search->hash_kept = had == size;
  }
}

static const guint8 *
bytes_at(const SignatureSearch *search, guint64 position)
{
  return search->window + (position - search->begin);
}

/* What was judged and is in no run is literal. */
static void
put_literals(SignatureSearch *search)
{
  if (search->literal_from == search->at)
    return;
  signature_segments_literal(&search->out, bytes_at(search, search->literal_from),
                             search->at - search->literal_from, search->size - search->literal_from);
  search->literal_from = search->at;
}

static void
put_known(SignatureSearch *search, const GenerationSegment *known)
{
  put_literals(search);
  signature_segments_known(&search->out, known);
  search->at += known->length;
  search->literal_from = search->at;
}

/* The hash and the new signature. */

static void
hash_judged(SignatureSearch *search)
{
  if (!search->hash_kept)
    XXH3_128bits_update(search->hasher, bytes_at(search, search->hashed_to), search->at - search->hashed_to);
  if (search->reader)
    search->reader(bytes_at(search, search->hashed_to), search->at - search->hashed_to, search->reader_data);
  search->hashed_to = search->at;
}

static void
sign_block(SignatureSearch *search, gsize length)
{
  const guint8 *bytes = bytes_at(search, search->signed_to);
  guint8 sum[SIGNATURE_SUM];
  signature_sum_put(sum, signature_weak(signature_roll_start(bytes, length)),
                    signature_strong(search->key, bytes, length));
  g_byte_array_append(search->sums, sum, sizeof sum);
  search->signed_to += length;
}

static void
sign_judged(SignatureSearch *search)
{
  if (!search->block)
    search->signed_to = search->at;
  while (search->at - search->signed_to >= search->block && search->block)
    sign_block(search, search->block);
  if (search->at == search->size && search->signed_to < search->at)
    sign_block(search, search->at - search->signed_to);
}

/* Of a block that is one of the new signature, too, the sums are known. To be called before it is judged. */
static void
sign_known(SignatureSearch *search, const guint8 *sum, gsize length)
{
  sign_judged(search);
  gboolean is_block =
      length == search->block || (length < search->block && search->at + length == search->size);
  if (!is_block || search->signed_to != search->at)
    return;
  g_byte_array_append(search->sums, sum, SIGNATURE_SUM);
  search->signed_to += length;
}

/* The window. */

static gboolean
read_more(SignatureSearch *search, GError **error)
{
  if (search->tick)
    search->tick(search->tick_data);
  gsize wanted = MIN(search->begin + search->room, search->size) - search->end;
  guint8 *to = search->window + (search->end - search->begin);
  while (wanted > 0) {
    ssize_t got = search->is_short ? 0 : pread(search->fd, to, wanted, search->end);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return doppel_error_errno(error, "a file cannot be read");
    if (got == 0) {
      search->is_short = TRUE;
      memset(to, 0, wanted);
      got = wanted;
    }
    to += got;
    wanted -= got;
    search->end += got;
  }
  return TRUE;
}

/* Makes `need` bytes from `at` on be in the window, or all that there are. */
static gboolean
have(SignatureSearch *search, gsize need, GError **error)
{
  if (search->end - search->at >= need || search->end == search->size)
    return TRUE;
  put_literals(search);
  hash_judged(search);
  sign_judged(search);
  guint64 keep = MIN(search->at, search->signed_to);
  memmove(search->window, bytes_at(search, keep), search->end - keep);
  search->begin = keep;
  return read_more(search, error);
}

/* What a position may be. */

static guint64
left(const SignatureSearch *search)
{
  return search->end - search->at;
}

/* The length of the expected block, 0 where there is none; its sums are at *sum. */
static gsize
expected(const SignatureSearch *search, guint64 ahead, const guint8 **sum)
{
  const Signature *source = search->expects ? search->sources[search->expected_source] : NULL;
  guint64 block = search->expected_block + ahead;
  if (!source || block >= source->blocks)
    return 0;
  *sum = (const guint8 *)g_bytes_get_data(source->sums, NULL) + block * SIGNATURE_SUM;
  return MIN(source->block, source->size - block * source->block);
}

static gboolean
has_sum(const SignatureSearch *search, const guint8 *bytes, gsize length, const guint8 *sum)
{
  guint32 weak;
  guint64 strong;
  signature_sum_get(sum, 0, &weak, &strong);
  return signature_strong(search->key, bytes, length) == strong;
}

static void
match(SignatureSearch *search, guint source, guint64 block, gsize length)
{
  const Signature *from = search->sources[source];
  sign_known(search, (const guint8 *)g_bytes_get_data(from->sums, NULL) + block * SIGNATURE_SUM, length);
  GenerationSegment copy = {
      .kind = GENERATION_COPY, .source = source, .offset = block * from->block, .length = length};
  put_known(search, &copy);
  search->expects = TRUE;
  search->expected_source = source;
  search->expected_block = block + 1;
}

static gboolean
match_zeros(SignatureSearch *search)
{
  gsize length = MIN(search->step, left(search));
  const guint8 *bytes = bytes_at(search, search->at);
  if (bytes[0] || memcmp(bytes, bytes + 1, length - 1) != 0)
    return FALSE;
  if (length == search->step)
    sign_known(search, search->zero_sum, length);
  GenerationSegment zeros = {.kind = GENERATION_ZEROS, .length = length};
  put_known(search, &zeros);
  search->expected_block++;
  return TRUE;
}

static gboolean
match_expected(SignatureSearch *search)
{
  const guint8 *sum;
  gsize length = expected(search, 0, &sum);
  if (!length || length > left(search) || !has_sum(search, bytes_at(search, search->at), length, sum))
    return FALSE;
  match(search, search->expected_source, search->expected_block, length);
  return TRUE;
}

/* One block was overwritten, and the next is as expected again. */
static gboolean
pass_overwritten(SignatureSearch *search)
{
  const guint8 *sum;
  gsize length = expected(search, 1, &sum);
  if (!length || search->step + length > left(search) ||
      !has_sum(search, bytes_at(search, search->at) + search->step, length, sum))
    return FALSE;
  search->at += search->step;
  search->expected_block++;
  return TRUE;
}

/* The end of the content, shorter than a block, may be the end of a source. */
static void
match_tail(SignatureSearch *search)
{
  for (guint i = 0; search->matches && i < search->count; i++) {
    const Signature *source = search->sources[i];
    gsize length = source->block == search->step ? source->size % source->block : 0;
    if (!length || length > left(search))
      continue;
    const guint8 *sum =
        (const guint8 *)g_bytes_get_data(source->sums, NULL) + (source->blocks - 1) * SIGNATURE_SUM;
    if (has_sum(search, bytes_at(search, search->end - length), length, sum)) {
      search->at = search->end - length;
      match(search, i, source->blocks - 1, length);
      return;
    }
  }
  search->at = search->end;
}

static guint64
strong_here(gpointer user_data)
{
  SignatureSearch *search = user_data;
  return signature_strong(search->key, bytes_at(search, search->at), search->step);
}

/* Goes on, byte by byte, to the next place whose block a source has or that is empty, or to the last in the
 * window. */
static void
roll_to_match(SignatureSearch *search)
{
  if (!search->table_filled)
    signature_table_fill(search->table, search->sources, search->count);
  search->table_filled = TRUE;
  guint shift;
  const guint64 *filter = signature_table_filter(search->table, &shift);
  const gsize step = search->step;
  const guint8 *bytes = bytes_at(search, search->at), *last = bytes_at(search, search->end - step);
  SignatureRoll roll = signature_roll_start(bytes, step);
  for (;;) {
    guint32 weak = signature_weak(roll), bit = weak >> shift;
    if (G_UNLIKELY(filter[bit / 64] >> bit % 64 & 1) || G_UNLIKELY(roll.sum == 0)) {
      search->at = search->begin + (bytes - search->window);
      guint source;
      guint64 block;
      if (roll.sum == 0)
        return;
      if (signature_table_find(search->table, weak, strong_here, search, &source, &block)) {
        match(search, source, block, step);
        return;
      }
    }
    if (bytes == last)
      break;
    signature_roll_on(&roll, step, bytes[0], bytes[step]);
    bytes++;
  }
  search->at = search->begin + (last - search->window) + 1;
}

static gboolean
judge(SignatureSearch *search, GError **error)
{
  if (!have(search, 2 * search->step, error))
    return FALSE;
  if (left(search) == 0) {
    search->ended = TRUE;
    return TRUE;
  }
  if (match_zeros(search) || match_expected(search) || pass_overwritten(search))
    return TRUE;
  if (!search->matches) {
    search->at += MIN(search->step, left(search));
  } else if (left(search) < search->step) {
    match_tail(search);
  } else {
    search->expects = FALSE;
    roll_to_match(search);
  }
  return TRUE;
}

static void
finish(SignatureSearch *search)
{
  put_literals(search);
  signature_segments_end(&search->out);
  hash_judged(search);
  sign_judged(search);
}

GenerationStep *
signature_search_next(SignatureSearch *search, GError **error)
{
  while (g_queue_is_empty(&search->out.ready) && !search->ended) {
    if (!judge(search, error))
      return NULL;
    if (search->ended)
      finish(search);
  }
  return g_queue_pop_head(&search->out.ready);
}

Signature *
signature_search_end(SignatureSearch *search)
{
  if (!search->hash_kept)
    XXH128_canonicalFromHash((XXH128_canonical_t *)search->hash, XXH3_128bits_digest(search->hasher));
  g_autoptr(GBytes) sums = search->sums->len ? g_bytes_new(search->sums->data, search->sums->len) : NULL;
  return signature_new(search->hash, search->size, search->block, sums);
}

void
signature_search_set_tick(SignatureSearch *search, SignatureTick tick, gpointer user_data)
{
  search->tick = tick;
  search->tick_data = user_data;
}

void
signature_search_set_piece(SignatureSearch *search, gsize piece)
{
  search->out.piece = CLAMP(piece, 1, GENERATION_LITERAL_MAX);
}

void
signature_search_set_reader(SignatureSearch *search, SignatureReader reader, gpointer user_data)
{
  search->reader = reader;
  search->reader_data = user_data;
}

gboolean
signature_search_hash(SignatureSearch *search, int fd, guint64 size,
                      guint8 hash[static GENERATION_CONTENT_HASH])
{
  reserve(search, WINDOW);
  begin_at_start(search, fd, size);
  while (search->end < size) {
    search->begin = search->at = search->hashed_to = search->end;
    if (!read_more(search, NULL))
      return FALSE;
    search->at = search->end;
    hash_judged(search);
  }
  XXH128_canonicalFromHash((XXH128_canonical_t *)search->hash, XXH3_128bits_digest(search->hasher));
  memcpy(hash, search->hash, sizeof search->hash);
  errno = ENODATA;
  return !search->is_short;
}

gboolean
signature_search_short(const SignatureSearch *search)
{
  return search->is_short;
}
