/* One connection of a link: a socket, TLS over it, and frames in that. It never blocks.
 *
 * TLS reads and writes memory; the socket is read and written in pieces as large as there are, so that a
 * message that fits a record costs one write() here and one read() there. */
#pragma once

#include <gnutls/gnutls.h>
#include <sys/socket.h>

#include "link/link.h"
#include "link/tls.h"
#include "wire/frame.h"
#include "wire/preamble.h"

#define LINK_SPARES 8

typedef enum {
  LINK_CONNECTION_DIALLING, /* the TCP handshake is under way */
  LINK_CONNECTION_SHAKING,  /* the TLS handshake is */
  LINK_CONNECTION_GREETING, /* hello or welcome is awaited */
  LINK_CONNECTION_OPEN,
} LinkConnectionStage;

typedef struct {
  guint8 *data;
  gsize start, end, room;
} LinkBuffer;

typedef struct {
  int fd;
  LinkConnectionStage stage;
  gboolean server;
  gint64 deadline;        /* CLOCK_MONOTONIC ns: to be open by then */
  char *address;          /* of the peer, for messages */
  IdentityPublic peer;    /* from LINK_CONNECTION_GREETING on */
  guint64 sent, received; /* bytes that the socket took and gave */
  guint64 arrived;        /* bytes that the peer's system had, when that was last looked at */
  guint32 watched;        /* the events that an epoll was told */

  gnutls_session_t tls; /* NULL: a local link */
  LinkBuffer in, out;
  gboolean ended; /* the socket gives no more */
  int failure;    /* errno of the socket, once it failed */

  guint8 header[WIRE_FRAME_HEADER]; /* the frame that is being read */
  gsize header_have;
  WireFrame frame;
  LinkMessage *message;
  gsize message_have;
  LinkMessage *spare[LINK_SPARES]; /* to be used again */
  guint spares;
  gsize message_max; /* of a frame's payload; 0: what frames may have */
} LinkConnection;

/* A socket that connects to `peer`, with the preamble first in its stream. */
LinkConnection *link_connection_dial(const struct sockaddr *peer, socklen_t length, const char *address,
                                     const WirePreamble *preamble, LinkTls *tls, gboolean multipath,
                                     GError **error);

/* An accepted socket whose preamble was read. Takes `fd`, also when it fails. */
LinkConnection *link_connection_accept(int fd, LinkTls *tls, GError **error);

/* One end of a socket pair; open from the start. Takes `fd`. */
LinkConnection *link_connection_local(int fd);

void link_connection_free(LinkConnection *connection);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LinkConnection, link_connection_free)

/* Goes on towards LINK_CONNECTION_GREETING. FALSE: GONE, or DENIED for a wrong key. */
gboolean link_connection_shake(LinkConnection *connection, GError **error);

/* Reads from the socket once. TRUE where more may be waiting. Failures show when the buffer is empty. */
gboolean link_connection_fill(LinkConnection *connection);

/* A message with room for `length` bytes. */
LinkMessage *link_message_new(guint32 channel, gsize length);

/* Takes a message whose memory may serve for another one of this connection. */
void link_connection_recycle(LinkConnection *connection, LinkMessage *message);

/* The next frame: 1 with `frame` and `message` (the caller's; payload and channel), 0 where it is not all
 * there, -1 with an error: GONE for a lost connection, HOSTILE for what no correct peer sends, DENIED for a
 * refusal. */
int link_connection_next(LinkConnection *connection, WireFrame *frame, LinkMessage **message, GError **error);

/* Takes bytes into the output, all of them. FALSE where TLS has failed. */
gboolean link_connection_put(LinkConnection *connection, const void *data, gsize length, GError **error);

/* Writes what the socket takes. FALSE: GONE. */
gboolean link_connection_flush(LinkConnection *connection, GError **error);

/* Bytes that the socket has not taken. */
gsize link_connection_backlog(const LinkConnection *connection);

/* Whether bytes are under way to the peer, and its system has got more of them since the last call. */
gboolean link_connection_moves(LinkConnection *connection);

/* POLLIN and POLLOUT as this stage needs them. */
short link_connection_events(const LinkConnection *connection);

/* A socket for streams to or from `family`, MPTCP where asked for and possible; close-on-exec, non-blocking.
 * What a listener accepts has its congestion control. -1 with errno. */
int link_stream_socket(int family, gboolean multipath);
