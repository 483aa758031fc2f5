/* A problem's calls as a graph that is quick to walk. What a function calls itself is folded in: who starts a
 * function anew from within only makes each *arrival* (a call from elsewhere) more expensive, since a chosen
 * function never gets so far and the others make all of them. So arrivals are what is counted here.
 *
 * The flow: with h[v] the part of v's arrivals that is executed on the device, what arrives at v on the
 * device is entries[v] + sum over callers u of calls[uv] * h[u], at most arrivals[v], which is its value at h
 * = 1. */
#pragma once

#include "partition/partition.h"

typedef struct {
  guint n;
  double *entries;
  double *arrivals;   /* entries, calls by others, and `lost`; 0: it is never called */
  double *lost;       /* calls by functions that are left out, since they never get so far */
  double *executions; /* with those that it starts itself */
  double *local;      /* cost of all its executions on the device; INFINITY where it cannot run there */
  /* Arcs of v: [start[v], start[v + 1]) of the arrays; sorted by function, one per pair, none with 0 calls.
   */
  guint *out_start, *out_function;
  double *out_calls;
  guint *in_start, *in_function;
  double *in_calls;
  guint *out_in; /* where an arc of out_ is among those of in_ */
  /* Functions that call each other in cycles are one group. Groups are in an order in which callees come
   * first. */
  guint n_groups;
  guint *group_start, *group_member;
  guint *group_of;
  guint *group_place; /* where in group_member a function is */
} PartitionCalls;

/* NULL with USAGE where the counts contradict each other: a function makes calls although nothing leads to
 * it. The numbers themselves have been checked. */
PartitionCalls *partition_calls_new(const PartitionProblem *problem, GError **error);

/* A graph of other making: takes over `arcs`, PartitionArc, one per pair, none to itself, and finds order and
 * groups. The caller fills in entries, lost, executions and local before partition_calls_complete(). */
PartitionCalls *partition_calls_new_of(guint n, GArray *arcs);
void partition_calls_complete(PartitionCalls *calls);

void partition_calls_free(PartitionCalls *calls);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PartitionCalls, partition_calls_free)
