/* Peers that break the rules of streams: the link ends with words, and nothing grows meanwhile. And what
 * looks like it, but is a correct peer's message that crossed ours. */
#include <malloc.h>
#include <string.h>

#include "base/error.h"
#include "mux_rig.h"

typedef Doppel__Wire__MuxControl Control;
typedef enum {
  OPEN,
  ACCEPTED,
  REFUSED,
  CREDIT,
  END,
  RESET,
  DATA,
  CHANNEL,
  RUBBISH,
  EMPTY,
  OURS,
  OURS_RESET
} What;

/* One message of the peer's, or something that our end does. */
typedef struct {
  What what;
  guint32 stream, number; /* window, bytes, reason or length */
  const char *text;
} Step;

static void
say_packed(Link *peer, const Control *control)
{
  guint8 packed[MUX_USER_MAX + 2 * MUX_SERVICE_MAX + 1000];
  gsize length = doppel__wire__mux_control__pack(control, packed);
  g_assert_true(link_send(peer, C2C_CHANNEL, &(struct iovec){packed, length}, 1, NULL));
}

#define SAY(peer, KIND, field, kind_init, ...)                                                               \
  do {                                                                                                       \
    Control control_ = DOPPEL__WIRE__MUX_CONTROL__INIT;                                                      \
    typeof(*control_.field) contents_ = kind_init;                                                           \
    typeof(contents_) *it = &contents_;                                                                      \
    __VA_ARGS__;                                                                                             \
    control_.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_##KIND;                                             \
    control_.field = &contents_;                                                                             \
    say_packed(peer, &control_);                                                                             \
  } while (0)

static void
say(MuxRig *rig, Link *peer, const Step *step)
{
  static const guint8 bytes[MUX_WINDOW_FIRST + 1];
  struct iovec piece = {(guint8 *)bytes, step->number};
  switch (step->what) {
  case OPEN:
    SAY(peer, OPEN, open, DOPPEL__WIRE__MUX_OPEN__INIT, it->stream = step->stream, it->window = step->number,
        it->service = (char *)(step->text ? step->text : "send"));
    break;
  case ACCEPTED:
    SAY(peer, ACCEPTED, accepted, DOPPEL__WIRE__MUX_ACCEPTED__INIT, it->stream = step->stream,
        it->window = step->number);
    break;
  case REFUSED:
    SAY(peer, REFUSED, refused, DOPPEL__WIRE__MUX_REFUSED__INIT, it->stream = step->stream,
        it->why = (int)step->number, it->words = (char *)(step->text ? step->text : ""));
    break;
  case CREDIT:
    SAY(peer, CREDIT, credit, DOPPEL__WIRE__MUX_CREDIT__INIT, it->stream = step->stream,
        it->bytes = step->number);
    break;
  case END:
    SAY(peer, END, end, DOPPEL__WIRE__MUX_END__INIT, it->stream = step->stream);
    break;
  case RESET:
    SAY(peer, RESET, reset, DOPPEL__WIRE__MUX_RESET__INIT, it->stream = step->stream,
        it->words = (char *)(step->text ? step->text : ""));
    break;
  case DATA:
    g_assert_true(link_send(peer, C2C_STREAM_BASE + step->stream, &piece, 1, NULL));
    break;
  case CHANNEL:
    g_assert_true(link_send(peer, step->stream, &piece, 1, NULL));
    break;
  case RUBBISH:
    g_assert_true(link_send(peer, C2C_CHANNEL, &(struct iovec){(char *)"\xff\xff\xff\xff", 4}, 1, NULL));
    break;
  case EMPTY:
    g_assert_true(link_send(peer, C2C_CHANNEL, &(struct iovec){(char *)"", 0}, 1, NULL));
    break;
  case OURS:
    mux_rig_open(rig, 0, "send");
    break;
  case OURS_RESET:
    talker_close(rig->talkers->pdata[0], NULL);
    break;
  }
  link_push(peer, NULL);
}

#define FIRST MUX_WINDOW_FIRST
#define PROPER                                                                                               \
  {                                                                                                          \
    OPEN, 1, FIRST                                                                                           \
  }
#define STEPS 6

static gboolean
end_is_dead(MuxRig *rig, void *data)
{
  return rig->errors[0] != NULL;
}

static void
assert_hostile(const Step *steps, gsize n)
{
  Link *peer;
  g_autoptr(MuxRig) rig = mux_rig_half(&peer);
  for (gsize i = 0; i < STEPS && (steps[i].what != OPEN || steps[i].stream); i++) {
    g_test_message("case %zu, step %zu", n, i);
    g_assert_no_error(rig->errors[0]);
    say(rig, peer, &steps[i]);
    for (int turn = 0; turn < 3; turn++)
      mux_rig_step(rig, 0);
  }
  mux_rig_until(rig, end_is_dead, NULL);
  if (!g_error_matches(rig->errors[0], DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE))
    g_error("case %zu: %s", n, rig->errors[0]->message);
  g_assert_true(g_str_has_prefix(rig->errors[0]->message, "the peer "));
  link_free(peer);
}

