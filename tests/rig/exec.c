/* A command on the device, and perhaps one on the host, while the link between them is carried. */
#include "exec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "verb.h"

#define READY_MS 20000 /* how long the host's command may take until it listens */

typedef struct {
  char *profile, *device_cpu, *host_cpu, *host_command, *control, *report;
  int host_port;
} Options;

static void
options_clear(Options *options)
{
  g_free(options->profile);
  g_free(options->device_cpu);
  g_free(options->host_cpu);
  g_free(options->host_command);
  g_free(options->control);
  g_free(options->report);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

typedef struct {
  Rig rig;
  GMainLoop *loop;
  pid_t pids[2]; /* by NetworkSide; 0: none or ended */
  int status;    /* of the device's command, as wait() gives it */
  gboolean done;
} Run;

char *
rig_report(Rig *rig)
{
  ShaperCounters count = shaper_counters(rig->shaper);
  GString *text = g_string_new("{");
  g_string_append_printf(text, "\"profile\": \"%s\", \"seconds\": %.3f", rig->profile->name,
                         (clock_now_ns() - rig->started) / 1e9);
  g_string_append_printf(text, ", \"bytes_up\": %" G_GUINT64_FORMAT ", \"bytes_down\": %" G_GUINT64_FORMAT,
                         count.bytes[SHAPER_UP], count.bytes[SHAPER_DOWN]);
  g_string_append_printf(text,
                         ", \"packets_up\": %" G_GUINT64_FORMAT ", \"packets_down\": %" G_GUINT64_FORMAT,
                         count.packets[SHAPER_UP], count.packets[SHAPER_DOWN]);
  g_string_append_printf(text, ", \"drops_up\": %" G_GUINT64_FORMAT ", \"drops_down\": %" G_GUINT64_FORMAT,
                         count.drops[SHAPER_UP], count.drops[SHAPER_DOWN]);
  static const char *const sides[] = {"device", "host"};
  for (int side = 0; side < 2; side++)
    g_string_append_printf(text, ", \"%s_cpu_seconds\": %.3f, \"%s_cpu\": \"%s\"", sides[side],
                           share_used(rig->shares[side]), sides[side], share_about(rig->shares[side]));
  g_string_append_printf(text, ", \"shaper_cpu_seconds\": %.3f}", count.cpu_seconds);
  return g_string_free(text, FALSE);
}

/* Starts a command on a side. The host's gets a process group of its own, so that all of it can be ended. */
static pid_t
start(Rig *rig, NetworkSide side, char **command)
{
  pid_t parent = getpid(), child = fork();
  if (child != 0)
    return child;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent || !network_enter(&rig->network, side, NULL))
    _exit(126);
  share_join(rig->shares[side]);
  if (side == NETWORK_HOST)
    setpgid(0, 0);
  execvp(command[0], command);
  fprintf(stderr, "doppel-rig: cannot run %s: %s\n", command[0], strerror(errno));
  _exit(127);
}

static void
on_child(GPid pid, int status, gpointer data)
{
  Run *run = data;
  if (pid == run->pids[NETWORK_HOST]) {
    run->pids[NETWORK_HOST] = 0;
    return;
  }
  run->pids[NETWORK_DEVICE] = 0;
  run->status = status;
  run->done = TRUE;
  g_main_loop_quit(run->loop);
}

/* A request to end goes to the device's command; when that is over, so is the rig. */
static gboolean
on_end_signal(gpointer data)
{
  Run *run = data;
  if (run->pids[NETWORK_DEVICE])
    kill(run->pids[NETWORK_DEVICE], SIGTERM);
  else
    g_main_loop_quit(run->loop);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_order(int listener, GIOCondition condition, gpointer data)
{
  Run *run = data;
  g_auto(Fd) peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  struct timeval patience = {1, 0};
  char line[512];
  gsize have = 0;
  if (peer < 0)
    return G_SOURCE_CONTINUE;
  setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  while (have < sizeof line - 1 && !memchr(line, '\n', have)) {
    ssize_t got = recv(peer, line + have, sizeof line - 1 - have, 0);
    if (got <= 0)
      break;
    have += (gsize)got;
  }
  line[have] = 0;
  g_autofree char *answer = rig_obey(&run->rig, line);
  io_write_all(peer, answer, strlen(answer));
  return G_SOURCE_CONTINUE;
}

static int
listen_for_orders(const char *path, GError **error)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  g_auto(Fd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  g_strlcpy(address.sun_path, path, sizeof address.sun_path);
  unlink(path);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 8) != 0) {
    doppel_error_errno(error, "cannot make the control socket %s", path);
    return -1;
  }
  return io_steal_fd(&fd);
}

