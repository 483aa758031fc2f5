/* Signatures: whatever a content was and is, what a search says of it puts it together again; and says little
 * where little changed. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/signature.h"
#include "replica/signature_sums.h"

#define SEEDS 150

static SignatureKey key;

static int
file_of(const GByteArray *content)
{
  int fd = memfd_create("content", MFD_CLOEXEC);
  g_assert_true(fd >= 0 && (!content->len || io_write_all(fd, content->data, content->len)));
  return fd;
}

static guint32
seed_of(guint i)
{
  const char *first = g_getenv("DOPPEL_TEST_SEED");
  return (first ? g_ascii_strtoull(first, NULL, 10) : 1) + i;
}

/* Bytes of one of the kinds that files are made of. */
static void
append_some(GByteArray *content, GRand *rand, guint length)
{
  guint kind = g_rand_int_range(rand, 0, 4), start = content->len;
  g_byte_array_set_size(content, start + length);
  guint8 *to = content->data + start;
  for (guint i = 0; i < length; i++)
    to[i] = kind == 0 ? g_rand_int(rand) : kind == 1 ? "abcab"[g_rand_int(rand) % 5] : kind == 2 ? 0 : 0x5a;
}

static GByteArray *
make_content(GRand *rand)
{
  GByteArray *content = g_byte_array_new();
  guint pieces = g_rand_int_range(rand, 0, 6);
  for (guint i = 0; i < pieces; i++)
    append_some(content, rand, g_rand_int_range(rand, 1, 1 << g_rand_int_range(rand, 1, 18)));
  return content;
}

static void
insert(GByteArray *content, guint at, const guint8 *bytes, guint length)
{
  guint tail = content->len - at;
  g_byte_array_set_size(content, content->len + length);
  if (tail)
    memmove(content->data + at + length, content->data + at, tail);
  if (length)
    memcpy(content->data + at, bytes, length);
}

static void
change_somewhere(GByteArray *content, GRand *rand, const GByteArray *other)
{
  guint at = g_rand_int_range(rand, 0, content->len + 1);
  guint length = g_rand_int_range(rand, 0, 1 << g_rand_int_range(rand, 1, 14));
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  switch (g_rand_int_range(rand, 0, 5)) {
  case 0:
    append_some(bytes, rand, length);
    insert(content, at, bytes->data, bytes->len);
    break;
  case 1:
    g_byte_array_remove_range(content, at, MIN(length, content->len - at));
    break;
  case 2:
    append_some(bytes, rand, MIN(length, content->len - at));
    if (bytes->len)
      memcpy(content->data + at, bytes->data, bytes->len);
    break;
  case 3:
    if (other->len)
      insert(content, at, other->data + other->len / 3, other->len / 2);
    break;
  case 4:
    if (at < content->len)
      memset(content->data + at, 0, MIN(length, content->len - at));
    break;
  }
}

typedef struct {
  guint64 literals, copied, zeros, segments;
} Tally;

/* What the steps of a search make of the sources. */
static GByteArray *
put_together(SignatureSearch *search, GByteArray *const *sources, Tally *tally)
{
  GByteArray *made = g_byte_array_new();
  g_autoptr(GError) error = NULL;
  for (;;) {
    g_autoptr(GenerationStep) step = signature_search_next(search, &error);
    g_assert_no_error(error);
    if (!step)
      return made;
    step->number = 1;
    g_autoptr(GBytes) packed = generation_step_pack(step);
    g_autoptr(GenerationStep) back = generation_step_unpack(packed, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < back->segments->len; i++) {
      const GenerationSegment *segment = &g_array_index(back->segments, GenerationSegment, i);
      guint at = made->len;
      g_byte_array_set_size(made, at + segment->length);
      tally->segments++;
      if (segment->kind == GENERATION_LITERAL) {
        memcpy(made->data + at, segment->bytes, segment->length);
        tally->literals += segment->length;
      } else if (segment->kind == GENERATION_ZEROS) {
        memset(made->data + at, 0, segment->length);
        tally->zeros += segment->length;
      } else {
        g_assert_cmpuint(segment->offset + segment->length, <=, sources[segment->source]->len);
        memcpy(made->data + at, sources[segment->source]->data + segment->offset, segment->length);
        tally->copied += segment->length;
      }
    }
  }
}

