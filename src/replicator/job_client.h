/* The device's end of a conversation about jobs (job_message.h): one thing asked at a time, its answer waited
 * for. */
#pragma once

#include "identity/paired.h"
#include "replicator/job_message.h"

typedef struct {
  PairedClone *clone;
  Link *link; /* NULL between two connections */
} JobClient;

/* Connects to the clone `name` (NULL: the only one that is paired). NULL with an error, GONE where it is out
 * of reach. */
JobClient *job_client_open(const char *name, GError **error);
void job_client_free(JobClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobClient, job_client_free)

/* Fills a request with what this process has: user and groups, umask, environment, working directory, limits,
 * clocks. The program, argv[0], is looked for as a shell does. NULL with an error; NOT_FOUND for no program.
 */
JobRequest *job_client_request(char *const *argv, GError **error);

/* Starts a job. Its number, 0 with an error: what the clone says, or GONE where it is not known whether the
 * job runs. */
guint64 job_client_start(JobClient *client, const JobRequest *request, GError **error);

/* All jobs, of JobMessage with a summary, ascending. */
GPtrArray *job_client_list(JobClient *client, GError **error);

/* Waits until the job is over, through whatever happens to the connection: `lost` is told why it has been
 * lost; with NULL that is an error. The message has a summary. */
typedef void (*JobLostFunc)(const GError *why);
JobMessage *job_client_wait(JobClient *client, guint64 job, JobLostFunc lost, GError **error);

/* Ends it: its program gets SIGTERM, or with `now` everything of it SIGKILL. */
gboolean job_client_kill(JobClient *client, guint64 job, gboolean now, GError **error);

/* Another device's job is this one's from now on. */
gboolean job_client_adopt(JobClient *client, guint64 job, GError **error);

/* The clone may forget what the job did to files. */
gboolean job_client_collected(JobClient *client, guint64 job, GError **error);

/* Hands out the bytes of the job's log from *offset on, which moves along, to their end; with `follow` to the
 * job's end, through whatever happens to the connection. `streams` (JOB_LOGS_...) are those that are wanted.
 * FALSE with an error, also that of `take`. */
typedef gboolean (*JobBytesFunc)(guint64 offset, const guint8 *bytes, gsize length, gpointer user,
                                 GError **error);
gboolean job_client_logs(JobClient *client, guint64 job, gboolean follow, guint streams, guint64 *offset,
                         JobBytesFunc take, gpointer user, JobLostFunc lost, GError **error);

/* The same of what it did to files. */
gboolean job_client_fetch(JobClient *client, guint64 job, guint64 *offset, JobBytesFunc take, gpointer user,
                          GError **error);

/* The same of one file that the job made or changed, whole: the entry number `entry` of what it did below its
 * mount point number `mountpoint`. */
gboolean job_client_whole(JobClient *client, guint64 job, guint mountpoint, guint entry, JobBytesFunc take,
                          gpointer user, GError **error);
