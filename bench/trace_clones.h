/* A history of several authors as they would have it with CloneDoc: each on a device with a clone, all clones
 * at one server. */
#pragma once

#include "trace.h"

/* Carries the history through: each step an entry, sealed and signed by its author's clone, ordered by a
 * server, taken by all. Ends the program with an error where a device or a clone does not come to the
 * history's text. */
void trace_through_clones(const Trace *trace);
