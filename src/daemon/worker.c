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

/* Drives the link, and takes further connections of the session, until a device with the right key is in. */
static gboolean
wait_for_device(Link *link, const AugmenterSession *session, GError **error)
{
  gboolean orphan = FALSE;
  while (link_state(link) == LINK_AWAY) {
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
serve_session(const DaemonWorkplace *place, int fd, int control_fd, const LinkPreamble *preamble,
              const DaemonClone *clone)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *pages = g_build_filename(place->state_directory, "pages", clone->name, NULL);
  AugmenterSession session = {.root = place->root,
                              .tmp = place->tmp,
                              .pages = pages,
                              .clone_name = clone->name,
                              .control_fd = control_fd};
  memcpy(session.clone, preamble->clone, sizeof session.clone);
  memcpy(session.session, preamble->session, sizeof session.session);
  g_autoptr(IdentityKey) key = daemon_state_clone_key(place->state, clone->id, &error);
  if (!key)
    return daemon_fail("serve", error);
  g_autoptr(Link) link = link_accept_later(preamble, key, &clone->device, NULL, &error);
  if (!link)
    return daemon_fail("serve", error);
  /* A stranger or a broken connection: not worth a line in the log. */
  if (!link_resume(link, fd, &error) || !wait_for_device(link, &session, &error))
    return 1;
  if (send(control_fd, "", 1, MSG_NOSIGNAL) < 0)
    return 1;
  return place->run(link, &session);
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

static DaemonWorker *
new_worker(DaemonWorkerKind kind, pid_t pid, int control_fd, const LinkPreamble *preamble)
{
  DaemonWorker *worker = g_new0(DaemonWorker, 1);
  worker->kind = kind;
  worker->pid = pid;
  worker->control_fd = control_fd;
  worker->preamble = *preamble;
  worker->deadline = clock_now_ns() + PROVE_MS * G_GINT64_CONSTANT(1000000);
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
  DaemonWorker *worker = new_worker(DAEMON_SESSION, pid, ends[0], preamble);
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
  return new_worker(DAEMON_PAIRING, pid, -1, preamble);
}
