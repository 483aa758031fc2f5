/* Packed operations from anybody: what is not exactly one in its normal form is refused. */
#include <string.h>

#include "random_op.h"

static const struct {
  const char *what, *bytes;
  gsize length;
} refused[] = {
    {"nothing kept", "\x00", 1},
    {"only kept", "\x04", 1},
    {"kept at the end", "\x05x\x04", 3},
    {"kept twice", "\x04\x04\x05x", 4},
    {"inserted twice", "\x05x\x05y", 4},
    {"deleted twice", "\x06\x06", 2},
    {"inserted behind a deletion", "\x06\x05x", 3},
    {"an unknown kind", "\x07", 1},
    {"less text than it says", "\x09x", 2},
    {"half a character", "\x05\xc3", 2},
    {"a NUL", "\x05\x00", 2},
    {"a longer form of a number", "\x86\x00", 2},
    {"a number without end", "\x86", 1},
    {"a number beyond all texts", "\xfe\xff\xff\xff\x7f", 5},
    {"a reach beyond all texts", "\x80\x80\x80\x80\x10\x06", 6},
};

static void
test_refused(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(refused); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(OtOp) op = ot_op_unpack((const guint8 *)refused[i].bytes, refused[i].length, &error);
    if (op)
      g_error("%s was taken", refused[i].what);
    g_assert_nonnull(error);
  }
}

static void
test_taken(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) nothing = ot_op_unpack(NULL, 0, &error);
  g_assert_no_error(error);
  g_assert_true(ot_op_empty(nothing));
  g_autoptr(OtOp) op = ot_op_unpack((const guint8 *)"\x0c\x05x\x0a", 4, &error);
  g_assert_no_error(error);
  g_autoptr(OtOp) same = ot_op_new_edit(3, 2, "x", 1);
  g_assert_true(ot_op_equal(op, same));
}

/* Whatever is taken is packed as it came: no operation has two forms. */
static void
test_damaged(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  guint taken = 0;
  for (guint i = 0; i < 20000; i++) {
    g_autoptr(OtOp) op = ot_random_op(rand, 30, 5);
    g_autoptr(GByteArray) packed = g_byte_array_new();
    ot_op_pack(op, packed);
    if (packed->len == 0)
      continue;
    packed->data[g_rand_int_range(rand, 0, packed->len)] ^= 1 << g_rand_int_range(rand, 0, 8);
    g_autoptr(OtOp) read = ot_op_unpack(packed->data, packed->len, NULL);
    if (!read)
      continue;
    taken++;
    g_autoptr(GByteArray) again = g_byte_array_new();
    ot_op_pack(read, again);
    g_assert_cmpmem(packed->data, packed->len, again->data, again->len);
  }
  g_assert_cmpuint(taken, >, 0);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/clonedoc/ot/pack/refused", test_refused);
  g_test_add_func("/clonedoc/ot/pack/taken", test_taken);
  g_test_add_func("/clonedoc/ot/pack/damaged", test_damaged);
  return g_test_run();
}
