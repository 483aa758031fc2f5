/* The device's end of a conversation with its clone's store: one question, one answer. */
#pragma once

#include "replicator/sync_message.h"

/* Of an answer: the link itself notices a host that is gone; a clone may have much to do again after a crash.
 */
#define CONVERSATION_WAIT_MS 600000

/* The message, if it is of the kind. Otherwise NULL with an error: what a Failure says, or HOSTILE. `message`
 * is taken; NULL is passed on. */
SyncMessage *conversation_expect(SyncMessage *message, Doppel__Sync__Message__KindCase kind, GError **error);

/* Waits for a message of the kind. */
SyncMessage *conversation_answer(Link *link, Doppel__Sync__Message__KindCase kind, GError **error);

/* Greets. The answer is a Welcome. */
SyncMessage *conversation_hello(Link *link, gboolean write, GError **error);

/* Ends the conversation, as far as the link lets it. */
void conversation_bye(Link *link);

/* An answer of many messages, which are granted as they are taken: begin with CONVERSATION_GRANT. The next
 * one; at the End, *end is set. NULL with an error. */
#define CONVERSATION_GRANT 32u
SyncMessage *conversation_next(Link *link, guint *taken, gboolean *end, GError **error);
