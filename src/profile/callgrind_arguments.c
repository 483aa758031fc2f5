#include "profile/callgrind.h"

const char *const profile_callgrind_arguments[] = {
    "--tool=callgrind",
    /* Nothing from ~/.valgrindrc or $VALGRIND_OPTS. */
    "--command-line-only=yes",
    "-q",
    /* Addresses tell functions where names do not, and jumps the calls that are none to callgrind (calls.h).
     */
    "--dump-instr=yes",
    "--dump-line=no",
    "--collect-jumps=yes",
    /* "f" and "f'2": a call from outside, and one that happens while f runs (graph.h). */
    "--separate-recs=2",
    "--skip-direct-rec=no",
    /* All threads' sums in one file; their call stacks are their own all the same. */
    "--separate-threads=no",
    "--combine-dumps=no",
    /* A stub's cost is its caller's. */
    "--skip-plt=yes",
    "--demangle=no",
    /* What valgrind would run at the end is not the program's. */
    "--run-libc-freeres=no",
    "--run-cxx-freeres=no",
    NULL,
};
