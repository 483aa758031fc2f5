/* Programs on the local socket of a node or a gateway, guests among them, that send what they like, with
 * descriptors, do not read, or leave, while the requests that make sense are answered in any order. Every
 * request is answered or given up once, and no descriptor stays open. */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/line.h"
#include "c2c/local.h"
#include "c2c/local_message.h"
#include "sockets.h"

#define STEPS    60
#define PROGRAMS 4u

typedef struct {
  GMainContext *context;
  LocalServer *server;
  int programs[PROGRAMS]; /* -1: not connected */
  GPtrArray *calls;       /* of LocalCall: those to be answered */
  GHashTable *offered;    /* of them, LISTENs that were told so */
  Input input;
} World;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static void
add_call(World *world, LocalCall *call)
{
  demand(!local_call_get(call) && !g_ptr_array_find(world->calls, call, NULL));
  local_call_set(call, world);
  g_ptr_array_add(world->calls, call);
}

static void
on_dial(LocalCall *call, const char *user, const char *service, void *data)
{
  demand(*service && line_is_plain(service, 0, LOCAL_SERVICE_MAX) && line_is_plain(user, 0, LOCAL_USER_MAX));
  add_call(data, call);
}

static void
on_listen(LocalCall *call, const char *service, void *data)
{
  demand(*service && line_is_plain(service, 0, LOCAL_SERVICE_MAX));
  add_call(data, call);
}

static void
on_control(LocalCall *call, const char *verb, const guint8 *body, gsize length, void *data)
{
  demand(*verb && line_is_plain(verb, 0, LOCAL_VERB_MAX) && length <= LOCAL_MESSAGE_MAX);
  add_call(data, call);
}

static void
on_gone(LocalCall *call, void *data)
{
  World *world = data;
  demand(local_call_get(call) == world && g_ptr_array_remove_fast(world->calls, call));
  g_hash_table_remove(world->offered, call);
}

static void
connect_program(World *world, int *fd)
{
  struct sockaddr_un address;
  int directory;
  demand(local_packet_address(sockets_path("server"), &address, &directory) == 0);
  *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  demand(connect(*fd, (struct sockaddr *)&address, sizeof address) == 0);
}

static gsize
pack_request(Input *input, guint8 *room)
{
  LocalRequest request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  Doppel__Wire__LocalDial dial = DOPPEL__WIRE__LOCAL_DIAL__INIT;
  Doppel__Wire__LocalListen offer = DOPPEL__WIRE__LOCAL_LISTEN__INIT;
  Doppel__Wire__LocalControl control = DOPPEL__WIRE__LOCAL_CONTROL__INIT;
  dial.user = (char *)"u";
  dial.service = offer.service = (char *)"s";
  control.verb = (char *)"verb";
  request.id = input_number(input, 1);
  request.what_case = 2 + input_below(input, 3);
  if (request.what_case == DOPPEL__WIRE__LOCAL_REQUEST__WHAT_DIAL)
    request.dial = &dial;
  else if (request.what_case == DOPPEL__WIRE__LOCAL_REQUEST__WHAT_LISTEN)
    request.listen = &offer;
  else
    request.control = &control;
  return doppel__wire__local_request__pack(&request, room);
}

static void
say(World *world, int *fd)
{
  guint8 room[256];
  gsize length;
  const guint8 *bytes = room;
  if (input_below(&world->input, 4))
    length = pack_request(&world->input, room);
  else
    bytes = input_blob(&world->input, &length);
  guint count = input_below(&world->input, 8) ? 0 : input_below(&world->input, SOCKETS_FDS_MAX + 1);
  if (length > 0)
    sockets_send(*fd, bytes, length, count, &world->input);
}

