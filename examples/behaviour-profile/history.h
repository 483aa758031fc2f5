/* What a user visited. README.md describes the file. */
#pragma once

#include "tree.h"

typedef struct {
  /* Seconds since 1970. */
  gint64 time;
  /* Numbers of the words of the page's title that the tree knows. */
  guint32 *words;
  gsize n_words;
} Visit;

/* The Visits of a log, sorted by time. On error NULL, the error naming the line. */
GPtrArray *history_load(const char *path, const Tree *tree, GError **error);
