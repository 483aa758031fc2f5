#include "replicator/checkpoint_service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/arch/arch.h"
#include "replicator/checkpoint_named.h"
#include "replicator/checkpoint_owner.h"
#include "replicator/checkpoint_store.h"
#include "replicator/job_runner.h"

typedef struct {
  Link *link;
  const AugmenterSession *session;
  const char *directory;
  const JobHost *host;
  int control; /* -1 once doppeld is gone */
  /* a device that feeds a run */
  CheckpointKept *fed;
  int part;
  guint64 number, received;
  /* what it may fetch */
  int body;
} Service;

/* ---- answers ---- */

static gboolean
say_number(Service *service, guint64 number, GError **error)
{
  Doppel__Wire__CheckpointNumber answer = DOPPEL__WIRE__CHECKPOINT_NUMBER__INIT;
  answer.number = number;
  return CHECKPOINT_SEND(service->link, NUMBER, number, &answer, error);
}

/* `why` is what could not be done, which the device is told; the session goes on. */
static gboolean
say_refusal(Service *service, const GError *why, GError **error)
{
  Doppel__Wire__CheckpointRefusal refusal = DOPPEL__WIRE__CHECKPOINT_REFUSAL__INIT;
  g_autofree char *reason = g_utf8_make_valid(why->message, -1);
  refusal.code = (guint32)why->code;
  refusal.reason = reason;
  return CHECKPOINT_SEND(service->link, REFUSAL, refusal, &refusal, error);
}

static gboolean
say_summary(Service *service, const CheckpointKept *kept, GError **error)
{
  Doppel__Wire__CheckpointSummary summary = DOPPEL__WIRE__CHECKPOINT_SUMMARY__INIT;
  summary.run = (ProtobufCBinaryData){CHECKPOINT_RUN, (guint8 *)kept->run};
  summary.chain = kept->chain;
  summary.running = checkpoint_kept_is_fed(kept);
  summary.bytes = checkpoint_kept_bytes(kept);
  summary.foreign = checkpoint_owner_is_other(service->directory, kept->run, service->host->device);
  return CHECKPOINT_SEND(service->link, SUMMARY, summary, &summary, error);
}

/* ---- a device that feeds a run ---- */

/* Nobody makes checkpoints of another device's program. One that is nobody's, from before there were owners,
 * is from now on that of who feeds it. */
static CheckpointKept *
feed(const Service *service, const Doppel__Wire__CheckpointRun *run, GError **error)
{
  const IdentityPublic *device = service->host->device;
  if (checkpoint_owner_denies(service->directory, run->run.data, device, error))
    return NULL;
  g_autoptr(CheckpointKept) kept = checkpoint_store_feed(service->directory, run, error);
  if (!kept || !checkpoint_owner_claim(service->directory, run->run.data, device, error))
    return NULL;
  return g_steal_pointer(&kept);
}

static gboolean
begin_run(Service *service, const Doppel__Wire__CheckpointRun *run, GError **error)
{
  g_autoptr(GError) problem = NULL;
  Doppel__Wire__CheckpointWelcome welcome = DOPPEL__WIRE__CHECKPOINT_WELCOME__INIT;
  if (service->fed)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a second run in one session");
  service->fed = feed(service, run, &problem);
  if (!service->fed)
    return say_refusal(service, problem, error);
  g_autofree char *features = arch_features();
  welcome.architecture = (char *)arch_name;
  welcome.features = features;
  return CHECKPOINT_SEND(service->link, WELCOME, welcome, &welcome, error);
}

/* The file as the program has it, in the clone's own files, as far as a program in the clone sees them. -1:
 * it is not there, or another. */
static int
open_same(const Service *service, const CheckpointFile *named)
{
  const AugmenterSession *session = service->session;
  const char *const hidden[] = {session->hidden, session->tmp};
  if (!session->root || service->host->rootless)
    return -1;
  return checkpoint_named_open(session->root, hidden, G_N_ELEMENTS(hidden), named);
}

static gboolean
compare_files(Service *service, const Doppel__Wire__CheckpointFiles *files, GError **error)
{
  g_autofree guint32 *index = g_new(guint32, files->n_file + 1);
  Doppel__Wire__CheckpointLacks lacks = DOPPEL__WIRE__CHECKPOINT_LACKS__INIT;
  lacks.index = index;
  for (gsize i = 0; i < files->n_file; i++) {
    g_auto(Fd) same = open_same(service, files->file[i]);
    if (same < 0)
      index[lacks.n_index++] = (guint32)i;
  }
  return CHECKPOINT_SEND(service->link, LACKS, lacks, &lacks, error);
}