static void
hear(int fd)
{
  static guint8 room[LOCAL_MESSAGE_MAX];
  int passed;
  gssize length;
  /* An empty packet would be the end; none comes with a descriptor. */
  while ((length = local_packet_receive(fd, room, sizeof room, &passed, MSG_DONTWAIT)) > 0) {
    g_autoptr(LocalReply) reply = local_reply_unpack(room, length, NULL);
    demand(reply != NULL);
    if (passed >= 0)
      close(passed);
  }
}

static void
settle(World *world, LocalCall *call)
{
  g_ptr_array_remove_fast(world->calls, call);
  g_hash_table_remove(world->offered, call);
}

/* What is said may be what a hostile peer has said: words and names of any bytes. */
static void
answer(World *world)
{
  static const guint8 zeros[LOCAL_MESSAGE_MAX];
  Input *input = &world->input;
  if (world->calls->len == 0)
    return;
  LocalCall *call = world->calls->pdata[input_number(input, 1) % world->calls->len];
  gsize length;
  const guint8 *bytes = input_blob(input, &length);
  guint what = input_below(input, 6);
  gboolean more = input_below(input, 2);
  LocalFrom from = {.name = "alice", .service = "s"};
  if (what == 0) {
    g_autofree char *words = g_strndup((const char *)bytes, length);
    settle(world, call);
    local_call_refuse(call, input_below(input, 8), words);
  } else if (what == 1) {
    settle(world, call);
    local_call_connected(call, dup(STDIN_FILENO));
  } else if (what == 2) {
    local_call_offer(call);
    g_hash_table_add(world->offered, call);
  } else if (what == 3 && g_hash_table_contains(world->offered, call)) {
    local_call_incoming(call, &from, dup(STDIN_FILENO));
  } else {
    length = input_below(input, 16) ? length : sizeof zeros;
    if (!more || length > LOCAL_MESSAGE_MAX - 64)
      settle(world, call);
    local_call_answer(call, zeros, MIN(length, sizeof zeros), more);
  }
}

static void
step(World *world)
{
  int *program = &world->programs[input_below(&world->input, PROGRAMS)];
  guint what = input_below(&world->input, 8);
  if (*program < 0) {
    connect_program(world, program);
  } else if (what == 0) {
    close(*program);
    *program = -1;
  } else if (what == 1) {
    hear(*program);
  } else if (what <= 4) {
    say(world, program);
  } else {
    answer(world);
  }
  for (guint i = 0; i < 20 && g_main_context_iteration(world->context, FALSE); i++)
    ;
}

/* For guests, at a socket that somebody else has made; or for the owner's programs. */
static LocalServer *
make_server(World *world, const LocalCallbacks *callbacks)
{
  struct sockaddr_un address;
  int directory;
  const char *path = sockets_path("server");
  unlink(path);
  if (input_below(&world->input, 2))
    return local_server_new(path, world->context, callbacks, world, NULL);
  int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  demand(local_packet_address(path, &address, &directory) == 0 &&
         bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 64) == 0);
  return local_server_new_guests(listener, world->context, callbacks, world);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static const LocalCallbacks callbacks = {on_dial, on_listen, on_control, on_gone};
  static GMainContext *context; /* its own descriptor comes with the first */
  if (!context)
    context = g_main_context_new();
  guint before = sockets_open();
  World world = {.context = context, .input = {data, length}};
  world.calls = g_ptr_array_new();
  world.offered = g_hash_table_new(NULL, NULL);
  for (guint i = 0; i < PROGRAMS; i++)
    world.programs[i] = -1;
  world.server = make_server(&world, &callbacks);
  demand(world.server != NULL);
  for (guint i = 0; i < STEPS && world.input.left > 0; i++)
    step(&world);
  local_server_free(world.server);
  demand(world.calls->len == 0);
  for (guint i = 0; i < PROGRAMS; i++)
    if (world.programs[i] >= 0)
      close(world.programs[i]);
  while (g_main_context_iteration(context, FALSE))
    ;
  demand(sockets_open() == before);
  g_ptr_array_unref(world.calls);
  g_hash_table_unref(world.offered);
  return 0;
}
