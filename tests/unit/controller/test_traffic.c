/* Bytes by kind and round trips: every byte of a message is counted once, whatever the message says. */
#include "controller/traffic.h"
#include "mirror/tracker.h"

typedef Doppel__Engine__Message Message;

enum { PAGE = 4096 };

static Message
message_of(Doppel__Engine__Message__KindCase kind)
{
  Message message = DOPPEL__ENGINE__MESSAGE__INIT;
  message.kind_case = kind;
  return message;
}

static guint64
total(const Traffic *traffic)
{
  guint64 sum = 0;
  for (TrafficKind kind = 0; kind < TRAFFIC_KINDS; kind++)
    sum += traffic_bytes(traffic, kind);
  return sum;
}

static void
count(TrafficMeter *meter, const Message *message, TrafficWay way, guint waiting)
{
  traffic_count(meter, message, doppel__engine__message__get_packed_size(message), way, waiting);
}

/* A piece with these runs and so many bytes of contents. */
static void
count_piece(TrafficMeter *meter, Doppel__Engine__Run *runs, gsize run_count, gsize bytes)
{
  g_autofree guint8 *data = g_malloc0(bytes + 1);
  g_autofree Doppel__Engine__Run **list = g_new(Doppel__Engine__Run *, run_count + 1);
  for (gsize i = 0; i < run_count; i++)
    list[i] = &runs[i];
  Doppel__Engine__DeltaPiece piece = DOPPEL__ENGINE__DELTA_PIECE__INIT;
  piece.run = list;
  piece.n_run = run_count;
  piece.has_data = bytes > 0;
  piece.data.data = data;
  piece.data.len = bytes;
  Message message = message_of(DOPPEL__ENGINE__MESSAGE__KIND_DELTA);
  message.delta = &piece;
  guint64 before = total(&meter->now);
  count(meter, &message, TRAFFIC_OUT, 0);
  g_assert_cmpuint(total(&meter->now) - before, ==, doppel__engine__message__get_packed_size(&message));
}

static Doppel__Engine__Run
run_of(guint32 kind, guint64 pages, guint32 changes)
{
  Doppel__Engine__Run run = DOPPEL__ENGINE__RUN__INIT;
  run.page = 1;
  run.kind = kind;
  run.pages = pages;
  run.has_changes = kind == MIRROR_RUN_CHANGES;
  run.changes = changes;
  return run;
}

static void
test_delta(void)
{
  TrafficMeter meter = {0};
  Doppel__Engine__Run runs[] = {run_of(MIRROR_RUN_DATA, 3, 0), run_of(MIRROR_RUN_HOLE, 1000, 0),
                                run_of(MIRROR_RUN_CHANGES, 1, 77), run_of(MIRROR_RUN_DATA, 1, 0)};
  count_piece(&meter, runs, G_N_ELEMENTS(runs), 4 * PAGE + 77);
  g_assert_cmpuint(meter.now.bytes[TRAFFIC_PUSHED][TRAFFIC_OUT], ==, 4 * PAGE);
  g_assert_cmpuint(meter.now.bytes[TRAFFIC_CHANGES][TRAFFIC_OUT], ==, 77);
  g_assert_cmpuint(meter.now.bytes[TRAFFIC_STATE][TRAFFIC_OUT], >, 0);
  g_assert_cmpuint(meter.now.bytes[TRAFFIC_STATE][TRAFFIC_OUT], <, 100);
}

/* Runs that call for more than there is, or for more than there can be. */
static void
test_hostile_delta(void)
{
  TrafficMeter meter = {0};
  Doppel__Engine__Run runs[] = {run_of(MIRROR_RUN_DATA, G_MAXUINT64, 0),
                                run_of(MIRROR_RUN_CHANGES, 1, G_MAXUINT32),
                                run_of(77, G_MAXUINT64 / PAGE + 1, G_MAXUINT32)};
  for (gsize bytes = 0; bytes < 3 * PAGE; bytes += 555)
    count_piece(&meter, runs, G_N_ELEMENTS(runs), bytes);
}

