/* Which functions of a program are worth a block: the set with the least expected cost, exactly.
 *
 * CloneCloud (HotOS 2009, section 4) wants partitioning by itself. As a problem of numbers: a program enters
 * its functions and they call each other, so and so often. Executed on the device, a function costs its own
 * work and makes its calls. A function that is chosen begins a block whenever it is reached on the device,
 * and everything below it runs in the clone, whether chosen or not: there is no block inside a block.
 *
 * The calls of a function are spread over its executions evenly, which is all that a profile's counts tell:
 * where a block takes some of a caller's executions away from the device, it takes that part of the caller's
 * calls with it.
 *
 * Costs are of any one unit (seconds, joules, money), calls are counts or means of counts. What a cost is
 * made of is the caller's business. */
#pragma once

#include <glib.h>

typedef struct {
  double entries;    /* calls that come from no function of this problem (main, callbacks of the system) */
  double local_cost; /* of one execution on the device, without what it calls */
  double block_cost; /* of one block: all below it in the clone, the way there and back, what the device does
                        meanwhile */
  double first_cost; /* what the first block costs beyond later ones; once, if there is any block of it */
  gboolean no_block; /* may not be chosen (it touches what cannot be forwarded); block_cost and first_cost say
                        nothing */
  gboolean no_local; /* cannot be executed on the device (memory): chosen, or only inside others' blocks */
} PartitionFunction;

/* How often `caller` calls `callee` in all, by their index. Several arcs of one pair add up; both may be the
 * same. */
typedef struct {
  guint caller;
  guint callee;
  double calls;
} PartitionArc;

typedef struct {
  const PartitionFunction *functions;
  guint n_functions;
  const PartitionArc *arcs;
  gsize n_arcs;
  double session_cost; /* of having a clone at all; once, if anything is chosen */
} PartitionProblem;

/* Every count and cost is 0, or in this range: it keeps sums and products far from what a double cannot tell
 * apart. */
#define PARTITION_LEAST 1e-15
#define PARTITION_MOST  1e15
/* More functions or arcs than this are no program. */
#define PARTITION_MOST_FUNCTIONS 10000000u
#define PARTITION_MOST_ARCS      100000000u

/* The cost of what is returned is at most (1 + this) times the least one, unless time ran out. */
#define PARTITION_TOLERANCE 1e-6

typedef struct {
  gboolean chosen;   /* it is off-loaded where it is reached on the device, and is reached there */
  double executions; /* expected on the device */
  double blocks;     /* expected; 0 where not chosen */
} PartitionShare;

/* How an optimum was reached, for benches and for who wonders about the time. */
typedef struct {
  guint rounds;  /* of the presolve, those of parts and branches as well */
  guint open;    /* functions about which it could not tell, in all integer programs */
  guint columns; /* of these; 0 where none was needed */
  guint nodes;   /* that the solver looked at */
} PartitionEffort;

typedef struct {
  PartitionShare *shares; /* of each function */
  guint n_shares;
  double cost;       /* of what is chosen */
  double bound;      /* no choice costs less; PARTITION_TOLERANCE below `cost` at most, unless time ran out */
  double local_cost; /* with nothing chosen; INFINITY where that is impossible */
  gboolean cut;      /* time ran out: there may be something better */
  PartitionEffort effort;
} Partition;

/* The optimum of `problem`. Where nothing is gained by it nothing is chosen. Finding it may take as long as
 * it will for some graph of thousands of functions: after `seconds` (0: never) the best that was found is the
 * answer. What was begun is finished first: some walks over the graph, which may take seconds where a
 * thousand functions and more call each other in cycles, or the library's first relaxation, where as many
 * stay open. Unless time runs out equal problems have equal answers. Errors: USAGE where a number, an index
 * or the whole makes no sense (the message says where), UNSUPPORTED where functions that may neither run on
 * the device nor be chosen are reached whatever is chosen. Functions are named by their index. One thread at
 * a time is in the library; others wait. */
Partition *partition_solve(const PartitionProblem *problem, double seconds, GError **error);

void partition_free(Partition *partition);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Partition, partition_free)
