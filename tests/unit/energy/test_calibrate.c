/* Measuring what this device takes, in a /sys that counts: a world with a clock of its own, in which a device
 * takes so much while it waits, and so much for each processor that is busy. */
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "energy/calibrate.h"
#include "sysfs_rig.h"

#define BATTERY   "class/power_supply/BAT0/"
#define CHARGER   "class/power_supply/AC/"
#define POWERCAP  "class/powercap/"
#define PACKAGE   POWERCAP "intel-rapl:0/"
#define A_BATTERY BATTERY "type=Battery " BATTERY "status=Discharging "
#define A_PACKAGE                                                                                            \
  PACKAGE "name=package-0 " PACKAGE "max_energy_range_uj=262143328850 " PACKAGE "energy_uj=1000 "

typedef enum { NOTHING, POWER, CURRENT, COUNTER } Shows;

typedef struct World World;
struct World {
  char *sys;
  double idle_w, busy_w; /* what is to be found */
  double others;         /* processors that other programs keep busy */
  double share;          /* of a processor that the work gets */
  Shows shows;
  gint64 range, first; /* of the counter */
  const char *at_s;    /* attributes that appear once so much time is over */
  double change_s;

  gint64 now_ns;
  double processor_s, joules;
  double power_w;
  guint passes;
  double longest_s;
  double told_s[2]; /* last that was told of each phase, and of how much */
  double told_of[2];
};

/* ---- the world ---- */

static void
show(World *world)
{
  g_autofree char *text = NULL;
  switch (world->shows) {
  case NOTHING:
    return;
  case POWER:
    text = g_strdup_printf(BATTERY "power_now=%.0f", world->power_w * 1e6);
    break;
  case CURRENT: /* some drivers have what flows out below zero */
    text = g_strdup_printf(BATTERY "current_now=-%.0f " BATTERY "voltage_now=12500000",
                           world->power_w / 12.5 * 1e6);
    break;
  case COUNTER:
    text = g_strdup_printf(PACKAGE "energy_uj=%" G_GINT64_FORMAT,
                           (world->first + (gint64)(world->joules * 1e6)) % world->range);
    break;
  }
  sysfs_rig_put(world->sys, text);
}

static void
take(World *world, gboolean busy)
{
  world->power_w = world->idle_w + world->busy_w * (world->others + (busy ? world->share : 0));
  show(world);
}

static gint64
now(gpointer data)
{
  return ((World *)data)->now_ns;
}

static double
processors(gpointer data)
{
  return ((World *)data)->processor_s;
}

static void
pass(double seconds, gboolean busy, gpointer data)
{
  World *world = data;
  take(world, busy);
  world->passes++;
  world->longest_s = MAX(world->longest_s, seconds);
  world->now_ns += (gint64)(seconds * 1e9 + 0.5);
  world->processor_s += seconds * (world->others + (busy ? world->share : 0));
  world->joules += seconds * world->power_w;
  show(world);
  if (world->at_s && world->now_ns >= world->change_s * 1e9)
    sysfs_rig_put(world->sys, world->at_s);
}

static void
progress(gboolean busy, double done_s, double of_s, gpointer data)
{
  World *world = data;
  g_assert_cmpfloat(done_s, >, world->told_s[busy]);
  g_assert_cmpfloat(done_s, <=, of_s);
  world->told_s[busy] = done_s;
  world->told_of[busy] = of_s;
}

static World
new_world(Shows shows, const char *attributes)
{
  World world = {
      .sys = sysfs_rig_new(), .idle_w = 2, .busy_w = 9, .share = 1, .shows = shows, .range = G_MAXINT64};
  sysfs_rig_put(world.sys, attributes);
  take(&world, FALSE);
  return world;
}

