#include "replicator/job_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/io.h"

/* A controlling terminal that hung up is none any more (EIO), nor is one that never was (ENXIO). One that may
 * not be opened is there. */
static gboolean
has_terminal(void)
{
  g_auto(Fd) terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  return terminal >= 0 || errno == EACCES || errno == EPERM;
}

/* The parent of a process, and the process's name, which has at most 15 bytes; 0 where it is not seen. */
static int
look_at(int pid, char name[16])
{
  g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid), *text = NULL;
  if (!g_file_get_contents(path, &text, NULL, NULL))
    return 0;
  /* The name is in parentheses, and may have some. */
  const char *begin = strchr(text, '('), *end = strrchr(text, ')');
  int parent = 0;
  if (!begin || !end || end < begin || sscanf(end + 1, " %*c %d", &parent) != 1)
    return 0;
  g_snprintf(name, 16, "%.*s", (int)MIN(end - begin - 1, 15), begin + 1);
  return parent;
}

/* cron's own processes are called CRON where they run jobs. */
static gboolean
is_scheduler(const char *name)
{
  static const char *const names[] = {"cron", "crond", "anacron", "atd", "fcron", "dcron", "systemd-cron"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    if (g_ascii_strcasecmp(names[i], name) == 0)
      return TRUE;
  return FALSE;
}

static void
find_scheduler(char *scheduler, gsize size)
{
  enum { ANCESTORS_MAX = 100 };
  const char *trigger = g_getenv("TRIGGER_UNIT");
  if (trigger && g_str_has_suffix(trigger, ".timer")) {
    g_strlcpy(scheduler, trigger, size);
    return;
  }
  char name[16];
  int pid = getppid();
  for (guint i = 0; i < ANCESTORS_MAX && pid > 1; i++) {
    int parent = look_at(pid, name);
    if (parent && is_scheduler(name)) {
      g_strlcpy(scheduler, name, size);
      return;
    }
    pid = parent;
  }
}

JobRulesFacts
job_rules_facts(const char *program)
{
  JobRulesFacts facts = {
      .nice = getpriority(PRIO_PROCESS, 0), .terminal = has_terminal(), .program = program};
  find_scheduler(facts.scheduler, sizeof facts.scheduler);
  return facts;
}

gboolean
job_rules_any(const PolicyBackground *rules)
{
  return rules->nice < POLICY_NICE_NEVER || rules->no_terminal || rules->scheduled || *rules->programs.text;
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
  if (rules->scheduled) {
    gboolean holds = *facts->scheduler != '\0';
    add(sentences, holds,
        holds ? g_strdup_printf("scheduled = true holds: %s started it", facts->scheduler)
              : g_strdup("scheduled = true does not hold: no scheduler of jobs started it"),
        by);
  }
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
