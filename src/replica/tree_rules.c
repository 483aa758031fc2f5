#include "replica/tree_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/io.h"

#define FILE_MAX (1u << 20) /* bytes of a file of rules */

typedef struct {
  char *pattern;
  char *why;
  gboolean include, directories, anchored, wild;
} Rule;

struct TreeRules {
  GArray *rules; /* of Rule */
};

/* Directories whose content is made anew by each start of the device, caches, what the device swaps to. That
 * pseudo file systems and those in memory are left out is the scan's business: it asks the kernel. */
static const char *const built_in[] = {
    "/proc/*",
    "/sys/*",
    "/run/*",
    "/tmp/*",
    "/var/tmp/*",
    "/var/cache/apt/*.bin",
    "/var/cache/apt/archives/*.deb",
    "**/.cache/*",
    "lost+found/",
    "/swapfile",
    "/swap.img",
    "/var/swap",
    "/home/*/.local/share/Trash/*",
    /* Keys that are this device's alone, what it knows of its clones, and other devices' clones. */
    "**/.local/state/doppel/",
    "**/.local/state/doppeld/",
    "/var/lib/doppeld/",
};

static void
clear_rule(Rule *rule)
{
  g_free(rule->pattern);
  g_free(rule->why);
}

TreeRules *
tree_rules_new(void)
{
  TreeRules *rules = g_new(TreeRules, 1);
  rules->rules = g_array_new(FALSE, FALSE, sizeof(Rule));
  g_array_set_clear_func(rules->rules, (GDestroyNotify)clear_rule);
  for (guint i = 0; i < G_N_ELEMENTS(built_in); i++)
    tree_rules_add(rules, built_in[i], "built in");
  return rules;
}

void
tree_rules_free(TreeRules *rules)
{
  if (!rules)
    return;
  g_array_unref(rules->rules);
  g_free(rules);
}

void
tree_rules_add(TreeRules *rules, const char *line, const char *origin)
{
  g_autofree char *text = g_strchomp(g_strdup(line));
  if (!*text || *text == '#')
    return;
  Rule rule = {.include = *text == '!'};
  const char *pattern = text + rule.include;
  gsize length = strlen(pattern);
  rule.directories = length && pattern[length - 1] == '/';
  length -= rule.directories;
  rule.anchored = memchr(pattern, '/', length) != NULL;
  if (*pattern == '/')
    pattern++, length--;
  if (!length)
    return;
  rule.pattern = g_strndup(pattern, length);
  rule.wild = strpbrk(rule.pattern, "*?[\\") != NULL;
  rule.why = g_strdup_printf("%s (%s)", text, origin);
  g_array_append_val(rules->rules, rule);
}

gboolean
tree_rules_load(TreeRules *rules, const char *file, GError **error)
{
  g_autofree char *text = io_read_file_at(AT_FDCWD, file, FILE_MAX);
  if (!text)
    return errno == ENOENT || doppel_error_errno(error, "the rules in %s cannot be read", file);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (guint i = 0; lines[i]; i++) {
    g_autofree char *origin = g_strdup_printf("%s:%u", file, i + 1);
    tree_rules_add(rules, lines[i], origin);
  }
  return TRUE;
}

/* Whether `[...]` at *pattern, which is moved behind it, has this byte. One that does not end is a bracket.
 */
static gboolean
in_set(const char **pattern, char byte)
{
  const char *at = *pattern + 1;
  gboolean negated = *at == '!' || *at == '^', found = FALSE;
  at += negated;
  for (const char *first = at; *at && (*at != ']' || at == first); at++) {
    guint8 low = *at, high = low;
    if (at[1] == '-' && at[2] && at[2] != ']') {
      high = at[2];
      at += 2;
    }
    found |= (guint8)byte >= low && (guint8)byte <= high;
  }
  if (!*at) {
    ++*pattern;
    return byte == '[';
  }
  *pattern = at + 1;
  return byte != '/' && found != negated;
}

static gboolean
matches(const char *pattern, const char *text)
{
  for (; *pattern; text++) {
    if (pattern[0] == '*') {
      gboolean deep = pattern[1] == '*';
      const char *rest = pattern + 1 + deep;
      if (deep && *rest == '/' && matches(rest + 1, text))
        return TRUE;
      for (;; text++) {
        if (matches(rest, text))
          return TRUE;
        if (!*text || (*text == '/' && !deep))
          return FALSE;
      }
    }
    if (!*text)
      return FALSE;
    if (*pattern == '[') {
      if (!in_set(&pattern, *text))
        return FALSE;
    } else if (*pattern == '?') {
      if (*text == '/')
        return FALSE;
      pattern++;
    } else {
      pattern += *pattern == '\\' && pattern[1];
      if (*pattern++ != *text)
        return FALSE;
    }
  }
  return !*text;
}

static gboolean
applies(const Rule *rule, const char *path, const char *name, gboolean is_directory)
{
  if (rule->directories && !is_directory)
    return FALSE;
  const char *text = rule->anchored ? path : name;
  return rule->wild ? matches(rule->pattern, text) : strcmp(rule->pattern, text) == 0;
}

gboolean
tree_rules_omit(const TreeRules *rules, const char *path, gboolean is_directory, const char **why)
{
  const char *slash = strrchr(path, '/');
  for (guint i = rules->rules->len; i-- > 0;) {
    const Rule *rule = &g_array_index(rules->rules, Rule, i);
    if (!applies(rule, path, slash ? slash + 1 : path, is_directory))
      continue;
    if (why && !rule->include)
      *why = rule->why;
    return !rule->include;
  }
  return FALSE;
}
