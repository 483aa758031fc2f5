/* A device's gateway and the clone host's relay, with a node that is made for it: what programs on the device
 * see of it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/api.h"
#include "c2c/gateway.h"
#include "c2c/local.h"
#include "c2c/relay.h"
#include "c2c/stream_end.h"

enum { LARGE = 3 << 20 };

typedef struct {
  char *directory, *node_path, *gateway_path;
  GMainContext *node;
  GThread *node_thread, *gateway_thread;
  gint ending, links, offers, nevers, refusing;
  LocalCall *offer;
  GMutex mutex;
  GPtrArray *relays; /* GThread */
  int last_link;     /* the clone host's end of it */
  GError *error;     /* the gateway's */
  guint idle_s;
} World;

/* ---- the node: services that are named for what they do ---- */

/* Everything that is heard is said again, until its end. */
static void *
echo(void *data)
{
  int fd = GPOINTER_TO_INT(data);
  char piece[4096];
  g_assert_true(stream_end_name(fd));
  for (gssize got; (got = read(fd, piece, sizeof piece)) > 0;)
    if (!io_write_all(fd, piece, got))
      break;
  shutdown(fd, SHUT_WR);
  close(fd);
  return NULL;
}

static void
on_dial(LocalCall *call, const char *user, const char *service, void *data)
{
  int ends[2];
  if (strcmp(service, "denied") == 0) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, "bob has not allowed it");
    return;
  }
  if (strcmp(service, "never") == 0) {
    g_atomic_int_inc(&((World *)data)->nevers);
    return;
  }
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  if (strcmp(service, "echo") == 0) {
    g_thread_unref(g_thread_new("echo", echo, GINT_TO_POINTER(ends[1])));
  } else {
    g_autofree char *said = g_strdup_printf("%s of %s", service, user);
    if (strcmp(service, "cut") != 0)
      g_assert_true(stream_end_name(ends[1]));
    g_assert_true(io_write_all(ends[1], said, strlen(said)));
    close(ends[1]);
  }
  local_call_connected(call, ends[0]);
}

static void
on_listen(LocalCall *call, const char *service, void *data)
{
  World *world = data;
  if (strcmp(service, "taken") == 0) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, "somebody else offers it");
    return;
  }
  local_call_offer(call);
  g_mutex_lock(&world->mutex);
  world->offer = call;
  g_mutex_unlock(&world->mutex);
  g_atomic_int_inc(&world->offers);
}

static void
on_control(LocalCall *call, const char *verb, const guint8 *body, gsize length, void *data)
{
  g_autofree guint8 *large = g_malloc0(60000);
  if (strcmp(verb, "denied") == 0) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, "not you");
    return;
  }
  for (guint i = 0; strcmp(verb, "much") == 0 && i < 60; i++)
    local_call_answer(call, large, 60000, TRUE);
  local_call_answer(call, body, length, FALSE);
}

static void
on_gone(LocalCall *call, void *data)
{
  World *world = data;
  g_mutex_lock(&world->mutex);
  if (world->offer == call)
    world->offer = NULL;
  g_mutex_unlock(&world->mutex);
}

static void *
serve_node(void *data)
{
  static const LocalCallbacks callbacks = {on_dial, on_listen, on_control, on_gone};
  World *world = data;
  LocalServer *server = local_server_new(world->node_path, world->node, &callbacks, world, NULL);
  g_assert_nonnull(server);
  while (!g_atomic_int_get(&world->ending))
    g_main_context_iteration(world->node, TRUE);
  local_server_free(server);
  return NULL;
}

/* ---- the clone host, and the gateway ---- */

typedef struct {
  World *world;
  int fd;
} RelayStart;

static void *
serve_relay(void *data)
{
  RelayStart *start = data;
  relay_serve(link_new_local(start->fd), -1, start->world->node_path);
  g_free(start);
  return NULL;
}

static Link *
dial_clone(void *data, GError **error)
{
  World *world = data;
  int ends[2];
  if (g_atomic_int_get(&world->refusing)) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "the clone host is off");
    return NULL;
  }
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  RelayStart *start = g_new(RelayStart, 1);
  *start = (RelayStart){world, ends[1]};
  world->last_link = ends[1];
  g_ptr_array_add(world->relays, g_thread_new("relay", serve_relay, start));
  g_atomic_int_inc(&world->links);
  return link_new_local(ends[0]);
}

static void *
serve_gateway(void *data)
{
  World *world = data;
  const GatewayConfig config = {
      .dial = dial_clone, .data = world, .socket = world->gateway_path, .idle_s = world->idle_s};
  gateway_run(&config, &world->error);
  return NULL;
}

