/* Invitations: what a clone host's owner hands to a device, out of band, so that the two find and trust each
 * other.
 *
 * In text: "doppel1" and base32 of
 *   host key (32 bytes), id (8), secret (16), expiry (8, big-endian seconds since 1970),
 *   number of addresses (1), for each its length (1) and its text, and a check sum (4): the first bytes of
 * the BLAKE2b hash of all before it, so that a slip of the pen is told from a refusal. */
#pragma once

#include <glib.h>

#include "identity/key.h"

#define INVITATION_ID_LENGTH     8
#define INVITATION_SECRET_LENGTH 16
#define INVITATION_ADDRESSES_MAX 8
#define INVITATION_TEXT_MAX      4096

typedef struct {
  IdentityPublic host;
  guint8 id[INVITATION_ID_LENGTH];
  guint8 secret[INVITATION_SECRET_LENGTH]; /* good for one pairing */
  gint64 expires;                          /* seconds since 1970 */
  char **addresses;                        /* "host:port", at least one */
} Invitation;

/* A new one with a fresh id and secret. USAGE for no or too many addresses or one that is none. */
Invitation *invitation_new(const IdentityPublic *host, const char *const *addresses, gint64 expires,
                           GError **error);
void invitation_free(Invitation *invitation);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Invitation, invitation_free)

char *invitation_to_text(const Invitation *invitation);

/* USAGE for what is none: mistyped, cut off, or of a later version. White space around it is ignored. */
Invitation *invitation_from_text(const char *text, GError **error);
