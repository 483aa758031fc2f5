#include "vector.h"

#include <math.h>

void
vector_clear(Vector *vector)
{
  g_free(vector->entries);
  *vector = (Vector){0};
}

void
vector_add(Vector *into, const Vector *from, double factor)
{
  VectorEntry *sum = g_new(VectorEntry, into->length + from->length);
  gsize i = 0, j = 0, n = 0;
  while (i < into->length || j < from->length) {
    if (j == from->length || (i < into->length && into->entries[i].word < from->entries[j].word)) {
      sum[n] = into->entries[i++];
    } else if (i == into->length || from->entries[j].word < into->entries[i].word) {
      sum[n] = from->entries[j++];
      sum[n].weight = (float)(sum[n].weight * factor);
    } else {
      sum[n] = into->entries[i++];
      sum[n].weight = (float)(sum[n].weight + from->entries[j++].weight * factor);
    }
    n++;
  }
  g_free(into->entries);
  into->entries = g_renew(VectorEntry, sum, n);
  into->length = n;
}

double
vector_norm(const Vector *vector)
{
  double squares = 0;
  for (gsize i = 0; i < vector->length; i++)
    squares += (double)vector->entries[i].weight * vector->entries[i].weight;
  return sqrt(squares);
}

double
vector_dot(const Vector *vector, const double *weights)
{
  double sum = 0;
  for (gsize i = 0; i < vector->length; i++)
    sum += vector->entries[i].weight * weights[vector->entries[i].word];
  return sum;
}