static gboolean
can_connect(int port)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((guint16)port)};
  g_auto(Fd) fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  inet_pton(AF_INET, NETWORK_HOST_ADDRESS, &address.sin_addr);
  return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

/* Waits on the host's side until its command listens at `port`. */
static gboolean
wait_for_port(Run *run, int port, GError **error)
{
  int status = 0;
  pid_t child = fork();
  if (child == 0) {
    if (!network_enter(&run->rig.network, NETWORK_HOST, NULL))
      _exit(1);
    for (int waited = 0; waited < READY_MS; waited += 20) {
      if (can_connect(port))
        _exit(0);
      g_usleep(20000);
    }
    _exit(1);
  }
  waitpid(child, &status, 0);
  if (status)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "nothing listens at port %d of the host after %d s",
                            port, READY_MS / 1000);
  return TRUE;
}

static void
export_rig(const Rig *rig, const char *control)
{
  g_autofree char *device =
      g_strdup_printf("/proc/%d/fd/%d", (int)getpid(), rig->network.namespaces[NETWORK_DEVICE]);
  g_autofree char *host =
      g_strdup_printf("/proc/%d/fd/%d", (int)getpid(), rig->network.namespaces[NETWORK_HOST]);
  g_setenv("RIG_CONTROL", control, TRUE);
  g_setenv("RIG_PROFILE", rig->profile->name, TRUE);
  g_setenv("RIG_DEVICE_NS", device, TRUE); /* for nsenter --net= */
  g_setenv("RIG_HOST_NS", host, TRUE);
  g_setenv("RIG_DEVICE_ADDRESS", NETWORK_DEVICE_ADDRESS, TRUE);
  g_setenv("RIG_HOST_ADDRESS", NETWORK_HOST_ADDRESS, TRUE);
}

static void
end_host(Run *run)
{
  pid_t host = run->pids[NETWORK_HOST];
  if (host) {
    kill(-host, SIGTERM);
    for (int waited = 0; run->pids[NETWORK_HOST] && waited < 300; waited++) {
      g_main_context_iteration(NULL, FALSE); /* on_child() notices */
      g_usleep(10000);
    }
    kill(-host, SIGKILL);
  }
  share_kill(run->rig.shares[NETWORK_HOST]);
  share_kill(run->rig.shares[NETWORK_DEVICE]);
}

static void
write_report(Run *run, const char *path)
{
  g_autofree char *text = rig_report(&run->rig);
  g_autoptr(GError) error = NULL;
  if (path && !g_file_set_contents(path, text, -1, &error))
    g_printerr("doppel-rig: cannot write the report: %s\n", error->message);
}

static gboolean
run_commands(Run *run, const Options *options, char **command, GError **error)
{
  if (options->host_command) {
    char *shell[] = {(char *)"/bin/sh", (char *)"-c", options->host_command, NULL};
    run->pids[NETWORK_HOST] = start(&run->rig, NETWORK_HOST, shell);
    g_child_watch_add(run->pids[NETWORK_HOST], on_child, run);
  }
  if (options->host_port && !wait_for_port(run, options->host_port, error))
    return FALSE;
  run->rig.started = clock_now_ns();
  run->pids[NETWORK_DEVICE] = start(&run->rig, NETWORK_DEVICE, command);
  g_child_watch_add(run->pids[NETWORK_DEVICE], on_child, run);
  g_main_loop_run(run->loop);
  return TRUE;
}

static double
percent(const char *text)
{
  return text ? CLAMP(g_ascii_strtod(text, NULL), 0, 100000) : 0;
}

