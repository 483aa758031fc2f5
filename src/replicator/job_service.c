#include "replicator/job_service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replicator/job_log.h"
#include "replicator/job_owner.h"
#include "replicator/job_runner.h"
#include "replicator/job_whole.h"

enum { LOOK_MS = 5000 };

/* What the device has asked for and has not got all of yet. */
typedef enum { PENDING_NOTHING, PENDING_END, PENDING_BYTES } Pending;

typedef struct {
  Link *link;
  const AugmenterSession *session;
  const JobHost *host;
  JobStore *store;
  int control; /* -1 once doppeld is gone */
  Pending pending;
  Job *job;       /* that it is about */
  int file;       /* whose bytes it wants */
  int runs;       /* of a log: which of them are whose (job_log.h); -1: of all */
  guint streams;  /* of a log: those that it wants, 1 << JobStream or'ed together */
  guint64 told;   /* how far it knows to be */
  guint64 offset; /* of the next of them */
  guint64 until;  /* where it will ask again */
  gboolean grows; /* more may come until the job is over */
  int watch;      /* inotify: the directory of the job that is waited for */
} Service;

static void
settle(Service *service)
{
  service->pending = PENDING_NOTHING;
  g_clear_pointer(&service->job, job_free);
  io_close(&service->file);
  io_close(&service->runs);
  io_close(&service->watch);
}

/* ---- answers ---- */

static gboolean
say_number(Service *service, guint64 number, GError **error)
{
  Doppel__Wire__JobNumber answer = DOPPEL__WIRE__JOB_NUMBER__INIT;
  answer.job = number;
  return JOB_SEND(service->link, NUMBER, number, &answer, error);
}

/* `why` is what could not be done, which the device is told; the session goes on. */
static gboolean
say_refusal(Service *service, const GError *why, GError **error)
{
  Doppel__Wire__JobRefusal refusal = DOPPEL__WIRE__JOB_REFUSAL__INIT;
  g_autofree char *reason = g_utf8_make_valid(why->message, -1);
  refusal.code = (guint32)why->code;
  refusal.reason = reason;
  settle(service);
  return JOB_SEND(service->link, REFUSAL, refusal, &refusal, error);
}

static gboolean
say_summary(Service *service, const Job *job, JobState *state, GError **error)
{
  enum { WORDS = 64, WORD_BYTES = 4096 };
  g_autoptr(GError) problem = NULL;
  g_autoptr(JobRequest) request = job_request_read(job, &problem);
  if (!request)
    return say_refusal(service, problem, error);
  ProtobufCBinaryData words[WORDS];
  JobSummary summary = DOPPEL__WIRE__JOB_SUMMARY__INIT;
  summary.job = job->number;
  summary.state = state;
  summary.n_argument = MIN(request->n_argument, WORDS);
  for (gsize i = 0; i < summary.n_argument; i++)
    words[i] = (ProtobufCBinaryData){MIN(request->argument[i].len, WORD_BYTES), request->argument[i].data};
  summary.argument = words;
  summary.directory = request->directory;
  summary.log_bytes = job_log_bytes(job);
  summary.foreign = !job_owner_is_served(service->store, job);
  return JOB_SEND(service->link, SUMMARY, summary, &summary, error);
}

static gboolean
say_bytes(Service *service, guint8 *data, gsize length, gboolean last, GError **error)
{
  Doppel__Wire__JobBytes bytes = DOPPEL__WIRE__JOB_BYTES__INIT;
  bytes.offset = service->offset;
  bytes.bytes = (ProtobufCBinaryData){length, data};
  bytes.last = last;
  service->told = service->offset += length;
  return JOB_SEND(service->link, BYTES, bytes, &bytes, error);
}

/* ---- requests ---- */

/* The link is served while a job comes about, which may take its time: a device that hears nothing gives up.
 */
