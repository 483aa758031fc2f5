/* A program's end of the local socket (libdoppel-c2c) whose node or gateway says what it likes, with
 * descriptors that nobody asked for: what the program gets is whole, and no descriptor stays open. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "c2c/api.h"
#include "c2c/local_packet.h"
#include "doppel/c2c.h"
#include "sockets.h"

typedef struct {
  int listener;
  Input input;
} World;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static int
listen_at(const char *path)
{
  struct sockaddr_un address;
  int directory, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  unlink(path);
  demand(local_packet_address(path, &address, &directory) == 0 &&
         bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 8) == 0);
  return fd;
}

/* A reply that makes sense, more or less. */
static gsize
pack_reply(Input *input, guint64 id, guint8 *room)
{
  static guint8 key[32];
  Doppel__Wire__LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  Doppel__Wire__LocalPeer peer = DOPPEL__WIRE__LOCAL_PEER__INIT;
  char name[80] = {0};
  memset(name, 'n', input_below(input, sizeof name));
  reply.id = input_below(input, 8) ? id : input_number(input, 1);
  reply.why = input_below(input, 4) ? 0 : (int)input_below(input, 12);
  reply.more = input_below(input, 2);
  reply.words = input_below(input, 2) ? (char *)"words" : (char *)"";
  peer.name = name;
  peer.service = (char *)"s";
  peer.origin = (ProtobufCBinaryData){input_below(input, 16) ? sizeof key : input_below(input, 33), key};
  peer.clone_key = (ProtobufCBinaryData){input_below(input, 16) ? sizeof key : input_below(input, 33), key};
  if (input_below(input, 2))
    reply.incoming = &peer;
  gsize length;
  reply.body.data = (guint8 *)input_blob(input, &length);
  reply.body.len = MIN(length, 1000);
  return doppel__wire__local_reply__pack(&reply, room);
}

/* The other end's replies wait before they are asked for. */
static void
say(World *world, guint64 id)
{
  static guint8 room[LOCAL_MESSAGE_MAX + 10];
  Input *input = &world->input;
  int fd = accept4(world->listener, NULL, NULL, SOCK_CLOEXEC);
  demand(fd >= 0);
  for (guint left = input_below(input, 6); left > 0; left--) {
    gsize length;
    const guint8 *bytes = room;
    guint kind = input_below(input, 8);
    if (kind == 0)
      bytes = input_blob(input, &length);
    else if (kind == 1)
      length = sizeof room;
    else
      length = pack_reply(input, id, room);
    sockets_send(fd, bytes, length, input_below(input, 2) * input_below(input, SOCKETS_FDS_MAX + 1), input);
  }
  close(fd);
}

static int
on_answer(const guint8 *body, size_t length, int more, void *data)
{
  static guint8 room[LOCAL_MESSAGE_MAX];
  demand(length <= sizeof room);
  memcpy(room, body, length);
  return input_below(data, 8) == 7;
}

static void
take_streams(C2cListener *listener)
{
  C2cPeer peer;
  int fd;
  while ((fd = c2c_accept(listener, &peer)) >= 0) {
    demand(memchr(peer.name, 0, sizeof peer.name) != NULL);
    close(fd);
  }
}

static void
use(World *world)
{
  char *why = NULL;
  guint what = input_below(&world->input, 3);
  C2c *c2c = c2c_open(sockets_path("program"), &why);
  demand(c2c != NULL);
  say(world, 1);
  int fd = -1;
  if (what == 0) {
    fd = c2c_dial(c2c, "u", "s", &why);
    demand(fd >= 0 || why);
  } else if (what == 1) {
    int done = c2c_control(c2c, "verb", "body", 4, 1000, on_answer, &world->input, &why);
    demand(done == 0 || why);
  }
  if (fd >= 0)
    close(fd);
  free(why);
  c2c_close(c2c);
}

static void
receive(World *world)
{
  guint8 room[300];
  int ends[2], passed = -1;
  demand(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  gsize length;
  const guint8 *bytes = input_blob(&world->input, &length);
  gboolean wanted = input_below(&world->input, 2);
  sockets_send(ends[0], bytes, length, input_below(&world->input, SOCKETS_FDS_MAX + 1), &world->input);
  close(ends[0]);
  gssize got = local_packet_receive(ends[1], room, sizeof room, wanted ? &passed : NULL, 0);
  demand(got <= (gssize)sizeof room && (got < 0) == (length > sizeof room));
  if (got >= 0 && passed >= 0)
    close(passed);
  close(ends[1]);
}

static gpointer
say_aside(gpointer world)
{
  say(world, 1);
  return NULL;
}

/* An offer has a connection of its own, made and asked over in one call. */
static void
offer(World *world)
{
  char *why = NULL;
  C2c *c2c = c2c_open(sockets_path("program"), &why);
  demand(c2c != NULL);
  int first = accept4(world->listener, NULL, NULL, SOCK_CLOEXEC);
  GThread *other = g_thread_new("node", say_aside, world);
  C2cListener *listener = c2c_listen(c2c, "s", &why);
  g_thread_join(other);
  demand(listener || why);
  if (listener)
    take_streams(listener);
  c2c_listener_close(listener);
  free(why);
  close(first);
  c2c_close(c2c);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static void (*const ways[])(World *) = {use, use, receive, offer};
  static int listener = -1;
  if (listener < 0)
    listener = listen_at(sockets_path("program"));
  World world = {.listener = listener, .input = {data, length}};
  guint before = sockets_open();
  for (guint i = 0; i < 8 && world.input.left > 0; i++)
    ways[input_below(&world.input, G_N_ELEMENTS(ways))](&world);
  demand(sockets_open() == before);
  return 0;
}