static Signature *
search_for(SignatureSearch *search, const GByteArray *content, GByteArray *const *sources,
           const Signature *const *signatures, guint count, Tally *tally)
{
  g_auto(Fd) fd = file_of(content);
  guint8 hash[GENERATION_CONTENT_HASH];
  signature_search_begin(search, fd, content->len, signatures, count);
  g_autoptr(GByteArray) made = put_together(search, sources, tally);
  g_assert_cmpmem(made->data, made->len, content->data, content->len);
  g_assert_false(signature_search_short(search));
  Signature *signature = signature_search_end(search);
  XXH128_canonicalFromHash((XXH128_canonical_t *)hash, XXH3_128bits(content->data, content->len));
  g_assert_cmpmem(hash, sizeof hash, signature->hash, sizeof signature->hash);
  guint8 again[GENERATION_CONTENT_HASH];
  g_assert_true(signature_search_hash(search, fd, content->len, again));
  g_assert_cmpmem(hash, sizeof hash, again, sizeof again);
  g_assert_cmpuint(tally->literals + tally->copied + tally->zeros, ==, content->len);
  return signature;
}

/* Each sum, taken from the content by the definition. */
static void
assert_sums(const Signature *signature, const GByteArray *content)
{
  g_assert_cmpuint(signature->size, ==, content->len);
  g_assert_true(signature->block || content->len <= SIGNATURE_SIZE_MIN);
  for (guint64 i = 0; i < signature->blocks; i++) {
    guint64 from = i * signature->block, length = MIN(signature->block, content->len - from);
    SignatureRoll roll = {0};
    for (guint64 at = 0; at < length; at++) {
      roll.sum += content->data[from + at];
      roll.rank += (guint32)(length - at) * content->data[from + at];
    }
    guint32 weak;
    guint64 strong;
    signature_sum_get(g_bytes_get_data(signature->sums, NULL), i, &weak, &strong);
    g_assert_cmpuint(weak, ==, signature_weak(roll));
    g_assert_cmpuint(strong, ==, signature_strong(&key, content->data + from, length));
  }
}

static void
test_random(void)
{
  g_test_message("seeds %u and so on", seed_of(0));
  g_autoptr(SignatureSearch) search = signature_search_new(&key);
  for (guint i = 0; i < SEEDS; i++) {
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed_of(i));
    GByteArray *sources[3];
    Signature *signatures[3];
    guint count = g_rand_int_range(rand, 0, 4);
    for (guint s = 0; s < 3; s++) {
      sources[s] = make_content(rand);
      Tally tally = {0};
      signatures[s] = search_for(search, sources[s], NULL, NULL, 0, &tally);
      assert_sums(signatures[s], sources[s]);
    }
    g_autoptr(GByteArray) content = g_byte_array_new();
    g_byte_array_append(content, sources[0]->data, sources[0]->len);
    guint changes = g_rand_int_range(rand, 0, 8);
    for (guint c = 0; c < changes; c++)
      change_somewhere(content, rand, sources[1]);
    Tally tally = {0};
    g_autoptr(Signature) signature =
        search_for(search, content, sources, (const Signature *const *)signatures, count, &tally);
    assert_sums(signature, content);
    for (guint s = 0; s < 3; s++) {
      g_byte_array_unref(sources[s]);
      signature_free(signatures[s]);
    }
  }
}

static GByteArray *
noise(guint length)
{
  GByteArray *content = g_byte_array_new();
  g_autoptr(GRand) rand = g_rand_new_with_seed(5);
  for (guint i = 0; i < length / 4; i++) {
    guint32 word = g_rand_int(rand);
    g_byte_array_append(content, (guint8 *)&word, sizeof word);
  }
  return content;
}

/* What has to be said after a change. */
static Tally
cost_of(GByteArray *old, const GByteArray *new)
{
  g_autoptr(SignatureSearch) search = signature_search_new(&key);
  Tally tally = {0}, first = {0};
  g_autoptr(Signature) before = search_for(search, old, NULL, NULL, 0, &first);
  const Signature *const sources[] = {before};
  g_autoptr(Signature) after = search_for(search, new, &old, sources, 1, &tally);
  assert_sums(after, new);
  return tally;
}

#define LARGE (16u << 20)

static void
test_little_changed(void)
{
  g_autoptr(GByteArray) old = noise(LARGE), new = noise(LARGE);
  guint block = signature_block_for(LARGE);
  g_assert_cmpuint(block, ==, 2048);
  Tally same = cost_of(old, new);
  g_assert_cmpuint(same.segments, ==, 1);
  g_assert_cmpuint(same.copied, ==, LARGE);
  for (guint i = 0; i < 20; i++)
    memset(new->data + 12345 + i * 777777, 'x', 4096);
  Tally overwritten = cost_of(old, new);
  g_assert_cmpuint(overwritten.literals, <=, 20 * (4096 + 2 * block));
  g_assert_cmpuint(overwritten.segments, ==, 41);
  insert(old, 1234567, (const guint8 *)"!", 1);
  Tally shifted = cost_of(new, old);
  g_assert_cmpuint(shifted.literals, <=, 20 * (4096 + 2 * block) + 2 * block);
}

