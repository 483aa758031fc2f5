/* Each rule's decision and explanation; what they make together; how fast, and how small. */
#include <glib/gstdio.h>
#include <string.h>

#include "replicator/policy.h"
#include "replicator/policy_text.h"
#include "situation.h"

#define C POLICY_COARSE
#define O POLICY_OPPORTUNISTIC
#define D POLICY_ON_DEMAND
#define F POLICY_FINE

#define LATER(minutes) (SITUATION_NOW + (minutes)*60)

typedef struct {
  PolicyLevel level;
  const char *rule, *configuration, *words;
  gboolean holds;
  gint64 until; /* where it does not */
  const char *text;
} RuleCase;

static const RuleCase rule_cases[] = {
    {C, "automatic", "", "", TRUE, 0, "switched on"},
    {C, "automatic", "[sync]\nautomatic=false", "", FALSE, POLICY_NO_TIME, "switched off ([sync] automatic)"},
    {O, "automatic", "[sync]\nautomatic=false", "", FALSE, POLICY_NO_TIME, "switched off ([sync] automatic)"},

    {C, "pending", "", "", TRUE, 0, "3 changed, 1.2 MB"},
    {C, "pending", "", "entries=0 bytes=0", FALSE, POLICY_NO_TIME, "nothing has changed"},
    {C, "pending", "", "entries=-1", TRUE, 0, "what has changed is not known before the tree is looked at"},
    {C, "pending", "", "entries=0 bytes=0 age=never", TRUE, 0, "the clone has nothing yet"},
    {C, "pending", "", "entries=0 bytes=0 big=2 big-bytes=2.5G", FALSE, POLICY_NO_TIME,
     "only big files have changed, 2.5 GB, which wait for an opportunity ([sync] big)"},
    {O, "pending", "", "entries=1 bytes=0 big=2 big-bytes=2.5G", TRUE, 0, "3 changed, 2.5 GB"},
    {O, "pending", "", "entries=0 bytes=0", FALSE, POLICY_NO_TIME, "nothing has changed"},

    {C, "interval", "", "", TRUE, 0, "the last generation is 5 h old"},
    {C, "interval", "", "age=never", TRUE, 0, "there is no generation yet"},
    {C, "interval", "", "age=4h", TRUE, 0, "the last generation is 4 h old"},
    {C, "interval", "", "age=110m", FALSE, LATER(130),
     "the last generation is 1 h 50 min old; the next one is due at 16:10 ([sync] every)"},
    {C, "interval", "[sync]\nevery=3d", "age=5h", FALSE, LATER(3 * 1440 - 300),
     "the last generation is 5 h old; the next one is due in 2 d ([sync] every)"},
    {C, "interval", "", "age=-2h", TRUE, 0,
     "the last generation is from the future: the clock was put right since"},
    {O, "interval", "", "age=29m time=23:50", FALSE, LATER(1),
     "the last generation is 29 min old; the next one is due at 23:51 ([opportunistic] every)"},
    {O, "interval", "", "age=15m time=23:50", FALSE, LATER(15),
     "the last generation is 15 min old; the next one is due at 00:05 ([opportunistic] every)"},
    {O, "interval", "", "age=30m", TRUE, 0, "the last generation is 30 min old"},

    {C, "link", "", "", TRUE, 0, "wifi (NetworkManager)"},
    {C, "link", "", "link=none", FALSE, POLICY_NO_TIME, "there is no network (NetworkManager)"},
    {C, "link", "", "link=-1", TRUE, 0, "nothing tells whether there is a network"},
    {D, "link", "", "link=none", FALSE, POLICY_NO_TIME, "there is no network (NetworkManager)"},
    {F, "link", "", "link=none", FALSE, POLICY_NO_TIME, "there is no network (NetworkManager)"},
    {O, "link", "", "", TRUE, 0, "wifi (NetworkManager)"},
    {O, "link", "", "link=ethernet", TRUE, 0, "ethernet (NetworkManager)"},
    {O, "link", "", "link=none", FALSE, POLICY_NO_TIME, "there is no network (NetworkManager)"},
    {O, "link", "", "link=-1", FALSE, POLICY_NO_TIME,
     "nothing tells what the link is ([conditions] link can)"},
    {O, "link", "", "link=mobile", FALSE, POLICY_NO_TIME,
     "mobile (NetworkManager) is not among the links to wait for ([opportunistic] links)"},
    {O, "link", "[opportunistic]\nlinks=mobile", "link=mobile", TRUE, 0, "mobile (NetworkManager)"},

    {C, "log-in", "", "", TRUE, 0, "the network lets everything through, as far as is known"},
    {C, "log-in", "", "online=-1", TRUE, 0, "the network lets everything through, as far as is known"},
    {C, "log-in", "", "online=0", FALSE, POLICY_NO_TIME,
     "the network waits for somebody to log in (NetworkManager)"},
    {O, "log-in", "", "online=0", FALSE, POLICY_NO_TIME,
     "the network waits for somebody to log in (NetworkManager)"},
    {F, "log-in", "", "online=0", FALSE, POLICY_NO_TIME,
     "the network waits for somebody to log in (NetworkManager)"},

    {C, "failures", "", "", TRUE, 0, "no attempt has failed"},
    {C, "failures", "", "failures=1 failed=1m", TRUE, 0, "one attempt has failed, which is long enough ago"},
    {C, "failures", "", "failures=2 failed=1m", FALSE, LATER(1),
     "2 attempts have failed, the last one 1 min ago; the next one is at 14:01"},
    {O, "failures", "", "failures=4 failed=5m", FALSE, LATER(3),
     "4 attempts have failed, the last one 5 min ago; the next one is at 14:03"},
    {F, "failures", "", "failures=4000000000 failed=5m", FALSE, LATER(55),
     "4000000000 attempts have failed, the last one 5 min ago; the next one is at 14:55"},
    {C, "failures", "", "failures=9 failed=1h", TRUE, 0, "9 attempts have failed, which is long enough ago"},
    {C, "failures", "", "failures=9 failed=-1h", TRUE, 0, "9 attempts have failed, which is long enough ago"},

    {C, "metered", "", "", TRUE, 0, "not metered (NetworkManager)"},
    {C, "metered", "", "metered=-1", TRUE, 0, "nothing says that it is metered"},
    {C, "metered", "", "metered=1", TRUE, 0,
     "metered (NetworkManager); 5 MB may cross it ([sync] metered-limit)"},
    {C, "metered", "", "metered=1 bytes=30M", FALSE, POLICY_NO_TIME,
     "metered (NetworkManager): 30 MB is more than the 5 MB that may cross it ([sync] metered-limit)"},
    {C, "metered", "", "metered=-1 link=mobile bytes=30M", FALSE, POLICY_NO_TIME,
     "mobile, which counts as metered: 30 MB is more than the 5 MB that may cross it ([sync] metered-limit)"},
    {C, "metered", "", "metered=0 link=mobile bytes=30M", TRUE, 0, "not metered (NetworkManager)"},
    {C, "metered", "[sync]\nmetered-limit=0", "metered=1 bytes=1k", FALSE, POLICY_NO_TIME,
     "metered (NetworkManager): nothing may cross it ([sync] metered-limit)"},
    {C, "metered", "[sync]\nmetered-limit=unlimited", "metered=1 bytes=900G", TRUE, 0,
     "metered (NetworkManager); any amount may cross it ([sync] metered-limit)"},
    {O, "metered", "", "", TRUE, 0, "not metered (NetworkManager)"},
    {O, "metered", "", "metered=1 bytes=1k", FALSE, POLICY_NO_TIME, "metered (NetworkManager)"},
    {D, "metered", "", "metered=1 bytes=30G", TRUE, 0,
     "metered (NetworkManager); it was asked for all the same"},
    {D, "metered", "", "", TRUE, 0, "not metered (NetworkManager)"},
    {F, "metered", "", "metered=1", TRUE, 0, "metered (NetworkManager)"},
    {F, "metered", "[fine]\nmetered=false", "metered=1", FALSE, POLICY_NO_TIME,
     "metered (NetworkManager) ([fine] metered)"},

    {C, "battery", "", "", TRUE, 0, "external power (UPower)"},
    {C, "battery", "", "battery=-1", TRUE, 0, "nothing tells about battery or external power"},
    {C, "battery", "", "battery=1 level=20", TRUE, 0, "on battery (UPower), but there is enough"},
    {C, "battery", "", "battery=1 level=-1", TRUE, 0, "on battery (UPower), but there is enough"},
    {C, "battery", "", "battery=1 level=19", FALSE, POLICY_NO_TIME,
     "on battery, of which 19 % (UPower) is left: less than 20 % ([sync] battery-minimum)"},
    {C, "battery", "", "battery=0 level=1", TRUE, 0, "external power (UPower)"},
    {C, "battery", "", "battery=1 bytes=501M", FALSE, POLICY_NO_TIME,
     "on battery (UPower): 501 MB is more than the 500 MB that it may be used for ([sync] battery-limit)"},

    {O, "charging", "", "", TRUE, 0, "external power (UPower)"},
    {O, "charging", "", "charging=-1", TRUE, 0, "external power (UPower)"},
    {O, "charging", "", "battery=1", FALSE, POLICY_NO_TIME, "on battery (UPower)"},
    {O, "charging", "", "charging=0", FALSE, POLICY_NO_TIME,
     "there is external power (UPower), but too little to charge the battery"},
    {O, "charging", "", "battery=-1", FALSE, POLICY_NO_TIME,
     "nothing tells about battery or external power ([conditions] power can)"},
    {O, "charging", "[opportunistic]\ncharging=false", "battery=1", TRUE, 0,
     "does not matter ([opportunistic] charging)"},

    {O, "hours", "", "time=22:00", TRUE, 0, "it is between 22:00 and 06:00 ([opportunistic] hours)"},
    {O, "hours", "", "time=05:59", TRUE, 0, "it is between 22:00 and 06:00 ([opportunistic] hours)"},
    {O, "hours", "", "time=06:00", FALSE, LATER(16 * 60),
     "it is not between 22:00 and 06:00 ([opportunistic] hours)"},
    {O, "hours", "", "time=21:59", FALSE, LATER(1),
     "it is not between 22:00 and 06:00 ([opportunistic] hours)"},
    {O, "hours", "[opportunistic]\nhours=01:30-05:00", "time=14:00", FALSE, LATER(11 * 60 + 30),
     "it is not between 01:30 and 05:00 ([opportunistic] hours)"},
    {O, "hours", "[opportunistic]\nhours=01:30-05:00", "time=01:30", TRUE, 0,
     "it is between 01:30 and 05:00 ([opportunistic] hours)"},
    {O, "hours", "[opportunistic]\nhours=23:59-00:00", "time=23:59", TRUE, 0,
     "it is between 23:59 and 00:00 ([opportunistic] hours)"},
    {O, "hours", "[opportunistic]\nhours=23:59-00:00", "time=00:00", FALSE, LATER(23 * 60 + 59),
     "it is not between 23:59 and 00:00 ([opportunistic] hours)"},
    {O, "hours", "[opportunistic]\nhours=any", "", TRUE, 0, "at any hour ([opportunistic] hours)"},
    {O, "hours", "", "big=1 big-age=3d", TRUE, 0,
     "big files have waited for 3 d: at any hour now ([opportunistic] patience)"},
    {O, "hours", "", "big=1 big-age=71h", FALSE, LATER(60),
     "it is not between 22:00 and 06:00 ([opportunistic] hours)"},
    {O, "hours", "", "big=1 big-age=5h", FALSE, LATER(8 * 60),
     "it is not between 22:00 and 06:00 ([opportunistic] hours)"},
    {O, "hours", "", "big=0 big-age=9d", FALSE, LATER(8 * 60),
     "it is not between 22:00 and 06:00 ([opportunistic] hours)"},
};

