/* A database of what is only worth time: it is remembered as long as all goes well. Where the file is damaged
 * or of another version it is made anew, and where it cannot be written nothing is remembered; none of it is
 * an error for the user. */
#pragma once

#include "base/database.h"

typedef struct {
  int version;        /* files of other versions are given up */
  const char *tables; /* SQL that makes them */
  const char *trial;  /* SQL that fails where one of them is missing */
  const char *what;   /* "profiles": for messages */
} HintLayout;

typedef struct {
  const HintLayout *layout;
  char *path;
  sqlite3 *db; /* NULL: nothing is remembered */
} HintStore;

/* Opens or makes the store at `path`. `layout` lives as long as it. */
void hint_store_open(HintStore *store, const char *path, const HintLayout *layout);
void hint_store_close(HintStore *store);

/* After a failure: makes it anew where that can help. Another process's lock or a full disk would stay.
 * Whether there is a new one. */
gboolean hint_store_mend(HintStore *store);

static inline const char *
hint_text(sqlite3_stmt *row, int column)
{
  return (const char *)sqlite3_column_text(row, column);
}

/* *good becomes FALSE where it is no number, or less than 0. */
guint64 hint_number(sqlite3_stmt *row, int column, gboolean *good);
