#include "bare_tls.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

static const guint8 payload[BARE_TLS_LARGEST];

int
bare_tls_listen(struct sockaddr_in *address)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t length = sizeof *address;
  *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (fd < 0 || bind(fd, (struct sockaddr *)address, length) < 0 || listen(fd, 4) < 0 ||
      getsockname(fd, (struct sockaddr *)address, &length) < 0)
    g_error("cannot listen on loopback: %s", g_strerror(errno));
  return fd;
}

int
bare_tls_connect(const struct sockaddr_in *address)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
    g_error("connect: %s", g_strerror(errno));
  return fd;
}

gnutls_session_t
bare_tls_open(LinkTls *tls, int fd, gboolean server)
{
  GError *error = NULL;
  gnutls_session_t session = link_tls_open(tls, server, &error);
  if (!session)
    g_error("%s", error->message);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  gnutls_transport_set_int(session, fd);
  int result;
  do
    result = gnutls_handshake(session);
  while (result == GNUTLS_E_AGAIN);
  if (result < 0)
    g_error("handshake: %s", gnutls_strerror(result));
  return session;
}

void
bare_tls_send(gnutls_session_t session, gsize length)
{
  for (gsize at = 0; at < length;) {
    gssize done = gnutls_record_send(session, payload + at, length - at);
    if (done < 0)
      exit(1);
    at += done;
  }
}

void
bare_tls_receive(gnutls_session_t session, gsize length)
{
  guint8 room[BARE_TLS_LARGEST];
  for (gsize at = 0; at < length;) {
    gssize got = gnutls_record_recv(session, room, length - at);
    if (got <= 0)
      exit(got < 0);
    at += got;
  }
}
