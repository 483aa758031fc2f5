/* How long an instruction takes, on the device and in the clone: what makes time of a profile's counts.
 *
 * Best is what the program itself showed: its time alone in a place over its instructions. Where nobody has
 * seen that, a fixed piece of work tells for the place, once, which knows nothing of what the program's
 * instructions are. What is known of a program in one place only is carried over to the other by what the
 * fixed work took in both, where it did. Of a place of which nobody measured anything the other's number is
 * taken: nothing is gained by such a clone but memory, and who prints a plan says why (plan/store.h keeps all
 * of this). */
#pragma once

#include <glib.h>

typedef enum {
  PLAN_SPEED_UNKNOWN, /* nobody measured; the other place's, or a usual one */
  PLAN_SPEED_PLACE,   /* by the fixed work */
  PLAN_SPEED_CARRIED, /* by this program in the other place and the fixed work in both */
  PLAN_SPEED_PROGRAM, /* by this program */
  PLAN_SPEED_GIVEN,   /* the user said so */
} PlanSpeedSource;

/* "measured for this program", ...: for people. */
const char *plan_speed_words(PlanSpeedSource source);

typedef struct {
  double ns; /* for an instruction */
  PlanSpeedSource source;
} PlanSpeed;

typedef struct {
  PlanSpeed device, clone;
} PlanSpeeds;

/* What was measured, in ns an instruction; 0: it was not. */
typedef struct {
  double place_device, place_clone;
  double program_device, program_clone;
} PlanSpeedsMeasured;

PlanSpeeds plan_speeds(const PlanSpeedsMeasured *measured);

/* ns that an instruction takes here, by the fixed work: at most 0.2 s of one processor. Time counts as it
 * passes, so that a processor of which this process gets a part only is that much slower. */
double plan_speed_measure(void);

/* One round of the fixed work, for who counts its instructions. What it returns means nothing. */
guint64 plan_speed_work(void);
#define PLAN_SPEED_INSTRUCTIONS 6.3e6 /* of a round, about: compilers differ */
