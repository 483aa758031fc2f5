/* The codec: smaller or not at all, exact, and unimpressed by damage. */
#include <string.h>

#include "base/error.h"
#include "wire/compress.h"

#define LENGTH 100000

static guint8 text[LENGTH], noise[LENGTH];

static void
test_pays(void)
{
  g_autoptr(WireCodec) codec = wire_codec_new();
  g_autofree guint8 *packed = g_malloc(LENGTH);
  g_autofree guint8 *back = g_malloc(LENGTH);
  g_autoptr(GError) error = NULL;
  for (int level = -1; level < 6; level++) {
    gsize length = wire_codec_pack(codec, text, LENGTH, level, packed, LENGTH);
    g_assert_cmpuint(length, >, 0);
    g_assert_cmpuint(length, <, LENGTH / 4);
    g_assert_true(wire_codec_unpack(codec, packed, length, back, LENGTH, &error));
    g_assert_no_error(error);
    g_assert_cmpmem(back, LENGTH, text, LENGTH);
  }
}

static void
test_does_not_pay(void)
{
  g_autoptr(WireCodec) codec = wire_codec_new();
  g_autofree guint8 *packed = g_malloc(LENGTH);
  g_assert_cmpuint(wire_codec_pack(codec, noise, LENGTH, 1, packed, LENGTH), ==, 0);
  g_assert_cmpuint(wire_codec_pack(codec, text, LENGTH, 1, packed, 16), ==, 0);
  g_assert_cmpuint(wire_codec_pack(codec, text, 0, 1, packed, LENGTH), ==, 0);
  g_assert_cmpuint(wire_codec_pack(codec, text, LENGTH, 1, packed, LENGTH), >, 0);
}

static void
test_prefix(void)
{
  g_autoptr(WireCodec) codec = wire_codec_new();
  g_autofree guint8 *packed = g_malloc(LENGTH);
  g_autofree guint8 *back = g_malloc(LENGTH);
  g_autofree guint8 *changed = g_memdup2(noise, LENGTH);
  g_autoptr(GError) error = NULL;
  changed[LENGTH / 2] ^= 0xff;
  gsize length = wire_codec_pack_against(codec, noise, LENGTH, changed, LENGTH, 3, packed, LENGTH);
  g_assert_cmpuint(length, >, 0);
  g_assert_cmpuint(length, <, LENGTH / 10);
  g_assert_true(wire_codec_unpack_against(codec, noise, LENGTH, packed, length, back, LENGTH, &error));
  g_assert_no_error(error);
  g_assert_cmpmem(back, LENGTH, changed, LENGTH);
  /* A prefix counts once only. */
  gsize alone = wire_codec_pack(codec, text, LENGTH, 1, packed, LENGTH);
  g_assert_true(wire_codec_unpack(codec, packed, alone, back, LENGTH, &error));
}

static void
assert_refused(WireCodec *codec, const guint8 *packed, gsize length, gsize announced)
{
  g_autofree guint8 *back = g_malloc(announced + 1);
  g_autoptr(GError) error = NULL;
  g_assert_false(wire_codec_unpack(codec, packed, length, back, announced, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
test_damaged(void)
{
  g_autoptr(WireCodec) codec = wire_codec_new();
  g_autofree guint8 *packed = g_malloc(LENGTH + 10);
  g_autofree guint8 *back = g_malloc(LENGTH);
  gsize length = wire_codec_pack(codec, text, LENGTH, 1, packed, LENGTH);
  memset(packed + length, 0, 10);
  assert_refused(codec, packed, length - 1, LENGTH);
  assert_refused(codec, packed, length + 10, LENGTH);
  assert_refused(codec, packed, length, LENGTH - 1);
  assert_refused(codec, packed, length, LENGTH + 1);
  assert_refused(codec, packed, 0, LENGTH);
  assert_refused(codec, noise, 1000, LENGTH);
  /* The codec is as good as new afterwards. */
  g_assert_true(wire_codec_unpack(codec, packed, length, back, LENGTH, NULL));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  guint32 state = 2463534242;
  for (int i = 0; i < LENGTH; i++) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    noise[i] = state;
    text[i] = "the primary and its mirror "[i % 27];
  }
  g_test_add_func("/wire/compress/pays", test_pays);
  g_test_add_func("/wire/compress/does-not-pay", test_does_not_pay);
  g_test_add_func("/wire/compress/prefix", test_prefix);
  g_test_add_func("/wire/compress/damaged", test_damaged);
  return g_test_run();
}
