#include "cmd/background.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/clone_where.h"
#include "cmd/cmd.h"
#include "cmd/job_words.h"
#include "replicator/job_bounds.h"
#include "replicator/job_rules.h"

/* FALSE where there is no such limit, or it is no number. */
static gboolean
set_limit(JobRequest *request, const char *name, gsize length, const char *value)
{
  enum { NUMBER_MAX = 1000000000 };
  const struct {
    const char *name;
    guint64 most;
    guint64 *large;
    guint32 *small;
  } limits[] = {
      {"memory", G_MAXINT64, &request->memory_bytes, NULL},
      {"output", G_MAXINT64, &request->output_bytes, NULL},
      {"changes", G_MAXINT64, &request->changes_bytes, NULL},
      {"time", NUMBER_MAX, &request->seconds, NULL},
      {"cpu", NUMBER_MAX, NULL, &request->cpu_percent},
      {"processes", NUMBER_MAX, NULL, &request->processes},
  };
  for (guint i = 0; i < G_N_ELEMENTS(limits); i++) {
    guint64 amount;
    if (strlen(limits[i].name) != length || strncmp(limits[i].name, name, length) != 0)
      continue;
    if (!job_bounds_parse(value, limits[i].most, &amount))
      return FALSE;
    if (limits[i].large)
      *limits[i].large = amount;
    else
      *limits[i].small = (guint32)amount;
    return TRUE;
  }
  return FALSE;
}

static gboolean
set_word(JobRequest *request, const char *word, GError **error)
{
  const char *value = strchr(word, '=');
  return (value && set_limit(request, word, (gsize)(value - word), value + 1)) ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "--limit takes memory=BYTES, output=BYTES, changes=BYTES, cpu=PERCENT, processes=N "
                          "and time=SECONDS, not '%s'",
                          word);
}

static gboolean
set_limits(JobRequest *request, const char *limit, GError **error)
{
  g_auto(GStrv) words = g_strsplit(limit ? limit : "", ",", -1);
  for (char **word = words; *word; word++)
    if (!set_word(request, *word, error))
      return FALSE;
  return TRUE;
}

/* What only a program that is watched from here can have. */
static gboolean
check_options(const RunOptions *options, GError **error)
{
  if (options->functions || options->place != RUN_PLACE_AUTO || options->stats || options->check ||
      options->lazy_return)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "--background runs all of the program in the clone, without this device: -f, "
                            "--place, --stats, --check and --lazy-return do not go with it");
  if (options->clone && strcmp(options->clone, "local") == 0)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "a job outlives this device's sleep in a clone on another machine: name a paired "
                            "one with --clone");
  return TRUE;
}

/* The job's number, 0 with an error; *unknown where it may run in spite of that. The client is the caller's.
 */
static guint64
start(const RunOptions *options, const char *limit, gboolean sync, JobClient **client, gboolean *unknown,
      GError **error)
{
  g_autoptr(JobRequest) request =
      check_options(options, error) ? job_client_request(options->argv, error) : NULL;
  gboolean ready =
      request && set_limits(request, limit, error) && (!sync || cmd_sync_again(options->clone, error));
  *unknown = FALSE;
  if (ready && !sync) /* which has looked for it */
    clone_where_check("run", options->clone);
  *client = ready ? job_client_open(options->clone, error) : NULL;
  if (!*client)
    return 0;
  GError *problem = NULL;
  guint64 job = job_client_start(*client, request, &problem);
  *unknown = g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_GONE) ||
             g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  if (!job)
    g_propagate_error(error, problem);
  return job;
}

int
background_run(const RunOptions *options, const char *limit, gboolean sync)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(JobClient) client = NULL;
  gboolean unknown;
  guint64 job = start(options, limit, sync, &client, &unknown, &error);
  if (!job)
    return g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND) ? (cmd_fail("run", error), 2)
                                                                        : cmd_fail("run", error);
  printf("%" G_GUINT64_FORMAT "\n", job);
  fflush(stdout);
  job_words_collect_others("run", client);
  return 0;
}

/* ---- by rule ---- */

static void explain(const RunOptions *options, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
explain(const RunOptions *options, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree char *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  if (options->explain)
    fprintf(stderr, "doppel: %s\n", text);
}

/* The rule that makes it a job (the caller's); NULL: none. */
static char *
find_rule(const RunOptions *options)
{
  g_autoptr(GError) error = NULL;
  PolicyConfig config;
  if (!policy_config_read(&config, &error)) {
    fprintf(stderr, "doppel run: %s; its rules for the background do not count now\n", error->message);
    return NULL;
  }
  g_autofree char *found = g_find_program_in_path(options->argv[0]);
  if (!found) /* which is said as usual */
    return NULL;
  if (!job_rules_any(&config.background)) {
    explain(options, "no rule of doppel.conf(5), [background], makes programs jobs");
    return NULL;
  }
  const char *by;
  g_autofree char *program = g_canonicalize_filename(found, NULL);
  JobRulesFacts facts = job_rules_facts(program);
  g_autoptr(GPtrArray) sentences = job_rules_judge(&config.background, &facts, &by);
  for (guint i = 0; i < sentences->len; i++)
    explain(options, "[background] %s", (const char *)sentences->pdata[i]);
  return g_strdup(by);
}

gboolean
background_by_rule(const RunOptions *options, int *status)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(JobClient) client = NULL;
  g_autofree char *rule = find_rule(options);
  if (!rule)
    return FALSE;
  gboolean unknown;
  guint64 job = start(options, NULL, TRUE, &client, &unknown, &error);
  if (!job && !unknown) {
    explain(options, "the program is no job, and runs here: %s", error->message);
    return FALSE;
  }
  *status = job ? 0 : cmd_fail("run", error);
  if (job)
    fprintf(stderr, "doppel run: this is job %" G_GUINT64_FORMAT " of the clone %s: %s\n", job,
            client->clone->name, rule);
  if (job)
    job_words_collect_others("run", client);
  return TRUE;
}
