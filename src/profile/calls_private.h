/* What the two halves of ProfileCalls share: collecting (calls.c) and the graph (calls_graph.c). */
#pragma once

#include "profile/calls.h"

typedef struct {
  char *path;
  ProfileFile *file; /* NULL: has no functions */
} CallsObject;

/* What one function does in one context. */
typedef struct {
  ProfileContext *context;
  const ProfilePlace *place; /* NULL: instructions of no function */
  guint64 self;
  guint64 entered;   /* by jumps, from other parts of the context */
  GPtrArray *jumps;  /* of CallsJump, from here; NULL: none */
  GPtrArray *calls;  /* of CallsCall, from here; NULL: none */
  guint vertex;      /* calls_graph.c's */
  guint64 inclusive; /* calls_graph.c's, and the next two; 0: not known yet */
  gboolean begun;
  guint followed; /* of the jumps */
} CallsPart;

struct ProfileContext {
  CallsObject *object;
  const char *name; /* without the level; of ProfileCalls.names */
  gboolean nested;  /* begins while another of its function runs */
  gboolean called;
  guint64 entry; /* where it begins, once it was called */
  CallsPart *last;
  GPtrArray *parts; /* of CallsPart, not owned */
  guint vertex;     /* calls_graph.c's; of what is no function's, where nothing else has it */
};

typedef struct {
  CallsPart *from;
  const ProfilePlace *place; /* NULL: no function's */
  ProfileContext *callee;    /* matters where there is no place */
  CallsObject *object;       /* of the callee */
  gboolean nested;
  guint64 calls, cost;
} CallsCall;

typedef struct {
  CallsPart *from, *to;
  guint64 count;
} CallsJump;

/* Each kind of thing is found by its key, and gone through in the order of its coming, so that a file gives
 * the same graph every time. */
typedef struct {
  GHashTable *set;
  GPtrArray *all; /* own */
} CallsTable;

struct ProfileCalls {
  ProfileFileReader reader;
  GHashTable *objects; /* path -> CallsObject */
  guint64 places;      /* of all objects */
  GHashTable *names;   /* own */
  CallsTable contexts; /* of ProfileContext, by object and whole name */
  CallsTable parts;    /* of CallsPart, by context and place */
  CallsTable calls;    /* of CallsCall, by ends and nested */
  CallsTable jumps;    /* of CallsJump, by ends */
};

/* The function of an object's address, or NULL. */
const ProfilePlace *calls_find(const CallsObject *object, guint64 vaddr);
