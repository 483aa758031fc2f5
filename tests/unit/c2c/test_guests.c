/* What programs in a clone's sandboxes get of its node: streams to others for services that the owner has
 * granted to them, and nothing that is the owner's; and how little the worst of them can take from the rest.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/local.h"
#include "c2c/local_message.h"
#include "c2c/node_store.h"
#include "node_world.h"
#include "wire/message.h"

#define CHAT "message:chat"

typedef struct {
  WorldClone *alice, *bob;
  C2c *listening;
  C2cListener *listener; /* of bob's, for CHAT */
} World;

static World
world_new(void)
{
  node_world_begin();
  World world = {.alice = clone_bound(100, "alice"), .bob = clone_bound(200, "bob")};
  clone_permit(world.bob, "allow", "alice", "*", "");
  world.listening = c2c_open(world.bob->socket, NULL);
  world.listener = c2c_listen(world.listening, CHAT, NULL);
  g_assert_nonnull(world.listener);
  return world;
}

static void
world_clear(World *world)
{
  c2c_listener_close(world->listener);
  c2c_close(world->listening);
  clone_free(world->alice);
  clone_free(world->bob);
  node_world_end();
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static int
guest_dial(WorldClone *clone, const char *user, const char *service)
{
  C2c *c2c = c2c_open(clone->programs, NULL);
  g_assert_nonnull(c2c);
  int fd = c2c_dial(c2c, user, service, NULL), saved = errno;
  c2c_close(c2c);
  errno = saved;
  return fd;
}

static void
assert_refused(WorldClone *clone, const char *user, const char *service, int why)
{
  int fd = guest_dial(clone, user, service);
  g_assert_cmpint(errno, ==, why);
  g_assert_cmpint(fd, ==, -1);
}

static int
guest_listen(WorldClone *clone, const char *service, C2cListener **listener)
{
  C2c *c2c = c2c_open(clone->programs, NULL);
  *listener = c2c_listen(c2c, service, NULL);
  int saved = errno;
  c2c_close(c2c);
  return *listener ? 0 : saved;
}

/* What was offered before is free when the node has heard of its end. */
static C2cListener *
guest_listen_again(WorldClone *clone, const char *service)
{
  C2cListener *listener = NULL;
  for (guint i = 0; i < 3000 && guest_listen(clone, service, &listener) == EEXIST; i++)
    g_usleep(20000);
  g_assert_nonnull(listener);
  return listener;
}

/* Nothing before it is granted; then that, with bob, who sees alice. Built-in services never, nor one's own
 * clone by any name. */
static void
test_dial(void)
{
  g_auto(World) world = world_new();
  C2cPeer peer;
  assert_refused(world.alice, "bob", CHAT, EACCES);
  clone_permit(world.alice, "allow", "*", "*", ""); /* what others may says nothing about programs here */
  assert_refused(world.alice, "bob", CHAT, EACCES);
  clone_permit(world.alice, "allow", NODE_PROGRAMS, "message:*", "streams=2");
  g_auto(Fd) near = guest_dial(world.alice, "bob", CHAT);
  g_assert_cmpint(near, >=, 0);
  g_auto(Fd) far = c2c_accept(world.listener, &peer);
  g_assert_cmpstr(peer.name, ==, "alice");
  g_assert_true(io_write_all(far, "x", 1));
  char byte = 0;
  g_assert_cmpint(read(near, &byte, 1), ==, 1);
  clone_permit(world.alice, "allow", NODE_PROGRAMS, "*", "");
  assert_refused(world.alice, "bob", "echo", EACCES);
  assert_refused(world.alice, "bob", "mine", EACCES);
  assert_refused(world.alice, "bob", "group", EACCES);
  assert_refused(world.alice, NULL, CHAT, EACCES);
  assert_refused(world.alice, "alice", CHAT, EACCES);
  assert_refused(world.alice, "nobody", CHAT, ENOENT);
  clone_permit(world.alice, "deny", NODE_PROGRAMS, CHAT, "");
  assert_refused(world.alice, "bob", CHAT, EACCES);
}

/* As many streams as the owner has said, until one ends. */
static void
test_streams(void)
{
  g_auto(World) world = world_new();
  clone_permit(world.alice, "allow", NODE_PROGRAMS, CHAT, "streams=2");
  g_auto(Fd) first = guest_dial(world.alice, "bob", CHAT);
  int second = guest_dial(world.alice, "bob", CHAT), fd = -1;
  g_assert_true(first >= 0 && second >= 0);
  assert_refused(world.alice, "bob", CHAT, EAGAIN);
  close(second);
  for (guint i = 0; i < 2; i++)
    close(c2c_accept(world.listener, NULL));
  for (guint i = 0; i < 3000 && fd < 0; i++) {
    fd = guest_dial(world.alice, "bob", CHAT);
    if (fd < 0)
      g_usleep(20000);
  }
  g_assert_cmpint(fd, >=, 0);
  close(fd);
}

/* A service that is granted is offered to whom the owner allows it; what somebody offers already, or is
 * built in, is not taken over. */
static void
test_listen(void)
{
  g_auto(World) world = world_new();
  C2cListener *listener, *other;
  C2cPeer peer;
  g_assert_cmpint(guest_listen(world.bob, "message:job", &listener), ==, EACCES);
  clone_permit(world.bob, "allow", NODE_PROGRAMS, "*", "");
  g_assert_cmpint(guest_listen(world.bob, CHAT, &listener), ==, EEXIST);
  g_assert_cmpint(guest_listen(world.bob, "echo", &listener), ==, EACCES);
  g_assert_cmpint(guest_listen(world.bob, "message:job", &listener), ==, 0);
  g_assert_cmpint(guest_listen(world.bob, "message:job", &other), ==, EEXIST);
  g_auto(Fd) near = clone_dial(world.alice, "bob", "message:job");
  g_assert_cmpint(near, >=, 0);
  g_auto(Fd) far = c2c_accept(listener, &peer);
  g_assert_cmpstr(peer.name, ==, "alice");
  g_assert_cmpint(far, >=, 0);
  c2c_listener_close(listener);
  C2cListener *many[32] = {guest_listen_again(world.bob, "message:job")};
  guint count = 1;
  int why = 0;
  for (; count < G_N_ELEMENTS(many) && why == 0; count++) {
    g_autofree char *name = g_strdup_printf("message:%u", count);
    why = guest_listen(world.bob, name, &many[count]);
  }
  g_assert_cmpint(why, ==, EEXIST); /* of an offer that is what BUSY means */
  g_assert_cmpuint(count, ==, 17);
  for (guint i = 0; i < count; i++)
    c2c_listener_close(many[i]);
}

static int
raw(const char *path)
{
  struct sockaddr_un address;
  g_auto(Fd) directory = -1;
  g_assert_cmpint(local_packet_address(path, &address, &directory), ==, 0);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  return fd;
}

static Doppel__Wire__C2cRefusal
ask_raw(int fd, const LocalRequest *request)
{
  g_autofree guint8 *packet = g_malloc(LOCAL_MESSAGE_MAX);
  g_autoptr(GBytes) bytes = wire_pack(&request->base);
  g_assert_cmpint(local_packet_send(fd, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), -1, 0), ==,
                  0);
  gssize length = local_packet_receive(fd, packet, LOCAL_MESSAGE_MAX, NULL, 0);
  g_assert_cmpint(length, >, 0);
  g_autoptr(LocalReply) reply = local_reply_unpack(packet, length, NULL);
  g_assert_nonnull(reply);
  return reply->why;
}

