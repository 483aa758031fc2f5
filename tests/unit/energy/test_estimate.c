/* Joules by the model: processor, waiting, traffic, bytes, promotions, tails and what cuts them short. The
 * numbers are small ones that can be worked out by heart. */
#include "energy/energy.h"

/* 10 W with traffic, 1 W asleep, 100 W for 0.1 s to wake up; then 5 W for 4 s, 2 W for 3 s. A megabyte up
 * takes 3 J, one down 1 J. */
static const EnergyRadio radio = {
    .active_w = 10,
    .up_j = 3e-6,
    .down_j = 1e-6,
    .idle = {.w = 1, .ramp_w = 100, .ramp_s = 0.1},
    .tails = {{.w = 5, .s = 4}, {.w = 2, .s = 3, .ramp_w = 50, .ramp_s = 0.2}},
    .tail_count = 2,
};

static const EnergyRadio plain = {.active_w = 10, .idle = {.w = 1, .ramp_w = 3, .ramp_s = 1}};
static const EnergyRadio limited = {.active_w = 10, .air_rate = 1e6};
static const EnergyModel model = {
    .busy_w = 7,
    .idle_w = 0.5,
    .radios = {[ENERGY_RADIO_LTE] = &radio, [ENERGY_RADIO_WIFI] = &plain, [ENERGY_RADIO_3G] = &limited}};

static EnergyEstimate
estimate(EnergyRadioKind kind, double seconds, const EnergyBurst *bursts, guint count)
{
  return energy_estimate(
      &model, &(EnergyWork){.seconds = seconds, .radio = kind, .bursts = bursts, .burst_count = count});
}

static void
is_near(double value, double expected)
{
  g_assert_cmpfloat_with_epsilon(value, expected, 1e-9);
}

static void
expect(const EnergyEstimate *found, double ramp, double traffic, double tail, double asleep)
{
  is_near(found->ramp, ramp);
  is_near(found->traffic, traffic);
  is_near(found->tail, tail);
  is_near(found->asleep, asleep);
  is_near(found->radio, ramp + traffic + tail + asleep);
}

static void
test_processor(void)
{
  EnergyEstimate found =
      energy_estimate(&model, &(EnergyWork){.processor_s = 6, .seconds = 4, .radio = ENERGY_RADIO_LTE});
  is_near(found.processor, 42); /* one and a half processors */
  is_near(found.waiting, 2);
  g_assert_true(found.waiting_known && found.radio_known);
  expect(&found, 0, 0, 0, 4);
  is_near(found.total, 48);
}

static void
test_unknown(void)
{
  const EnergyModel bare = {.busy_w = 7, .idle_w = ENERGY_UNKNOWN};
  const EnergyBurst burst = {0, 1, 100, 100};
  EnergyEstimate found = energy_estimate(
      &bare,
      &(EnergyWork){
          .processor_s = 1, .seconds = 4, .radio = ENERGY_RADIO_WIRED, .bursts = &burst, .burst_count = 1});
  g_assert_false(found.waiting_known);
  g_assert_false(found.radio_known);
  is_near(found.waiting, 0);
  is_near(found.radio, 0);
  is_near(found.total, 7);
}

/* A promotion, traffic, both tails to their end, and asleep what is left of 20 s. */
static void
test_one(void)
{
  const EnergyBurst burst = {2, 4, 1000000, 2000000};
  EnergyEstimate found = estimate(ENERGY_RADIO_LTE, 20, &burst, 1);
  expect(&found, 10, 20 + 3 + 2, 20 + 6, 20 - 0.1 - 2 - 7);
}

/* The tail outlasts the work, and is counted all the same; asleep is never less than nothing. */
static void
test_last_tail(void)
{
  const EnergyBurst burst = {0, 1, 0, 0};
  EnergyEstimate found = estimate(ENERGY_RADIO_LTE, 1, &burst, 1);
  expect(&found, 10, 10, 26, 0);
}

typedef struct {
  const char *name;
  double pause;             /* between two pieces of a second each */
  double ramp, tail, awake; /* of the pause only */
} Pause;

static const Pause pauses[] = {
    {"none", 0, 0, 0, 0},
    {"in-the-first-tail", 1, 0, 5, 1},
    {"at-its-end", 4, 50 * 0.2, 20, 4.2}, /* then it is in the second */
    {"in-the-second-tail", 6, 50 * 0.2, 20 + 4, 6.2},
    {"at-the-end-of-all", 7, 100 * 0.1, 26, 7.1},
    {"asleep", 30, 100 * 0.1, 26, 7.1},
};

