/* Compressed messages: exact, small where they repeat, and damage is seen. */
#include <string.h>

#include "base/error.h"
#include "wire/compress.h"

#define LENGTH 100000

static guint8 text[LENGTH], noise[LENGTH];

typedef struct {
  WirePacker *packer;
  WireUnpacker *unpacker;
} Ends;

static void
set_up(Ends *ends, gconstpointer unused)
{
  *ends = (Ends){wire_packer_new(), wire_unpacker_new()};
}

static void
tear_down(Ends *ends, gconstpointer unused)
{
  wire_packer_free(ends->packer);
  wire_unpacker_free(ends->unpacker);
}

/* One message through both ends; how long it was on its way. */
static gsize
pass(Ends *ends, const guint8 *data, gsize length)
{
  g_autofree guint8 *packed = g_malloc(wire_packed_bound(length));
  g_autofree guint8 *back = g_malloc(length + 1);
  g_autoptr(GError) error = NULL;
  gsize half = length / 2, restored = 0;
  const struct iovec pieces[] = {{(void *)data, half}, {(void *)(data + half), length - half}};
  gsize size = wire_packer_pack(ends->packer, pieces, 2, packed);
  g_assert_cmpuint(size, <=, wire_packed_bound(length));
  g_assert_true(wire_packed_length(packed, size, LENGTH, &restored, &error));
  g_assert_cmpuint(restored, ==, length);
  g_assert_true(wire_unpacker_unpack(ends->unpacker, packed, size, back, restored, &error));
  g_assert_no_error(error);
  g_assert_cmpmem(back, length, data, length);
  return size;
}

static void
test_pays(Ends *ends, gconstpointer unused)
{
  g_assert_cmpuint(pass(ends, text, LENGTH), <, LENGTH / 4);
  g_assert_cmpuint(pass(ends, noise, 5000), >, 4000);
  g_assert_cmpuint(pass(ends, noise, 5000), <, 100); /* it came before */
  g_assert_cmpuint(pass(ends, text, 0), <, 32);
  g_assert_cmpuint(pass(ends, text, 1), <, 32);
  g_assert_cmpuint(pass(ends, noise, LENGTH), <=, wire_packed_bound(LENGTH));
}

/* Far more than the window holds. */
static void
test_long(Ends *ends, gconstpointer unused)
{
  guint32 state = 88172645;
  for (gsize passed = 0; passed < 20 * (gsize)WIRE_WINDOW;) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    gsize length = state % LENGTH, from = state % (LENGTH - length);
    pass(ends, (state & 64 ? noise : text) + from, length);
    passed += length;
  }
}

/* They are no bytes of the stream, however many there are. */
static void
test_empty(Ends *ends, gconstpointer unused)
{
  for (guint i = 0; i < 100; i++)
    pass(ends, text, 0);
  pass(ends, text, LENGTH);
  for (guint i = 0; i < 100; i++)
    pass(ends, text, 0);
  pass(ends, noise, 10);
}

static void
assert_refused(const guint8 *packed, gsize packed_length, gsize limit)
{
  g_autoptr(WireUnpacker) unpacker = wire_unpacker_new();
  g_autoptr(GError) error = NULL;
  gsize length = 0;
  if (wire_packed_length(packed, packed_length, limit, &length, &error)) {
    g_autofree guint8 *back = g_malloc(length + 1);
    g_assert_false(wire_unpacker_unpack(unpacker, packed, packed_length, back, length, &error));
  }
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
test_damaged(Ends *ends, gconstpointer unused)
{
  g_autofree guint8 *packed = g_malloc0(wire_packed_bound(LENGTH) + 10);
  gsize length = wire_packer_pack(ends->packer, &(struct iovec){text, LENGTH}, 1, packed);
  memset(packed + length, 0xff, 10);
  assert_refused(packed, length - 1, LENGTH);
  assert_refused(packed, length + 10, LENGTH);
  assert_refused(packed, length, LENGTH - 1);
  assert_refused(packed, 0, LENGTH);
  assert_refused(packed, 3, LENGTH);
  assert_refused(noise, 1000, G_MAXUINT32);
  for (int change = -1; change < 2; change += 2) {
    packed[3] += change; /* the length that it announces */
    assert_refused(packed, length, LENGTH + 1);
    packed[3] -= change;
  }
  /* The second of two messages means nothing without the first. */
  gsize second = wire_packer_pack(ends->packer, &(struct iovec){text, LENGTH}, 1, packed);
  assert_refused(packed, second, LENGTH);
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
  g_test_add("/wire/compress/pays", Ends, NULL, set_up, test_pays, tear_down);
  g_test_add("/wire/compress/long", Ends, NULL, set_up, test_long, tear_down);
  g_test_add("/wire/compress/empty", Ends, NULL, set_up, test_empty, tear_down);
  g_test_add("/wire/compress/damaged", Ends, NULL, set_up, test_damaged, tear_down);
  return g_test_run();
}
