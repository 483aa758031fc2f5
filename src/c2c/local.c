#include "c2c/local.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "base/line.h"
#include "c2c/fd_source.h"
#include "c2c/local_message.h"
#include "c2c/stream_end.h"
#include "wire/message.h"

enum { BACKLOG = 64, ACCEPTS = 16, READS = 16, PAUSE_US = 100000, BREATH_US = 10000, WORDS_MAX = 1000 };

typedef struct LocalClient LocalClient;

struct LocalServer {
  LocalCallbacks callbacks;
  void *data;
  GMainContext *context;
  gboolean guests;
  char *path;        /* NULL: somebody else's */
  struct stat facts; /* of the socket in the file system */
  Fd listener;
  GSource *source;
  GPtrArray *clients; /* of LocalClient */
};

typedef struct {
  GBytes *bytes;
  Fd passed;
  gboolean incoming;
} Packet;

struct LocalClient {
  LocalServer *server;
  Fd fd;
  GSource *source;
  GPtrArray *calls; /* of LocalCall */
  GQueue unsent;    /* of Packet */
  gsize unsent_bytes;
  gboolean doomed; /* to be closed at the next turn */
  guint64 sandbox; /* of a guest */
  guint asked;     /* by a guest, since `rested_at` less PAUSE_US */
  gint64 rested_at;
};

struct LocalCall {
  LocalClient *client;
  guint64 id;
  gboolean passes_on;
  void *what;
};

static void
packet_free(Packet *packet)
{
  g_bytes_unref(packet->bytes);
  io_close(&packet->passed);
  g_free(packet);
}

/* ---- a connection ---- */

static void
client_free(LocalClient *client)
{
  while (client->calls->len > 0) {
    LocalCall *call = g_ptr_array_steal_index_fast(client->calls, client->calls->len - 1);
    client->server->callbacks.gone(call, client->server->data);
    g_free(call);
  }
  fd_source_free(client->source);
  io_close(&client->fd);
  for (Packet *packet; (packet = g_queue_pop_head(&client->unsent));)
    packet_free(packet);
  g_ptr_array_unref(client->calls);
  g_free(client);
}

/* Not at once: whoever calls may be using it. */
static void
client_doom(LocalClient *client)
{
  client->doomed = TRUE;
  g_source_set_ready_time(client->source, 0);
}

/* A guest who asks faster than anybody needs to waits: what it asks costs others. */
static gboolean
is_resting(const LocalClient *client)
{
  return client->asked >= LOCAL_GUEST_PACE && g_get_monotonic_time() < client->rested_at;
}

static void
note_request(LocalClient *client)
{
  gint64 now = g_get_monotonic_time();
  if (client->server->guests && now >= client->rested_at) {
    client->rested_at = now + PAUSE_US;
    client->asked = 0;
  }
  client->asked += client->server->guests;
}

static void
client_want(LocalClient *client)
{
  GIOCondition want = client->unsent.length > 0 ? G_IO_OUT : 0;
  if (client->doomed)
    return;
  if (is_resting(client))
    g_source_set_ready_time(client->source, client->rested_at);
  else if (client->calls->len < LOCAL_CALLS_MAX)
    want |= G_IO_IN;
  fd_source_want(client->source, want);
}

static void
client_flush(LocalClient *client)
{
  Packet *packet;
  while (!client->doomed && (packet = g_queue_peek_head(&client->unsent))) {
    gsize length;
    const void *data = g_bytes_get_data(packet->bytes, &length);
    if (local_packet_send(client->fd, data, length, packet->passed, MSG_DONTWAIT) < 0) {
      if (errno == EAGAIN)
        break;
      client_doom(client);
      return;
    }
    client->unsent_bytes -= length;
    packet_free(g_queue_pop_head(&client->unsent));
  }
  client_want(client);
}

