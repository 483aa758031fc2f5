/* The messages between a device and its clone's store (wire/sync.proto) over a link, on a channel of their
 * own: by that a clone host tells a synchronisation from a session of the engine (link/engine.h). */
#pragma once

#include "link/link.h"
#include "wire/sync.pb-c.h"

#define SYNC_VERSION      2
#define SYNC_CHANNEL      2
#define SYNC_IDENTITY     16u          /* bytes that name a store or an attempt */
#define SYNC_PIECE        (128u << 10) /* bytes of content in one Data message */
#define SYNC_GRANT_MAX    256u         /* messages of an answer that may be under way */
#define SYNC_MISMATCH_MAX 65536u       /* of one attempt */
#define SYNC_FETCH_MAX    1024u        /* files of one Fetch */

typedef Doppel__Sync__Message SyncMessage;

void sync_message_free(SyncMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SyncMessage, sync_message_free)

/* Sends the message whose kind and contents are given, as in SYNC_SEND(link, DURABLE, durable, &durable,
 * error). It must not be longer than LINK_MESSAGE_MAX when packed. */
gboolean sync_send(Link *link, const SyncMessage *message, GError **error);
#define SYNC_SEND(link, KIND, field, contents, error)                                                        \
  sync_send((link),                                                                                          \
            &(SyncMessage){PROTOBUF_C_MESSAGE_INIT(&doppel__sync__message__descriptor),                      \
                           DOPPEL__SYNC__MESSAGE__KIND_##KIND,                                               \
                           {.field = (contents)}},                                                           \
            (error))

/* The next message that has arrived. NULL: none yet, or with an error HOSTILE one that makes no sense: of
 * another channel, of no known kind, or with an identity that is none. */
SyncMessage *sync_take(Link *link, GError **error);

/* Waits for one, driving the link. NULL with an error: GONE at the link's end, or after `timeout_ms`. */
SyncMessage *sync_wait(Link *link, int timeout_ms, GError **error);

/* Sends a Failure that says `error`. */
gboolean sync_fail(Link *link, const GError *error);

/* The message's kind in words, for errors. */
const char *sync_message_name(const SyncMessage *message);

/* Sets `error` to HOSTILE: `message` came where it has no place. Always FALSE. */
gboolean sync_unexpected(const SyncMessage *message, GError **error);