static void
configure(PolicyConfig *config, const char *text)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = NULL;
  int fd = g_file_open_tmp("doppel-policy-XXXXXX", &path, &error);
  g_assert_no_error(error);
  g_assert_true(g_close(fd, NULL));
  g_assert_true(g_file_set_contents(path, text, -1, NULL));
  policy_config_default(config);
  policy_config_load(config, path, &error);
  g_assert_no_error(error);
  g_assert_cmpint(g_unlink(path), ==, 0);
}

static const PolicyReason *
find_reason(const PolicyDecision *decision, const char *rule)
{
  for (guint i = 0; i < decision->reasons->len; i++) {
    const PolicyReason *reason = &g_array_index(decision->reasons, PolicyReason, i);
    if (strcmp(reason->rule, rule) == 0)
      return reason;
  }
  return NULL;
}

static void
test_rule(gconstpointer data)
{
  const RuleCase *wanted = data;
  PolicyConfig config;
  PolicySituation situation;
  configure(&config, wanted->configuration);
  situation_set(&situation, wanted->words);
  g_autoptr(PolicyDecision) decision = policy_decide(&config, &situation, wanted->level);
  const PolicyReason *reason = find_reason(decision, wanted->rule);
  g_assert_nonnull(reason);
  g_assert_cmpstr(reason->text, ==, wanted->text);
  g_assert_cmpint(reason->holds, ==, wanted->holds);
  if (wanted->holds)
    return;
  g_assert_cmpint(reason->until, ==, wanted->until);
  g_assert_false(decision->now);
  g_assert_cmpint(decision->look_again, >=, wanted->until);
}

