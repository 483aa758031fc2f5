/* A sparse vector: a weight for each of a few words. */
#pragma once

#include <glib.h>

typedef struct {
  guint32 word;
  float weight;
} VectorEntry;

/* Its entries are in the order of their words, none twice. */
typedef struct {
  VectorEntry *entries;
  gsize length;
} Vector;

void vector_clear(Vector *vector);

/* into += factor * from */
void vector_add(Vector *into, const Vector *from, double factor);

/* Its length as geometry says. */
double vector_norm(const Vector *vector);

/* The product with a vector that has a weight for every word. */
double vector_dot(const Vector *vector, const double *weights);
