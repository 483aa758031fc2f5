/* What a presolve left open, made smaller: settled functions are taken out of the graph as far as that makes
 * it smaller, and what does not hang together any more becomes problems of their own. Costs of parts add up,
 * so each is a search by itself. */
#pragma once

#include "partition/search.h"

/* After partition_search_settle(), which returned FALSE: PartitionSearch, with open functions each; their
 * `function` says where they are in the whole. */
GPtrArray *partition_parts_of(const PartitionSearch *search);
