/* doppeld as a whole, with a session that echoes: pairing, sessions, re-connections, and those who would
 * disturb them. */
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
#include "daemon/state.h"
#include "host.h"
#include "link/pair.h"
#include "link/state.h"
#include "world.h"

static void
test_pair(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_assert_cmpstr(clone->name, ==, "test");
  g_assert_true(identity_public_equal(&clone->host, identity_key_public(host->host_key)));
  /* The clone has a key of its own. */
  g_assert_false(identity_public_equal(&clone->key, &clone->host));
  g_autoptr(DaemonClone) known = daemon_state_clone(host->state, clone->id, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(known->devices->len, ==, 1);
  g_assert_true(daemon_devices_have(known->devices, identity_key_public(host->device_key)));
  g_assert_true(identity_public_equal(&known->key, &clone->key));
  g_assert_cmpint(known->seen, ==, 0);

  g_autoptr(Link) link = host_dial(clone, host->device_key, &error);
  g_assert_no_error(error);
  host_assert_echo(link, 10);
  host_assert_echo(link, 1000000);
  /* The host notes it beside the session, not before it. */
  gint64 when = 0;
  for (int turn = 0; turn < 6000 && !when; turn++, g_usleep(10000)) {
    g_autoptr(DaemonClone) seen = daemon_state_clone(host->state, clone->id, &error);
    g_assert_no_error(error);
    when = seen->seen;
  }
  g_assert_cmpint(when, >, 0);

  g_autoptr(IdentityKey) other = identity_key_generate();
  g_assert_null(host_dial(clone, other, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
}

static void
assert_not_paired(const Invitation *invitation, const IdentityKey *device, int code, const char *reason)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(link_pair(invitation, device, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, code);
  if (!strstr(error->message, reason))
    g_error("\"%s\" does not say \"%s\"", error->message, reason);
}

static void
test_invitations(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(IdentityKey) other = identity_key_generate();
  g_autoptr(GError) error = NULL;

  g_autoptr(Invitation) expired = host_invite(host, -2);
  assert_not_paired(expired, host->device_key, DOPPEL_ERROR_DENIED, "expired");

  /* Once used, it is of no use to another device; the same device gets the same answer, should it have missed
   * it. */
  g_autoptr(Invitation) good = host_invite(host, 60);
  g_autoptr(PairedClone) clone = link_pair(good, host->device_key, "a", &error);
  g_assert_no_error(error);
  g_autoptr(PairedClone) again = link_pair(good, host->device_key, "b", &error);
  g_assert_no_error(error);
  g_assert_cmpmem(again->id, sizeof again->id, clone->id, sizeof clone->id);
  g_assert_true(identity_public_equal(&again->key, &clone->key));
  assert_not_paired(good, other, DOPPEL_ERROR_DENIED, "used already");
  g_autoptr(GPtrArray) clones = daemon_state_clones(host->state, NULL);
  g_assert_cmpuint(clones->len, ==, 1);

  g_autoptr(Invitation) unknown = host_invite(host, 60);
  unknown->id[0] ^= 1;
  assert_not_paired(unknown, host->device_key, DOPPEL_ERROR_NOT_FOUND, "does not know");

  /* Somebody with another key has taken the host's place. */
  g_autoptr(Invitation) impostor = host_invite(host, 60);
  impostor->host = *identity_key_public(other);
  assert_not_paired(impostor, host->device_key, DOPPEL_ERROR_DENIED, "another key");
}

/* Guessing ends an invitation, and only that one. */
static void
test_brute_force(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(IdentityKey) other = identity_key_generate();
  g_autoptr(Invitation) first = host_invite(host, 60);
  g_autoptr(Invitation) second = host_invite(host, 60);
  for (int i = 0; i < DAEMON_ATTEMPTS_MAX; i++) {
    first->secret[i] ^= 0x40;
    assert_not_paired(first, other, DOPPEL_ERROR_DENIED, "secret is not");
    first->secret[i] ^= 0x40;
  }
  assert_not_paired(first, host->device_key, DOPPEL_ERROR_DENIED, "too many");
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = link_pair(second, host->device_key, "a", &error);
  g_assert_no_error(error);
}

static void
test_unpair(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(IdentityKey) other = identity_key_generate();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_assert_false(link_unpair(clone, other, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_clear_error(&error);
  g_assert_true(link_unpair(clone, host->device_key, &error));
  g_assert_no_error(error);
  g_assert_null(daemon_state_clone(host->state, clone->id, NULL));
  g_assert_null(daemon_state_clone_key(host->state, clone->id, NULL));
  g_assert_null(host_dial(clone, host->device_key, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  g_assert_nonnull(strstr(error->message, "does not know this clone"));
}

/* A revoked clone's sessions end, those of others do not. */
static void
test_revoke(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) first = host_pair(host);
  g_autoptr(PairedClone) second = host_pair(host);
  g_autoptr(Link) revoked = host_dial(first, host->device_key, &error);
  g_assert_no_error(error);
  g_autoptr(Link) kept = host_dial(second, host->device_key, &error);
  g_assert_no_error(error);
  host_assert_echo(revoked, 10);
  host_assert_echo(kept, 10);
  g_assert_true(daemon_state_revoke(host->state, first->id, &error));
  host_assert_ends(revoked);
  host_assert_echo(kept, 10);
}

static gboolean
comes_to_be(const char *path, gboolean there)
{
  for (int turn = 0; turn < 6000 && g_file_test(path, G_FILE_TEST_EXISTS) != there; turn++)
    g_usleep(10000);
  return g_file_test(path, G_FILE_TEST_EXISTS) == there;
}

/* What a session keeps is its clone's, and goes with it: even what it keeps after that. */
static void
test_pages(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) first = host_pair(host);
  g_autoptr(PairedClone) second = host_pair(host);
  g_autofree char *pages = daemon_state_clone_pages(host->state, first->id);
  g_autofree char *other = daemon_state_clone_pages(host->state, second->id);
  g_assert_cmpstr(pages, !=, other);
  g_assert_cmpint(g_mkdir_with_parents(other, 0700), ==, 0);
  g_autoptr(Link) link = host_dial(first, host->device_key, &error);
  g_assert_no_error(error);
  host_assert_echo(link, 10);
  g_assert_true(link_send(link, 1, &(struct iovec){(void *)"keep", 4}, 1, NULL));
  g_assert_true(comes_to_be(pages, TRUE));
  /* The session makes them anew: whether this finds them in a moment without does not matter. */
  daemon_state_revoke(host->state, first->id, NULL);
  g_assert_null(daemon_state_clone(host->state, first->id, NULL));
  g_assert_null(daemon_state_clone_key(host->state, first->id, NULL));
  g_assert_true(comes_to_be(pages, TRUE));
  /* Killed within some seconds; then it is cleared away. */
  host_assert_ends(link);
  g_assert_true(comes_to_be(pages, FALSE));
  g_assert_true(g_file_test(other, G_FILE_TEST_IS_DIR));
}

/* A session whose process dies is over for the device, at once. */
static void
test_crash(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(Link) link = host_dial(clone, host->device_key, &error);
  g_assert_no_error(error);
  host_assert_echo(link, 10);
  link->options.resume_ms = 10 * WORLD_PATIENCE_MS; /* it is not this that ends it */
  g_assert_true(link_send(link, 1, &(struct iovec){(void *)"die", 3}, 1, NULL));
  host_assert_ends(link);
  g_autoptr(Link) next = host_dial(clone, host->device_key, &error);
  g_assert_no_error(error);
  host_assert_echo(next, 10);
}

/* A connection that breaks is taken up by the same process. */
static void
test_resume(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  proxy->to = host->port;
  const char *addresses[] = {proxy->address, NULL};
  world->device =
      link_dial_later(addresses, host->device_key, &clone->key, clone->id, &world->options, &error);
  g_assert_no_error(error);
  guint sent = 0, got = 0;
  for (; got < 200; world_step(world, 20)) {
    if (sent < 200 && sent - got < 5) {
      world_send(world->device, sent, sent * 100);
      sent++;
    }
    if (sent % 20 == 10 && proxy->cuts < sent / 20 + 1)
      proxy_cut(proxy);
    LinkMessage *message;
    for (; (message = link_take(world->device)); link_message_free(message), got++)
      world_check(message, got, got * 100);
    g_assert_no_error(world->device_error);
  }
  g_assert_cmpuint(link_counters(world->device)->reconnects, >=, 3);
  proxy_free(world, proxy);
}

/* With doppeld gone a session goes on as long as its connection does; a new doppeld serves new ones. */
static void
test_restart(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(Link) link = host_dial(clone, host->device_key, &error);
  g_assert_no_error(error);
  host_assert_echo(link, 10);
  kill(host->pid, SIGKILL);
  waitpid(host->pid, NULL, 0);
  host_assert_echo(link, 10);
  g_free(host->address);
  const char *nowhere[] = {NULL};
  g_assert_true(daemon_state_set_listening(host->state, nowhere, &error));
  host_start(host);
  g_strfreev(clone->addresses);
  clone->addresses = g_strsplit(host->address, "\n", -1);
  g_autoptr(Link) next = host_dial(clone, host->device_key, &error);
  g_assert_no_error(error);
  host_assert_echo(next, 10);
  host_assert_echo(link, 10);
}

static int
connect_from(const char *source, guint16 port)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, source, &from.sin_addr);
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  g_assert_cmpint(bind(fd, (struct sockaddr *)&from, sizeof from), ==, 0);
  g_assert_cmpint(connect(fd, (struct sockaddr *)&to, sizeof to), ==, 0);
  return fd;
}

static void
flood(const Host *host, const PairedClone *clone, int *fds, guint count)
{
  static const char *const sources[] = {"127.0.0.1", "127.0.0.2", "127.0.0.3",
                                        "127.0.0.4", "127.0.0.5", "127.0.0.6"};
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  for (guint i = 0; i < count; i++) {
    WirePreamble preamble = {.purpose = WIRE_PURPOSE_DEVICE};
    memcpy(preamble.clone, clone->id, sizeof preamble.clone);
    memset(preamble.session, i, sizeof preamble.session);
    preamble.session[0] = i >> 8;
    if (i % 4 == 3)
      memset(preamble.clone, 0, sizeof preamble.clone);
    wire_preamble_encode(bytes, &preamble);
    fds[i] = connect_from(sources[i % G_N_ELEMENTS(sources)], host->port);
    /* Nothing, the better part, all of it. */
    send(fds[i], bytes, i % 3 == 0 ? 0 : i % 3 == 1 ? 39 : 40, MSG_NOSIGNAL);
  }
}

/* From an address of its own, the flood's sources being full. */
static void
shake_hands(const Host *host, const PairedClone *clone)
{
  g_autoptr(GError) error = NULL;
  int fd = connect_from("127.0.1.9", host->port);
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  WirePreamble preamble = {.purpose = WIRE_PURPOSE_DEVICE};
  memcpy(preamble.clone, clone->id, sizeof preamble.clone);
  memset(preamble.session, 0xee, sizeof preamble.session);
  g_autoptr(LinkTls) tls = link_tls_new(host->device_key, &clone->key, NULL);
  wire_preamble_encode(bytes, &preamble);
  g_assert_cmpint(send(fd, bytes, sizeof bytes, 0), ==, sizeof bytes);
  gnutls_session_t session = link_tls_open(tls, FALSE, &error);
  gnutls_transport_set_int(session, fd);
  int result;
  while ((result = gnutls_handshake(session)) == GNUTLS_E_AGAIN)
    ;
  g_assert_cmpint(result, ==, 0);
  gnutls_deinit(session);
  close(fd);
}

/* Callers that say nothing, or say it slowly, or begin handshakes that they do not finish, stop nobody else:
 * not before they are given up, which takes seconds, every time. A busy machine takes as long now and then.
 */
static void
test_flood(void)
{
  enum { CALLERS = 360, FLOODS = 10 };
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(Link) before = host_dial(clone, host->device_key, &error);
  g_assert_no_error(error);
  const gint64 soon = 2 * G_GINT64_CONSTANT(1000000000);
  gint64 took = soon;
  for (guint i = 0; i < FLOODS && took >= soon; i++) {
    int fds[CALLERS];
    flood(host, clone, fds, CALLERS);
    gint64 start = clock_now_ns();
    host_assert_echo(before, 1000);
    shake_hands(host, clone);
    took = clock_now_ns() - start;
    for (guint n = 0; n < CALLERS; n++)
      close(fds[n]);
  }
  g_assert_cmpint(took, <, soon);
  host_assert_echo(before, 1000);
}

/* Somebody who names a running session gets to its process, and nowhere from there. */
static void
test_stranger(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(Link) link = host_dial(clone, host->device_key, &error);
  g_assert_no_error(error);
  g_autoptr(IdentityKey) own = identity_key_generate();
  const char *addresses[] = {host->address, NULL};
  g_autoptr(Link) stranger = link_dial_later(addresses, own, &clone->key, clone->id, NULL, &error);
  g_assert_no_error(error);
  /* Its session id went out with its first attempt's buffer; begin again with the other one's. */
  stranger->preamble = link->preamble;
  link_lose(stranger, g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_GONE, "test"));
  g_ptr_array_set_size(stranger->candidates, 0);
  link_dialler_start(stranger->dialler, clock_now_ns());
  while (link_state(stranger) == LINK_AWAY) {
    link_wait(stranger, 100, NULL);
    link_work(stranger, &error);
    g_assert_cmpint(link_state(stranger), !=, LINK_UP);
  }
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  host_assert_echo(link, 100000);
  g_assert_cmpuint(link_counters(link)->reconnects, ==, 0);
}

/* Names of clones on the host. */
static void
test_names(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) first = host_pair(host);
  g_autoptr(PairedClone) second = host_pair(host);
  g_autoptr(GPtrArray) clones = daemon_state_clones(host->state, NULL);
  g_assert_cmpuint(clones->len, ==, 2);
  const DaemonClone *a = clones->pdata[0], *b = clones->pdata[1];
  g_assert_cmpstr(a->name, !=, b->name);
  g_assert_true(paired_name_check(a->name, NULL) && paired_name_check(b->name, NULL));
  g_autoptr(DaemonClone) by_name = daemon_state_find(host->state, b->name, &error);
  g_assert_cmpmem(by_name->id, 16, b->id, 16);
  g_assert_null(daemon_state_find(host->state, "nobody", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/doppeld/pair", test_pair);
  g_test_add_func("/doppeld/invitations", test_invitations);
  g_test_add_func("/doppeld/brute-force", test_brute_force);
  g_test_add_func("/doppeld/unpair", test_unpair);
  g_test_add_func("/doppeld/revoke", test_revoke);
  g_test_add_func("/doppeld/pages", test_pages);
  g_test_add_func("/doppeld/crash", test_crash);
  g_test_add_func("/doppeld/resume", test_resume);
  g_test_add_func("/doppeld/restart", test_restart);
  g_test_add_func("/doppeld/flood", test_flood);
  g_test_add_func("/doppeld/stranger", test_stranger);
  g_test_add_func("/doppeld/names", test_names);
  return g_test_run();
}
