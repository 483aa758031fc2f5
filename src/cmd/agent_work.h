/* What a process of the agent's own does (agent/agent.h). */
#pragma once

#include <glib.h>

/* `work` is an AGENT_WORK_…; the exit status. */
int agent_work(const char *work, const char *clone);
