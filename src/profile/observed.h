/* What the engine saw of a program's blocks, by the function that they began with: what they moved and what
 * they took beside running. One may hold many runs: numbers are sums. Blocks whose result counts are in them;
 * those that were cut or aborted are `failed` alone. */
#pragma once

#include "profile/graph.h"

#define PROFILE_OBSERVED_LIMIT 4096u /* functions; the engine watches few */
#define PROFILE_REASONS        4     /* of a function; more would say no more */
#define PROFILE_REASON_LENGTH  200   /* bytes */

typedef struct {
  guint64 blocks;
  guint64 bytes_out, bytes_in; /* on the wire, from the device and to it */
  guint64 device_ns;   /* the device's work, as long as that takes there: stop, capture, send, apply. Who
                          saw it elsewhere lengthens it by the two places' speeds (plan/speed.h) */
  guint64 clone_ns;    /* the clone's, without running the block: apply, capture, send */
  guint64 round_trips; /* beyond the one that every block has, forwarded calls' among them */
} ProfileBlocks;

typedef struct {
  char *text;
  guint64 count;
} ProfileReason;

typedef struct {
  ProfileBlocks first; /* of a run's first block of this function, which moves what later ones find there; the
                         first of all starts the session as well */
  ProfileBlocks later; /* of all others */
  guint64 forwarded;   /* calls on pins, in both */
  guint64 failed;      /* blocks that were cut or aborted */
  guint64 out_of_memory;                  /* times that the device had too little memory for a call of it */
  ProfileReason reasons[PROFILE_REASONS]; /* of the failures, the most frequent first; `text` NULL: none */
} ProfileObservation;

typedef struct {
  ProfileGraph *places; /* the functions: where they are, and what they are named; its numbers say nothing */
  GArray *functions;    /* of ProfileObservation, as places->functions has them */
} ProfileObserved;

ProfileObserved *profile_observed_new(void);
void profile_observed_free(ProfileObserved *observed);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfileObserved, profile_observed_free)

/* What was seen of the function at that place, which is added where there is none; the numbers are the
 * caller's business. NULL: there are PROFILE_OBSERVED_LIMIT functions already, or the object's path is known
 * with other contents. It moves when one is added. */
ProfileObservation *profile_observed_add(ProfileObserved *observed, const ProfileObject *object,
                                         guint64 offset, const char *name);

/* The same where it is there already; else NULL. */
const ProfileObservation *profile_observed_find(const ProfileObserved *observed, const ProfileObject *object,
                                                guint64 offset);

/* Notes why `count` of the failures were: text from another machine, of which the beginning is kept, and of
 * many reasons the most frequent. */
void profile_observation_reason(ProfileObservation *observation, const char *text, guint64 count);

void profile_blocks_add(ProfileBlocks *sum, const ProfileBlocks *blocks);

/* Adds another's sums, as far as there is room. FALSE, with nothing changed, where the two know an object of
 * one path by different contents. */
gboolean profile_observed_merge(ProfileObserved *observed, const ProfileObserved *other);
