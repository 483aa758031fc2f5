#include "policy/objective.h"

#include <math.h>

static const struct {
  const char *word, *unit;
} objectives[POLICY_OBJECTIVES] = {
    [POLICY_TIME] = {"time", "s"}, [POLICY_ENERGY] = {"energy", "J"}, [POLICY_MONEY] = {"money", "cents"}};

const char *
policy_objective_word(PolicyObjective objective)
{
  return objectives[objective].word;
}

const char *
policy_objective_unit(PolicyObjective objective)
{
  return objectives[objective].unit;
}

gboolean
policy_objective_parse(const char *word, PolicyObjective *objective)
{
  for (guint i = 0; i < POLICY_OBJECTIVES; i++)
    if (g_str_equal(word, objectives[i].word)) {
      *objective = i;
      return TRUE;
    }
  return FALSE;
}

/* What the device takes until the radio is used again: with that next use, whose own cost is left out. So a
 * tail counts as long as it lasts until then. */
static double
joules(const EnergyModel *model, const PolicyConditions *conditions, const PolicyCost *cost, double pause_s)
{
  double end = cost->seconds + pause_s;
  EnergyBurst bursts[3];
  guint count = 0;
  if (cost->up > 0 || cost->down > 0) {
    double out = MIN(cost->up / conditions->up + conditions->round_trip_s, cost->seconds);
    double in = MIN(cost->down / conditions->down, cost->seconds - out);
    /* Where it asks back and forth the radio has no rest. */
    double begins = cost->round_trips > 1.5 ? out : MAX(out, cost->seconds - in);
    bursts[count++] = (EnergyBurst){0, out, (guint64)cost->up, 0};
    bursts[count++] = (EnergyBurst){begins, cost->seconds, 0, (guint64)cost->down};
  }
  EnergyWork alone = {.processor_s = 0, .seconds = 0, .radio = conditions->radio};
  EnergyBurst next = {0, 0, 0, 0};
  alone.bursts = &next;
  alone.burst_count = 1;
  double next_alone = energy_estimate(model, &alone).radio;
  bursts[count++] = (EnergyBurst){end, end, 0, 0};
  EnergyWork work = {cost->processor_s, end, conditions->radio, bursts, count};
  EnergyEstimate estimate = energy_estimate(model, &work);
  /* Waiting between the calls is nobody's choice. */
  double pause = estimate.waiting_known ? model->idle_w * pause_s : 0;
  const EnergyRadio *radio = model->radios[conditions->radio];
  double asleep = radio ? radio->idle.w * pause_s : 0;
  return MAX(estimate.total - next_alone - pause - asleep, 0);
}

double
policy_price(const PolicyAim *aim, const PolicyConditions *conditions, const PolicyCost *cost, double pause_s)
{
  gboolean traffic = cost->up > 0 || cost->down > 0 || cost->round_trips > 0;
  if ((traffic && !conditions->linked) || !isfinite(cost->seconds))
    return INFINITY;
  switch (aim->objective) {
  case POLICY_ENERGY:
    return joules(aim->energy, conditions, cost, CLAMP(pause_s, 0, 3600));
  case POLICY_MONEY:
    return aim->prices.waited_s * cost->seconds + aim->prices.clone_s * cost->clone_s +
           (conditions->metered ? aim->prices.metered_byte * (cost->up + cost->down) : 0);
  default:
    return cost->seconds;
  }
}
