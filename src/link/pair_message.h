/* What both ends of a pairing share: one message each way at a time, over a link that lives for one matter.
 */
#pragma once

#include "identity/paired.h"
#include "link/link.h"
#include "wire/pair.pb-c.h"

#define PAIR_ANSWER_MS 10000
#define PAIR_OPTIONS                                                                                         \
  (LinkOptions)                                                                                              \
  {                                                                                                          \
    .resume_ms = 0, .connect_ms = 5000, .keepalive_ms = 5000, .multipath = FALSE                             \
  }

/* The id that addresses the host itself. */
extern const guint8 pair_host_id[WIRE_ID_LENGTH];

/* The packed form is wiped: there may be secrets in it. */
gboolean pair_send(Link *link, const ProtobufCMessage *message, GError **error);

/* The device's end: the host's answer where it is OK; otherwise NULL with what it says, or HOSTILE.
 * `unknown` is what UNKNOWN means here. */
Doppel__Wire__PairReply *pair_read_reply(const guint8 *data, gsize length, const char *unknown,
                                         GError **error);
void pair_reply_free(Doppel__Wire__PairReply *reply);

/* Sends a request and waits for its answer. */
Doppel__Wire__PairReply *pair_ask(Link *link, const Doppel__Wire__PairRequest *request, const char *unknown,
                                  GError **error);

/* The clone that an OK tells of. `known`: addresses that lead to its host; may be NULL. NULL with HOSTILE, or
 * with USAGE for a name that a clone cannot have. */
PairedClone *pair_read_clone(const Doppel__Wire__PairReply *reply, const IdentityPublic *host,
                             const char *const *known, const char *name, GError **error);

#define PAIR_UNKNOWN  "the host does not know this invitation or clone (any more): ask for a new invitation"
#define PAIR_NOT_OURS "the host does not know this clone, or not as this device's (any more)"
