/* Which functions of a program to off-load under which conditions, and what that is expected to cost:
 * CloneCloud (HotOS 2009), section 4, "profile run-time performance and feasibility of operations, and
 * off-load computation based on the profiling information".
 *
 * From the profile (instructions and calls), what the engine observed of blocks, speeds, the link's
 * conditions and a power model to a PartitionProblem, and from its optimum back. What a block is taken to
 * move and need: plan/estimate.h; how costs are put together: decision 47. */
#pragma once

#include "plan/speed.h"
#include "policy/objective.h"
#include "profile/graph.h"
#include "profile/observed.h"

/* Of one run, one call or one block. */
typedef struct {
  PolicyCost cost;
  double joules; /* of the device; what its power model does not know is not in it */
} PlanCost;

/* A function under one of the conditions. Counts are of a run. */
typedef struct {
  gboolean chosen;
  gboolean observed;  /* what its blocks move was seen; else it is estimated */
  const char *barred; /* why it begins no block, for people; NULL: it may */
  gboolean no_local;  /* the device's memory is too small for it */
  double calls;       /* of a program that is all on the device */
  double executions;  /* on the device, as planned */
  double blocks;      /* as planned */
  PlanCost local;     /* a call on the device that is not nested (profile/graph.h), with all that it calls */
  PlanCost block;     /* a block that is not the first */
  PlanCost first;     /* what the first one of a run costs beyond */
} PlanShare;

typedef struct {
  ProfileObject *object;
  guint64 offset; /* of its first byte in the object's file */
  char *name;     /* of the symbol; NULL: none */
  PlanShare share;
} PlanFunction;

typedef struct {
  PolicyObjective objective;
  char *condition; /* the name of the conditions that it is for */
  char *model;     /* the power model's name */
  PlanSpeeds speeds;
  guint runs;            /* of the profile */
  gboolean energy_known; /* FALSE: the model lacks the radio, or what waiting takes */
  gboolean proven;       /* FALSE: time ran out, there may be a better one */
  gboolean possible;     /* on the device alone; FALSE: its memory is too small, and `alone` says nothing */
  PlanCost alone;        /* a run on the device alone */
  PlanCost planned;      /* a run as planned, with the session's costs */
  double alone_value, planned_value; /* in the objective's unit: planned_value is never more */
  GPtrArray *functions; /* of PlanFunction: the candidates, which are chosen here or under another of the
                           conditions that were planned for together, or would be if those could not be
                           off-loaded: for a run to fall back on, and to be observed. What takes most time
                           comes first */
  GArray *shares;       /* of PlanShare, as the graph's functions; NULL of a plan that was kept */
} Plan;

void plan_function_free(PlanFunction *function);
void plan_free(Plan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PlanFunction, plan_function_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Plan, plan_free)

typedef struct {
  const ProfileGraph *graph;
  const ProfileObserved *observed; /* NULL: nothing was observed */
  PlanSpeeds speeds;
  PolicyAim aim; /* with a power model whatever the objective */
} PlanInput;

/* The policy's profiles of links as plans are made for them: bytes of mobile ones cost money. */
void plan_links(PolicyProfile links[POLICY_PROFILES]);

/* The plan for each of `count` profiles of links; of Plan, in their order. NULL where the profile makes no
 * sense (USAGE), or the program can run neither here nor there (UNSUPPORTED). */
GPtrArray *plan_make(const PlanInput *input, const PolicyProfile *profiles, guint count, GError **error);

/* OBJECT+0xOFFSET, as "doppel run -f" takes it (mirror/symbols_query.h). To be freed. */
char *plan_function_text(const ProfileObject *object, guint64 offset);
