/* What is said to an agent and by it (wire/agent.proto), on a connection of a Unix socket. */
#pragma once

#include <glib.h>

#include "wire/agent.pb-c.h"

typedef Doppel__Agent__Message AgentMessage;
void agent_message_free(AgentMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AgentMessage, agent_message_free)

#define AGENT_MESSAGE_MAX (16u << 20) /* bytes; a longer one is refused */
#define AGENT_LENGTH      4u          /* bytes of the length before it */

/* The message, with its length before it. */
GByteArray *agent_message_pack(const AgentMessage *message);

/* How long a message is, from its first AGENT_LENGTH bytes. FALSE: HOSTILE. */
gboolean agent_message_length(const guint8 *bytes, gsize *length, GError **error);

/* The message in these bytes (hostile). What comes out has a kind, paths that are valid below a root, no
 * strings but UTF-8, and a watch's name of its length or none. NULL with HOSTILE. */
AgentMessage *agent_message_unpack(const guint8 *bytes, gsize length, GError **error);

/* Bytes of a message as a new string; "" where there are none, for which there is no pointer either. */
char *agent_message_path(const ProtobufCBinaryData *path);

/* AGENT_MESSAGE(kind, field, value): a message on the stack. */
#define AGENT_MESSAGE(kind, field, value)                                                                    \
  &(AgentMessage)                                                                                            \
  {                                                                                                          \
    .base = PROTOBUF_C_MESSAGE_INIT(&doppel__agent__message__descriptor),                                    \
    .kind_case = DOPPEL__AGENT__MESSAGE__KIND_##kind, .field = (value)                                       \
  }
