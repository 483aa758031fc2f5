/* What a model makes of calls: against arguments, through freaks, on links that it has not seen; and prices.
 */
#include <math.h>
#include <stdlib.h>

#include "policy/model.h"

static void
near(double is, double should, double factor)
{
  if (!(is <= should * factor && is >= should / factor))
    g_error("%g is not within a factor of %g of %g", is, factor, should);
}

static PolicyCall
call_of(guint64 first, guint64 second)
{
  return (PolicyCall){{first, 0x7f1234567890, second, 0, 0, 0}, POLICY_ARGUMENTS};
}

static double
local_s(const PolicyModel *model, guint64 first, guint64 second)
{
  PolicyCall call = call_of(first, second);
  PolicyCost cost;
  PolicyDoubt doubt;
  g_assert_true(policy_model_local(model, &call, &cost, &doubt));
  return cost.seconds;
}

static GRand *noise; /* of a fixed seed */

static void
learn(PolicyModel *model, guint64 first, guint64 second, double seconds)
{
  PolicyCall call = call_of(first, second);
  call.arguments[1] += g_rand_int_range(noise, 0, 1 << 20);
  call.arguments[4] = g_rand_int_range(noise, 0, 1000);
  policy_model_learn_local(model, &call, seconds, seconds / 2);
}

static void
test_nothing_known(void)
{
  g_autoptr(PolicyModel) model = policy_model_new();
  PolicyCall call = call_of(1, 1);
  PolicyCost cost;
  PolicyDoubt doubt;
  g_assert_false(policy_model_local(model, &call, &cost, &doubt));
  g_assert_false(policy_model_block(model, &call, &policy_profiles[POLICY_LAN].conditions, 0, &cost, &doubt));
}

static void
test_constant(void)
{
  g_autoptr(PolicyModel) model = policy_model_new();
  for (guint i = 0; i < 20; i++)
    learn(model, i, i * i, 0.25);
  PolicyCall call = call_of(7, 49);
  PolicyCost cost;
  PolicyDoubt doubt;
  call.arguments[4] = 500;
  g_assert_true(policy_model_local(model, &call, &cost, &doubt));
  near(cost.seconds, 0.25, 1.05);
  near(cost.processor_s, 0.125, 1.05);
  g_assert_cmpfloat(doubt, <, 1.1);
  g_assert_cmpuint(policy_model_local_count(model), ==, 20);
}

/* Far beyond what was seen. */
static void
test_grows_with_an_argument(void)
{
  g_autoptr(PolicyModel) linear = policy_model_new(), square = policy_model_new();
  for (guint i = 0; i < 40; i++) {
    double n = pow(10, 2 + i % 5 * 0.5);
    learn(linear, (guint64)n, 3, n * 1e-5);
    learn(square, (guint64)n, 3, n * n * 1e-8);
  }
  near(local_s(linear, 1000000, 3), 10, 1.6);
  near(local_s(square, 200000, 3), 400, 1.6);
  near(local_s(linear, 1000, 3), 0.01, 1.1);
}

static void
test_product_of_two(void)
{
  g_autoptr(PolicyModel) model = policy_model_new();
  g_autoptr(GRand) random = g_rand_new_with_seed(7);
  for (guint i = 0; i < 200; i++) {
    double n = exp(g_rand_double_range(random, 4, 9)), m = exp(g_rand_double_range(random, 4, 9));
    learn(model, (guint64)n, (guint64)m, n * m * 1e-6);
  }
  near(local_s(model, 1000, 1000), 1, 1.5);
  near(local_s(model, 5000, 200), 1, 1.5);
  near(local_s(model, 5000, 5000), 25, 1.7);
}

static void
test_modes(void)
{
  static const double costs[] = {0.01, 3, 0.2, 0.0005};
  g_autoptr(PolicyModel) model = policy_model_new();
  g_autoptr(GRand) random = g_rand_new_with_seed(7);
  for (guint i = 0; i < 80; i++) {
    guint mode = g_rand_int_range(random, 0, 4);
    learn(model, mode, 3, costs[mode]);
  }
  for (guint mode = 0; mode < 4; mode++)
    near(local_s(model, mode, 3), costs[mode], 1.2);
}

static void
test_freaks(void)
{
  g_autoptr(PolicyModel) model = policy_model_new();
  for (guint i = 0; i < 60; i++)
    learn(model, 5, 5, i % 20 == 10 ? 50 : 0.1);
  near(local_s(model, 5, 5), 0.1, 1.4);
}

