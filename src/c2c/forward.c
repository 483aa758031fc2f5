#include "c2c/forward.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/api.h"
#include "c2c/bridge.h"

enum { BACKLOG = 128, PAUSE_US = 100000, AGAIN_US = 500000, AGAIN_MOST_US = 30000000 };

typedef struct {
  const char *user, *service, *host, *port; /* of the far end: a user's, or a host's */
  ForwardTold told;
  void *data;
  GMutex mutex;
  GCond ended;
  guint running;
  guint64 last;
} Forward;

typedef struct {
  Forward *forward;
  guint64 number;
  int near; /* what has connected */
  char *peer;
} Connection;

static void
tell(Forward *forward, const ForwardEvent *event)
{
  g_mutex_lock(&forward->mutex);
  forward->told(event, forward->data);
  g_mutex_unlock(&forward->mutex);
}

/* ---- TCP ---- */

/* Small answers are not to wait for more of them; a peer that is no more is noticed at last. */
static void
prepare_tcp(int fd)
{
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static char *
name_of(const struct sockaddr_storage *address, socklen_t length)
{
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (getnameinfo((const struct sockaddr *)address, length, host, sizeof host, port, sizeof port,
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return g_strdup("?");
  return g_strdup_printf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

typedef gboolean (*TcpUse)(int fd, const struct addrinfo *address);

static gboolean
use_to_listen(int fd, const struct addrinfo *address)
{
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
}

static gboolean
use_to_connect(int fd, const struct addrinfo *address)
{
  return connect(fd, address->ai_addr, address->ai_addrlen) == 0;
}

/* The first address that can be used so. -1 with an error. */
static int
tcp_socket(const char *host, const char *port, TcpUse use, const char *what, GError **error)
{
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
  struct addrinfo *list;
  int problem = getaddrinfo(host, port, &hints, &list), fd = -1;
  if (problem) {
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "cannot %s %s, port %s: %s", what, host, port,
                     gai_strerror(problem));
    return -1;
  }
  for (const struct addrinfo *at = list; at && fd < 0; at = at->ai_next) {
    fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    if (fd >= 0 && !use(fd, at)) {
      int saved = errno;
      io_close(&fd);
      errno = saved;
    }
  }
  int saved = errno;
  freeaddrinfo(list);
  errno = saved;
  if (fd < 0)
    doppel_error_errno(error, "cannot %s %s, port %s", what, host, port);
  return fd;
}

/* ---- a connection ---- */

static int
dial_user(const Forward *forward, GError **error)
{
  char *why = NULL;
  C2c *c2c = c2c_open(NULL, &why);
  int fd = c2c ? c2c_dial(c2c, forward->user, forward->service, &why) : -1;
  c2c_close(c2c);
  if (fd < 0)
    doppel_error_set(error, DOPPEL_ERROR_GONE, "%s", why ? why : g_strerror(errno));
  free(why);
  return fd;
}

static int
dial_far(const Forward *forward, GError **error)
{
  if (forward->user)
    return dial_user(forward, error);
  int fd = tcp_socket(forward->host, forward->port, use_to_connect, "connect to", error);
  if (fd >= 0)
    prepare_tcp(fd);
  return fd;
}

static void
carry(const Connection *connection, int far)
{
  ForwardEvent event = {.kind = FORWARD_OPENED, .connection = connection->number, .peer = connection->peer};
  BridgeCounters counters;
  tell(connection->forward, &event);
  gboolean whole = bridge(connection->near, far, &counters);
  event.kind = FORWARD_CLOSED;
  event.words = whole ? NULL : g_strerror(errno);
  event.sent = counters.there;
  event.received = counters.back;
  if (whole) {
    close(connection->near);
    close(far);
  } else {
    bridge_cut(connection->near);
    bridge_cut(far);
  }
  tell(connection->forward, &event);
}

static void *
serve(void *data)
{
  Connection *connection = data;
  Forward *forward = connection->forward;
  g_autoptr(GError) error = NULL;
  int far = dial_far(forward, &error);
  if (far >= 0) {
    carry(connection, far);
  } else {
    const ForwardEvent event = {.kind = FORWARD_FAILED,
                                .connection = connection->number,
                                .peer = connection->peer,
                                .words = error->message};
    bridge_cut(connection->near);
    tell(forward, &event);
  }
  g_free(connection->peer);
  g_free(connection);
  g_mutex_lock(&forward->mutex);
  forward->running--;
  g_cond_signal(&forward->ended);
  g_mutex_unlock(&forward->mutex);
  return NULL;
}

/* Takes `near` and `peer`. */
static void
start(Forward *forward, int near, char *peer)
{
  Connection *connection = g_new(Connection, 1);
  *connection = (Connection){forward, ++forward->last, near, peer};
  g_mutex_lock(&forward->mutex);
  forward->running++;
  g_mutex_unlock(&forward->mutex);
  g_autoptr(GError) error = NULL;
  GThread *thread = g_thread_try_new("connection", serve, connection, &error);
  if (thread)
    g_thread_unref(thread);
  else
    serve(connection); /* one after the other, then */
}

static void
wait_for_room(Forward *forward, guint most)
{
  g_mutex_lock(&forward->mutex);
  while (forward->running > most)
    g_cond_wait(&forward->ended, &forward->mutex);
  g_mutex_unlock(&forward->mutex);
}

/* ---- the ports ---- */

gboolean
forward_out(const char *host, const char *port, const char *user, const char *far_port, ForwardTold told,
            void *data, GError **error)
{
  g_autofree char *service = g_strconcat(FORWARD_SERVICE, far_port, NULL);
  Forward forward = {.user = user, .service = service, .told = told, .data = data};
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  g_auto(Fd) listener = tcp_socket(host, port, use_to_listen, "listen at", error);
  if (listener < 0 || getsockname(listener, (struct sockaddr *)&address, &length) < 0)
    return FALSE;
  g_autofree char *own = name_of(&address, length);
  const ForwardEvent ready = {.kind = FORWARD_READY, .peer = own};
  tell(&forward, &ready);
  for (;;) {
    wait_for_room(&forward, FORWARD_MAX - 1);
    length = sizeof address;
    int fd = accept4(listener, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
    if (fd >= 0) {
      prepare_tcp(fd);
      start(&forward, fd, name_of(&address, length));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      g_usleep(PAUSE_US);
    } else if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK) {
      wait_for_room(&forward, 0);
      return doppel_error_errno(error, "taking a connection");
    }
  }
}

static C2cListener *
offer(const char *service, GError **error)
{
  char *why = NULL;
  C2c *c2c = c2c_open(NULL, &why);
  C2cListener *listener = c2c ? c2c_listen(c2c, service, &why) : NULL;
  int saved = errno;
  c2c_close(c2c);
  if (!listener)
    doppel_error_set(error, saved == EEXIST ? DOPPEL_ERROR_USAGE : DOPPEL_ERROR_GONE, "%s",
                     why ? why : g_strerror(saved));
  free(why);
  return listener;
}

static void
tell_offer(Forward *forward, ForwardEventKind kind, const char *words)
{
  g_autofree char *line = g_utf8_make_valid(words ? words : "", -1);
  const ForwardEvent event = {
      .kind = kind, .peer = forward->service + strlen(FORWARD_SERVICE), .words = words ? line : NULL};
  tell(forward, &event);
}

/* Until the gateway has ended. */
static void
take_streams(Forward *forward, C2cListener *listener)
{
  C2cPeer peer;
  C2cNews news;
  for (;;) {
    wait_for_room(forward, FORWARD_MAX - 1);
    int stream = c2c_accept_or_news(listener, &peer, &news);
    if (stream >= 0)
      start(forward, stream, g_utf8_make_valid(peer.name, -1));
    else if (stream == C2C_NEWS)
      tell_offer(forward, news.away ? FORWARD_LOST : FORWARD_READY, news.away ? news.words : NULL);
    else
      return;
  }
}

/* The offer may still be with the clone, as that of a connection that it takes for a living one. */
static C2cListener *
offer_again(const char *service)
{
  for (guint64 pause = AGAIN_US;; pause = MIN(pause * 2, AGAIN_MOST_US)) {
    g_usleep(pause);
    C2cListener *listener = offer(service, NULL);
    if (listener)
      return listener;
  }
}

gboolean
forward_in(const char *port, const char *host, const char *host_port, ForwardTold told, void *data,
           GError **error)
{
  g_autofree char *service = g_strconcat(FORWARD_SERVICE, port, NULL);
  Forward forward = {.service = service, .host = host, .port = host_port, .told = told, .data = data};
  C2cListener *listener = offer(service, error);
  if (!listener)
    return FALSE;
  for (;;) {
    tell_offer(&forward, FORWARD_READY, NULL);
    take_streams(&forward, listener);
    c2c_listener_close(listener);
    tell_offer(&forward, FORWARD_LOST, "the gateway has ended");
    listener = offer_again(service);
  }
}
