/* A link that nothing happens to: messages, keys, counters, ends. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "link/state.h"
#include "world.h"

static const gsize lengths[] = {
    0, 1, 15, 16, 17, 500, 16367, 16368, 16369, 16384, 65536, 300000, LINK_MESSAGE_MAX};

static gboolean
device_is_dead(World *world)
{
  return world->device_error != NULL;
}

static gboolean
host_is_dead(World *world)
{
  return world->host_error != NULL;
}

static gboolean
is_away(World *world)
{
  return link_state(world->device) == LINK_AWAY && link_state(world->host) == LINK_AWAY;
}

/* Long before an attempt that nobody answers is given up. */
static void
assert_at_once(const World *world, gint64 start)
{
  g_assert_cmpint(clock_now_ns() - start, <, world->options.connect_ms * G_GINT64_CONSTANT(1000000) / 2);
}

static void
test_messages(void)
{
  g_autoptr(World) world = world_connected();
  for (int way = 0; way < 2; way++) {
    Link *from = way ? world->host : world->device, *to = way ? world->device : world->host;
    for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++)
      world_send(from, i * 1000003, lengths[i]);
    for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++) {
      g_autoptr(LinkMessage) message = world_receive(world, to);
      world_check(message, i * 1000003, lengths[i]);
    }
    g_assert_null(link_take(to));
  }
  g_assert_cmpuint(link_counters(world->device)->messages_sent, ==, G_N_ELEMENTS(lengths));
  g_assert_cmpuint(link_counters(world->device)->messages_received, ==, G_N_ELEMENTS(lengths));
  g_assert_cmpuint(link_counters(world->device)->reconnects, ==, 0);
  g_assert_true(identity_public_equal(link_peer(world->host), identity_key_public(world->device_key)));
  g_assert_true(identity_public_equal(link_peer(world->device), identity_key_public(world->clone_key)));
}

static void
test_too_long(void)
{
  g_autoptr(World) world = world_connected();
  g_autoptr(GError) error = NULL;
  g_autofree guint8 *bytes = g_malloc0(LINK_MESSAGE_MAX);
  struct iovec pieces[] = {{bytes, LINK_MESSAGE_MAX}, {bytes, 1}};
  g_assert_false(link_send(world->device, 1, pieces, 2, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  world_send(world->device, 2, 9);
  g_autoptr(LinkMessage) message = world_receive(world, world->host);
  world_check(message, 2, 9);
}

/* Messages that were sent before there was a connection arrive, with the handshake's last flight. */
static void
test_early(void)
{
  g_autoptr(World) world = world_new();
  world_dial(world, NULL);
  for (int i = 0; i < 20; i++)
    world_send(world->device, i, 5000);
  while (!world->host)
    world_step(world, 50);
  for (int i = 0; i < 20; i++) {
    g_autoptr(LinkMessage) message = world_receive(world, world->host);
    world_check(message, i, 5000);
  }
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
}

/* When nothing is on its way. */
static gboolean
is_counted(World *world)
{
  const LinkCounters *device = link_counters(world->device), *host = link_counters(world->host);
  const guint64 *passed = ((const Proxy *)world->proxies->pdata[0])->passed;
  return device->bytes_sent == passed[0] && device->bytes_received == passed[1] &&
         host->bytes_received == passed[0] && host->bytes_sent == passed[1];
}

/* The counters are what the sockets carried, no more and no less. */
static void
test_counters(void)
{
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 20; i++) {
      world_send(world->device, 1, 1000 * i);
      world_send(world->host, 2, 100);
      link_message_free(world_receive(world, world->device));
      link_message_free(world_receive(world, world->host));
    }
    world_until(world, is_counted, WORLD_PATIENCE_MS);
    g_assert_cmpuint(link_counters(world->device)->reconnects, ==, round);
    proxy_cut(proxy);
    world_until(world, is_away, WORLD_PATIENCE_MS);
    world_until(world, world_is_up, WORLD_PATIENCE_MS);
  }
  proxy_free(world, proxy);
}

