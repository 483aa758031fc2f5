/* doppel plan: which functions to off-load. Parts of one verb, in several files. */
#pragma once

#include "plan/plan.h"

typedef struct {
  gboolean all, json;
  const char *clone;
  const char *program; /* its path */
  const ProfileGraph *graph;
  const GPtrArray *plans; /* of Plan: those of the links that are asked for */
} PlanShown;

/* A function's name for people, to be freed: demangled, or its place. */
char *plan_cmd_name(const char *name, const ProfileObject *object, guint64 offset);

/* A number with `decimals` of them, and a point whatever the locale. */
char *plan_cmd_number(double number, int decimals);

/* "1.24 s", "31.0 ms", "250 us": to be freed. */
char *plan_cmd_seconds(double seconds);

/* The call tree with the cut: what matters of it, or all. */
void plan_cmd_tree(const PlanShown *shown);

void plan_cmd_text(const PlanShown *shown);
void plan_cmd_json(const PlanShown *shown);
