/* Reads what Valgrind's callgrind writes: valgrind's manual, "Callgrind Format Specification", and where that
 * is silent, what valgrind 3.19 writes.
 *
 * The bytes come from a clone, over a network. Memory is bounded, and an error names the line. */
#pragma once

#include "profile/calls.h"
#include "profile/graph.h"

/* The arguments of valgrind for a profile that can be read here, NULL-terminated, to be followed by
 * "--callgrind-out-file=PATH" and the program. The path needs "%p" (the process's id), since a child that is
 * forked writes a file as well, which repeats what its parent did until then. What executes another program,
 * as a shell's script does, leaves an empty file. LD_BIND_NOW=1 in the environment, as in doppel's own runs,
 * keeps the loader's look-ups out of the callers' costs. */
extern const char *const profile_callgrind_arguments[];

typedef struct ProfileCallgrind ProfileCallgrind;

/* Of one run: its file, or all of its files and parts one after the other. `reader` finds the functions of
 * the files that it names (profile_file_read()); `name` is for messages. */
ProfileCallgrind *profile_callgrind_new(ProfileFileReader reader, const char *name);
void profile_callgrind_free(ProfileCallgrind *callgrind);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfileCallgrind, profile_callgrind_free)

/* The next bytes. FALSE with an error, and then nothing else may be done with it. */
gboolean profile_callgrind_feed(ProfileCallgrind *callgrind, const char *bytes, gsize length, GError **error);

/* After the last bytes: the graph of this one run. NULL with an error, also where the end is missing. */
ProfileGraph *profile_callgrind_end(ProfileCallgrind *callgrind, GError **error);

/* All of it for a file. */
ProfileGraph *profile_callgrind_read(const char *path, GError **error);
