/* A room in a process of its own: a clone's, with the one link to its device; or that of a device that is on
 * its own (SPORC), which talks with the other members' devices itself. The editor of the latter is in the
 * same process and changes the document without anything between. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "clonedoc/room/room_struct.h"
#include "doc_paper.h"
#include "link/link.h"
#include "link/preamble.h"
#include "wire/message.h"

enum { SELDOM_MS = 1 << 30 };

/* Something that a room is to be told, or asked, over a socket of this process. */
typedef struct {
  guint64 id;    /* of the errand; 0: it is somebody else's */
  guint channel; /* of the link that it came by */
  Fd fd;
  GByteArray *in;
} Stream;

/* A connection to another member's device, or to one's own device. */
typedef struct {
  Fd fd; /* accepted, the preamble is not read yet */
  LinkPreambleReader reader;
  Link *link;
  guint peer;     /* whom it was dialled to */
  guint64 errand; /* which it is to bring an answer to; 0: none */
  gboolean dialled;
  GPtrArray *streams; /* of Stream: what came by it */
} Connection;

static const PaperWho *who;
static DocRoom *room;
static IdentityKey *key;
static Fd local = -1, door = -1;
static GPtrArray *carried;     /* of Stream: errands to rooms on this machine */
static GPtrArray *connections; /* of Connection */
static gboolean keeps;         /* connections that were dialled are for later errands, too */
static gint64 check_at, done_at;
static guint64 removal;
static PaperMoved moved_before;

static RoomDocument *
document_(void)
{
  return room->documents->len > 0 ? room->documents->pdata[0] : NULL;
}

static void
stream_free(gpointer data)
{
  Stream *stream = data;
  io_close(&stream->fd);
  g_byte_array_unref(stream->in);
  g_free(stream);
}

static void
add_moved(PaperMoved *sum, const LinkCounters *counters)
{
  if (!counters)
    return;
  sum->sent += counters->bytes_sent;
  sum->received += counters->bytes_received;
  sum->messages_sent += counters->messages_sent;
  sum->messages_received += counters->messages_received;
}

static void
connection_free(gpointer data)
{
  Connection *connection = data;
  if (connection->link)
    add_moved(&moved_before, link_counters(connection->link));
  g_clear_pointer(&connection->link, link_free);
  io_close(&connection->fd);
  g_ptr_array_unref(connection->streams);
  g_free(connection);
}

static Connection *
connection_new(Link *link, int fd)
{
  Connection *connection = g_new0(Connection, 1);
  connection->link = link;
  connection->fd = fd;
  connection->streams = g_ptr_array_new_with_free_func(stream_free);
  g_ptr_array_add(connections, connection);
  return connection;
}

/* ---- beginning ---- */

static void
shown(const DocName *document, const OtOp *op, gpointer data)
{
  paper_shown(op);
}

static int
listen_local(guint number)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  g_snprintf(address.sun_path, sizeof address.sun_path, "%s/room-%u", who->folder, number);
  g_auto(Fd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0)
    paper_die(who, address.sun_path, g_strerror(errno));
  return io_steal_fd(&fd);
}

static int
listen_tcp(guint port)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((guint16)port)};
  int yes = 1;
  g_auto(Fd) fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0)
    paper_die(who, "a port to listen at", g_strerror(errno));
  return io_steal_fd(&fd);
}

static void
open_room(const PaperWho *of)
{
  g_autoptr(GError) error = NULL;
  who = of;
  key = paper_key(who->number, 'm');
  g_autoptr(IdentityKey) user = paper_key(who->number, 'u');
  g_autofree char *path = g_strdup_printf("%s/room-%u.db", who->folder, who->number);
  DocRoomOptions options = DOC_ROOM_OPTIONS_DEFAULT;
  options.path = path;
  options.key = key;
  options.user = *identity_key_public(user);
  options.checkpoint_each = SELDOM_MS;
  if (who->sporc) { /* heads only when the user wants a check: it costs the device something */
    options.interval_ms = SELDOM_MS;
    options.entries_each = SELDOM_MS;
    options.shown = shown;
  }
  room = doc_room_open(&options, &error);
  if (!room)
    paper_die(who, path, error->message);
  carried = g_ptr_array_new_with_free_func(stream_free);
  connections = g_ptr_array_new_with_free_func(connection_free);
  local = listen_local(who->number);
  door = listen_tcp(who->sporc ? PAPER_PEER_PORT : PAPER_CLONE_PORT + who->number);
}

