/* A simulated world: a program whose functions cost what arguments and noise say, in both places, and a link
 * that changes by a schedule. The policy lives in it; an oracle knows it. */
#pragma once

#include "policy/placement.h"

typedef enum {
  WORLD_CONSTANT,
  WORLD_LINEAR,
  WORLD_SQUARE,
  WORLD_PRODUCT, /* of two arguments */
  WORLD_MODE,    /* a small argument says which of four costs */
  WORLD_RANDOM,  /* nothing explains it */
  WORLD_TINY,
  WORLD_KINDS,
} WorldKind;

typedef struct {
  WorldKind kind;
  guint argument; /* which */
  double base_s;  /* on the device, of an argument of 1000 */
  double speed;   /* of the clone */
  double modes[4];
  double noise; /* of logarithms */
  double device_s, around_s;
  double up, down;      /* bytes of a later block */
  gboolean by_argument; /* they grow with it, too */
  double round_trips;
} WorldFunction;

enum { WORLD_FUNCTIONS = 4, WORLD_NONE = POLICY_PROFILES };

/* A call, with all that only the world knows. */
typedef struct {
  guint function;
  guint64 arguments[POLICY_ARGUMENTS];
  guint link; /* a PolicyProfileKind, or WORLD_NONE */
  double cut; /* the link goes while a block runs, after this part of it; 0: it does not */
  double mean_local_s, mean_clone_s;
  double local_s, clone_s; /* with noise */
  double wire;             /* factor of the link's time: noise */
} WorldCall;

typedef struct {
  guint32 seed;
  guint function_count;
  WorldFunction functions[WORLD_FUNCTIONS];
  double state_bytes; /* of the first block of a session */
  GArray *calls;      /* of WorldCall: a run's */
} World;

/* The program of this seed; it has no calls yet. */
void world_init(World *world, guint32 seed);
void world_clear(World *world);
/* The calls of run number `run`. */
void world_make_run(World *world, guint run);

typedef struct {
  double seconds;
  guint blocks, tries, failed, pings;
} WorldResult;

WorldResult world_live(World *world, PolicyPlacement *placement, gboolean verbose);
double world_oracle(const World *world);
double world_local(const World *world);
