/* What is between this device and its clone now, and what the device lives on: what decides, beside a
 * function's own cost, where a call of it is to run. */
#pragma once

#include "energy/model.h"

typedef struct {
  gboolean linked;       /* FALSE: there is no way to the clone; the next three say nothing */
  double round_trip_s;   /* of an empty link */
  double up, down;       /* bytes/s, from the device and to it */
  EnergyRadioKind radio; /* what the first hop goes over */
  gboolean metered;      /* bytes cost money */
  gboolean on_battery;   /* FALSE: fed from outside, or without a battery */
  double battery;        /* what is left in it, 0 to 1; POLICY_BATTERY_UNKNOWN */
} PolicyConditions;

#define POLICY_BATTERY_UNKNOWN (-1.0)

/* The links that plans are made for and that the rig and the benches have: doppel-rig's profiles of the same
 * names. */
typedef enum {
  POLICY_LAN,
  POLICY_WIFI,
  POLICY_LTE,
  POLICY_3G,
  POLICY_PROFILES,
} PolicyProfileKind;

typedef struct {
  const char *name; /* "lan", "wifi", "lte", "3g" */
  PolicyConditions conditions;
} PolicyProfile;

extern const PolicyProfile policy_profiles[POLICY_PROFILES];

/* NULL: none of that name. */
const PolicyProfile *policy_profile_find(const char *name);

/* The profile whose link is most like this one, by the factors that the three numbers differ by. Numbers that
 * are 0 are not known and do not count; where none is, the radio decides. `linked` does not matter. */
PolicyProfileKind policy_conditions_nearest(const PolicyConditions *conditions);

/* s that the link takes for so many round trips and bytes one after the other; INFINITY without a link. */
double policy_conditions_seconds(const PolicyConditions *conditions, double round_trips, double up,
                                 double down);

/* "a link like wifi: 5.0 ms, 5.0 MB/s up, 5.0 MB/s down, metered, on battery (62 %)". */
char *policy_conditions_words(const PolicyConditions *conditions);
