/* The categories, each with the words that speak of it. README.md describes the file. */
#pragma once

#include "vector.h"

typedef struct Category Category;

struct Category {
  char *path;
  /* How much it counts in the category above it. */
  double weight;
  GPtrArray *children;
  /* Its words as the file says; after tree_spread() with those of all categories below it. */
  Vector vector;
  double norm;
};

typedef struct {
  /* In the file's order: each after the one that it is in. */
  GPtrArray *categories;
  /* Word to its number, which is less than n_words, plus 1. */
  GHashTable *words;
  guint32 n_words;
  /* By word: how much it tells; what stands in every category tells little. */
  double *telling;
} Tree;

/* On error NULL, the error naming the line. */
Tree *tree_load(const char *path, GError **error);
void tree_free(Tree *tree);

/* A word's number, or -1. */
gint64 tree_find_word(const Tree *tree, const char *word);

/* Weighs words by what they tell, and adds to each category the words of those below it, each level counting
 * `share` of the one above. Fails where weights become too large to be numbers. */
gboolean tree_spread(Tree *tree, double share, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Tree, tree_free)
