/* What a block of each of a program's functions moves and needs, whatever the link. In this order:
 *
 * - as the engine observed it, where it did;
 * - for a function that was never observed: what it executes is in the profile; what it moves is in none. It
 *   is taken to be so much for a block at all and so much for each instruction, up to a bound (the table in
 *   estimate.c): an assumption, no measurement. Where other functions of the program were observed it is
 *   multiplied by how far the same assumption was off for these;
 * - round trips for calls on pins come from what was observed below: a caller's block forwards what the
 *   blocks inside it would. Of functions below that were not observed, those of the C library that only make
 *   sense on the device (sockets, terminals) count as a forwarded call each; read and write do not, for they
 *   are mostly on files;
 * - so do failures: a block that holds on average half a block that fails, or more, is barred. */
#pragma once

#include "plan/plan.h"

typedef struct {
  double up, down;    /* bytes */
  double round_trips; /* all of them */
  double device_s;    /* the device's work */
  double clone_s;     /* the clone's, without running the block */
} PlanMoves;

typedef struct {
  gboolean observed;
  gboolean no_local;   /* the device ran out of memory in it */
  const char *barred;  /* why it begins no block; NULL: it may */
  double instructions; /* of an outermost call, with all that it calls */
  double failures;     /* for each block that counts, so many others for nothing */
  PlanMoves later;     /* a block that is not the first of it in a run */
  PlanMoves first;     /* what the first moves and needs beyond, and beyond the session's start */
} PlanBlock;

/* What a connection and a mirror cost, once a run: assumed, too. */
PlanMoves plan_session(const PlanSpeeds *speeds);

/* Of the graph's functions, by index. To be freed with g_free(). `observed` may be NULL. */
PlanBlock *plan_estimate(const ProfileGraph *graph, const ProfileObserved *observed,
                         const PlanSpeeds *speeds);
