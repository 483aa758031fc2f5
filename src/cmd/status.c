/* doppel status: how current the clones are. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent_client.h"
#include "agent/agent_report.h"
#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/name.h"
#include "cmd/status_report.h"
#include "identity/paired.h"
#include "replicator/conditions_watch.h"
#include "replicator/sync_rules.h"

#define ANSWER_MS 600000 /* the agent may have to look at the whole tree first */

static const char summary[] =
    "Tells how current the clones of this device's files are: the last generation of each, what has changed "
    "since, what goes on, and when the next\nsynchronisation is, with each rule that has a say in it (their "
    "settings: doppel.conf(5)). An agent that runs is asked; without one this looks itself,\nat all of the "
    "tree.";

static const char examples[] = "Examples:\n"
                               "  doppel status                 why does it not synchronise?\n"
                               "  doppel status --json | jq '.clones[].decision'\n";

/* ---- without an agent ---- */

/* Fills in what is pending. FALSE: it is not known. */
static gboolean
look(const char *directory, const char *root, const PolicyConfig *config, ReplicatorPending *pending)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(CloneIndex) index = clone_index_look(directory, &error);
  g_autoptr(TreeRules) rules = index ? sync_rules_load(root, &error) : NULL;
  const ReplicatorOptions options = {.root = root, .rules = rules};
  g_autoptr(TreePlan) plan = rules ? replicator_plan(index, &options, &error) : NULL;
  if (plan)
    *pending = replicator_pending(index, &options, plan, config->big);
  else if (!g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    fprintf(stderr, "doppel status: %s\n", error->message);
  return plan != NULL;
}

static void
add_clone(AgentReport *report, const char *name, const PolicyConfig *config, const Conditions *conditions)
{
  g_autofree char *directory = clone_index_directory(name), *root = clone_index_root(directory);
  g_autofree char *marker = g_build_filename(directory, "root", NULL);
  g_auto(SyncMemory) memory = {0};
  if (!g_file_test(marker, G_FILE_TEST_IS_REGULAR))
    return;
  sync_memory_load(&memory, directory);
  AgentFacts facts = {.name = name,
                      .root = root,
                      .memory = &memory,
                      .watch = "nobody watches: no agent runs",
                      .lost = "no agent runs",
                      .looked = g_get_real_time() / G_USEC_PER_SEC};
  facts.known = look(directory, root, config, &facts.pending);
  g_autoptr(GDateTime) now = g_date_time_new_now_local();
  PolicySituation situation = {.conditions = *conditions, .pending = agent_report_pending(&facts)};
  policy_set_clock(&situation, now);
  g_autoptr(PolicyDecision) decision = policy_decide_automatic(config, &situation);
  facts.decision = decision;
  agent_report_add_clone(report, &facts);
}

static AgentReport *
look_without_agent(GError **error)
{
  PolicyConfig config;
  g_autoptr(GPtrArray) clones = policy_config_read(&config, error) ? paired_list(error) : NULL;
  if (!clones)
    return NULL;
  const ConditionsPlaces places = {.configured = config.conditions};
  Conditions conditions = conditions_once(&places);
  AgentReport *report = agent_report_new(0, 0, 0, NULL);
  agent_report_add_conditions(report, &conditions);
  for (guint i = 0; i < clones->len; i++) {
    const char *name = ((const PairedClone *)clones->pdata[i])->name;
    if (isatty(STDERR_FILENO))
      fprintf(stderr, "\rlooking at what has changed for %s ...", name);
    add_clone(report, name, &config, &conditions);
    if (isatty(STDERR_FILENO))
      fprintf(stderr, "\r%*s\r", (int)strlen(name) + 40, "");
  }
  return report;
}

/* ---- with one ---- */

static AgentMessage *
ask_agent(void)
{
  Doppel__Agent__Status status = DOPPEL__AGENT__STATUS__INIT;
  g_autoptr(AgentClient) agent = agent_client_new();
  if (!agent)
    return NULL;
  if (isatty(STDERR_FILENO))
    fputs("\rasking the agent ...", stderr);
  AgentMessage *answer = agent_client_ask(agent, AGENT_MESSAGE(STATUS, status, &status),
                                          DOPPEL__AGENT__MESSAGE__KIND_REPORT, ANSWER_MS);
  if (isatty(STDERR_FILENO))
    fputs("\r                    \r", stderr);
  return answer;
}

/* A name that nobody renews is found by nobody some day. */
static void
warn_name(void)
{
  g_autoptr(User) user = user_load(FALSE, NULL);
  g_autofree char *words = user && user->record ? name_renewal_words(user->record) : NULL;
  if (words)
    fprintf(stderr, "doppel status: %s\n", words);
}

int
cmd_status(int argc, char **argv)
{
  gboolean json = FALSE;
  const GOptionEntry options[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new(NULL);
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, examples);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 0))
    return 2;
  g_autoptr(GError) error = NULL;
  g_autoptr(AgentMessage) answer = ask_agent();
  g_autoptr(AgentReport) own = answer ? NULL : look_without_agent(&error);
  if (!answer && !own)
    return cmd_fail("status", error);
  status_report_print(answer ? answer->report : &own->report, json);
  warn_name();
  return 0;
}
