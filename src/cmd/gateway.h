/* The gateway to the network of clones, as the agent holds it. */
#pragma once

/* Is the gateway, until it is ended. One of AGENT_WORK_...: BUSY where another process is it. */
int gateway_hold(void);
