#include "daemon/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "c2c/mux.h"
#include "c2c/node.h"
#include "c2c/relay.h"
#include "daemon/session_root.h"
#include "link/engine.h"
#include "profiler/message.h"
#include "profiler/service.h"
#include "replicator/checkpoint_message.h"
#include "replicator/checkpoint_service.h"
#include "replicator/job_message.h"
#include "replicator/job_service.h"
#include "replicator/receive.h"
#include "replicator/sync_message.h"

#define PROVE_MS   10000 /* for a worker's peer to prove its key; its link gives up sooner */
#define REQUEST_MS 5000

void
daemon_worker_free(DaemonWorker *worker)
{
  io_close(&worker->control_fd);
  g_free(worker->clone_name);
  g_free(worker);
}

/* In the child: nothing of doppeld's stays open but the standard streams and what it was made for. */
static void
forget_parent(int fd, int control_fd)
{
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  unsigned low = MIN(fd, control_fd < 0 ? fd : control_fd), high = MAX(fd, control_fd);
  if (low > 3)
    close_range(3, low - 1, 0);
  if (high > low + 1)
    close_range(low + 1, high - 1, 0);
  close_range(high + 1, ~0u, 0);
}

/* Drives the link, and takes further connections of the session, until a device with the right key is in, or
 * with `channel` until it has said something. */
static gboolean
wait_for_device(Link *link, const AugmenterSession *session, guint32 *channel, GError **error)
{
  gboolean orphan = FALSE;
  while (channel ? !link_peek(link, channel) : link_state(link) == LINK_AWAY) {
    struct pollfd fds[LINK_POLL_MAX + 1];
    int timeout_ms = -1;
    guint count = link_prepare(link, fds, &timeout_ms);
    fds[count] = (struct pollfd){.fd = orphan ? -1 : session->control_fd, .events = POLLIN};
    if (poll(fds, count + 1, timeout_ms) < 0 && errno != EINTR)
      return doppel_error_errno(error, "cannot wait for the device");
    int fd, got = 0;
    while (fds[count].revents && (got = session_receive_socket(session, &fd)) > 0)
      link_resume(link, fd, NULL);
    orphan = orphan || got < 0;
    if (!link_work(link, error))
      return FALSE;
  }
  return TRUE;
}

static int
receive_files(const DaemonWorkplace *place, Link *link, const AugmenterSession *session,
              const DaemonClone *clone)
{
  g_autofree char *replica = daemon_state_clone_replica(place->state, clone->id);
  g_autofree char *base = daemon_state_base(place->state);
  const ReplicatorPlace store = {.directory = replica,
                                 .name = session->clone_name,
                                 .public_base = base,
                                 .control_fd = session->control_fd,
                                 .enter = TRUE};
  return replicator_receive(link, &store);
}

static int
refuse_program(Link *link, const GError *error)
{
  enum { FAREWELL_MS = 5000 };
  Doppel__Engine__Failure failure = DOPPEL__ENGINE__FAILURE__INIT;
  failure.reason = error->message;
  if (ENGINE_SEND(link, FAILURE, failure, &failure, NULL))
    link_flush(link, FAREWELL_MS, NULL);
  return 1;
}

/* Most of what a device wants of its jobs needs no root: where there is none, `error` says why. */
static int
serve_jobs(const DaemonWorkplace *place, Link *link, const AugmenterSession *session,
           const DaemonClone *clone, const DaemonSessionRoot *root, gboolean checkpoints, const GError *error)
{
  g_autofree char *jobs = daemon_state_clone_jobs(place->state, clone->id);
  const JobHost host = {.directory = jobs,
                        .generation = root->lease ? root->lease->number : 0,
                        .lease = root->lease ? root->lease->file : -1,
                        .bounds = place->jobs,
                        .device = link_peer(link),
                        .rootless = error ? error->message : NULL};
  if (!checkpoints)
    return job_service(link, session, &host);
  g_autofree char *kept = daemon_state_clone_checkpoints(place->state, clone->id);
  return checkpoint_service(link, session, kept, &host);
}

/* As with jobs: where there is no root, `error` says why. */
static int
profile_program(const DaemonWorkplace *place, Link *link, const AugmenterSession *session,
                const GError *error)
{
  const ProfilerHost host = {.bounds = place->jobs, .rootless = error ? error->message : NULL};
  return profiler_service(link, session, &host);
}

/* A device's gateway to the network of clones. Takes `link`. */
static int
relay_streams(const DaemonWorkplace *place, Link *link, const AugmenterSession *session,
              const DaemonClone *clone)
{
  g_autofree char *directory = daemon_state_clone_c2c(place->state, clone->id);
  g_autofree char *node = g_build_filename(directory, NODE_SOCKET, NULL);
  return relay_serve(link, session->control_fd, node);
}

/* What the device says first tells what it came for. Takes the link. */
static int
serve_device(const DaemonWorkplace *place, Link *taken, AugmenterSession *session, const DaemonClone *clone)
{
  g_autoptr(Link) link = taken;
  g_autoptr(GError) error = NULL, alone = NULL;
  g_auto(DaemonSessionRoot) root = {0};
  guint32 channel = ENGINE_CHANNEL;
  if (!wait_for_device(link, session, &channel, NULL))
    return 1;
  if (channel == SYNC_CHANNEL)
    return receive_files(place, link, session, clone);
  if (channel == C2C_CHANNEL)
    return relay_streams(place, g_steal_pointer(&link), session, clone);
  gboolean rooted = daemon_session_root(place->state, clone, place->root, &root, &error);
  if (!rooted)
    daemon_fail("serve", error);
  session->root = root.path;
  if (channel == PROFILER_CHANNEL)
    return profile_program(place, link, session, error);
  if (channel != JOB_CHANNEL && channel != CHECKPOINT_CHANNEL)
    return rooted ? place->run(link, session) : refuse_program(link, error);
  if (rooted && !daemon_programs_show(place->state, clone, root.path, !place->root, &alone))
    daemon_fail("serve", alone);
  return serve_jobs(place, link, session, clone, &root, channel == CHECKPOINT_CHANNEL, error);
}

