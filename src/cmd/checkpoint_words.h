/* What the verbs about checkpoints have in common. */
#pragma once

#include "controller/run.h"
#include "replicator/checkpoint_client.h"

#define CHECKPOINT_CLONE_OPTION(variable)                                                                    \
  {                                                                                                          \
    "clone", 'c', 0, G_OPTION_ARG_STRING, (variable),                                                        \
        "Which clone keeps them (needed only where several are paired)", "NAME"                              \
  }

/* "60s", "5m", "1h", "500ms", or seconds without a unit: milliseconds, at least 100. FALSE with USAGE. */
gboolean checkpoint_words_time(const char *text, int *ms, GError **error);

/* Puts what `doppel run` was told of checkpoints into its options. FALSE with USAGE. */
gboolean checkpoint_words_options(const char *time, const char *rate, gboolean keep, RunOptions *options,
                                  GError **error);

/* A connection to the clone, which is looked for where it has moved. NULL with an error. */
CheckpointClient *checkpoint_words_open(const char *verb, const char *clone, GError **error);

/* The program and its arguments. */
char *checkpoint_words_command(const CheckpointChain *chain);