static void
abandon(Service *service)
{
  if (service->part >= 0)
    checkpoint_kept_abandon(service->fed);
  io_close(&service->part);
}

static gboolean
open_checkpoint(Service *service, const Doppel__Wire__CheckpointOpen *open_it, GError **error)
{
  if (!service->fed)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a checkpoint of no run");
  abandon(service);
  service->number = open_it->number;
  service->received = 0;
  g_autoptr(GError) problem = NULL;
  service->part = checkpoint_kept_begin(service->fed, &problem);
  if (service->part >= 0 || errno != ENOENT)
    return service->part >= 0 || say_refusal(service, problem, error);
  /* Somebody has removed them. A new session begins with a whole one. */
  return doppel_error_set(error, DOPPEL_ERROR_GONE, "the checkpoints of this program were removed");
}

/* What cannot be kept is said once; the rest of it goes nowhere. */
static gboolean
refuse_part(Service *service, const GError *why, GError **error)
{
  abandon(service);
  return say_refusal(service, why, error);
}

static gboolean
complete(Service *service, guint64 hash, GError **error)
{
  g_autoptr(GError) problem = NULL;
  if (!checkpoint_kept_add(service->fed, service->part, service->number, hash, &problem))
    return refuse_part(service, problem, error);
  io_close(&service->part);
  if (!say_number(service, service->number, error))
    return FALSE;
  link_work(service->link, NULL);
  if (!checkpoint_kept_merge(service->fed, FALSE, &problem))
    fprintf(stderr, "doppeld: clone %s: checkpoints stay unmerged: %s\n", service->session->clone_name,
            problem->message);
  return TRUE;
}

static gboolean
take_bytes(Service *service, const Doppel__Wire__CheckpointBytes *bytes, GError **error)
{
  g_autoptr(GError) problem = NULL;
  if (!service->fed)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a checkpoint of no run");
  if (service->part < 0)
    return TRUE;
  if (bytes->offset != service->received)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a checkpoint with a gap");
  if (!io_write_all(service->part, bytes->bytes.data, bytes->bytes.len)) {
    doppel_error_errno(&problem, "the clone cannot keep a checkpoint");
    return refuse_part(service, problem, error);
  }
  service->received += bytes->bytes.len;
  return !bytes->last || complete(service, bytes->hash, error);
}

static gboolean
end_run(Service *service, GError **error)
{
  g_autoptr(GError) problem = NULL;
  if (!service->fed)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the end of no run");
  abandon(service);
  if (!checkpoint_store_remove_run(service->directory, service->fed->run, &problem))
    return say_refusal(service, problem, error);
  return say_number(service, 0, error);
}

/* ---- requests about what is kept ---- */

/* One whose job has come to its end by itself needs nothing any more. */
static gboolean
is_over(const Service *service, const CheckpointKept *kept)
{
  guint64 number = kept->chain->taken_job;
  g_autoptr(JobStore) jobs = number ? job_store_open(service->host->directory, NULL) : NULL;
  g_autoptr(Job) job = jobs ? job_store_find(jobs, number, NULL) : NULL;
  g_autoptr(JobState) state = job ? job_state_read(job, NULL) : NULL;
  return state && state->phase == DOPPEL__WIRE__JOB_STATE__PHASE__ENDED && !state->signal;
}

static gboolean
list(Service *service, GError **error)
{
  g_autoptr(GPtrArray) all = checkpoint_store_list(service->directory);
  guint64 told = 0;
  for (guint i = 0; i < all->len; i++) {
    const CheckpointKept *kept = all->pdata[i];
    if (is_over(service, kept)) {
      checkpoint_store_remove_run(service->directory, kept->run, NULL);
      continue;
    }
    if (!kept->chain->n_link && !checkpoint_kept_is_fed(kept))
      continue;
    if (!say_summary(service, kept, error))
      return FALSE;
    told++;
  }
  return say_number(service, told, error);
}

