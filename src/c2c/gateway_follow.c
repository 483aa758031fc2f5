/* The own clone may have moved while its link is away: the directories are asked where it is, so that the
 * link comes back there, with all its streams. */
#include "c2c/gateway_private.h"

#define MOVED_AFTER_US (1 * G_USEC_PER_SEC) /* away for so long: it may be somewhere else */
#define ASK_EVERY_US   (3 * G_USEC_PER_SEC)

typedef struct {
  Gateway *gateway;
  char **addresses;
} Answer;

static void
answer_free(void *data)
{
  Answer *answer = data;
  g_strfreev(answer->addresses);
  g_free(answer);
}

static gboolean
on_answer(void *data)
{
  const Answer *answer = data;
  Gateway *gateway = answer->gateway;
  g_thread_join(g_steal_pointer(&gateway->asking));
  if (gateway->mux && answer->addresses && answer->addresses[0])
    link_set_addresses(mux_link(gateway->mux), (const char *const *)answer->addresses);
  return G_SOURCE_REMOVE;
}

static void *
ask(void *data)
{
  Gateway *gateway = data;
  Answer *answer = g_new(Answer, 1);
  *answer = (Answer){gateway, gateway->config->where(gateway->config->data)};
  GSource *later = g_idle_source_new();
  g_source_set_callback(later, on_answer, answer, answer_free);
  g_source_attach(later, gateway->context);
  g_source_unref(later);
  return NULL;
}

gboolean
gateway_follow(Gateway *gateway)
{
  gint64 now = g_get_monotonic_time();
  gboolean away = gateway->mux && link_state(mux_link(gateway->mux)) == LINK_AWAY;
  gateway->away = away ? (gateway->away ? gateway->away : now) : 0;
  if (away && gateway->config->where && !gateway->asking && now - gateway->away >= MOVED_AFTER_US &&
      (!gateway->asked || now - gateway->asked >= ASK_EVERY_US)) {
    gateway->asked = now;
    gateway->asking = g_thread_try_new("where", ask, gateway, NULL);
  }
  return away;
}

void
gateway_follow_end(Gateway *gateway)
{
  if (gateway->asking)
    g_thread_join(g_steal_pointer(&gateway->asking));
}
