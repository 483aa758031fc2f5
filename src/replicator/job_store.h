/* What a clone host keeps of one clone's background jobs: a directory below doppeld's state, named after the
 * clone, which ends with its pairing. Mode 0700; several processes may use it at once.
 *
 *   DIR/gate            locked while a number is given out
 *   DIR/last            the number that was given out last; none is ever given out again
 *   DIR/N/request       what is to be run (JobRequest)
 *         owner         whose it is (owner.h)
 *         void          there where it was ended before its process was
 *         state         how it is (JobState): written beside, synced, and renamed, so that it is always whole
 *         lock          locked (flock(2)) as long as the job's process lives; its id is in it
 *         log, streams  what the job wrote to its standard output and standard error (job_log.h)
 *         changes       what it did to files, once it is over (job_changes.h)
 *         whole/        files of which that holds only what is new (job_whole.h)
 *         ballast       room for the last state, where the disk is full
 *         work/         its sandbox's, while it runs
 *
 * Which of a job's states were written by whom: its process writes all but INTERRUPTED and `collected`. */
#pragma once

#include "identity/key.h"
#include "replicator/job_message.h"

#define JOB_STORE_MAX  1000 /* jobs of a clone that are remembered */
#define JOB_STORE_KEEP 100  /* so many whose result the device has stay in the list */
#define JOB_STORE_RUN  64   /* run at a time */

/* Files of a job's that others write, too (job_owner.h). */
#define JOB_STORE_OWNER "owner"
#define JOB_STORE_VOID  "void"

typedef struct JobStore JobStore;

/* Opens the store in `directory`, which is made where it is missing. */
JobStore *job_store_open(const char *directory, GError **error);
void job_store_free(JobStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobStore, job_store_free)

/* On whose behalf the store is used from now on: what is added is that device's. NULL, as at first: nobody is
 * told apart, and what is added is nobody's. */
void job_store_serve(JobStore *store, const IdentityPublic *device);
const IdentityPublic *job_store_served(const JobStore *store);

/* Ends all jobs of the store in `directory` and removes it; nothing there is no error. */
gboolean job_store_remove(const char *directory, GError **error);

/* The numbers (of guint64) of all jobs, ascending. */
GArray *job_store_list(const JobStore *store);

/* A job, its directory held open. */
typedef struct {
  guint64 number;
  int directory;
  char *path; /* of the directory */
} Job;
void job_free(Job *job);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Job, job_free)

/* Adds a job that waits. *lock is the lock of the process that will run it, taken: whoever holds it open is
 * that process. Forgets the oldest whose results the device has. NULL with an error: USAGE where there are
 * too many, or too many run. */
Job *job_store_add(JobStore *store, const JobRequest *request, int *lock, GError **error);

/* NULL with NOT_FOUND. */
Job *job_store_find(const JobStore *store, guint64 number, GError **error);

JobRequest *job_request_read(const Job *job, GError **error);

/* How it is. One whose process is gone without a word was interrupted, and is written down as such. */
JobState *job_state_read(const Job *job, GError **error);

/* Replaces it, durably; on a full disk in the room that was kept for that. */
gboolean job_state_write(const Job *job, const JobState *state, GError **error);

/* The device has what the job did to files: nothing of it is needed here any more. */
gboolean job_collected(const Job *job, GError **error);

/* Sends a signal to the process that runs the job; FALSE where there is none (any more). */
gboolean job_signal(const Job *job, int signal);

/* Writes down who the job's process is. FALSE where it is not to begin any more (ECANCELED), or with errno.
 */
gboolean job_lock_sign(const Job *job, int lock);

/* Bytes of the log, of both streams. */
guint64 job_log_bytes(const Job *job);

gint64 job_now_us(void); /* since 1970 */
