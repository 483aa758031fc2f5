/* What is kept over runs: the same when it is read back, and harmless when it is not ours. */
#include <math.h>
#include <string.h>

#include "policy/placement_private.h"
#include "world.h"

enum { CHECKSUMMED = 40 };

static const PolicyAim aim = {.objective = POLICY_TIME};

static GByteArray *
packed(guint32 seed)
{
  World world;
  g_autoptr(PolicyPlacement) placement = policy_placement_new(&aim);
  world_init(&world, seed);
  world_make_run(&world, 0);
  world_live(&world, placement, FALSE);
  world_clear(&world);
  return policy_placement_pack(placement);
}

static void
test_round_trip(void)
{
  for (guint seed = 1; seed < 20; seed++) {
    g_autoptr(GByteArray) bytes = packed(seed);
    g_autoptr(PolicyPlacement) placement = policy_placement_new(&aim);
    g_assert_true(policy_placement_unpack(placement, bytes->data, bytes->len));
    g_assert_cmpuint(policy_placement_count(placement), >, 0);
    g_autoptr(GByteArray) again = policy_placement_pack(placement);
    g_assert_cmpmem(bytes->data, bytes->len, again->data, again->len);
  }
}

static void
test_run_that_was_packed_is_over(void)
{
  g_autoptr(GByteArray) bytes = packed(3);
  g_autoptr(PolicyPlacement) placement = policy_placement_new(&aim);
  g_assert_true(policy_placement_unpack(placement, bytes->data, bytes->len));
  PolicyFunction *function = policy_placement_nth(placement, 0);
  PolicyAnswer answer = policy_ask(placement, function, &(PolicyCall){0}, 1);
  g_assert_cmpfloat(answer.calls_ahead, >, 5);
  g_assert_true(answer.local_known);
}

static void
test_every_beginning_is_refused(void)
{
  g_autoptr(GByteArray) bytes = packed(1);
  for (gsize length = 0; length < bytes->len; length += length < 200 ? 1 : 37) {
    g_autoptr(PolicyPlacement) placement = policy_placement_new(&aim);
    g_assert_false(policy_placement_unpack(placement, bytes->data, length));
    g_assert_cmpuint(policy_placement_count(placement), ==, 0);
    if (length >= CHECKSUMMED)
      g_assert_false(
          policy_placement_unpack_checked(placement, bytes->data + CHECKSUMMED, length - CHECKSUMMED));
  }
}

static void
test_every_flipped_bit_is_refused(void)
{
  g_autoptr(GByteArray) bytes = packed(1);
  for (gsize i = 0; i < bytes->len; i += i < 200 ? 1 : 41) {
    g_autoptr(PolicyPlacement) placement = policy_placement_new(&aim);
    bytes->data[i] ^= 1 << i % 8;
    g_assert_false(policy_placement_unpack(placement, bytes->data, bytes->len));
    bytes->data[i] ^= 1 << i % 8;
  }
}

/* Whoever makes a checksum, too: either it is refused, or all that comes of it are numbers. */
static void
test_hostile(void)
{
  g_autoptr(GByteArray) bytes = packed(5);
  g_autoptr(GRand) random = g_rand_new_with_seed(7);
  guint taken = 0;
  for (guint i = 0; i < 3000; i++) {
    g_autoptr(PolicyPlacement) placement = policy_placement_new(&aim);
    g_autofree guint8 *copy = g_memdup2(bytes->data + CHECKSUMMED, bytes->len - CHECKSUMMED);
    gsize length = bytes->len - CHECKSUMMED;
    for (guint k = g_rand_int_range(random, 1, 4); k > 0; k--)
      copy[g_rand_int_range(random, 0, (gint32)length)] = (guint8)g_rand_int(random);
    if (!policy_placement_unpack_checked(placement, copy, length))
      continue;
    taken++;
    policy_tracker_ping(policy_placement_tracker(placement), 1, 0.005);
    for (guint k = 0; k < policy_placement_count(placement); k++) {
      PolicyFunction *function = policy_placement_nth(placement, k);
      PolicyCall call = {{1000, 7, 0x7f0000000000}, POLICY_ARGUMENTS};
      for (guint n = 0; n < 8; n++) {
        PolicyAnswer answer = policy_ask(placement, function, &call, 1 + n);
        g_assert_false(isnan(answer.local_price) || isnan(answer.block_price));
        policy_ran_here(placement, function, &answer, 0.1 * n, 0.1);
        g_autofree char *words = policy_words(placement, function, &answer);
        g_assert_null(strstr(words, "nan"));
      }
    }
    g_autoptr(GByteArray) again = policy_placement_pack(placement);
    g_autoptr(PolicyPlacement) other = policy_placement_new(&aim);
    g_assert_true(policy_placement_unpack(other, again->data, again->len));
  }
  g_test_message("%u of 3000 were taken", taken);
  g_assert_cmpuint(taken, >, 0);
}

/* The ones not used for longest go. */
static void
test_bounded(void)
{
  g_autoptr(GByteArray) bytes = NULL;
  for (guint run = 0; run < 3; run++) {
    g_autoptr(PolicyPlacement) placement = policy_placement_new(&aim);
    if (bytes)
      g_assert_true(policy_placement_unpack(placement, bytes->data, bytes->len));
    for (guint i = 0; i < POLICY_FUNCTIONS; i++) {
      g_autofree char *name = g_strdup_printf("%u %u", run / 2, i + run % 2 * 10);
      PolicyFunction *function = policy_placement_function(placement, name);
      PolicyAnswer answer = policy_ask(placement, function, &(PolicyCall){0}, 1);
      policy_ran_here(placement, function, &answer, 1, 1);
    }
    g_clear_pointer(&bytes, g_byte_array_unref);
    bytes = policy_placement_pack(placement);
    g_assert_cmpuint(bytes->len, <=, POLICY_FUNCTIONS * (POLICY_MODEL_BYTES + 100) + 1000);
  }
  g_autoptr(PolicyPlacement) placement = policy_placement_new(&aim);
  g_assert_true(policy_placement_unpack(placement, bytes->data, bytes->len));
  g_assert_cmpuint(policy_placement_count(placement), ==, POLICY_FUNCTIONS);
  for (guint i = 0; i < POLICY_FUNCTIONS; i++)
    g_assert_true(g_str_has_prefix(policy_function_name(policy_placement_nth(placement, i)), "1 "));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/policy/store/round-trip", test_round_trip);
  g_test_add_func("/policy/store/run-that-was-packed-is-over", test_run_that_was_packed_is_over);
  g_test_add_func("/policy/store/every-beginning-is-refused", test_every_beginning_is_refused);
  g_test_add_func("/policy/store/every-flipped-bit-is-refused", test_every_flipped_bit_is_refused);
  g_test_add_func("/policy/store/hostile", test_hostile);
  g_test_add_func("/policy/store/bounded", test_bounded);
  return g_test_run();
}