static gboolean
run_rig(Run *run, const Options *options, char **command, GError **error)
{
  g_autofree char *folder = NULL, *control = g_strdup(options->control);
  gboolean done = FALSE;
  run->rig.profile = profile_find(options->profile ? options->profile : "wifi");
  if (!run->rig.profile)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "no profile \"%s\"; `doppel-rig profiles` lists them",
                            options->profile);
  if (!network_make(&run->rig.network, error))
    return FALSE;
  run->rig.shaper = shaper_start(run->rig.network.tuns[NETWORK_DEVICE], run->rig.network.tuns[NETWORK_HOST],
                                 run->rig.profile);
  run->rig.shares[NETWORK_DEVICE] = share_new("device", percent(options->device_cpu));
  run->rig.shares[NETWORK_HOST] = share_new("host", percent(options->host_cpu));
  if (options->device_cpu && !share_limited(run->rig.shares[NETWORK_DEVICE]))
    g_printerr("doppel-rig: the device's processor is %s\n", share_about(run->rig.shares[NETWORK_DEVICE]));
  if (!control)
    control = g_build_filename(folder = g_dir_make_tmp("doppel-rig-XXXXXX", NULL), "control", NULL);
  int listener = listen_for_orders(control, error);
  if (listener >= 0) {
    run->loop = g_main_loop_new(NULL, FALSE);
    g_unix_fd_add(listener, G_IO_IN, on_order, run);
    g_unix_signal_add(SIGTERM, on_end_signal, run);
    g_unix_signal_add(SIGINT, on_end_signal, run);
    export_rig(&run->rig, control);
    done = run_commands(run, options, command, error);
    end_host(run);
    write_report(run, options->report);
    g_main_loop_unref(run->loop);
    close(listener);
    unlink(control);
  }
  if (folder)
    rmdir(folder);
  share_free(run->rig.shares[NETWORK_DEVICE]);
  share_free(run->rig.shares[NETWORK_HOST]);
  shaper_stop(run->rig.shaper);
  for (int side = 0; side < 2; side++)
    close(run->rig.network.namespaces[side]);
  return done;
}

int
verb_exec(int argc, char **argv)
{
  g_auto(Options) options = {0};
  GOptionEntry entries[] = {
      {"profile", 'p', 0, G_OPTION_ARG_STRING, &options.profile, "what the link is like (default wifi)",
       "NAME"},
      {"device-cpu", 0, 0, G_OPTION_ARG_STRING, &options.device_cpu,
       "the device's share of one processor, such as 10%", "PERCENT"},
      {"host-cpu", 0, 0, G_OPTION_ARG_STRING, &options.host_cpu, "the host's share of one processor",
       "PERCENT"},
      {"host-command", 0, 0, G_OPTION_ARG_STRING, &options.host_command,
       "shell command to run on the host meanwhile", "COMMAND"},
      {"host-port", 0, 0, G_OPTION_ARG_INT, &options.host_port, "wait until the host listens there", "PORT"},
      {"control", 0, 0, G_OPTION_ARG_FILENAME, &options.control, "where the control socket is made", "PATH"},
      {"report", 0, 0, G_OPTION_ARG_FILENAME, &options.report, "write what was measured, as JSON", "FILE"},
      {NULL}};
  g_autoptr(GOptionContext) context =
      g_option_context_new("-- COMMAND [ARGUMENT...] - run a command on the device");
  g_autoptr(GError) error = NULL;
  Run run = {0};
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_strict_posix(context, TRUE);
  g_option_context_set_description(context, "The device is 10.77.0.1, the host 10.77.0.2. Commands see "
                                            "RIG_CONTROL (for doppel-rig control), RIG_PROFILE,\n"
                                            "RIG_DEVICE_ADDRESS, RIG_HOST_ADDRESS, and RIG_DEVICE_NS, "
                                            "RIG_HOST_NS (for nsenter --net=). The exit status is\n"
                                            "the device command's.");
  gboolean good = g_option_context_parse(context, &argc, &argv, &error);
  if (good && argc > 1 && g_str_equal(argv[1], "--"))
    argc--, argv++;
  if (good && argc < 2)
    good = doppel_error_set(&error, DOPPEL_ERROR_USAGE,
                            "name a command to run on the device; exec --help says more");
  if (!good || !run_rig(&run, &options, argv + 1, &error)) {
    g_printerr("doppel-rig: %s\n", error->message);
    return 2;
  }
  if (WIFSIGNALED(run.status)) { /* this process ends in the same way */
    signal(WTERMSIG(run.status), SIG_DFL);
    raise(WTERMSIG(run.status));
    return 128 + WTERMSIG(run.status);
  }
  return WEXITSTATUS(run.status);
}
