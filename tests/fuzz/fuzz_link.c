/* What a peer sends inside TLS, from its greeting on: the first byte says which end we are. No TLS here: a
 * peer that is through the handshake can send any bytes. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/state.h"

#define NOW 1000000

static Link *
some_link(gboolean dials)
{
  static IdentityKey *key;
  if (!key)
    key = identity_key_generate();
  LinkPreamble preamble = {{1}, {2}};
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = 0;
  Link *link = link_accept_later(&preamble, key, NULL, &options, NULL);
  link->dials = dials;
  link->early = dials;
  /* Something to acknowledge. */
  for (int i = 0; i < 3; i++)
    link_outbox_add(&link->outbox, WIRE_DATA, 1, &(struct iovec){(void *)"abc", 3}, 1, 3);
  return link;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  int ends[2];
  if (length < 1 || length > 60000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0)
    return 0;
  gboolean dials = data[0] & 1;
  g_autoptr(Link) link = some_link(dials);
  LinkConnection *connection = link_connection_local(ends[0]);
  connection->server = !dials;
  connection->stage = LINK_CONNECTION_GREETING;
  connection->deadline = G_MAXINT64;
  if (send(ends[1], data + 1, length - 1, MSG_NOSIGNAL) != (ssize_t)length - 1) {
    link_connection_free(connection);
    close(ends[1]);
    return 0;
  }
  shutdown(ends[1], SHUT_WR);

  if (dials) {
    link->connection = connection;
    link_transmit(link);
  } else {
    WireFrame frame;
    g_autoptr(LinkMessage) greeting = NULL;
    link_connection_fill(connection);
    if (link_connection_next(connection, &frame, &greeting, NULL) <= 0 ||
        !link_greeted(link, connection, &frame, greeting, NOW, NULL))
      link_connection_free(connection);
  }
  for (int i = 0; i < 3 && link->connection; i++) {
    link_receive(link, NOW);
    link_transmit(link);
  }
  guint64 taken = 0;
  for (LinkMessage *message; (message = link_take(link)); link_message_free(message))
    taken++;
  if (taken != link->counters.messages_received || taken != link->received ||
      link->outbox.acknowledged > link->outbox.written)
    __builtin_trap();
  close(ends[1]);
  return 0;
}