static void
serve_link(gpointer user)
{
  Service *service = user;
  int fd;
  while (service->control >= 0 && session_receive_socket(service->session, &fd) > 0)
    link_resume(service->link, fd, NULL);
  link_work(service->link, NULL);
}

static gboolean
start(Service *service, const JobRequest *request, GError **error)
{
  g_autoptr(GError) problem = NULL;
  const JobHost *host = service->host;
  const JobPlace place = {.root = service->session->root,
                          .hidden = service->session->hidden,
                          .generation = host->generation,
                          .bounds = &host->bounds,
                          .lease = host->lease,
                          .meanwhile = serve_link,
                          .user = service};
  int lock = -1;
  if (host->rootless)
    doppel_error_set(&problem, DOPPEL_ERROR_NOT_FOUND, "%s", host->rootless);
  g_autoptr(Job) job = problem ? NULL : job_store_add(service->store, request, &lock, &problem);
  if (job && job_runner_start(job, lock, &place, &problem))
    return say_number(service, job->number, error);
  return say_refusal(service, problem, error);
}

static gboolean
list(Service *service, GError **error)
{
  g_autoptr(GArray) numbers = job_store_list(service->store);
  guint64 told = 0;
  for (guint i = 0; i < numbers->len; i++) {
    g_autoptr(Job) job = job_store_find(service->store, g_array_index(numbers, guint64, i), NULL);
    g_autoptr(JobState) state = job ? job_state_read(job, NULL) : NULL;
    if (!state)
      continue;
    if (!say_summary(service, job, state, error))
      return FALSE;
    told++;
  }
  return say_number(service, told, error);
}

/* Watches the job's directory: whatever happens to the job happens to a file in there, also when its process
 * is killed. */
static void
watch(Service *service)
{
  service->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (service->watch >= 0)
    inotify_add_watch(service->watch, service->job->path, IN_MODIFY | IN_MOVED_TO | IN_CLOSE_WRITE);
}

/* Takes `file`. All of it is wanted. */
static void
begin_bytes(Service *service, int file, guint64 offset, gboolean grows)
{
  service->file = file;
  service->streams = JOB_LOGS_BOTH;
  service->told = service->offset = MIN(offset, (guint64)G_MAXINT64 - JOB_WINDOW);
  service->until = service->offset + JOB_WINDOW;
  service->grows = grows;
  service->pending = PENDING_BYTES;
  if (grows)
    watch(service);
}

static gboolean
send_file(Service *service, const char *name, guint64 offset, gboolean grows, GError **error)
{
  g_autoptr(GError) problem = NULL;
  int file = openat(service->job->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file >= 0) {
    begin_bytes(service, file, offset, grows);
    return TRUE;
  }
  doppel_error_errno(&problem, "cannot read the %s of job %" G_GUINT64_FORMAT, name, service->job->number);
  return say_refusal(service, problem, error);
}

