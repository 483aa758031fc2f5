/* Peers that do not keep to the protocol: strangers, and paired devices gone bad. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/state.h"
#include "wire/link.pb-c.h"
#include "world.h"

/* A device that writes its frames by hand. */
typedef struct {
  World *world;
  LinkTls *tls;
  LinkConnection *connection;
} Rogue;

static gboolean
host_is_dead(World *world)
{
  return world->host_error != NULL;
}

/* Connects as `key` to the session of `preamble` and shakes hands as far as the host lets it. */
static Rogue *
rogue_new(World *world, const IdentityKey *key, const WirePreamble *preamble)
{
  Rogue *rogue = g_new0(Rogue, 1);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(world->port)};
  rogue->world = world;
  rogue->tls = link_tls_new(key, identity_key_public(world->clone_key), NULL);
  rogue->connection = link_connection_dial((struct sockaddr *)&address, sizeof address, "the host", preamble,
                                           rogue->tls, FALSE, NULL);
  gint64 end = clock_now_ns() + WORLD_PATIENCE_MS * G_GINT64_CONSTANT(1000000);
  while (rogue->connection->stage != LINK_CONNECTION_GREETING && clock_now_ns() < end) {
    link_connection_shake(rogue->connection, NULL);
    world_step(world, 5);
  }
  g_assert_cmpint(rogue->connection->stage, ==, LINK_CONNECTION_GREETING);
  return rogue;
}

static void
rogue_free(Rogue *rogue)
{
  link_connection_free(rogue->connection);
  link_tls_free(rogue->tls);
  g_free(rogue);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Rogue, rogue_free)

static void
rogue_put(Rogue *rogue, const WireFrame *frame, const void *payload)
{
  guint8 header[WIRE_FRAME_HEADER];
  wire_frame_encode(header, frame);
  g_assert_true(link_connection_put(rogue->connection, header, sizeof header, NULL));
  if (payload)
    g_assert_true(link_connection_put(rogue->connection, payload, frame->length, NULL));
  link_connection_flush(rogue->connection, NULL);
}

static void
rogue_hello(Rogue *rogue, const WirePreamble *preamble, guint32 version, guint64 received, gboolean resumes)
{
  Doppel__Wire__LinkHello hello = DOPPEL__WIRE__LINK_HELLO__INIT;
  guint8 packed[WIRE_GREETING_MAX];
  hello.version = version;
  hello.clone = (ProtobufCBinaryData){16, (guint8 *)preamble->clone};
  hello.session = (ProtobufCBinaryData){16, (guint8 *)preamble->session};
  hello.purpose = preamble->purpose;
  hello.received = received;
  hello.resumes = resumes;
  guint32 length = doppel__wire__link_hello__pack(&hello, packed);
  rogue_put(rogue, &(WireFrame){.kind = WIRE_HELLO, .length = length}, packed);
}

static void
let_time_pass(World *world)
{
  for (int i = 0; i < 8; i++)
    world_step(world, 5);
}

static WirePreamble
some_preamble(const World *world)
{
  WirePreamble preamble = {.purpose = WIRE_PURPOSE_DEVICE};
  memcpy(preamble.clone, world->clone, sizeof preamble.clone);
  memset(preamble.session, 0x5e, sizeof preamble.session);
  return preamble;
}

