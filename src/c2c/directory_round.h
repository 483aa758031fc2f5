/* One question, put to several directories a little after one another: as RFC 8305 ("Happy Eyeballs") does it
 * with addresses, so that one that swallows packets costs the others' answers nothing. The next is asked 250
 * ms after the one before (its section 8), or at once where that has answered or failed; one that is known to
 * be away is asked beside the others, and nobody waits for it.
 *
 * A round belongs to one thread. */
#pragma once

#include "c2c/directory_call.h"
#include "c2c/directory_health.h"

/* The way to a directory: a connection that is kept for the next question. */
typedef struct {
  DirectoryPlace *place;
  DirectoryCall *call;  /* NULL: none */
  gint64 used_at;       /* CLOCK_MONOTONIC ns */
  DirectoryAsker asker; /* who asks */
  gboolean new_pass;    /* the asker's came lately, and is to be kept */
} DirectoryLane;
DirectoryLane *directory_lane_new(const DirectoryPlace *place);
void directory_lane_free(DirectoryLane *lane);
void directory_lane_hang_up(DirectoryLane *lane);
void directory_lane_answered(DirectoryLane *lane); /* takes note of what came with an answer */

#define DIRECTORY_KEPT_NS    (10 * G_GINT64_CONSTANT(1000000000)) /* nobody drives a connection meanwhile */
#define DIRECTORY_CONNECT_MS 4000
gboolean directory_lane_is_fresh(const DirectoryLane *lane); /* its connection can be trusted to be there */

typedef struct DirectoryRound DirectoryRound;

/* `lanes` (of DirectoryLane), `question`, `own` and `health` are borrowed. */
DirectoryRound *directory_round_new(const GPtrArray *lanes, const IdentityKey *own,
                                    DirectoryQuestion *question, DirectoryHealth *health);

/* What is not answered never will be; who has had time enough to answer is noted to be away. */
void directory_round_free(DirectoryRound *round);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryRound, directory_round_free)

/* Waits for the next answer or failure: which lane's it is, with *answer and *head (both the caller's), or
 * neither and *error. -1 at `until` (CLOCK_MONOTONIC ns), or where nobody is left. */
int directory_round_next(DirectoryRound *round, gint64 until, DirectoryAnswer **answer, DirectoryHead *head,
                         GError **error);

/* Asks nobody any more who has not been asked. */
void directory_round_hold(DirectoryRound *round);

/* How many are still to answer; with `all` also those that were away when it began. */
guint directory_round_waits(const DirectoryRound *round, gboolean all);
