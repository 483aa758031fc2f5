/* The messages about checkpoints (wire/checkpoint.proto) over a link.
 *
 * A device whose first message of a session is on this channel speaks to the clone's checkpoints
 * (checkpoint_service.h) and to nothing else in that session. It asks one thing at a time. */
#pragma once

#include "link/link.h"
#include "replicator/checkpoint_body.h"

#define CHECKPOINT_CHANNEL     7
#define CHECKPOINT_MESSAGE_MAX (2u << 20)
#define CHECKPOINT_BYTES_MAX   (256u << 10) /* of a CheckpointBytes */
#define CHECKPOINT_ASK_MAX     512          /* files in one question */
/* So many bytes answer one request for bytes, unless there are no more: then the device asks on. */
#define CHECKPOINT_WINDOW (16u << 20)

typedef Doppel__Wire__CheckpointMessage CheckpointMessage;
typedef Doppel__Wire__CheckpointChain CheckpointChain;

void checkpoint_message_free(CheckpointMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckpointMessage, checkpoint_message_free)
void checkpoint_chain_free(CheckpointChain *chain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckpointChain, checkpoint_chain_free)

/* Packs and checks without a link. NULL with HOSTILE for what no correct peer sends. */
GBytes *checkpoint_message_pack(const CheckpointMessage *message);
CheckpointMessage *checkpoint_message_unpack(const guint8 *data, gsize length, GError **error);
CheckpointChain *checkpoint_chain_unpack(const guint8 *data, gsize length, GError **error);

/* Sends the message whose kind and contents are given, as in CHECKPOINT_SEND(link, LIST, list, &number,
 * error). */
gboolean checkpoint_message_send(Link *link, const CheckpointMessage *message, GError **error);
#define CHECKPOINT_SEND(link, KIND, field, contents, error)                                                  \
  checkpoint_message_send(                                                                                   \
      (link),                                                                                                \
      &(CheckpointMessage){PROTOBUF_C_MESSAGE_INIT(&doppel__wire__checkpoint_message__descriptor),           \
                           DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_##KIND,                                    \
                           {.field = (contents)}},                                                           \
      (error))

/* The next message that has arrived. NULL: none yet, or with an error HOSTILE one that makes no sense. */
CheckpointMessage *checkpoint_message_take(Link *link, GError **error);

/* Waits for it, as link_await() does. */
CheckpointMessage *checkpoint_message_wait(Link *link, int timeout_ms, GError **error);
