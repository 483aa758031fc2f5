/* TLS 1.3 between two Ed25519 keys: raw public keys (RFC 7250) in place of certificates, both ends
 * authenticated, no tickets, no early data. Why GnuTLS directly: docs/decisions/0001-gnutls-directly.md. */
#pragma once

#include <gnutls/gnutls.h>

#include "identity/key.h"

/* Who we are and whom we let in; shared by all connections of a link. */
typedef struct LinkTls LinkTls;

/* `peer` NULL: any key is let in (pairing); link_tls_peer() tells which it was. */
LinkTls *link_tls_new(const IdentityKey *own, const IdentityPublic *peer, GError **error);
void link_tls_free(LinkTls *tls);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LinkTls, link_tls_free)

/* A session before its handshake; the caller sets its transport functions. `tls` must outlive it. */
gnutls_session_t link_tls_open(LinkTls *tls, gboolean server, GError **error);

/* The key that the peer has proved to have. FALSE where it has none or not the one that is let in. */
gboolean link_tls_peer(gnutls_session_t session, IdentityPublic *peer);
