/* What a store of profiles (store.h) holds, for people: a list of it, and taking something out. */
#pragma once

#include <glib.h>

typedef struct {
  char *path; /* of the program */
  guint64 runs;
  guint64 functions;
  guint64 instructions; /* of all runs */
  gint64 used;          /* seconds since 1970 */
  char *changed;        /* a file of it that is not what it was: it is stale. NULL: none */
} ProfileStored;

/* Of ProfileStored, by path; empty where there is no store. NULL with an error. */
GPtrArray *profile_stored_list(const char *store, GError **error);

/* Takes out the program of this path. Whether it was there; FALSE also with an error. */
gboolean profile_stored_forget(const char *store, const char *path, GError **error);
