/* What streams over a link promise their owners. */
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "mux_rig.h"

static gboolean
all_over(MuxRig *rig, void *data)
{
  return mux_streams(rig->ends[0]) == 0 && mux_streams(rig->ends[1]) == 0;
}

static gboolean
has_asked(MuxRig *rig, void *data)
{
  return rig->asked->len >= GPOINTER_TO_UINT(data);
}

typedef MuxRig *(*MakeRig)(void);
static const MakeRig both_kinds[] = {mux_rig_local, mux_rig_tls};

/* A stream from either end: who opens names a user and a service, who is asked accepts, bytes go both ways,
 * each end ends when it has said what it had to, and then there is nothing left of it. */
static void
test_conversation(void)
{
  for (int kind = 0; kind < 2; kind++)
    for (int end = 0; end < 2; end++) {
      g_autoptr(MuxRig) rig = both_kinds[kind]();
      Talker *caller = mux_rig_open(rig, end, "send");
      mux_rig_until(rig, has_asked, GUINT_TO_POINTER(1));
      Talker *callee = mux_rig_asked(rig, 0);
      g_assert_cmpstr(rig->user, ==, "alice.0");
      g_assert_cmpstr(rig->service, ==, "send");
      caller->end_after = callee->end_after = TRUE;
      talker_write(caller, 1000000);
      talker_write(callee, 30);
      mux_rig_settle(rig);
      g_assert_true(caller->accepted && caller->ended && callee->ended);
      talker_check(callee, 1000000);
      talker_check(caller, 30);
      talker_close(caller, NULL);
      talker_close(callee, NULL);
      mux_rig_settle(rig);
      g_assert_false(caller->reset || callee->reset);
      g_assert_true(all_over(rig, NULL));
    }
}

/* Who opens need not wait for the answer: bytes and the end may come before it. */
static void
test_early(void)
{
  g_autoptr(MuxRig) rig = mux_rig_local();
  rig->wait = TRUE;
  Talker *caller = mux_rig_open(rig, 0, "send");
  caller->end_after = TRUE;
  talker_write(caller, 200000);
  mux_rig_settle(rig);
  Talker *callee = mux_rig_asked(rig, 0);
  g_assert_cmpuint(callee->readables, ==, 0);
  g_assert_false(caller->accepted);
  mux_accept(callee->stream, &talker_callbacks, callee);
  mux_rig_settle(rig);
  g_assert_true(caller->accepted);
  g_assert_true(callee->ended);
  talker_check(callee, 200000);
}

/* A refusal tells why, whatever was written meanwhile. */
static void
test_refused(void)
{
  g_autoptr(MuxRig) rig = mux_rig_local();
  Talker *caller = mux_rig_open(rig, 0, "none");
  Talker *ended = mux_rig_open(rig, 0, "none");
  ended->end_after = TRUE;
  talker_write(caller, 200000);
  talker_write(ended, 100);
  mux_rig_settle(rig);
  g_assert_cmpint(caller->refusal, ==, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE);
  g_assert_cmpstr(caller->words, ==, "there is no such service");
  g_assert_cmpint(ended->refusal, ==, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE);
  g_assert_true(all_over(rig, NULL));
  g_assert_null(rig->errors[0]);
  g_assert_null(rig->errors[1]);
}

/* One end may have nothing more to say and go on listening. */
static void
test_half_close(void)
{
  g_autoptr(MuxRig) rig = mux_rig_local();
  Talker *caller = mux_rig_open(rig, 0, "send");
  caller->end_after = TRUE;
  talker_write(caller, 10);
  mux_rig_settle(rig);
  Talker *callee = mux_rig_asked(rig, 0);
  g_assert_true(callee->ended);
  g_assert_cmpuint(mux_write(caller->stream, "x", 1), ==, 0);
  for (int i = 0; i < 5; i++) {
    talker_write(callee, 300000);
    mux_rig_settle(rig);
    g_assert_cmpuint(caller->got->len, ==, 300000 * (i + 1));
  }
  callee->end_after = TRUE;
  talker_write(callee, 0);
  mux_rig_settle(rig);
  g_assert_true(caller->ended);
  talker_check(caller, 1500000);
}

