/* Waiting until a moment: never for ever, whenever the moment is. */
#include "base/clock.h"

static void
test_passed(void)
{
  g_assert_cmpint(clock_left_ms(0), ==, 0);
  g_assert_cmpint(clock_left_ms(G_MININT64), ==, 0);
  g_assert_cmpint(clock_left_ms(clock_now_ns() - 1), ==, 0);
}

/* Many deadlines that pass while they are asked about. */
static void
test_passing(void)
{
  for (int i = 0; i < 200000; i++) {
    int left = clock_left_ms(clock_now_ns() + i % 200);
    g_assert_cmpint(left, >=, 0);
    g_assert_cmpint(left, <=, 1);
  }
}

static void
test_to_come(void)
{
  int left = clock_left_ms(clock_now_ns() + 3600 * G_GINT64_CONSTANT(1000000000));
  g_assert_cmpint(left, <=, 3600000);
  g_assert_cmpint(left, >, 3500000);
  g_assert_cmpint(clock_left_ms(G_MAXINT64), ==, G_MAXINT);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/clock/passed", test_passed);
  g_test_add_func("/clock/passing", test_passing);
  g_test_add_func("/clock/to-come", test_to_come);
  return g_test_run();
}
