#include "replicator/policy_rules.h"

#include "replicator/policy_text.h"

#define DAY         86400
#define RETRY_FIRST 60   /* s after a failed attempt */
#define RETRY_LAST  3600 /* s, to which that doubles with each further one */

#define BIT(level)  (1u << POLICY_##level)
#define BY_ITSELF   (BIT(COARSE) | BIT(OPPORTUNISTIC))
#define EVERY_LEVEL (BY_ITSELF | BIT(ON_DEMAND) | BIT(FINE))

static void say(PolicyReason *reason, gboolean holds, gint64 until, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

static void
say(PolicyReason *reason, gboolean holds, gint64 until, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  reason->holds = holds;
  reason->until = until;
  reason->text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
}

#define YES(reason, ...)            say(reason, TRUE, 0, __VA_ARGS__)
#define NO(reason, ...)             say(reason, FALSE, POLICY_NO_TIME, __VA_ARGS__)
#define NOT_YET(reason, until, ...) say(reason, FALSE, until, __VA_ARGS__)

static int
get(const PolicyQuestion *question, ConditionKind kind)
{
  return conditions_get(&question->situation->conditions, kind);
}

static const char *
source(const PolicyQuestion *question, ConditionKind kind)
{
  return conditions_source_name(question->situation->conditions.facts[kind].source);
}

gboolean
policy_is_metered(const Conditions *conditions)
{
  int metered = conditions_get(conditions, CONDITION_METERED);
  return metered >= 0 ? metered : conditions_get(conditions, CONDITION_LINK) == CONDITION_LINK_MOBILE;
}

/* What is known about it: "metered (NetworkManager)". */
static char *
metered_text(const PolicyQuestion *question)
{
  int metered = get(question, CONDITION_METERED);
  if (metered >= 0)
    return g_strdup_printf("%s (%s)", metered ? "metered" : "not metered",
                           source(question, CONDITION_METERED));
  return g_strdup(get(question, CONDITION_LINK) == CONDITION_LINK_MOBILE ? "mobile, which counts as metered"
                                                                         : "nothing says that it is metered");
}

static void
judge_automatic(const PolicyQuestion *question, PolicyReason *reason)
{
  if (question->config->automatic)
    YES(reason, "switched on");
  else
    NO(reason, "switched off ([sync] automatic)");
}

static void
judge_link(const PolicyQuestion *question, PolicyReason *reason)
{
  int link = get(question, CONDITION_LINK);
  if (link < 0)
    YES(reason, "nothing tells whether there is a network");
  else if (link == CONDITION_LINK_NONE)
    NO(reason, "there is no network (%s)", source(question, CONDITION_LINK));
  else
    YES(reason, "%s (%s)", conditions_link_name(link), source(question, CONDITION_LINK));
}

static void
judge_opportunity_link(const PolicyQuestion *question, PolicyReason *reason)
{
  int link = get(question, CONDITION_LINK);
  if (link < 0)
    NO(reason, "nothing tells what the link is ([conditions] link can)");
  else if (link == CONDITION_LINK_NONE)
    NO(reason, "there is no network (%s)", source(question, CONDITION_LINK));
  else if (question->config->opportunity_links & 1u << link)
    YES(reason, "%s (%s)", conditions_link_name(link), source(question, CONDITION_LINK));
  else
    NO(reason, "%s (%s) is not among the links to wait for ([opportunistic] links)",
       conditions_link_name(link), source(question, CONDITION_LINK));
}

static void
judge_log_in(const PolicyQuestion *question, PolicyReason *reason)
{
  if (get(question, CONDITION_ONLINE) == 0)
    NO(reason, "the network waits for somebody to log in (%s)", source(question, CONDITION_ONLINE));
  else
    YES(reason, "the network lets everything through, as far as is known");
}

static gint64
retry_after(guint failures)
{
  gint64 wait = RETRY_FIRST;
  for (guint i = 1; i < failures && wait < RETRY_LAST; i++)
    wait *= 2;
  return MIN(wait, RETRY_LAST);
}

/* A time in the future is a clock's that was put right since: nothing waits for it. */
static void
judge_failures(const PolicyQuestion *question, PolicyReason *reason)
{
  const PolicyPending *pending = &question->situation->pending;
  gint64 now = question->situation->now, next = pending->last_failure + retry_after(pending->failures);
  if (pending->failures == 0) {
    YES(reason, "no attempt has failed");
    return;
  }
  g_autofree char *age = policy_text_duration(now - pending->last_failure);
  g_autofree char *attempts = pending->failures == 1
                                  ? g_strdup("one attempt has failed")
                                  : g_strdup_printf("%u attempts have failed", pending->failures);
  if (now >= next || now < pending->last_failure) {
    YES(reason, "%s, which is long enough ago", attempts);
    return;
  }
  g_autofree char *when = policy_text_when(next, now, question->situation->minute);
  NOT_YET(reason, next, "%s, the last one %s ago; the next one is %s", attempts, age, when);
}

static void
judge_pending(const PolicyQuestion *question, PolicyReason *reason)
{
  const PolicyPending *pending = &question->situation->pending;
  gboolean takes_big = question->level != POLICY_COARSE;
  gint64 entries = pending->entries + (takes_big ? pending->big_entries : 0);
  g_autofree char *size = policy_text_size(pending->bytes + (takes_big ? pending->big_bytes : 0));
  g_autofree char *big = policy_text_size(pending->big_bytes);
  if (pending->entries < 0)
    YES(reason, "what has changed is not known before the tree is looked at");
  else if (pending->last_generation == 0)
    YES(reason, "the clone has nothing yet");
  else if (entries > 0)
    YES(reason, "%" G_GINT64_FORMAT " changed, %s", entries, size);
  else if (pending->big_entries > 0)
    NO(reason, "only big files have changed, %s, which wait for an opportunity ([sync] big)", big);
  else
    NO(reason, "nothing has changed");
}

static void
judge_interval(const PolicyQuestion *question, PolicyReason *reason)
{
  gboolean coarse = question->level == POLICY_COARSE;
  gint64 now = question->situation->now, last = question->situation->pending.last_generation;
  gint64 due = last + (coarse ? question->config->every : question->config->opportunity_every);
  g_autofree char *age = policy_text_duration(now - last);
  if (last == 0)
    YES(reason, "there is no generation yet");
  else if (last > now)
    YES(reason, "the last generation is from the future: the clock was put right since");
  else if (now >= due)
    YES(reason, "the last generation is %s old", age);
  else {
    g_autofree char *when = policy_text_when(due, now, question->situation->minute);
    NOT_YET(reason, due, "the last generation is %s old; the next one is due %s ([%s] every)", age, when,
            coarse ? "sync" : "opportunistic");
  }
}

/* Coarse: small things may cross a metered link. */
static void
judge_metered(const PolicyQuestion *question, PolicyReason *reason)
{
  guint64 bytes = question->situation->pending.bytes, limit = question->config->metered_limit;
  g_autofree char *text = metered_text(question);
  g_autofree char *size = policy_text_size(bytes);
  g_autofree char *most = policy_text_size(limit);
  if (!policy_is_metered(&question->situation->conditions))
    YES(reason, "%s", text);
  else if (limit == 0)
    NO(reason, "%s: nothing may cross it ([sync] metered-limit)", text);
  else if (bytes <= limit)
    YES(reason, "%s; %s may cross it ([sync] metered-limit)", text, most);
  else
    NO(reason, "%s: %s is more than the %s that may cross it ([sync] metered-limit)", text, size, most);
}

static void
judge_unmetered(const PolicyQuestion *question, PolicyReason *reason)
{
  g_autofree char *text = metered_text(question);
  if (policy_is_metered(&question->situation->conditions))
    NO(reason, "%s", text);
  else
    YES(reason, "%s", text);
}

static void
judge_metered_on_demand(const PolicyQuestion *question, PolicyReason *reason)
{
  g_autofree char *text = metered_text(question);
  YES(reason, "%s%s", text,
      policy_is_metered(&question->situation->conditions) ? "; it was asked for all the same" : "");
}

static void
judge_metered_fine(const PolicyQuestion *question, PolicyReason *reason)
{
  g_autofree char *text = metered_text(question);
  if (policy_is_metered(&question->situation->conditions) && !question->config->fine_metered)
    NO(reason, "%s ([fine] metered)", text);
  else
    YES(reason, "%s", text);
}

/* Coarse: small things, and not with an almost empty battery. */
static void
judge_battery(const PolicyQuestion *question, PolicyReason *reason)
{
  guint64 bytes = question->situation->pending.bytes, limit = question->config->battery_limit;
  int on_battery = get(question, CONDITION_ON_BATTERY), level = get(question, CONDITION_LEVEL);
  g_autofree char *size = policy_text_size(bytes);
  g_autofree char *most = policy_text_size(limit);
  if (on_battery < 0)
    YES(reason, "nothing tells about battery or external power");
  else if (on_battery == 0)
    YES(reason, "external power (%s)", source(question, CONDITION_ON_BATTERY));
  else if (level >= 0 && level < question->config->battery_minimum)
    NO(reason, "on battery, of which %d %% (%s) is left: less than %d %% ([sync] battery-minimum)", level,
       source(question, CONDITION_LEVEL), question->config->battery_minimum);
  else if (bytes > limit)
    NO(reason, "on battery (%s): %s is more than the %s that it may be used for ([sync] battery-limit)",
       source(question, CONDITION_ON_BATTERY), size, most);
  else
    YES(reason, "on battery (%s), but there is enough", source(question, CONDITION_ON_BATTERY));
}

static void
judge_charging(const PolicyQuestion *question, PolicyReason *reason)
{
  int on_battery = get(question, CONDITION_ON_BATTERY);
  if (!question->config->opportunity_charging)
    YES(reason, "does not matter ([opportunistic] charging)");
  else if (on_battery < 0)
    NO(reason, "nothing tells about battery or external power ([conditions] power can)");
  else if (on_battery == 1)
    NO(reason, "on battery (%s)", source(question, CONDITION_ON_BATTERY));
  else if (get(question, CONDITION_CHARGING) == 0)
    NO(reason, "there is external power (%s), but too little to charge the battery",
       source(question, CONDITION_ON_BATTERY));
  else
    YES(reason, "external power (%s)", source(question, CONDITION_ON_BATTERY));
}

static gboolean
is_within(const PolicyHours *hours, int minute)
{
  if (hours->from == hours->to)
    return TRUE;
  if (hours->from < hours->to)
    return minute >= hours->from && minute < hours->to;
  return minute >= hours->from || minute < hours->to;
}

/* When the hours begin next. Where the clocks change meanwhile, it is looked at an hour too early, which does
 * no harm, or too late. */
static gint64
hours_begin(const PolicyQuestion *question)
{
  int minutes = question->config->opportunity_hours.from - question->situation->minute;
  return question->situation->now - question->situation->now % 60 + (minutes + 1440) % 1440 * 60;
}

static void
judge_hours(const PolicyQuestion *question, PolicyReason *reason)
{
  const PolicyHours *hours = &question->config->opportunity_hours;
  const PolicyPending *pending = &question->situation->pending;
  gint64 now = question->situation->now, begin = hours_begin(question);
  gint64 impatient = pending->big_since + question->config->patience;
  gboolean big_waits = pending->big_entries > 0 && pending->big_since <= now;
  g_autofree char *window = g_strdup_printf("%02d:%02d and %02d:%02d", hours->from / 60, hours->from % 60,
                                            hours->to / 60, hours->to % 60);
  if (hours->from == hours->to)
    YES(reason, "at any hour ([opportunistic] hours)");
  else if (is_within(hours, question->situation->minute))
    YES(reason, "it is between %s ([opportunistic] hours)", window);
  else if (big_waits && now >= impatient) {
    g_autofree char *waited = policy_text_duration(now - pending->big_since);
    YES(reason, "big files have waited for %s: at any hour now ([opportunistic] patience)", waited);
  } else
    NOT_YET(reason, big_waits ? MIN(begin, impatient) : begin, "it is not between %s ([opportunistic] hours)",
            window);
}

const PolicyRule policy_rules[] = {
    {"automatic", BY_ITSELF, TRUE, judge_automatic},
    {"pending", BY_ITSELF, FALSE, judge_pending},
    {"interval", BY_ITSELF, FALSE, judge_interval},
    {"link", EVERY_LEVEL & ~BIT(OPPORTUNISTIC), TRUE, judge_link},
    {"link", BIT(OPPORTUNISTIC), TRUE, judge_opportunity_link},
    {"log-in", EVERY_LEVEL & ~BIT(ON_DEMAND), TRUE, judge_log_in},
    {"failures", EVERY_LEVEL & ~BIT(ON_DEMAND), FALSE, judge_failures},
    {"metered", BIT(COARSE), TRUE, judge_metered},
    {"metered", BIT(OPPORTUNISTIC), TRUE, judge_unmetered},
    {"metered", BIT(ON_DEMAND), TRUE, judge_metered_on_demand},
    {"metered", BIT(FINE), TRUE, judge_metered_fine},
    {"battery", BIT(COARSE), TRUE, judge_battery},
    {"charging", BIT(OPPORTUNISTIC), TRUE, judge_charging},
    {"hours", BIT(OPPORTUNISTIC), FALSE, judge_hours},
    {NULL},
};
