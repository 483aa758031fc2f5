/* What the engine sees of one of a program's functions when calls of it are off-loaded: bytes, round trips,
 * what a block cannot do. A Controller and an Augmenter (CloneCloud section 3) run against each other, both
 * on the clone host, each with a sandbox of its own over the clone's files, so that the device has no part in
 * it. What the link would add is not in it: the device knows that.
 *
 * The Controller's memory can be looked into by the program, as on a device; a clone host's holds keys.
 * Therefore both run in a process that begins anew, by an exec of the program that the caller is. */
#pragma once

#include "profiler/run.h"

#define PROFILER_OBSERVE_NAME "doppel-observe" /* that program's argv[0] then */

/* As profiler_run_start(), with the function `text` off-loaded whenever it is called (run->kind is
 * PROFILER_OBSERVED). Its last word is a ProfilerSeen about the function number `number`, with a descriptor
 * of the engine's statistics where there are some, or a ProfilerRefusal. */
pid_t profiler_observe_start(const ProfilerRun *run, const char *text, guint number, guint seconds,
                             int *socket, GError **error);

/* Of a program that may be the caller: whether it is wanted for that; and then what main() does. */
gboolean profiler_observe_is_wanted(char *const *argv);
int profiler_observe_main(int argc, char **argv);