/* The newest one of the device that asks. */
static CheckpointKept *
find_newest(const Service *service, GError **error)
{
  g_autoptr(GPtrArray) all = checkpoint_store_list(service->directory);
  for (guint i = all->len; i-- > 0;) {
    const CheckpointKept *kept = all->pdata[i];
    if (kept->chain->n_link &&
        !checkpoint_owner_is_other(service->directory, kept->run, service->host->device))
      return checkpoint_store_find(service->directory, kept->run, error);
  }
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "the clone keeps no checkpoint of this device's programs");
  return NULL;
}

/* One that is named is meant, whosever it is. */
static CheckpointKept *
find(const Service *service, const Doppel__Wire__CheckpointWhich *which, GError **error)
{
  return which->run.len ? checkpoint_store_find(service->directory, which->run.data, error)
                        : find_newest(service, error);
}

static gboolean
remove_run(Service *service, const Doppel__Wire__CheckpointWhich *which, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(CheckpointKept) kept = find(service, which, &problem);
  if (kept && !which->force && checkpoint_kept_is_fed(kept))
    doppel_error_set(&problem, DOPPEL_ERROR_DENIED,
                     "the program still runs as far as the clone knows (--force removes its checkpoints)");
  if (problem || !checkpoint_store_remove_run(service->directory, kept->run, &problem))
    return say_refusal(service, problem, error);
  return say_number(service, 1, error);
}

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
start_job(Service *service, const CheckpointKept *kept, const JobRequest *request, guint64 *number,
          GError **error)
{
  const JobHost *host = service->host;
  const JobPlace place = {.root = service->session->root,
                          .hidden = service->session->hidden,
                          .generation = host->generation,
                          .bounds = &host->bounds,
                          .lease = host->lease,
                          .checkpoints = service->directory,
                          .meanwhile = serve_link,
                          .user = service};
  int lock = -1;
  if (host->rootless)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "%s", host->rootless);
  g_autoptr(JobStore) store = job_store_open(host->directory, error);
  if (store)
    job_store_serve(store, host->device);
  g_autoptr(Job) job = store ? job_store_add(store, request, &lock, error) : NULL;
  if (!job || !job_runner_start(job, lock, &place, error))
    return FALSE;
  *number = job->number;
  return TRUE;
}

static gboolean
resume(Service *service, const Doppel__Wire__CheckpointWhich *which, GError **error)
{
  g_autoptr(GError) problem = NULL;
  guint64 number = 0;
  g_autoptr(CheckpointKept) kept = find(service, which, &problem);
  g_autoptr(JobRequest) request = kept ? checkpoint_kept_request(kept, &problem) : NULL;
  if (!request || !checkpoint_kept_take(kept, 0, "(being resumed)", which->force, which->again, &problem))
    return say_refusal(service, problem, error);
  gboolean started = start_job(service, kept, request, &number, &problem);
  /* Where it did not come about, the next one may try. */
  checkpoint_kept_take(kept, number, "", TRUE, TRUE, started ? &problem : NULL);
  return started ? say_number(service, number, error) : say_refusal(service, problem, error);
}

