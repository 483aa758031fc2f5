/* GnuTLS alone over loopback, with the ciphers and keys of a link: blocking sockets, its own transport
 * functions. What goes wrong ends the process. */
#pragma once

#include <netinet/in.h>

#include "link/tls.h"

#define BARE_TLS_LARGEST 65536 /* bytes of one message */

int bare_tls_listen(struct sockaddr_in *address); /* on loopback; tells where */
int bare_tls_connect(const struct sockaddr_in *address);
gnutls_session_t bare_tls_open(LinkTls *tls, int fd, gboolean server);
void bare_tls_send(gnutls_session_t session, gsize length);
void bare_tls_receive(gnutls_session_t session, gsize length); /* exits with 0 at the end */