/* Every rule of every level is in the table above. */
static void
test_all_rules(void)
{
  for (int level = 0; level < POLICY_LEVELS; level++)
    for (guint i = 0; policy_rule_name(level, i); i++) {
      const char *name = policy_rule_name(level, i);
      guint seen = 0;
      for (guint j = 0; j < G_N_ELEMENTS(rule_cases); j++)
        seen += strcmp(rule_cases[j].rule, name) == 0 && rule_cases[j].level == level;
      if (seen == 0)
        g_error("no case of the rule \"%s\" at level %s", name, policy_level_name(level));
    }
}

typedef struct {
  const char *configuration, *words;
  PolicyLevel level;
  gboolean now;
  gint64 look_again;
  gboolean big;
  const char *summary;
} WholeCase;

static const WholeCase whole_cases[] = {
    {"", "", C, TRUE, SITUATION_NOW, FALSE, "now"},
    {"", "time=23:00", O, TRUE, SITUATION_NOW, TRUE, "now"},
    {"", "time=23:00 age=1h", O, TRUE, SITUATION_NOW, TRUE, "now"},
    {"", "age=1h", C, FALSE, LATER(180), FALSE,
     "waits, looks again at 17:00: the last generation is 1 h old; the next one is due at 17:00 ([sync] "
     "every)"},
    {"[sync]\nevery=10h", "age=1h", O, FALSE, LATER(8 * 60), TRUE,
     "waits, looks again at 22:00: it is not between 22:00 and 06:00 ([opportunistic] hours)"},
    {"", "metered=1 bytes=30M", C, FALSE, POLICY_NO_TIME, FALSE,
     "waits: metered (NetworkManager): 30 MB is more than the 5 MB that may cross it ([sync] metered-limit)"},
    {"", "link=none age=1h", C, FALSE, POLICY_NO_TIME, FALSE,
     "waits: the last generation is 1 h old; the next one is due at 17:00 ([sync] every); there is no "
     "network "
     "(NetworkManager)"},
    {"", "metered=1 battery=1 charging=0 bytes=2M", C, TRUE, SITUATION_NOW, FALSE, "now"},
    {"", "entries=0 bytes=0", C, FALSE, POLICY_NO_TIME, FALSE, "waits: nothing has changed"},
    /* Night comes before the hours of a coarse one; big files go with it. */
    {"", "time=21:00 age=1h big=1 big-bytes=3G big-age=2h", O, FALSE, LATER(60), TRUE,
     "waits, looks again at 22:00: it is not between 22:00 and 06:00 ([opportunistic] hours)"},
    {"", "failures=3 failed=1m", C, FALSE, LATER(3), FALSE,
     "waits, looks again at 14:03: 3 attempts have failed, the last one 1 min ago; the next one is at 14:03"},
};

