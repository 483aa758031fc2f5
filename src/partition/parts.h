/* What a presolve left open, made smaller: settled functions are taken out of the graph as far as that makes
 * it smaller, and what does not hang together any more becomes problems of their own. Costs of parts add up,
 * so each is a search by itself. */
#pragma once

#include "partition/search.h"

typedef struct {
  GPtrArray *parts; /* PartitionSearch, with open functions each; their `function` says where they are in the
                       whole */
  double cost;      /* of all that is in no part */
} PartitionParts;

/* After partition_search_settle(), which returned FALSE. */
PartitionParts *partition_parts_of(const PartitionSearch *search);

void partition_parts_free(PartitionParts *parts);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PartitionParts, partition_parts_free)
