#include "replicator/checkpoint_here.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "identity/paired.h"
#include "replicator/checkpoint_named.h"
#include "replicator/checkpoint_store.h"
#include "replicator/job_runner.h"
#include "replicator/job_service.h"

#define NAME "here"

/* Its owner's own machine: as for any program, the disk is the bound. */
static const JobBounds bounds = {JOB_BOUNDS_NONE, JOB_BOUNDS_NONE, JOB_BOUNDS_NONE};

static char *
path_of(const CheckpointHere *here, const char *name)
{
  return g_build_filename(here->directory, NAME, name, NULL);
}

/* ---- who answers about jobs ---- */

G_NORETURN
static void
serve(const CheckpointHere *here, int fd)
{
  g_autofree char *jobs = path_of(here, "jobs");
  const AugmenterSession session = {.root = "/", .clone_name = NAME, .control_fd = -1};
  const JobHost host = {.directory = jobs, .bounds = bounds, .lease = -1};
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  g_autoptr(Link) link = link_new_local(fd);
  _exit(job_service(link, &session, &host));
}

CheckpointHere *
checkpoint_here_open(GError **error)
{
  int ends[2];
  g_autoptr(CheckpointHere) here = g_new0(CheckpointHere, 1);
  here->directory = identity_directory();
  here->client = g_new0(JobClient, 1);
  here->client->clone = g_new0(PairedClone, 1);
  here->client->clone->name = g_strdup(NAME);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
    doppel_error_errno(error, "making a socket pair");
    return NULL;
  }
  here->service = fork();
  if (here->service == 0) {
    close(ends[0]);
    serve(here, ends[1]);
  }
  close(ends[1]);
  here->client->link = link_new_local(ends[0]);
  if (here->service > 0)
    return g_steal_pointer(&here);
  doppel_error_errno(error, "starting a process");
  return NULL;
}

void
checkpoint_here_free(CheckpointHere *here)
{
  g_clear_pointer(&here->client, job_client_free);
  if (here->service > 0)
    while (waitpid(here->service, NULL, 0) < 0 && errno == EINTR)
      ;
  g_free(here->directory);
  g_free(here);
}

/* ---- the checkpoint ---- */

static CheckpointKept *
make_place(const CheckpointHere *here, const guint8 run[CHECKPOINT_RUN], GError **error)
{
  g_autofree char *directory = path_of(here, "checkpoints");
  Doppel__Wire__CheckpointRun message = DOPPEL__WIRE__CHECKPOINT_RUN__INIT;
  message.run = (ProtobufCBinaryData){CHECKPOINT_RUN, (guint8 *)run};
  if (!checkpoint_store_remove_run(directory, run, error))
    return NULL;
  return checkpoint_store_feed(directory, &message, error);
}

/* What comes is a file as any other end would send it: it is read, and checked, whole. */
static gboolean
add(CheckpointKept *kept, int file, GError **error)
{
  g_autoptr(CheckpointBody) body = checkpoint_body_read(file, error);
  return body && checkpoint_kept_add(kept, file, body->state->number, body->hash, error);
}

static gboolean
fetch(CheckpointKept *kept, CheckpointClient *clone, gboolean force, gboolean again, GError **error)
{
  g_auto(Fd) file = checkpoint_kept_begin(kept, error);
  return file >= 0 && checkpoint_client_take(clone, kept->run, force, again, file, error) &&
         add(kept, file, error);
}

/* ---- files that are not here as the program had them ---- */

/* What the clone says that the program had open: no more is looked at than the program itself will see. */
static gboolean
is_here(const CheckpointHere *here, const CheckpointFile *named)
{
  const char *const hidden[] = {here->directory};
  g_auto(Fd) file = checkpoint_named_open("/", hidden, G_N_ELEMENTS(hidden), named);
  return file >= 0;
}