/* Takes `fd`. */
static void
client_send(LocalClient *client, const Doppel__Wire__LocalReply *reply, int fd)
{
  Packet *packet = g_new0(Packet, 1);
  *packet = (Packet){wire_pack(&reply->base), fd, reply->incoming != NULL};
  client->unsent_bytes += g_bytes_get_size(packet->bytes);
  g_queue_push_tail(&client->unsent, packet);
  client_flush(client);
  if (client->unsent_bytes > LOCAL_UNSENT_MAX)
    client_doom(client);
}

static void
call_end(LocalCall *call)
{
  LocalClient *client = call->client;
  g_ptr_array_remove_fast(client->calls, call);
  g_free(call);
  client_want(client);
}

static void
client_request(LocalClient *client, const LocalRequest *request)
{
  const LocalServer *server = client->server;
  LocalCall *call = g_new0(LocalCall, 1);
  *call = (LocalCall){.client = client, .id = request->id, .passes_on = request->passes_on};
  g_ptr_array_add(client->calls, call);
  switch (request->what_case) {
  case DOPPEL__WIRE__LOCAL_REQUEST__WHAT_DIAL:
    server->callbacks.dial(call, request->dial->user, request->dial->service, server->data);
    break;
  case DOPPEL__WIRE__LOCAL_REQUEST__WHAT_LISTEN:
    server->callbacks.listen(call, request->listen->service, server->data);
    break;
  default:
    server->callbacks.control(call, request->control->verb, request->control->body.data,
                              request->control->body.len, server->data);
  }
}

static void
client_read(LocalClient *client)
{
  g_autofree guint8 *data = g_malloc(LOCAL_MESSAGE_MAX);
  for (int i = 0; i < READS && !client->doomed && client->calls->len < LOCAL_CALLS_MAX && !is_resting(client);
       i++) {
    gssize length = local_packet_receive(client->fd, data, LOCAL_MESSAGE_MAX, NULL, MSG_DONTWAIT);
    if (length < 0 && errno == EAGAIN)
      break;
    note_request(client);
    g_autoptr(LocalRequest) request = length > 0 ? local_request_unpack(data, length, NULL) : NULL;
    /* The answer to a request without a number could be an empty packet, which looks like the end. */
    if (!request || request->id == 0)
      client->doomed = TRUE;
    else
      client_request(client, request);
  }
}

static gboolean
client_ready(GIOCondition ready, void *data)
{
  LocalClient *client = data;
  if (ready & G_IO_OUT)
    client_flush(client);
  if (ready & G_IO_IN)
    client_read(client);
  else if (ready & (G_IO_HUP | G_IO_ERR))
    client->doomed = TRUE;
  if (!client->doomed) {
    client_want(client);
    return G_SOURCE_CONTINUE;
  }
  g_ptr_array_remove_fast(client->server->clients, client);
  return G_SOURCE_REMOVE;
}

/* ---- the socket ---- */

static gboolean
is_own(int fd)
{
  struct ucred peer;
  socklen_t length = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

/* One that has ended since is counted with those of which it is not known. */
static guint64
sandbox_of(int fd)
{
  struct ucred peer;
  socklen_t length = sizeof peer;
  struct stat facts;
  char path[40];
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
    return 0;
  g_snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)peer.pid);
  return stat(path, &facts) == 0 ? facts.st_ino : 0;
}

static gboolean
is_full(const LocalServer *server, guint64 sandbox)
{
  guint same = 0;
  if (!server->guests)
    return server->clients->len >= LOCAL_CLIENTS_MAX;
  for (guint i = 0; i < server->clients->len; i++)
    same += ((const LocalClient *)server->clients->pdata[i])->sandbox == sandbox;
  return same >= LOCAL_GUESTS_EACH || server->clients->len >= LOCAL_GUESTS_MAX;
}

/* To a connection that there is no room for: its reply has no request. */
static void
turn_away(int fd)
{
  Doppel__Wire__LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  reply.why = DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY;
  reply.words = (char *)"too many programs are connected already";
  g_autoptr(GBytes) bytes = wire_pack(&reply.base);
  local_packet_send(fd, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), -1, MSG_DONTWAIT);
}

