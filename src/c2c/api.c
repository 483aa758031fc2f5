/* libdoppel-c2c: the programs' end of c2c/local.h. Nothing here but the C library and libprotobuf-c. */
#include "c2c/api.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "c2c/api_gateway.h"
#include "c2c/local_packet.h"
#include "c2c/stream_end.h"

typedef Doppel__Wire__LocalRequest Request;
typedef Doppel__Wire__LocalReply Reply;

enum { DIAL_MS = 120000 };

struct C2c {
  int fd;
  char *path;
  uint64_t last_id;
};

struct C2cListener {
  int fd; /* a connection of its own, whose end ends the offer */
  uint64_t id;
};

static int
fail(char **why, int number, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  if (why && vasprintf(why, format, arguments) < 0)
    *why = NULL;
  va_end(arguments);
  errno = number;
  return -1;
}

/* ---- connecting ---- */

static int
connect_to(const char *path)
{
  struct sockaddr_un address;
  int directory, fd = -1;
  if (local_packet_address(path, &address, &directory) == 0)
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
    int saved = errno;
    close(fd);
    errno = saved;
    fd = -1;
  }
  int saved = errno;
  if (directory >= 0)
    close(directory);
  errno = saved;
  return fd;
}

static C2c *
c2c_new(int fd, const char *path)
{
  C2c *c2c = malloc(sizeof *c2c);
  char *copy = strdup(path);
  if (!c2c || !copy) {
    free(c2c);
    free(copy);
    close(fd);
    errno = ENOMEM;
    return NULL;
  }
  *c2c = (C2c){fd, copy, 0};
  return c2c;
}

static C2c *
open_at(const char *path, char **why)
{
  int fd = connect_to(path);
  if (fd < 0)
    fail(why, errno, "nobody serves %s: %s", path, strerror(errno));
  return fd < 0 ? NULL : c2c_new(fd, path);
}

C2c *
c2c_open(const char *path, char **why)
{
  if (why)
    *why = NULL;
  const char *named = path ? path : getenv("DOPPEL_C2C_SOCKET");
  if (named && *named)
    return open_at(named, why);
  /* In a clone there is its node's. */
  int fd = connect_to(LOCAL_CLONE_SOCKET);
  if (fd >= 0)
    return c2c_new(fd, LOCAL_CLONE_SOCKET);
  char *socket_path = c2c_gateway_socket();
  if (!socket_path) {
    fail(why, errno, "where the gateway would be cannot be told: %s", strerror(errno));
    return NULL;
  }
  C2c *c2c = NULL;
  fd = connect_to(socket_path);
  if (fd < 0 && gateway_start(why) == 0 && (fd = connect_to(socket_path)) < 0)
    fail(why, errno, "the gateway at %s does not answer: %s", socket_path, strerror(errno));
  if (fd >= 0)
    c2c = c2c_new(fd, socket_path);
  free(socket_path);
  return c2c;
}

void
c2c_close(C2c *c2c)
{
  if (!c2c)
    return;
  close(c2c->fd);
  free(c2c->path);
  free(c2c);
}

/* ---- requests ---- */

static int
send_request(int fd, const Request *request, char **why)
{
  size_t length = doppel__wire__local_request__get_packed_size(request);
  uint8_t *data = length <= LOCAL_MESSAGE_MAX ? malloc(length) : NULL;
  if (!data)
    return fail(why, length <= LOCAL_MESSAGE_MAX ? ENOMEM : EMSGSIZE, "the request is too long");
  doppel__wire__local_request__pack(request, data);
  int sent = local_packet_send(fd, data, length, -1, 0);
  free(data);
  return sent < 0 ? fail(why, errno, "the node or gateway has gone: %s", strerror(errno)) : 0;
}