static void
test_ends(void)
{
  g_autoptr(GByteArray) old = noise(100000), new = noise(100000);
  g_byte_array_append(new, (const guint8 *)"more", 4);
  Tally appended = cost_of(old, new);
  g_assert_cmpuint(appended.literals, ==, 4);
  Tally cut = cost_of(new, old);
  g_assert_cmpuint(cut.literals, <, 1024);
  g_autoptr(GByteArray) tail = g_byte_array_new();
  g_byte_array_append(tail, (const guint8 *)"x", 1);
  g_byte_array_append(tail, new->data + 98304, new->len - 98304);
  Tally end = cost_of(new, tail);
  g_assert_cmpuint(end.literals, ==, 1);
}

static void
test_zeros(void)
{
  g_autoptr(GByteArray) old = noise(4096), new = g_byte_array_new();
  g_byte_array_set_size(new, 3u << 20);
  memset(new->data, 0, new->len);
  new->data[1 << 20] = 1;
  Tally tally = cost_of(old, new);
  g_assert_cmpuint(tally.literals, <=, 2 * SIGNATURE_BLOCK_MIN);
  g_assert_cmpuint(tally.segments, <=, 3);
}

/* A file that got shorter while it was read. */
static void
test_short(void)
{
  g_autoptr(GByteArray) content = noise(300000);
  g_auto(Fd) fd = file_of(content);
  g_autoptr(SignatureSearch) search = signature_search_new(&key);
  signature_search_begin(search, fd, 1000000, NULL, 0);
  Tally tally = {0};
  g_autoptr(GByteArray) made = put_together(search, NULL, &tally);
  g_assert_true(signature_search_short(search));
  g_assert_cmpuint(made->len, ==, 1000000);
  g_assert_cmpmem(made->data, content->len, content->data, content->len);
  g_byte_array_set_size(content, 1000000);
  memset(content->data + 300000, 0, 700000);
  g_autoptr(Signature) signature = signature_search_end(search);
  assert_sums(signature, content);
  guint8 hash[GENERATION_CONTENT_HASH];
  g_assert_false(signature_search_hash(search, fd, 1000000, hash));
}

/* Blocks that are all alike to the weak sum do not make it slow. */
static void
test_alike(void)
{
  g_autoptr(GByteArray) old = g_byte_array_new();
  g_byte_array_set_size(old, 4u << 20);
  memset(old->data, 1, old->len);
  for (guint i = 0; i < 4096; i++) {
    guint8 *block = old->data + i * 1024;
    /* Moves the same weight to and fro. */
    guint a = 10 + i % 400, b = 500 + i / 16;
    block[a]++, block[a + 1]--, block[b]--, block[b + 1]++;
  }
  g_autoptr(GByteArray) new = g_byte_array_new();
  g_byte_array_append(new, old->data + 512, old->len - 512);
  gint64 begin = g_get_monotonic_time();
  Tally tally = cost_of(old, new);
  g_assert_cmpuint(tally.copied + tally.literals, ==, new->len);
  g_assert_cmpint(g_get_monotonic_time() - begin, <, 60 * G_USEC_PER_SEC);
}

static void
test_damaged(void)
{
  guint8 hash[GENERATION_CONTENT_HASH] = {0};
  g_autoptr(GBytes) three = g_bytes_new_static("012345678901234567890123456789", 30);
  g_autoptr(Signature) good = signature_new(hash, 2049, 1024, three);
  g_assert_nonnull(good);
  g_assert_null(signature_new(hash, 2048, 1024, three));
  g_assert_null(signature_new(hash, 3073, 1024, three));
  g_assert_null(signature_new(hash, 3, 1, three));
  g_assert_null(signature_new(hash, 100, 0, three));
  g_assert_null(signature_new(hash, 2049, 1024, NULL));
  g_assert_null(signature_new(hash, G_MAXUINT64, 1024, three));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  signature_key_init(&key, (const guint8 *)"a test's key", 12);
  g_test_add_func("/replica/signature/random", test_random);
  g_test_add_func("/replica/signature/little-changed", test_little_changed);
  g_test_add_func("/replica/signature/ends", test_ends);
  g_test_add_func("/replica/signature/zeros", test_zeros);
  g_test_add_func("/replica/signature/short", test_short);
  g_test_add_func("/replica/signature/alike", test_alike);
  g_test_add_func("/replica/signature/damaged", test_damaged);
  return g_test_run();
}
