/* The steps of one attempt on their way to the clone: how much may be under way, how fast, what the clone
 * says to them. Part of sync.c. */
#pragma once

#include "replica/generation_steps.h"
#include "replicator/conversation.h"
#include "replicator/pace.h"
#include "replicator/sync.h"

/* Bytes of steps that are not durable in the clone, before compression; with the batch of 256 KiB that is
 * sent when there are fewer, that is what a cut costs at most: less than 1 MB. The clone brings steps to its
 * disk every 512 KiB (replica/generation_log.h), so that there always is something under way meanwhile. */
#define TELLING_WINDOW (700u << 10)

typedef struct {
  Link *link;
  CloneIndex *index;
  const ReplicatorOptions *options;
  GenerationSteps *steps;
  PublicSet *public; /* what the clone's host has in its public base; NULL: nothing is known of it */
  Pace pace;
  gsize piece;      /* bytes of steps in one message, at most */
  GQueue under_way; /* of Told (telling.c): sent and not durable */
  gsize window;     /* bytes of them */
  guint64 last;     /* number of the last step that was sent */
  guint64 durable;
  gboolean begun; /* the clone was told which attempt it is */
  ReplicatorPhase phase;
  gint64 reported_ns;
  double speed; /* bytes of contents a second, smoothed */
  gint64 measured_ns;
  guint64 measured;
} Telling;

void telling_init(Telling *telling, Link *link, CloneIndex *index, const ReplicatorOptions *options);
void telling_clear(Telling *telling);

/* What has to be told is `plan`, after step `durable`. */
void telling_begin(Telling *telling, int root, TreePlan *plan, guint64 durable);

/* Tells all of it, and does not wait for the end. Without anything to tell no attempt is begun. */
gboolean telling_tell(Telling *telling, GError **error);

/* Completes the generation, after what else there is to tell when the clone has seen all. The answer is a
 * Committed. */
SyncMessage *telling_complete(Telling *telling, GError **error);

/* Tells the options' progress function, if it is time or the phase is another. */
void telling_report(Telling *telling, ReplicatorPhase phase);