static int64_t
now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static int
wait_until(int fd, int64_t deadline, char **why)
{
  for (;;) {
    int64_t left = deadline < 0 ? -1 : deadline - now_ms();
    if (deadline >= 0 && left <= 0)
      return fail(why, ETIMEDOUT, "the node or gateway does not answer");
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int ready = poll(&wait, 1, left > 60000 ? 60000 : (int)left);
    if (ready > 0)
      return 0;
    if (ready < 0 && errno != EINTR)
      return fail(why, errno, "cannot wait for an answer: %s", strerror(errno));
  }
}

/* One reply with its descriptor (-1: none; `passed` NULL: not wanted), whatever it answers. */
static Reply *
receive_reply(int fd, int *passed, char **why)
{
  int got = -1;
  uint8_t *data = malloc(LOCAL_MESSAGE_MAX);
  ssize_t length = data ? local_packet_receive(fd, data, LOCAL_MESSAGE_MAX, &got, 0) : -1;
  Reply *reply = length > 0 ? doppel__wire__local_reply__unpack(NULL, length, data) : NULL;
  int saved = errno;
  free(data);
  if (reply && !local_reply_is_sound(reply)) {
    doppel__wire__local_reply__free_unpacked(reply, NULL);
    reply = NULL;
  }
  if (got >= 0 && (!reply || !passed))
    close(got);
  if (passed)
    *passed = reply ? got : -1;
  if (length < 0)
    fail(why, saved, "the node or gateway has gone: %s", strerror(saved));
  else if (length == 0)
    fail(why, ECONNRESET, "the node or gateway has gone");
  else if (!reply)
    fail(why, EPROTO, "the node or gateway has sent an answer that is none");
  return reply;
}

static int
number_of(Doppel__Wire__C2cRefusal why)
{
  switch (why) {
  case DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_USER:
  case DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE:
    return ENOENT;
  case DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY:
    return EHOSTUNREACH;
  case DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED:
    return EACCES;
  case DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY:
    return EAGAIN;
  case DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED:
    return EINVAL;
  default:
    return EIO;
  }
}

/* The next reply to `id`; those to what was given up are dropped. NULL where it is a refusal, too. */
static Reply *
await_reply(int fd, uint64_t id, int timeout_ms, int *passed, char **why)
{
  int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
  for (;;) {
    int got = -1;
    if (wait_until(fd, deadline, why) < 0)
      return NULL;
    Reply *reply = receive_reply(fd, &got, why);
    if (!reply)
      return NULL;
    bool mine = reply->id == id || reply->id == 0;
    if (mine && reply->why == DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE && reply->id != 0 && (passed || got < 0)) {
      if (passed)
        *passed = got;
      return reply;
    }
    if (got >= 0)
      close(got);
    if (mine)
      fail(why, number_of(reply->why), "%s", *reply->words ? reply->words : "no reason was given");
    int saved = errno;
    doppel__wire__local_reply__free_unpacked(reply, NULL);
    errno = saved;
    if (mine)
      return NULL;
  }
}

int
c2c_dial(C2c *c2c, const char *user, const char *service, char **why)
{
  if (why)
    *why = NULL;
  Doppel__Wire__LocalDial dial = DOPPEL__WIRE__LOCAL_DIAL__INIT;
  dial.user = (char *)(user ? user : "");
  dial.service = (char *)service;
  Request request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  request.id = ++c2c->last_id;
  request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_DIAL;
  request.dial = &dial;
  if (strlen(dial.user) > LOCAL_USER_MAX || strlen(service) > LOCAL_SERVICE_MAX || !*service)
    return fail(why, EINVAL, "\"%s\" of \"%s\" is not a service of a user", service, dial.user);
  if (send_request(c2c->fd, &request, why) < 0)
    return -1;
  int stream = -1;
  Reply *reply = await_reply(c2c->fd, request.id, DIAL_MS, &stream, why);
  if (!reply)
    return -1;
  doppel__wire__local_reply__free_unpacked(reply, NULL);
  return stream >= 0 ? stream : fail(why, EPROTO, "the node or gateway has sent no stream");
}

