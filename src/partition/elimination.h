/* Functions that are certain to run on the device, taken out of a graph of calls one by one: their cost goes
 * to their callers, and who they call is called by their callers. All flows and costs of the others stay as
 * they are, so this both solves cycles exactly and makes graphs smaller.
 *
 * It is Gaussian elimination in the manner of Grassmann, Taksar and Heyman (Operations Research 33, 1985): a
 * function's arrivals are never what is left of a subtraction but the sum of what arrives from elsewhere, so
 * that nothing is lost to rounding however deep a recursion is. */
#pragma once

#include <glib.h>

typedef struct {
  guint node;
  double calls;
} PartitionCall;

typedef struct {
  guint n;
  GArray **out;    /* PartitionCall; of one that is gone: whom it called when it went */
  GArray **in;     /* guint: who calls */
  GArray **from;   /* PartitionCall: who called one that is gone when it went; NULL before */
  double *outside; /* what arrives from outside of this graph in full, whether or not it comes */
  double *entries; /* what of that does come */
  double *cost;    /* of all its arrivals, without what it calls in this graph */
  double *divisor; /* of one that is gone: its arrivals from others and from outside */
  gboolean *gone;
  GArray *order; /* guint, of those that are gone */
  guint *place;
} PartitionElimination;

PartitionElimination *partition_elimination_new(guint n);

/* No pair twice, no arc to itself; all before the first one goes. */
void partition_elimination_arc(PartitionElimination *graph, guint caller, guint callee, double calls);

/* What arrives at `node` in full, from outside and from those that are left. */
double partition_elimination_arrivals(const PartitionElimination *graph, guint node);

/* Takes out all nodes that are `marked`, cheap ones first. Where `most` is not 0, only those that leave at
 * most so many more arcs behind than they had. */
void partition_elimination_run(PartitionElimination *graph, const gboolean *marked, guint most);

/* The cost of one arrival at each that is gone, given that of the others in `value`. */
void partition_elimination_values(const PartitionElimination *graph, double *value);

/* The part of each one's arrivals that is executed on the device, given that of the others in `part`. */
void partition_elimination_flow(const PartitionElimination *graph, double *part);

void partition_elimination_free(PartitionElimination *graph);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PartitionElimination, partition_elimination_free)
