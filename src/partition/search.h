/* The search for the best choice: what is known of each function, bounds from both sides, and the steps that
 * settle functions without an integer program (the presolve). Session cost is not in here: partition.c
 * compares the best choice with choosing nothing. */
#pragma once

#include "partition/stopping.h"

typedef enum {
  PARTITION_OPEN, /* not settled */
  PARTITION_PAID, /* its first block counts as paid; whether it stops is its callers' and callees' matter */
  PARTITION_STOP, /* paid, and begins a block whenever it is reached on the device */
  PARTITION_OUT,  /* never chosen, or never reached */
} PartitionState;

typedef struct {
  PartitionCalls *calls;
  guint *function; /* of a part: which function of the whole; NULL: it is the whole */
  double *block;   /* INFINITY: may not be chosen */
  double *first;
  guint8 *state; /* PartitionState */

  /* Of every choice that is cheaper than `cutoff` and agrees with the states: */
  double *most;          /* arrivals at a function, at most */
  double *most_blocks;   /* those that begin a block */
  double *most_part;     /* those that are executed, as a part of all its arrivals */
  double *least;         /* arrivals, at least */
  PartitionValues lower; /* the least cost of an arrival, first blocks all paid */
  PartitionValues upper; /* the same where only paid ones stop: no choice has a dearer arrival */
  PartitionValues relaxed;
  double paid;  /* first blocks that are */
  double bound; /* no such choice costs less */

  gint64 deadline;  /* clock_now_ns(); 0: none. After it only as much is done as gives some choice */
  double cutoff;    /* what a choice has to undercut */
  gboolean *chosen; /* the best choice found, if it is below the first cutoff */
  gboolean found;

  guint rounds;
  /* Room for one step. */
  double *stop, *arriving, *part;
  gboolean *stops;
} PartitionSearch;

/* Takes over `calls`. Who may be chosen, and at what costs, is for the caller to fill in; everything is open
 * then. Only what costs less than `cutoff` is looked for. */
PartitionSearch *partition_search_new(PartitionCalls *calls, double cutoff);

/* The cost of choosing, of `offered`, what is worth it on the way: remembered if it is below the cutoff,
 * which it then is. */
void partition_search_try(PartitionSearch *search, const gboolean *offered);

/* Whether the deadline is over. */
gboolean partition_search_late(const PartitionSearch *search);

/* Settles what can be settled; `thorough` takes some hundred walks over the graph instead of some. TRUE:
 * nothing below the cutoff is left to be found. FALSE: there may be, or the deadline is over; the walk that
 * was begun is finished. */
gboolean partition_search_settle(PartitionSearch *search, gboolean thorough);

/* An open function that cannot run on the device, callees before callers; as many as there are functions if
 * there is none. */
guint partition_search_forced(const PartitionSearch *search);

void partition_search_free(PartitionSearch *search);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PartitionSearch, partition_search_free)
