/* doppel plan: which functions of a program to off-load, by what its profile shows. */
#include "cmd/plan.h"

#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "identity/paired.h"
#include "mirror/elf_facts.h"
#include "plan/store.h"
#include "profile/store.h"

static const char summary[] =
    "Chooses the functions of PROGRAM whose calls are best off-loaded, over each kind of link, by what "
    "\"doppel "
    "profile\" saw it\ndo. Prints the call tree with the cut, what a run is expected to take alone and as "
    "planned, and what a call here and a\nblock there cost. The plans are kept until a file of the program "
    "changes.";

static const char notes[] =
    "Instructions and calls are those of the profile, times what an instruction takes here and there. What a "
    "block moves is what\nwas observed; where nothing was, it is assumed, and the table says so.\n\n"
    "Objectives:\n"
    "  time     Seconds from the program's beginning to its end\n"
    "  energy   What the device takes, by its power model: see \"doppel energy\"\n"
    "  money    What metered bytes and the clone cost; waiting has its price, too\n\n"
    "Examples:\n"
    "  doppel profile -- sqlite3 big.db 'SELECT ...'    first: what does it do?\n"
    "  doppel plan sqlite3\n"
    "  doppel plan --objective energy --link lte sqlite3\n"
    "  doppel plan --clone home --speed 8 sqlite3       a clone that is 8 times as fast\n"
    "  doppel plan --all sqlite3 | less                 the whole call tree";

typedef struct {
  char *objective, *link, *clone;
  double speed;
  gboolean all, json;
} PlanOptions;

static void
options_clear(PlanOptions *options)
{
  g_free(options->objective);
  g_free(options->link);
  g_free(options->clone);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PlanOptions, options_clear)

/* What is planned from. */
typedef struct {
  ProfileObject *program;
  ProfileGraph *graph;
  ProfileObserved *observed;
  EnergyModels *models;
  PlanStore *store;
} Sources;

static void
sources_clear(Sources *sources)
{
  g_clear_pointer(&sources->program, profile_object_free);
  g_clear_pointer(&sources->graph, profile_graph_free);
  g_clear_pointer(&sources->observed, profile_observed_free);
  g_clear_pointer(&sources->models, energy_models_free);
  g_clear_pointer(&sources->store, plan_store_close);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Sources, sources_clear)

static gboolean
check(const PlanOptions *options, PolicyObjective *objective, GError **error)
{
  if (options->objective && !policy_objective_parse(options->objective, objective))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--objective is time, energy or money, not \"%.60s\"",
                            options->objective);
  if (options->link && strcmp(options->link, "all") != 0 && !policy_profile_find(options->link))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--link is lan, wifi, lte, 3g or all, not \"%.60s\"",
                            options->link);
  if (options->speed != 0 && !(isfinite(options->speed) && options->speed >= 1e-3 && options->speed <= 1e6))
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "--speed is how many times as fast as this device the clone is, 0.001 to 1000000");
  if (!options->clone || strcmp(options->clone, PLAN_PLACE_LOCAL) == 0)
    return TRUE;
  PairedClone *clone = paired_find(options->clone, error);
  gboolean found = clone != NULL;
  paired_clone_free(clone);
  return found;
}

static gboolean
read_profile(Sources *sources, const char *name, GError **error)
{
  g_autofree char *path = elf_facts_find_program(name, error);
  g_autofree char *changed = NULL, *unused = NULL, *where = plan_store_profiles_path();
  if (!path || !(sources->program = profile_object_read(path, error)))
    return FALSE;
  /* Asking for a plan makes no store of profiles. */
  if (!g_file_test(where, G_FILE_TEST_EXISTS))
    return doppel_error_set_foreign(error, DOPPEL_ERROR_NOT_FOUND,
                                    "%s was not profiled yet: run \"doppel profile -- %s ARGUMENT...\" with "
                                    "arguments as you will give it",
                                    path, name);
  g_autoptr(ProfileStore) store = profile_store_open(where);
  sources->graph = profile_store_find(store, sources->program, &changed);
  if (!sources->graph && changed)
    return doppel_error_set_foreign(error, DOPPEL_ERROR_NOT_FOUND,
                                    "%s has changed since %s was profiled: run \"doppel profile -- %s "
                                    "ARGUMENT...\" again",
                                    changed, path, name);
  if (!sources->graph)
    return doppel_error_set_foreign(error, DOPPEL_ERROR_NOT_FOUND,
                                    "%s was not profiled yet: run \"doppel profile -- %s ARGUMENT...\" with "
                                    "arguments as you will give it",
                                    path, name);
  sources->observed = profile_store_find_observed(store, sources->program, &unused);
  return TRUE;
}

