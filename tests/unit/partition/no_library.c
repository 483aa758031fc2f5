/* A library that never can tell: what the partitioner answers has to be right all the same. */
#include "partition/integer.h"

PartitionVerdict
partition_program_solve(const PartitionProgram *program, double seconds, double *x, double *objective,
                        guint *nodes)
{
  return PARTITION_GAVE_UP;
}