static void
test_whole(gconstpointer data)
{
  const WholeCase *wanted = data;
  PolicyConfig config;
  PolicySituation situation;
  configure(&config, wanted->configuration);
  situation_set(&situation, wanted->words);
  g_autoptr(PolicyDecision) decision = policy_decide_automatic(&config, &situation);
  g_autofree char *summary = policy_summary(decision);
  g_assert_cmpstr(summary, ==, wanted->summary);
  g_assert_cmpstr(policy_level_name(decision->level), ==, policy_level_name(wanted->level));
  g_assert_cmpint(decision->now, ==, wanted->now);
  g_assert_cmpint(decision->look_again, ==, wanted->look_again);
  g_assert_cmpint(decision->big, ==, wanted->big);
}

/* Who asks gets it: battery, hours, failures and a portal do not hold it up. */
static void
test_on_demand(void)
{
  PolicyConfig config;
  PolicySituation situation;
  configure(&config, "[sync]\nautomatic=false");
  situation_set(&situation, "link=mobile metered=1 online=0 battery=1 charging=0 level=2 age=1m failures=5 "
                            "failed=1m entries=0 bytes=0 big=1 big-bytes=4G");
  g_autoptr(PolicyDecision) decision = policy_decide(&config, &situation, POLICY_ON_DEMAND);
  g_assert_true(decision->now);
  g_assert_true(decision->big);
}

