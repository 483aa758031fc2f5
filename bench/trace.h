/* Editing histories as https://github.com/josephg/editing-traces records them: keystrokes, in the order in
 * which a server would have them, each made against what its author had seen. */
#pragma once

#include <glib.h>

typedef struct {
  guint32 at, deleted; /* Unicode scalar values */
  const char *inserted;
  guint32 bytes;
} TracePatch;

typedef struct {
  guint32 agent;
  guint32 patch, patches; /* in Trace.patches; they apply one after the other */
  guint32 *seen; /* by agent: how many transactions of each its author had seen; NULL: all before it */
} TraceStep;

typedef struct {
  char *start, *end; /* the text before and after */
  guint agents;
  GArray *patches, *steps;
  GStringChunk *strings;
} Trace;

/* Reads a file of either kind, gzip'ed or not. */
Trace *trace_read(const char *path, GError **error);
void trace_free(Trace *trace);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Trace, trace_free)
