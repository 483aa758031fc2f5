/* doppel run --background: the program as a job of the clone's. */
#pragma once

#include "controller/run.h"

/* Brings the clone's files up to date, where it has this device's and `sync` says so, starts the job, tells
 * its number on standard output, and returns the verb's exit status: 0, 1, or 2 for what makes no sense.
 * `limit` is what --limit said ("memory=2G,cpu=150"), or NULL. */
int background_run(const RunOptions *options, const char *limit, gboolean sync);

/* Whether a rule of doppel.conf(5) has made the program a job: then as above, with *status, except that the
 * number is told on standard error: what reads the program's output is not to get it. FALSE where the program
 * is to run here: no rule holds, or nothing is known of a clone that could, or would, take it. With --explain
 * either is said. What may run in the clone already does not begin here, too. */
gboolean background_by_rule(const RunOptions *options, int *status);

#define BACKGROUND_LIMIT_HELP                                                                                \
  "What a job may use: memory=BYTES (K, M, G), cpu=PERCENT of a processor, processes=N, time=SECONDS, "      \
  "output=BYTES, changes=BYTES of files"