int
c2c_control(C2c *c2c, const char *verb, const void *body, size_t length, int timeout_ms, C2cAnswer answer,
            void *data, char **why)
{
  if (why)
    *why = NULL;
  Doppel__Wire__LocalControl control = DOPPEL__WIRE__LOCAL_CONTROL__INIT;
  control.verb = (char *)verb;
  control.body = (ProtobufCBinaryData){length, (uint8_t *)body};
  Request request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  request.id = ++c2c->last_id;
  request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_CONTROL;
  request.control = &control;
  if (send_request(c2c->fd, &request, why) < 0)
    return -1;
  for (bool more = true; more;) {
    Reply *reply = await_reply(c2c->fd, request.id, timeout_ms, NULL, why);
    if (!reply)
      return -1;
    more = reply->more;
    bool enough = answer && answer(reply->body.data, reply->body.len, more, data) != 0;
    doppel__wire__local_reply__free_unpacked(reply, NULL);
    if (enough && more)
      return fail(why, ECANCELED, "the rest of the answer was not wanted");
  }
  return 0;
}

int
c2c_ended(int stream)
{
  return stream_end_is_proper(stream) ? 0 : -1;
}

/* ---- offering ---- */

static int
offer(C2cListener *listener, const char *service, char **why)
{
  Doppel__Wire__LocalListen listen_for = DOPPEL__WIRE__LOCAL_LISTEN__INIT;
  listen_for.service = (char *)service;
  Request request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  request.id = listener->id;
  request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_LISTEN;
  request.listen = &listen_for;
  if (send_request(listener->fd, &request, why) < 0)
    return -1;
  Reply *reply = await_reply(listener->fd, listener->id, DIAL_MS, NULL, why);
  if (!reply && errno == EAGAIN)
    errno = EEXIST;
  if (!reply)
    return -1;
  doppel__wire__local_reply__free_unpacked(reply, NULL);
  return 0;
}

C2cListener *
c2c_listen(C2c *c2c, const char *service, char **why)
{
  if (why)
    *why = NULL;
  if (strlen(service) > LOCAL_SERVICE_MAX || !*service) {
    fail(why, EINVAL, "\"%s\" is not a service", service);
    return NULL;
  }
  C2cListener *listener = malloc(sizeof *listener);
  int fd = listener ? connect_to(c2c->path) : -1;
  if (fd < 0) {
    fail(why, errno, "nobody serves %s any more: %s", c2c->path, strerror(errno));
    free(listener);
    return NULL;
  }
  *listener = (C2cListener){fd, 1};
  if (offer(listener, service, why) == 0)
    return listener;
  int saved = errno;
  c2c_listener_close(listener);
  errno = saved;
  return NULL;
}

int
c2c_listener_fd(const C2cListener *listener)
{
  return listener->fd;
}

int
c2c_accept(C2cListener *listener, C2cPeer *peer)
{
  return c2c_accept_or_news(listener, peer, NULL);
}

int
c2c_accept_or_news(C2cListener *listener, C2cPeer *peer, C2cNews *news)
{
  for (;;) {
    int stream = -1;
    Reply *reply = await_reply(listener->fd, listener->id, -1, &stream, NULL);
    if (!reply)
      return -1;
    const Doppel__Wire__LocalPeer *from = reply->incoming;
    bool whole = from && stream >= 0;
    if (whole && peer) {
      *peer = (C2cPeer){0};
      strcpy(peer->name, from->name);
      memcpy(peer->origin, from->origin.data, sizeof peer->origin);
      memcpy(peer->clone, from->clone_key.data, sizeof peer->clone);
    }
    if (news) {
      news->away = reply->away;
      snprintf(news->words, sizeof news->words, "%s", reply->words);
    }
    doppel__wire__local_reply__free_unpacked(reply, NULL);
    if (whole)
      return stream;
    if (stream >= 0)
      close(stream);
    if (news && !from)
      return C2C_NEWS;
  }
}

void
c2c_listener_close(C2cListener *listener)
{
  if (!listener)
    return;
  close(listener->fd);
  free(listener);
}
