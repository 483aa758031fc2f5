/* A device's gateway: programs ask and offer on its local socket, with descriptors that nobody wants, and its
 * clone host says what it likes on the streams, opens some of its own, hangs up, and is dialled again. Every
 * stream and descriptor is gone at the end. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/gateway.h"
#include "c2c/local_message.h"
#include "loop.h"
#include "sockets.h"
#include "speaker.h"

#define STEPS    80
#define PROGRAMS 4u

typedef struct {
  Speaker clone; /* its link NULL: not dialled, or gone */
  int programs[PROGRAMS];
  guint steps;
  Input input;
} World;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static Link *
on_dial(void *data, GError **error)
{
  World *world = data;
  int ends[2];
  if (input_below(&world->input, 8) == 0) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "nobody answers");
    return NULL;
  }
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  g_clear_pointer(&world->clone.link, link_free);
  world->clone.link = link_new_local(ends[1]);
  world->clone.next = 1;
  return link_new_local(ends[0]);
}

static void
connect_program(int *fd)
{
  struct sockaddr_un address;
  int directory;
  demand(local_packet_address(sockets_path("gateway"), &address, &directory) == 0);
  *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  demand(connect(*fd, (struct sockaddr *)&address, sizeof address) == 0);
}

static void
ask(World *world, int fd)
{
  static const char *const services[] = {"x", "x", "y", "echo"};
  guint8 room[256], body[100] = {0};
  Input *input = &world->input;
  LocalRequest request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  Doppel__Wire__LocalDial dial = DOPPEL__WIRE__LOCAL_DIAL__INIT;
  Doppel__Wire__LocalListen offer = DOPPEL__WIRE__LOCAL_LISTEN__INIT;
  Doppel__Wire__LocalControl control = DOPPEL__WIRE__LOCAL_CONTROL__INIT;
  dial.user = (char *)"u";
  dial.service = offer.service = (char *)services[input_below(input, G_N_ELEMENTS(services))];
  control.verb = (char *)"verb";
  control.body = (ProtobufCBinaryData){input_below(input, sizeof body), body};
  request.id = input_number(input, 1);
  request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_DIAL + input_below(input, 3);
  if (request.what_case == DOPPEL__WIRE__LOCAL_REQUEST__WHAT_DIAL)
    request.dial = &dial;
  else if (request.what_case == DOPPEL__WIRE__LOCAL_REQUEST__WHAT_LISTEN)
    request.listen = &offer;
  else
    request.control = &control;
  gsize length = doppel__wire__local_request__pack(&request, room);
  sockets_send(fd, room, length, input_below(input, 16) ? 0 : SOCKETS_FDS_MAX, input);
}

/* What it hears is sound, whoever has said it. */
static void
hear(World *world, int fd)
{
  static guint8 room[LOCAL_MESSAGE_MAX];
  int passed;
  gssize length;
  /* An empty packet would be the end; none comes with a descriptor. */
  while ((length = local_packet_receive(fd, room, sizeof room, &passed, MSG_DONTWAIT)) > 0) {
    g_autoptr(LocalReply) reply = local_reply_unpack(room, length, NULL);
    demand(reply != NULL);
    if (passed < 0)
      continue;
    gsize size;
    const guint8 *words = input_blob(&world->input, &size);
    if (size > 0)
      send(passed, words, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(passed);
  }
}

static void
act_as_program(World *world)
{
  int *fd = &world->programs[input_below(&world->input, PROGRAMS)];
  guint what = input_below(&world->input, 8);
  if (*fd < 0) {
    connect_program(fd);
    ask(world, *fd);
  } else if (what == 0) {
    close(*fd);
    *fd = -1;
  } else if (what <= 3) {
    hear(world, *fd);
  } else if (what == 4) {
    gsize length;
    const guint8 *bytes = input_blob(&world->input, &length);
    if (length > 0)
      sockets_send(*fd, bytes, length, 0, &world->input);
  } else {
    ask(world, *fd);
  }
}

static void
say_reply(World *world)
{
  guint8 body[200] = {0};
  Input *input = &world->input;
  LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  reply.why = input_below(input, 4) ? 0 : (int)input_below(input, 9);
  reply.more = input_below(input, 2);
  reply.words = (char *)"words";
  reply.body = (ProtobufCBinaryData){input_below(input, sizeof body), body};
  g_autofree guint8 *packed = g_malloc(doppel__wire__local_reply__get_packed_size(&reply) + 1);
  speaker_say_frame(&world->clone, packed, doppel__wire__local_reply__pack(&reply, packed));
}

static void
say_peer(World *world)
{
  guint8 key[33] = {0}, room[256];
  Input *input = &world->input;
  Doppel__Wire__LocalPeer peer = DOPPEL__WIRE__LOCAL_PEER__INIT;
  peer.name = input_below(input, 8) ? (char *)"alice" : (char *)"al\nice";
  peer.service = (char *)"x";
  peer.origin = (ProtobufCBinaryData){input_below(input, 16) ? 32 : 33, key};
  peer.clone_key = (ProtobufCBinaryData){input_below(input, 16) ? 32 : 31, key};
  speaker_say_frame(&world->clone, room, doppel__wire__local_peer__pack(&peer, room));
}

static gboolean
turn(gpointer data)
{
  World *world = data;
  if (world->input.left == 0 || world->steps++ > STEPS)
    return FALSE;
  guint what = input_below(&world->input, 16);
  if (what <= 5 || !world->clone.link)
    act_as_program(world);
  else if (what <= 7)
    say_reply(world);
  else if (what == 8)
    say_peer(world);
  else if (what == 9 && input_below(&world->input, 8) == 0)
    g_clear_pointer(&world->clone.link, link_free);
  else
    speaker_speak(&world->clone);
  return TRUE;
}

/* As when it was idle. */
static void
end(gpointer data)
{
  loop_quit();
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static const char *const services[] = {"incoming:x", "incoming:x", "incoming:y", "echo", NULL};
  const char *path = sockets_path("gateway");
  guint before = sockets_open();
  World world = {.input = {data, length}};
  world.clone = (Speaker){NULL, FALSE, 1, &world.input, services};
  for (guint i = 0; i < PROGRAMS; i++)
    world.programs[i] = -1;
  GatewayConfig config = {.dial = on_dial, .data = &world, .socket = path, .idle_s = 1000};
  loop_set(turn, end, &world);
  demand(gateway_run(&config, NULL));
  g_clear_pointer(&world.clone.link, link_free);
  for (guint i = 0; i < PROGRAMS; i++)
    if (world.programs[i] >= 0)
      close(world.programs[i]);
  demand(sockets_open() == before);
  return 0;
}
