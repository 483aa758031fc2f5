#include "partition/integer.h"

PartitionProgram *
partition_program_new(void)
{
  PartitionProgram *program = g_new0(PartitionProgram, 1);
  program->start = g_array_new(FALSE, FALSE, sizeof(int));
  program->row = g_array_new(FALSE, FALSE, sizeof(int));
  program->coefficient = g_array_new(FALSE, FALSE, sizeof(double));
  program->cost = g_array_new(FALSE, FALSE, sizeof(double));
  program->upper = g_array_new(FALSE, FALSE, sizeof(double));
  program->integer = g_array_new(FALSE, FALSE, sizeof(char));
  program->row_least = g_array_new(FALSE, FALSE, sizeof(double));
  program->row_most = g_array_new(FALSE, FALSE, sizeof(double));
  return program;
}

void
partition_program_free(PartitionProgram *program)
{
  g_array_unref(program->start);
  g_array_unref(program->row);
  g_array_unref(program->coefficient);
  g_array_unref(program->cost);
  g_array_unref(program->upper);
  g_array_unref(program->integer);
  g_array_unref(program->row_least);
  g_array_unref(program->row_most);
  g_free(program);
}

guint
partition_program_column(PartitionProgram *program, double cost, double upper, gboolean integer)
{
  int start = program->row->len;
  char is_integer = integer ? 1 : 0;
  g_array_append_val(program->start, start);
  g_array_append_val(program->cost, cost);
  g_array_append_val(program->upper, upper);
  g_array_append_val(program->integer, is_integer);
  return program->cost->len - 1;
}

void
partition_program_entry(PartitionProgram *program, guint row, double coefficient)
{
  int index = row;
  g_array_append_val(program->row, index);
  g_array_append_val(program->coefficient, coefficient);
}

guint
partition_program_row(PartitionProgram *program, double least, double most)
{
  g_array_append_val(program->row_least, least);
  g_array_append_val(program->row_most, most);
  return program->row_least->len - 1;
}
