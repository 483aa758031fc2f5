/* A stand-in for a device's gateway and the clone behind it, with nothing but its room of documents.
 *
 *   doc-stand-in FOLDER USER OTHER...
 *
 * A device reaches it by DOPPEL_C2C_SOCKET=FOLDER/USER.socket. What the clone would tell others it tells
 * their stand-ins. Keys are made of names. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/api.h"
#include "c2c/local.h"
#include "clonedoc/room/room.h"
#include "wire/message.h"

#define TICK_MS 5

static const char *folder, *own;
static char **others;
static DocRoom *room;

static IdentityKey *
key_of(const char *what, const char *name)
{
  guint8 seed[IDENTITY_SEED_LENGTH];
  gsize length = sizeof seed;
  g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
  g_checksum_update(sum, (const guchar *)what, -1);
  g_checksum_update(sum, (const guchar *)name, -1);
  g_checksum_get_digest(sum, seed, &length);
  return identity_key_from_seed(seed);
}

static IdentityPublic
public_of(const char *what, const char *name)
{
  g_autoptr(IdentityKey) key = key_of(what, name);
  return *identity_key_public(key);
}

static const char *
name_of(const IdentityPublic *user)
{
  for (char **name = others; *name; name++) {
    IdentityPublic each = public_of("user ", *name);
    if (identity_public_equal(&each, user))
      return *name;
  }
  return NULL;
}

static void
converse(int fd, DocRoomService service, const char *name)
{
  IdentityPublic user = public_of("user ", name);
  doc_room_converse(room, fd, service, &user, name);
}

/* ---- a device ---- */

static gboolean
on_conversation(gpointer data)
{
  converse(GPOINTER_TO_INT(data), DOC_ROOM_DEVICE, own);
  return G_SOURCE_REMOVE;
}

static gboolean
pass_on(int from, int to)
{
  char buffer[65536];
  gssize got = read(from, buffer, sizeof buffer);
  if (got > 0)
    return io_write_all(to, buffer, got);
  shutdown(to, SHUT_WR);
  return FALSE;
}

/* The first question, which a clone's node would complete with the keys of whom it names. */
static gboolean
pass_question(int device, int to)
{
  g_autoptr(GBytes) frame = wire_stream_receive(device, DOC_ROOM_FRAME_MAX, NULL);
  gsize length = 0;
  const void *data = frame ? g_bytes_get_data(frame, &length) : NULL;
  g_autoptr(DocRoomQuestion) question = frame ? doc_room_question_take(data, length, NULL) : NULL;
  if (!question)
    return FALSE;
  if (question->what_case == DOC_ROOM_ASK(CHANGE) && question->change->origin.len == 0 &&
      g_strv_contains((const char *const *)others, question->change->user)) {
    Doppel__Room__Change *change = question->change;
    IdentityPublic user = public_of("user ", change->user), key = public_of("key ", change->user);
    change->name = g_strdup(change->user);
    change->origin = (ProtobufCBinaryData){sizeof user, g_memdup2(user.bytes, sizeof user)};
    change->key = (ProtobufCBinaryData){sizeof key, g_memdup2(key.bytes, sizeof key)};
  }
  return wire_stream_send(to, &question->base, NULL);
}

static gpointer
serve_device(gpointer data)
{
  g_auto(Fd) device = GPOINTER_TO_INT(data);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return NULL;
  g_auto(Fd) inner = ends[0];
  g_idle_add(on_conversation, GINT_TO_POINTER(ends[1]));
  gboolean asks = pass_question(device, inner), answers = asks;
  while (asks || answers) {
    struct pollfd fds[] = {{.fd = asks ? device : -1, .events = POLLIN},
                           {.fd = answers ? inner : -1, .events = POLLIN}};
    poll(fds, G_N_ELEMENTS(fds), -1);
    if (fds[0].revents)
      asks = pass_on(device, inner);
    if (fds[1].revents)
      answers = pass_on(inner, device);
  }
  return NULL;
}

