/* A clone host's end of a device's gateway: the device says what it likes on its streams, and the clone's
 * node answers, accepts streams, or goes, as the input says. Every stream and descriptor is gone at the end.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "c2c/local_message.h"
#include "c2c/relay.h"
#include "loop.h"
#include "sockets.h"
#include "speaker.h"

#define STEPS 80
#define NODES 16u

typedef struct {
  Speaker device;
  int listener;
  int asked[NODES]; /* the node's connections; -1 */
  guint steps;
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
  int directory, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  unlink(path);
  demand(local_packet_address(path, &address, &directory) == 0 &&
         bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 64) == 0);
  return fd;
}

static void
accept_questions(World *world)
{
  for (guint i = 0; i < NODES; i++)
    if (world->asked[i] < 0)
      world->asked[i] = accept4(world->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void
pass_some_stream(World *world, int to, const guint8 *packet, gsize length)
{
  int ends[2];
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  local_packet_send(to, packet, length, ends[0], MSG_DONTWAIT);
  gsize size;
  const guint8 *words = input_blob(&world->input, &size);
  if (size > 0)
    send(ends[1], words, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  close(ends[0]);
  close(ends[1]);
}

/* The node is the host's own; it may be an older one, or broken. */
static void
answer(World *world, int fd)
{
  static const guint8 key[32];
  guint8 packet[4096];
  Input *input = &world->input;
  LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  Doppel__Wire__LocalPeer peer = DOPPEL__WIRE__LOCAL_PEER__INIT;
  reply.id = 1;
  reply.why = input_below(input, 4) ? 0 : (int)input_below(input, 9);
  reply.more = input_below(input, 2);
  reply.words = (char *)"words";
  peer.name = (char *)"alice";
  peer.service = (char *)"x";
  peer.origin = peer.clone_key = (ProtobufCBinaryData){sizeof key, (guint8 *)key};
  if (input_below(input, 2))
    reply.incoming = &peer;
  reply.body = (ProtobufCBinaryData){input_number(input, 1) * 8, packet};
  guint8 *packed = g_malloc(doppel__wire__local_reply__get_packed_size(&reply));
  gsize length = doppel__wire__local_reply__pack(&reply, packed);
  if (input_below(input, 2))
    pass_some_stream(world, fd, packed, length);
  else
    sockets_send(fd, packed, length, input_below(input, SOCKETS_FDS_MAX), input);
  g_free(packed);
}

static void
act_as_node(World *world)
{
  int *fd = &world->asked[input_below(&world->input, NODES)];
  accept_questions(world);
  if (*fd < 0)
    return;
  if (input_below(&world->input, 8)) {
    answer(world, *fd);
  } else {
    close(*fd);
    *fd = -1;
  }
}

/* A request that is asked over a "control" stream. */
static void
ask(World *world)
{
  guint8 room[256];
  LocalRequest request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  Doppel__Wire__LocalControl control = DOPPEL__WIRE__LOCAL_CONTROL__INIT;
  control.verb = (char *)"verb";
  control.body = (ProtobufCBinaryData){input_below(&world->input, 100), room};
  request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_CONTROL;
  request.control = &control;
  memset(room, 0, sizeof room);
  g_autofree guint8 *packed = g_malloc(doppel__wire__local_request__get_packed_size(&request));
  speaker_say_frame(&world->device, packed, doppel__wire__local_request__pack(&request, packed));
}

static gboolean
turn(gpointer data)
{
  World *world = data;
  if (world->input.left == 0 || world->steps++ > STEPS)
    return FALSE;
  guint what = input_below(&world->input, 8);
  if (what <= 1)
    act_as_node(world);
  else if (what == 2)
    ask(world);
  else
    speaker_speak(&world->device);
  return TRUE;
}

static void
hang_up(gpointer data)
{
  g_clear_pointer(&((World *)data)->device.link, link_free);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static const char *const services[] = {"control",    "control", "listen:x", "echo",
                                         "incoming:x", "listen:", NULL};
  static int listener = -1;
  int ends[2];
  if (listener < 0)
    listener = listen_at(sockets_path("node"));
  guint before = sockets_open();
  World world = {.listener = listener, .input = {data, length}};
  for (guint i = 0; i < NODES; i++)
    world.asked[i] = -1;
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  world.device = (Speaker){link_new_local(ends[1]), TRUE, 2, &world.input, services};
  loop_set(turn, hang_up, &world);
  demand(relay_serve(link_new_local(ends[0]), -1, sockets_path("node")) == 0);
  accept_questions(&world);
  for (guint i = 0; i < NODES; i++)
    if (world.asked[i] >= 0)
      close(world.asked[i]);
  /* Those whom nobody has accepted. */
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
    close(fd);
  demand(sockets_open() == before);
  return 0;
}