/* It has become another: a few calls later that is known. */
static void
test_changes(void)
{
  g_autoptr(PolicyModel) model = policy_model_new();
  for (guint i = 0; i < 50; i++)
    learn(model, 5, 5, 0.1);
  for (guint i = 0; i < 4; i++)
    learn(model, 5, 5, 2);
  near(local_s(model, 5, 5), 2, 1.3);
}

static PolicyBlock
block_over(const PolicyConditions *link, double clone_s, double up)
{
  PolicyBlock block = {
      .device_s = 0.004, .clone_s = clone_s, .around_s = 0.002, .up = up, .down = 10e3, .round_trips = 2};
  block.seconds = block.device_s + block.clone_s + block.around_s +
                  policy_conditions_seconds(link, block.round_trips, block.up, block.down);
  return block;
}

/* What was seen on one link holds on another: 0.006 + 0.1 + 0.24 + 2 + 0.04 s on 3g. */
static void
test_another_link(void)
{
  g_autoptr(PolicyModel) model = policy_model_new();
  PolicyCall call = call_of(5, 5), first = call_of(5, 5);
  PolicyCost cost;
  PolicyDoubt doubt;
  first.first = TRUE;
  for (guint i = 0; i < 10; i++) {
    PolicyBlock block = block_over(&policy_profiles[POLICY_WIFI].conditions, 0.1, i ? 100e3 : 900e3);
    policy_model_learn_local(model, &call, 0.8, 0.8);
    policy_model_learn_block(model, i ? &call : &first, &block);
  }
  g_assert_true(policy_model_block(model, &call, &policy_profiles[POLICY_3G].conditions, 0, &cost, &doubt));
  near(cost.seconds, 2.386, 1.05);
  near(cost.processor_s, 0.004, 1.05);
  near(cost.up, 100e3, 1.05);
  near(policy_model_speed(model), 8, 1.1);
  g_assert_true(policy_model_block(model, &first, &policy_profiles[POLICY_3G].conditions, 0, &cost, &doubt));
  near(cost.seconds, 18.386, 1.05);
  g_assert_cmpuint(policy_model_block_count(model, TRUE), ==, 1);
  g_assert_cmpuint(policy_model_block_count(model, FALSE), ==, 9);
}

/* The clone was seen with small arguments only; the device with all. */
static void
test_speed_carries(void)
{
  g_autoptr(PolicyModel) model = policy_model_new();
  PolicyCost cost;
  PolicyDoubt doubt;
  for (guint i = 0; i < 60; i++) {
    guint64 n = 1000u << i % 6;
    learn(model, n, 3, n * 1e-5);
    if (n <= 2000) {
      PolicyCall call = call_of(n, 3);
      PolicyBlock block = block_over(&policy_profiles[POLICY_LAN].conditions, n * 1e-6, 1e3);
      policy_model_learn_block(model, &call, &block);
    }
  }
  PolicyCall large = call_of(1000000, 3);
  g_assert_true(policy_model_block(model, &large, &policy_profiles[POLICY_LAN].conditions, 0, &cost, &doubt));
  near(cost.clone_s, 1, 1.8);
}

static void
test_belief(void)
{
  g_autoptr(PolicyModel) model = policy_model_new();
  PolicyBelief belief = {4, 0.01, 0.5, 20e3, 5e3, 1, 1e6};
  PolicyCall call = call_of(1, 1);
  PolicyCost cost;
  PolicyDoubt doubt;
  policy_model_believe(model, &belief);
  g_assert_cmpfloat_with_epsilon(local_s(model, 1, 1), 4, 1e-9);
  g_assert_true(policy_model_block(model, &call, &policy_profiles[POLICY_WIFI].conditions, 0, &cost, &doubt));
  /* 0.01 + 0.5 + 0.001 hoped around it + 0.005 + 0.004 + 0.001 */
  g_assert_cmpfloat_with_epsilon(cost.seconds, 0.521, 1e-9);
  learn(model, 1, 1, 0.3);
  near(local_s(model, 1, 1), 0.3, 1.01);
}

static void
test_nonsense_is_left_out(void)
{
  g_autoptr(PolicyModel) model = policy_model_new();
  PolicyCall call = call_of(G_MAXUINT64, 1ull << 63);
  call.here_s = NAN;
  policy_model_learn_local(model, &call, NAN, 1);
  policy_model_learn_local(model, &call, -1, 1);
  policy_model_learn_local(model, &call, INFINITY, 1);
  policy_model_learn_block(model, &call, &(PolicyBlock){.seconds = 1, .up = NAN});
  g_assert_cmpuint(policy_model_local_count(model), ==, 0);
  g_assert_cmpuint(policy_model_block_count(model, FALSE), ==, 0);
  for (guint i = 0; i < 100; i++)
    policy_model_learn_local(model, &call, i % 2 ? 0 : 1e15, 0);
  PolicyCost cost;
  PolicyDoubt doubt;
  g_assert_true(policy_model_local(model, &call, &cost, &doubt));
  g_assert_true(isfinite(cost.seconds));
}

