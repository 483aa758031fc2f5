#include "link/tls.h"

#include <gnutls/abstract.h>
#include <string.h>

#include "base/error.h"

#define HANDSHAKE_MESSAGE_MAX 8192
#define TICKET_SECONDS        3600 /* after that the keys are proved again */

/* One version, one group, one signature; the first cipher that the client has, too. */
#define PRIORITY                                                                                             \
  "NONE:+VERS-TLS1.3:+GROUP-X25519:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:+AEAD:"                      \
  "+SIGN-EDDSA-ED25519:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK"

/* An Ed25519 SubjectPublicKeyInfo in DER (RFC 8410 section 4) up to the key itself. */
static const guint8 spki_head[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

struct LinkTls {
  gnutls_certificate_credentials_t credentials;
  gnutls_priority_t priority;
  GArray *peers;          /* of IdentityPublic: who is let in, if not anybody is */
  gboolean any;           /* whoever comes is let in, until the link has settled on one */
  gboolean ticketless;    /* for good */
  gnutls_datum_t sealing; /* the accepting end's key for tickets; made at first use */
  gnutls_datum_t kept;    /* the dialling end's last session with a ticket */
};

static void
wipe(gnutls_datum_t *secret)
{
  if (secret->data)
    gnutls_memset(secret->data, 0, secret->size);
  gnutls_free(secret->data);
  *secret = (gnutls_datum_t){NULL, 0};
}

gboolean
link_tls_peer(gnutls_session_t session, IdentityPublic *peer)
{
  const LinkTls *tls = gnutls_session_get_ptr(session);
  guint count = 0;
  const gnutls_datum_t *shown = gnutls_certificate_get_peers(session, &count);
  if (gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) != GNUTLS_CRT_RAWPK || !shown || count != 1 ||
      shown->size != sizeof spki_head + IDENTITY_PUBLIC_LENGTH ||
      memcmp(shown->data, spki_head, sizeof spki_head) != 0)
    return FALSE;
  memcpy(peer->bytes, shown->data + sizeof spki_head, IDENTITY_PUBLIC_LENGTH);
  for (guint i = 0; i < tls->peers->len; i++)
    if (identity_public_equal(peer, &g_array_index(tls->peers, IdentityPublic, i)))
      return TRUE;
  return tls->any;
}

static int
verify(gnutls_session_t session)
{
  IdentityPublic peer;
  return link_tls_peer(session, &peer) ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

/* GnuTLS's form of our key. */
static int
import_key(const IdentityKey *own, gnutls_privkey_t key, gnutls_pcert_st *shown)
{
  gnutls_datum_t public = {(guint8 *)identity_key_public(own)->bytes, IDENTITY_PUBLIC_LENGTH};
  gnutls_datum_t secret = {(guint8 *)identity_key_seed(own), IDENTITY_SEED_LENGTH};
  int result = gnutls_privkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_ED25519, &public, NULL, &secret);
  gnutls_pubkey_t half = NULL;
  if (result >= 0)
    result = gnutls_pubkey_init(&half);
  if (result >= 0)
    result = gnutls_pubkey_import_privkey(half, key, GNUTLS_KEY_DIGITAL_SIGNATURE, 0);
  if (result >= 0)
    result = gnutls_pcert_import_rawpk(shown, half, 0);
  if (result < 0)
    gnutls_pubkey_deinit(half);
  return result;
}

static int
load_key(LinkTls *tls, const IdentityKey *own)
{
  gnutls_privkey_t key;
  gnutls_pcert_st shown;
  int result = gnutls_privkey_init(&key);
  if (result < 0)
    return result;
  result = import_key(own, key, &shown);
  if (result >= 0) {
    result = gnutls_certificate_set_key(tls->credentials, NULL, 0, &shown, 1, key);
    if (result >= 0)
      return 0;
    gnutls_pcert_deinit(&shown);
  }
  gnutls_privkey_deinit(key);
  return result;
}

