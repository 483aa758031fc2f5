/* The four profiles, and what the tracker makes of what is seen of a link. */
#include <math.h>

#include "policy/tracker.h"

static void
near(double is, double should, double factor)
{
  g_assert_cmpfloat(is, <=, should * factor);
  g_assert_cmpfloat(is, >=, should / factor);
}

static void
test_profiles(void)
{
  const PolicyConditions *g3 = &policy_profile_find("3g")->conditions;
  g_assert_null(policy_profile_find("5g"));
  g_assert_cmpfloat_with_epsilon(g3->round_trip_s, 0.12, 1e-12);
  g_assert_cmpfloat_with_epsilon(g3->up, 50e3, 1e-6);
  g_assert_cmpfloat_with_epsilon(g3->down, 250e3, 1e-6);
  /* Two round trips, 100 kB up, 500 kB down: 0.24 + 2 + 2 s. */
  g_assert_cmpfloat_with_epsilon(policy_conditions_seconds(g3, 2, 100e3, 500e3), 4.24, 1e-9);
  PolicyConditions none = *g3;
  none.linked = FALSE;
  g_assert_true(isinf(policy_conditions_seconds(&none, 1, 1, 1)));
}

static void
test_nearest(void)
{
  for (guint i = 0; i < POLICY_PROFILES; i++)
    g_assert_cmpint(policy_conditions_nearest(&policy_profiles[i].conditions), ==, i);
  PolicyConditions link = {TRUE, 0.08, 100e3, 300e3, ENERGY_RADIO_LTE};
  g_assert_cmpint(policy_conditions_nearest(&link), ==, POLICY_3G);
  PolicyConditions slow_wifi = {TRUE, 0.008, 2e6, 3e6, ENERGY_RADIO_WIRED};
  g_assert_cmpint(policy_conditions_nearest(&slow_wifi), ==, POLICY_WIFI);
  PolicyConditions only_trip = {TRUE, 0.04, 0, 0, ENERGY_RADIO_WIFI};
  g_assert_cmpint(policy_conditions_nearest(&only_trip), ==, POLICY_LTE);
  PolicyConditions nothing = {TRUE, 0, 0, 0, ENERGY_RADIO_3G};
  g_assert_cmpint(policy_conditions_nearest(&nothing), ==, POLICY_3G);
}

static PolicyTransfer
transfer_over(const PolicyConditions *link, double trips, double up, double down)
{
  return (PolicyTransfer){trips, up, down, policy_conditions_seconds(link, trips, up, down)};
}

/* Traffic of all kinds over a link that is not quite any profile. */
static void
test_learns_a_link(void)
{
  PolicyTracker tracker;
  PolicyConditions real = {TRUE, 0.007, 3e6, 8e6, ENERGY_RADIO_WIFI};
  policy_tracker_init(&tracker, ENERGY_RADIO_WIFI);
  for (guint i = 0; i < 60; i++) {
    PolicyTransfer transfer = transfer_over(&real, 1 + i % 3, i % 2 ? 1e3 : 5e5, i % 5 ? 1e3 : 1e6);
    policy_tracker_transfer(&tracker, i, &transfer);
  }
  near(tracker.now.round_trip_s, 0.007, 1.15);
  near(tracker.now.up, 3e6, 1.15);
  near(tracker.now.down, 8e6, 1.15);
  g_assert_cmpuint(tracker.changes, ==, 0);
}

static void
test_sudden_change_at_once(void)
{
  PolicyTracker tracker;
  policy_tracker_init(&tracker, ENERGY_RADIO_WIFI);
  policy_tracker_ping(&tracker, 0, 0.005);
  PolicyTransfer slow = transfer_over(&policy_profiles[POLICY_3G].conditions, 1, 3e5, 1e4);
  policy_tracker_transfer(&tracker, 1, &slow);
  g_assert_cmpint(policy_conditions_nearest(&tracker.now), ==, POLICY_3G);
  near(policy_conditions_seconds(&tracker.now, 1, 3e5, 1e4), slow.seconds, 1.01);
  /* And by a ping alone, which tells the rest, too. */
  policy_tracker_ping(&tracker, 2, 0.0055);
  g_assert_cmpint(policy_conditions_nearest(&tracker.now), ==, POLICY_WIFI);
}

static void
test_freak_is_taken_back(void)
{
  PolicyTracker tracker;
  policy_tracker_init(&tracker, ENERGY_RADIO_WIFI);
  for (guint i = 0; i < 5; i++)
    policy_tracker_ping(&tracker, i, 0.005);
  PolicyTransfer freak = {1, 1e5, 1e4, 9};
  policy_tracker_transfer(&tracker, 6, &freak);
  g_assert_cmpfloat(policy_conditions_seconds(&tracker.now, 1, 1e5, 1e4), >, 1);
  policy_tracker_ping(&tracker, 7, 0.005);
  near(policy_conditions_seconds(&tracker.now, 1, 1e5, 1e4), 0.027, 1.2);
}

