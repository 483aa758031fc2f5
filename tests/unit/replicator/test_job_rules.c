/* Rules that make a program a background job: each by itself, to its edge, and what is said of it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replicator/job_rules.h"

typedef struct {
  const char *name;
  PolicyBackground rules;
  JobRulesFacts facts;
  const char *by; /* what the sentence of the rule that holds begins with */
  const char *sentences[4];
} Case;

#define NEVER POLICY_NICE_NEVER

static const Case cases[] = {
    {"none", {NEVER, FALSE, FALSE, {""}}, {19, FALSE, "", "/bin/ls"}, NULL, {NULL}},
    {"nice/below",
     {10, FALSE, FALSE, {""}},
     {9, FALSE, "", "/bin/ls"},
     NULL,
     {"nice = 10 does not hold: the nice level is 9"}},
    {"nice/at",
     {10, FALSE, FALSE, {""}},
     {10, TRUE, "", "/bin/ls"},
     "nice",
     {"nice = 10 holds: the nice level is 10"}},
    {"nice/above",
     {-5, FALSE, FALSE, {""}},
     {0, TRUE, "", "/bin/ls"},
     "nice",
     {"nice = -5 holds: the nice level is 0"}},
    {"nice/most",
     {19, FALSE, FALSE, {""}},
     {19, TRUE, "", "/bin/ls"},
     "nice",
     {"nice = 19 holds: the nice level is 19"}},
    {"terminal/there",
     {NEVER, TRUE, FALSE, {""}},
     {19, TRUE, "", "/bin/ls"},
     NULL,
     {"no-terminal = true does not hold: there is a controlling terminal"}},
    {"terminal/none",
     {NEVER, TRUE, FALSE, {""}},
     {0, FALSE, "", "/bin/ls"},
     "no-terminal",
     {"no-terminal = true holds: there is no controlling terminal"}},
    {"scheduled/none",
     {NEVER, FALSE, TRUE, {""}},
     {19, FALSE, "", "/bin/ls"},
     NULL,
     {"scheduled = true does not hold: no scheduler of jobs started it"}},
    {"scheduled/cron",
     {NEVER, FALSE, TRUE, {""}},
     {0, TRUE, "cron", "/bin/ls"},
     "scheduled",
     {"scheduled = true holds: cron started it"}},
    {"scheduled/not-asked", {NEVER, FALSE, FALSE, {""}}, {0, FALSE, "cron", "/bin/ls"}, NULL, {NULL}},
    {"name/other",
     {NEVER, FALSE, FALSE, {"clam*;index"}},
     {0, FALSE, "", "/usr/bin/indexer"},
     NULL,
     {"programs does not hold: /usr/bin/indexer is none of clam*;index"}},
    {"name/pattern",
     {NEVER, FALSE, FALSE, {"index;clam*"}},
     {0, FALSE, "", "/usr/bin/clamscan"},
     "programs",
     {"programs holds: /usr/bin/clamscan is clam*"}},
    {"name/not-its-directory",
     {NEVER, FALSE, FALSE, {"bin*"}},
     {0, FALSE, "", "/bin/ls"},
     NULL,
     {"programs does not hold: /bin/ls is none of bin*"}},
    {"name/path",
     {NEVER, FALSE, FALSE, {"/opt/*/index"}},
     {0, FALSE, "", "/opt/find/index"},
     "programs",
     {"programs holds: /opt/find/index is /opt/*/index"}},
    {"name/deeper",
     {NEVER, FALSE, FALSE, {"/opt/*/index"}},
     {0, FALSE, "", "/opt/find/bin/index"},
     NULL,
     {"programs does not hold: /opt/find/bin/index is none of /opt/*/index"}},
    {"all",
     {5, TRUE, TRUE, {"ls"}},
     {0, FALSE, "backup.timer", "/bin/ls"},
     "no-terminal",
     {"nice = 5 does not hold: the nice level is 0",
      "no-terminal = true holds: there is no controlling terminal",
      "scheduled = true holds: backup.timer started it", "programs holds: /bin/ls is ls"}},
};

static void
test_judge(gconstpointer data)
{
  const Case *given = data;
  const char *by;
  g_autoptr(GPtrArray) said = job_rules_judge(&given->rules, &given->facts, &by);
  g_assert_cmpint(by != NULL, ==, given->by != NULL);
  if (by)
    g_assert_true(g_str_has_prefix(by, given->by));
  for (guint i = 0; i < G_N_ELEMENTS(given->sentences); i++)
    g_assert_cmpstr(i < said->len ? said->pdata[i] : NULL, ==, given->sentences[i]);
  g_assert_cmpint(job_rules_any(&given->rules), ==, said->len > 0);
}

/* What a process finds that has no controlling terminal, or the one that it opened, and its nice level. */
static void
look(gboolean terminal, int nice)
{
  pid_t child = fork();
  if (child == 0) {
    setsid();
    g_autofree char *name = NULL;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
      _exit(2);
    name = g_strdup(ptsname(master));
    if (terminal && ioctl(open(name, O_RDWR), TIOCSCTTY, 0) < 0)
      _exit(3);
    if (setpriority(PRIO_PROCESS, 0, nice) < 0)
      _exit(4);
    JobRulesFacts facts = job_rules_facts("/bin/ls");
    _exit(facts.terminal != terminal ? 5 : facts.nice != nice ? 6 : strcmp(facts.program, "/bin/ls") ? 7 : 0);
  }
  int status;
  g_assert_cmpint(waitpid(child, &status, 0), ==, child);
  g_assert_true(WIFEXITED(status));
  g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void
test_facts(void)
{
  int now = getpriority(PRIO_PROCESS, 0);
  look(FALSE, now);
  look(TRUE, MIN(now + 1, 19));
  look(TRUE, 19);
}

/* What a process finds below one of this name, with `generations` between; the name's length or what is
 * between may keep it from being seen. */
static void
look_above(const char *name, guint generations, const char *trigger, const char *expected)
{
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NAME, name, 0, 0, 0);
    g_unsetenv("TRIGGER_UNIT");
    if (trigger)
      g_setenv("TRIGGER_UNIT", trigger, TRUE);
    for (guint i = 0; i < generations; i++) {
      pid_t next = fork();
      if (next > 0) {
        int status;
        _exit(waitpid(next, &status, 0) == next && WIFEXITED(status) ? WEXITSTATUS(status) : 9);
      }
      prctl(PR_SET_NAME, "a (shell) of 1", 0, 0, 0);
    }
    _exit(strcmp(job_rules_facts("/bin/ls").scheduler, expected) != 0);
  }
  int status;
  g_assert_cmpint(waitpid(child, &status, 0), ==, child);
  g_assert_true(WIFEXITED(status));
  g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void
test_scheduler(void)
{
  look_above("shell", 3, NULL, "");
  look_above("cron", 1, NULL, "cron");
  look_above("CRON", 4, NULL, "CRON");
  look_above("atd", 2, NULL, "atd");
  look_above("cronie", 2, NULL, "");
  look_above("cron", 0, NULL, ""); /* what it is itself says nothing */
  look_above("shell", 1, "backup.timer", "backup.timer");
  look_above("shell", 1, "backup.path", "");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree char *name = g_strdup_printf("/job-rules/%s", cases[i].name);
    g_test_add_data_func(name, &cases[i], test_judge);
  }
  g_test_add_func("/job-rules/facts", test_facts);
  g_test_add_func("/job-rules/scheduler", test_scheduler);
  return g_test_run();
}
