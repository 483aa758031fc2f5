/* A TCP proxy in which things go wrong where it was told: `fault-proxy --to HOST:PORT --fault FAULT…`.
 *
 * Positions are counted per direction over all connections, so that a fault may hit a re-connection. Faults
 * of a direction happen in the order of their places. Standard output says "listening PORT", then a line for
 * each event. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "fault.h"

#define CHUNK 65536

typedef struct {
  int from, to;
  guint8 data[CHUNK];
  gsize have, sent;      /* bytes read, and of these passed on */
  gboolean source_ended; /* nothing more will come */
  gboolean sink_ended;
  gint64 stalled_until; /* ns; G_MAXINT64: for ever */
} Pipe;

typedef struct {
  guint number;
  Pipe pipes[2]; /* by FaultDirection */
  FILE *records[2];
} Connection;

static struct {
  struct sockaddr_in to;
  int listener;
  gint64 away_until; /* ns */
  gint64 first;      /* ns, of the first connection; 0: none yet */
  GPtrArray *faults;
  gint64 position[2]; /* bytes passed on, by direction */
  FaultRecords boundary[2];
  GPtrArray *connections;
  guint count;
  const char *record;
  volatile sig_atomic_t ending;
} proxy;

static void event(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void
event(const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  fflush(stdout);
}

static void
connection_free(Connection *connection)
{
  close(connection->pipes[FAULT_UP].from);
  close(connection->pipes[FAULT_DOWN].from);
  for (int way = 0; way < 2; way++)
    if (connection->records[way])
      fclose(connection->records[way]);
  g_free(connection);
}

/* Closing with a zero linger time sends RST. */
static void
reset_socket(int fd)
{
  struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static void
quicken(int fd)
{
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void
open_records(Connection *connection)
{
  static const char *const ways[] = {"up", "down"};
  for (int way = 0; proxy.record && way < 2; way++) {
    g_autofree char *path = g_strdup_printf("%s.%u.%s", proxy.record, connection->number, ways[way]);
    connection->records[way] = fopen(path, "we");
    if (!connection->records[way])
      event("cannot record to %s: %s\n", path, g_strerror(errno));
  }
}

static void
accept_connection(void)
{
  g_auto(Fd) near = accept4(proxy.listener, NULL, NULL, SOCK_CLOEXEC);
  if (near < 0)
    return;
  gint64 now = clock_now_ns();
  if (now < proxy.away_until) {
    reset_socket(near);
    event("refused: away\n");
    return;
  }
  g_auto(Fd) far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (far < 0 || connect(far, (struct sockaddr *)&proxy.to, sizeof proxy.to) != 0) {
    event("refused: %s\n", g_strerror(errno));
    reset_socket(near);
    return;
  }
  quicken(near);
  quicken(far);
  if (!proxy.first)
    proxy.first = now;
  Connection *connection = g_new0(Connection, 1);
  connection->number = ++proxy.count;
  connection->pipes[FAULT_UP] = (Pipe){.from = near, .to = far};
  connection->pipes[FAULT_DOWN] = (Pipe){.from = io_steal_fd(&far), .to = io_steal_fd(&near)};
  open_records(connection);
  g_ptr_array_add(proxy.connections, connection);
  event("connection %u\n", connection->number);
}

/* The next fault of a direction that is a matter of position. */
static Fault *
next_fault(FaultDirection way)
{
  Fault *next = NULL;
  for (guint i = 0; i < proxy.faults->len; i++) {
    Fault *fault = proxy.faults->pdata[i];
    if (!fault->fired && fault->direction == way && fault->place != FAULT_TIME &&
        (!next || (fault->place == next->place && fault->at < next->at)))
      next = fault;
  }
  return next;
}

static gboolean
at_its_place(const Fault *fault)
{
  if (fault->place == FAULT_BYTE)
    return proxy.position[fault->direction] >= fault->at;
  return proxy.boundary[fault->direction].records >= fault->at;
}

/* FALSE when the connection is no more. */
static gboolean
fire(Fault *fault, Connection *connection)
{
  Pipe *pipe = &connection->pipes[fault->direction];
  gint64 now = clock_now_ns();
  fault->fired = TRUE;
  event("fault %s at byte %" G_GINT64_FORMAT " record %" G_GINT64_FORMAT " of connection %u\n", fault->text,
        proxy.position[fault->direction], proxy.boundary[fault->direction].records, connection->number);
  if (fault->away_ms)
    proxy.away_until = now + fault->away_ms * G_GINT64_CONSTANT(1000000);
  switch (fault->kind) {
  case FAULT_STALL:
    pipe->stalled_until = now + fault->stall_ms * G_GINT64_CONSTANT(1000000);
    return TRUE;
  case FAULT_STALL_FOREVER: /* in this direction; the peers must notice by themselves */
    pipe->stalled_until = G_MAXINT64;
    return TRUE;
  case FAULT_RESET:
    reset_socket(pipe->from);
    reset_socket(pipe->to);
    break;
  case FAULT_FINISH:
    break;
  }
  g_ptr_array_remove_fast(proxy.connections, connection);
  return FALSE;
}

static void
fire_by_time(void)
{
  for (guint i = 0; proxy.connections->len && i < proxy.faults->len; i++) {
    Fault *fault = proxy.faults->pdata[i];
    if (!fault->fired && fault->place == FAULT_TIME &&
        clock_now_ns() >= proxy.first + fault->at * G_GINT64_CONSTANT(1000000))
      fire(fault, proxy.connections->pdata[proxy.connections->len - 1]);
  }
}

/* How many of `length` bytes may pass before the next fault of this direction. */
static gsize
allowance(FaultDirection way, const guint8 *data, gsize length)
{
  const Fault *fault = next_fault(way);
  FaultRecords peek = proxy.boundary[way];
  if (!fault)
    return length;
  if (fault->place == FAULT_BYTE)
    return (gsize)CLAMP(fault->at - proxy.position[way], 0, (gint64)length);
  return fault_records_pass(&peek, data, length, fault->at);
}

/* Passes on what it can. FALSE when the connection is no more. */
static gboolean
push(Connection *connection, FaultDirection way)
{
  Pipe *pipe = &connection->pipes[way];
  while (pipe->sent < pipe->have && pipe->stalled_until <= clock_now_ns()) {
    Fault *fault = next_fault(way);
    if (fault && at_its_place(fault)) {
      if (!fire(fault, connection))
        return FALSE;
      continue;
    }
    const guint8 *data = pipe->data + pipe->sent;
    gsize length = allowance(way, data, pipe->have - pipe->sent);
    ssize_t written = send(pipe->to, data, length, MSG_NOSIGNAL);
    if (written < 0 && errno != EAGAIN)
      pipe->sink_ended = TRUE;
    if (written <= 0)
      break;
    fault_records_pass(&proxy.boundary[way], data, written, G_MAXINT64);
    if (connection->records[way])
      fwrite(data, 1, written, connection->records[way]);
    proxy.position[way] += written;
    pipe->sent += written;
  }
  if (pipe->sent == pipe->have)
    pipe->sent = pipe->have = 0;
  if (pipe->source_ended && !pipe->have && !pipe->sink_ended) {
    shutdown(pipe->to, SHUT_WR);
    pipe->sink_ended = TRUE;
  }
  return TRUE;
}

static void
pull(Connection *connection, FaultDirection way)
{
  Pipe *pipe = &connection->pipes[way];
  if (pipe->have < CHUNK && !pipe->source_ended) {
    ssize_t got = recv(pipe->from, pipe->data + pipe->have, CHUNK - pipe->have, 0);
    if (got > 0)
      pipe->have += got;
    else if (got == 0)
      pipe->source_ended = TRUE;
    else if (errno != EAGAIN)
      pipe->source_ended = pipe->sink_ended = TRUE;
  }
}

/* FALSE when the connection is no more: both ends have ended, or one of them broke. */
static gboolean
serve(Connection *connection)
{
  for (int way = 0; way < 2; way++) {
    pull(connection, way);
    if (!push(connection, way))
      return FALSE;
  }
  Pipe *up = &connection->pipes[FAULT_UP], *down = &connection->pipes[FAULT_DOWN];
  gboolean broken = (up->sink_ended && !up->source_ended) || (down->sink_ended && !down->source_ended);
  if ((up->sink_ended && down->sink_ended) || broken) {
    event("closed %u\n", connection->number);
    g_ptr_array_remove_fast(proxy.connections, connection);
    return FALSE;
  }
  return TRUE;
}

/* Whether something is due by the clock rather than by what arrives. */
static gboolean
waits_for_time(void)
{
  for (guint i = 0; i < proxy.faults->len; i++) {
    const Fault *fault = proxy.faults->pdata[i];
    if (!fault->fired && fault->place == FAULT_TIME)
      return TRUE;
  }
  for (guint i = 0; i < proxy.connections->len; i++) {
    const Connection *connection = proxy.connections->pdata[i];
    for (int way = 0; way < 2; way++)
      if (connection->pipes[way].stalled_until != 0 && connection->pipes[way].stalled_until != G_MAXINT64)
        return TRUE;
  }
  return FALSE;
}

/* What to wait for at the reading end of a pipe, which is also the writing end of the other one. */
static struct pollfd
interest(Connection *connection, int way)
{
  const Pipe *in = &connection->pipes[way], *out = &connection->pipes[!way];
  gboolean stalled = out->stalled_until > clock_now_ns();
  struct pollfd entry = {.fd = in->from};
  if (in->have < CHUNK && !in->source_ended)
    entry.events |= POLLIN;
  if (out->sent < out->have && !stalled)
    entry.events |= POLLOUT;
  if (!entry.events)
    entry.fd = -1; /* a closed peer would keep poll() from waiting */
  return entry;
}

static void
run(void)
{
  g_autoptr(GArray) polls = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
  while (!proxy.ending) {
    struct pollfd listening = {.fd = proxy.listener, .events = POLLIN};
    g_array_set_size(polls, 0);
    g_array_append_val(polls, listening);
    for (guint i = 0; i < proxy.connections->len; i++)
      for (int way = 0; way < 2; way++) {
        struct pollfd entry = interest(proxy.connections->pdata[i], way);
        g_array_append_val(polls, entry);
      }
    /* Two milliseconds are exact enough for faults by time and the ends of stalls. */
    poll(&g_array_index(polls, struct pollfd, 0), polls->len, proxy.first && waits_for_time() ? 2 : 1000);
    if (g_array_index(polls, struct pollfd, 0).revents)
      accept_connection();
    fire_by_time();
    for (guint i = proxy.connections->len; i-- > 0;)
      serve(proxy.connections->pdata[i]);
  }
}

static gboolean
parse_address(const char *text, struct sockaddr_in *address, GError **error)
{
  g_autoptr(GSocketConnectable) parsed = g_network_address_parse(text, 0, error);
  if (!parsed)
    return FALSE;
  GNetworkAddress *name = G_NETWORK_ADDRESS(parsed);
  *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(g_network_address_get_port(name))};
  if (inet_pton(AF_INET, g_network_address_get_hostname(name), &address->sin_addr) != 1)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%s\" is no IPv4 address and port", text);
  return TRUE;
}

static gboolean
start_listening(const char *text, GError **error)
{
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  int one = 1;
  if (!parse_address(text, &address, error))
    return FALSE;
  proxy.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  setsockopt(proxy.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(proxy.listener, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(proxy.listener, 64) != 0)
    return doppel_error_errno(error, "cannot listen on %s", text);
  getsockname(proxy.listener, (struct sockaddr *)&address, &length);
  event("listening %u\n", ntohs(address.sin_port));
  return TRUE;
}

static void
on_end(int number)
{
  proxy.ending = 1;
}

int
main(int argc, char **argv)
{
  g_autofree char *listen_on = NULL, *to = NULL, *record = NULL;
  g_auto(GStrv) faults = NULL;
  GOptionEntry entries[] = {
      {"listen", 'l', 0, G_OPTION_ARG_STRING, &listen_on,
       "where to listen (default 127.0.0.1:0, any free port)", "ADDRESS:PORT"},
      {"to", 't', 0, G_OPTION_ARG_STRING, &to, "where connections go", "ADDRESS:PORT"},
      {"fault", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &faults,
       "up|down,byte=N|record=N|ms=N,rst|fin|stall[=MS][,away=MS]; may be given several times", "FAULT"},
      {"record", 'r', 0, G_OPTION_ARG_FILENAME, &record,
       "write the bytes that passed to PREFIX.N.up and .down", "PREFIX"},
      {NULL}};
  g_autoptr(GOptionContext) context =
      g_option_context_new("- a TCP proxy in which things go wrong on purpose");
  g_autoptr(GError) error = NULL;
  g_option_context_add_main_entries(context, entries, NULL);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  signal(SIGTERM, on_end);
  signal(SIGINT, on_end);
  if (!g_option_context_parse(context, &argc, &argv, &error))
    goto usage;
  proxy.faults = g_ptr_array_new_with_free_func((GDestroyNotify)fault_free);
  proxy.connections = g_ptr_array_new_with_free_func((GDestroyNotify)connection_free);
  proxy.record = record;
  for (char **each = faults; each && *each; each++) {
    Fault *fault = fault_parse(*each, &error);
    if (!fault)
      goto usage;
    g_ptr_array_add(proxy.faults, fault);
  }
  if (!parse_address(to ? to : "", &proxy.to, &error) ||
      !start_listening(listen_on ? listen_on : "127.0.0.1:0", &error))
    goto usage;
  run();
  g_ptr_array_unref(proxy.connections);
  g_ptr_array_unref(proxy.faults);
  close(proxy.listener);
  return 0;

usage:
  g_printerr("fault-proxy: %s\n", error->message);
  return 2;
}
