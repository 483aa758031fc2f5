/* What a service asks of the node of its clone. One table, so that a test can be the node. */
#pragma once

#include "c2c/service.h"

#define SERVICE_RECEIPT_DOMAIN "doppel receipt 1" /* with its NUL: before what is signed */

typedef struct {
  /* A stream to a service of another user's clone: a connected stream socket, or -1 with an error: NOT_FOUND
   * no such user, DENIED, GONE where their clone is away, else FAILED. May block; any thread. */
  int (*dial)(const ServicePlace *place, const char *user, const char *service, GError **error);

  /* Signs the bytes of a receipt's statement with the clone's key. */
  gboolean (*sign)(const ServicePlace *place, const void *statement, gsize length, IdentityPublic *key,
                   guint8 signature[IDENTITY_SIGNATURE_LENGTH], GError **error);

  /* The names of all contacts: NULL-terminated, the caller's. */
  char **(*contacts)(const ServicePlace *place, GError **error);

  /* The key of the user's clone, as the newest known record has it. */
  gboolean (*clone_key)(const ServicePlace *place, const char *user, IdentityPublic *key, GError **error);

  /* The same, with who they are, and what the owner, or else their record, calls them (the caller's). */
  gboolean (*whois)(const ServicePlace *place, const char *user, IdentityPublic *origin, IdentityPublic *key,
                    char **name, GError **error);

  /* Whose clone this is. NOT_FOUND while it has no name yet. */
  gboolean (*own)(const ServicePlace *place, IdentityPublic *origin, GError **error);
} ServiceNode;

/* The node by its socket, unless a test has put another one here. */
extern const ServiceNode *service_node;
