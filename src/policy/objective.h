/* What a call costs, and what of it counts. */
#pragma once

#include "energy/energy.h"
#include "policy/conditions.h"

typedef enum {
  POLICY_TIME,   /* s */
  POLICY_ENERGY, /* J of the device, by a power model */
  POLICY_MONEY,  /* what bytes, the clone and waiting cost */
  POLICY_OBJECTIVES,
} PolicyObjective;

const char *policy_objective_word(PolicyObjective objective); /* "time", "energy", "money" */
const char *policy_objective_unit(PolicyObjective objective); /* "s", "J", "cents" */
/* FALSE: it is none of these words. */
gboolean policy_objective_parse(const char *word, PolicyObjective *objective);

/* Of one call. On the device all but the first two are 0. */
typedef struct {
  double seconds;     /* from its beginning to its end */
  double processor_s; /* of the device's processors */
  double up, down;    /* bytes on the wire */
  double round_trips;
  double clone_s; /* that the clone works */
} PolicyCost;

/* What money is asked for what. A second of waiting is worth something, or nothing would ever leave the
 * device. */
typedef struct {
  double metered_byte, clone_s, waited_s; /* cents */
} PolicyPrices;
#define POLICY_PRICES_DEFAULT ((PolicyPrices){5e-7, 3e-3, 3e-2}) /* 5 EUR a GB, 0.1 an hour, 1 an hour */

typedef struct {
  PolicyObjective objective;
  const EnergyModel *energy; /* for POLICY_ENERGY; the caller's */
  PolicyPrices prices;
} PolicyAim;

/* The call's cost in the objective's unit; INFINITY for traffic without a link. `pause_s`: until the radio is
 * used again after it, as far as anybody knows: a tail that is cut short costs less (energy/energy.h). */
double policy_price(const PolicyAim *aim, const PolicyConditions *conditions, const PolicyCost *cost,
                    double pause_s);
