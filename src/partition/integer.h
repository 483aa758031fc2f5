/* An integer program and the library that solves it (docs/decisions/0043-the-solver.md). */
#pragma once

#include <glib.h>

/* Least sum of cost * x, where each row's sum of coefficient * x is its right side, or at most that; 0 <= x
 * <= upper. Columns one after the other; a column's entries follow it. */
typedef struct {
  GArray *start, *row;          /* int */
  GArray *coefficient;          /* double, as many as `row` */
  GArray *cost, *upper;         /* double, of each column */
  GArray *integer;              /* char, of each column */
  GArray *row_least, *row_most; /* double, of each row */
} PartitionProgram;

PartitionProgram *partition_program_new(void);
guint partition_program_column(PartitionProgram *program, double cost, double upper, gboolean integer);
void partition_program_entry(PartitionProgram *program, guint row,
                             double coefficient); /* of the last column */
guint partition_program_row(PartitionProgram *program, double least, double most);
void partition_program_free(PartitionProgram *program);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PartitionProgram, partition_program_free)

typedef enum {
  PARTITION_SOLVED,     /* `x` is an optimum within the library's tolerances */
  PARTITION_IMPOSSIBLE, /* there is no solution */
  PARTITION_FOUND,      /* time ran out; `x` is a solution */
  PARTITION_GAVE_UP,    /* the library cannot tell, or is not installed */
} PartitionVerdict;

/* `x` has room for each column. `objective` is that of `x`; `nodes` is raised by those of the search tree.
 * `seconds`: as in partition_solve(). */
PartitionVerdict partition_program_solve(const PartitionProgram *program, double seconds, double *x,
                                         double *objective, guint *nodes);
