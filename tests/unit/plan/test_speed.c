/* Time of an instruction, from what was measured where. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/speed.h"
#include "rig.h"

static void
test_what_counts(void)
{
  static const struct {
    PlanSpeedsMeasured measured; /* the fixed work here, there; the program here, there */
    PlanSpeed device, clone;
  } rows[] = {
      {{0, 0, 0, 0}, {0.5, PLAN_SPEED_UNKNOWN}, {0.5, PLAN_SPEED_UNKNOWN}},
      {{4, 0, 0, 0}, {4, PLAN_SPEED_PLACE}, {4, PLAN_SPEED_UNKNOWN}},
      {{0, 2, 0, 0}, {2, PLAN_SPEED_UNKNOWN}, {2, PLAN_SPEED_PLACE}},
      {{4, 1, 0, 0}, {4, PLAN_SPEED_PLACE}, {1, PLAN_SPEED_PLACE}},
      {{4, 1, 8, 3}, {8, PLAN_SPEED_PROGRAM}, {3, PLAN_SPEED_PROGRAM}},
      {{4, 1, 0, 3}, {12, PLAN_SPEED_CARRIED}, {3, PLAN_SPEED_PROGRAM}},
      {{4, 1, 8, 0}, {8, PLAN_SPEED_PROGRAM}, {2, PLAN_SPEED_CARRIED}},
      /* The two kinds of number differ by less than places do. */
      {{4, 0, 0, 3}, {4, PLAN_SPEED_PLACE}, {3, PLAN_SPEED_PROGRAM}},
      {{0, 0, 0, 3}, {3, PLAN_SPEED_UNKNOWN}, {3, PLAN_SPEED_PROGRAM}},
  };
  for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
    PlanSpeeds speeds = plan_speeds(&rows[i].measured);
    rig_expect_near(speeds.device.ns, rows[i].device.ns);
    rig_expect_near(speeds.clone.ns, rows[i].clone.ns);
    g_assert_cmpint(speeds.device.source, ==, rows[i].device.source);
    g_assert_cmpint(speeds.clone.source, ==, rows[i].clone.source);
  }
}

/* Of any machine that this runs on, however busy. */
static void
test_measured(void)
{
  double ns = plan_speed_measure();
  g_test_message("%.3f ns", ns);
  g_assert_cmpfloat(ns, >, 0.01);
  g_assert_cmpfloat(ns, <, 1e5);
}

/* What valgrind counts of a process that works so many rounds. */
static double
count_instructions(const char *valgrind, const char *rounds)
{
  g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *said = NULL;
  const char *arguments[] = {valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", self, rounds,
                             NULL};
  int status;
  g_assert_true(g_spawn_sync(NULL, (char **)arguments, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL,
                             &said, &status, NULL));
  const char *collected = strstr(said, "Collected : ");
  return status == 0 && collected ? g_ascii_strtod(collected + strlen("Collected : "), NULL) : 0;
}

/* The fixed work is as many instructions as the measure takes it to be. */
static void
test_instructions(void)
{
  g_autofree char *valgrind = g_find_program_in_path("valgrind");
  double few = valgrind ? count_instructions(valgrind, "--work=1") : 0;
  double more = few > 0 ? count_instructions(valgrind, "--work=3") : 0;
  if (few == 0) {
    g_test_skip(valgrind ? "valgrind does not run this program" : "there is no valgrind");
    return;
  }
  g_test_message("%.0f instructions", (more - few) / 2);
  g_assert_cmpfloat((more - few) / 2, >, PLAN_SPEED_INSTRUCTIONS / 1.3);
  g_assert_cmpfloat((more - few) / 2, <, PLAN_SPEED_INSTRUCTIONS * 1.3);
}

int
main(int argc, char **argv)
{
  guint64 sum = 0;
  if (argc == 2 && g_str_has_prefix(argv[1], "--work=")) {
    for (int i = atoi(argv[1] + strlen("--work=")); i > 0; i--)
      sum += plan_speed_work();
    return sum == 1; /* it is not */
  }
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/speed/what-counts", test_what_counts);
  g_test_add_func("/speed/measured", test_measured);
  g_test_add_func("/speed/instructions", test_instructions);
  return g_test_run();
}