/* Closing before the peer's end is a reset, with words; neither end hears of the stream again. */
static void
test_reset(void)
{
  for (int by = 0; by < 2; by++) {
    g_autoptr(MuxRig) rig = mux_rig_local();
    Talker *caller = mux_rig_open(rig, 0, "send");
    mux_rig_settle(rig);
    Talker *callee = mux_rig_asked(rig, 0);
    Talker *closes = by ? callee : caller, *hears = by ? caller : callee;
    talker_write(hears, 5000000);
    mux_rig_step(rig, 0);
    talker_close(closes, "had enough \033[1m of it");
    mux_rig_settle(rig);
    g_assert_true(hears->reset);
    g_assert_cmpstr(hears->words, ==, "had enough  [1m of it");
    g_assert_true(all_over(rig, NULL));
    g_assert_null(rig->errors[0]);
    g_assert_null(rig->errors[1]);
  }
}

/* Both close at the same moment; or one closes while the other's end, credit or acceptance is on its way. */
static void
test_crossing(void)
{
  for (int way = 0; way < 5; way++) {
    g_autoptr(MuxRig) rig = mux_rig_local();
    rig->wait = way == 4;
    Talker *caller = mux_rig_open(rig, 0, "send");
    mux_rig_settle(rig);
    Talker *callee = mux_rig_asked(rig, 0);
    if (way == 1 || way == 2)
      mux_end(caller->stream);
    if (way == 2)
      mux_rig_settle(rig);
    if (way == 3) { /* a credit */
      callee->hold = TRUE;
      talker_write(caller, 200000);
      mux_end(caller->stream);
      mux_rig_settle(rig);
    }
    talker_close(caller, NULL);
    if (way == 1 || way == 2)
      mux_end(callee->stream);
    if (way == 4)
      mux_accept(callee->stream, &talker_callbacks, callee);
    talker_close(callee, NULL);
    mux_rig_settle(rig);
    g_assert_true(all_over(rig, NULL));
    g_assert_null(rig->errors[0]);
    g_assert_null(rig->errors[1]);
  }
}

/* Who does not read holds up its own stream, after the first window, and no other. */
static void
test_window(void)
{
  for (int kind = 0; kind < 2; kind++) {
    g_autoptr(MuxRig) rig = both_kinds[kind]();
    rig->lazy = TRUE;
    Talker *caller = mux_rig_open(rig, 0, "send");
    talker_write(caller, 20000000);
    mux_rig_settle(rig);
    g_assert_cmpuint(caller->filled, ==, MUX_WINDOW_FIRST);
    rig->lazy = FALSE;
    Talker *other = mux_rig_open(rig, 0, "send");
    talker_write(other, 3000000);
    mux_rig_settle(rig);
    talker_check(mux_rig_asked(rig, 1), 3000000);
    Talker *callee = mux_rig_asked(rig, 0);
    g_assert_cmpuint(caller->filled, ==, MUX_WINDOW_FIRST);
    callee->hold = FALSE;
    talker_read(callee);
    mux_rig_settle(rig);
    talker_check(callee, 20000000);
    /* By now it has proved that it reads: more may be under way. */
    callee->hold = TRUE;
    gsize before = caller->filled;
    talker_write(caller, 20000000);
    mux_rig_settle(rig);
    g_assert_cmpuint(caller->filled - before, >, 3 * MUX_WINDOW_MOST / 4);
    g_assert_cmpuint(caller->filled - before, <=, MUX_WINDOW_MOST);
  }
}

