/* doppeld serve: accepts connections, reads whom they want, and hands them to processes. It holds no secret
 * and does no cryptography itself, and no peer can make it wait. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "daemon/daemon.h"
#include "daemon/listener.h"
#include "daemon/worker.h"
#include "identity/base32.h"

#define CALLERS_MAX         128
#define CALLERS_PER_SOURCE  32
#define UNPROVED_MAX        64 /* workers whose peer has not proved a key */
#define UNPROVED_PER_SOURCE 16
#define SESSIONS_MAX        1024
#define PREAMBLE_NS         (3 * G_GINT64_CONSTANT(1000000000))
#define FAREWELL_NS         (3 * G_GINT64_CONSTANT(1000000000)) /* between SIGTERM and SIGKILL */
#define LOOK_NS             (1 * G_GINT64_CONSTANT(1000000000)) /* between looks whether clones were revoked */

typedef struct {
  DaemonState *state;
  DaemonWorkplace place;
  GArray *listeners;  /* of int */
  int signals;        /* signalfd */
  GPtrArray *callers; /* of DaemonCaller, the oldest first */
  GPtrArray *workers; /* of DaemonWorker, the oldest first */
  gint64 look_at;
  gboolean stopping;
} Server;

static const DaemonSource *
caller_source(gconstpointer entry)
{
  return &((const DaemonCaller *)entry)->source;
}

static const DaemonSource *
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
make_room(Server *server, const DaemonSource *source, gint64 now)
{
  g_autoptr(GPtrArray) unproved = unproved_workers(server);
  if (server->workers->len - unproved->len >= SESSIONS_MAX)
    return FALSE;
  if (daemon_source_count(unproved->pdata, unproved->len, worker_source, source) >= UNPROVED_PER_SOURCE)
    return FALSE;
  if (unproved->len >= UNPROVED_MAX)
    dismiss(unproved->pdata[daemon_source_surplus(unproved->pdata, unproved->len, worker_source)], SIGKILL,
            now);
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
    return daemon_worker_pairing(&server->place, fd, preamble, error);
  g_autoptr(DaemonClone) clone = daemon_state_clone(server->state, preamble->clone, error);
  if (clone)
    return daemon_worker_session(&server->place, fd, preamble, clone, error);
  close(fd);
  return NULL;
}