static int
serve_session(const DaemonWorkplace *place, int fd, int control_fd, const LinkPreamble *preamble,
              const DaemonClone *clone)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *pages = daemon_state_clone_pages(place->state, clone->id);
  AugmenterSession session = {.tmp = place->tmp,
                              .hidden = place->state_directory,
                              .pages = pages,
                              .clone_name = clone->name,
                              .control_fd = control_fd};
  memcpy(session.clone, preamble->clone, sizeof session.clone);
  memcpy(session.session, preamble->session, sizeof session.session);
  g_autoptr(IdentityKey) key = daemon_state_clone_key(place->state, clone->id, &error);
  if (!key)
    return daemon_fail("serve", error);
  if (clone->devices->len == 0) /* all were locked out */
    return 1;
  g_autoptr(Link) link =
      link_accept_later(preamble, key, &g_array_index(clone->devices, IdentityPublic, 0), NULL, &error);
  if (!link)
    return daemon_fail("serve", error);
  for (guint i = 1; i < clone->devices->len; i++)
    link_let_in(link, &g_array_index(clone->devices, IdentityPublic, i));
  /* A stranger or a broken connection: not worth a line in the log. */
  if (!link_resume(link, fd, &error) || !wait_for_device(link, &session, NULL, &error))
    return 1;
  const IdentityPublic *device = link_peer(link);
  if (send(control_fd, device->bytes, sizeof device->bytes, MSG_NOSIGNAL) < 0)
    return 1;
  return serve_device(place, g_steal_pointer(&link), &session, clone);
}

static int
serve_pairing(const DaemonWorkplace *place, int fd, const LinkPreamble *preamble)
{
  g_autoptr(GError) error = NULL;
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = 0;
  g_autoptr(DaemonState) state = daemon_state_open(place->state_directory, &error);
  g_autoptr(IdentityKey) key = state ? daemon_state_host_key(state, &error) : NULL;
  if (!key)
    return daemon_fail("serve", error);
  g_autoptr(Link) link = link_accept(fd, preamble, key, NULL, &options, NULL);
  if (!link || !link_pair_serve(link, &daemon_state_pairing, state, REQUEST_MS, &error))
    return 1;
  return 0;
}

DaemonWorker *
daemon_worker_new(DaemonWorkerKind kind, pid_t pid, int control_fd, const LinkPreamble *preamble)
{
  DaemonWorker *worker = g_new0(DaemonWorker, 1);
  worker->kind = kind;
  worker->pid = pid;
  worker->control_fd = control_fd;
  worker->preamble = *preamble;
  worker->began_at = clock_now_ns();
  worker->deadline = worker->began_at + PROVE_MS * G_GINT64_CONSTANT(1000000);
  return worker;
}

static pid_t
fork_worker(const DaemonWorkplace *place)
{
  fflush(NULL);
  daemon_state_rest(place->state);
  return fork();
}

DaemonWorker *
daemon_worker_session(const DaemonWorkplace *place, int fd, const LinkPreamble *preamble,
                      const DaemonClone *clone, GError **error)
{
  g_auto(Fd) socket_fd = fd;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
    doppel_error_errno(error, "cannot start a session of clone %s", clone->name);
    return NULL;
  }
  pid_t pid = fork_worker(place);
  if (pid == 0) {
    forget_parent(socket_fd, ends[1]);
    _exit(serve_session(place, io_steal_fd(&socket_fd), ends[1], preamble, clone));
  }
  int saved = errno;
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    errno = saved;
    doppel_error_errno(error, "cannot start a session of clone %s", clone->name);
    return NULL;
  }
  DaemonWorker *worker = daemon_worker_new(DAEMON_SESSION, pid, ends[0], preamble);
  worker->clone_name = g_strdup(clone->name);
  return worker;
}

DaemonWorker *
daemon_worker_pairing(const DaemonWorkplace *place, int fd, const LinkPreamble *preamble, GError **error)
{
  g_auto(Fd) socket_fd = fd;
  pid_t pid = fork_worker(place);
  if (pid == 0) {
    forget_parent(socket_fd, -1);
    _exit(serve_pairing(place, io_steal_fd(&socket_fd), preamble));
  }
  if (pid < 0) {
    doppel_error_errno(error, "cannot start a pairing");
    return NULL;
  }
  return daemon_worker_new(DAEMON_PAIRING, pid, -1, preamble);
}

pid_t
daemon_worker_fork(const DaemonWorkplace *place, int kept, int *control_fd, GError **error)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
    doppel_error_errno(error, "no socket");
    return -1;
  }
  pid_t pid = fork_worker(place);
  if (pid == 0)
    forget_parent(ends[1], kept);
  int saved = errno;
  if (pid != 0)
    close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    errno = saved;
    doppel_error_errno(error, "no process");
    return -1;
  }
  *control_fd = ends[pid == 0];
  return pid;
}