static gboolean
take(Service *service, const Doppel__Wire__CheckpointWhich *which, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(CheckpointKept) kept = find(service, which, &problem);
  io_close(&service->body);
  if (kept && checkpoint_kept_merge(kept, TRUE, &problem) &&
      checkpoint_kept_take(kept, 0, *which->device ? which->device : "(unnamed)", which->force, which->again,
                           &problem))
    service->body = openat(kept->directory, kept->chain->link[0]->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (service->body < 0 && !problem)
    doppel_error_errno(&problem, "the clone cannot read a checkpoint");
  return problem ? say_refusal(service, problem, error) : say_summary(service, kept, error);
}

static gboolean
send_piece(Service *service, guint64 offset, guint8 *bytes, gsize length, gboolean last, GError **error)
{
  Doppel__Wire__CheckpointBytes piece = DOPPEL__WIRE__CHECKPOINT_BYTES__INIT;
  piece.offset = offset;
  piece.bytes = (ProtobufCBinaryData){length, bytes};
  piece.last = last;
  return CHECKPOINT_SEND(service->link, PIECE, piece, &piece, error);
}

/* So many of a file's first `size` bytes as answer one request. */
static gboolean
send_window(Service *service, int file, guint64 offset, guint64 size, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autofree guint8 *room = g_malloc(CHECKPOINT_BYTES_MAX);
  if (offset >= size)
    return send_piece(service, size, NULL, 0, TRUE, error);
  for (guint64 until = offset + MIN(size - offset, CHECKPOINT_WINDOW); offset < until;) {
    ssize_t got = pread(file, room, MIN(CHECKPOINT_BYTES_MAX, until - offset), (off_t)offset);
    if (got < 0)
      return doppel_error_errno(error, "cannot read a checkpoint");
    if (got == 0) {
      doppel_error_set(&problem, DOPPEL_ERROR_FAILED, "what the device fetches is being changed by others");
      return say_refusal(service, problem, error);
    }
    if (!send_piece(service, offset, room, (gsize)got, offset + (guint64)got == size, error))
      return FALSE;
    offset += (guint64)got;
  }
  return TRUE;
}

static gboolean
fetch(Service *service, const Doppel__Wire__CheckpointFetch *wanted, GError **error)
{
  struct stat facts;
  if (service->body < 0)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device fetches what it has not asked for");
  if (fstat(service->body, &facts) < 0)
    return doppel_error_errno(error, "cannot read a checkpoint");
  return send_window(service, service->body, wanted->offset, (guint64)facts.st_size, error);
}

/* What is empty is so without a look. */
static gboolean
send_content(Service *service, const Doppel__Wire__CheckpointContent *wanted, GError **error)
{
  g_autoptr(GError) problem = NULL;
  guint64 size = wanted->file->size;
  g_auto(Fd) file = size ? open_same(service, wanted->file) : -1;
  if (file >= 0 || !size)
    return send_window(service, file, wanted->offset, size, error);
  doppel_error_set(&problem, DOPPEL_ERROR_NOT_FOUND, "the clone does not have %.*s as the program had it",
                   (int)wanted->file->path.len, wanted->file->path.data);
  return say_refusal(service, problem, error);
}

/* ---- the session ---- */

static gboolean
answer(Service *service, const CheckpointMessage *message, GError **error)
{
  switch (message->kind_case) {
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_RUN:
    return begin_run(service, message->run, error);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_FILES:
    return compare_files(service, message->files, error);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_OPEN:
    return open_checkpoint(service, message->open, error);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_BYTES:
    return take_bytes(service, message->bytes, error);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_END:
    return end_run(service, error);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_LIST:
    return list(service, error);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_REMOVE:
    return remove_run(service, message->remove, error);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_RESUME:
    return resume(service, message->resume, error);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_TAKE:
    return take(service, message->take, error);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_FETCH:
    return fetch(service, message->fetch, error);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_CONTENT:
    return send_content(service, message->content, error);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device asks what no device asks");
  }
}

static gboolean
hear(Service *service, GError **error)
{
  for (;;) {
    GError *bad = NULL;
    g_autoptr(CheckpointMessage) message = checkpoint_message_take(service->link, &bad);
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
  struct pollfd fds[1 + LINK_POLL_MAX] = {{.fd = service->control, .events = POLLIN}};
  int timeout = -1;
  guint count = 1 + link_prepare(service->link, fds + 1, &timeout);
  if (poll(fds, count, timeout) < 0 && errno != EINTR)
    return doppel_error_errno(error, "waiting for the device");
  int fd, got = 0;
  while (fds[0].revents && (got = session_receive_socket(service->session, &fd)) > 0)
    link_resume(service->link, fd, NULL);
  if (got < 0)
    service->control = -1;
  return link_work(service->link, error) && hear(service, error);
}

int
checkpoint_service(Link *link, const AugmenterSession *session, const char *directory, const JobHost *host)
{
  g_autoptr(GError) error = NULL;
  Service service = {.link = link,
                     .session = session,
                     .directory = directory,
                     .host = host,
                     .control = session->control_fd,
                     .part = -1,
                     .body = -1};
  /* What came with the handshake is there already: nothing would wake us for it. */
  gboolean going = hear(&service, &error);
  while (going)
    going = turn(&service, &error);
  abandon(&service);
  g_clear_pointer(&service.fed, checkpoint_kept_free);
  io_close(&service.body);
  if (link_state(link) == LINK_DEAD)
    return 0;
  fprintf(stderr, "doppeld: clone %s: %s\n", session->clone_name, error->message);
  return 1;
}
