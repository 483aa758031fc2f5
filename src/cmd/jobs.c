/* doppel jobs: the background jobs of a clone. */
#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/job_words.h"
#include "cmd/table.h"

static const char summary[] = "Lists the jobs of a clone: what \"doppel run --background\" has started "
                              "there. What those that are over did to "
                              "files\ncomes home with it, but for those of another device: that one gets it.";

static const char examples[] = "Examples:\n"
                               "  doppel jobs\n"
                               "  doppel jobs --json\n";

static const TableColumn columns[] = {
    {"JOB", "job", TABLE_NUMBER},
    {"STATE", "state"},
    {"STATUS", "status", TABLE_NUMBER},
    {NULL, "signal", TABLE_NUMBER},
    {"BEGAN", "began"},
    {"SECONDS", "seconds", TABLE_NUMBER},
    {"OUTPUT", "output_bytes", TABLE_NUMBER},
    {NULL, "lost_bytes", TABLE_NUMBER},
    {NULL, "changes_bytes", TABLE_NUMBER},
    {"COLLECTED", "collected", TABLE_BOOLEAN},
    {NULL, "reason"},
    {NULL, "notes"},
    {NULL, "generation", TABLE_NUMBER},
    {NULL, "directory"},
    {"OWNER", "owner"},
    {"COMMAND", "command"},
};

static char *
time_text(gint64 us)
{
  g_autoptr(GDateTime) time = us > 0 ? g_date_time_new_from_unix_utc(us / G_USEC_PER_SEC) : NULL;
  return time ? g_date_time_format(time, "%FT%TZ") : NULL;
}

static char *
command_text(const JobSummary *job)
{
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < job->n_argument; i++) {
    g_autofree char *word = g_strndup((const char *)job->argument[i].data, job->argument[i].len);
    g_string_append_printf(text, "%s%s", i ? " " : "", word);
  }
  return g_string_free(text, FALSE);
}

static char *
notes_text(const JobState *state)
{
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < state->n_note; i++)
    g_string_append_printf(text, "%s%s", i ? "; " : "", state->note[i]);
  return g_string_free(text, FALSE);
}

static char *
number_text(gboolean known, guint64 number)
{
  return known ? g_strdup_printf("%" G_GUINT64_FORMAT, number) : NULL;
}

static char *
seconds_text(const JobState *state)
{
  gint64 until = job_state_is_over(state) ? state->ended_us : g_get_real_time();
  if (state->began_us <= 0 || until < state->began_us)
    return NULL;
  return g_strdup_printf("%.1f", (double)(until - state->began_us) / G_USEC_PER_SEC);
}

static void
add_row(Table *table, const JobSummary *job)
{
  const JobState *state = job->state;
  gboolean ended = state->phase == DOPPEL__WIRE__JOB_STATE__PHASE__ENDED;
  g_autofree char *number = number_text(TRUE, job->job),
                  *status = number_text(ended && !state->signal, state->status),
                  *killer = number_text(ended && state->signal, state->signal),
                  *began = time_text(state->began_us), *seconds = seconds_text(state),
                  *output = number_text(TRUE, job->log_bytes), *lost = number_text(TRUE, state->log_lost),
                  *changes = number_text(TRUE, state->changes_bytes), *command = command_text(job),
                  *notes = notes_text(state),
                  *generation = number_text(state->generation > 0, state->generation),
                  *directory = g_strndup((const char *)job->directory.data, job->directory.len);
  const char *collected = state->collected || !state->changes_bytes ? "true" : "false";
  const char *cells[] = {number,
                         job_words_state(state),
                         status,
                         killer,
                         began,
                         seconds,
                         output,
                         lost,
                         changes,
                         job_state_is_over(state) ? collected : "false",
                         *state->reason ? state->reason : NULL,
                         *notes ? notes : NULL,
                         generation,
                         directory,
                         job->foreign ? "another device" : "this device",
                         command};
  table_add(table, cells);
}

/* Whether there is a result that this device has not got. */
static gboolean
has_results(const GPtrArray *jobs)
{
  for (guint i = 0; i < jobs->len; i++) {
    if (job_collect_is_due(((const JobMessage *)jobs->pdata[i])->summary))
      return TRUE;
  }
  return FALSE;
}

int
cmd_jobs(int argc, char **argv)
{
  gboolean json = FALSE;
  g_autofree char *clone = NULL;
  const GOptionEntry options[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON, with all there is to know", NULL},
      JOB_CLONE_OPTION(&clone),
      {NULL},
  };
  GOptionContext *context = g_option_context_new(NULL);
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, examples);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 0))
    return 2;
  g_autoptr(GError) error = NULL;
  int status;
  g_autoptr(JobClient) client = job_words_open("jobs", clone, argv + 1, &status);
  if (!client)
    return status;
  g_autoptr(GPtrArray) jobs = job_client_list(client, &error);
  if (!jobs)
    return cmd_fail("jobs", error);
  if (has_results(jobs)) {
    job_words_collect_all("jobs", client, jobs);
    g_clear_pointer(&jobs, g_ptr_array_unref);
    jobs = job_client_list(client, &error);
    if (!jobs)
      return cmd_fail("jobs", error);
  }
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < jobs->len; i++)
    add_row(table, ((const JobMessage *)jobs->pdata[i])->summary);
  if (json || jobs->len > 0)
    table_print(table, json, stdout);
  else
    fputs("The clone has no jobs. \"doppel run --background -- PROGRAM\" starts one.\n", stderr);
  return 0;
}
