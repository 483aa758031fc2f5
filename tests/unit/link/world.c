#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#define POLLED_MAX 64

typedef struct {
  int ends[2]; /* towards the dialler, towards the host */
  gint64 left[2];
} Pair;

int
world_listen(guint16 *port)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  g_assert_cmpint(bind(fd, (struct sockaddr *)&address, length), ==, 0);
  g_assert_cmpint(listen(fd, 64), ==, 0);
  g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
  *port = ntohs(address.sin_port);
  return fd;
}

int
world_connect(guint16 port)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
  g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  return fd;
}

World *
world_new(void)
{
  World *world = g_new0(World, 1);
  world->device_key = identity_key_generate();
  world->clone_key = identity_key_generate();
  memset(world->clone, 0xc1, sizeof world->clone);
  /* Both ends stand still together: what is not to happen for lack of time has to be far away. */
  world->options = (LinkOptions){
      .resume_ms = 60000, .connect_ms = 30000, .keepalive_ms = 20000, .multipath = FALSE, .tickets = TRUE};
  world->listener = world_listen(&world->port);
  world->address = g_strdup_printf("127.0.0.1:%u", world->port);
  world->proxies = g_ptr_array_new();
  return world;
}

void
world_free(World *world)
{
  link_free(world->device);
  link_free(world->host);
  identity_key_free(world->device_key);
  identity_key_free(world->clone_key);
  close(world->listener);
  g_free(world->address);
  g_clear_error(&world->device_error);
  g_clear_error(&world->host_error);
  g_assert_cmpuint(world->proxies->len, ==, 0);
  g_ptr_array_free(world->proxies, TRUE);
  g_free(world);
}

void
world_dial(World *world, const char *address)
{
  GError *error = NULL;
  const char *addresses[] = {address ? address : world->address, NULL};
  const IdentityPublic *peer = world->anybody ? NULL : identity_key_public(world->clone_key);
  world->device = link_dial_later(addresses, world->device_key, peer, world->clone, &world->options, &error);
  g_assert_no_error(error);
}

/* As doppeld does: the first socket of a session makes a link, the others are handed to it. */
static void
accept_one(World *world)
{
  int fd = accept4(world->listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0)
    return;
  LinkPreamble preamble;
  g_autoptr(GError) error = NULL;
  /* The preamble comes in one piece, if at all. */
  if (!link_preamble_read(fd, 100, &preamble, &error)) {
    close(fd);
    world->strangers_refused++;
    return;
  }
  world->preamble = preamble;
  const IdentityPublic *peer = world->anybody ? NULL : identity_key_public(world->device_key);
  if (!world->host)
    world->host = link_accept_later(&preamble, world->clone_key, peer, &world->options, &error);
  g_assert_no_error(error);
  link_resume(world->host, fd, NULL);
}

/* Proxies. */

static void
pair_free(Pair *pair)
{
  close(pair->ends[0]);
  close(pair->ends[1]);
  g_free(pair);
}

Proxy *
proxy_new(World *world)
{
  Proxy *proxy = g_new0(Proxy, 1);
  guint16 port;
  proxy->listener = world_listen(&port);
  proxy->to = world->port;
  proxy->address = g_strdup_printf("127.0.0.1:%u", port);
  proxy->pairs = g_ptr_array_new_with_free_func((GDestroyNotify)pair_free);
  proxy->limits[0] = proxy->limits[1] = -1;
  g_ptr_array_add(world->proxies, proxy);
  return proxy;
}

void
proxy_free(World *world, Proxy *proxy)
{
  g_ptr_array_remove(world->proxies, proxy);
  close(proxy->listener);
  g_ptr_array_free(proxy->pairs, TRUE);
  if (proxy->tape)
    g_byte_array_unref(proxy->tape);
  g_free(proxy->address);
  g_free(proxy);
}

void
proxy_cut(Proxy *proxy)
{
  g_ptr_array_set_size(proxy->pairs, 0);
  proxy->cuts++;
}

static void
proxy_accept(Proxy *proxy)
{
  int fd = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0)
    return;
  Pair *pair = g_new0(Pair, 1);
  pair->ends[0] = fd;
  pair->ends[1] = world_connect(proxy->to);
  /* What a slow link has not taken yet waits where it came from. */
  for (int way = 0; way < 2 && proxy->rate; way++)
    setsockopt(pair->ends[way], SOL_SOCKET, SO_RCVBUF, &(int){32768}, sizeof(int));
  /* Only the first connection is cut. */
  for (int way = 0; way < 2; way++) {
    pair->left[way] = proxy->limits[way];
    proxy->limits[way] = -1;
  }
  g_ptr_array_add(proxy->pairs, pair);
}