/* There is a file before somebody listens at it. */
static void
wait_for_server(const char *path)
{
  C2c *c2c = NULL;
  for (int i = 0; i < 6000 && !(c2c = c2c_open(path, NULL)); i++)
    g_usleep(10000);
  g_assert_nonnull(c2c);
  c2c_close(c2c);
}

static void
world_start(World *world, guint idle_s)
{
  *world = (World){.directory = g_dir_make_tmp("doppel-gateway-XXXXXX", NULL),
                   .node = g_main_context_new(),
                   .relays = g_ptr_array_new(),
                   .idle_s = idle_s};
  world->node_path = g_build_filename(world->directory, "node.socket", NULL);
  world->gateway_path = g_build_filename(world->directory, "c2c.socket", NULL);
  world->node_thread = g_thread_new("node", serve_node, world);
  world->gateway_thread = g_thread_new("gateway", serve_gateway, world);
  wait_for_server(world->node_path);
  wait_for_server(world->gateway_path);
}

/* The gateway ends by itself, once its socket is gone. */
static void
world_end(World *world)
{
  unlink(world->gateway_path);
  g_thread_join(world->gateway_thread);
  g_assert_no_error(world->error);
  for (guint i = 0; i < world->relays->len; i++)
    g_thread_join(world->relays->pdata[i]);
  g_atomic_int_set(&world->ending, TRUE);
  g_main_context_wakeup(world->node);
  g_thread_join(world->node_thread);
  g_autofree char *command = g_strdup_printf("rm -r '%s'", world->directory);
  g_assert_cmpint(system(command), ==, 0);
  g_ptr_array_unref(world->relays);
  g_main_context_unref(world->node);
  g_free(world->directory);
  g_free(world->node_path);
  g_free(world->gateway_path);
}

static C2c *
enter(const World *world)
{
  char *why = NULL;
  C2c *c2c = c2c_open(world->gateway_path, &why);
  g_assert_cmpstr(why, ==, NULL);
  return c2c;
}

static void
assert_says(int fd, const char *text)
{
  char got[256] = {0};
  g_assert_cmpint(fd, >=, 0);
  g_assert_cmpint(io_read_all(fd, got, sizeof got - 1), ==, strlen(text));
  g_assert_cmpstr(got, ==, text);
  close(fd);
}

static void
wait_until_at_least(gint *value, gint wanted)
{
  for (int i = 0; i < 6000 && g_atomic_int_get(value) < wanted; i++)
    g_usleep(10000);
  g_assert_cmpint(g_atomic_int_get(value), >=, wanted);
}

/* ---- dialling ---- */

static void
test_dial(void)
{
  World world;
  world_start(&world, 600);
  g_assert_cmpint(world.links, ==, 0); /* not before somebody needs it */
  C2c *c2c = enter(&world);
  char *why = NULL;
  assert_says(c2c_dial(c2c, "bob", "whatever", &why), "whatever of bob");
  assert_says(c2c_dial(c2c, NULL, "whatever", &why), "whatever of ");
  g_assert_cmpint(c2c_dial(c2c, "bob", "denied", &why), ==, -1);
  g_assert_cmpint(errno, ==, EACCES);
  g_assert_cmpstr(why, ==, "bob has not allowed it");
  free(why);
  g_assert_cmpint(world.links, ==, 1);
  c2c_close(c2c);
  world_end(&world);
}

static int
read_to_end(int fd)
{
  char piece[100];
  while (read(fd, piece, sizeof piece) > 0)
    ;
  int ended = c2c_ended(fd);
  close(fd);
  return ended;
}

/* Programs can tell a stream that was cut off, behind the clone or before it, from one that was ended. */
static void
test_cut(void)
{
  World world;
  world_start(&world, 600);
  C2c *c2c = enter(&world);
  g_assert_cmpint(read_to_end(c2c_dial(c2c, "bob", "whatever", NULL)), ==, 0);
  g_assert_cmpint(read_to_end(c2c_dial(c2c, "bob", "cut", NULL)), ==, -1);
  g_assert_cmpint(errno, ==, ECONNRESET);
  int fd = c2c_dial(c2c, "bob", "echo", NULL);
  char heard[5];
  g_assert_true(io_write_all(fd, "hello", 5));
  g_assert_cmpint(recv(fd, heard, sizeof heard, MSG_WAITALL), ==, sizeof heard);
  shutdown(world.last_link, SHUT_RDWR);
  g_assert_cmpint(read_to_end(fd), ==, -1);
  g_assert_cmpint(errno, ==, ECONNRESET);
  c2c_close(c2c);
  world_end(&world);
}