static void
world_clear(World *world)
{
  sysfs_rig_free(world->sys);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static gboolean
calibrate(World *world, double seconds, double *busy_w, double *idle_w, GError **error)
{
  g_autoptr(EnergyMeter) meter = energy_meter_open(world->sys, error);
  const EnergyTrial trial = {now, processors, pass, progress, world};
  return meter && energy_calibrate(meter, seconds, &trial, busy_w, idle_w, error);
}

static void
finds(World *world, double seconds, double within)
{
  g_autoptr(GError) error = NULL;
  double busy_w, idle_w;
  calibrate(world, seconds, &busy_w, &idle_w, &error);
  g_assert_no_error(error);
  g_assert_cmpfloat_with_epsilon(busy_w, world->busy_w, within);
  g_assert_cmpfloat_with_epsilon(idle_w, world->idle_w, within);
}

static void
refuses(World *world, DoppelErrorCode code, const char *says)
{
  g_autoptr(GError) error = NULL;
  double busy_w = -7, idle_w = -7;
  g_assert_false(calibrate(world, 5, &busy_w, &idle_w, &error));
  g_assert_error(error, DOPPEL_ERROR, (gint)code);
  if (!strstr(error->message, says))
    g_assert_cmpstr(error->message, ==, says);
}

/* ---- what is found ---- */

static void
test_power(void)
{
  g_auto(World) world = new_world(POWER, A_BATTERY);
  finds(&world, 60, 1e-5);
}

static void
test_current(void)
{
  g_auto(World) world = new_world(CURRENT, A_BATTERY);
  finds(&world, 60, 1e-4);
}

static void
test_counter(void)
{
  g_auto(World) world = new_world(COUNTER, A_PACKAGE);
  finds(&world, 10, 1e-5);
}

/* Once in each phase and once between them: the counter begins again after 26 J. */
static void
test_wraps(void)
{
  g_auto(World) world = new_world(COUNTER, A_PACKAGE PACKAGE "max_energy_range_uj=26000000");
  world.range = 26000000;
  world.first = 25000000;
  finds(&world, 10, 1e-5);
  g_assert_cmpfloat(world.joules, >, 4 * 26);
  g_assert_cmpfloat(world.longest_s, <=, 1);
}

/* A counter that goes back by more than its range could explain. */
static void
test_counter_back(void)
{
  g_auto(World) world = new_world(COUNTER, A_PACKAGE PACKAGE "max_energy_range_uj=3000");
  world.range = 26000000;
  refuses(&world, DOPPEL_ERROR_UNSUPPORTED, "max_energy_range_uj does not tell how");
}

/* What others do a little of is put into the equation. */
static void
test_others(void)
{
  g_auto(World) world = new_world(COUNTER, A_PACKAGE);
  world.others = 0.7;
  finds(&world, 10, 1e-5);
  world.share = 0.6;
  memset(world.told_s, 0, sizeof world.told_s);
  finds(&world, 10, 1e-5);
}

static void
test_kept_busy(void)
{
  g_auto(World) world = new_world(COUNTER, A_PACKAGE);
  world.others = 1.75;
  world.share = 0.25;
  refuses(&world, DOPPEL_ERROR_FAILED,
          "other programs used this device's processors: 1.75 of them were busy while it was to wait, 2.00 "
          "while it "
          "was to work");
}

/* A gauge that does not move, and one that shows less while the device works. */
static void
test_no_difference(void)
{
  g_auto(World) world = new_world(NOTHING, A_BATTERY BATTERY "power_now=3000000");
  refuses(&world, DOPPEL_ERROR_UNSUPPORTED,
          "no difference between waiting (3.000 W) and working (3.000 W): measure for longer");
  g_auto(World) falls = new_world(POWER, A_BATTERY);
  falls.busy_w = -1;
  refuses(&falls, DOPPEL_ERROR_UNSUPPORTED, "no difference between waiting (2.000 W) and working (1.000 W)");
}

/* Each phase: a fifth of its length to settle, then its length; told second by second. */
static void
test_length(void)
{
  g_auto(World) world = new_world(POWER, A_BATTERY);
  finds(&world, 10, 1e-5);
  g_assert_cmpint(world.now_ns, ==, 24 * G_GINT64_CONSTANT(1000000000));
  for (guint busy = 0; busy < 2; busy++) {
    g_assert_cmpfloat_with_epsilon(world.told_s[busy], 12, 1e-9);
    g_assert_cmpfloat_with_epsilon(world.told_of[busy], 12, 1e-9);
  }
}

/* What the gauge shows of the phase before is not counted. */
static void
test_settles(void)
{
  g_auto(World) world = new_world(NOTHING, A_BATTERY BATTERY "power_now=50000000");
  world.at_s = BATTERY "power_now=2000000";
  world.change_s = 2;
  g_autoptr(GError) error = NULL;
  double busy_w, idle_w;
  g_assert_false(calibrate(&world, 20, &busy_w, &idle_w, &error));
  g_assert_nonnull(strstr(error->message, "waiting (2.000 W) and working (2.000 W)"));
}

/* ---- what is read, and what is not ---- */

typedef struct {
  const char *name, *attributes;
  const char *words; /* of the meter; or NULL */
  const char *why;   /* there is none */
} Case;

static const Case cases[] = {
    {"nothing", "class/", NULL, "class/power_supply is not there; "},
    {"no-powercap", "class/power_supply/", NULL, "class/powercap is not there"},
    {"no-battery", CHARGER "type=Mains " CHARGER "online=0", NULL, "class/power_supply has no battery; "},
    {"battery", A_BATTERY BATTERY "power_now=5", "battery BAT0 (power_now)", NULL},
    {"current", A_BATTERY BATTERY "current_now=5 " BATTERY "voltage_now=5",
     "battery BAT0 (current_now x voltage_now)", NULL},
    {"current-alone", A_BATTERY BATTERY "current_now=5", NULL,
     "the battery BAT0 tells neither power_now nor current_now and voltage_now"},
    {"charging",
     BATTERY "type=Battery " BATTERY "status=Charging " BATTERY "power_now=5 " CHARGER "type=Mains " CHARGER
             "online=1",
     NULL, "gives power: unplug it"},
    {"charging-by-itself", BATTERY "type=Battery " BATTERY "status=Charging " BATTERY "power_now=5", NULL,
     "the battery BAT0 is being charged: unplug the charger"},
    {"full", BATTERY "type=Battery " BATTERY "status=Full " BATTERY "power_now=5", NULL,
     "class/power_supply is not discharging"},
    {"weak-charger", A_BATTERY BATTERY "power_now=5 " CHARGER "type=USB " CHARGER "online=1", NULL,
     "AC gives power: unplug it"},
    {"battery-of-a-mouse", A_BATTERY BATTERY "scope=Device " BATTERY "power_now=5", NULL, "has no battery"},
    {"battery-taken-out", A_BATTERY BATTERY "present=0 " BATTERY "power_now=5", NULL, "has no battery"},
    {"two-batteries",
     A_BATTERY BATTERY
     "power_now=5 class/power_supply/BAT1/type=Battery class/power_supply/BAT1/status=Not_charging",
     "battery BAT0 (power_now)", NULL},
    {"both-give",
     A_BATTERY BATTERY
     "power_now=5 class/power_supply/BAT1/type=Battery class/power_supply/BAT1/status=Discharging "
     "class/power_supply/BAT1/power_now=5",
     "battery BAT0 (power_now), BAT1 (power_now)", NULL},
    {"one-is-charged",
     A_BATTERY BATTERY
     "power_now=5 class/power_supply/BAT1/type=Battery class/power_supply/BAT1/status=Charging",
     NULL, "the battery BAT1 is being charged"},
    {"package", A_PACKAGE, "powercap intel-rapl:0 (package-0)", NULL},
    {"battery-before-package", A_BATTERY BATTERY "power_now=5 " A_PACKAGE, "battery BAT0 (power_now)", NULL},
    {"package-while-charging", A_PACKAGE BATTERY "type=Battery " BATTERY "status=Charging",
     "powercap intel-rapl:0 (package-0)", NULL},
    {"parts",
     A_PACKAGE POWERCAP "intel-rapl:0:0/name=core " POWERCAP "intel-rapl:0:0/energy_uj=1 " POWERCAP
                        "intel-rapl:0:1/name=dram " POWERCAP "intel-rapl:0:1/energy_uj=1 " POWERCAP
                        "intel-rapl-mmio:0/name=package-0 " POWERCAP "intel-rapl-mmio:0/energy_uj=1 " POWERCAP
                        "intel-rapl/enabled=1",
     "powercap intel-rapl:0 (package-0), intel-rapl:0:1 (dram)", NULL},
    {"no-package", POWERCAP "dtpm/name=dtpm", NULL, "class/powercap has no intel-rapl package"},
    {"no-counter", PACKAGE "name=package-0", NULL, "intel-rapl:0/energy_uj can"},
    {"nonsense", A_BATTERY BATTERY "power_now=much " PACKAGE "name=package-0 " PACKAGE "energy_uj=more", NULL,
     "tells neither power_now nor current_now and voltage_now; "},
};

static void
test_case(gconstpointer data)
{
  const Case *each = data;
  g_auto(World) world = new_world(NOTHING, each->attributes);
  g_autoptr(GError) error = NULL;
  g_autoptr(EnergyMeter) meter = energy_meter_open(world.sys, &error);
  if (each->words) {
    g_assert_no_error(error);
    g_assert_cmpstr(energy_meter_words(meter), ==, each->words);
    return;
  }
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  g_assert_true(g_str_has_prefix(error->message, "nothing tells what this device takes: "));
  if (!strstr(error->message, each->why))
    g_assert_cmpstr(error->message, ==, each->why);
}

/* Packages and memory together. */
static void
test_sum(void)
{
  g_auto(World) world = new_world(NOTHING, A_PACKAGE POWERCAP "intel-rapl:0:1/name=dram " POWERCAP
                                                              "intel-rapl:0:1/energy_uj=5");
  g_autoptr(GError) error = NULL;
  g_autoptr(EnergyMeter) meter = energy_meter_open(world.sys, &error);
  double joules;
  g_assert_true(energy_meter_read(meter, 0, &joules, &error));
  g_assert_cmpfloat(joules, ==, 0);
  sysfs_rig_put(world.sys, PACKAGE "energy_uj=3001000 " POWERCAP "intel-rapl:0:1/energy_uj=500005");
  g_assert_true(energy_meter_read(meter, 1, &joules, &error));
  g_assert_cmpfloat_with_epsilon(joules, 3.5, 1e-9);
}

/* Power that changes between two looks is taken to have changed evenly. */
static void
test_slope(void)
{
  g_auto(World) world = new_world(NOTHING, A_BATTERY BATTERY "power_now=1000000");
  g_autoptr(GError) error = NULL;
  g_autoptr(EnergyMeter) meter = energy_meter_open(world.sys, &error);
  double joules;
  g_assert_true(energy_meter_read(meter, 0, &joules, &error));
  sysfs_rig_put(world.sys, BATTERY "power_now=3000000");
  g_assert_true(energy_meter_read(meter, 2 * G_GINT64_CONSTANT(1000000000), &joules, &error));
  g_assert_cmpfloat_with_epsilon(joules, 4, 1e-9);
}

/* ---- what changes meanwhile ---- */

static void
test_plugged_in(void)
{
  g_auto(World) world = new_world(POWER, A_BATTERY);
  world.at_s = CHARGER "type=Mains " CHARGER "online=1";
  world.change_s = 8;
  refuses(&world, DOPPEL_ERROR_UNSUPPORTED, "AC gives power: unplug it");
  g_assert_cmpint(world.now_ns, ==, 8 * G_GINT64_CONSTANT(1000000000));
}

static void
test_counter_gone(void)
{
  g_auto(World) world = new_world(COUNTER, A_PACKAGE);
  world.at_s = PACKAGE "energy_uj=";
  world.change_s = 3;
  refuses(&world, DOPPEL_ERROR_FAILED, "intel-rapl:0/energy_uj cannot be read any more");
}

/* ---- as time really passes ---- */

static void
test_here(void)
{
  EnergyTrial trial = energy_trial_here();
  gint64 before = trial.now_ns(trial.data);
  double used = trial.processor_s(trial.data);
  g_assert_cmpfloat(used, >, 0);
  trial.pass(0.05, FALSE, trial.data);
  g_assert_cmpint(trial.now_ns(trial.data) - before, >=, 50 * 1000000);
  struct timespec begun, ended;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
  before = trial.now_ns(trial.data);
  trial.pass(0.05, TRUE, trial.data);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
  g_assert_cmpint(trial.now_ns(trial.data) - before, >=, 50 * 1000000);
  g_assert_true(ended.tv_sec > begun.tv_sec || ended.tv_nsec > begun.tv_nsec);
  g_assert_cmpfloat(trial.processor_s(trial.data), >=, used);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/energy/calibrate/power", test_power);
  g_test_add_func("/energy/calibrate/current", test_current);
  g_test_add_func("/energy/calibrate/counter", test_counter);
  g_test_add_func("/energy/calibrate/wraps", test_wraps);
  g_test_add_func("/energy/calibrate/counter-back", test_counter_back);
  g_test_add_func("/energy/calibrate/others", test_others);
  g_test_add_func("/energy/calibrate/kept-busy", test_kept_busy);
  g_test_add_func("/energy/calibrate/no-difference", test_no_difference);
  g_test_add_func("/energy/calibrate/length", test_length);
  g_test_add_func("/energy/calibrate/settles", test_settles);
  g_test_add_func("/energy/calibrate/sum", test_sum);
  g_test_add_func("/energy/calibrate/slope", test_slope);
  g_test_add_func("/energy/calibrate/plugged-in", test_plugged_in);
  g_test_add_func("/energy/calibrate/counter-gone", test_counter_gone);
  g_test_add_func("/energy/calibrate/here", test_here);
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree char *path = g_strconcat("/energy/meter/", cases[i].name, NULL);
    g_test_add_data_func(path, &cases[i], test_case);
  }
  return g_test_run();
}
