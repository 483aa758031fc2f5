/* doppel run --on: a whole program in somebody else's clone. */
#pragma once

#include "cmd/run_options.h"

/* The verb's exit status. */
int run_on(const RunVerb *verb, const RunOptions *options, const char *user);
