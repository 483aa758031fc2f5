/* What the verbs about background jobs have in common. */
#pragma once

#include "replicator/job_collect.h"

#define JOB_CLONE_OPTION(variable)                                                                           \
  {                                                                                                          \
    "clone", 'c', 0, G_OPTION_ARG_STRING, (variable), "Whose jobs (needed only where several are paired)",   \
        "NAME"                                                                                               \
  }

/* The number of a job. FALSE after telling the user that it is none. */
gboolean job_words_number(const char *verb, const char *text, guint64 *number);

/* A connection to the clone, which is looked for where it has moved, for a verb that was given `numbers` of
 * jobs. NULL after telling the user why there is none; *status is the exit status then. */
JobClient *job_words_open(const char *verb, const char *clone, char *const *numbers, int *status);

/* "running", "ended", "killed", "failed", ... */
const char *job_words_state(const JobState *state);

/* The exit status that stands for a job's end: its own, 128 and the signal that killed it, or
 * JOB_WORDS_NO_RESULT for one that failed or was interrupted. */
#define JOB_WORDS_NO_RESULT 125
int job_words_status(const JobState *state);

/* Tells on standard error what a job's end has to say besides its status. */
void job_words_tell(const char *verb, const JobSummary *summary);

/* For job_client_wait() and job_client_logs(): says once that the clone is out of reach. */
void job_words_lost(const GError *why);

/* Takes over the result of a job, and of all that are over, telling the user what could not be made as the
 * job made it, or why the result is not here. */
gboolean job_words_collect(const char *verb, JobClient *client, const JobSummary *summary);
void job_words_collect_all(const char *verb, JobClient *client, const GPtrArray *jobs);

/* The same of all that the clone has, where nobody asks for a list: what a contact is good for besides. */
void job_words_collect_others(const char *verb, JobClient *client);