/* One that has begun is not stopped by what said when to begin, but by what says under what conditions. */
static void
test_running(void)
{
  static const struct {
    PolicyLevel level;
    const char *words;
    gboolean goes_on;
  } cases[] = {
      {C, "age=1m failures=2 failed=1m entries=0", TRUE},
      {O, "age=1m time=12:00", TRUE},
      {C, "metered=1 bytes=900M", FALSE},
      {O, "metered=1 time=23:00", FALSE},
      {O, "battery=1 time=23:00", FALSE},
      {C, "battery=1 level=3", FALSE},
      {C, "link=none", FALSE},
      {D, "metered=1 battery=1 level=3", TRUE},
  };
  PolicyConfig config;
  policy_config_default(&config);
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    PolicySituation situation;
    situation_set(&situation, cases[i].words);
    situation.running = TRUE;
    g_autoptr(PolicyDecision) decision = policy_decide(&config, &situation, cases[i].level);
    g_autofree char *summary = policy_summary(decision);
    g_test_message("%s: %s", cases[i].words, summary);
    g_assert_cmpint(decision->now, ==, cases[i].goes_on);
  }
}

/* When it says to look again at a time, nothing would have been decided before; then, the rule holds. */
static void
test_look_again(void)
{
  static const char *const words[] = {"age=1h",
                                      "age=1h time=21:00",
                                      "failures=7 failed=1m",
                                      "time=05:00 age=1m",
                                      "age=1h big=1 big-age=71h",
                                      "entries=0 bytes=0 big=1 big-age=1h"};
  PolicyConfig config;
  policy_config_default(&config);
  for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
    PolicySituation situation;
    situation_set(&situation, words[i]);
    g_autoptr(PolicyDecision) first = policy_decide_automatic(&config, &situation);
    g_assert_false(first->now);
    int minute = situation.minute;
    for (gint64 at = situation.now; at <= first->look_again; at += 60) {
      situation.now = at;
      situation.minute = (minute + (at - SITUATION_NOW) / 60) % 1440;
      g_autoptr(PolicyDecision) then = policy_decide_automatic(&config, &situation);
      g_assert_cmpint(then->now, ==, at == first->look_again);
    }
  }
}