static gboolean
send_log(Service *service, const Doppel__Wire__JobLogs *wanted, GError **error)
{
  if (!send_file(service, JOB_LOG, wanted->offset, wanted->follow, error))
    return FALSE;
  if (service->pending == PENDING_BYTES && wanted->streams) {
    service->streams = wanted->streams;
    service->runs = openat(service->job->directory, JOB_LOG_STREAMS, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  }
  return TRUE;
}

static gboolean
send_whole(Service *service, const Doppel__Wire__JobWhole *wanted, GError **error)
{
  g_autoptr(GError) problem = NULL;
  int file = job_whole_open(service->job, wanted->mountpoint, wanted->entry, &problem);
  if (file < 0)
    return say_refusal(service, problem, error);
  begin_bytes(service, file, wanted->offset, FALSE);
  return TRUE;
}

static gboolean
wait_for_end(Service *service)
{
  service->pending = PENDING_END;
  watch(service);
  return TRUE;
}

static gboolean
kill_job(Service *service, gboolean now, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(JobState) state = job_state_read(service->job, &problem);
  if (state && job_state_is_over(state))
    doppel_error_set(&problem, DOPPEL_ERROR_NOT_FOUND, "job %" G_GUINT64_FORMAT " is over already",
                     service->job->number);
  else if (state && !job_signal(service->job, now ? SIGINT : SIGTERM))
    doppel_error_set(&problem, DOPPEL_ERROR_GONE, "the process of job %" G_GUINT64_FORMAT " is ending",
                     service->job->number);
  return problem ? say_refusal(service, problem, error) : say_number(service, service->job->number, error);
}

static gboolean
note_collected(Service *service, GError **error)
{
  g_autoptr(GError) problem = NULL;
  return job_collected(service->job, &problem) ? say_number(service, service->job->number, error)
                                               : say_refusal(service, problem, error);
}

static gboolean
adopt(Service *service, GError **error)
{
  g_autoptr(GError) problem = NULL;
  return job_owner_adopt(service->store, service->job, &problem)
             ? say_number(service, service->job->number, error)
             : say_refusal(service, problem, error);
}

/* What a job did to files comes to the device that began it, and to no other that does not say that it wants
 * it: one that was lost may be a thief's, and one beside this one has files of its own. */
static gboolean
is_denied(const Service *service, const JobMessage *message, GError **error)
{
  switch (message->kind_case) {
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_FETCH:
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_WHOLE:
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_COLLECTED:
    break;
  default:
    return FALSE;
  }
  if (job_owner_is_served(service->store, service->job))
    return FALSE;
  doppel_error_set(error, DOPPEL_ERROR_DENIED,
                   "job %" G_GUINT64_FORMAT " is another device's, and so is what it did to files "
                   "(\"doppel wait --adopt\" takes it over)",
                   service->job->number);
  return TRUE;
}

/* The number of the job that a message is about; 0: none. */
static guint64
subject(const JobMessage *message)
{
  switch (message->kind_case) {
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_LOGS:
    return message->logs->job;
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_WAIT:
    return message->wait->job;
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_KILL:
    return message->kill->job;
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_FETCH:
    return message->fetch->job;
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_WHOLE:
    return message->whole->job;
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_COLLECTED:
    return message->collected->job;
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_ADOPT:
    return message->adopt->job;
  default:
    return 0;
  }
}

static gboolean
answer_about_job(Service *service, const JobMessage *message, GError **error)
{
  g_autoptr(GError) problem = NULL;
  service->job = job_store_find(service->store, subject(message), &problem);
  if (!service->job || is_denied(service, message, &problem))
    return say_refusal(service, problem, error);
  switch (message->kind_case) {
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_LOGS:
    return send_log(service, message->logs, error);
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_WAIT:
    return wait_for_end(service);
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_KILL:
    return kill_job(service, message->kill->now, error);
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_FETCH:
    return send_file(service, "changes", message->fetch->offset, FALSE, error);
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_WHOLE:
    return send_whole(service, message->whole, error);
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_ADOPT:
    return adopt(service, error);
  default:
    return note_collected(service, error);
  }
}

static gboolean
answer(Service *service, const JobMessage *message, GError **error)
{
  settle(service);
  switch (message->kind_case) {
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_START:
    return start(service, message->start, error);
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_LIST:
    return list(service, error);
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_LOGS:
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_WAIT:
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_KILL:
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_FETCH:
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_WHOLE:
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_COLLECTED:
  case DOPPEL__WIRE__JOB_MESSAGE__KIND_ADOPT:
    return answer_about_job(service, message, error);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device asks what no device asks");
  }
}

/* ---- what takes its time ---- */

/* The next bytes that are wanted; what is before them is passed over. Their number, 0 where there are no more
 * now, or -1. Runs are looked for only below what was there before. */
static gssize
next_bytes(Service *service, guint8 piece[JOB_BYTES_MAX])
{
  struct stat status;
  if (fstat(service->file, &status) < 0)
    return -1;
  guint64 size = MIN((guint64)status.st_size, service->until);
  while (service->offset < size) {
    guint64 end = size;
    JobStream stream = JOB_STDOUT;
    if (service->streams != JOB_LOGS_BOTH)
      stream = job_log_look(service->runs, service->offset, &end);
    end = MIN(end, size);
    if (service->streams & 1u << stream)
      return pread(service->file, piece, MIN(JOB_BYTES_MAX, end - service->offset), (off_t)service->offset);
    service->offset = end;
  }
  return 0;
}

/* Sends what there is of a file. The job is looked at first: what it wrote before its end is then there. */
static gboolean
pump(Service *service, GError **error)
{
  g_autofree guint8 *piece = g_malloc(JOB_BYTES_MAX);
  g_autoptr(JobState) state = service->grows ? job_state_read(service->job, NULL) : NULL;
  gboolean grows = state && !job_state_is_over(state);
  while (service->told < service->until) {
    gssize got = next_bytes(service, piece);
    if (got < 0)
      return doppel_error_errno(error, "cannot read a job's file");
    gboolean end = got == 0 && service->offset < service->until;
    if (end && grows)
      return TRUE;
    if (!say_bytes(service, piece, got, end, error))
      return FALSE;
    if (end)
      break;
  }
  settle(service);
  return TRUE;
}

static gboolean
look_for_end(Service *service, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(JobState) state = job_state_read(service->job, &problem);
  if (!state)
    return say_refusal(service, problem, error);
  if (!job_state_is_over(state))
    return TRUE;
  gboolean said = say_summary(service, service->job, state, error);
  settle(service);
  return said;
}

static gboolean
go_on(Service *service, GError **error)
{
  if (service->pending == PENDING_END)
    return look_for_end(service, error);
  return service->pending == PENDING_NOTHING || pump(service, error);
}

static void
clear_watch(Service *service)
{
  char events[4096];
  while (service->watch >= 0 && read(service->watch, events, sizeof events) > 0)
    ;
}

/* ---- the session ---- */

static gboolean
hear(Service *service, GError **error)
{
  for (;;) {
    GError *bad = NULL;
    g_autoptr(JobMessage) message = job_message_take(service->link, &bad);
    if (bad)
      g_propagate_error(error, bad);
    if (!message)
      return !bad;
    if (!answer(service, message, error))
      return FALSE;
  }
}

static gboolean
turn(Service *service, GError **error)
{
  struct pollfd fds[2 + LINK_POLL_MAX] = {{.fd = service->control, .events = POLLIN},
                                          {.fd = service->watch, .events = POLLIN}};
  int timeout = service->pending == PENDING_NOTHING ? -1 : LOOK_MS;
  guint count = 2 + link_prepare(service->link, fds + 2, &timeout);
  if (poll(fds, count, timeout) < 0 && errno != EINTR)
    return doppel_error_errno(error, "waiting for the device");
  int fd, got = 0;
  while (fds[0].revents && (got = session_receive_socket(service->session, &fd)) > 0)
    link_resume(service->link, fd, NULL);
  if (got < 0)
    service->control = -1;
  clear_watch(service);
  return link_work(service->link, error) && hear(service, error) && go_on(service, error);
}

int
job_service(Link *link, const AugmenterSession *session, const JobHost *host)
{
  g_autoptr(GError) error = NULL;
  Service service = {.link = link,
                     .session = session,
                     .host = host,
                     .control = session->control_fd,
                     .file = -1,
                     .runs = -1,
                     .watch = -1};
  service.store = job_store_open(host->directory, &error);
  if (service.store)
    job_store_serve(service.store, host->device);
  /* What came with the handshake is there already: nothing would wake us for it. */
  gboolean going = service.store && hear(&service, &error) && go_on(&service, &error);
  while (going)
    going = turn(&service, &error);
  settle(&service);
  g_clear_pointer(&service.store, job_store_free);
  if (link_state(link) == LINK_DEAD)
    return 0;
  fprintf(stderr, "doppeld: clone %s: %s\n", session->clone_name, error->message);
  return 1;
}