/* This device is measured once; a clone where it is (plan/speed.h). */
static PlanSpeeds
find_speeds(const Sources *sources, const PlanOptions *options)
{
  const char *clone = options->clone ? options->clone : PLAN_PLACE_LOCAL;
  PlanSpeedsMeasured measured = plan_store_speeds(sources->store, clone, sources->program);
  if (measured.place_device == 0) {
    plan_store_keep_speed(sources->store, PLAN_PLACE_DEVICE, plan_speed_measure());
    measured = plan_store_speeds(sources->store, clone, sources->program);
  }
  PlanSpeeds speeds = plan_speeds(&measured);
  if (options->speed > 0)
    speeds.clone = (PlanSpeed){speeds.device.ns / options->speed, PLAN_SPEED_GIVEN};
  return speeds;
}

static GPtrArray *
make(Sources *sources, const char *name, const PlanOptions *options, PolicyObjective objective,
     GError **error)
{
  if (!read_profile(sources, name, error) || !(sources->models = energy_models_load(NULL, NULL, error)))
    return NULL;
  const EnergyModel *model = energy_models_chosen(sources->models, NULL, error);
  g_autofree char *where = plan_store_path(), *directory = g_path_get_dirname(where);
  if (!model)
    return NULL;
  g_mkdir_with_parents(directory, 0700);
  sources->store = plan_store_open(where);
  PlanInput input = {.graph = sources->graph,
                     .observed = sources->observed,
                     .speeds = find_speeds(sources, options),
                     .aim = {objective, model, POLICY_PRICES_DEFAULT}};
  PolicyProfile links[POLICY_PROFILES];
  plan_links(links);
  GPtrArray *plans = plan_make(&input, links, POLICY_PROFILES, error);
  if (plans)
    plan_store_keep(sources->store, sources->program, sources->graph, plans);
  return plans;
}

static gboolean
plan(const char *name, const PlanOptions *options, GError **error)
{
  PolicyObjective objective = POLICY_TIME;
  g_auto(Sources) sources = {0};
  g_autoptr(GPtrArray) plans =
      check(options, &objective, error) ? make(&sources, name, options, objective, error) : NULL;
  if (!plans)
    return FALSE;
  g_autoptr(GPtrArray) asked = g_ptr_array_new();
  for (guint i = 0; i < plans->len; i++) {
    const char *condition = ((const Plan *)plans->pdata[i])->condition;
    if (!options->link || strcmp(options->link, "all") == 0 || strcmp(options->link, condition) == 0)
      g_ptr_array_add(asked, plans->pdata[i]);
  }
  PlanShown shown = {options->all,          options->json, options->clone ? options->clone : PLAN_PLACE_LOCAL,
                     sources.program->path, sources.graph, asked};
  if (options->json)
    plan_cmd_json(&shown);
  else
    plan_cmd_text(&shown);
  return TRUE;
}

int
cmd_plan(int argc, char **argv)
{
  g_auto(PlanOptions) options = {0};
  const GOptionEntry entries[] = {
      {"objective", 0, 0, G_OPTION_ARG_STRING, &options.objective,
       "What is to be least: time (the default), energy or money", "OBJECTIVE"},
      {"link", 0, 0, G_OPTION_ARG_STRING, &options.link,
       "Show the plan for this kind of link: lan, wifi, lte, 3g, or all (the default)", "LINK"},
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &options.clone,
       "The clone to plan for: local (the default), or one that is paired", "NAME"},
      {"speed", 0, 0, G_OPTION_ARG_DOUBLE, &options.speed,
       "The clone is N times as fast as this device, whatever was measured", "N"},
      {"all", 'a', 0, G_OPTION_ARG_NONE, &options.all, "Show all of the call tree, not what matters", NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("PROGRAM");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, 1))
    return 2;
  g_autoptr(GError) error = NULL;
  return plan(argv[1], &options, &error) ? 0 : cmd_fail("plan", error);
}