LinkTls *
link_tls_new(const IdentityKey *own, const IdentityPublic *peer, GError **error)
{
  g_autoptr(LinkTls) tls = g_new0(LinkTls, 1);
  tls->any = tls->ticketless = peer == NULL;
  tls->peers = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  if (peer)
    link_tls_let_in(tls, peer);
  int result = gnutls_certificate_allocate_credentials(&tls->credentials);
  if (result >= 0)
    result = gnutls_priority_init(&tls->priority, PRIORITY, NULL);
  if (result >= 0)
    result = load_key(tls, own);
  if (result < 0) {
    doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                     "GnuTLS cannot do TLS 1.3 with raw Ed25519 keys here: %s", gnutls_strerror(result));
    return NULL;
  }
  gnutls_certificate_set_verify_function(tls->credentials, verify);
  return g_steal_pointer(&tls);
}

void
link_tls_refuse_tickets(LinkTls *tls)
{
  tls->ticketless = TRUE;
}

void
link_tls_free(LinkTls *tls)
{
  if (!tls)
    return;
  if (tls->credentials)
    gnutls_certificate_free_credentials(tls->credentials);
  if (tls->priority)
    gnutls_priority_deinit(tls->priority);
  wipe(&tls->sealing);
  wipe(&tls->kept);
  g_array_unref(tls->peers);
  g_free(tls);
}

void
link_tls_let_in(LinkTls *tls, const IdentityPublic *peer)
{
  g_array_append_vals(tls->peers, peer, 1);
}

void
link_tls_settle_on(LinkTls *tls, const IdentityPublic *peer)
{
  tls->any = FALSE;
  g_array_set_size(tls->peers, 0);
  link_tls_let_in(tls, peer);
}

static int
open_server(LinkTls *tls, gnutls_session_t session)
{
  int result = 0;
  gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
  if (tls->ticketless)
    return 0;
  if (!tls->sealing.data)
    result = gnutls_session_ticket_key_generate(&tls->sealing);
  gnutls_db_set_cache_expiration(session, TICKET_SECONDS);
  return result < 0 ? result : gnutls_session_ticket_enable_server(session, &tls->sealing);
}

gnutls_session_t
link_tls_open(LinkTls *tls, gboolean server, GError **error)
{
  gnutls_session_t session = NULL;
  guint flags = GNUTLS_NONBLOCK | GNUTLS_ENABLE_RAWPK | GNUTLS_NO_AUTO_SEND_TICKET |
                (tls->ticketless ? GNUTLS_NO_TICKETS : 0) | (server ? GNUTLS_SERVER : GNUTLS_CLIENT);
  int result = gnutls_init(&session, flags);
  if (result >= 0)
    result = gnutls_priority_set(session, tls->priority);
  if (result >= 0)
    result = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials);
  if (result >= 0 && server)
    result = open_server(tls, session);
  if (result < 0) {
    if (session)
      gnutls_deinit(session);
    doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "GnuTLS cannot start TLS 1.3: %s",
                     gnutls_strerror(result));
    return NULL;
  }
  gnutls_session_set_ptr(session, tls);
  gnutls_handshake_set_max_packet_length(session, HANDSHAKE_MESSAGE_MAX);
  /* What is kept may have expired: that is no failure, but a full handshake. */
  if (!server && tls->kept.data)
    gnutls_session_set_data(session, tls->kept.data, tls->kept.size);
  return session;
}

gboolean
link_tls_give_ticket(gnutls_session_t session, GError **error)
{
  const LinkTls *tls = gnutls_session_get_ptr(session);
  if (tls->ticketless || gnutls_session_is_resumed(session))
    return TRUE;
  int result = gnutls_session_ticket_send(session, 1, 0);
  return result >= 0 || doppel_error_set(error, DOPPEL_ERROR_GONE, "cannot give the device a ticket: %s",
                                         gnutls_strerror(result));
}

void
link_tls_keep(gnutls_session_t session)
{
  LinkTls *tls = gnutls_session_get_ptr(session);
  gnutls_datum_t data = {NULL, 0};
  /* Without one GnuTLS would wait for it. */
  if (!(gnutls_session_get_flags(session) & GNUTLS_SFLAGS_SESSION_TICKET) ||
      gnutls_session_get_data2(session, &data) < 0)
    return;
  wipe(&tls->kept);
  tls->kept = data;
}