static LinkOptions
link_options(void)
{
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = 0;
  options.keepalive_ms = 30000;
  options.compression = -1;
  return options;
}

/* ---- errands ---- */

static guint
number_of_user(const IdentityPublic *user)
{
  for (guint i = 0; i < who->count; i++) {
    g_autoptr(IdentityKey) each = paper_key(i, 'u');
    if (identity_public_equal(identity_key_public(each), user))
      return i;
  }
  paper_die(who, "an errand", "nobody is that");
}

static void
carry_here(const DocErrand *errand, guint to)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  guint8 head[6] = {(guint8)who->number, strcmp(errand->service, "doc-heads") == 0};
  gsize length;
  const void *data = g_bytes_get_data(errand->message, &length);
  guint32 prefix = GUINT32_TO_BE((guint32)length);
  g_snprintf(address.sun_path, sizeof address.sun_path, "%s/room-%u", who->folder, to);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  memcpy(head + 2, &prefix, sizeof prefix);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 || !io_write_all(fd, head, sizeof head) ||
      !io_write_all(fd, data, length))
    paper_die(who, address.sun_path, g_strerror(errno));
  fcntl(fd, F_SETFL, O_NONBLOCK);
  Stream *stream = g_new0(Stream, 1);
  *stream = (Stream){.id = errand->id, .fd = fd, .in = g_byte_array_new()};
  g_ptr_array_add(carried, stream);
}

static void
carry_over_link(const DocErrand *errand, guint to)
{
  static const guint8 clone[16];
  g_autoptr(GError) error = NULL;
  Connection *connection = NULL;
  for (guint i = 0; i < connections->len && !connection; i++) {
    Connection *each = connections->pdata[i];
    if (each->dialled && each->peer == to && each->errand == 0)
      connection = each;
  }
  if (!connection) {
    LinkOptions options = link_options();
    g_autoptr(IdentityKey) theirs = paper_key(to, 'm');
    g_autofree char *address = g_strdup_printf("10.77.%u.1:%d", to + 1, PAPER_PEER_PORT);
    Link *link = link_dial_later((const char *const[]){address, NULL}, key, identity_key_public(theirs),
                                 clone, &options, &error);
    if (!link)
      paper_die(who, address, error->message);
    connection = connection_new(link, -1);
    connection->dialled = TRUE;
    connection->peer = to;
  }
  gsize length;
  const void *data = g_bytes_get_data(errand->message, &length);
  struct iovec piece = {(void *)data, length};
  connection->errand = errand->id;
  if (!link_send(connection->link, 1, &piece, 1, &error))
    paper_die(who, "a member's device", error->message);
}

static void
begin_errands(void)
{
  for (DocErrand *errand; (errand = doc_room_next_errand(room));) {
    guint to = number_of_user(&errand->user);
    gboolean here = !who->sporc || strcmp(errand->service, "doc-heads") != 0 || check_at == 0;
    if (here)
      carry_here(errand, to);
    else
      carry_over_link(errand, to);
    doc_errand_free(errand);
  }
}