/* Frames of a paired device, after a proper beginning and one proper message, that end its session. */
static void
test_frames(void)
{
  static const WireFrame frames[] = {
      {.kind = WIRE_DATA, .sequence = 1},                      /* again */
      {.kind = WIRE_DATA, .sequence = 3},                      /* one left out */
      {.kind = WIRE_DATA, .sequence = 0x80000002},             /* far off */
      {.kind = WIRE_DATA, .length = 0xffffff, .sequence = 2},  /* too long */
      {.kind = WIRE_DATA, .sequence = 2, .acknowledged = 1},   /* nothing was sent */
      {.kind = WIRE_DATA, .sequence = 2, .acknowledged = ~0u}, /* less than nothing */
      {.kind = WIRE_ACK, .sequence = 2},
      {.kind = WIRE_ACK, .length = 5, .sequence = 1},
      {.kind = WIRE_PING, .sequence = 0},
      {.kind = WIRE_PING, .channel = 1, .sequence = 1},
      {.kind = 0, .sequence = 1},
      {.kind = 200, .sequence = 1},
      {.kind = WIRE_HELLO, .length = 3, .sequence = 1},
      {.kind = WIRE_WELCOME, .length = 3, .sequence = 1},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(frames); i++) {
    g_autoptr(World) world = world_new();
    WirePreamble preamble = some_preamble(world);
    g_autoptr(Rogue) rogue = rogue_new(world, world->device_key, &preamble);
    rogue_hello(rogue, &preamble, 1, 0, FALSE);
    rogue_put(rogue, &(WireFrame){.kind = WIRE_DATA, .length = 2, .channel = 9, .sequence = 1}, "ok");
    g_autoptr(LinkMessage) message = world_receive(world, world->host);
    g_assert_cmpmem(message->data, message->length, "ok", 2);
    rogue_put(rogue, &frames[i], NULL);
    world_until(world, host_is_dead, WORLD_PATIENCE_MS);
    g_assert_error(world->host_error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    g_assert_cmpint(link_state(world->host), ==, LINK_DEAD);
    g_assert_null(link_take(world->host));
  }
}

/* Where anybody is let in, whoever came first has the session: with its name alone nobody else gets into it,
 * neither while its owner is there nor while it is away. */
static void
test_session_of_another(void)
{
  g_autoptr(World) world = world_new();
  world->anybody = TRUE;
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  g_assert_true(identity_public_equal(link_peer(world->host), identity_key_public(world->device_key)));
  g_autoptr(IdentityKey) stranger = identity_key_generate();
  WirePreamble preamble = world->preamble;
  for (int away = 0; away < 2; away++) {
    if (away) {
      proxy->deaf = TRUE;
      proxy_cut(proxy);
    }
    g_autoptr(Rogue) rogue = rogue_new(world, stranger, &preamble);
    rogue_hello(rogue, &preamble, 1, 0, TRUE);
    rogue_put(rogue, &(WireFrame){.kind = WIRE_DATA, .length = 2, .channel = 9, .sequence = 1}, "no");
    let_time_pass(world);
    g_assert_null(link_take(world->host));
    g_assert_true(identity_public_equal(link_peer(world->host), identity_key_public(world->device_key)));
  }
  proxy->deaf = FALSE;
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  world_send(world->device, 1, 1000);
  g_autoptr(LinkMessage) message = world_receive(world, world->host);
  world_check(message, 1, 1000);
  g_assert_cmpuint(link_counters(world->host)->reconnects, ==, 1);
  proxy_free(world, proxy);
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

/* The same of the dialling end: who took the host's address is not taken for the host. */
static void
test_host_of_another(void)
{
  g_autoptr(World) world = world_new();
  world->anybody = TRUE;
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  link_free(g_steal_pointer(&world->host));
  g_autoptr(IdentityKey) right = g_steal_pointer(&world->clone_key);
  world->clone_key = identity_key_generate();
  proxy_cut(proxy);
  world_until(world, device_was_denied, WORLD_PATIENCE_MS);
  world->device->options.resume_ms = 1;
  world_until(world, device_is_dead, WORLD_PATIENCE_MS);
  g_assert_error(world->device_error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_assert_nonnull(strstr(world->device_error->message, "another key"));
  proxy_free(world, proxy);
}

static gboolean
host_is_rid(World *world)
{
  return world->host->candidates->len == 0;
}

/* Greetings that are none do not even make a session. */
static void
test_greetings(void)
{
  for (int way = 0; way < 10; way++) {
    g_autoptr(World) world = world_new();
    WirePreamble preamble = some_preamble(world), other = preamble;
    g_autoptr(Rogue) rogue = rogue_new(world, world->device_key, &preamble);
    guint8 rubbish[100];
    memset(rubbish, 0xff, sizeof rubbish);
    switch (way) {
    case 0:
      other.session[3] ^= 1;
      rogue_hello(rogue, &other, 1, 0, FALSE);
      break;
    case 1:
      other.clone[3] ^= 1;
      rogue_hello(rogue, &other, 1, 0, FALSE);
      break;
    case 2:
      rogue_hello(rogue, &preamble, 2, 0, FALSE);
      break;
    case 3:
      rogue_hello(rogue, &preamble, 1, 1, FALSE);
      break;
    case 4:
      rogue_hello(rogue, &preamble, 1, 0, TRUE);
      break;
    case 9: /* says another purpose than it came with */
      preamble.purpose = WIRE_PURPOSE_PEER;
      rogue_hello(rogue, &preamble, 1, 0, FALSE);
      break;
    case 5:
      rogue_put(rogue, &(WireFrame){.kind = WIRE_HELLO, .length = 100}, rubbish);
      break;
    case 6:
      rogue_put(rogue, &(WireFrame){.kind = WIRE_DATA, .length = 100, .sequence = 1}, rubbish);
      break;
    case 7:
      rogue_put(rogue, &(WireFrame){.kind = WIRE_HELLO, .length = WIRE_GREETING_MAX + 1}, NULL);
      break;
    case 8:
      rogue_put(rogue, &(WireFrame){.kind = WIRE_WELCOME, .length = 100}, rubbish);
      break;
    }
    world_until(world, host_is_rid, WORLD_PATIENCE_MS);
    g_assert_cmpint(link_state(world->host), !=, LINK_UP);
    world->host->options.connect_ms = 100;
    world_until(world, host_is_dead, WORLD_PATIENCE_MS);
    g_assert_error(world->host_error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  }
}

/* The device's session goes on as if nothing had been. */
static void
assert_undisturbed(World *world)
{
  world_send(world->device, 3, 700);
  world_send(world->host, 4, 800);
  g_autoptr(LinkMessage) at_host = world_receive(world, world->host);
  g_autoptr(LinkMessage) at_device = world_receive(world, world->device);
  world_check(at_host, 3, 700);
  world_check(at_device, 4, 800);
  g_assert_true(world_is_up(world));
  g_assert_cmpuint(link_counters(world->device)->reconnects, ==, 0);
  g_assert_cmpuint(link_counters(world->host)->reconnects, ==, 0);
}

/* A stranger that knows the session's id, which goes over the wire in clear: with a key of its own, with the
 * right key shown but not owned (it cannot), with rubbish, or with silence. */
static void
test_stranger(void)
{
  g_autoptr(World) world = world_connected();
  WirePreamble preamble = world->preamble;
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  wire_preamble_encode(bytes, &preamble);

  g_autoptr(IdentityKey) own = identity_key_generate();
  g_autoptr(Rogue) rogue = rogue_new(world, own, &preamble);
  rogue_hello(rogue, &preamble, 1, 0, TRUE);
  let_time_pass(world);
  assert_undisturbed(world);

  for (int kind = 0; kind < 3; kind++) {
    int fd = world_connect(world->port);
    g_assert_cmpint(send(fd, bytes, sizeof bytes, 0), ==, sizeof bytes);
    guint8 rubbish[500];
    for (gsize i = 0; i < sizeof rubbish; i++)
      rubbish[i] = g_random_int();
    if (kind == 1)
      g_assert_cmpint(send(fd, rubbish, sizeof rubbish, 0), ==, sizeof rubbish);
    if (kind == 2)
      shutdown(fd, SHUT_WR);
    let_time_pass(world);
    assert_undisturbed(world);
    close(fd);
  }
}

/* Many strangers at once: their number is bounded, and the device still gets back in after a cut. */
static void
test_crowd(void)
{
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  wire_preamble_encode(bytes, &world->preamble);
  int crowd[40];
  for (gsize i = 0; i < G_N_ELEMENTS(crowd); i++) {
    crowd[i] = world_connect(world->port);
    g_assert_cmpint(send(crowd[i], bytes, sizeof bytes, 0), ==, sizeof bytes);
    world_step(world, 5);
  }
  g_assert_cmpuint(world->host->candidates->len, ==, LINK_CANDIDATES_MAX);
  assert_undisturbed(world);
  proxy_cut(proxy);
  world_send(world->device, 1, 100);
  g_autoptr(LinkMessage) message = world_receive(world, world->host);
  world_check(message, 1, 100);
  for (gsize i = 0; i < G_N_ELEMENTS(crowd); i++)
    close(crowd[i]);
  proxy_free(world, proxy);
}

/* What a device sent, sent again by somebody who recorded it: at once, after the connection, after the
 * session. */
static void
test_replay(void)
{
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  proxy->tape = g_byte_array_new();
  world_dial(world, proxy->address);
  world_send(world->device, 7, 300);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  g_autoptr(LinkMessage) first = world_receive(world, world->host);
  world_check(first, 7, 300);
  guint64 before = link_counters(world->host)->messages_received;
  g_assert_cmpuint(proxy->tape->len, >, 700);

  for (int when = 0; when < 3; when++) {
    if (when == 1) {
      proxy_cut(proxy);
      let_time_pass(world);
      world_until(world, world_is_up, WORLD_PATIENCE_MS);
    }
    if (when == 2) {
      link_free(g_steal_pointer(&world->host));
      proxy_cut(proxy);
      link_free(g_steal_pointer(&world->device));
      g_clear_error(&world->host_error);
    }
    int fd = world_connect(world->port);
    g_assert_cmpint(send(fd, proxy->tape->data, proxy->tape->len, 0), ==, proxy->tape->len);
    let_time_pass(world);
    /* The host turns it away: nothing but its half of a handshake and an alert comes, then the end. */
    guint8 answer[4096];
    ssize_t got = 1, total = 0;
    gint64 end = clock_now_ns() + WORLD_PATIENCE_MS * G_GINT64_CONSTANT(1000000);
    while (got != 0 && clock_now_ns() < end) {
      got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
      total += MAX(got, 0);
      world_step(world, 5);
    }
    g_assert_cmpint(got, ==, 0);
    g_assert_cmpint(total, <, 2000);
    close(fd);
    if (when < 2)
      g_assert_cmpuint(link_counters(world->host)->messages_received, ==, before);
    g_assert_null(link_take(world->host));
  }
  g_assert_cmpint(link_state(world->host), ==, LINK_AWAY);
  proxy_free(world, proxy);
}

/* Bytes changed or injected on the way break the connection, not the session. */
static void
test_injection(void)
{
  g_autoptr(World) world = world_connected();
  static const guint8 record[] = {23, 3,  3,  0,  40, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                  11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                                  26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40};
  g_assert_cmpint(send(world->device->connection->fd, record, sizeof record, 0), ==, sizeof record);
  world_send(world->device, 1, 100);
  g_autoptr(LinkMessage) message = world_receive(world, world->host);
  world_check(message, 1, 100);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  g_assert_cmpuint(link_counters(world->device)->reconnects, ==, 1);
}

/* What is no preamble is told from one that is late. */
static void
test_no_preamble(void)
{
  g_autoptr(World) world = world_new();
  static const char *const beginnings[] = {"GET / HTTP/1.1\r\nHost: clone.example.net\r\n\r\n", "doppel\0\2",
                                           "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"};
  for (gsize i = 0; i < G_N_ELEMENTS(beginnings); i++) {
    int ends[2];
    guint8 bytes[WIRE_PREAMBLE_LENGTH] = {0};
    memcpy(bytes, beginnings[i], MIN(sizeof bytes, i == 0 ? strlen(beginnings[i]) : 8));
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), ==, 0);
    g_assert_cmpint(write(ends[0], bytes, sizeof bytes), ==, sizeof bytes);
    LinkPreamble preamble;
    g_autoptr(GError) error = NULL;
    g_assert_false(link_preamble_read(ends[1], 100, &preamble, &error));
    int code = i == 1 ? DOPPEL_ERROR_UNSUPPORTED : DOPPEL_ERROR_HOSTILE;
    g_assert_error(error, DOPPEL_ERROR, code);
    close(ends[0]);
    close(ends[1]);
  }
  /* Neither too little nor nothing, and not a byte more than it is long. */
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), ==, 0);
  LinkPreamble preamble = some_preamble(world), read_back;
  guint8 bytes[WIRE_PREAMBLE_LENGTH + 3] = {0};
  wire_preamble_encode(bytes, &preamble);
  g_autoptr(GError) error = NULL;
  g_assert_cmpint(write(ends[0], bytes, 39), ==, 39);
  gint64 start = clock_now_ns();
  g_assert_false(link_preamble_read(ends[1], 50, &read_back, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  g_assert_cmpint(clock_now_ns() - start, >=, 50000000);
  g_assert_cmpint(write(ends[0], bytes, sizeof bytes), ==, sizeof bytes);
  g_assert_true(link_preamble_read(ends[1], 50, &read_back, NULL));
  g_assert_cmpmem(&read_back, sizeof read_back, &preamble, sizeof preamble);
  g_assert_cmpint(recv(ends[1], bytes, sizeof bytes, MSG_DONTWAIT), ==, 3);
  close(ends[0]);
  close(ends[1]);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/link/hostile/frames", test_frames);
  g_test_add_func("/link/hostile/session-of-another", test_session_of_another);
  g_test_add_func("/link/hostile/host-of-another", test_host_of_another);
  g_test_add_func("/link/hostile/greetings", test_greetings);
  g_test_add_func("/link/hostile/stranger", test_stranger);
  g_test_add_func("/link/hostile/crowd", test_crowd);
  g_test_add_func("/link/hostile/replay", test_replay);
  g_test_add_func("/link/hostile/injection", test_injection);
  g_test_add_func("/link/hostile/no-preamble", test_no_preamble);
  return g_test_run();
}
