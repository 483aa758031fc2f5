#include "daemon/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "daemon/listener.h"
#include "daemon/node.h"
#include "daemon/worker.h"
#include "identity/base32.h"

#define CALLERS_MAX         128
#define CALLERS_PER_SOURCE  32
#define UNPROVED_MAX        64 /* workers whose peer has not proved a key */
#define UNPROVED_PER_SOURCE 16
#define SESSIONS_MAX        1024
#define PREAMBLE_NS         (3 * G_GINT64_CONSTANT(1000000000))
#define FAREWELL_NS         (3 * G_GINT64_CONSTANT(1000000000))  /* between SIGTERM and SIGKILL */
#define NODE_LASTED_NS      (60 * G_GINT64_CONSTANT(1000000000)) /* a node that did begins anew at once */
#define LOOK_NS             (1 * G_GINT64_CONSTANT(1000000000)) /* between looks whether clones were revoked */

/* A node that ended by itself. */
typedef struct {
  guint8 clone[WIRE_ID_LENGTH];
  guint times;
  gint64 due; /* CLOCK_MONOTONIC ns: to be begun again then */
} NodeFailure;

typedef struct {
  DaemonState *state;
  const DaemonWorkplace *place;
  GArray *listeners;  /* of int */
  int signals;        /* signalfd */
  GPtrArray *callers; /* of LinkCaller, the oldest first */
  GPtrArray *workers; /* of DaemonWorker, the oldest first */
  GArray *failures;   /* of NodeFailure */
  gint64 look_at;
  gboolean stopping;
} Server;

static const LinkCallerSource *
caller_source(gconstpointer entry)
{
  return &((const LinkCaller *)entry)->source;
}

static const LinkCallerSource *
worker_source(gconstpointer entry)
{
  return &((const DaemonWorker *)entry)->source;
}

static void
dismiss(DaemonWorker *worker, int signal, gint64 now)
{
  kill(worker->pid, signal);
  if (!worker->kill_at)
    worker->kill_at = now + FAREWELL_NS;
}

static GPtrArray *
unproved_workers(const Server *server)
{
  GPtrArray *unproved = g_ptr_array_new();
  for (guint i = 0; i < server->workers->len; i++) {
    DaemonWorker *worker = server->workers->pdata[i];
    if (!worker->proved && !worker->kill_at)
      g_ptr_array_add(unproved, worker);
  }
  return unproved;
}

/* Room for one more worker whose peer may be anybody. FALSE where there is none. */
static gboolean
make_room(Server *server, const LinkCallerSource *source, gint64 now)
{
  g_autoptr(GPtrArray) unproved = unproved_workers(server);
  if (server->workers->len - unproved->len >= SESSIONS_MAX)
    return FALSE;
  if (link_caller_source_count(unproved->pdata, unproved->len, worker_source, source) >= UNPROVED_PER_SOURCE)
    return FALSE;
  if (unproved->len >= UNPROVED_MAX)
    dismiss(unproved->pdata[link_caller_source_surplus(unproved->pdata, unproved->len, worker_source)],
            SIGKILL, now);
  return TRUE;
}

static DaemonWorker *
find_session(const Server *server, const LinkPreamble *preamble)
{
  for (guint i = 0; i < server->workers->len; i++) {
    DaemonWorker *worker = server->workers->pdata[i];
    if (worker->kind == DAEMON_SESSION && !worker->kill_at &&
        memcmp(&worker->preamble, preamble, sizeof *preamble) == 0)
      return worker;
  }
  return NULL;
}

static DaemonWorker *
start_worker(Server *server, int fd, const LinkPreamble *preamble, GError **error)
{
  static const guint8 zeros[WIRE_ID_LENGTH];
  if (memcmp(preamble->clone, zeros, WIRE_ID_LENGTH) == 0)
    return daemon_worker_pairing(server->place, fd, preamble, error);
  g_autoptr(DaemonClone) clone = daemon_state_clone(server->state, preamble->clone, error);
  if (clone)
    return daemon_worker_session(server->place, fd, preamble, clone, error);
  close(fd);
  return NULL;
}

static DaemonWorker *
find_node(const Server *server, const guint8 clone[WIRE_ID_LENGTH])
{
  for (guint i = 0; i < server->workers->len; i++) {
    DaemonWorker *worker = server->workers->pdata[i];
    if (worker->kind == DAEMON_NODE && memcmp(worker->preamble.clone, clone, WIRE_ID_LENGTH) == 0)
      return worker;
  }
  return NULL;
}

