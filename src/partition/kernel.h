/* What the presolve leaves open, as an integer program. */
#pragma once

#include "partition/search.h"

/* Tries the choice that the integer program names. TRUE: there is nothing below the cutoff by more than
 * tolerances. FALSE: the library did not say, or what it said does not hold. After partition_search_settle(),
 * which returned FALSE. */
gboolean partition_kernel_solve(PartitionSearch *search, double seconds, PartitionEffort *effort);