/* All windows together grow by no more than MUX_GROWTH_MAX. */
static void
test_growth(void)
{
  g_autoptr(MuxRig) rig = mux_rig_local();
  Talker *callers[24];
  gsize under_way = 0;
  for (gsize i = 0; i < G_N_ELEMENTS(callers); i++) {
    callers[i] = mux_rig_open(rig, 0, "send");
    talker_write(callers[i], 10000000);
    mux_rig_settle(rig);
    mux_rig_asked(rig, i)->hold = TRUE;
  }
  for (gsize i = 0; i < G_N_ELEMENTS(callers); i++) {
    gsize before = callers[i]->filled;
    talker_write(callers[i], 10000000);
    mux_rig_settle(rig);
    under_way += callers[i]->filled - before;
  }
  /* Less what was read and not credited yet: up to a quarter. */
  g_assert_cmpuint(under_way, >, MUX_GROWTH_MAX / 4 * 3);
  g_assert_cmpuint(under_way, <=, MUX_GROWTH_MAX + G_N_ELEMENTS(callers) * MUX_WINDOW_FIRST);
}

/* Over a slow link that a stream keeps busy, what another one says waits behind a few hundred KiB at most. */
static void
test_urgent(void)
{
  g_autoptr(MuxRig) rig = mux_rig_slow(4u << 20);
  Talker *bulk = mux_rig_open(rig, 0, "send"), *chat = mux_rig_open(rig, 0, "send");
  talker_write(bulk, 12u << 20);
  mux_rig_until(rig, has_asked, GUINT_TO_POINTER(2));
  while (bulk->twin->got->len < 5u << 20)
    mux_rig_step(rig, 20);
  for (guint i = 1; i < 6; i++) {
    gsize before = bulk->twin->got->len;
    talker_write(chat, 64);
    while (chat->twin->got->len < 64 * i)
      mux_rig_step(rig, 20);
    g_test_message("%zu bytes were faster", bulk->twin->got->len - before);
    g_assert_cmpuint(bulk->twin->got->len - before, <, 640u << 10);
  }
  g_assert_cmpuint(bulk->left, >, 0);
}

/* Those that have much to say get the same share each. */
static void
test_shares(void)
{
  g_autoptr(MuxRig) rig = mux_rig_tls();
  Talker *talkers[8];
  for (gsize i = 0; i < G_N_ELEMENTS(talkers); i++) {
    talkers[i] = mux_rig_open(rig, 0, "send");
    talker_write(talkers[i], 40u << 20);
  }
  mux_rig_until(rig, has_asked, GUINT_TO_POINTER(G_N_ELEMENTS(talkers)));
  while (talkers[0]->twin->got->len < 8u << 20)
    mux_rig_step(rig, 20);
  for (gsize i = 1; i < G_N_ELEMENTS(talkers); i++) {
    g_assert_cmpuint(talkers[i]->twin->got->len, >, 6u << 20);
    g_assert_cmpuint(talkers[i]->twin->got->len, <, 10u << 20);
  }
}

static gboolean
is_up(MuxRig *rig, void *data)
{
  return world_is_up(rig->world);
}

/* Streams survive the connection, as long as the link does. */
static void
test_cut(void)
{
  g_autoptr(MuxRig) rig = mux_rig_tls();
  Talker *caller = mux_rig_open(rig, 0, "send");
  caller->end_after = TRUE;
  talker_write(caller, 30000000);
  for (int i = 0; i < 5; i++) {
    for (int step = 0; step < 40; step++)
      mux_rig_step(rig, 10);
    mux_rig_until(rig, is_up, NULL);
    proxy_cut(rig->proxy);
  }
  mux_rig_until(rig, has_asked, GUINT_TO_POINTER(1));
  Talker *callee = mux_rig_asked(rig, 0);
  while (!callee->ended) {
    g_assert_null(rig->errors[0]);
    mux_rig_step(rig, 20);
  }
  talker_check(callee, 30000000);
  g_assert_cmpuint(link_counters(mux_link(rig->ends[0]))->reconnects, >, 1);
}