/* ---- prices ---- */

static void
test_time_and_money(void)
{
  PolicyAim time = {.objective = POLICY_TIME};
  PolicyAim money = {.objective = POLICY_MONEY, .prices = {1e-6, 0.1, 0.01}};
  PolicyConditions link = policy_profiles[POLICY_LTE].conditions;
  PolicyCost cost = {2, 0.1, 300e3, 200e3, 3, 0.5};
  g_assert_cmpfloat_with_epsilon(policy_price(&time, &link, &cost, 1), 2, 1e-12);
  g_assert_cmpfloat_with_epsilon(policy_price(&money, &link, &cost, 1), 0.07, 1e-12);
  link.metered = TRUE;
  g_assert_cmpfloat_with_epsilon(policy_price(&money, &link, &cost, 1), 0.57, 1e-12);
  link.linked = FALSE;
  g_assert_true(isinf(policy_price(&time, &link, &cost, 1)));
  PolicyCost local = {2, 2};
  g_assert_cmpfloat_with_epsilon(policy_price(&money, &link, &local, 1), 0.02, 1e-12);
}

/* 1 W awake, 2 W more for a processor; a radio that takes 3 W with traffic, then 4 s of 1.5 W. */
static void
test_energy(void)
{
  EnergyRadio radio = {.kind = ENERGY_RADIO_WIFI, .active_w = 3, .tails = {{1.5, 4}}, .tail_count = 1};
  EnergyModel model = {.busy_w = 2, .idle_w = 1, .radios = {[ENERGY_RADIO_WIFI] = &radio}};
  PolicyAim aim = {POLICY_ENERGY, &model};
  PolicyConditions link = {TRUE, 0, 1e6, 1e6, ENERGY_RADIO_WIFI};
  PolicyCost local = {10, 10};
  g_assert_cmpfloat_with_epsilon(policy_price(&aim, &link, &local, 60), 30, 1e-9);
  /* A second up, a second in the clone, a second down: 3 of 1 W, 0.5 of the processor, 2 of 3 W and one of
   * the tail between them; then all of the tail, or the part of it that the next call leaves. */
  PolicyCost block = {3, 0.25, 1e6, 1e6, 1, 1};
  g_assert_cmpfloat_with_epsilon(policy_price(&aim, &link, &block, 60), 3 + 0.5 + 6 + 1.5 + 6, 1e-9);
  g_assert_cmpfloat_with_epsilon(policy_price(&aim, &link, &block, 1), 3 + 0.5 + 6 + 1.5 + 1.5, 1e-9);
}

static void
test_objectives(void)
{
  PolicyObjective objective;
  for (guint i = 0; i < POLICY_OBJECTIVES; i++) {
    g_assert_true(policy_objective_parse(policy_objective_word(i), &objective));
    g_assert_cmpint(objective, ==, i);
  }
  g_assert_false(policy_objective_parse("fun", &objective));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  const char *seed = g_getenv("POLICY_SEED");
  noise = g_rand_new_with_seed(seed ? (guint32)atoi(seed) : 7);
  g_test_add_func("/policy/model/nothing-known", test_nothing_known);
  g_test_add_func("/policy/model/constant", test_constant);
  g_test_add_func("/policy/model/grows-with-an-argument", test_grows_with_an_argument);
  g_test_add_func("/policy/model/product-of-two", test_product_of_two);
  g_test_add_func("/policy/model/modes", test_modes);
  g_test_add_func("/policy/model/freaks", test_freaks);
  g_test_add_func("/policy/model/changes", test_changes);
  g_test_add_func("/policy/model/another-link", test_another_link);
  g_test_add_func("/policy/model/speed-carries", test_speed_carries);
  g_test_add_func("/policy/model/belief", test_belief);
  g_test_add_func("/policy/model/nonsense-is-left-out", test_nonsense_is_left_out);
  g_test_add_func("/policy/price/time-and-money", test_time_and_money);
  g_test_add_func("/policy/price/energy", test_energy);
  g_test_add_func("/policy/price/objectives", test_objectives);
  int status = g_test_run();
  g_rand_free(noise);
  return status;
}