static void *
send_large(void *data)
{
  int fd = GPOINTER_TO_INT(data);
  g_autofree char *bytes = g_malloc(LARGE);
  for (int i = 0; i < LARGE; i++)
    bytes[i] = i * 7 + i / 251;
  g_assert_true(io_write_all(fd, bytes, LARGE));
  shutdown(fd, SHUT_WR);
  return NULL;
}

/* More than any window, both ways at once, with half-close. */
static void
test_large(void)
{
  World world;
  world_start(&world, 600);
  C2c *c2c = enter(&world);
  int fd = c2c_dial(c2c, "bob", "echo", NULL), idle = c2c_dial(c2c, "bob", "echo", NULL);
  g_autofree guint8 *got = g_malloc(LARGE + 1);
  GThread *sender = g_thread_new("sender", send_large, GINT_TO_POINTER(fd));
  g_assert_cmpint(io_read_all(fd, got, LARGE + 1), ==, LARGE);
  g_thread_join(sender);
  for (int i = 0; i < LARGE; i++)
    g_assert_cmpint(got[i], ==, (guint8)(i * 7 + i / 251));
  close(fd);
  g_assert_true(io_write_all(idle, "still", 5));
  shutdown(idle, SHUT_WR);
  assert_says(idle, "still");
  c2c_close(c2c);
  world_end(&world);
}

static void
test_clone_away(void)
{
  World world;
  world_start(&world, 600);
  world.refusing = TRUE;
  C2c *c2c = enter(&world);
  char *why = NULL;
  g_assert_cmpint(c2c_dial(c2c, "bob", "whatever", &why), ==, -1);
  g_assert_cmpint(errno, ==, EHOSTUNREACH);
  g_assert_cmpstr(why, ==, "the clone host is off");
  free(why);
  g_assert_null(c2c_listen(c2c, "message:chat", NULL));
  g_assert_cmpint(errno, ==, EHOSTUNREACH);
  g_assert_cmpint(c2c_control(c2c, "whois", "", 0, 10000, NULL, NULL, NULL), ==, -1);
  g_assert_cmpint(errno, ==, EHOSTUNREACH);
  /* It is asked again, not remembered. */
  g_atomic_int_set(&world.refusing, FALSE);
  assert_says(c2c_dial(c2c, "bob", "whatever", NULL), "whatever of bob");
  c2c_close(c2c);
  world_end(&world);
}

/* A program that goes does not leave its question behind; the others go on. */
static void
test_program_goes(void)
{
  World world;
  world_start(&world, 600);
  for (int i = 0; i < 10; i++) {
    C2c *c2c = enter(&world);
    pid_t none = fork();
    if (none == 0) {
      c2c_dial(c2c, "bob", "never", NULL);
      _exit(0);
    }
    c2c_close(c2c);
    wait_until_at_least(&world.nevers, i + 1);
    kill(none, SIGKILL);
    waitpid(none, NULL, 0);
  }
  C2c *c2c = enter(&world);
  assert_says(c2c_dial(c2c, "bob", "whatever", NULL), "whatever of bob");
  c2c_close(c2c);
  world_end(&world);
}

/* ---- what is no stream ---- */

static int
count_bytes(const unsigned char *body, size_t length, int more, void *data)
{
  *(gsize *)data += length;
  return 0;
}

static void
test_control(void)
{
  World world;
  world_start(&world, 600);
  C2c *c2c = enter(&world);
  char *why = NULL;
  gsize bytes = 0;
  g_assert_cmpint(c2c_control(c2c, "echo", "abc", 3, 10000, count_bytes, &bytes, &why), ==, 0);
  g_assert_cmpint(bytes, ==, 3);
  g_assert_cmpint(c2c_control(c2c, "much", "abc", 3, 10000, count_bytes, &bytes, &why), ==, 0);
  g_assert_cmpint(bytes, ==, 6 + 60 * 60000);
  g_assert_cmpint(c2c_control(c2c, "denied", "", 0, 10000, NULL, NULL, &why), ==, -1);
  g_assert_cmpint(errno, ==, EACCES);
  g_assert_cmpstr(why, ==, "not you");
  free(why);
  c2c_close(c2c);
  world_end(&world);
}

/* ---- offering ---- */

static gboolean
send_incoming(void *data)
{
  World *world = data;
  LocalFrom from = {.name = "alice", .service = "message:chat"};
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  memset(from.origin.bytes, 3, sizeof from.origin.bytes);
  memset(from.clone_key.bytes, 4, sizeof from.clone_key.bytes);
  g_mutex_lock(&world->mutex);
  g_assert_nonnull(world->offer);
  g_assert_true(local_call_incoming(world->offer, &from, ends[0]));
  g_mutex_unlock(&world->mutex);
  g_thread_unref(g_thread_new("echo", echo, GINT_TO_POINTER(ends[1])));
  return G_SOURCE_REMOVE;
}

