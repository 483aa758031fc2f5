#include "replicator/job_client.h"

#include "base/error.h"

enum { ANSWER_MS = 120000, PAUSE_MIN_MS = 250, PAUSE_MAX_MS = 15000 };

/* ---- connecting ---- */

static gboolean
connect_to(JobClient *client, GError **error)
{
  g_clear_pointer(&client->link, link_free);
  g_autoptr(IdentityKey) own = identity_device_key(error);
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  if (own)
    client->link = link_dial((const char *const *)client->clone->addresses, own, &client->clone->key,
                             client->clone->id, &options, error);
  return client->link != NULL;
}

JobClient *
job_client_open(const char *name, GError **error)
{
  g_autoptr(JobClient) client = g_new0(JobClient, 1);
  client->clone = paired_find(name, error);
  return client->clone && connect_to(client, error) ? g_steal_pointer(&client) : NULL;
}

void
job_client_free(JobClient *client)
{
  g_clear_pointer(&client->link, link_free);
  g_clear_pointer(&client->clone, paired_clone_free);
  g_free(client);
}

/* After a loss: for as long as it takes. FALSE with an error that time does not heal. */
static gboolean
connect_again(JobClient *client, const GError *why, JobLostFunc lost, GError **error)
{
  lost(why);
  for (gulong pause_ms = PAUSE_MIN_MS;; pause_ms = MIN(2 * pause_ms, PAUSE_MAX_MS)) {
    g_autoptr(GError) problem = NULL;
    if (connect_to(client, &problem))
      return TRUE;
    if (!g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_GONE)) {
      g_propagate_error(error, g_steal_pointer(&problem));
      return FALSE;
    }
    g_usleep(pause_ms * 1000);
  }
}

/* ---- asking ---- */

/* The answer, unless it is a refusal. */
static JobMessage *
hear(JobClient *client, int timeout_ms, GError **error)
{
  g_autoptr(JobMessage) answer = job_message_wait(client->link, timeout_ms, error);
  if (!answer || answer->kind_case != DOPPEL__WIRE__JOB_MESSAGE__KIND_REFUSAL)
    return g_steal_pointer(&answer);
  /* What the clone says is text from outside, and not what has become of this connection. */
  DoppelErrorCode code =
      answer->refusal->code < DOPPEL_ERROR_ABORTED && answer->refusal->code != DOPPEL_ERROR_GONE
          ? (DoppelErrorCode)answer->refusal->code
          : DOPPEL_ERROR_FAILED;
  g_autofree char *printable = g_strescape(answer->refusal->reason, "\"");
  doppel_error_set(error, code, "%.1000s", printable);
  return NULL;
}

static gboolean
unexpected(GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the clone answered something else than what was asked");
}

/* The number that the clone answers with; 0 with an error. A number that is to be `wanted` is. */
static gboolean
hear_number(JobClient *client, guint64 wanted, guint64 *number, GError **error)
{
  g_autoptr(JobMessage) answer = hear(client, ANSWER_MS, error);
  if (!answer)
    return FALSE;
  if (answer->kind_case != DOPPEL__WIRE__JOB_MESSAGE__KIND_NUMBER ||
      (wanted && answer->number->job != wanted))
    return unexpected(error);
  *number = answer->number->job;
  return TRUE;
}

guint64
job_client_start(JobClient *client, const JobRequest *request, GError **error)
{
  guint64 number = 0;
  if (!JOB_SEND(client->link, START, start, (JobRequest *)request, error) ||
      !hear_number(client, 0, &number, error)) {
    if (error && g_error_matches(*error, DOPPEL_ERROR, DOPPEL_ERROR_GONE))
      g_prefix_error(error, "the clone did not say whether the job runs (\"doppel jobs\" does): ");
    return 0;
  }
  if (!number)
    unexpected(error);
  return number;
}

GPtrArray *
job_client_list(JobClient *client, GError **error)
{
  g_autoptr(GPtrArray) jobs = g_ptr_array_new_with_free_func((GDestroyNotify)job_message_free);
  Doppel__Wire__JobNumber all = DOPPEL__WIRE__JOB_NUMBER__INIT;
  if (!JOB_SEND(client->link, LIST, list, &all, error))
    return NULL;
  for (guint64 last = 0;;) {
    g_autoptr(JobMessage) answer = hear(client, ANSWER_MS, error);
    if (!answer)
      return NULL;
    if (answer->kind_case == DOPPEL__WIRE__JOB_MESSAGE__KIND_NUMBER && answer->number->job == jobs->len)
      return g_steal_pointer(&jobs);
    if (answer->kind_case != DOPPEL__WIRE__JOB_MESSAGE__KIND_SUMMARY || answer->summary->job <= last) {
      unexpected(error);
      return NULL;
    }
    last = answer->summary->job;
    g_ptr_array_add(jobs, g_steal_pointer(&answer));
  }
}

static JobMessage *
wait_once(JobClient *client, guint64 job, GError **error)
{
  Doppel__Wire__JobNumber number = DOPPEL__WIRE__JOB_NUMBER__INIT;
  number.job = job;
  if (!JOB_SEND(client->link, WAIT, wait, &number, error))
    return NULL;
  g_autoptr(JobMessage) answer = hear(client, -1, error);
  if (!answer)
    return NULL;
  if (answer->kind_case == DOPPEL__WIRE__JOB_MESSAGE__KIND_SUMMARY && answer->summary->job == job &&
      job_state_is_over(answer->summary->state))
    return g_steal_pointer(&answer);
  unexpected(error);
  return NULL;
}

