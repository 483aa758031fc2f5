/* How doppel sync tells what it does and has done. */
#pragma once

#include "replicator/sync.h"

/* A line that is written over and over, on standard error where that is a terminal. */
typedef struct {
  gboolean wanted;
  gsize shown; /* columns */
} SyncLine;

/* A ReplicatorOptions.progress; `line` is a SyncLine. */
void sync_report_progress(void *line, const ReplicatorProgress *progress);
void sync_report_clear(SyncLine *line);

/* The end of a synchronisation; problems go to standard error. */
void sync_report_result(const char *clone, const ReplicatorResult *result, gboolean json);

/* What a synchronisation would look at. */
void sync_report_plan(CloneIndex *index, const char *root, const TreePlan *plan, gboolean json);