/* When the link is dead, everybody who waits for something is told; what both ends had ended can be read. */
static void
test_death(void)
{
  g_autoptr(MuxRig) rig = mux_rig_local();
  rig->lazy = TRUE;
  Talker *one = mux_rig_open(rig, 0, "send"), *two = mux_rig_open(rig, 0, "send");
  one->end_after = TRUE;
  talker_write(one, 1000);
  talker_write(two, 1000);
  mux_rig_settle(rig);
  Talker *done = mux_rig_asked(rig, 0), *open = mux_rig_asked(rig, 1);
  mux_end(done->stream);
  mux_rig_settle(rig);
  mux_free(g_steal_pointer(&rig->ends[0]));
  g_assert_true(one->reset && two->reset);
  mux_rig_step(rig, 10);
  mux_rig_step(rig, 10);
  g_assert_error(rig->errors[1], DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  g_assert_true(open->reset);
  g_assert_false(done->reset);
  talker_read(done);
  talker_check(done, 1000);
  g_assert_true(done->ended);
  g_autoptr(GError) error = NULL;
  g_assert_null(mux_open(rig->ends[1], NULL, "send", NULL, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
}

static void
free_it(MuxStream *stream, void *data)
{
  MuxRig *rig = data;
  mux_free(g_steal_pointer(&rig->ends[1]));
}

static void
free_open(Mux *mux, MuxStream *stream, const char *user, const char *service, void *data)
{
  static const MuxStreamCallbacks frees = {.readable = free_it};
  mux_accept(stream, &frees, data);
}

/* A callback may free the mux under it. */
static void
test_free_in_callback(void)
{
  g_autoptr(MuxRig) rig = mux_rig_local();
  static const MuxCallbacks callbacks = {.open = free_open};
  MuxCallbacks *kept = (MuxCallbacks *)&callbacks;
  int fds[2];
  mux_free(rig->ends[0]);
  mux_free(rig->ends[1]);
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
  rig->ends[0] = mux_new(link_new_local(fds[0]), TRUE, kept, rig);
  rig->ends[1] = mux_new(link_new_local(fds[1]), FALSE, kept, rig);
  Talker *caller = mux_rig_open(rig, 0, "send");
  talker_write(caller, 10);
  for (int i = 0; i < 10 && rig->ends[1]; i++)
    mux_rig_step(rig, 10);
  g_assert_null(rig->ends[1]);
  mux_rig_step(rig, 10);
  g_assert_true(caller->reset);
}

/* An introduction reaches the other end's owner, who may end the link for it. */
static void
test_introduce(void)
{
  for (int refuse = 0; refuse < 2; refuse++) {
    g_autoptr(MuxRig) rig = mux_rig_tls();
    rig->refuse_introduction = refuse;
    Doppel__Wire__MuxIntroduce introduce = DOPPEL__WIRE__MUX_INTRODUCE__INIT;
    introduce.record = (ProtobufCBinaryData){6, (guint8 *)"record"};
    g_assert_true(mux_introduce(rig->ends[0], &introduce, NULL));
    Talker *caller = mux_rig_open(rig, 0, "send");
    mux_rig_settle(rig);
    g_assert_cmpuint(rig->introductions, ==, 1);
    g_assert_cmpuint(rig->asked->len, ==, refuse ? 0 : 1);
    if (refuse) {
      g_assert_error(rig->errors[1], DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
      g_assert_cmpstr(rig->errors[1]->message, ==, "go away");
    } else {
      g_assert_true(caller->accepted);
    }
  }
}

/* What cannot be opened is said at once. */
static void
test_limits(void)
{
  g_autoptr(MuxRig) rig = mux_rig_local();
  g_autofree char *long_name = g_strnfill(MUX_SERVICE_MAX + 1, 's');
  const char *const bad[] = {"", long_name, "caf\xe9"};
  for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(mux_open(rig->ends[0], NULL, bad[i], NULL, NULL, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  }
  for (guint i = 0; i < MUX_STREAMS_MAX; i++) {
    mux_rig_open(rig, 0, "send");
    if (i % 32 == 0)
      mux_rig_settle(rig);
  }
  g_autoptr(GError) error = NULL;
  g_assert_null(mux_open(rig->ends[0], NULL, "send", NULL, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  mux_rig_settle(rig);
  g_assert_cmpuint(rig->asked->len, ==, MUX_STREAMS_MAX);
  /* One that is over makes room. */
  talker_close(rig->talkers->pdata[7], NULL);
  mux_rig_settle(rig);
  mux_rig_open(rig, 0, "send");
  mux_rig_settle(rig);
  g_assert_null(rig->errors[0]);
  g_assert_null(rig->errors[1]);
}

/* Who opened goes away before the answer: it can still be given. */
static void
test_late_answer(void)
{
  for (int way = 0; way < 3; way++) {
    g_autoptr(MuxRig) rig = mux_rig_local();
    rig->wait = TRUE;
    Talker *caller = mux_rig_open(rig, 0, "send");
    talker_write(caller, 1000);
    mux_rig_settle(rig);
    Talker *callee = mux_rig_asked(rig, 0);
    talker_close(caller, "too slow");
    mux_rig_settle(rig);
    g_assert_false(callee->reset);
    if (way == 0) {
      mux_accept(callee->stream, &talker_callbacks, callee);
      mux_rig_settle(rig);
      g_assert_true(callee->reset);
      g_assert_cmpstr(callee->words, ==, "too slow");
    } else if (way == 1) {
      mux_refuse(g_steal_pointer(&callee->stream), DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, "no");
    } else {
      talker_close(callee, NULL);
    }
    mux_rig_settle(rig);
    g_assert_true(all_over(rig, NULL));
    g_assert_null(rig->errors[0]);
    g_assert_null(rig->errors[1]);
  }
}

/* Too many that wait for an answer are not kept waiting. */
static void
test_pending(void)
{
  g_autoptr(MuxRig) rig = mux_rig_local();
  rig->wait = TRUE;
  guint busy = 0;
  for (guint i = 0; i < MUX_PENDING_MAX + 10; i++)
    mux_rig_open(rig, 0, "send");
  mux_rig_settle(rig);
  g_assert_cmpuint(rig->asked->len, ==, MUX_PENDING_MAX);
  for (guint i = 0; i < rig->talkers->len; i++)
    busy += ((Talker *)rig->talkers->pdata[i])->refusal == DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY;
  g_assert_cmpuint(busy, ==, 10);
  for (guint i = 0; i < rig->asked->len; i++) {
    Talker *talker = mux_rig_asked(rig, i);
    mux_refuse(g_steal_pointer(&talker->stream), DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, "no");
  }
  mux_rig_settle(rig);
  g_assert_true(all_over(rig, NULL));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/c2c/mux/conversation", test_conversation);
  g_test_add_func("/c2c/mux/early", test_early);
  g_test_add_func("/c2c/mux/refused", test_refused);
  g_test_add_func("/c2c/mux/half-close", test_half_close);
  g_test_add_func("/c2c/mux/reset", test_reset);
  g_test_add_func("/c2c/mux/crossing", test_crossing);
  g_test_add_func("/c2c/mux/window", test_window);
  g_test_add_func("/c2c/mux/growth", test_growth);
  g_test_add_func("/c2c/mux/urgent", test_urgent);
  g_test_add_func("/c2c/mux/shares", test_shares);
  g_test_add_func("/c2c/mux/cut", test_cut);
  g_test_add_func("/c2c/mux/death", test_death);
  g_test_add_func("/c2c/mux/free-in-callback", test_free_in_callback);
  g_test_add_func("/c2c/mux/introduce", test_introduce);
  g_test_add_func("/c2c/mux/limits", test_limits);
  g_test_add_func("/c2c/mux/late-answer", test_late_answer);
  g_test_add_func("/c2c/mux/pending", test_pending);
  return g_test_run();
}
