#include "replicator/job_owner.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replicator/owner.h"

gboolean
job_owner_is_served(const JobStore *store, const Job *job)
{
  return owner_is(job->directory, JOB_STORE_OWNER, job_store_served(store));
}

gboolean
job_owner_adopt(const JobStore *store, const Job *job, GError **error)
{
  g_autoptr(JobState) state = job_state_read(job, error);
  if (!state)
    return FALSE;
  if (job_owner_is_served(store, job))
    return TRUE;
  if (state->collected)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "what job %" G_GUINT64_FORMAT " did to files is with another device already",
                            job->number);
  return owner_note(job->directory, JOB_STORE_OWNER, job_store_served(store)) ||
         doppel_error_errno(error, "cannot write down whose job %" G_GUINT64_FORMAT " is", job->number);
}

static gboolean
is_of(const Job *job, const GArray *devices)
{
  for (guint i = 0; i < devices->len; i++)
    if (owner_is(job->directory, JOB_STORE_OWNER, &g_array_index(devices, IdentityPublic, i)))
      return TRUE;
  return FALSE;
}

/* What is over already stays as it is. */
static gboolean
end_other(const Job *job, GError **error)
{
  g_autoptr(JobState) state = job_state_read(job, NULL);
  if (state && job_state_is_over(state))
    return TRUE;
  g_auto(Fd) told = openat(job->directory, JOB_STORE_VOID, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (told < 0)
    doppel_error_errno(error, "cannot end job %" G_GUINT64_FORMAT " before it begins", job->number);
  job_signal(job, SIGKILL);
  return told >= 0;
}

gboolean
job_owner_end_others(const char *directory, const GArray *devices, GError **error)
{
  if (!g_file_test(directory, G_FILE_TEST_IS_DIR))
    return TRUE;
  g_autoptr(JobStore) store = job_store_open(directory, error);
  if (!store)
    return FALSE;
  gboolean good = TRUE;
  g_autoptr(GArray) numbers = job_store_list(store);
  for (guint i = 0; i < numbers->len; i++) {
    g_autoptr(Job) job = job_store_find(store, g_array_index(numbers, guint64, i), NULL);
    if (job && !is_of(job, devices))
      good = end_other(job, good ? error : NULL) && good;
  }
  return good;
}
