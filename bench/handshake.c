/* What a handshake costs each end of a link, processor time and bytes: in full, in full with a ticket, and
 * resuming (docs/decisions/0001-gnutls-directly.md). The TLS is the link's own; both ends are in this
 * process, over memory, and no socket is counted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "link/tls.h"

enum { ROUNDS = 2000, ROOM = 65536 };

typedef struct {
  char bytes[ROOM];
  gsize start, end;
} Pipe;

typedef struct {
  LinkTls *tls;
  gnutls_session_t session;
  Pipe *in, *out;
  double us;
} End;

typedef enum { TICKET_NONE, TICKET_GIVEN, TICKET_USED } Ticket;

static void
must(gboolean good, const char *what)
{
  if (good)
    return;
  fprintf(stderr, "handshake: %s failed\n", what);
  exit(1);
}

static ssize_t
push(gnutls_transport_ptr_t transport, const void *data, size_t length)
{
  Pipe *out = ((End *)transport)->out;
  if (length > ROOM - out->end)
    return -1;
  memcpy(out->bytes + out->end, data, length);
  out->end += length;
  return (ssize_t)length;
}

static ssize_t
pull(gnutls_transport_ptr_t transport, void *data, size_t length)
{
  End *end = transport;
  gsize have = MIN(end->in->end - end->in->start, length);
  if (have == 0) {
    gnutls_transport_set_errno(end->session, EAGAIN);
    return -1;
  }
  memcpy(data, end->in->bytes + end->in->start, have);
  end->in->start += have;
  return (ssize_t)have;
}

static double
processor_us(void)
{
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void
open_end(End *end, gboolean server)
{
  double before = processor_us();
  end->session = link_tls_open(end->tls, server, NULL);
  must(end->session != NULL, "a session");
  gnutls_transport_set_ptr(end->session, end);
  gnutls_transport_set_push_function(end->session, push);
  gnutls_transport_set_pull_function(end->session, pull);
  end->us += processor_us() - before;
}

static int
step(End *end)
{
  IdentityPublic peer;
  double before = processor_us();
  int result = gnutls_handshake(end->session);
  must(result == GNUTLS_E_AGAIN || (result == 0 && link_tls_peer(end->session, &peer)), "a handshake");
  end->us += processor_us() - before;
  return result;
}

static void
shake(End *client, End *server)
{
  int left = GNUTLS_E_AGAIN, right = GNUTLS_E_AGAIN;
  while (left == GNUTLS_E_AGAIN || right == GNUTLS_E_AGAIN) {
    if (left == GNUTLS_E_AGAIN)
      left = step(client);
    if (right == GNUTLS_E_AGAIN)
      right = step(server);
  }
}

static void
hand_over(End *client, End *server)
{
  char byte;
  double before = processor_us();
  must(link_tls_give_ticket(server->session, NULL), "a ticket");
  double between = processor_us();
  server->us += between - before;
  must(gnutls_record_recv(client->session, &byte, 1) == GNUTLS_E_AGAIN, "taking a ticket");
  link_tls_keep(client->session);
  client->us += processor_us() - between;
}

static void
close_end(End *end)
{
  double before = processor_us();
  gnutls_deinit(end->session);
  end->us += processor_us() - before;
}

/* Bytes each way into *sent and *received, as the client sees it. */
static void
connect_once(End *client, End *server, Ticket ticket, gsize *sent, gsize *received)
{
  static Pipe there, back;
  there.start = there.end = back.start = back.end = 0;
  client->in = server->out = &back;
  client->out = server->in = &there;
  open_end(client, FALSE);
  open_end(server, TRUE);
  shake(client, server);
  must(!gnutls_session_is_resumed(client->session) == (ticket != TICKET_USED) &&
           !gnutls_session_is_resumed(server->session) == (ticket != TICKET_USED),
       "the kind of handshake that was to be measured");
  if (ticket == TICKET_GIVEN)
    hand_over(client, server);
  *sent = there.end;
  *received = back.end;
  close_end(client);
  close_end(server);
}

static void
measure(const char *name, IdentityKey *const keys[2], Ticket ticket)
{
  End client = {0}, server = {0};
  gsize sent = 0, received = 0;
  for (int i = 0; i < ROUNDS; i++) {
    if (i == 0 || ticket == TICKET_GIVEN) {
      link_tls_free(client.tls);
      link_tls_free(server.tls);
      client.tls = link_tls_new(keys[0], identity_key_public(keys[1]), NULL);
      server.tls = link_tls_new(keys[1], identity_key_public(keys[0]), NULL);
      must(client.tls && server.tls, "TLS");
    }
    if (i == 0 && ticket == TICKET_USED) {
      connect_once(&client, &server, TICKET_GIVEN, &sent, &received);
      client.us = server.us = 0;
    }
    connect_once(&client, &server, ticket, &sent, &received);
  }
  printf("%-16s %10.1f %10.1f %10zu %10zu\n", name, client.us / ROUNDS, server.us / ROUNDS, sent, received);
  link_tls_free(client.tls);
  link_tls_free(server.tls);
}

int
main(void)
{
  static const char *const names[] = {"in full", "gives a ticket", "resumes"};
  IdentityKey *keys[2] = {identity_key_generate(), identity_key_generate()};
  printf("%-16s %10s %10s %10s %10s\n", "handshake", "device us", "clone us", "sent", "received");
  for (Ticket ticket = TICKET_NONE; ticket <= TICKET_USED; ticket++)
    measure(names[ticket], keys, ticket);
  identity_key_free(keys[0]);
  identity_key_free(keys[1]);
  return 0;
}
