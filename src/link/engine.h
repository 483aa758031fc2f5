/* The messages of Controller and Augmenter (wire/engine.proto) over a link. */
#pragma once

#include "link/link.h"
#include "wire/engine.pb-c.h"

#define ENGINE_VERSION 3
#define ENGINE_CHANNEL 1

typedef Doppel__Engine__Message EngineMessage;

void engine_message_free(EngineMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EngineMessage, engine_message_free)

/* Sends the message whose kind and contents are given, as in ENGINE_SEND(link, FORWARDED, forwarded, &reply,
 * error). */
gboolean engine_send(Link *link, const EngineMessage *message, GError **error);
/* As link_queue(): more follows at once. */
gboolean engine_queue(Link *link, const EngineMessage *message, GError **error);
#define ENGINE_SEND(link, KIND, field, contents, error)                                                      \
  engine_send((link),                                                                                        \
              &(EngineMessage){PROTOBUF_C_MESSAGE_INIT(&doppel__engine__message__descriptor),                \
                               DOPPEL__ENGINE__MESSAGE__KIND_##KIND,                                         \
                               {.field = (contents)}},                                                       \
              (error))

/* The next message that has arrived. NULL: none yet, or with an error HOSTILE one that makes no sense. */
EngineMessage *engine_take(Link *link, GError **error);

/* Waits for one, driving the link. NULL with an error GONE at the link's end or after `timeout_ms` (-1: as
 * long as the link lives). */
EngineMessage *engine_wait(Link *link, int timeout_ms, GError **error);

/* From now on the observer is told of each message that is sent or queued (`out`) or taken: its bytes,
 * packed, and how many others have arrived that are not taken yet. A taken one may be hostile. NULL: nobody.
 */
typedef void (*EngineObserver)(void *user, const EngineMessage *message, gsize length, gboolean out,
                               guint waiting);
void engine_observe(Link *link, EngineObserver observer, void *user);

/* The message's kind in words, for errors. */
const char *engine_message_name(const EngineMessage *message);