/* What is not to be compressed travels as it is, for what repeats itself, too; and the host is told what the
 * connection is for before it knows from whom. */
static void
test_plain_to_a_peer(void)
{
  g_autoptr(World) world = world_new();
  world->options.compression = -1;
  world->options.purpose = WIRE_PURPOSE_PEER;
  world_dial(world, NULL);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  g_assert_cmpuint(world->preamble.purpose, ==, WIRE_PURPOSE_PEER);
  static const guint8 zeros[100000];
  guint64 before = link_counters(world->device)->bytes_sent;
  g_assert_true(link_send(world->device, 1, &(struct iovec){(guint8 *)zeros, sizeof zeros}, 1, NULL));
  g_autoptr(LinkMessage) message = world_receive(world, world->host);
  g_assert_cmpmem(message->data, message->length, zeros, sizeof zeros);
  g_assert_cmpuint(link_counters(world->device)->bytes_sent - before, >=, sizeof zeros);
}

/* A device with another key is refused by the host, and a host with another key by the device. */
static void
test_wrong_device(void)
{
  g_autoptr(World) world = world_new();
  g_autoptr(IdentityKey) right = g_steal_pointer(&world->device_key);
  world->device_key = identity_key_generate();
  world_dial(world, NULL);
  world_send(world->device, 1, 100);
  g_autoptr(IdentityKey) wrong = g_steal_pointer(&world->device_key);
  world->device_key = g_steal_pointer(&right);
  gint64 start = clock_now_ns();
  world_until(world, device_is_dead, WORLD_PATIENCE_MS);
  g_assert_error(world->device_error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_assert_nonnull(strstr(world->device_error->message, "refused this device's key"));
  assert_at_once(world, start);
  g_assert_cmpint(link_state(world->host), ==, LINK_AWAY);
  g_assert_null(link_take(world->host));
  g_assert_null(link_peer(world->host));
  world->host->options.connect_ms = 100;
  world_until(world, host_is_dead, WORLD_PATIENCE_MS);
  g_assert_error(world->host_error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
}

static void
test_wrong_host(void)
{
  g_autoptr(World) world = world_new();
  g_autoptr(IdentityKey) right = g_steal_pointer(&world->clone_key);
  world->clone_key = identity_key_generate();
  world_dial(world, NULL);
  g_autoptr(IdentityKey) wrong = g_steal_pointer(&world->clone_key);
  world->clone_key = g_steal_pointer(&right);
  world_send(world->device, 1, 100);
  world_until(world, device_is_dead, WORLD_PATIENCE_MS);
  g_assert_error(world->device_error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_assert_nonnull(strstr(world->device_error->message, "another key"));
  g_assert_null(link_take(world->host));
}

/* One of several addresses leads to an impostor or nowhere: the right one is found. */
static void
find_among_wrong(const char *host)
{
  g_autoptr(World) world = world_new();
  guint16 closed_port, silent_port;
  int closed = world_listen(&closed_port);
  int silent = world_listen(&silent_port);
  close(closed);
  g_autofree char *nobody = g_strdup_printf("127.0.0.1:%u", closed_port);
  g_autofree char *mute = g_strdup_printf("127.0.0.1:%u", silent_port);
  g_autofree char *right = g_strdup_printf("%s:%u", host, world->port);
  const char *addresses[] = {nobody, mute, right, NULL};
  world->device = link_dial_later(addresses, world->device_key, identity_key_public(world->clone_key),
                                  world->clone, &world->options, NULL);
  gint64 start = clock_now_ns();
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  assert_at_once(world, start);
  close(silent);
}

static void
test_addresses(void)
{
  find_among_wrong("127.0.0.1");
}

static void
test_name(void)
{
  struct addrinfo *found = NULL;
  if (getaddrinfo("localhost", NULL, NULL, &found) != 0) {
    g_test_skip("this machine has no name for itself (no /etc/hosts)");
    return;
  }
  freeaddrinfo(found);
  find_among_wrong("localhost");
}

static void
test_nobody(void)
{
  g_autoptr(World) world = world_new();
  guint16 port;
  close(world_listen(&port));
  g_autofree char *address = g_strdup_printf("127.0.0.1:%u", port);
  const char *addresses[] = {address, NULL};
  g_autoptr(GError) error = NULL;
  gint64 start = clock_now_ns();
  g_assert_null(link_dial(addresses, world->device_key, identity_key_public(world->clone_key), world->clone,
                          &world->options, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  g_assert_nonnull(strstr(error->message, address));
  assert_at_once(world, start);
  g_clear_error(&error);
  const char *bad[] = {"nonsense", NULL};
  g_assert_null(link_dial(bad, world->device_key, identity_key_public(world->clone_key), world->clone,
                          &world->options, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
}

/* Goodbye is no cut: the other end knows at once, and still has what came before. */
static void
test_goodbye(void)
{
  g_autoptr(World) world = world_connected();
  world_send(world->device, 5, 40000);
  world_send(world->device, 6, 10);
  link_free(g_steal_pointer(&world->device));
  world_until(world, host_is_dead, WORLD_PATIENCE_MS);
  g_assert_error(world->host_error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  g_autoptr(LinkMessage) first = link_take(world->host);
  g_autoptr(LinkMessage) second = link_take(world->host);
  world_check(first, 5, 40000);
  world_check(second, 6, 10);
  g_assert_null(link_take(world->host));
  g_autoptr(GError) error = NULL;
  g_assert_false(link_send(world->host, 1, NULL, 0, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
}

/* Both ends send more than the other takes: nothing is lost, and the buffers of acknowledged messages are
 * freed. */
static void
test_bulk(void)
{
  g_autoptr(World) world = world_connected();
  enum { COUNT = 40 };
  for (int i = 0; i < COUNT; i++) {
    world_send(world->device, i, 1000000);
    world_send(world->host, i, 999999);
  }
  for (int i = 0; i < COUNT; i++) {
    g_autoptr(LinkMessage) at_host = world_receive(world, world->host);
    g_autoptr(LinkMessage) at_device = world_receive(world, world->device);
    world_check(at_host, i, 1000000);
    world_check(at_device, i, 999999);
  }
}

/* A local link: the same, without keys. */
static void
test_local(void)
{
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  g_autoptr(World) world = world_new();
  world->device = link_new_local(ends[0]);
  world->host = link_new_local(ends[1]);
  g_assert_true(world_is_up(world));
  for (int way = 0; way < 2; way++) {
    Link *from = way ? world->host : world->device, *to = way ? world->device : world->host;
    for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++)
      world_send(from, i, lengths[i]);
    for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++) {
      g_autoptr(LinkMessage) message = world_receive(world, to);
      world_check(message, i, lengths[i]);
    }
  }
  g_assert_cmpuint(link_counters(world->device)->bytes_sent, ==, link_counters(world->host)->bytes_received);
  link_free(g_steal_pointer(&world->host));
  world_until(world, device_is_dead, WORLD_PATIENCE_MS);
  g_assert_error(world->device_error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
}

/* link_send() waits when too much is unacknowledged, and goes on when the peer takes it. */
static gpointer
drain_slowly(gpointer data)
{
  World *world = data;
  guint64 total = 0;
  while (total < 3 * (guint64)LINK_UNSENT_MAX / 2) {
    g_autoptr(LinkMessage) message = link_take(world->host);
    if (message)
      total += message->length;
    else if (!link_wait(world->host, 100, NULL) || !link_work(world->host, NULL))
      break;
  }
  return GSIZE_TO_POINTER(total);
}

static void
test_back_pressure(void)
{
  g_autoptr(World) world = world_connected();
  g_autofree guint8 *bytes = g_malloc0(1 << 20);
  g_autoptr(GThread) thread = g_thread_new("drain", drain_slowly, world);
  for (guint64 sent = 0; sent < 3 * (guint64)LINK_UNSENT_MAX / 2; sent += 1 << 20)
    g_assert_true(link_send(world->device, 1, &(struct iovec){bytes, 1 << 20}, 1, NULL));
  g_assert_true(link_flush(world->device, WORLD_PATIENCE_MS, NULL));
  gsize total = GPOINTER_TO_SIZE(g_thread_join(g_steal_pointer(&thread)));
  g_assert_cmpuint(total, ==, 3 * (gsize)LINK_UNSENT_MAX / 2);
}

static char *
congestion_of(int fd)
{
  char name[16] = "";
  socklen_t length = sizeof name - 1;
  g_assert_cmpint(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length), ==, 0);
  return g_strdup(name);
}

static gboolean
may_leave_bbr(void)
{
  g_auto(Fd) fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) == 0 ||
         setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) == 0;
}

/* BBR is left over MPTCP, at both ends; all else is as the machine has it. */
static void
test_congestion(void)
{
  g_auto(Fd) any = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_auto(Fd) plain = link_stream_socket(AF_INET, FALSE);
  g_auto(Fd) listener = link_stream_socket(AF_INET, TRUE);
  g_auto(Fd) dialled = link_stream_socket(AF_INET, TRUE);
  g_autofree char *usual = congestion_of(any), *of_plain = congestion_of(plain);
  g_assert_cmpstr(of_plain, ==, usual);
  int protocol = 0;
  socklen_t length = sizeof protocol;
  g_assert_cmpint(getsockopt(listener, SOL_SOCKET, SO_PROTOCOL, &protocol, &length), ==, 0);
  if (protocol != IPPROTO_MPTCP) {
    g_test_skip("this kernel makes no MPTCP sockets");
    return;
  }
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  length = sizeof address;
  g_assert_cmpint(bind(listener, (struct sockaddr *)&address, length), ==, 0);
  g_assert_cmpint(listen(listener, 1), ==, 0);
  g_assert_cmpint(getsockname(listener, (struct sockaddr *)&address, &length), ==, 0);
  connect(dialled, (struct sockaddr *)&address, length);
  g_assert_cmpint(poll(&(struct pollfd){listener, POLLIN, 0}, 1, WORLD_PATIENCE_MS), ==, 1);
  g_auto(Fd) accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  const int ends[] = {dialled, accepted};
  for (gsize i = 0; i < G_N_ELEMENTS(ends); i++) {
    g_autofree char *name = congestion_of(ends[i]);
    if (g_str_has_prefix(usual, "bbr") && may_leave_bbr())
      g_assert_false(g_str_has_prefix(name, "bbr"));
    else
      g_assert_cmpstr(name, ==, usual);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/link/messages", test_messages);
  g_test_add_func("/link/too-long", test_too_long);
  g_test_add_func("/link/early", test_early);
  g_test_add_func("/link/counters", test_counters);
  g_test_add_func("/link/plain-to-a-peer", test_plain_to_a_peer);
  g_test_add_func("/link/wrong-device", test_wrong_device);
  g_test_add_func("/link/wrong-host", test_wrong_host);
  g_test_add_func("/link/addresses", test_addresses);
  g_test_add_func("/link/name", test_name);
  g_test_add_func("/link/nobody", test_nobody);
  g_test_add_func("/link/goodbye", test_goodbye);
  g_test_add_func("/link/bulk", test_bulk);
  g_test_add_func("/link/local", test_local);
  g_test_add_func("/link/back-pressure", test_back_pressure);
  g_test_add_func("/link/congestion", test_congestion);
  return g_test_run();
}
