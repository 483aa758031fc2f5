#include "agent/agent_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent_place.h"
#include "base/clock.h"
#include "base/error.h"

#define TELL_MS 2000
#define STOP_MS 15000

struct AgentClient {
  Fd fd;
  gboolean dead;
};

AgentClient *
agent_client_new(void)
{
  int fd = agent_place_connect();
  if (fd < 0)
    return NULL;
  AgentClient *client = g_new0(AgentClient, 1);
  client->fd = fd;
  return client;
}

void
agent_client_free(AgentClient *client)
{
  if (!client)
    return;
  io_close(&client->fd);
  g_free(client);
}

/* Sends all bytes, or receives them, until `deadline`. */
static gboolean
move_all(AgentClient *client, gboolean out, guint8 *bytes, gsize length, gint64 deadline)
{
  while (length > 0 && !client->dead) {
    struct pollfd wait = {.fd = client->fd, .events = out ? POLLOUT : POLLIN};
    int ready = poll(&wait, 1, clock_left_ms(deadline));
    if (ready < 0 && errno == EINTR)
      continue;
    ssize_t moved = ready <= 0 ? 0
                    : out      ? send(client->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL)
                               : recv(client->fd, bytes, length, MSG_DONTWAIT);
    client->dead = moved == 0 || (moved < 0 && errno != EAGAIN && errno != EINTR);
    if (moved > 0) {
      bytes += moved;
      length -= (gsize)moved;
    }
  }
  return !client->dead;
}

static gint64
deadline_in(int timeout_ms)
{
  return clock_now_ns() + timeout_ms * G_GINT64_CONSTANT(1000000);
}

gboolean
agent_client_stop(GError **error)
{
  pid_t process;
  g_autoptr(AgentClient) client = agent_client_new();
  guint8 nothing;
  if (!client || !agent_place_is_own(client->fd, &process))
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "no agent of this user's runs");
  if (kill(process, SIGTERM) < 0)
    return doppel_error_errno(error, "the agent, process %d, cannot be ended", process);
  /* It says nothing unasked: what comes is the connection's end, or the end of patience. */
  gint64 deadline = deadline_in(STOP_MS);
  move_all(client, FALSE, &nothing, 1, deadline);
  return clock_left_ms(deadline) > 0 ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "the agent, process %d, does not end", process);
}

gboolean
agent_client_tell(AgentClient *client, const AgentMessage *message)
{
  g_autoptr(GByteArray) bytes = agent_message_pack(message);
  return move_all(client, TRUE, bytes->data, bytes->len, deadline_in(TELL_MS));
}

AgentMessage *
agent_client_ask(AgentClient *client, const AgentMessage *message, Doppel__Agent__Message__KindCase kind,
                 int timeout_ms)
{
  guint8 head[AGENT_LENGTH];
  gsize length;
  gint64 deadline = deadline_in(timeout_ms);
  if (!agent_client_tell(client, message) || !move_all(client, FALSE, head, sizeof head, deadline))
    return NULL;
  client->dead = !agent_message_length(head, &length, NULL);
  g_autofree guint8 *bytes = client->dead ? NULL : g_malloc(MAX(length, 1));
  if (!bytes || !move_all(client, FALSE, bytes, length, deadline))
    return NULL;
  g_autoptr(AgentMessage) answer = agent_message_unpack(bytes, length, NULL);
  client->dead = !answer || answer->kind_case != kind;
  return client->dead ? NULL : g_steal_pointer(&answer);
}