static void
test_effort(void)
{
  static const struct {
    PolicyLevel level;
    const char *configuration, *words;
    guint64 rate;
    int compression;
  } cases[] = {
      {C, "", "link=ethernet", 0, 3},
      {C, "", "link=ethernet battery=1", 0, 1},
      {C, "", "", 0, 6},
      {C, "", "battery=1", 0, 3},
      {C, "", "battery=1 level=5", 0, 1},
      {C, "", "battery=1 level=0", 0, 1},
      {C, "", "battery=1 level=20", 0, 3},
      {C, "", "battery=-1", 0, 3},
      {C, "", "link=mobile metered=-1", 250000, 12},
      {C, "", "link=mobile metered=0 battery=1", 250000, 3},
      {C, "", "link=mobile metered=1 battery=1", 250000, 6},
      {C, "", "metered=1 battery=1 level=5", 250000, 3},
      {C, "[rate]\nmetered=100k\nwifi=2M", "metered=1", 100000, 12},
      {C, "[rate]\nmetered=3M\nwifi=2M", "metered=1", 2000000, 12},
      {O, "[rate]\nwifi=2M", "", 2000000, 6},
      {D, "[rate]\nwifi=2M", "", 0, 6},
      {D, "[rate]\non-demand=1M", "link=mobile", 1000000, 6},
      {F, "[rate]\nwifi=2M\non-demand=1M", "", 0, 6},
      {C, "", "link=-1", 0, 6},
      {C, "[rate]\nother=9k", "link=-1", 9000, 6},
      {C, "[compression]\nlevel=19", "link=ethernet battery=1", 0, 19},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    PolicyConfig config;
    PolicySituation situation;
    configure(&config, cases[i].configuration);
    situation_set(&situation, cases[i].words);
    g_autoptr(PolicyDecision) decision = policy_decide(&config, &situation, cases[i].level);
    g_test_message("%u: %s", i, cases[i].words);
    g_assert_cmpuint(decision->rate, ==, cases[i].rate);
    g_assert_cmpint(decision->compression, ==, cases[i].compression);
  }
}

static void
test_text(void)
{
  static const struct {
    guint64 bytes;
    const char *text;
  } sizes[] = {{0, "0 B"},
               {999, "999 B"},
               {1000, "1 kB"},
               {1250, "1.2 kB"},
               {999949, "999.9 kB"},
               {999950, "1.0 MB"},
               {5000000, "5 MB"},
               {G_MAXUINT64 - 1, "18.4 EB"},
               {G_MAXUINT64, "any amount"}};
  for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
    g_autofree char *text = policy_text_size(sizes[i].bytes);
    g_assert_cmpstr(text, ==, sizes[i].text);
  }
  static const struct {
    gint64 seconds;
    const char *text;
  } durations[] = {{-5, "0 s"},    {59, "59 s"},          {60, "1 min"},   {3599, "59 min"},
                   {3600, "1 h"},  {12000, "3 h 20 min"}, {86400, "24 h"}, {172799, "47 h 59 min"},
                   {172800, "2 d"}};
  for (guint i = 0; i < G_N_ELEMENTS(durations); i++) {
    g_autofree char *text = policy_text_duration(durations[i].seconds);
    g_assert_cmpstr(text, ==, durations[i].text);
  }
}

static void
test_clock(void)
{
  g_autoptr(GTimeZone) zone = g_time_zone_new_offset(2 * 3600);
  g_autoptr(GDateTime) time = g_date_time_new(zone, 2026, 3, 1, 23, 45, 30);
  PolicySituation situation = {0};
  policy_set_clock(&situation, time);
  g_assert_cmpint(situation.minute, ==, 23 * 60 + 45);
  g_assert_cmpint(situation.now, ==, 1772401530);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS(rule_cases); i++) {
    g_autofree char *name = g_strdup_printf("/policy/rules/%s/%s/%u", policy_level_name(rule_cases[i].level),
                                            rule_cases[i].rule, i);
    g_test_add_data_func(name, &rule_cases[i], test_rule);
  }
  for (guint i = 0; i < G_N_ELEMENTS(whole_cases); i++) {
    g_autofree char *name = g_strdup_printf("/policy/automatic/%u", i);
    g_test_add_data_func(name, &whole_cases[i], test_whole);
  }
  g_test_add_func("/policy/all-rules", test_all_rules);
  g_test_add_func("/policy/on-demand", test_on_demand);
  g_test_add_func("/policy/running", test_running);
  g_test_add_func("/policy/look-again", test_look_again);
  g_test_add_func("/policy/effort", test_effort);
  g_test_add_func("/policy/text", test_text);
  g_test_add_func("/policy/clock", test_clock);
  return g_test_run();
}