/* No verb of the owner's is answered. */
static void
test_control(void)
{
  static const char *const verbs[] = {"allow",  "deny",         "permissions", "bind",     "clone",
                                      "status", "whois",        "contact",     "contacts", "group",
                                      "peers",  "sign-receipt", "list",        "nonsense"};
  g_auto(World) world = world_new();
  clone_permit(world.alice, "allow", NODE_PROGRAMS, "*", "");
  g_auto(Fd) fd = raw(world.alice->programs);
  for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
    Doppel__Wire__LocalControl control = DOPPEL__WIRE__LOCAL_CONTROL__INIT;
    LocalRequest request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
    control.verb = (char *)verbs[i];
    request.id = i + 1;
    request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_CONTROL;
    request.control = &control;
    g_assert_cmpint(ask_raw(fd, &request), ==, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED);
  }
}

static gboolean
is_ended(int fd)
{
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  char packet[4096];
  ssize_t length = poll(&wait, 1, 60000) == 1 ? recv(fd, packet, sizeof packet, MSG_DONTWAIT) : -1;
  if (length <= 0)
    return length == 0;
  g_autoptr(LocalReply) reply = local_reply_unpack(packet, length, NULL);
  return reply && reply->why == DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY && is_ended(fd);
}

/* In a PID namespace of its own, as a sandbox is. */
static pid_t
another_sandbox(const char *path, int tell)
{
  pid_t child = fork();
  if (child != 0)
    return child;
  if (unshare(CLONE_NEWPID) < 0)
    _exit(77);
  pid_t inside = fork();
  if (inside == 0) {
    C2c *c2c = c2c_open(path, NULL);
    int fd = c2c ? c2c_dial(c2c, "bob", CHAT, NULL) : -1;
    (void)!write(tell, fd >= 0 ? "y" : "n", 1);
    _exit(0);
  }
  waitpid(inside, NULL, 0);
  _exit(0);
}

