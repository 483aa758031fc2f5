/* Messages about profiles: what makes sense comes through, and nothing else. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "profiler/message.h"
#include "replicator/job_message.h"

static gboolean
is_believed(const ProfilerMessage *message)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) packed = profiler_message_pack(message);
  gsize length;
  const guint8 *data = g_bytes_get_data(packed, &length);
  g_autoptr(ProfilerMessage) back = profiler_message_unpack(data, length, &error);
  if (!back)
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  return back != NULL;
}

#define BYTES(text)                                                                                          \
  (ProtobufCBinaryData)                                                                                      \
  {                                                                                                          \
    strlen(text), (guint8 *)(text)                                                                           \
  }

static void
test_start(void)
{
  ProtobufCBinaryData words[] = {BYTES("gzip")};
  JobRequest request = DOPPEL__WIRE__JOB_REQUEST__INIT;
  ProfilerStart start = DOPPEL__WIRE__PROFILER_START__INIT;
  const ProfilerMessage *message = PROFILER_MESSAGE(START, start, &start);
  start.seconds = 10;
  g_assert_false(is_believed(message)); /* no program */
  start.program = &request;
  g_assert_false(is_believed(message)); /* without a path */
  request.path = BYTES("/usr/bin/gzip");
  request.directory = BYTES("/tmp");
  request.argument = words;
  request.n_argument = 1;
  g_assert_true(is_believed(message));
  start.input = BYTES("/tmp/input");
  start.input_offset = 7;
  g_assert_true(is_believed(message));
  start.input = BYTES("input");
  g_assert_false(is_believed(message));
  start.input = BYTES("/tmp/input");
  start.seconds = 0;
  g_assert_false(is_believed(message));
  start.seconds = PROFILER_SECONDS_MAX + 1;
  g_assert_false(is_believed(message));
}

static void
test_observe(void)
{
  ProtobufCBinaryData functions[PROFILER_FUNCTIONS + 1];
  Doppel__Wire__ProfilerObserve observe = DOPPEL__WIRE__PROFILER_OBSERVE__INIT;
  const ProfilerMessage *message = PROFILER_MESSAGE(OBSERVE, observe, &observe);
  for (guint i = 0; i <= PROFILER_FUNCTIONS; i++)
    functions[i] = BYTES("libc.so.6:0x1234");
  observe.function = functions;
  observe.seconds = 1;
  g_assert_false(is_believed(message));
  observe.n_function = PROFILER_FUNCTIONS;
  g_assert_true(is_believed(message));
  observe.n_function++;
  g_assert_false(is_believed(message));
  observe.n_function = 1;
  functions[0] = (ProtobufCBinaryData){3, (guint8 *)"a\0b"};
  g_assert_false(is_believed(message));
}

static void
test_ran(void)
{
  Doppel__Wire__ProfilerRan ran = DOPPEL__WIRE__PROFILER_RAN__INIT;
  const ProfilerMessage *message = PROFILER_MESSAGE(RAN, ran, &ran);
  ran.status = 255;
  ran.wall_ns = 1;
  ran.work_ns = 0.3;
  g_assert_true(is_believed(message));
  const double none[] = {NAN, INFINITY, -1};
  for (guint i = 0; i < G_N_ELEMENTS(none); i++) {
    ran.work_ns = none[i];
    g_assert_false(is_believed(message));
  }
  ran.work_ns = 0;
  ran.run = PROFILER_RUNS;
  g_assert_false(is_believed(message));
  ran.run = PROFILER_ALONE;
  ran.cpu_ns = G_MAXUINT64;
  g_assert_false(is_believed(message));
}

static void
test_pieces(void)
{
  g_autofree guint8 *piece = g_malloc0(PROFILER_PIECE + 1);
  Doppel__Wire__ProfilerBytes bytes = DOPPEL__WIRE__PROFILER_BYTES__INIT;
  Doppel__Wire__ProfilerOutput output = DOPPEL__WIRE__PROFILER_OUTPUT__INIT;
  bytes.bytes = output.bytes = (ProtobufCBinaryData){PROFILER_PIECE, piece};
  output.stream = 2;
  g_assert_true(is_believed(PROFILER_MESSAGE(BYTES, bytes, &bytes)));
  g_assert_true(is_believed(PROFILER_MESSAGE(OUTPUT, output, &output)));
  output.stream = 0;
  g_assert_false(is_believed(PROFILER_MESSAGE(OUTPUT, output, &output)));
  output.stream = 3;
  g_assert_false(is_believed(PROFILER_MESSAGE(OUTPUT, output, &output)));
  bytes.bytes.len++;
  g_assert_false(is_believed(PROFILER_MESSAGE(BYTES, bytes, &bytes)));
}

static void
test_seen(void)
{
  Doppel__Wire__ProfilerSeen seen = DOPPEL__WIRE__PROFILER_SEEN__INIT;
  const ProfilerMessage *message = PROFILER_MESSAGE(SEEN, seen, &seen);
  seen.function = PROFILER_FUNCTIONS - 1;
  g_assert_true(is_believed(message));
  seen.function++;
  g_assert_false(is_believed(message));
}

static void
test_nothing(void)
{
  ProfilerMessage empty = DOPPEL__WIRE__PROFILER_MESSAGE__INIT;
  g_assert_false(is_believed(&empty));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/profiler/message/start", test_start);
  g_test_add_func("/profiler/message/observe", test_observe);
  g_test_add_func("/profiler/message/ran", test_ran);
  g_test_add_func("/profiler/message/pieces", test_pieces);
  g_test_add_func("/profiler/message/seen", test_seen);
  g_test_add_func("/profiler/message/nothing", test_nothing);
  return g_test_run();
}