JobMessage *
job_client_wait(JobClient *client, guint64 job, JobLostFunc lost, GError **error)
{
  for (;;) {
    g_autoptr(GError) problem = NULL;
    JobMessage *answer = wait_once(client, job, &problem);
    if (answer)
      return answer;
    if (!lost || !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_GONE)) {
      g_propagate_error(error, g_steal_pointer(&problem));
      return NULL;
    }
    if (!connect_again(client, problem, lost, error))
      return NULL;
  }
}

gboolean
job_client_kill(JobClient *client, guint64 job, gboolean now, GError **error)
{
  Doppel__Wire__JobKill request = DOPPEL__WIRE__JOB_KILL__INIT;
  request.job = job;
  request.now = now;
  return JOB_SEND(client->link, KILL, kill, &request, error) && hear_number(client, job, &job, error);
}

gboolean
job_client_adopt(JobClient *client, guint64 job, GError **error)
{
  Doppel__Wire__JobNumber number = DOPPEL__WIRE__JOB_NUMBER__INIT;
  number.job = job;
  return JOB_SEND(client->link, ADOPT, adopt, &number, error) && hear_number(client, job, &job, error);
}

gboolean
job_client_collected(JobClient *client, guint64 job, GError **error)
{
  Doppel__Wire__JobNumber number = DOPPEL__WIRE__JOB_NUMBER__INIT;
  number.job = job;
  return JOB_SEND(client->link, COLLECTED, collected, &number, error) &&
         hear_number(client, job, &job, error);
}

/* ---- bytes ---- */

/* What is handed out, and to whom. */
typedef struct {
  JobBytesFunc take;
  gpointer user;
  gboolean follow, gaps; /* what is not wanted is left out */
} Reading;

/* Whether the piece is what has to come next. */
static gboolean
is_next(const Doppel__Wire__JobBytes *bytes, const Reading *reading, guint64 offset, guint64 until)
{
  gboolean further = bytes->offset > offset || bytes->bytes.len || bytes->last;
  return bytes->offset >= offset && (reading->gaps || bytes->offset == offset) && further &&
         bytes->offset <= until && bytes->bytes.len <= until - bytes->offset;
}

/* All that answers one request. *last where nothing follows. */
static gboolean
hear_window(JobClient *client, const Reading *reading, guint64 *offset, gboolean *last, GError **error)
{
  guint64 until = *offset + JOB_WINDOW;
  for (*last = FALSE; !*last && *offset < until;) {
    g_autoptr(JobMessage) answer = hear(client, reading->follow ? -1 : ANSWER_MS, error);
    if (!answer)
      return FALSE;
    const Doppel__Wire__JobBytes *bytes = answer->bytes;
    if (answer->kind_case != DOPPEL__WIRE__JOB_MESSAGE__KIND_BYTES ||
        !is_next(bytes, reading, *offset, until))
      return unexpected(error);
    if (bytes->bytes.len &&
        !reading->take(bytes->offset, bytes->bytes.data, bytes->bytes.len, reading->user, error))
      return FALSE;
    *offset = bytes->offset + bytes->bytes.len;
    *last = bytes->last;
  }
  return TRUE;
}

static gboolean
logs_once(JobClient *client, guint64 job, guint streams, const Reading *reading, guint64 *offset,
          GError **error)
{
  for (gboolean last = FALSE; !last;) {
    Doppel__Wire__JobLogs request = DOPPEL__WIRE__JOB_LOGS__INIT;
    request.job = job;
    request.offset = *offset;
    request.follow = reading->follow;
    request.streams = streams;
    if (!JOB_SEND(client->link, LOGS, logs, &request, error) ||
        !hear_window(client, reading, offset, &last, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
job_client_logs(JobClient *client, guint64 job, gboolean follow, guint streams, guint64 *offset,
                JobBytesFunc take, gpointer user, JobLostFunc lost, GError **error)
{
  const Reading reading = {take, user, follow, streams % JOB_LOGS_BOTH != 0};
  for (;;) {
    g_autoptr(GError) problem = NULL;
    if (logs_once(client, job, streams, &reading, offset, &problem))
      return TRUE;
    if (!follow || !lost || link_state(client->link) != LINK_DEAD ||
        !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_GONE)) {
      g_propagate_error(error, g_steal_pointer(&problem));
      return FALSE;
    }
    if (!connect_again(client, problem, lost, error))
      return FALSE;
  }
}

gboolean
job_client_fetch(JobClient *client, guint64 job, guint64 *offset, JobBytesFunc take, gpointer user,
                 GError **error)
{
  const Reading reading = {take, user, FALSE, FALSE};
  for (gboolean last = FALSE; !last;) {
    Doppel__Wire__JobFetch request = DOPPEL__WIRE__JOB_FETCH__INIT;
    request.job = job;
    request.offset = *offset;
    if (!JOB_SEND(client->link, FETCH, fetch, &request, error) ||
        !hear_window(client, &reading, offset, &last, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
job_client_whole(JobClient *client, guint64 job, guint mountpoint, guint entry, JobBytesFunc take,
                 gpointer user, GError **error)
{
  const Reading reading = {take, user, FALSE, FALSE};
  guint64 offset = 0;
  for (gboolean last = FALSE; !last;) {
    Doppel__Wire__JobWhole request = DOPPEL__WIRE__JOB_WHOLE__INIT;
    request.job = job;
    request.mountpoint = mountpoint;
    request.entry = entry;
    request.offset = offset;
    if (!JOB_SEND(client->link, WHOLE, whole, &request, error) ||
        !hear_window(client, &reading, &offset, &last, error))
      return FALSE;
  }
  return TRUE;
}