static void
welcome(LocalServer *server, int fd, guint64 sandbox)
{
  LocalClient *client = g_new0(LocalClient, 1);
  *client = (LocalClient){.server = server, .fd = fd, .calls = g_ptr_array_new(), .sandbox = sandbox};
  g_queue_init(&client->unsent);
  client->source = fd_source_new(fd, G_IO_IN, server->context, client_ready, client);
  g_ptr_array_add(server->clients, client);
}

static void
pause_listening(LocalServer *server, gint64 us)
{
  fd_source_want(server->source, 0);
  g_source_set_ready_time(server->source, g_get_monotonic_time() + us);
}

static gboolean
listener_ready(GIOCondition ready, void *data)
{
  LocalServer *server = data;
  fd_source_want(server->source, G_IO_IN);
  for (int i = 0; i < ACCEPTS; i++) {
    g_auto(Fd) fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
      continue;
    if (fd < 0 && errno != EAGAIN)
      pause_listening(server, PAUSE_US); /* out of descriptors or memory: not again at once */
    if (fd < 0)
      return G_SOURCE_CONTINUE;
    guint64 sandbox = server->guests ? sandbox_of(fd) : 0;
    if (!server->guests && !is_own(fd))
      continue;
    if (is_full(server, sandbox))
      turn_away(fd);
    else
      welcome(server, io_steal_fd(&fd), sandbox);
  }
  /* More may be waiting: of guests that is a flood, maybe, which is not to have all of the processor. */
  if (server->guests)
    pause_listening(server, BREATH_US);
  return G_SOURCE_CONTINUE;
}

static gboolean
is_served(const struct sockaddr_un *address)
{
  g_auto(Fd) fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN);
}

static gboolean
start_listening(LocalServer *server, GError **error)
{
  struct sockaddr_un address;
  g_auto(Fd) directory = -1;
  struct stat facts;
  if (local_packet_address(server->path, &address, &directory) < 0)
    return doppel_error_errno(error, "cannot listen at %s", server->path);
  if (is_served(&address))
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "another process serves %s already", server->path);
  if (lstat(server->path, &facts) == 0 && S_ISSOCK(facts.st_mode))
    unlink(server->path);
  server->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (server->listener < 0 || fchmod(server->listener, 0600) < 0 ||
      bind(server->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
      lstat(server->path, &server->facts) < 0 || listen(server->listener, BACKLOG) < 0)
    return doppel_error_errno(error, "cannot listen at %s", server->path);
  return TRUE;
}

static LocalServer *
server_new(const char *path, GMainContext *context, const LocalCallbacks *callbacks, void *data)
{
  LocalServer *server = g_new0(LocalServer, 1);
  *server = (LocalServer){.callbacks = *callbacks,
                          .data = data,
                          .context = context,
                          .path = g_strdup(path),
                          .listener = -1,
                          .clients = g_ptr_array_new_with_free_func((GDestroyNotify)client_free)};
  return server;
}

LocalServer *
local_server_new_guests(int listener, GMainContext *context, const LocalCallbacks *callbacks, void *data)
{
  LocalServer *server = server_new(NULL, context, callbacks, data);
  server->guests = TRUE;
  server->listener = listener;
  server->source = fd_source_new(listener, G_IO_IN, context, listener_ready, server);
  return server;
}

LocalServer *
local_server_new(const char *path, GMainContext *context, const LocalCallbacks *callbacks, void *data,
                 GError **error)
{
  LocalServer *server = server_new(path, context, callbacks, data);
  if (start_listening(server, error)) {
    server->source = fd_source_new(server->listener, G_IO_IN, context, listener_ready, server);
    return server;
  }
  local_server_free(server);
  return NULL;
}

gboolean
local_server_is_reachable(const LocalServer *server)
{
  struct stat facts;
  return lstat(server->path, &facts) == 0 && facts.st_ino == server->facts.st_ino &&
         facts.st_dev == server->facts.st_dev;
}