static gboolean
take_carried(Stream *stream)
{
  guint8 buffer[4096];
  gssize got;
  g_autoptr(GBytes) frame = NULL;
  while ((got = recv(stream->fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
    g_byte_array_append(stream->in, buffer, (guint)got);
  if (wire_stream_take(stream->in, DOC_ROOM_PEER_MAX, &frame, NULL) <= 0)
    return got == 0;
  doc_room_errand_done(room, stream->id, frame, NULL);
  return TRUE;
}

static void
end_errands(void)
{
  for (guint i = carried->len; i > 0; i--)
    if (take_carried(carried->pdata[i - 1]))
      g_ptr_array_remove_index(carried, i - 1);
}

static void
let_in_local(void)
{
  for (;;) {
    guint8 head[2];
    int fd = accept4(local, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
      return;
    if (io_read_all(fd, head, sizeof head) != sizeof head)
      paper_die(who, "another room", "does not say who it is");
    g_autoptr(IdentityKey) user = paper_key(head[0], 'u');
    g_autofree char *name = g_strdup_printf("user%u", head[0]);
    doc_room_converse(room, fd, head[1] ? DOC_ROOM_HEADS : DOC_ROOM_INVITE, identity_key_public(user), name);
  }
}

/* ---- connections ---- */

static guint
number_of_peer(const Link *link)
{
  for (guint i = 0; i < who->count; i++) {
    g_autoptr(IdentityKey) each = paper_key(i, 'm');
    if (identity_public_equal(identity_key_public(each), link_peer(link)))
      return i;
  }
  paper_die(who, "a connection", "nobody is that");
}

/* A device's conversation, as it is in the clone; or another device's heads. */
static Stream *
stream_new(Connection *connection, guint32 channel)
{
  int ends[2];
  Stream *stream = g_new0(Stream, 1);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    paper_die(who, "a socket", g_strerror(errno));
  *stream = (Stream){.channel = channel, .fd = ends[1], .in = g_byte_array_new()};
  g_ptr_array_add(connection->streams, stream);
  if (who->sporc) {
    guint number = number_of_peer(connection->link);
    g_autoptr(IdentityKey) user = paper_key(number, 'u');
    doc_room_converse(room, ends[0], DOC_ROOM_HEADS, identity_key_public(user), "");
  } else {
    doc_room_converse(room, ends[0], DOC_ROOM_DEVICE, NULL, NULL);
  }
  return stream;
}

static Stream *
find_stream(const Connection *connection, guint32 channel)
{
  for (guint i = 0; i < connection->streams->len; i++) {
    Stream *stream = connection->streams->pdata[i];
    if (stream->channel == channel)
      return stream;
  }
  return NULL;
}

static void
take_message(Connection *connection, const LinkMessage *message)
{
  if (connection->dialled) {
    g_autoptr(GBytes) answer = g_bytes_new(message->data, message->length);
    doc_room_errand_done(room, connection->errand, answer, NULL);
    connection->errand = 0;
    return;
  }
  Stream *stream = who->sporc ? NULL : find_stream(connection, message->channel);
  if (!stream)
    stream = stream_new(connection, message->channel);
  guint32 prefix = GUINT32_TO_BE((guint32)message->length);
  if ((who->sporc && !io_write_all(stream->fd, &prefix, sizeof prefix)) ||
      !io_write_all(stream->fd, message->data, message->length))
    paper_die(who, "the room", g_strerror(errno));
}

static gboolean
work_connection(Connection *connection)
{
  g_autoptr(GError) error = NULL;
  LinkPreamble preamble;
  if (!connection->link) {
    int step = link_preamble_step(&connection->reader, connection->fd, &preamble, &error);
    if (step < 0)
      return FALSE;
    if (step == 0)
      return TRUE;
    LinkOptions options = link_options();
    connection->link = link_accept_later(&preamble, key, NULL, &options, &error);
    if (!connection->link || !link_resume(connection->link, io_steal_fd(&connection->fd), &error))
      paper_die(who, "a connection", error->message);
  }
  gboolean alive = link_work(connection->link, &error);
  for (LinkMessage *message; (message = link_take(connection->link));) {
    take_message(connection, message);
    link_message_free(message);
  }
  if (!alive && connection->dialled && connection->errand)
    paper_die(who, "a member's device", error->message);
  return alive && !(connection->dialled && connection->errand == 0 && !keeps);
}

static void
work_connections(void)
{
  for (guint i = connections->len; i > 0; i--)
    if (!work_connection(connections->pdata[i - 1]))
      g_ptr_array_remove_index(connections, i - 1);
}

static void
let_in(void)
{
  for (int fd; (fd = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;)
    connection_new(NULL, fd);
}

/* What the room says goes over the link as it comes out. */
static void
pass_on(Connection *connection)
{
  for (guint i = connection->streams->len; i > 0; i--) {
    Stream *stream = connection->streams->pdata[i - 1];
    guint8 buffer[65536];
    gssize got = recv(stream->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    struct iovec piece = {buffer, (gsize)MAX(got, 0)};
    if (got > 0 && who->sporc) { /* an answer is one frame, and a message says how long it is */
      piece.iov_base = buffer + sizeof(guint32);
      piece.iov_len -= sizeof(guint32);
    }
    if (got > 0)
      link_send(connection->link, stream->channel, &piece, 1, NULL);
    if (got == 0 || (got > 0 && who->sporc) || (got < 0 && errno != EAGAIN && errno != EINTR))
      g_ptr_array_remove_index(connection->streams, i - 1);
  }
}

/* ---- driving ---- */

static void
add_fd(GArray *fds, int fd)
{
  struct pollfd one = {.fd = fd, .events = POLLIN};
  g_array_append_val(fds, one);
}

static void
prepare(GArray *fds, int *timeout_ms)
{
  doc_room_prepare(room, fds, timeout_ms);
  add_fd(fds, local);
  add_fd(fds, door);
  for (guint i = 0; i < carried->len; i++)
    add_fd(fds, ((const Stream *)carried->pdata[i])->fd);
  for (guint i = 0; i < connections->len; i++) {
    const Connection *connection = connections->pdata[i];
    struct pollfd of_link[LINK_POLL_MAX];
    if (connection->link)
      g_array_append_vals(fds, of_link, link_prepare(connection->link, of_link, timeout_ms));
    else
      add_fd(fds, connection->fd);
    for (guint j = 0; j < connection->streams->len; j++)
      add_fd(fds, ((const Stream *)connection->streams->pdata[j])->fd);
  }
}

/* Whether all members' heads are there, and what the server says is long as theirs. */
static void
look_at_check(void)
{
  RoomDocument *document = document_();
  if (check_at == 0 || done_at > 0 || !room_peers_asked(document, check_at) || document->ask > 0)
    return;
  if (room_fault(document) != DOC_FAULT_NONE || room_peers_silent(document, check_at) > 0 ||
      document->head.number != doc_document_number(document->doc))
    paper_die(who, "the security check", "not all members have answered");
  done_at = clock_now_ns();
}

static void
work(void)
{
  g_autoptr(GError) error = NULL;
  if (local >= 0)
    let_in_local();
  let_in();
  work_connections();
  end_errands();
  if (!doc_room_work(room, &error))
    paper_die(who, "the room", error->message);
  begin_errands();
  for (guint i = 0; i < connections->len; i++) {
    Connection *connection = connections->pdata[i];
    if (connection->link)
      pass_on(connection);
  }
  look_at_check();
  if (removal > 0 && done_at == 0 && document_() && doc_document_number(document_()->doc) >= removal &&
      doc_document_is_settled(document_()->doc))
    done_at = clock_now_ns();
}

/* ---- orders ---- */

static void
create(void)
{
  g_autoptr(GError) error = NULL;
  IdentityPublic server;
  Doppel__Room__Create what = DOPPEL__ROOM__CREATE__INIT;
  char address[32], *addresses[] = {address};
  if (!identity_public_from_text(who->server, &server, &error))
    paper_die(who, who->server, error->message);
  g_snprintf(address, sizeof address, "10.77.1.2:%d", PAPER_SERVER_PORT);
  what.title = (char *)"paper";
  what.addresses = addresses;
  what.n_addresses = 1;
  what.server = wire_borrow(server.bytes, sizeof server.bytes);
  if (!room_create(room, &what, &error))
    paper_die(who, "the document", error->message);
}

static void
change(guint number, Doppel__Room__Role role)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(IdentityKey) user = paper_key(number, 'u'), member = paper_key(number, 'm');
  g_autofree char *name = g_strdup_printf("user%u", number);
  Doppel__Room__Change what = DOPPEL__ROOM__CHANGE__INIT;
  what.document = wire_borrow(document_()->name.bytes, DOC_NAME_LENGTH);
  what.origin = wire_borrow(identity_key_public(user)->bytes, IDENTITY_PUBLIC_LENGTH);
  what.key = wire_borrow(identity_key_public(member)->bytes, IDENTITY_PUBLIC_LENGTH);
  what.name = name;
  what.role = role;
  if (!room_change(document_(), &what, &error))
    paper_die(who, "a change of members", error->message);
}

/* The connection is no more, the program and what it knows stay. */
static void
leave(void)
{
  RoomDocument *document = document_();
  room_document_quiet(document);
  add_moved(&moved_before, doc_client_counters(document->server->client));
  g_clear_pointer(&document->server->client, doc_client_free);
}

static void
come_back(void)
{
  g_autoptr(GError) error = NULL;
  RoomServer *server = document_()->server;
  server->client = doc_client_new((const char *const *)server->addresses, &server->key, room->key, &error);
  if (!server->client)
    paper_die(who, "the server", error->message);
  room->more = TRUE;
}

static void
check(void)
{
  RoomDocument *document = document_();
  done_at = 0;
  check_at = clock_now_ns();
  room_peers_soon(document);
  document->ask = doc_client_head(document->server->client, &document->name);
}

static void
obey(const PaperOrder *order)
{
  switch (order->what) {
  case PAPER_CREATE:
    create();
    break;
  case PAPER_INVITE:
    for (guint i = 1; i < who->count; i++)
      change(i, DOPPEL__ROOM__ROLE__WRITER);
    break;
  case PAPER_ACCEPT:
    if (document_() && !room_accept(document_(), NULL))
      paper_die(who, "the invitation", "cannot be accepted");
    break;
  case PAPER_LEAVE:
    leave();
    break;
  case PAPER_RETURN:
    come_back();
    break;
  case PAPER_CHECK:
    keeps = order->value == 1;
    check();
    break;
  case PAPER_REMOVE:
    done_at = 0;
    removal = doc_document_number(document_()->doc) + 1;
    change(order->value, DOPPEL__ROOM__ROLE__NO_MEMBER);
    break;
  default:
    paper_die(who, "an order", "it is not for a room");
  }
}

static const OtText *
text(void)
{
  RoomDocument *document = document_();
  return document && document->doc ? doc_document_text(document->doc) : NULL;
}

static void
edit(const OtOp *op)
{
  g_autoptr(GError) error = NULL;
  RoomDocument *document = document_();
  if (!doc_document_edit(document->doc, op, &error))
    paper_die(who, "an edit", error->message);
  document->own_dirty = TRUE;
}

static void
look(PaperLook *look)
{
  RoomDocument *document = document_();
  if (!document)
    return;
  look->document = document->name;
  look->joined = document->doc && document->stage == ROOM_STAGE(JOINED);
  look->done_at = done_at;
  if (!document->doc)
    return;
  g_autoptr(GArray) members = doc_history_members(doc_document_history(document->doc));
  look->number = doc_document_number(document->doc);
  look->members = members->len;
  look->settled = doc_document_is_settled(document->doc) && carried->len == 0 && room->errands->len == 0 &&
                  (check_at == 0 || done_at > 0);
}

static PaperMoved
moved(void)
{
  PaperMoved sum = moved_before;
  RoomDocument *document = document_();
  if (document && document->server->client)
    add_moved(&sum, doc_client_counters(document->server->client));
  for (guint i = 0; i < connections->len; i++) {
    const Connection *connection = connections->pdata[i];
    if (connection->link)
      add_moved(&sum, link_counters(connection->link));
  }
  return sum;
}

const PaperPart paper_room = {
    .open = open_room,
    .prepare = prepare,
    .work = work,
    .obey = obey,
    .text = text,
    .edit = edit,
    .look = look,
    .moved = moved,
};