/* The last step of each breaks a rule, the ones before none. The peer's numbers are odd, ours even. */
static void
test_rules(void)
{
  static const Step cases[][STEPS] = {
      {{OPEN, 3, FIRST}},         /* one left out */
      {{OPEN, 2, FIRST}},         /* ours */
      {PROPER, {OPEN, 1, FIRST}}, /* again */
      {{OPEN, 0x80000001, FIRST}},
      {{OPEN, 1, FIRST - 1}},
      {{OPEN, 1, MUX_WINDOW_MOST + 1}},
      {{OPEN, 1, FIRST, ""}},
      {{OPEN, 1, FIRST, "\xc3\x28"}},
      {{OPEN, 1, FIRST,
        "1234567890123456789012345678901234567890123456789012345678901234"
        "12345678901234567890123456789012345678901234567890123456789012345"}},
      {{DATA, 1, 10}},
      {PROPER, {DATA, 3, 10}},
      {PROPER, {DATA, 1, 0}},
      {PROPER, {DATA, 1, FIRST + 1}},
      {PROPER, {END, 1}, {DATA, 1, 1}},
      {PROPER, {END, 1}, {END, 1}},
      {PROPER, {RESET, 1}, {DATA, 1, 1}},
      {PROPER, {RESET, 1}, {END, 1}},
      {PROPER, {ACCEPTED, 1, FIRST}},
      {PROPER, {REFUSED, 1, 1}},
      {PROPER, {CREDIT, 1, 0}},
      {PROPER, {CREDIT, 1, MUX_WINDOW_MOST}},
      {PROPER, {CREDIT, 1, ~0u}},
      {{CREDIT, 1, 10}},
      {{RESET, 1}},
      {{END, 1}},
      {{ACCEPTED, 2, FIRST}},
      {{OURS}, {DATA, 2, 10}},
      {{OURS}, {CREDIT, 2, 10}},
      {{OURS}, {END, 2}},
      {{OURS}, {RESET, 2}},
      {{OURS}, {ACCEPTED, 2, FIRST - 1}},
      {{OURS}, {ACCEPTED, 2, MUX_WINDOW_MOST + 1}},
      {{OURS}, {ACCEPTED, 4, FIRST}},
      {{OURS}, {ACCEPTED, 2, FIRST}, {ACCEPTED, 2, FIRST}},
      {{OURS}, {ACCEPTED, 2, FIRST}, {REFUSED, 2, 1}},
      {{OURS}, {REFUSED, 2, 0}},
      {{OURS}, {REFUSED, 2, 99}},
      {{OURS}, {REFUSED, 2, 1}, {REFUSED, 2, 1}},
      {{OURS}, {ACCEPTED, 2, FIRST}, {DATA, 2, FIRST + 1}},
      {{OURS}, {OURS_RESET}, {ACCEPTED, 2, FIRST}, {DATA, 2, FIRST}, {DATA, 2, 1}},
      {{OURS}, {OURS_RESET}, {RESET, 2}, {ACCEPTED, 2, FIRST}},
      {{OURS}, {OURS_RESET}, {RESET, 2}, {DATA, 2, 1}},
      {{CHANNEL, C2C_CHANNEL - 1, 10}},
      {{CHANNEL, 1, 10}},
      {{CHANNEL, C2C_STREAM_BASE, 10}},
      {{CHANNEL, 0xffffffff, 10}},
      {{RUBBISH}},
      {{EMPTY}},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
    assert_hostile(cases[i], i);
}

/* Late, but proper: nothing happens. */
static void
test_late(void)
{
  static const Step cases[][STEPS] = {
      {PROPER, {RESET, 1}, {RESET, 1}, {CREDIT, 1, 100}},
      {{OURS}, {OURS_RESET}, {ACCEPTED, 2, FIRST}, {DATA, 2, 1000}, {CREDIT, 2, 5}, {RESET, 2}},
      {{OURS}, {OURS_RESET}, {REFUSED, 2, 1}, {CREDIT, 2, 5}},
      {{OURS}, {OURS_RESET}, {ACCEPTED, 2, FIRST}, {DATA, 2, 1000}, {END, 2}, {RESET, 2}},
      {{OURS}, {OURS_RESET}, {RESET, 2}, {RESET, 2}},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
    Link *peer;
    g_autoptr(MuxRig) rig = mux_rig_half(&peer);
    for (gsize step = 0; step < STEPS && (cases[i][step].what != OPEN || cases[i][step].stream); step++) {
      say(rig, peer, &cases[i][step]);
      for (int turn = 0; turn < 3; turn++)
        mux_rig_step(rig, 0);
    }
    g_assert_no_error(rig->errors[0]);
    g_assert_cmpuint(mux_streams(rig->ends[0]), ==, 0);
    link_free(peer);
  }
}

/* A peer's words come to a terminal: they are a line, whatever they were. */
static void
test_words(void)
{
  static const char words[] = "\033[2Jone\r\n\xc2\x9b"
                              "2Jtwo\xffthree\177";
  static const Step cases[][STEPS] = {
      {{OURS}, {REFUSED, 2, 1, words}},
      {{OURS}, {ACCEPTED, 2, FIRST}, {RESET, 2, 0, words}},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
    Link *peer;
    g_autoptr(MuxRig) rig = mux_rig_half(&peer);
    for (gsize step = 0; cases[i][step].what != OPEN; step++) {
      say(rig, peer, &cases[i][step]);
      for (int turn = 0; turn < 3; turn++)
        mux_rig_step(rig, 0);
    }
    g_assert_no_error(rig->errors[0]);
    const Talker *talker = rig->talkers->pdata[0];
    g_assert_cmpstr(talker->words, ==, " [2Jone    2Jtwo\xef\xbf\xbdthree ");
    link_free(peer);
  }
}

/* One stream too many, of those that the owner has accepted. */
static void
test_many(void)
{
  Link *peer;
  g_autoptr(MuxRig) rig = mux_rig_half(&peer);
  for (guint i = 0; i <= MUX_STREAMS_MAX; i++) {
    g_assert_no_error(rig->errors[0]);
    say(rig, peer, &(Step){OPEN, 2 * i + 1, FIRST});
    mux_rig_step(rig, 0);
    while (link_take(peer))
      ;
  }
  mux_rig_until(rig, end_is_dead, NULL);
  g_assert_error(rig->errors[0], DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_cmpuint(rig->asked->len, ==, MUX_STREAMS_MAX);
  link_free(peer);
}

/* Refused streams that are never given up by their opener hold a place each, and no bytes. */
static void
test_refused_places(void)
{
  Link *peer;
  g_autoptr(MuxRig) rig = mux_rig_half(&peer);
  for (guint i = 0; i <= MUX_STREAMS_MAX; i++) {
    say(rig, peer, &(Step){OPEN, 2 * i + 1, FIRST, "none"});
    mux_rig_step(rig, 0);
  }
  mux_rig_until(rig, end_is_dead, NULL);
  g_assert_error(rig->errors[0], DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_cmpuint(rig->asked->len, ==, MUX_STREAMS_MAX);
  link_free(peer);
}

static gsize
heap_used(void)
{
  return mallinfo2().uordblks;
}

/* A window that is filled byte by byte takes hardly more memory than its bytes. */
static void
test_small_messages(void)
{
  Link *peer;
  g_autoptr(MuxRig) rig = mux_rig_half(&peer);
  rig->lazy = TRUE;
  say(rig, peer, &(Step)PROPER);
  mux_rig_step(rig, 0);
  gsize before = heap_used();
  for (guint i = 0; i < MUX_WINDOW_FIRST; i++) {
    say(rig, peer, &(Step){DATA, 1, 1});
    if (i % 64 == 0)
      mux_rig_step(rig, 0);
  }
  mux_rig_settle(rig);
  g_assert_cmpuint(heap_used() - before, <, 2 * MUX_WINDOW_FIRST);
  g_assert_no_error(rig->errors[0]);
  link_free(peer);
}

static gboolean
peer_has_refused(MuxRig *rig, void *data)
{
  return rig->errors[0] != NULL;
}

/* A peer that asks and asks, and takes none of the answers, is not waited for: neither does the mux block,
 * nor does it keep more than the link's share. */
static void
test_unread_answers(void)
{
  Link *peer;
  g_autoptr(MuxRig) rig = mux_rig_half(&peer);
  for (guint i = 0; !rig->errors[0]; i++) {
    say(rig, peer, &(Step){OPEN, 2 * i + 1, FIRST, "none"});
    say(rig, peer, &(Step){RESET, 2 * i + 1});
    mux_rig_step(rig, 0);
    g_assert_cmpuint(link_backlog(mux_link(rig->ends[0])).kept, <, LINK_UNSENT_MAX);
    g_assert_cmpuint(i, <, 2000000);
  }
  mux_rig_until(rig, peer_has_refused, NULL);
  g_assert_error(rig->errors[0], DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  link_free(peer);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/c2c/mux/hostile/rules", test_rules);
  g_test_add_func("/c2c/mux/hostile/late", test_late);
  g_test_add_func("/c2c/mux/hostile/words", test_words);
  g_test_add_func("/c2c/mux/hostile/many", test_many);
  g_test_add_func("/c2c/mux/hostile/refused-places", test_refused_places);
  g_test_add_func("/c2c/mux/hostile/small-messages", test_small_messages);
  g_test_add_func("/c2c/mux/hostile/unread-answers", test_unread_answers);
  return g_test_run();
}