/* A caller has said whom it wants. Takes its socket. */
static void
connect_caller(Server *server, LinkCaller *caller, const LinkPreamble *preamble, gint64 now)
{
  g_autoptr(GError) error = NULL;
  g_auto(Fd) fd = io_steal_fd(&caller->fd);
  DaemonWorker *worker;
  if (preamble->purpose == WIRE_PURPOSE_PEER) {
    worker = find_node(server, preamble->clone);
    if (worker && !worker->kill_at)
      daemon_node_pass(worker, io_steal_fd(&fd), preamble);
    return;
  }
  worker = find_session(server, preamble);
  if (worker) {
    link_pass_send(worker->control_fd, fd, NULL);
    return;
  }
  if (!make_room(server, &caller->source, now))
    return;
  worker = start_worker(server, io_steal_fd(&fd), preamble, &error);
  if (worker) {
    worker->source = caller->source;
    g_ptr_array_add(server->workers, worker);
  } else if (!g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)) {
    g_printerr("doppeld: %s\n", error->message);
  }
}

static void
add_caller(Server *server, int fd, const struct sockaddr_storage *address, gint64 now)
{
  LinkCaller *caller = g_new0(LinkCaller, 1);
  caller->fd = fd;
  caller->source = link_caller_source_of(address);
  caller->deadline = now + PREAMBLE_NS;
  GPtrArray *callers = server->callers;
  if (callers->len >= CALLERS_MAX)
    g_ptr_array_remove_index(callers,
                             link_caller_source_surplus(callers->pdata, callers->len, caller_source));
  if (link_caller_source_count(callers->pdata, callers->len, caller_source, &caller->source) >=
      CALLERS_PER_SOURCE)
    for (guint i = 0; i < callers->len; i++)
      if (link_caller_source_equal(caller_source(callers->pdata[i]), &caller->source)) {
        g_ptr_array_remove_index(callers, i);
        break;
      }
  g_ptr_array_add(callers, caller);
}

static void
accept_callers(Server *server, int listener, gint64 now)
{
  for (int i = 0; i < CALLERS_PER_SOURCE; i++) {
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    int fd = accept4(listener, (struct sockaddr *)&address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      add_caller(server, fd, &address, now);
      continue;
    }
    /* Out of descriptors: who has waited longest has to make room. */
    if ((errno == EMFILE || errno == ENFILE) && server->callers->len > 0)
      g_ptr_array_remove_index(server->callers, 0);
    return;
  }
}

static void
step_callers(Server *server, gint64 now)
{
  for (guint i = 0; i < server->callers->len;) {
    LinkCaller *caller = server->callers->pdata[i];
    LinkPreamble preamble;
    int step = link_preamble_step(&caller->reader, caller->fd, &preamble, NULL);
    if (step == 0 && now < caller->deadline) {
      i++;
      continue;
    }
    if (step > 0)
      connect_caller(server, caller, &preamble, now);
    g_ptr_array_remove_index(server->callers, i);
  }
}

static void
hear_proof(Server *server, DaemonWorker *worker)
{
  IdentityPublic device;
  if (worker->proved || worker->kind != DAEMON_SESSION ||
      recv(worker->control_fd, device.bytes, sizeof device.bytes, MSG_DONTWAIT) != sizeof device.bytes)
    return;
  worker->device = device;
  worker->proved = TRUE;
  worker->deadline = G_MAXINT64;
  daemon_state_saw(server->state, worker->preamble.clone, NULL);
  g_printerr("doppeld: clone %s: a session has begun (process %d)\n", worker->clone_name, (int)worker->pid);
}

static void
report_end(const DaemonWorker *worker, int status)
{
  const char *what = worker->kind == DAEMON_NODE ? "its node" : "a session";
  if (!worker->proved)
    return;
  if (WIFSIGNALED(status))
    g_printerr("doppeld: clone %s: %s was ended by signal %d (process %d)\n", worker->clone_name, what,
               WTERMSIG(status), (int)worker->pid);
  else
    g_printerr("doppeld: clone %s: %s has ended with status %d (process %d)\n", worker->clone_name, what,
               WEXITSTATUS(status), (int)worker->pid);
}

/* The clone does not let the session's device in any more. */
static gboolean
is_locked_out(const DaemonWorker *worker, const DaemonClone *clone)
{
  return worker->kind == DAEMON_SESSION && worker->proved &&
         !daemon_devices_have(clone->devices, &worker->device);
}

/* A session that began as its clone was revoked makes files that nobody else will remove; and one whose
 * device was locked out jobs that nobody else will end. */
