#include "host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "daemon/daemon.h"
#include "link/state.h"
#include "world.h"

/* Keeps pages, and does not end before it is killed. */
static void
keep_for_ever(const AugmenterSession *session)
{
  g_autofree char *file = g_build_filename(session->pages, "pages", NULL);
  for (signal(SIGTERM, SIG_IGN);; g_usleep(2000)) {
    g_mkdir_with_parents(session->pages, 0700);
    g_file_set_contents(file, "memory", -1, NULL);
  }
}

/* The session's side of the tests: sends everything back; "die" makes it die, "keep" keep pages for ever. */
static int
echo_session(Link *link, const AugmenterSession *session)
{
  int control_fd = session->control_fd;
  for (;;) {
    struct pollfd fds[LINK_POLL_MAX + 1];
    int timeout_ms = -1, fd;
    guint count = link_prepare(link, fds, &timeout_ms);
    fds[count] = (struct pollfd){.fd = control_fd, .events = POLLIN};
    poll(fds, count + 1, timeout_ms);
    int got = 0;
    while (fds[count].revents && (got = session_receive_socket(session, &fd)) > 0)
      link_resume(link, fd, NULL);
    if (got < 0)
      control_fd = -1;
    gboolean alive = link_work(link, NULL);
    LinkMessage *message;
    for (; (message = link_take(link)); link_message_free(message)) {
      if (message->length == 3 && memcmp(message->data, "die", 3) == 0)
        raise(SIGKILL);
      if (message->length == 4 && memcmp(message->data, "keep", 4) == 0)
        keep_for_ever(session);
      link_send(link, message->channel, &(struct iovec){(void *)message->data, message->length}, 1, NULL);
    }
    if (!alive)
      return 0;
  }
}

void
host_start(Host *host)
{
  fflush(NULL);
  daemon_state_rest(host->state);
  host->pid = fork();
  if (host->pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that fails leaves nothing behind */
    g_autofree char *state = g_strconcat("--state=", host->directory, NULL);
    const char *arguments[] = {"doppeld", "serve", "--root=/", "--listen=127.0.0.1:0", state, NULL};
    if (!g_getenv("DOPPELD_LOG"))
      g_assert_nonnull(freopen("/dev/null", "w", stderr));
    _exit(daemon_main(5, (char **)arguments, echo_session));
  }
  char **listening;
  while (!(listening = daemon_state_listening(host->state, NULL)))
    g_usleep(5000);
  host->address = g_strdup(listening[0]);
  host->port = atoi(strrchr(host->address, ':') + 1);
  g_strfreev(listening);
}

void
host_stop(Host *host)
{
  int status;
  kill(host->pid, SIGTERM);
  g_assert_cmpint(waitpid(host->pid, &status, 0), ==, host->pid);
  g_assert_cmpint(status, ==, 0);
}

Host *
host_new(void)
{
  Host *host = g_new0(Host, 1);
  g_autoptr(GError) error = NULL;
  host->directory = g_dir_make_tmp("doppeld-XXXXXX", NULL);
  host->state = daemon_state_open(host->directory, &error);
  g_assert_no_error(error);
  host->host_key = daemon_state_host_key(host->state, &error);
  g_assert_no_error(error);
  host->device_key = identity_key_generate();
  host_start(host);
  return host;
}

void
host_free(Host *host)
{
  host_stop(host);
  daemon_state_close(host->state);
  identity_key_free(host->host_key);
  identity_key_free(host->device_key);
  g_autofree char *remove = g_strdup_printf("rm -rf '%s'", host->directory);
  g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL);
  g_free(host->directory);
  g_free(host->address);
  g_free(host);
}
/* An invitation that is good for `seconds` from now. */
Invitation *
host_invite(Host *host, int seconds)
{
  g_autoptr(GError) error = NULL;
  const char *addresses[] = {host->address, NULL};
  Invitation *invitation = invitation_new(identity_key_public(host->host_key), addresses,
                                          g_get_real_time() / G_USEC_PER_SEC + seconds, &error);
  g_assert_no_error(error);
  g_assert_true(daemon_state_invite(host->state, invitation, &error));
  return invitation;
}

PairedClone *
host_pair(Host *host)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Invitation) invitation = host_invite(host, 60);
  PairedClone *clone = link_pair(invitation, host->device_key, "test", &error);
  g_assert_no_error(error);
  return clone;
}

Link *
host_dial(const PairedClone *clone, const IdentityKey *device, GError **error)
{
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.connect_ms = 30000;
  options.resume_ms = 2000;
  return link_dial((const char *const *)clone->addresses, device, &clone->key, clone->id, &options, error);
}

void
host_assert_echo(Link *link, gsize length)
{
  g_autoptr(GError) error = NULL;
  world_send(link, 5, length);
  LinkMessage *message;
  gint64 deadline = clock_now_ns() + WORLD_PATIENCE_MS * G_GINT64_CONSTANT(1000000);
  while (!(message = link_take(link))) {
    g_assert_cmpint(clock_now_ns(), <, deadline);
    g_assert_true(link_wait(link, 100, &error));
    link_work(link, &error);
    g_assert_no_error(error);
  }
  world_check(message, 5, length);
  link_message_free(message);
}

void
host_assert_ends(Link *link)
{
  g_autoptr(GError) error = NULL;
  gint64 deadline = clock_now_ns() + WORLD_PATIENCE_MS * G_GINT64_CONSTANT(1000000);
  while (link_state(link) != LINK_DEAD) {
    g_assert_cmpint(clock_now_ns(), <, deadline);
    link_wait(link, 100, NULL);
    link_work(link, NULL);
  }
  g_assert_false(link_work(link, &error));
  /* DENIED where a connection anew was refused first. */
  g_assert_true(g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE) ||
                g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED));
}