/* What was learned of a link counts when it is back. */
static void
test_remembers(void)
{
  PolicyTracker tracker;
  PolicyConditions home = {TRUE, 0.004, 2e6, 2e6, ENERGY_RADIO_WIFI};
  policy_tracker_init(&tracker, ENERGY_RADIO_WIFI);
  for (guint i = 0; i < 30; i++) {
    PolicyTransfer transfer = transfer_over(&home, 1, i % 2 ? 4e5 : 1e3, i % 2 ? 1e3 : 4e5);
    policy_tracker_transfer(&tracker, i, &transfer);
  }
  for (guint i = 0; i < 3; i++)
    policy_tracker_ping(&tracker, 40 + i, 0.12);
  near(tracker.now.up, 50e3, 1.01);
  policy_tracker_lost(&tracker, 50);
  g_assert_false(tracker.now.linked);
  policy_tracker_ping(&tracker, 60, 0.004);
  g_assert_true(tracker.now.linked);
  near(tracker.now.up, 2e6, 1.2);
  /* The radio says it before anything is sent. */
  policy_tracker_radio(&tracker, ENERGY_RADIO_3G, TRUE);
  near(tracker.now.up, 50e3, 1.01);
  g_assert_true(tracker.now.metered);
  policy_tracker_radio(&tracker, ENERGY_RADIO_WIFI, FALSE);
  near(tracker.now.up, 2e6, 1.2);
}

static void
test_nonsense_is_left_out(void)
{
  static const PolicyTransfer nonsense[] = {
      {1, 1, 1, -1}, {-1, 1, 1, 1},  {1, NAN, 1, 1},   {1, 1, INFINITY, 1},
      {0, 0, 0, 1},  {1, 1, 1, NAN}, {1, 1, 1, 1e300}, {1e300, 1, 1, 1},
  };
  PolicyTracker tracker;
  policy_tracker_init(&tracker, ENERGY_RADIO_LTE);
  PolicyConditions before = tracker.now;
  for (guint i = 0; i < G_N_ELEMENTS(nonsense); i++)
    policy_tracker_transfer(&tracker, i, &nonsense[i]);
  policy_tracker_ping(&tracker, 9, NAN);
  policy_tracker_ping(&tracker, 9, -1);
  policy_tracker_battery(&tracker, TRUE, 7);
  g_assert_cmpfloat(tracker.now.up, ==, before.up);
  g_assert_cmpfloat(tracker.now.round_trip_s, ==, before.round_trip_s);
  g_assert_cmpfloat(tracker.now.battery, ==, POLICY_BATTERY_UNKNOWN);
  /* The utmost that makes sense leaves numbers that do. */
  for (guint i = 0; i < 50; i++) {
    PolicyTransfer most = {i % 2 ? 1e9 : 0, 1e15, i % 3 ? 1e15 : 0, i % 5 ? 0 : 1e6};
    policy_tracker_transfer(&tracker, 10 + i, &most);
    g_assert_true(isfinite(tracker.now.up) && tracker.now.up > 0 && isfinite(tracker.now.down) &&
                  tracker.now.down > 0 && isfinite(tracker.now.round_trip_s) && tracker.now.round_trip_s > 0);
  }
}

/* One for each call of a second; none while traffic tells. */
static void
test_pings_are_few(void)
{
  PolicyTracker tracker;
  guint pings = 0;
  policy_tracker_init(&tracker, ENERGY_RADIO_WIFI);
  for (guint i = 0; i < 1000; i++)
    if (policy_tracker_wants_ping(&tracker, i / 100.0, 1)) {
      policy_tracker_ping(&tracker, i / 100.0, 0.005);
      pings++;
    }
  g_assert_cmpuint(pings, >=, 10);
  g_assert_cmpuint(pings, <=, 21);
  g_assert_false(policy_tracker_wants_ping(&tracker, 1e6, 0));
  policy_tracker_ping(&tracker, 2e6, 0.005);
  g_assert_false(policy_tracker_wants_ping(&tracker, 2e6 + 0.1, 1));
}

static void
test_words(void)
{
  PolicyConditions link = policy_profiles[POLICY_WIFI].conditions;
  link.metered = link.on_battery = TRUE;
  link.battery = 0.62;
  g_autofree char *words = policy_conditions_words(&link);
  g_assert_true(g_str_has_prefix(words, "a link like wifi: 5.0 ms, "));
  g_assert_true(g_str_has_suffix(words, ", metered, on battery (62 %)"));
  link.linked = FALSE;
  g_autofree char *none = policy_conditions_words(&link);
  g_assert_true(g_str_has_prefix(none, "no link"));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/policy/link/profiles", test_profiles);
  g_test_add_func("/policy/link/nearest", test_nearest);
  g_test_add_func("/policy/link/learns-a-link", test_learns_a_link);
  g_test_add_func("/policy/link/sudden-change-at-once", test_sudden_change_at_once);
  g_test_add_func("/policy/link/freak-is-taken-back", test_freak_is_taken_back);
  g_test_add_func("/policy/link/remembers", test_remembers);
  g_test_add_func("/policy/link/nonsense-is-left-out", test_nonsense_is_left_out);
  g_test_add_func("/policy/link/pings-are-few", test_pings_are_few);
  g_test_add_func("/policy/link/words", test_words);
  return g_test_run();
}