static gboolean
copy_content(CheckpointWriter *writer, CheckpointFile *named, int file, GError **error)
{
  g_autofree guint8 *room = g_malloc(CHECKPOINT_PIECE);
  for (guint64 at = 0; at < named->size;) {
    ssize_t got = pread(file, room, MIN(named->size - at, CHECKPOINT_PIECE), (off_t)at);
    if (got <= 0)
      return doppel_error_errno(error, "cannot keep a file of the program's");
    if (!checkpoint_write_block(writer, named->file, at, (guint64)got, room, error))
      return FALSE;
    at += (guint64)got;
  }
  named->carried = TRUE;
  return TRUE;
}

static gboolean
fetch_file(const CheckpointHere *here, CheckpointClient *clone, CheckpointWriter *writer,
           CheckpointFile *named, GError **error)
{
  g_auto(Fd) file = open(here->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file < 0)
    return doppel_error_errno(error, "cannot keep a file in %s", here->directory);
  return checkpoint_client_content(clone, named, file, error) && copy_content(writer, named, file, error);
}

/* They become a further link of the chain, as if the clone had lacked them. */
static gboolean
complete(const CheckpointHere *here, CheckpointKept *kept, CheckpointClient *clone, GError **error)
{
  g_autoptr(GPtrArray) bodies = checkpoint_kept_bodies(kept, error);
  if (!bodies)
    return FALSE;
  CheckpointState *state = ((CheckpointBody *)bodies->pdata[bodies->len - 1])->state;
  g_auto(Fd) file = checkpoint_kept_begin(kept, error);
  if (file < 0)
    return FALSE;
  g_autoptr(CheckpointWriter) writer = checkpoint_writer_new(file);
  gboolean any = FALSE;
  for (gsize i = 0; i < state->n_file; i++) {
    CheckpointFile *named = state->file[i];
    if (named->kind != DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMED || named->carried || is_here(here, named))
      continue;
    any = TRUE;
    if (!fetch_file(here, clone, writer, named, error))
      return FALSE;
  }
  state->whole = FALSE;
  if (any)
    return checkpoint_write_state(writer, state, error) && add(kept, file, error);
  checkpoint_kept_abandon(kept);
  return TRUE;
}

/* ---- the job ---- */

static gboolean
start(const CheckpointHere *here, const CheckpointKept *kept, guint64 *number, pid_t *runner, GError **error)
{
  g_autofree char *jobs = path_of(here, "jobs"), *checkpoints = path_of(here, "checkpoints");
  const JobPlace place = {
      .root = "/", .hidden = here->directory, .bounds = &bounds, .lease = -1, .checkpoints = checkpoints};
  g_autoptr(JobRequest) request = checkpoint_kept_request(kept, error);
  g_autoptr(JobStore) store = request ? job_store_open(jobs, error) : NULL;
  int lock = -1;
  g_autoptr(Job) job = store ? job_store_add(store, request, &lock, error) : NULL;
  if (!job || !job_runner_start(job, lock, &place, error))
    return FALSE;
  g_autofree char *text = io_read_file_at(job->directory, "lock", 32);
  *runner = text ? (pid_t)strtol(text, NULL, 10) : 0;
  *number = job->number;
  return TRUE;
}

guint64
checkpoint_here_resume(CheckpointHere *here, CheckpointClient *clone, const guint8 run[CHECKPOINT_RUN],
                       gboolean force, gboolean again, pid_t *runner, GError **error)
{
  guint64 number = 0;
  g_autoptr(CheckpointKept) kept = make_place(here, run, error);
  if (!kept)
    return 0;
  if (fetch(kept, clone, force, again, error) && complete(here, kept, clone, error) &&
      start(here, kept, &number, runner, error))
    return number;
  checkpoint_here_forget(here, run);
  return 0;
}

void
checkpoint_here_forget(const CheckpointHere *here, const guint8 run[CHECKPOINT_RUN])
{
  g_autofree char *directory = path_of(here, "checkpoints");
  checkpoint_store_remove_run(directory, run, NULL);
}
