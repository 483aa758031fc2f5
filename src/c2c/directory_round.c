#include "c2c/directory_round.h"

#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define NS_PER_MS  G_GINT64_CONSTANT(1000000)
#define STAGGER_NS (250 * NS_PER_MS)
#define PATIENT_NS                                                                                           \
  (1500 * NS_PER_MS) /* who has not answered in that time is away, for those who ask next                    \
                      */

typedef enum { WAITING, ASKED, OVER } State;

typedef struct {
  DirectoryLane *lane;
  State state;
  gboolean away, fresh; /* was away; its connection is a new one */
  gint64 start_at, asked_at;
  GError *error; /* of one that could not even be asked, to be told */
} Runner;

struct DirectoryRound {
  const IdentityKey *own;
  DirectoryQuestion *question;
  DirectoryHealth *health;
  Runner *runners;
  guint count;
};

DirectoryLane *
directory_lane_new(const DirectoryPlace *place)
{
  DirectoryLane *lane = g_new0(DirectoryLane, 1);
  lane->place = directory_place_copy(place);
  return lane;
}

void
directory_lane_hang_up(DirectoryLane *lane)
{
  g_clear_pointer(&lane->call, directory_call_free);
}

void
directory_lane_free(DirectoryLane *lane)
{
  directory_lane_hang_up(lane);
  directory_place_free(lane->place);
  g_free(lane);
}

void
directory_lane_answered(DirectoryLane *lane)
{
  DirectoryPass pass;
  if (!directory_call_pass(lane->call, &pass) ||
      memcmp(lane->asker.pass.bytes, pass.bytes, sizeof pass.bytes) == 0)
    return;
  lane->asker.pass = pass;
  lane->new_pass = TRUE;
}

gboolean
directory_lane_is_fresh(const DirectoryLane *lane)
{
  return lane->call && clock_now_ns() - lane->used_at <= DIRECTORY_KEPT_NS;
}

DirectoryRound *
directory_round_new(const GPtrArray *lanes, const IdentityKey *own, DirectoryQuestion *question,
                    DirectoryHealth *health)
{
  DirectoryRound *round = g_new0(DirectoryRound, 1);
  *round = (DirectoryRound){own, question, health, g_new0(Runner, lanes->len), lanes->len};
  gint64 start = clock_now_ns();
  for (guint i = 0; i < lanes->len; i++) {
    Runner *runner = &round->runners[i];
    runner->lane = lanes->pdata[i];
    runner->away = directory_health_is_away(health, &runner->lane->place->key);
    runner->start_at = start;
    start += runner->away ? 0 : STAGGER_NS;
  }
  return round;
}

void
directory_round_free(DirectoryRound *round)
{
  gint64 now = clock_now_ns();
  for (guint i = 0; i < round->count; i++) {
    Runner *runner = &round->runners[i];
    g_clear_error(&runner->error);
    if (runner->state != ASKED)
      continue;
    if (now - runner->asked_at >= PATIENT_NS)
      directory_health_note(round->health, &runner->lane->place->key, "it does not answer");
    directory_lane_hang_up(runner->lane);
  }
  g_free(round->runners);
  g_free(round);
}

static void
start(DirectoryRound *round, Runner *runner)
{
  DirectoryLane *lane = runner->lane;
  runner->fresh = !directory_lane_is_fresh(lane);
  runner->asked_at = lane->used_at = clock_now_ns();
  runner->state = ASKED;
  if (runner->fresh) {
    directory_lane_hang_up(lane);
    lane->call =
        directory_call_begin(lane->place, round->own, &lane->asker, DIRECTORY_CONNECT_MS, &runner->error);
  }
  if (lane->call && !directory_call_put(lane->call, round->question, &runner->error))
    directory_lane_hang_up(lane);
}

/* Whoever is next in turn needs not wait for this one any more. */
static void
hurry(DirectoryRound *round)
{
  for (guint i = 0; i < round->count; i++)
    if (round->runners[i].state == WAITING) {
      round->runners[i].start_at = 0;
      return;
    }
}

/* A connection that was kept may be gone by now. */
static gboolean
again(DirectoryRound *round, Runner *runner, GError **why)
{
  if (runner->fresh || !g_error_matches(*why, DOPPEL_ERROR, DOPPEL_ERROR_GONE))
    return FALSE;
  g_clear_error(why);
  directory_lane_hang_up(runner->lane);
  start(round, runner);
  return TRUE;
}

/* 1: it has answered, or failed. */
static int
step(DirectoryRound *round, Runner *runner, DirectoryAnswer **answer, DirectoryHead *head, GError **error)
{
  GError *why;
  int got;
  do {
    why = g_steal_pointer(&runner->error);
    got = why ? -1 : directory_call_work(runner->lane->call, answer, head, &why);
    if (got == 0)
      return 0;
  } while (got < 0 && again(round, runner, &why));
  runner->state = OVER;
  runner->lane->used_at = clock_now_ns();
  if (got < 0)
    directory_lane_hang_up(runner->lane);
  else
    directory_lane_answered(runner->lane);
  directory_health_note(round->health, &runner->lane->place->key, got < 0 ? why->message : NULL);
  if (why)
    g_propagate_error(error, why);
  hurry(round);
  return 1;
}

/* Waits for a socket, for the next one's turn, or `until`. FALSE: there is nobody to wait for, or no time. */
static gboolean
wait_for_any(DirectoryRound *round, gint64 until)
{
  g_autofree struct pollfd *fds = g_new(struct pollfd, round->count * LINK_POLL_MAX);
  guint count = 0, active = 0;
  int timeout = clock_left_ms(until);
  if (timeout == 0)
    return FALSE;
  for (guint i = 0; i < round->count; i++) {
    Runner *runner = &round->runners[i];
    if (runner->state == WAITING) {
      int left = clock_left_ms(runner->start_at);
      timeout = MIN(timeout, left);
    } else if (runner->state == ASKED && runner->error) {
      timeout = 0;
    } else if (runner->state == ASKED) {
      count += directory_call_prepare(runner->lane->call, fds + count, &timeout);
    }
    active += runner->state != OVER;
  }
  if (active > 0)
    poll(fds, count, timeout);
  return active > 0;
}

int
directory_round_next(DirectoryRound *round, gint64 until, DirectoryAnswer **answer, DirectoryHead *head,
                     GError **error)
{
  do {
    gint64 now = clock_now_ns();
    for (guint i = 0; i < round->count; i++) {
      Runner *runner = &round->runners[i];
      if (runner->state == WAITING && now >= runner->start_at)
        start(round, runner);
      if (runner->state == ASKED && step(round, runner, answer, head, error))
        return (int)i;
    }
  } while (wait_for_any(round, until));
  return -1;
}

void
directory_round_hold(DirectoryRound *round)
{
  for (guint i = 0; i < round->count; i++)
    if (round->runners[i].state == WAITING)
      round->runners[i].state = OVER;
}

guint
directory_round_waits(const DirectoryRound *round, gboolean all)
{
  guint waits = 0;
  for (guint i = 0; i < round->count; i++)
    waits += round->runners[i].state != OVER && (all || !round->runners[i].away);
  return waits;
}
