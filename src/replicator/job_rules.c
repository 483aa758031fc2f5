#include "replicator/job_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/resource.h>

#include "base/io.h"

/* A controlling terminal that hung up is none any more (EIO), nor is one that never was (ENXIO). One that may
 * not be opened is there. */
static gboolean
has_terminal(void)
{
  g_auto(Fd) terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  return terminal >= 0 || errno == EACCES || errno == EPERM;
}

JobRulesFacts
job_rules_facts(const char *program)
{
  return (JobRulesFacts){
      .nice = getpriority(PRIO_PROCESS, 0), .terminal = has_terminal(), .program = program};
}

gboolean
job_rules_any(const PolicyBackground *rules)
{
  return rules->nice < POLICY_NICE_NEVER || rules->no_terminal || *rules->programs.text;
}

/* The pattern that the program's name has; NULL: none. */
static char *
find_name(const PolicyNames *names, const char *program)
{
  const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;
  g_auto(GStrv) patterns = g_strsplit(names->text, ";", -1);
  for (char **pattern = patterns; *pattern; pattern++)
    if (fnmatch(*pattern, strchr(*pattern, '/') ? program : name, FNM_PATHNAME) == 0)
      return g_strdup(*pattern);
  return NULL;
}

static void
add(GPtrArray *sentences, gboolean holds, char *sentence, const char **by)
{
  g_ptr_array_add(sentences, sentence);
  if (holds && !*by)
    *by = sentence;
}

GPtrArray *
job_rules_judge(const PolicyBackground *rules, const JobRulesFacts *facts, const char **by)
{
  GPtrArray *sentences = g_ptr_array_new_with_free_func(g_free);
  *by = NULL;
  if (rules->nice < POLICY_NICE_NEVER) {
    gboolean holds = facts->nice >= rules->nice;
    add(sentences, holds,
        g_strdup_printf("nice = %d %s: the nice level is %d", rules->nice, holds ? "holds" : "does not hold",
                        facts->nice),
        by);
  }
  if (rules->no_terminal)
    add(sentences, !facts->terminal,
        g_strdup(facts->terminal ? "no-terminal = true does not hold: there is a controlling terminal"
                                 : "no-terminal = true holds: there is no controlling terminal"),
        by);
  if (*rules->programs.text) {
    g_autofree char *pattern = find_name(&rules->programs, facts->program);
    add(sentences, pattern != NULL,
        pattern ? g_strdup_printf("programs holds: %s is %s", facts->program, pattern)
                : g_strdup_printf("programs does not hold: %s is none of %s", facts->program,
                                  rules->programs.text),
        by);
  }
  return sentences;
}