static void
assert_served(World *world, C2cListener *listener)
{
  C2cPeer peer;
  g_main_context_invoke(world->node, send_incoming, world);
  int fd = c2c_accept(listener, &peer);
  g_assert_cmpint(fd, >=, 0);
  g_assert_cmpstr(peer.name, ==, "alice");
  g_assert_cmpint(peer.origin[31], ==, 3);
  g_assert_cmpint(peer.clone[31], ==, 4);
  g_assert_true(io_write_all(fd, "hello", 5));
  shutdown(fd, SHUT_WR);
  assert_says(fd, "hello");
}

static void
test_listen(void)
{
  World world;
  world_start(&world, 600);
  C2c *c2c = enter(&world);
  g_assert_null(c2c_listen(c2c, "taken", NULL));
  g_assert_cmpint(errno, ==, EEXIST);
  C2cListener *listener = c2c_listen(c2c, "message:chat", NULL);
  g_assert_nonnull(listener);
  /* One program of the device's at a time; the clone is not even asked. */
  g_assert_null(c2c_listen(c2c, "message:chat", NULL));
  g_assert_cmpint(errno, ==, EEXIST);
  assert_served(&world, listener);
  assert_served(&world, listener);
  /* The link is lost: the offer is made again over the next one, and the program need not know. */
  shutdown(world.last_link, SHUT_RDWR);
  wait_until_at_least(&world.offers, 2);
  assert_served(&world, listener);
  g_assert_cmpint(world.links, ==, 2);
  /* One that wants to know is told. */
  C2cNews news;
  shutdown(world.last_link, SHUT_RDWR);
  g_assert_cmpint(c2c_accept_or_news(listener, NULL, &news), ==, C2C_NEWS);
  g_assert_true(news.away);
  g_assert_cmpstr(news.words, !=, "");
  g_assert_cmpint(c2c_accept_or_news(listener, NULL, &news), ==, C2C_NEWS);
  g_assert_false(news.away);
  assert_served(&world, listener);
  g_assert_cmpint(world.links, ==, 3);
  c2c_listener_close(listener);
  /* It ends at the node, too. */
  for (int i = 0; i < 6000; i++) {
    g_mutex_lock(&world.mutex);
    gboolean over = !world.offer;
    g_mutex_unlock(&world.mutex);
    if (over)
      break;
    g_usleep(10000);
  }
  g_assert_null(world.offer);
  c2c_close(c2c);
  world_end(&world);
}

/* ---- its life ---- */

static void
test_idle(void)
{
  World world;
  world_start(&world, 4); /* by which the first program is there */
  C2c *c2c = enter(&world);
  assert_says(c2c_dial(c2c, "bob", "whatever", NULL), "whatever of bob");
  g_usleep(6 * G_USEC_PER_SEC);
  /* As long as a program is connected it is not idle. */
  assert_says(c2c_dial(c2c, "bob", "whatever", NULL), "whatever of bob");
  c2c_close(c2c);
  g_thread_join(g_steal_pointer(&world.gateway_thread)); /* it ends by itself */
  g_assert_cmpint(access(world.gateway_path, F_OK), <, 0);
  world.gateway_thread = g_thread_new("gateway", serve_gateway, &world);
  wait_for_server(world.gateway_path);
  world_end(&world);
}

static void
test_second(void)
{
  World world;
  world_start(&world, 600);
  const GatewayConfig config = {
      .dial = dial_clone, .data = &world, .socket = world.gateway_path, .idle_s = 600};
  g_autoptr(GError) error = NULL;
  g_assert_false(gateway_run(&config, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  C2c *c2c = enter(&world);
  assert_says(c2c_dial(c2c, "bob", "whatever", NULL), "whatever of bob");
  c2c_close(c2c);
  world_end(&world);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/c2c/gateway/dial", test_dial);
  g_test_add_func("/c2c/gateway/cut", test_cut);
  g_test_add_func("/c2c/gateway/large", test_large);
  g_test_add_func("/c2c/gateway/clone-away", test_clone_away);
  g_test_add_func("/c2c/gateway/program-goes", test_program_goes);
  g_test_add_func("/c2c/gateway/control", test_control);
  g_test_add_func("/c2c/gateway/listen", test_listen);
  g_test_add_func("/c2c/gateway/idle", test_idle);
  g_test_add_func("/c2c/gateway/second", test_second);
  return g_test_run();
}
