/* What a TLS session ticket would save a link: processor time and bytes of a handshake with both keys proved,
 * as src/link does it, and of one that resumes. Both ends in this process, over memory. */
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Of src/link/tls.c. */
#define PRIORITY                                                                                             \
  "NONE:+VERS-TLS1.3:+GROUP-X25519:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:+AEAD:"                      \
  "+SIGN-EDDSA-ED25519:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK"

enum { ROUNDS = 2000, ROOM = 65536, PEER_CERTIFICATE_SIZE = 44 /* a raw Ed25519 key in DER */ };

typedef struct {
  char bytes[ROOM];
  size_t start, end;
} Pipe;

typedef struct {
  gnutls_session_t session;
  Pipe *in, *out;
} End;

typedef enum { TICKET_NONE, TICKET_GIVEN, TICKET_USED } Ticket;

static void
must(int result, const char *what)
{
  if (result >= 0)
    return;
  fprintf(stderr, "handshake: %s: %s\n", what, gnutls_strerror(result));
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
  size_t have = end->in->end - end->in->start;
  have = have < length ? have : length;
  if (have == 0) {
    gnutls_transport_set_errno(end->session, EAGAIN);
    return -1;
  }
  memcpy(data, end->in->bytes + end->in->start, have);
  end->in->start += have;
  return (ssize_t)have;
}

static gnutls_certificate_credentials_t
make_key(void)
{
  gnutls_certificate_credentials_t credentials;
  gnutls_privkey_t key;
  gnutls_pubkey_t half;
  gnutls_pcert_st shown;
  must(gnutls_certificate_allocate_credentials(&credentials), "credentials");
  must(gnutls_privkey_init(&key), "key");
  must(gnutls_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 256, 0), "key");
  must(gnutls_pubkey_init(&half), "key");
  must(gnutls_pubkey_import_privkey(half, key, GNUTLS_KEY_DIGITAL_SIGNATURE, 0), "key");
  must(gnutls_pcert_import_rawpk(&shown, half, 0), "raw key");
  must(gnutls_certificate_set_key(credentials, NULL, 0, &shown, 1, key), "raw key");
  return credentials;
}

static void
open_end(End *end, unsigned flags, gnutls_certificate_credentials_t key)
{
  must(gnutls_init(&end->session, flags | GNUTLS_NONBLOCK | GNUTLS_ENABLE_RAWPK), "session");
  must(gnutls_priority_set_direct(end->session, PRIORITY, NULL), "priority");
  must(gnutls_credentials_set(end->session, GNUTLS_CRD_CERTIFICATE, key), "credentials");
  gnutls_transport_set_ptr(end->session, end);
  gnutls_transport_set_push_function(end->session, push);
  gnutls_transport_set_pull_function(end->session, pull);
}

static void
shake(End *client, End *server)
{
  int left = GNUTLS_E_AGAIN, right = GNUTLS_E_AGAIN;
  while (left == GNUTLS_E_AGAIN || right == GNUTLS_E_AGAIN) {
    if (left == GNUTLS_E_AGAIN)
      left = gnutls_handshake(client->session);
    if (right == GNUTLS_E_AGAIN)
      right = gnutls_handshake(server->session);
  }
  must(left, "the client's handshake");
  must(right, "the server's handshake");
}

/* Whose key each end believes to talk to is known after a resumption, too: else it would not be an option. */
static void
check(const End *end, Ticket ticket)
{
  unsigned count = 0;
  const gnutls_datum_t *peer = gnutls_certificate_get_peers(end->session, &count);
  if (!peer || count != 1 || peer->size != PEER_CERTIFICATE_SIZE ||
      !gnutls_session_is_resumed(end->session) != (ticket != TICKET_USED)) {
    fprintf(stderr, "handshake: not the handshake that was to be measured\n");
    exit(1);
  }
}

typedef struct {
  gnutls_certificate_credentials_t client, server;
  gnutls_datum_t sealing; /* the server's key for tickets */
  gnutls_datum_t session; /* what the client keeps, with its ticket */
} Keys;

/* Bytes each way into *sent and *received, as the client sees it. */
static void
connect_once(Keys *keys, Ticket ticket, size_t *sent, size_t *received)
{
  static Pipe there, back;
  unsigned tickets = ticket == TICKET_NONE ? GNUTLS_NO_TICKETS : 0;
  End client = {.in = &back, .out = &there}, server = {.in = &there, .out = &back};
  char byte;
  there.start = there.end = back.start = back.end = 0;
  open_end(&client, GNUTLS_CLIENT | tickets, keys->client);
  open_end(&server, GNUTLS_SERVER | tickets | GNUTLS_NO_AUTO_SEND_TICKET, keys->server);
  gnutls_certificate_server_set_request(server.session, GNUTLS_CERT_REQUIRE);
  if (ticket != TICKET_NONE)
    must(gnutls_session_ticket_enable_server(server.session, &keys->sealing), "tickets");
  if (ticket == TICKET_USED)
    must(gnutls_session_set_data(client.session, keys->session.data, keys->session.size), "ticket");
  shake(&client, &server);
  check(&client, ticket);
  check(&server, ticket);
  if (ticket == TICKET_GIVEN) {
    must(gnutls_session_ticket_send(server.session, 1, 0), "sending a ticket");
    gnutls_record_recv(client.session, &byte, 1);
    gnutls_free(keys->session.data);
    must(gnutls_session_get_data2(client.session, &keys->session), "keeping a ticket");
  }
  *sent = there.end;
  *received = back.end;
  gnutls_deinit(client.session);
  gnutls_deinit(server.session);
}

static double
processor_us(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

int
main(void)
{
  static const char *const names[] = {"without tickets", "gives a ticket", "resumes"};
  Keys keys = {make_key(), make_key(), {0}, {0}};
  must(gnutls_session_ticket_key_generate(&keys.sealing), "tickets");
  printf("%-16s %14s %6s %10s\n", "handshake", "us, both ends", "sent", "received");
  for (Ticket ticket = TICKET_NONE; ticket <= TICKET_USED; ticket++) {
    size_t sent = 0, received = 0;
    double before = processor_us();
    for (int i = 0; i < ROUNDS; i++)
      connect_once(&keys, ticket, &sent, &received);
    printf("%-16s %14.1f %6zu %10zu\n", names[ticket], (processor_us() - before) / ROUNDS, sent, received);
  }
  gnutls_free(keys.sealing.data);
  gnutls_free(keys.session.data);
  gnutls_certificate_free_credentials(keys.client);
  gnutls_certificate_free_credentials(keys.server);
  return 0;
}
