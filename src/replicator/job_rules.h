/* Whether a program is a background job without anybody saying so: CloneCloud's background augmentation
 * "marked by the user or by the operating system", here by rules in doppel.conf(5), [background]. */
#pragma once

#include "replicator/policy_config.h"

/* What the rules look at. */
typedef struct {
  int nice; /* -20 to 19 */
  gboolean terminal;
  /* What started it at its time: "cron", "anacron", "atd" and their like, where the calling process descends
   * from one of these (proc_pid_stat(5)), or the unit of systemd's whose timer did (systemd.exec(5),
   * TRIGGER_UNIT, from systemd 252 on); "": none is seen. */
  char scheduler[64];
  const char *program; /* absolute path */
} JobRulesFacts;

/* Those of the calling process, for a program that it would become. */
JobRulesFacts job_rules_facts(const char *program);

/* FALSE where no rule is set: nothing has to be found out. */
gboolean job_rules_any(const PolicyBackground *rules);

/* A sentence (char *) for each rule that is set, whether it holds and why. *by is the first that does, of the
 * array's; NULL: none. */
GPtrArray *job_rules_judge(const PolicyBackground *rules, const JobRulesFacts *facts, const char **by);
