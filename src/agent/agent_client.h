/* The other end of an agent's conversation: any process of the same user. That an agent is gone, hangs or
 * talks nonsense never stands in the way: it counts as none. */
#pragma once

#include "agent/agent_message.h"

typedef struct AgentClient AgentClient;

/* NULL: there is no agent. */
AgentClient *agent_client_new(void);
void agent_client_free(AgentClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AgentClient, agent_client_free)

/* Ends this user's agent, and waits until it has ended. FALSE with an error: NOT_FOUND where there is none.
 */
gboolean agent_client_stop(GError **error);

/* Says something. FALSE: the agent is gone, and this connection is no good any more. */
gboolean agent_client_tell(AgentClient *client, const AgentMessage *message);

/* Says something, and waits so many ms for the answer, which has to be of a kind. NULL: as above. */
AgentMessage *agent_client_ask(AgentClient *client, const AgentMessage *message,
                               Doppel__Agent__Message__KindCase kind, int timeout_ms);
