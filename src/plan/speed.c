#include "plan/speed.h"

#include <time.h>

#include "base/clock.h"

#define USUAL_NS    0.5 /* of today's phones and boards, when nobody knows better */
#define MEASURE_S   0.17
#define TABLE_WORDS (1u << 17) /* 1 MiB: more than the nearest caches have, as programs' data mostly is */
#define STEPS       (1u << 18)

const char *
plan_speed_words(PlanSpeedSource source)
{
  static const char *const words[] = {
      [PLAN_SPEED_UNKNOWN] = "not measured",
      [PLAN_SPEED_PLACE] = "measured by a fixed piece of work",
      [PLAN_SPEED_CARRIED] = "measured for this program in the other place, and carried over",
      [PLAN_SPEED_PROGRAM] = "measured for this program",
      [PLAN_SPEED_GIVEN] = "as given",
  };
  return words[source];
}

static PlanSpeed
speed_of(double own, double program_there, double place_here, double place_there)
{
  if (own > 0)
    return (PlanSpeed){own, PLAN_SPEED_PROGRAM};
  if (program_there > 0 && place_here > 0 && place_there > 0)
    return (PlanSpeed){program_there * place_here / place_there, PLAN_SPEED_CARRIED};
  if (place_here > 0)
    return (PlanSpeed){place_here, PLAN_SPEED_PLACE};
  double there = program_there > 0 ? program_there : place_there;
  return (PlanSpeed){there > 0 ? there : USUAL_NS, PLAN_SPEED_UNKNOWN};
}

PlanSpeeds
plan_speeds(const PlanSpeedsMeasured *measured)
{
  const PlanSpeedsMeasured *m = measured;
  return (PlanSpeeds){speed_of(m->program_device, m->program_clone, m->place_device, m->place_clone),
                      speed_of(m->program_clone, m->program_device, m->place_clone, m->place_device)};
}

/* What programs do: look into memory where they did not expect to, decide by what is there, multiply, write.
 */
__attribute__((noinline, optimize("O2"))) guint64
plan_speed_work(void)
{
  static guint64 table[TABLE_WORDS];
  guint64 state = G_GUINT64_CONSTANT(0x9e3779b97f4a7c15), sum = 0;
  for (guint i = 0; i < STEPS; i++) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    guint64 *word = &table[state % TABLE_WORDS];
    if (*word & 1)
      sum += *word >> 3;
    else
      sum ^= state;
    *word = sum * G_GUINT64_CONSTANT(0xff51afd7ed558ccd) + i;
  }
  return sum;
}

static double
processor_s(void)
{
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double
plan_speed_measure(void)
{
  volatile guint64 sink = plan_speed_work(); /* the table's pages come from the kernel */
  double began_s = processor_s();
  gint64 began_ns = clock_now_ns();
  guint rounds = 0;
  do {
    sink += plan_speed_work();
    rounds++;
  } while (processor_s() - began_s < MEASURE_S);
  (void)sink;
  return (double)(clock_now_ns() - began_ns) / (rounds * PLAN_SPEED_INSTRUCTIONS);
}
