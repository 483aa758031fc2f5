/* The device's gateway to the network of clones (c2c/gateway.h), held for as long as the agent runs: programs
 * find it there at once, and what they offer is not made anew because nobody was connected for a while. It is
 * a process of its own, so that the agent waits for no clone. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent_private.h"
#include "identity/user.h"

#define LASTED_S  60 /* one that has ended after so long has worked */
#define AGAIN_S   1  /* until it is begun again, when it has ended: */
#define DOUBLINGS 9  /* of that, at most, one after the other */

/* Who has no name in that network, and no clone, needs no way to it. */
static gboolean
is_wanted(void)
{
  g_autoptr(User) user = user_load(FALSE, NULL);
  g_autoptr(GPtrArray) paired = user && user->key ? paired_list(NULL) : NULL;
  return paired && paired->len > 0;
}

static gboolean
again(gpointer data)
{
  Agent *agent = data;
  agent->gateway.timer = 0;
  agent_gateway_turn(agent);
  return G_SOURCE_REMOVE;
}

static void
wait_for_next(Agent *agent)
{
  AgentGateway *gateway = &agent->gateway;
  guint seconds = AGAIN_S << MIN(gateway->failures, DOUBLINGS);
  gateway->failures++;
  gateway->again = agent_now() + seconds;
  gateway->timer = g_timeout_add_seconds(seconds, again, agent);
}

static void
ended(GPid process, int status, gpointer data)
{
  Agent *agent = data;
  AgentGateway *gateway = &agent->gateway;
  g_spawn_close_pid(process);
  gateway->child = 0;
  gateway->process = 0;
  gateway->busy = WIFEXITED(status) && WEXITSTATUS(status) == AGENT_WORK_BUSY;
  if (agent->ending)
    return;
  if (!gateway->busy && agent_ticks() - gateway->began >= LASTED_S)
    gateway->failures = 0;
  wait_for_next(agent);
}

static void
begin(Agent *agent)
{
  g_autoptr(GError) error = NULL;
  AgentGateway *gateway = &agent->gateway;
  char *words[] = {(char *)"/proc/self/exe",
                   (char *)"agent",
                   (char *)"--work=" AGENT_WORK_GATEWAY,
                   (char *)"--",
                   (char *)"",
                   NULL};
  gateway->since = agent_now();
  gateway->began = agent_ticks();
  if (!g_spawn_async(NULL, words, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL,
                     agent_worker_in_child, GINT_TO_POINTER(getpid()), &gateway->process, &error)) {
    g_warning("the gateway cannot be started: %s", error->message);
    gateway->process = 0;
    wait_for_next(agent);
    return;
  }
  gateway->child = g_child_watch_add(gateway->process, ended, agent);
}

void
agent_gateway_turn(Agent *agent)
{
  AgentGateway *gateway = &agent->gateway;
  gateway->wanted = is_wanted();
  if (!gateway->wanted && gateway->process)
    kill(gateway->process, SIGTERM);
  if (gateway->wanted && !gateway->process && !gateway->timer && !agent->ending)
    begin(agent);
}

void
agent_gateway_end(Agent *agent)
{
  AgentGateway *gateway = &agent->gateway;
  if (gateway->timer)
    g_source_remove(gateway->timer);
  if (!gateway->process)
    return;
  g_source_remove(gateway->child);
  kill(gateway->process, SIGTERM);
  while (waitpid(gateway->process, NULL, 0) < 0 && errno == EINTR)
    ;
}

void
agent_gateway_report(const Agent *agent, AgentReport *report)
{
  const AgentGateway *gateway = &agent->gateway;
  if (gateway->wanted)
    agent_report_set_gateway(report, gateway->process, gateway->since, gateway->failures, gateway->again,
                             gateway->busy);
}
