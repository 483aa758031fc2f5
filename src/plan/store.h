/* Plans and speeds on disk (SQLite), of programs that are known by their build-id.
 *
 * A plan is good as long as the files that its profile has functions of are what they were. As with profiles,
 * only speed depends on it: a store that is damaged or of another version is made anew, and one that cannot
 * be written remembers nothing. */
#pragma once

#include "plan/plan.h"

typedef struct PlanStore PlanStore;

/* Where it is: identity_directory()'s "plans.db"; profiles are in "profiles.db" beside it. To be freed. */
char *plan_store_path(void);
char *plan_store_profiles_path(void);

/* Opens or makes the store at `path`. Never NULL. */
PlanStore *plan_store_open(const char *path);
void plan_store_close(PlanStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PlanStore, plan_store_close)

/* ---- plans ---- */

/* Puts plans (of Plan, all for one objective) in the place of those that are kept of the program for that
 * objective; `graph` names the files. Plans for other objectives stay, unless they are stale. Of many
 * programs those that were not planned for longest are forgotten. Whether they are kept. */
gboolean plan_store_keep(PlanStore *store, const ProfileObject *program, const ProfileGraph *graph,
                         const GPtrArray *plans);

/* The plans of a program for an objective, of Plan, in the order of their making; empty: there are none, or
 * they are stale, and then *changed is the path of a file that has changed since, to be freed; else NULL. */
GPtrArray *plan_store_find(PlanStore *store, const ProfileObject *program, PolicyObjective objective,
                           char **changed);

/* Forgets all plans of a program, for its profile has changed. */
void plan_store_forget(PlanStore *store, const ProfileObject *program);

/* ---- speeds ---- */

#define PLAN_PLACE_DEVICE "device" /* other places are clones, by their names */
#define PLAN_PLACE_LOCAL  "local"  /* the clone on this machine: as fast as the device */

/* Keeps what the fixed work took in a place. Whether it is kept. */
gboolean plan_store_keep_speed(PlanStore *store, const char *place, double ns);

/* Keeps that the program took so long for so many instructions when it ran alone in a place. These add up. */
gboolean plan_store_keep_program_speed(PlanStore *store, const char *place, const ProfileObject *program,
                                       double seconds, double instructions);

/* What was measured of the device, of that clone, and of the program in both. */
PlanSpeedsMeasured plan_store_speeds(PlanStore *store, const char *clone, const ProfileObject *program);