/* One sandbox fills its share with connections that say nothing, sends nonsense and asks without end: another
 * one is served, and so is the owner. */
static void
test_flood(void)
{
  enum { MANY = 3 * LOCAL_GUESTS_EACH };
  g_auto(World) world = world_new();
  int held[MANY], ends[2];
  guint ended = 0;
  if (geteuid() != 0) {
    g_test_skip("a PID namespace needs root");
    return;
  }
  clone_permit(world.alice, "allow", NODE_PROGRAMS, CHAT, "");
  for (guint i = 0; i < MANY; i++)
    held[i] = raw(world.alice->programs);
  for (guint i = LOCAL_GUESTS_EACH; i < MANY; i++)
    ended += is_ended(held[i]);
  g_assert_cmpuint(ended, ==, MANY - LOCAL_GUESTS_EACH);
  const guint8 dial[] = {8,   1,   18,  18,  10,  2,   'x', 'y', 18,  12,  'm',
                         'e', 's', 's', 'a', 'g', 'e', ':', 'c', 'h', 'a', 't'};
  guint8 request[sizeof dial];
  memcpy(request, dial, sizeof dial);
  for (guint round = 0; round < 50; round++)
    for (guint i = 0; i < LOCAL_GUESTS_EACH; i++)
      send(held[i], i == 0 ? (const void *)"\xff\xff" : request, i == 0 ? 2 : sizeof request,
           MSG_DONTWAIT | MSG_NOSIGNAL);
  g_assert_cmpint(pipe(ends), ==, 0);
  char answer = 0;
  pid_t child = another_sandbox(world.alice->programs, ends[1]);
  close(ends[1]); /* its end would be heard */
  g_assert_cmpint(read(ends[0], &answer, 1), ==, 1);
  g_assert_cmpint(answer, ==, 'y');
  waitpid(child, NULL, 0);
  g_auto(Fd) own = clone_dial(world.alice, "bob", CHAT);
  g_assert_cmpint(own, >=, 0);
  for (guint i = 0; i < MANY; i++)
    close(held[i]);
  close(ends[0]);
  /* What it held is free again. */
  int fd = -1;
  for (guint i = 0; i < 3000 && fd < 0; i++) {
    fd = guest_dial(world.alice, "bob", CHAT);
    if (fd < 0)
      g_usleep(20000);
  }
  g_assert_cmpint(fd, >=, 0);
  close(fd);
}

int
main(int argc, char **argv)
{
  signal(SIGPIPE, SIG_IGN);
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/guests/dial", test_dial);
  g_test_add_func("/guests/streams", test_streams);
  g_test_add_func("/guests/listen", test_listen);
  g_test_add_func("/guests/control", test_control);
  g_test_add_func("/guests/flood", test_flood);
  return g_test_run();
}
