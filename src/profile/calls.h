/* From what callgrind counts to functions and calls.
 *
 * Callgrind counts in contexts. One begins with a call, or with a jump to the first byte of a function whose
 * name valgrind knows, and holds all that is executed until the return, but for the contexts that begin
 * meanwhile; it has the name of that function, or where it knows none the address at which it began. So in
 * stripped files a function that another ends with (a tail call, a jump) is counted as a part of it, and the
 * unlikely half of a function (".cold", a symbol of its own) as a function that it calls. Therefore cost and
 * calls go here to the function that their instruction belongs to, not to the context's:
 * - where a context jumps to another function's first byte, that is a call, whose cost is what is counted
 *   there, and which is nested (graph.h) where the context is, or where the context began with that function;
 * - instructions of no function belong to the one that the context began with;
 * - a context that began in no function (a stub of the linkage table, ".cold", code made at run time) is its
 *   callers'. What it costs and whom it calls is divided among them as they called it. */
#pragma once

#include "profile/file.h"
#include "profile/graph.h"

typedef struct ProfileCalls ProfileCalls;
typedef struct ProfileContext ProfileContext;

/* Finds the functions of the files that a profile names; NULL for none, such as the kernel's. */
typedef ProfileFile *(*ProfileFileReader)(const char *path, GError **error);

ProfileCalls *profile_calls_new(ProfileFileReader reader);
void profile_calls_free(ProfileCalls *calls);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfileCalls, profile_calls_free)

/* The context of this name in this object; its recursion level is in the name ("f'2"). It lives as long as
 * `calls`. NULL with an error where there are too many; so do those below. */
ProfileContext *profile_calls_context(ProfileCalls *calls, const char *object, const char *name,
                                      GError **error);

/* An instruction at `vaddr` that was executed in the context. */
gboolean profile_calls_cost(ProfileCalls *calls, ProfileContext *context, guint64 vaddr, guint64 cost,
                            GError **error);

/* `count` calls by the instruction at `vaddr`, which began the context `callee` at `target`. */
gboolean profile_calls_call(ProfileCalls *calls, ProfileContext *context, guint64 vaddr,
                            ProfileContext *callee, guint64 target, guint64 count, guint64 cost,
                            GError **error);

/* `count` jumps within the context. */
gboolean profile_calls_jump(ProfileCalls *calls, ProfileContext *context, guint64 vaddr, guint64 target,
                            guint64 count, GError **error);

/* The graph of one run. NULL with an error. To be called once. */
ProfileGraph *profile_calls_finish(ProfileCalls *calls, GError **error);
