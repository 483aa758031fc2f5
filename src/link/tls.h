/* TLS 1.3 between two Ed25519 keys: raw public keys (RFC 7250) in place of certificates, both ends
 * authenticated, no early data. A later connection of the same link resumes the session of an earlier one:
 * the tickets for it are sealed with a key of this link alone, and neither they nor it ever leave the memory
 * of the two processes. Why GnuTLS directly, and why so: docs/decisions/0001-gnutls-directly.md. */
#pragma once

#include <gnutls/gnutls.h>

#include "identity/key.h"

/* Who we are and whom we let in, and what lets a session be resumed; shared by all connections of a link, and
 * by nothing else. */
typedef struct LinkTls LinkTls;

/* `peer` NULL: any key is let in (pairing, other clones) until link_tls_settle_on(); link_tls_peer() tells
 * which it was. There are no tickets then, for good: a re-connection proves its key. */
LinkTls *link_tls_new(const IdentityKey *own, const IdentityPublic *peer, GError **error);
/* The dialling end wants no tickets, and gets none. */
void link_tls_refuse_tickets(LinkTls *tls);
/* From now on `peer` is let in, too; and from now on `peer` only. */
void link_tls_let_in(LinkTls *tls, const IdentityPublic *peer);
void link_tls_settle_on(LinkTls *tls, const IdentityPublic *peer);
void link_tls_free(LinkTls *tls);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LinkTls, link_tls_free)

/* A session before its handshake; the caller sets its transport functions. `tls` must outlive it. */
gnutls_session_t link_tls_open(LinkTls *tls, gboolean server, GError **error);

/* The key that the peer has proved to have, in this session or in the one that it resumes. FALSE where it has
 * none or not the one that is let in: to be asked after every handshake, since nothing else looks at the key
 * when a session is resumed. */
gboolean link_tls_peer(gnutls_session_t session, IdentityPublic *peer);

/* The accepting end, after a handshake: writes a ticket, unless the session was resumed (the device has one
 * then). */
gboolean link_tls_give_ticket(gnutls_session_t session, GError **error);

/* The dialling end: later sessions of this LinkTls shall resume this one, if it has got a ticket. */
void link_tls_keep(gnutls_session_t session);
