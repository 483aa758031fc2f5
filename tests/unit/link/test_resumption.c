/* Connections of one link resume its TLS session; whatever else offers a ticket shakes hands in full. */
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "link/state.h"
#include "world.h"

enum { BLOB_MAX = 4096, SHOWN = 24, NAMED = 76 /* bytes of a client's hello up to its ciphers */ };

/* ---- links */

static gboolean
is_away(World *world)
{
  return link_state(world->device) == LINK_AWAY && link_state(world->host) == LINK_AWAY;
}

static gboolean
device_is_dead(World *world)
{
  return world->device_error != NULL;
}

static gboolean
device_was_denied(World *world)
{
  return g_error_matches(link_dialler_failure(world->device->dialler), DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
}

static void
assert_resumed(World *world, gboolean resumed)
{
  gnutls_session_t ends[] = {world->device->connection->tls, world->host->connection->tls};
  for (gsize i = 0; i < G_N_ELEMENTS(ends); i++)
    g_assert_cmpint(gnutls_session_is_resumed(ends[i]) != 0, ==, resumed);
  g_assert_true(identity_public_equal(link_peer(world->host), identity_key_public(world->device_key)));
  g_assert_true(identity_public_equal(link_peer(world->device), identity_key_public(world->clone_key)));
}

static void
exchange(World *world)
{
  world_send(world->device, 1, 3000);
  world_send(world->host, 2, 400);
  g_autoptr(LinkMessage) at_host = world_receive(world, world->host);
  g_autoptr(LinkMessage) at_device = world_receive(world, world->device);
  world_check(at_host, 1, 3000);
  world_check(at_device, 2, 400);
}

static void
come_back(World *world, Proxy *proxy)
{
  proxy_cut(proxy);
  world_until(world, is_away, WORLD_PATIENCE_MS);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
}

static void
test_resumes(void)
{
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  assert_resumed(world, FALSE);
  for (int round = 0; round < 40; round++) {
    exchange(world);
    come_back(world, proxy);
    assert_resumed(world, TRUE);
  }
  exchange(world);
  g_assert_cmpuint(link_counters(world->device)->reconnects, ==, 40);
  proxy_free(world, proxy);
}

/* What arrives behind a ticket, in the same piece, is taken at once: no socket tells of it again. */
static void
test_behind_ticket(void)
{
  g_autoptr(World) world = world_new();
  world_dial(world, NULL);
  while (!world->host || link_state(world->host) != LINK_UP)
    world_step(world, 50);
  world_send(world->host, 1, 400);
  for (int under_way = 1; under_way > 0; g_usleep(1000))
    g_assert_cmpint(ioctl(world->host->connection->fd, SIOCOUTQ, &under_way), ==, 0);
  g_assert_cmpint(link_state(world->device), ==, LINK_AWAY);
  link_work(world->device, &world->device_error);
  g_assert_no_error(world->device_error);
  g_assert_cmpint(link_state(world->device), ==, LINK_UP);
  guint flags = gnutls_session_get_flags(world->device->connection->tls);
  g_assert_cmpuint(flags & GNUTLS_SFLAGS_SESSION_TICKET, !=, 0);
  g_autoptr(LinkMessage) message = link_take(world->device);
  g_assert_nonnull(message);
  world_check(message, 1, 400);
}

/* A device that resumes nothing has nothing to keep. */
static void
test_no_ticket(void)
{
  g_autoptr(World) world = world_new();
  world->options.resume_ms = 0;
  world_dial(world, NULL);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  exchange(world);
  guint flags = gnutls_session_get_flags(world->device->connection->tls);
  g_assert_cmpuint(flags & GNUTLS_SFLAGS_SESSION_TICKET, ==, 0);
}

/* The host's place is taken by one with another key while the device is away. */
static void
test_impostor(void)
{
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  exchange(world);
  come_back(world, proxy);
  proxy_cut(proxy);
  link_free(g_steal_pointer(&world->host));
  g_autoptr(IdentityKey) right = g_steal_pointer(&world->clone_key);
  world->clone_key = identity_key_generate();
  world_send(world->device, 1, 100);
  world_until(world, device_was_denied, WORLD_PATIENCE_MS);
  world->device->options.resume_ms = 1;
  world_until(world, device_is_dead, WORLD_PATIENCE_MS);
  g_assert_error(world->device_error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_assert_nonnull(strstr(world->device_error->message, "another key"));
  g_assert_null(link_take(world->host));
  proxy_free(world, proxy);
}

/* The host has lost the session, and with it the key that sealed its ticket: the handshake succeeds in full,
 * and it is the greeting that says so. */
static void
test_host_forgot(void)
{
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  proxy_cut(proxy);
  link_free(g_steal_pointer(&world->host));
  world_until(world, device_is_dead, WORLD_PATIENCE_MS);
  g_assert_error(world->device_error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  proxy_free(world, proxy);
}

/* Recorded bytes of a connection that resumed are worth no more than others. */
static void
test_replay(void)
{
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  proxy->tape = g_byte_array_new();
  world_send(world->device, 1, 3000);
  come_back(world, proxy);
  assert_resumed(world, TRUE);
  exchange(world);
  g_autoptr(LinkMessage) late = link_take(world->host);
  guint64 before = link_counters(world->host)->messages_received;
  gsize start = 0;
  while (memcmp(proxy->tape->data + start, "doppel", 6) != 0 &&
         start + WIRE_PREAMBLE_LENGTH < proxy->tape->len)
    start++;
  int fd = world_connect(world->port);
  ssize_t length = proxy->tape->len - start;
  g_assert_cmpint(send(fd, proxy->tape->data + start, length, 0), ==, length);
  for (int i = 0; i < 20; i++)
    world_step(world, 5);
  g_assert_cmpuint(link_counters(world->host)->messages_received, ==, before);
  g_assert_cmpint(link_state(world->device), ==, LINK_UP);
  g_assert_cmpint(link_state(world->host), ==, LINK_UP);
  close(fd);
  exchange(world);
  proxy_free(world, proxy);
}

/* ---- TLS alone: two ends over memory, with what links do not let happen */

typedef struct {
  gnutls_session_t session;
  GByteArray *in, *out;
  guint at; /* read so far */
} End;

static ssize_t
push(gnutls_transport_ptr_t transport, const void *data, size_t length)
{
  g_byte_array_append(((End *)transport)->out, data, length);
  return length;
}

static ssize_t
pull(gnutls_transport_ptr_t transport, void *data, size_t length)
{
  End *end = transport;
  gsize have = MIN(length, end->in->len - end->at);
  if (have == 0) {
    gnutls_transport_set_errno(end->session, EAGAIN);
    return -1;
  }
  memcpy(data, end->in->data + end->at, have);
  end->at += have;
  return have;
}

typedef struct {
  End client, server;
  int results[2];
} Both;

static void
open_end(End *end, LinkTls *tls, gboolean server, GByteArray *in, GByteArray *out)
{
  *end = (End){.session = link_tls_open(tls, server, NULL), .in = in, .out = out};
  g_assert_nonnull(end->session);
  gnutls_transport_set_ptr(end->session, end);
  gnutls_transport_set_push_function(end->session, push);
  gnutls_transport_set_pull_function(end->session, pull);
}

static Both *
both_new(LinkTls *client, LinkTls *server)
{
  Both *both = g_new0(Both, 1);
  GByteArray *there = g_byte_array_new(), *back = g_byte_array_new();
  open_end(&both->client, client, FALSE, back, there);
  open_end(&both->server, server, TRUE, there, back);
  return both;
}

static void
both_free(Both *both)
{
  gnutls_deinit(both->client.session);
  gnutls_deinit(both->server.session);
  g_byte_array_unref(both->client.in);
  g_byte_array_unref(both->client.out);
  g_free(both);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Both, both_free)

/* TRUE where both ends call it a success, the keys not looked at. */
static gboolean
shake(Both *both)
{
  both->results[0] = both->results[1] = GNUTLS_E_AGAIN;
  for (int i = 0; i < 8; i++) {
    if (both->results[0] == GNUTLS_E_AGAIN)
      both->results[0] = gnutls_handshake(both->client.session);
    if (both->results[1] == GNUTLS_E_AGAIN)
      both->results[1] = gnutls_handshake(both->server.session);
  }
  return both->results[0] == 0 && both->results[1] == 0;
}

static gboolean
resumed(const Both *both)
{
  gboolean client = gnutls_session_is_resumed(both->client.session) != 0;
  g_assert_cmpint(gnutls_session_is_resumed(both->server.session) != 0, ==, client);
  return client;
}

/* After a full handshake: the server gives a ticket and the client keeps it. */
static void
hand_over(Both *both)
{
  guint8 byte;
  g_assert_true(link_tls_give_ticket(both->server.session, NULL));
  g_assert_cmpint(gnutls_record_recv(both->client.session, &byte, 1), ==, GNUTLS_E_AGAIN);
  link_tls_keep(both->client.session);
}

typedef struct {
  IdentityKey *device, *host, *other;
} Keys;

static Keys *
keys_new(void)
{
  Keys *keys = g_new0(Keys, 1);
  keys->device = identity_key_generate();
  keys->host = identity_key_generate();
  keys->other = identity_key_generate();
  return keys;
}

static void
keys_free(Keys *keys)
{
  identity_key_free(keys->device);
  identity_key_free(keys->host);
  identity_key_free(keys->other);
  g_free(keys);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Keys, keys_free)

static LinkTls *
tls_of(const IdentityKey *own, const IdentityKey *peer)
{
  LinkTls *tls = link_tls_new(own, identity_key_public(peer), NULL);
  g_assert_nonnull(tls);
  return tls;
}

/* A ticket of `client` from `server`. */
static void
fetch_ticket(LinkTls *client, LinkTls *server)
{
  g_autoptr(Both) both = both_new(client, server);
  g_assert_true(shake(both));
  g_assert_false(resumed(both));
  hand_over(both);
}

static void
assert_peers(const Both *both, const IdentityKey *device, const IdentityKey *host)
{
  IdentityPublic seen;
  g_assert_true(link_tls_peer(both->client.session, &seen));
  g_assert_true(identity_public_equal(&seen, identity_key_public(host)));
  g_assert_true(link_tls_peer(both->server.session, &seen));
  g_assert_true(identity_public_equal(&seen, identity_key_public(device)));
}

/* Both ends know whom they talk to after a resumption, too; and its keys come from a Diffie-Hellman exchange
 * of its own (a key share of X25519 in the server's hello), so that what was recorded stays secret when a
 * ticket becomes known. */
static void
test_both_see_keys(void)
{
  static const guint8 share[] = {0x00, 0x33, 0x00, 0x24, 0x00, 0x1d, 0x00, 0x20};
  g_autoptr(Keys) keys = keys_new();
  g_autoptr(LinkTls) client = tls_of(keys->device, keys->host);
  g_autoptr(LinkTls) server = tls_of(keys->host, keys->device);
  fetch_ticket(client, server);
  g_autoptr(Both) both = both_new(client, server);
  g_assert_true(shake(both));
  g_assert_true(resumed(both));
  assert_peers(both, keys->device, keys->host);
  g_assert_nonnull(memmem(both->server.out->data, both->server.out->len, share, sizeof share));
}

/* Same keys, another link: its ticket opens nothing here. */
static void
test_other_link(void)
{
  g_autoptr(Keys) keys = keys_new();
  g_autoptr(LinkTls) client = tls_of(keys->device, keys->host);
  g_autoptr(LinkTls) server = tls_of(keys->host, keys->device);
  g_autoptr(LinkTls) elsewhere = tls_of(keys->host, keys->device);
  fetch_ticket(client, elsewhere);
  g_autoptr(Both) both = both_new(client, server);
  g_assert_true(shake(both));
  g_assert_false(resumed(both));
  assert_peers(both, keys->device, keys->host);
}

/* Another device, paired with the same host, comes with the ticket of its own link. */
static void
test_other_device(void)
{
  g_autoptr(Keys) keys = keys_new();
  g_autoptr(LinkTls) other = tls_of(keys->other, keys->host);
  g_autoptr(LinkTls) server = tls_of(keys->host, keys->device);
  g_autoptr(LinkTls) its_own = tls_of(keys->host, keys->other);
  fetch_ticket(other, its_own);
  g_autoptr(Both) both = both_new(other, server);
  g_assert_false(shake(both));
  g_assert_cmpint(both->results[1], ==, GNUTLS_E_CERTIFICATE_ERROR);
}

static gsize
take_session(Both *both, guint8 *blob)
{
  gsize length = BLOB_MAX;
  guint8 byte;
  g_assert_true(link_tls_give_ticket(both->server.session, NULL));
  g_assert_cmpint(gnutls_record_recv(both->client.session, &byte, 1), ==, GNUTLS_E_AGAIN);
  g_assert_cmpint(gnutls_session_get_data(both->client.session, blob, &length), ==, 0);
  return length;
}

/* GnuTLS resumes without looking at keys: each end has to, from what the session holds. Here the client has a
 * session of a host that it does not want, the server is given the key of a link with another device. */
static void
test_pins_after_resumption(void)
{
  g_autoptr(Keys) keys = keys_new();
  g_autoptr(LinkTls) client = tls_of(keys->device, keys->host);
  g_autoptr(LinkTls) server = tls_of(keys->host, keys->device);
  g_autoptr(LinkTls) client_elsewhere = tls_of(keys->device, keys->other);
  g_autoptr(LinkTls) server_elsewhere = tls_of(keys->host, keys->other);
  gnutls_datum_t sealing;
  guint8 blob[BLOB_MAX];
  IdentityPublic seen;
  g_assert_cmpint(gnutls_session_ticket_key_generate(&sealing), ==, 0);
  g_autoptr(Both) first = both_new(client, server);
  gnutls_session_ticket_enable_server(first->server.session, &sealing);
  g_assert_true(shake(first));
  gsize length = take_session(first, blob);
  g_autoptr(Both) second = both_new(client_elsewhere, server_elsewhere);
  gnutls_session_ticket_enable_server(second->server.session, &sealing);
  g_assert_cmpint(gnutls_session_set_data(second->client.session, blob, length), ==, 0);
  g_assert_true(shake(second));
  g_assert_true(resumed(second));
  g_assert_false(link_tls_peer(second->client.session, &seen));
  g_assert_true(identity_public_equal(&seen, identity_key_public(keys->host)));
  g_assert_false(link_tls_peer(second->server.session, &seen));
  g_assert_true(identity_public_equal(&seen, identity_key_public(keys->device)));
  gnutls_free(sealing.data);
}

/* A ticket with one bit changed, here and there: a full handshake with the right keys. */
static void
test_altered(void)
{
  g_autoptr(Keys) keys = keys_new();
  g_autoptr(LinkTls) client = tls_of(keys->device, keys->host);
  g_autoptr(LinkTls) server = tls_of(keys->host, keys->device);
  guint8 blob[BLOB_MAX], altered[BLOB_MAX];
  g_autoptr(Both) first = both_new(client, server);
  g_assert_true(shake(first));
  gsize length = take_session(first, blob);
  g_autoptr(Both) shown = both_new(client, server);
  g_assert_cmpint(gnutls_session_set_data(shown->client.session, blob, length), ==, 0);
  gnutls_handshake(shown->client.session);
  guint full = 0;
  for (gsize at = 0; at + SHOWN <= length; at += SHOWN) {
    /* Behind the session's name, the ticket is what the client shows of all that it keeps. */
    if (!memmem(shown->client.out->data + NAMED, shown->client.out->len - NAMED, blob + at, SHOWN))
      continue;
    memcpy(altered, blob, length);
    altered[at + SHOWN / 2] ^= 0x20;
    g_autoptr(Both) both = both_new(client, server);
    g_assert_cmpint(gnutls_session_set_data(both->client.session, altered, length), ==, 0);
    g_assert_true(shake(both));
    g_assert_false(resumed(both));
    assert_peers(both, keys->device, keys->host);
    full++;
  }
  g_assert_cmpuint(full, >, 5);
}

static time_t later;

static time_t
shifted_time(time_t *out)
{
  time_t now = time(NULL) + later;
  if (out)
    *out = now;
  return now;
}

static void
test_expired(void)
{
  g_autoptr(Keys) keys = keys_new();
  g_autoptr(LinkTls) client = tls_of(keys->device, keys->host);
  g_autoptr(LinkTls) server = tls_of(keys->host, keys->device);
  static const struct {
    time_t later;
    gboolean resumed;
  } cases[] = {{0, TRUE}, {1800, TRUE}, {3700, FALSE}, {100 * 3600, FALSE}};
  gnutls_global_set_time_function(shifted_time);
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
    later = 0;
    g_autoptr(LinkTls) fresh = tls_of(keys->device, keys->host);
    fetch_ticket(fresh, server);
    later = cases[i].later;
    g_autoptr(Both) both = both_new(fresh, server);
    g_assert_true(shake(both));
    g_assert_cmpint(resumed(both), ==, cases[i].resumed);
    assert_peers(both, keys->device, keys->host);
    if (!cases[i].resumed) {
      /* And from then on with a ticket of its own. */
      hand_over(both);
      g_autoptr(Both) next = both_new(fresh, server);
      g_assert_true(shake(next));
      g_assert_true(resumed(next));
    }
  }
  later = 0;
  gnutls_global_set_time_function(time);
}

/* Who pairs has no tickets, and gives none. */
static void
test_pairing(void)
{
  g_autoptr(Keys) keys = keys_new();
  g_autoptr(LinkTls) client = tls_of(keys->device, keys->host);
  g_autoptr(LinkTls) server = link_tls_new(keys->host, NULL, NULL);
  for (int round = 0; round < 2; round++) {
    g_autoptr(Both) both = both_new(client, server);
    g_assert_true(shake(both));
    g_assert_false(resumed(both));
    hand_over(both);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/link/resumption/resumes", test_resumes);
  g_test_add_func("/link/resumption/behind-ticket", test_behind_ticket);
  g_test_add_func("/link/resumption/no-ticket", test_no_ticket);
  g_test_add_func("/link/resumption/impostor", test_impostor);
  g_test_add_func("/link/resumption/host-forgot", test_host_forgot);
  g_test_add_func("/link/resumption/replay", test_replay);
  g_test_add_func("/link/resumption/both-see-keys", test_both_see_keys);
  g_test_add_func("/link/resumption/other-link", test_other_link);
  g_test_add_func("/link/resumption/other-device", test_other_device);
  g_test_add_func("/link/resumption/pins", test_pins_after_resumption);
  g_test_add_func("/link/resumption/altered", test_altered);
  g_test_add_func("/link/resumption/expired", test_expired);
  g_test_add_func("/link/resumption/pairing", test_pairing);
  return g_test_run();
}