/* A caller has said whom it wants. Takes its socket. */
static void
connect_caller(Server *server, DaemonCaller *caller, const LinkPreamble *preamble, gint64 now)
{
  g_autoptr(GError) error = NULL;
  g_auto(Fd) fd = io_steal_fd(&caller->fd);
  DaemonWorker *worker = find_session(server, preamble);
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
  DaemonCaller *caller = g_new0(DaemonCaller, 1);
  caller->fd = fd;
  caller->source = daemon_source_of(address);
  caller->deadline = now + PREAMBLE_NS;
  GPtrArray *callers = server->callers;
  if (callers->len >= CALLERS_MAX)
    g_ptr_array_remove_index(callers, daemon_source_surplus(callers->pdata, callers->len, caller_source));
  if (daemon_source_count(callers->pdata, callers->len, caller_source, &caller->source) >= CALLERS_PER_SOURCE)
    for (guint i = 0; i < callers->len; i++)
      if (daemon_source_equal(caller_source(callers->pdata[i]), &caller->source)) {
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
    DaemonCaller *caller = server->callers->pdata[i];
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
  char byte;
  if (worker->proved || worker->kind != DAEMON_SESSION ||
      recv(worker->control_fd, &byte, 1, MSG_DONTWAIT) != 1)
    return;
  worker->proved = TRUE;
  worker->deadline = G_MAXINT64;
  daemon_state_saw(server->state, worker->preamble.clone, NULL);
  g_printerr("doppeld: clone %s: a session has begun (process %d)\n", worker->clone_name, (int)worker->pid);
}

static void
report_end(const DaemonWorker *worker, int status)
{
  if (!worker->proved)
    return;
  if (WIFSIGNALED(status))
    g_printerr("doppeld: clone %s: a session was ended by signal %d (process %d)\n", worker->clone_name,
               WTERMSIG(status), (int)worker->pid);
  else
    g_printerr("doppeld: clone %s: a session has ended with status %d (process %d)\n", worker->clone_name,
               WEXITSTATUS(status), (int)worker->pid);
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

/* Another process may have revoked a clone, or a device given one up: its sessions end. */
static void
look_at_state(Server *server, gint64 now)
{
  if (now < server->look_at)
    return;
  server->look_at = now + LOOK_NS;
  for (guint i = 0; i < server->workers->len; i++) {
    DaemonWorker *worker = server->workers->pdata[i];
    if (worker->kind != DAEMON_SESSION || worker->kill_at)
      continue;
    g_autoptr(GError) error = NULL;
    g_autoptr(DaemonClone) clone = daemon_state_clone(server->state, worker->preamble.clone, &error);
    if (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)) {
      g_printerr("doppeld: clone %s is revoked: its session ends (process %d)\n", worker->clone_name,
                 (int)worker->pid);
      dismiss(worker, SIGTERM, now);
    }
  }
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
  gint64 due = server->workers->len > 0 ? server->look_at : G_MAXINT64;
  for (guint i = 0; i < server->callers->len; i++)
    due = MIN(due, ((DaemonCaller *)server->callers->pdata[i])->deadline);
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
      add_poll(fds, ((DaemonCaller *)server->callers->pdata[i])->fd);
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

/* What the command line said. */
typedef struct {
  char *root, *tmp, *state;
  char **listen;
} Options;

static void
options_clear(Options *options)
{
  g_free(options->root);
  g_free(options->tmp);
  g_free(options->state);
  g_strfreev(options->listen);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static gboolean
check_options(Options *options, GError **error)
{
  struct stat status;
  if (!options->root)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "say with --root which directory is the clones' root");
  g_autofree char *root = realpath(options->root, NULL);
  if (!root)
    return doppel_error_errno(error, "cannot use %s as the clones' root", options->root);
  if (stat(root, &status) < 0 || !S_ISDIR(status.st_mode))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "the clones' root %s is not a directory",
                            options->root);
  g_free(options->root);
  options->root = g_strdup(root);
  if (!options->state)
    options->state = daemon_state_directory();
  if (!options->tmp)
    options->tmp = g_build_filename(options->state, "sessions", NULL);
  return TRUE;
}

static gboolean
make_tmp(Options *options, GError **error)
{
  if (g_mkdir_with_parents(options->tmp, 0700) < 0 || access(options->tmp, W_OK | X_OK) < 0)
    return doppel_error_errno(error, "cannot keep sessions' files in %s", options->tmp);
  char *absolute = g_canonicalize_filename(options->tmp, NULL);
  g_free(options->tmp);
  options->tmp = absolute;
  return TRUE;
}

static gboolean
open_listeners(Server *server, char **addresses, GError **error)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  if (!addresses && !daemon_listen_everywhere(server->listeners, names, error))
    return FALSE;
  for (char **address = addresses; address && *address; address++)
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

static gboolean
serve(Options *options, DaemonSessionMain run, GError **error)
{
  if (!check_options(options, error))
    return FALSE;
  g_autoptr(DaemonState) state = daemon_state_open(options->state, error);
  if (!state || !make_tmp(options, error))
    return FALSE;
  Server server = {
      .state = state,
      .place = {state, options->state, options->root, options->tmp, run},
      .listeners = g_array_new(FALSE, FALSE, sizeof(int)),
      .signals = open_signals(),
      .callers = g_ptr_array_new_with_free_func((GDestroyNotify)daemon_caller_free),
      .workers = g_ptr_array_new_with_free_func((GDestroyNotify)daemon_worker_free),
  };
  gboolean done = open_listeners(&server, options->listen, error);
  if (done)
    serve_until_stopped(&server);
  for (guint i = 0; i < server.listeners->len; i++)
    close(g_array_index(server.listeners, int, i));
  g_array_unref(server.listeners);
  g_ptr_array_unref(server.callers);
  g_ptr_array_unref(server.workers);
  io_close(&server.signals);
  return done;
}

int
daemon_serve(int argc, char **argv, DaemonSessionMain run)
{
  g_auto(Options) options = {0};
  GOptionEntry entries[] = {
      {"root", 0, 0, G_OPTION_ARG_FILENAME, &options.root, "The root file system that clones have (required)",
       "DIR"},
      {"listen", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.listen,
       "Where to listen (may be repeated; [::]:" DAEMON_PORT ")", "ADDR:PORT"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &options.state, DAEMON_STATE_HELP, "DIR"},
      {"tmp", 0, 0, G_OPTION_ARG_FILENAME, &options.tmp,
       "Where sessions keep files while they last (STATE/sessions)", "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(context,
                               "Runs clones for the devices that are paired with this host, until SIGTERM. A "
                               "clone's root is a view of DIR,\nwhich is never written to.");
  g_option_context_set_description(context,
                                   "DIR holds the programs that the devices run; \"/\" is this machine's own "
                                   "tree.\n\n"
                                   "Example: doppeld serve --root /srv/phone --listen 192.0.2.7:3677");
  int status;
  if (!daemon_parse(context, &argc, &argv, 0, &status))
    return status;
  signal(SIGPIPE, SIG_IGN);
  return serve(&options, run, &error) ? 0 : daemon_fail("serve", error);
}
