/* What the engine writes of a run, read as another machine's word. */
#include <string.h>

#include "profiler/seen.h"

static gboolean
read_text(ProfilerSeen *seen, const char *json)
{
  return profiler_seen_read(seen, json, strlen(json));
}

/* Of the first function: sums, the first block's part, medians times blocks, the most frequent reason. */
static void
test_numbers(void)
{
  g_autoptr(ProfilerSeen) seen = g_new0(ProfilerSeen, 1);
  g_assert_true(read_text(
      seen, "{\"program\":\"/bin/x\",\"functions\":[{\"function\":\"f\",\"calls\":5,\"remote\":3,\"cut\":1,"
            "\"aborted\":2,\"reasons\":{\"a fork\":1,\"a device\":2},\"bytes_out\":1000,\"bytes_in\":500,"
            "\"split_us\":{\"stop\":1.5,\"capture\":2,\"send\":3,\"apply\":4,\"clone_apply\":10,"
            "\"clone_run\":99,\"clone_capture\":20,\"clone_send\":30,\"wire\":7},\"round_trips\":9,"
            "\"blocks\":[{\"out\":700,\"in\":300,\"round_trips\":5},{\"out\":1}]}]}"));
  g_assert_cmpuint(seen->blocks, ==, 3);
  g_assert_cmpuint(seen->cut, ==, 1);
  g_assert_cmpuint(seen->aborted, ==, 2);
  g_assert_cmpuint(seen->bytes_out, ==, 1000);
  g_assert_cmpuint(seen->bytes_in, ==, 500);
  g_assert_cmpuint(seen->trips, ==, 9);
  g_assert_cmpuint(seen->first_out, ==, 700);
  g_assert_cmpuint(seen->first_in, ==, 300);
  g_assert_cmpuint(seen->first_trips, ==, 5);
  g_assert_cmpfloat_with_epsilon(seen->device_ns, 3 * 10500.0, 0.1);
  g_assert_cmpfloat_with_epsilon(seen->clone_ns, 3 * 60000.0, 0.1);
  g_assert_cmpstr(seen->reason, ==, "a device");
}

/* A first block that is said to move more than all blocks does not. */
static void
test_first_is_a_part(void)
{
  g_autoptr(ProfilerSeen) seen = g_new0(ProfilerSeen, 1);
  g_assert_true(read_text(seen,
                          "{\"functions\":[{\"remote\":2,\"bytes_out\":10,\"bytes_in\":20,\"round_trips\":1,"
                          "\"blocks\":[{\"out\":11,\"in\":21,\"round_trips\":2}]}]}"));
  g_assert_cmpuint(seen->first_out, ==, 10);
  g_assert_cmpuint(seen->first_in, ==, 20);
  g_assert_cmpuint(seen->first_trips, ==, 1);
}

/* Numbers that are none, too large, or negative are not believed; reasons cannot steer a terminal. */
static void
test_hostile_values(void)
{
  g_autoptr(ProfilerSeen) seen = g_new0(ProfilerSeen, 1);
  g_assert_true(read_text(seen,
                          "{\"functions\":[{\"remote\":-3,\"cut\":\"many\",\"bytes_out\":9223372036854775807,"
                          "\"reasons\":{\"\\u001b[2J\":1},\"split_us\":{\"stop\":1e300,\"apply\":-5,"
                          "\"capture\":\"x\"},\"blocks\":[7]}]}"));
  g_assert_cmpuint(seen->blocks, ==, 0);
  g_assert_cmpuint(seen->cut, ==, 0);
  g_assert_cmpuint(seen->bytes_out, <=, G_MAXINT64);
  g_assert_cmpfloat(seen->device_ns, ==, 0);
  g_assert_nonnull(seen->reason);
  g_assert_null(strchr(seen->reason, '\033'));
}

static void
test_no_statistics(void)
{
  static const char *const none[] = {
      "",     "{",       "[]", "{}", "{\"functions\":[]}", "{\"functions\":[1]}", "{\"functions\":{}}",
      "null", "\xff\xfe"};
  for (guint i = 0; i < G_N_ELEMENTS(none); i++) {
    g_autoptr(ProfilerSeen) seen = g_new0(ProfilerSeen, 1);
    g_assert_false(read_text(seen, none[i]));
    g_assert_cmpuint(seen->blocks, ==, 0);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/profiler/seen/numbers", test_numbers);
  g_test_add_func("/profiler/seen/the-first-is-a-part", test_first_is_a_part);
  g_test_add_func("/profiler/seen/hostile-values", test_hostile_values);
  g_test_add_func("/profiler/seen/no-statistics", test_no_statistics);
  return g_test_run();
}