/* Lets bytes through one way. FALSE when the pair is to be closed. */
static gboolean
pump(Proxy *proxy, Pair *pair, int way)
{
  guint8 bytes[65536];
  if (pair->left[way] == 0)
    return FALSE;
  gsize room = proxy->rate ? MIN(sizeof bytes, proxy->rate / 50) : sizeof bytes;
  if (pair->left[way] > 0)
    room = MIN(pair->left[way], (gint64)room);
  ssize_t got = recv(pair->ends[way], bytes, room, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN)
    return TRUE;
  if (got <= 0)
    return FALSE;
  if (proxy->stalled)
    return TRUE;
  if (way == 0 && proxy->tape)
    g_byte_array_append(proxy->tape, bytes, got);
  proxy->passed[way] += got;
  if (proxy->rate)
    g_usleep(got * G_USEC_PER_SEC / proxy->rate);
  if (send(pair->ends[!way], bytes, got, MSG_NOSIGNAL) < got)
    return FALSE;
  if (pair->left[way] > 0 && (pair->left[way] -= got) == 0) {
    proxy->cuts++;
    return FALSE;
  }
  return TRUE;
}

static void
proxy_step(Proxy *proxy)
{
  if (!proxy->deaf)
    proxy_accept(proxy);
  for (guint i = 0; i < proxy->pairs->len;) {
    Pair *pair = proxy->pairs->pdata[i];
    if (pump(proxy, pair, 0) && pump(proxy, pair, 1))
      i++;
    else
      g_ptr_array_remove_index_fast(proxy->pairs, i);
  }
}

/* Everything at once. */

static guint
prepare(World *world, struct pollfd *fds, int *timeout_ms)
{
  guint count = 0;
  fds[count++] = (struct pollfd){world->listener, POLLIN, 0};
  if (world->device)
    count += link_prepare(world->device, fds + count, timeout_ms);
  if (world->host)
    count += link_prepare(world->host, fds + count, timeout_ms);
  for (guint i = 0; i < world->proxies->len; i++) {
    Proxy *proxy = world->proxies->pdata[i];
    if (!proxy->deaf)
      fds[count++] = (struct pollfd){proxy->listener, POLLIN, 0};
    for (guint p = 0; p < proxy->pairs->len && count < POLLED_MAX - 4; p++)
      for (int way = 0; way < 2; way++)
        fds[count++] = (struct pollfd){((Pair *)proxy->pairs->pdata[p])->ends[way], POLLIN, 0};
  }
  return count;
}

void
world_step(World *world, int timeout_ms)
{
  struct pollfd fds[POLLED_MAX];
  guint count = prepare(world, fds, &timeout_ms);
  poll(fds, count, timeout_ms);
  for (guint i = 0; i < world->proxies->len; i++)
    proxy_step(world->proxies->pdata[i]);
  if (fds[0].revents)
    accept_one(world);
  if (world->device && !world->device_error)
    link_work(world->device, &world->device_error);
  if (world->host && !world->host_error)
    link_work(world->host, &world->host_error);
}

void
world_until(World *world, gboolean (*done)(World *), int limit_ms)
{
  gint64 deadline = clock_now_ns() + limit_ms * G_GINT64_CONSTANT(1000000);
  while (!done(world)) {
    if (clock_now_ns() > deadline)
      g_error("nothing happened within %d ms: device %s, host %s", limit_ms,
              world->device_error ? world->device_error->message : "alive",
              world->host_error ? world->host_error->message : "alive");
    world_step(world, 50);
  }
}

gboolean
world_is_up(World *world)
{
  return link_state(world->device) == LINK_UP && world->host && link_state(world->host) == LINK_UP;
}

World *
world_connected(void)
{
  World *world = world_new();
  world_dial(world, NULL);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  return world;
}

static guint8
byte_at(guint32 channel, gsize length, gsize i)
{
  return (channel * 31 + length * 7 + i * 13) >> (i % 5);
}

void
world_send(Link *link, guint32 channel, gsize length)
{
  g_autofree guint8 *bytes = g_malloc(length + 1);
  for (gsize i = 0; i < length; i++)
    bytes[i] = byte_at(channel, length, i);
  struct iovec pieces[] = {{bytes, length / 3}, {NULL, 0}, {bytes + length / 3, length - length / 3}};
  GError *error = NULL;
  if (!link_send(link, channel, pieces, 3, &error))
    g_error("link_send: %s", error->message);
}

void
world_check(const LinkMessage *message, guint32 channel, gsize length)
{
  g_assert_cmpuint(message->channel, ==, channel);
  g_assert_cmpuint(message->length, ==, length);
  for (gsize i = 0; i < length; i++)
    if (message->data[i] != byte_at(channel, length, i))
      g_error("byte %zu of a message of %zu is wrong", i, length);
}

LinkMessage *
world_receive(World *world, Link *link)
{
  gint64 deadline = clock_now_ns() + WORLD_PATIENCE_MS * G_GINT64_CONSTANT(1000000);
  LinkMessage *message;
  while (!(message = link_take(link))) {
    if (clock_now_ns() > deadline)
      g_error("no message came");
    world_step(world, 50);
  }
  return message;
}