void
local_server_free(LocalServer *server)
{
  if (!server)
    return;
  fd_source_free(server->source);
  g_ptr_array_unref(server->clients);
  if (server->facts.st_ino != 0 && local_server_is_reachable(server))
    unlink(server->path);
  io_close(&server->listener);
  g_free(server->path);
  g_free(server);
}

guint
local_server_clients(const LocalServer *server)
{
  return server->clients->len;
}

/* ---- answers ---- */

void
local_call_set(LocalCall *call, void *what)
{
  call->what = what;
}

void *
local_call_get(const LocalCall *call)
{
  return call->what;
}

guint64
local_call_sandbox(const LocalCall *call)
{
  return call->client->sandbox;
}

void
local_call_refuse(LocalCall *call, Doppel__Wire__C2cRefusal why, const char *words)
{
  g_autofree char *line = line_of(words, WORDS_MAX);
  Doppel__Wire__LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  reply.id = call->id;
  reply.why = why == DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE ? DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED : why;
  reply.words = line;
  client_send(call->client, &reply, -1);
  call_end(call);
}

/* The asker is a program, whose end is this one from now on. */
static void
name_end(const LocalCall *call, int fd)
{
  if (!call->passes_on)
    stream_end_name(fd);
}

void
local_call_connected(LocalCall *call, int fd)
{
  name_end(call, fd);
  Doppel__Wire__LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  reply.id = call->id;
  client_send(call->client, &reply, fd);
  call_end(call);
}

void
local_call_dialled(LocalCall *call, int fd, Doppel__Wire__C2cRefusal why, const char *words)
{
  if (fd >= 0)
    local_call_connected(call, fd);
  else
    local_call_refuse(call, why, words);
}

void
local_call_offer(LocalCall *call)
{
  Doppel__Wire__LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  reply.id = call->id;
  reply.more = TRUE;
  client_send(call->client, &reply, -1);
}

void
local_call_away(LocalCall *call, const char *words)
{
  g_autofree char *line = line_of(words, WORDS_MAX);
  Doppel__Wire__LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  reply.id = call->id;
  reply.more = reply.away = TRUE;
  reply.words = line;
  client_send(call->client, &reply, -1);
}

static guint
streams_waiting(const LocalClient *client)
{
  guint count = 0;
  for (const GList *at = client->unsent.head; at; at = at->next)
    count += ((const Packet *)at->data)->incoming;
  return count;
}

gboolean
local_call_has_room(const LocalCall *call)
{
  return !call->client->doomed && streams_waiting(call->client) < LOCAL_WAITING_MAX;
}

gboolean
local_call_incoming(LocalCall *call, const LocalFrom *from, int fd)
{
  g_auto(Fd) stream = fd;
  if (!local_call_has_room(call))
    return FALSE;
  Doppel__Wire__LocalPeer peer = DOPPEL__WIRE__LOCAL_PEER__INIT;
  peer.name = (char *)from->name;
  peer.service = (char *)from->service;
  peer.origin = (ProtobufCBinaryData){sizeof from->origin.bytes, (guint8 *)from->origin.bytes};
  peer.clone_key = (ProtobufCBinaryData){sizeof from->clone_key.bytes, (guint8 *)from->clone_key.bytes};
  Doppel__Wire__LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  reply.id = call->id;
  reply.more = TRUE;
  reply.incoming = &peer;
  name_end(call, stream);
  client_send(call->client, &reply, io_steal_fd(&stream));
  return TRUE;
}

gboolean
local_call_answer(LocalCall *call, const guint8 *body, gsize length, gboolean more)
{
  if (length > LOCAL_ANSWER_MAX) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, "the answer is too long");
    return FALSE;
  }
  Doppel__Wire__LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  reply.id = call->id;
  reply.body = (ProtobufCBinaryData){length, (guint8 *)body};
  reply.more = more;
  client_send(call->client, &reply, -1);
  if (!more)
    call_end(call);
  return TRUE;
}
