/* doppel.conf, up to a NUL, and what is decided with it where it is read: the bytes behind are a situation.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "input.h"
#include "replicator/policy.h"

#define DEMAND(condition)                                                                                    \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      __builtin_trap();                                                                                      \
  } while (0)

/* FALSE where the text is refused; then nothing may have been taken. */
static gboolean
load(PolicyConfig *config, const guint8 *text, gsize length)
{
  g_auto(Fd) fd = memfd_create("doppel.conf", MFD_CLOEXEC);
  DEMAND(fd >= 0 && io_write_all(fd, text, length));
  g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
  PolicyConfig before = *config;
  g_autoptr(GError) error = NULL;
  gboolean taken = policy_config_load(config, path, &error);
  DEMAND(taken == !error);
  DEMAND(taken || memcmp(&before, config, sizeof before) == 0);
  DEMAND(taken || g_utf8_validate(error->message, -1, NULL));
  return taken;
}

static void
check_config(const PolicyConfig *config)
{
  DEMAND(config->every >= 60 && config->every <= 365 * 86400);
  DEMAND(config->opportunity_every >= 60 && config->patience >= 60 && config->opportunity_links > 1);
  DEMAND(config->battery_minimum >= 0 && config->battery_minimum <= 100);
  DEMAND(config->compression >= 0 && config->compression <= 19);
  DEMAND(config->opportunity_hours.from >= 0 && config->opportunity_hours.from < 1440);
  DEMAND(config->opportunity_hours.to >= 0 && config->opportunity_hours.to < 1440);
  for (guint i = 0; i < CONDITIONS_COUNT; i++)
    g_free(conditions_value_text(&config->conditions, i));
}

static void
take_situation(Input *input, PolicySituation *situation)
{
  PolicyPending *pending = &situation->pending;
  conditions_set(&situation->conditions, CONDITION_LINK, input_below(input, CONDITION_LINKS),
                 CONDITIONS_NETWORK_MANAGER);
  conditions_set(&situation->conditions, CONDITION_METERED, input_below(input, 2),
                 CONDITIONS_NETWORK_MANAGER);
  conditions_set(&situation->conditions, CONDITION_ON_BATTERY, input_below(input, 2), CONDITIONS_UPOWER);
  conditions_set(&situation->conditions, CONDITION_LEVEL, input_below(input, 101), CONDITIONS_UPOWER);
  situation->now = input_number(input, 8);
  situation->minute = input_number(input, 2) % 1440;
  situation->running = input_below(input, 2);
  pending->entries = input_number(input, 8);
  pending->bytes = input_number(input, 8);
  pending->big_entries = input_number(input, 8);
  pending->big_bytes = input_number(input, 8);
  pending->big_since = input_number(input, 8);
  pending->last_generation = input_number(input, 8);
  pending->failures = input_number(input, 4);
  pending->last_failure = input_number(input, 8);
}

static void
check_decision(const PolicyDecision *decision)
{
  guint waits = 0;
  for (guint i = 0; i < decision->reasons->len; i++) {
    const PolicyReason *reason = &g_array_index(decision->reasons, PolicyReason, i);
    DEMAND(reason->rule && reason->text && *reason->text);
    waits += !reason->holds;
  }
  DEMAND(decision->now == (waits == 0));
  DEMAND(decision->compression >= 1 && decision->compression <= 19);
  g_free(policy_explain(decision));
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  const guint8 *nul = length ? memchr(data, 0, length) : NULL;
  gsize text = nul ? (gsize)(nul - data) : length;
  PolicyConfig config;
  policy_config_default(&config);
  if (!load(&config, data, text))
    return 0;
  check_config(&config);
  Input input = {.data = data + text + (nul != NULL), .left = length - text - (nul != NULL)};
  PolicySituation situation = {.conditions = config.conditions};
  take_situation(&input, &situation);
  for (guint level = 0; level < POLICY_LEVELS; level++) {
    g_autoptr(PolicyDecision) decision = policy_decide(&config, &situation, level);
    check_decision(decision);
  }
  g_autoptr(PolicyDecision) automatic = policy_decide_automatic(&config, &situation);
  check_decision(automatic);
  return 0;
}
