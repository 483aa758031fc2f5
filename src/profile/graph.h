/* What a program was seen to do: its functions, what each costs and who calls whom. One graph may hold many
 * runs: numbers are sums, to be divided by `runs`.
 *
 * Cost is in instructions, of all threads. A function's `self` cost is what it executes itself. A call's cost
 * is all that is executed between its beginning and its end by its thread, in whatever function.
 *
 * Recursion: such costs overlap where a function is called while it runs already, and their sum has no
 * meaning (fact(6) would count the costs of fact(5), which count those of fact(4), ...). So a call is
 * `nested` that begins while another of the same function has not ended in its thread, directly or through
 * others. Costs of calls are those of calls that are not nested: they never overlap, so a function's
 * `inclusive` cost is at most what the whole program costs. That is also what a block covers: it begins with
 * an outermost call, and nested ones run inside it, so the mean block of a function costs inclusive / (calls
 * - nested). */
#pragma once

#include "profile/object.h"

#define PROFILE_FUNCTION_LIMIT (1u << 20)
#define PROFILE_ARC_LIMIT      (4u << 20)
#define PROFILE_OBJECT_LIMIT   (1u << 14)

typedef struct {
  guint object;   /* index */
  guint64 offset; /* of the first byte in the object's file, as in Symbol */
  char *name;     /* of the symbol; NULL: none */
  guint64 self;
  guint64 calls; /* from anywhere: the arcs' and those from outside, as a thread's first function */
  guint64 nested;
  guint64 inclusive;
} ProfileFunction;

typedef struct {
  guint caller, callee; /* indices of functions */
  guint64 calls;
  guint64 nested; /* of the calls */
  guint64 cost;   /* of those that are not nested */
} ProfileArc;

typedef struct {
  guint runs;
  guint64 elsewhere;    /* cost of code that is no function's and that no function called */
  GPtrArray *objects;   /* of ProfileObject */
  GArray *functions;    /* of ProfileFunction */
  GArray *arcs;         /* of ProfileArc; one per pair */
  GHashTable *by_path;  /* own: path -> index */
  GHashTable *by_place; /* own: (object, offset) -> index */
  GHashTable *by_pair;  /* own: (caller, callee) -> index */
} ProfileGraph;

/* An empty graph of no runs. */
ProfileGraph *profile_graph_new(void);
void profile_graph_free(ProfileGraph *graph);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfileGraph, profile_graph_free)

/* The index of the object of this path, which is added where there is none. */
guint profile_graph_add_object(ProfileGraph *graph, const ProfileObject *object);

/* The function that begins there, which is added where there is none; its numbers are the caller's business.
 * Functions move when one is added. */
guint profile_graph_add_function(ProfileGraph *graph, guint object, guint64 offset, const char *name);

/* Whether the graph has a function there, in a file of these contents (of this path, or wherever it lies). */
gboolean profile_graph_find(const ProfileGraph *graph, const ProfileObject *object, guint64 offset,
                            guint *index);

/* The arc of these two, which is added where there is none. Arcs move when one is added. */
ProfileArc *profile_graph_add_arc(ProfileGraph *graph, guint caller, guint callee);

ProfileFunction *profile_graph_function(const ProfileGraph *graph, guint index);

/* Adds another graph's runs. Objects are the same whose contents are, wherever they lie. FALSE, with nothing
 * changed, where the two know an object of one path by different contents. */
gboolean profile_graph_merge(ProfileGraph *graph, const ProfileGraph *other);

/* The path of the first of the graph's files that is not what it was, or NULL. `program` is as the graph has
 * it, wherever it lies. */
const char *profile_graph_changed(const ProfileGraph *graph, const ProfileObject *program);

/* All self costs: what the runs executed. */
guint64 profile_graph_total(const ProfileGraph *graph);

/* Sums that stay at the largest number instead of beginning anew. */
guint64 profile_sum(guint64 left, guint64 right);