static void
on_dial(LocalCall *call, const char *user, const char *service, void *data)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, "no sockets left");
    return;
  }
  local_call_connected(call, ends[0]);
  if (strcmp(service, "doc") == 0)
    g_thread_unref(g_thread_new("device", serve_device, GINT_TO_POINTER(ends[1])));
  else
    converse(ends[1], strcmp(service, "doc-heads") == 0 ? DOC_ROOM_HEADS : DOC_ROOM_INVITE, user);
}

static void
on_listen(LocalCall *call, const char *service, void *data)
{
  local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE, "nothing is offered here");
}

static void
on_control(LocalCall *call, const char *verb, const guint8 *body, gsize length, void *data)
{
  local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, "nothing is answered here");
}

static void
on_gone(LocalCall *call, void *data)
{
}

/* ---- others ---- */

typedef struct {
  DocErrand *errand;
  GBytes *answer;
  GError *error;
} Carried;

static gboolean
on_carried(gpointer data)
{
  Carried *carried = data;
  doc_room_errand_done(room, carried->errand->id, carried->answer, carried->error);
  doc_errand_free(carried->errand);
  g_clear_pointer(&carried->answer, g_bytes_unref);
  g_clear_error(&carried->error);
  g_free(carried);
  return G_SOURCE_REMOVE;
}

static gpointer
carry(gpointer data)
{
  Carried *carried = data;
  const char *name = name_of(&carried->errand->user);
  g_autofree char *socket = g_strdup_printf("%s/%s.socket", folder, name ? name : "nobody");
  C2c *c2c = c2c_open(socket, NULL);
  g_auto(Fd) fd = c2c ? c2c_dial(c2c, own, carried->errand->service, NULL) : -1;
  gsize length;
  const guint8 *bytes = g_bytes_get_data(carried->errand->message, &length);
  guint32 prefix = GUINT32_TO_BE((guint32)length);
  if (fd >= 0 && io_write_all(fd, &prefix, sizeof prefix) && io_write_all(fd, bytes, length))
    carried->answer = wire_stream_receive(fd, DOC_ROOM_PEER_MAX, &carried->error);
  else
    doppel_error_set(&carried->error, DOPPEL_ERROR_GONE, "their clone is away");
  c2c_close(c2c);
  g_idle_add(on_carried, carried);
  return NULL;
}

/* ---- */

static gboolean
on_tick(gpointer data)
{
  g_autoptr(GError) error = NULL;
  if (!doc_room_work(room, &error)) {
    fprintf(stderr, "doc-stand-in: %s\n", error->message);
    exit(1);
  }
  for (DocErrand *errand; (errand = doc_room_next_errand(room));) {
    Carried *carried = g_new0(Carried, 1);
    carried->errand = errand;
    g_thread_unref(g_thread_new("errand", carry, carried));
  }
  return G_SOURCE_CONTINUE;
}

int
main(int argc, char **argv)
{
  static const LocalCallbacks callbacks = {on_dial, on_listen, on_control, on_gone};
  g_autoptr(GError) error = NULL;
  if (argc < 3)
    return 2;
  folder = argv[1];
  own = argv[2];
  others = argv + 3;
  signal(SIGPIPE, SIG_IGN);
  g_autoptr(IdentityKey) key = key_of("key ", own);
  g_autofree char *path = g_strdup_printf("%s/%s.room", folder, own),
                  *socket = g_strdup_printf("%s/%s.socket", folder, own);
  DocRoomOptions options = DOC_ROOM_OPTIONS_DEFAULT;
  options.path = path;
  options.key = key;
  options.user = public_of("user ", own);
  options.interval_ms = 500;
  room = doc_room_open(&options, &error);
  g_autoptr(LocalServer) server = room ? local_server_new(socket, NULL, &callbacks, NULL, &error) : NULL;
  if (!server) {
    fprintf(stderr, "doc-stand-in: %s\n", error->message);
    return 1;
  }
  g_timeout_add(TICK_MS, on_tick, NULL);
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  g_main_loop_run(loop);
  return 0;
}
