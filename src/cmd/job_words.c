#include "cmd/job_words.h"

#include <stdio.h>
#include <string.h>

#include "cmd/clone_where.h"
#include "cmd/cmd.h"

gboolean
job_words_number(const char *verb, const char *text, guint64 *number)
{
  char *end = NULL;
  *number = g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0;
  if (*number && !*end)
    return TRUE;
  fprintf(stderr, "doppel %s: jobs have numbers, which \"doppel jobs\" lists, and \"%s\" is none\n", verb,
          text);
  return FALSE;
}

JobClient *
job_words_open(const char *verb, const char *clone, char *const *numbers, int *status)
{
  g_autoptr(GError) error = NULL;
  for (guint64 number; *numbers; numbers++)
    if (!job_words_number(verb, *numbers, &number)) {
      *status = 2;
      return NULL;
    }
  clone_where_check(verb, clone);
  JobClient *client = job_client_open(clone, &error);
  if (!client)
    *status = cmd_fail(verb, error);
  return client;
}

const char *
job_words_state(const JobState *state)
{
  switch (state->phase) {
  case DOPPEL__WIRE__JOB_STATE__PHASE__WAITING:
    return "waiting";
  case DOPPEL__WIRE__JOB_STATE__PHASE__RUNNING:
    return "running";
  case DOPPEL__WIRE__JOB_STATE__PHASE__ENDED:
    return state->signal ? "killed" : "ended";
  case DOPPEL__WIRE__JOB_STATE__PHASE__FAILED:
    return "failed";
  default:
    return "interrupted";
  }
}

int
job_words_status(const JobState *state)
{
  if (state->phase != DOPPEL__WIRE__JOB_STATE__PHASE__ENDED)
    return JOB_WORDS_NO_RESULT;
  return state->signal ? 128 + (int)state->signal : (int)state->status;
}

static void
tell(const char *verb, const JobSummary *summary, const char *what, const char *text, gsize length)
{
  g_autofree char *plain = g_strndup(text, length), *printable = g_strescape(plain, "\"");
  fprintf(stderr, "doppel %s: job %" G_GUINT64_FORMAT "%s%.1000s\n", verb, summary->job, what, printable);
}

void
job_words_tell(const char *verb, const JobSummary *summary)
{
  const JobState *state = summary->state;
  if (summary->foreign && state->changes_bytes && !state->collected)
    fprintf(stderr,
            "doppel %s: job %" G_GUINT64_FORMAT
            " is another device's: what it did to files waits for that one "
            "(\"doppel wait --adopt\" brings it here)\n",
            verb, summary->job);
  if (*state->reason)
    tell(verb, summary,
         state->phase == DOPPEL__WIRE__JOB_STATE__PHASE__ENDED ? ": " : " has no result: ", state->reason,
         strlen(state->reason));
  if (state->log_lost)
    fprintf(stderr,
            "doppel %s: job %" G_GUINT64_FORMAT ": there was no room for %" G_GUINT64_FORMAT
            " bytes of its output\n",
            verb, summary->job, state->log_lost);
  for (gsize i = 0; i < state->n_left_out; i++)
    tell(verb, summary,
         " made a socket or device node, which stays in the clone: ", (const char *)state->left_out[i].data,
         state->left_out[i].len);
}

void
job_words_lost(const GError *why)
{
  static gboolean said;
  if (!said)
    fprintf(stderr, "doppel: the clone is out of reach (%s); the job goes on there, and this waits\n",
            why->message);
  said = TRUE;
}

typedef struct {
  const char *verb;
  guint64 job;
} Told;

static void
tell_beside(JobBesideKind kind, const char *path, const char *where, gpointer user)
{
  static const char *const texts[] = {
      [JOB_BESIDE_PUT] = "has changed here meanwhile; the job's version is ",
      [JOB_BESIDE_KEPT] = "has changed here meanwhile, and stays, although the job removed it",
      [JOB_BESIDE_METADATA] = "has changed here meanwhile, and keeps its owner, mode, times and attributes",
  };
  const Told *told = user;
  g_autofree char *printable = g_strescape(path, "\""), *there = g_strescape(where ? where : "", "\"");
  fprintf(stderr, "doppel %s: job %" G_GUINT64_FORMAT ": %s %s%s\n", told->verb, told->job, printable,
          texts[kind], there);
}

static gboolean
collect(const char *verb, JobClient *client, const JobSummary *summary, gboolean wait)
{
  g_autoptr(GError) error = NULL;
  Told told = {verb, summary->job};
  if (job_collect(client, summary, wait, tell_beside, &told, &error))
    return TRUE;
  fprintf(stderr, "doppel %s: job %" G_GUINT64_FORMAT ": its changes of files are not here yet: %s\n", verb,
          summary->job, error->message);
  return FALSE;
}

gboolean
job_words_collect(const char *verb, JobClient *client, const JobSummary *summary)
{
  return collect(verb, client, summary, TRUE);
}

void
job_words_collect_all(const char *verb, JobClient *client, const GPtrArray *jobs)
{
  for (guint i = 0; i < jobs->len && link_state(client->link) != LINK_DEAD; i++)
    collect(verb, client, ((const JobMessage *)jobs->pdata[i])->summary, FALSE);
}

void
job_words_collect_others(const char *verb, JobClient *client)
{
  g_autoptr(GPtrArray) jobs = job_client_list(client, NULL);
  if (jobs)
    job_words_collect_all(verb, client, jobs);
}