static void
test_pause(gconstpointer data)
{
  const Pause *pause = data;
  const EnergyBurst bursts[] = {{0, 1, 0, 0}, {1 + pause->pause, 2 + pause->pause, 0, 0}};
  EnergyEstimate found = estimate(ENERGY_RADIO_LTE, 100, bursts, 2);
  expect(&found, 10 + pause->ramp, 20, pause->tail + 26, 100 - 0.1 - 2 - 7 - pause->awake);
}

/* The same bytes in ten pieces, a pause of 5 s after each: ten tails for one. */
static void
test_pieces(void)
{
  EnergyBurst bursts[10];
  for (guint i = 0; i < 10; i++)
    bursts[i] = (EnergyBurst){6.0 * i, 6.0 * i + 1, 1000, 0};
  const EnergyBurst whole = {0, 10, 10000, 0};
  EnergyEstimate pieces = estimate(ENERGY_RADIO_LTE, 60, bursts, 10),
                 once = estimate(ENERGY_RADIO_LTE, 60, &whole, 1);
  is_near(pieces.traffic, once.traffic);
  is_near(pieces.tail, 9 * (20 + 2) + 26);
  is_near(pieces.ramp, 10 + 9 * 10);
  is_near(once.tail, 26);
  is_near(once.ramp, 10);
}

/* Time that two pieces share is counted once, their bytes are both. */
static void
test_overlap(void)
{
  const EnergyBurst bursts[] = {{0, 5, 1000000, 0}, {1, 2, 1000000, 0}, {4, 6, 0, 1000000}, {6, 7, 0, 0}};
  EnergyEstimate found = estimate(ENERGY_RADIO_LTE, 7, bursts, 4);
  expect(&found, 10, 70 + 6 + 1, 26, 0);
}

/* Without tails a pause ends in a promotion, but there is none without a pause. */
static void
test_no_tail(void)
{
  const EnergyBurst bursts[] = {{0, 1, 5, 5}, {1, 2, 5, 5}, {4, 5, 5, 5}};
  EnergyEstimate found = estimate(ENERGY_RADIO_WIFI, 10, bursts, 3);
  expect(&found, 6, 30, 0, 10 - 3 - 2);
}

/* Pieces of which only the bytes are known last as long as these take on the air, one after the other. */
static void
test_air(void)
{
  const EnergyBurst at_once[] = {{0, 0, 1000000, 1000000}, {0, 0, 500000, 0}, {1, 1, 500000, 0}};
  EnergyEstimate found = estimate(ENERGY_RADIO_3G, 10, at_once, 3);
  expect(&found, 0, 30, 0, 0);
  const EnergyBurst slow = {0, 4, 1000000, 0};
  found = estimate(ENERGY_RADIO_3G, 10, &slow, 1);
  expect(&found, 0, 40, 0, 0);
  const EnergyBurst apart[] = {{0, 0, 1000000, 0}, {3, 3, 1000000, 0}};
  found = estimate(ENERGY_RADIO_3G, 10, apart, 2);
  expect(&found, 0, 20, 0, 0);
}

/* By the installed table: a kilobyte over LTE is little but its promotion and its tail. */
static void
test_lte(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EnergyModels) models = energy_models_load(TABLE, "/nonexistent/power.ini", &error);
  g_assert_no_error(error);
  const EnergyModel *phone = energy_models_chosen(models, NULL, &error);
  g_assert_no_error(error);
  const EnergyBurst burst = {0, 0.1, 1000, 0};
  EnergyEstimate found = energy_estimate(
      phone, &(EnergyWork){.seconds = 0.1, .radio = ENERGY_RADIO_LTE, .bursts = &burst, .burst_count = 1});
  is_near(found.ramp, 1.21 * 0.26);
  is_near(found.traffic, 1.2 * 0.1 + 1000 * 8 * 438.39e-9);
  is_near(found.tail, 1.2 * 0.1 + 1.122 * 0.02 + 1.091 * 10);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/energy/estimate/processor", test_processor);
  g_test_add_func("/energy/estimate/unknown", test_unknown);
  g_test_add_func("/energy/estimate/one", test_one);
  g_test_add_func("/energy/estimate/last-tail", test_last_tail);
  g_test_add_func("/energy/estimate/pieces", test_pieces);
  g_test_add_func("/energy/estimate/overlap", test_overlap);
  g_test_add_func("/energy/estimate/no-tail", test_no_tail);
  g_test_add_func("/energy/estimate/air", test_air);
  g_test_add_func("/energy/estimate/lte", test_lte);
  for (gsize i = 0; i < G_N_ELEMENTS(pauses); i++) {
    g_autofree char *path = g_strconcat("/energy/estimate/pause/", pauses[i].name, NULL);
    g_test_add_data_func(path, &pauses[i], test_pause);
  }
  return g_test_run();
}
