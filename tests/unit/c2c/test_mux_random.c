/* Many streams at a time, and chance: who opens, writes, reads, ends, closes, refuses, and when the
 * connection is cut. Whatever happens, each stream gives its bytes once and in order, and its end only behind
 * the last of them; or it was reset. MUX_SEED=N repeats a run. */
#include <string.h>

#include "base/clock.h"
#include "mux_rig.h"

#define STREAMS 24
#define BYTES   (6u << 20) /* of one direction at most */

typedef struct {
  GRand *chance;
  MuxRig *rig;
  guint opened, resets, wholes;
  guint64 bytes;
} Game;

static guint
below(Game *game, guint count)
{
  return g_rand_int_range(game->chance, 0, (gint32)count);
}

/* Half of all are small, few are large. */
static gsize
some_length(Game *game)
{
  return below(game, BYTES) >> below(game, 20);
}

static Talker *
pick(Game *game)
{
  Talker *talker = game->rig->talkers->pdata[below(game, game->rig->talkers->len)];
  return talker->stream ? talker : NULL;
}

static void
move(Game *game)
{
  MuxRig *rig = game->rig;
  guint what = below(game, 12);
  Talker *talker = rig->talkers->len > 0 ? pick(game) : NULL;
  rig->lazy = below(game, 3) == 0;
  if (what == 0 && mux_streams(rig->ends[0]) < STREAMS) {
    Talker *opened = mux_rig_open(rig, (int)below(game, 2), below(game, 6) ? "send" : "none");
    game->opened++;
    if (below(game, 2))
      talker_write(opened, some_length(game));
  } else if (what < 5 && talker && !talker->end_after) {
    talker_write(talker, some_length(game));
  } else if (what < 8 && talker) {
    talker->hold = !talker->hold;
    if (!talker->hold)
      talker_read(talker);
  } else if (what == 8 && talker) {
    talker->end_after = TRUE;
    talker_write(talker, 0);
  } else if (what == 9 && talker && below(game, 6) == 0) {
    talker_close(talker, "chance");
  }
}

/* Who has read the end and ended itself is done. */
static void
close_done(MuxRig *rig)
{
  for (guint i = 0; i < rig->talkers->len; i++) {
    Talker *talker = rig->talkers->pdata[i];
    if (talker->stream && talker->ended && talker->end_after && talker->left == 0)
      talker_close(talker, NULL);
  }
}

static gboolean
pattern_holds(const Talker *talker)
{
  for (gsize i = 0; i < talker->got->len; i++)
    if (talker->got->data[i] != (guint8)((i * 2654435761u) >> 13))
      return FALSE;
  return TRUE;
}

/* Everybody reads, ends, and goes. */
static void
wind_up(Game *game)
{
  MuxRig *rig = game->rig;
  gint64 deadline = clock_now_ns() + 120 * G_GINT64_CONSTANT(1000000000);
  rig->lazy = FALSE;
  while (mux_streams(rig->ends[0]) + mux_streams(rig->ends[1]) > 0) {
    if (clock_now_ns() > deadline)
      g_error("%u and %u streams do not come to their end", mux_streams(rig->ends[0]),
              mux_streams(rig->ends[1]));
    for (guint i = 0; i < rig->talkers->len; i++) {
      Talker *talker = rig->talkers->pdata[i];
      if (!talker->stream)
        continue;
      talker->hold = FALSE;
      talker_read(talker);
      if (!talker->end_after) {
        talker->end_after = TRUE;
        talker_write(talker, 0);
      }
    }
    close_done(rig);
    mux_rig_step(rig, 20);
    g_assert_no_error(rig->errors[0]);
    g_assert_no_error(rig->errors[1]);
  }
}

static void
judge(Game *game)
{
  for (guint i = 0; i < game->rig->talkers->len; i++) {
    const Talker *talker = game->rig->talkers->pdata[i];
    g_assert_true(pattern_holds(talker));
    if (talker->ended)
      g_assert_cmpuint(talker->got->len, ==, talker->twin->filled);
    game->bytes += talker->got->len;
    game->resets += talker->reset;
    game->wholes += talker->ended;
    g_assert_false(talker->reset && talker->refusal);
  }
}

static void
play(MuxRig *rig, guint32 seed, guint moves)
{
  Game game = {.chance = g_rand_new_with_seed(seed), .rig = rig};
  for (guint i = 0; i < moves; i++) {
    move(&game);
    close_done(rig);
    if (below(&game, 3) == 0)
      mux_rig_step(rig, 0);
    if (rig->proxy && (i == moves / 2 || below(&game, 200) == 0))
      proxy_cut(rig->proxy);
    g_assert_no_error(rig->errors[0]);
    g_assert_no_error(rig->errors[1]);
  }
  wind_up(&game);
  judge(&game);
  g_test_message("seed %u: %u streams, %u read to the end, %u resets, %" G_GUINT64_FORMAT " bytes, %u cuts",
                 seed, game.opened, game.wholes, game.resets, game.bytes, rig->proxy ? rig->proxy->cuts : 0);
  g_assert_cmpuint(game.wholes, >, 0);
  g_rand_free(game.chance);
}

static guint32
seed_of(guint round)
{
  const char *given = g_getenv("MUX_SEED");
  return given ? (guint32)g_ascii_strtoull(given, NULL, 10) : (guint32)g_test_rand_int() + round;
}

static void
test_local(void)
{
  for (guint round = 0; round < 12; round++) {
    g_autoptr(MuxRig) rig = mux_rig_local();
    play(rig, seed_of(round), 1500);
  }
}

static void
test_cut_connections(void)
{
  for (guint round = 0; round < 4; round++) {
    g_autoptr(MuxRig) rig = mux_rig_tls();
    play(rig, seed_of(round), 1500);
    g_assert_cmpuint(link_counters(mux_link(rig->ends[0]))->reconnects, >, 0);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/c2c/mux/random/local", test_local);
  g_test_add_func("/c2c/mux/random/cut-connections", test_cut_connections);
  return g_test_run();
}