static void
tidy_up(Server *server, const DaemonWorker *worker)
{
  g_autoptr(GError) error = NULL, problem = NULL;
  const guint8 *id = worker->preamble.clone;
  gboolean good = TRUE;
  if (!worker->proved)
    return;
  g_autoptr(DaemonClone) clone = daemon_state_clone(server->state, id, &error);
  if (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    good = daemon_state_remove_files(server->state, id, &problem);
  else if (clone && is_locked_out(worker, clone))
    good = daemon_state_end_jobs(server->state, id, &problem);
  if (!good)
    g_printerr("doppeld: %s\n", problem->message);
}

/* Of a node that ended by itself: it is begun again, later each time, unless it had lasted. */
static void
remember_failure(Server *server, const DaemonWorker *worker)
{
  gint64 now = clock_now_ns();
  NodeFailure *failure = NULL;
  for (guint i = 0; i < server->failures->len && !failure; i++)
    if (memcmp(g_array_index(server->failures, NodeFailure, i).clone, worker->preamble.clone,
               WIRE_ID_LENGTH) == 0)
      failure = &g_array_index(server->failures, NodeFailure, i);
  if (!failure) {
    NodeFailure fresh = {0};
    memcpy(fresh.clone, worker->preamble.clone, sizeof fresh.clone);
    g_array_append_val(server->failures, fresh);
    failure = &g_array_index(server->failures, NodeFailure, server->failures->len - 1);
  }
  failure->times = now - worker->began_at > NODE_LASTED_NS ? 0 : failure->times + 1;
  failure->due = now + daemon_node_patience(failure->times);
}

static gint64
node_due(const Server *server, const guint8 clone[WIRE_ID_LENGTH])
{
  for (guint i = 0; i < server->failures->len; i++) {
    const NodeFailure *failure = &g_array_index(server->failures, NodeFailure, i);
    if (memcmp(failure->clone, clone, WIRE_ID_LENGTH) == 0)
      return failure->due;
  }
  return 0;
}

static void
start_node(Server *server, const DaemonClone *clone)
{
  g_autoptr(GError) error = NULL;
  DaemonWorker *worker = daemon_node_start(server->place, clone, &error);
  if (worker)
    g_ptr_array_add(server->workers, worker);
  else
    g_printerr("doppeld: %s\n", error->message);
}

/* Each clone that has a place in the network of clones has a node. */
static void
look_after_nodes(Server *server, gint64 now)
{
  if (server->stopping)
    return;
  g_autoptr(GPtrArray) clones = daemon_state_clones(server->state, NULL);
  for (guint i = 0; clones && i < clones->len; i++) {
    const DaemonClone *clone = clones->pdata[i];
    if (!find_node(server, clone->id) && daemon_node_wanted(server->state, clone) &&
        now >= node_due(server, clone->id))
      start_node(server, clone);
  }
}

static void
reap_workers(Server *server)
{
  for (guint i = 0; i < server->workers->len;) {
    DaemonWorker *worker = server->workers->pdata[i];
    int status;
    if (waitpid(worker->pid, &status, WNOHANG) != worker->pid) {
      i++;
      continue;
    }
    hear_proof(server, worker);
    report_end(worker, status);
    tidy_up(server, worker);
    if (worker->kind == DAEMON_NODE && !worker->kill_at)
      remember_failure(server, worker);
    server->look_at = 0; /* it may have left something to do */
    g_ptr_array_remove_index(server->workers, i);
  }
}

static void
step_workers(Server *server, gint64 now)
{
  for (guint i = 0; i < server->workers->len; i++) {
    DaemonWorker *worker = server->workers->pdata[i];
    hear_proof(server, worker);
    if (worker->kill_at ? now >= worker->kill_at : now >= worker->deadline)
      dismiss(worker, SIGKILL, now);
  }
}

/* Another process may have revoked a clone or locked a device out, or a device given one up: its sessions
 * end. */
static void
look_at_state(Server *server, gint64 now)
{
  if (now < server->look_at)
    return;
  server->look_at = now + LOOK_NS;
  for (guint i = 0; i < server->workers->len; i++) {
    DaemonWorker *worker = server->workers->pdata[i];
    if (worker->kind == DAEMON_PAIRING || worker->kill_at)
      continue;
    g_autoptr(GError) error = NULL;
    g_autoptr(DaemonClone) clone = daemon_state_clone(server->state, worker->preamble.clone, &error);
    gboolean revoked = g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
    if (revoked || (clone && is_locked_out(worker, clone))) {
      g_printerr(revoked ? "doppeld: clone %s is revoked: its process ends (process %d)\n"
                         : "doppeld: clone %s: a device was locked out: its session ends (process %d)\n",
                 worker->clone_name, (int)worker->pid);
      dismiss(worker, SIGTERM, now);
    }
  }
  look_after_nodes(server, now);
}

static void
read_signals(Server *server, gint64 now)
{
  struct signalfd_siginfo info;
  while (read(server->signals, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD)
      continue;
    server->stopping = TRUE;
    g_ptr_array_set_size(server->callers, 0);
    for (guint i = 0; i < server->workers->len; i++)
      dismiss(server->workers->pdata[i], SIGTERM, now);
  }
}

static int
wait_ms(const Server *server, gint64 now)
{
  gint64 due = server->workers->len > 0 || server->look_at == 0 ? server->look_at : G_MAXINT64;
  for (guint i = 0; i < server->failures->len; i++)
    if (!find_node(server, g_array_index(server->failures, NodeFailure, i).clone))
      due = MIN(due, MAX(g_array_index(server->failures, NodeFailure, i).due, server->look_at));
  for (guint i = 0; i < server->callers->len; i++)
    due = MIN(due, ((LinkCaller *)server->callers->pdata[i])->deadline);
  for (guint i = 0; i < server->workers->len; i++) {
    const DaemonWorker *worker = server->workers->pdata[i];
    due = MIN(due, worker->kill_at ? worker->kill_at : worker->deadline);
  }
  return due == G_MAXINT64 ? -1 : (int)(MAX(due - now, 0) / 1000000 + 1);
}

static void
add_poll(GArray *fds, int fd)
{
  struct pollfd entry = {.fd = fd, .events = POLLIN};
  g_array_append_val(fds, entry);
}

static void
serve_until_stopped(Server *server)
{
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
  while (!server->stopping || server->workers->len > 0) {
    g_array_set_size(fds, 0);
    add_poll(fds, server->signals);
    for (guint i = 0; i < server->listeners->len && !server->stopping; i++)
      add_poll(fds, g_array_index(server->listeners, int, i));
    for (guint i = 0; i < server->callers->len; i++)
      add_poll(fds, ((LinkCaller *)server->callers->pdata[i])->fd);
    for (guint i = 0; i < server->workers->len; i++) {
      const DaemonWorker *worker = server->workers->pdata[i];
      if (worker->kind == DAEMON_SESSION && !worker->proved)
        add_poll(fds, worker->control_fd);
    }
    poll((struct pollfd *)fds->data, fds->len, wait_ms(server, clock_now_ns()));
    gint64 now = clock_now_ns();
    read_signals(server, now);
    reap_workers(server);
    for (guint i = 0; i < server->listeners->len && !server->stopping; i++)
      if (g_array_index(fds, struct pollfd, i + 1).revents)
        accept_callers(server, g_array_index(server->listeners, int, i), now);
    step_callers(server, now);
    step_workers(server, now);
    look_at_state(server, now);
  }
}

static int
open_signals(void)
{
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGINT);
  sigprocmask(SIG_BLOCK, &mask, NULL);
  return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

static gboolean
open_listeners(Server *server, const char *const *addresses, GError **error)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  if (!addresses && !daemon_listen_everywhere(server->listeners, names, error))
    return FALSE;
  for (const char *const *address = addresses; address && *address; address++)
    if (!daemon_listen(*address, server->listeners, names, error))
      return FALSE;
  g_ptr_array_add(names, NULL);
  if (!daemon_state_set_listening(server->state, (const char *const *)names->pdata, error))
    return FALSE;
  g_autofree char *list = g_strjoinv(", ", (char **)names->pdata);
  /* Made now if it is missing, and forgotten: only pairing needs the secret half. */
  g_autoptr(IdentityKey) key = daemon_state_host_key(server->state, error);
  if (!key)
    return FALSE;
  g_autofree char *fingerprint = identity_public_to_text(identity_key_public(key));
  g_printerr("doppeld: listening on %s; the host's key is %s\n", list, fingerprint);
  return TRUE;
}

gboolean
daemon_server_run(const DaemonWorkplace *place, const char *const *listen, GError **error)
{
  Server server = {
      .state = place->state,
      .place = place,
      .listeners = g_array_new(FALSE, FALSE, sizeof(int)),
      .failures = g_array_new(FALSE, FALSE, sizeof(NodeFailure)),
      .signals = open_signals(),
      .callers = g_ptr_array_new_with_free_func((GDestroyNotify)link_caller_free),
      .workers = g_ptr_array_new_with_free_func((GDestroyNotify)daemon_worker_free),
  };
  gboolean done = open_listeners(&server, listen, error);
  if (done)
    serve_until_stopped(&server);
  for (guint i = 0; i < server.listeners->len; i++)
    close(g_array_index(server.listeners, int, i));
  g_array_unref(server.listeners);
  g_array_unref(server.failures);
  g_ptr_array_unref(server.callers);
  g_ptr_array_unref(server.workers);
  io_close(&server.signals);
  return done;
}