static void
test_files_in_others(void)
{
  TrafficMeter meter = {0};
  guint8 bytes[500] = {0};
  Doppel__Engine__Told told = DOPPEL__ENGINE__TOLD__INIT, *list[] = {&told, &told};
  told.path.data = told.facts.data = bytes;
  told.path.len = told.facts.len = sizeof bytes;
  Doppel__Engine__Block block = DOPPEL__ENGINE__BLOCK__INIT;
  block.stale = list;
  block.n_stale = G_N_ELEMENTS(list);
  Message message = message_of(DOPPEL__ENGINE__MESSAGE__KIND_BLOCK);
  message.block = &block;
  count(&meter, &message, TRAFFIC_OUT, 0);
  g_assert_cmpuint(meter.now.bytes[TRAFFIC_FILES][TRAFFIC_OUT], >=, 2000);
  g_assert_cmpuint(meter.now.bytes[TRAFFIC_STATE][TRAFFIC_OUT], <, 100);

  Doppel__Engine__Output output = DOPPEL__ENGINE__OUTPUT__INIT, *outputs[] = {&output};
  output.bytes.data = bytes;
  output.bytes.len = sizeof bytes;
  Doppel__Engine__BlockEnd end = DOPPEL__ENGINE__BLOCK_END__INIT;
  end.output = outputs;
  end.n_output = 1;
  message = message_of(DOPPEL__ENGINE__MESSAGE__KIND_BLOCK_END);
  message.block_end = &end;
  count(&meter, &message, TRAFFIC_IN, 0);
  g_assert_cmpuint(meter.now.bytes[TRAFFIC_CALLS][TRAFFIC_IN], >=, 500);
  g_assert_cmpuint(meter.now.bytes[TRAFFIC_STATE][TRAFFIC_IN], <, 100);
}

/* An answer is what arrives after something was sent; only the first one waited for. */
static void
test_round_trips(void)
{
  static const struct {
    const char *what; /* '>' sent, '<' taken; a digit: so many have arrived when the next one is sent */
    guint64 round_trips;
  } rows[] = {{"", 0},     {">", 0},    {"<", 0},    {"><", 1},    {">>><<<", 1},
              {"><><", 2}, {"<<><", 1}, {">1><", 0}, {">1><<", 1}, {">2><<><", 1}};
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
    TrafficMeter meter = {0};
    guint waiting = 0;
    Doppel__Engine__Bye bye = DOPPEL__ENGINE__BYE__INIT;
    Message message = message_of(DOPPEL__ENGINE__MESSAGE__KIND_BYE);
    message.bye = &bye;
    for (const char *at = rows[i].what; *at; at++) {
      if (g_ascii_isdigit(*at)) {
        waiting = (guint)(*at - '0');
        continue;
      }
      count(&meter, &message, *at == '>' ? TRAFFIC_OUT : TRAFFIC_IN, waiting);
      waiting = 0;
    }
    g_test_message("%s", rows[i].what);
    g_assert_cmpuint(meter.now.round_trips, ==, rows[i].round_trips);
  }
}

static void
test_move(void)
{
  TrafficMeter meter = {0};
  Traffic sum = {0};
  meter.now.bytes[TRAFFIC_STATE][TRAFFIC_IN] = 10;
  traffic_move(&meter, TRAFFIC_IN, TRAFFIC_STATE, TRAFFIC_KNOWN, 4);
  traffic_move(&meter, TRAFFIC_IN, TRAFFIC_STATE, TRAFFIC_PULLED, G_MAXUINT64);
  traffic_add(&sum, &meter.now);
  traffic_add(&sum, &meter.now);
  g_assert_cmpuint(traffic_bytes(&sum, TRAFFIC_STATE), ==, 0);
  g_assert_cmpuint(traffic_bytes(&sum, TRAFFIC_KNOWN), ==, 8);
  g_assert_cmpuint(traffic_bytes(&sum, TRAFFIC_PULLED), ==, 12);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/traffic/delta", test_delta);
  g_test_add_func("/traffic/hostile-delta", test_hostile_delta);
  g_test_add_func("/traffic/files-in-others", test_files_in_others);
  g_test_add_func("/traffic/round-trips", test_round_trips);
  g_test_add_func("/traffic/move", test_move);
  return g_test_run();
}
