/* Small problems by chance, and their optimum by trying everything. */
#pragma once

#include "partition/partition.h"

#define SMALL_MOST 15

typedef struct {
  PartitionFunction functions[SMALL_MOST];
  PartitionArc arcs[SMALL_MOST * SMALL_MOST * 2];
  PartitionProblem problem;
} SmallProblem;

/* How many cases a test goes through: DOPPEL_PARTITION_CASES of the environment, else `usual`. */
guint64 small_problem_cases(guint64 usual);

/* Of up to `most` functions, with cycles, forbidden and forced functions, first blocks, ties, and numbers of
 * every size. */
void small_problem_by_chance(SmallProblem *small, GRand *rand, guint most);

/* The least cost over all sets of functions; INFINITY where none can be run. */
double small_problem_optimum(const PartitionProblem *problem);

/* The cost of exactly this set, chosen[v] telling; INFINITY where it cannot be run. */
double small_problem_cost(const PartitionProblem *problem, const gboolean *chosen);

/* For messages: the whole problem in one line a function and arc. */
char *small_problem_text(const PartitionProblem *problem);
