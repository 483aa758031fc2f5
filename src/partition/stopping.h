/* A graph of calls without first costs: the least cost of each call, and where the flow goes. It is a problem
 * of optimal stopping of a chain: at each arrival either stop (a block, at a known cost) or go on (execute,
 * and make the calls). Functions outside cycles are a dynamic programme; within a group the elimination
 * algorithm of Sonin (Stochastic Processes and their Applications 80, 1999): as long as some function would
 * rather go on for one step than stop, it is certain to go on, and is taken out. */
#pragma once

#include "partition/calls.h"

typedef struct {
  double *value;    /* the least cost of one arrival */
  double *going_on; /* the same of one that is executed, later ones costing `value`; INFINITY: it cannot be */
} PartitionValues;

/* What stopping costs each arrival more, by where it comes from; for functions of a group of their own only,
 * of others it is 0. NULL: nothing. */
typedef struct {
  double *arc;   /* by place in in_function */
  double *entry; /* by function */
} PartitionPrices;

/* `stop`: the cost of stopping one arrival, INFINITY where that may not be. The values of functions that are
 * never called mean nothing; `value` is without prices. */
void partition_stopping_values(const PartitionCalls *calls, const double *stop, const PartitionPrices *prices,
                               PartitionValues *values);

/* What all entries together cost. */
double partition_stopping_cost(const PartitionCalls *calls, const double *stop, const PartitionPrices *prices,
                               const PartitionValues *values);

/* What arrives on the device where exactly those of `stops` stop, in `arriving`; and in `part`, which part of
 * all its arrivals each function executes (0 where it stops). */
void partition_stopping_flow(const PartitionCalls *calls, const gboolean *stops, double *arriving,
                             double *part);

/* The same where each arrival does what is best for it. */
void partition_stopping_best_flow(const PartitionCalls *calls, const double *stop,
                                  const PartitionPrices *prices, const PartitionValues *values,
                                  double *arriving, double *part);
