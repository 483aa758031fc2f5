#include "replicator/sync_rules.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "identity/key.h"

#define SYSTEM_RULES "/etc/doppel/sync.rules"

static char *
own_rules(void)
{
  return g_build_filename(g_get_user_config_dir(), "doppel", "sync.rules", NULL);
}

/* The index of what the clone has would be new in each generation, and keys are for nobody else. */
static void
leave_out_own_files(TreeRules *rules, const char *root)
{
  g_autofree char *own = identity_directory();
  char directory[PATH_MAX]; /* without links on the way, as the root is */
  gsize length = strcmp(root, "/") == 0 ? 0 : strlen(root);
  if (!realpath(own, directory))
    return;
  if (strncmp(directory, root, length) != 0 || directory[length] != '/')
    return;
  g_autoptr(GString) pattern = g_string_new(NULL);
  for (const char *at = directory + length; *at; at++)
    g_string_append_printf(pattern, strchr("*?[\\", *at) ? "\\%c" : "%c", *at);
  g_string_append_c(pattern, '/');
  tree_rules_add(rules, pattern->str, "doppel's own");
}

TreeRules *
sync_rules_load(const char *root, GError **error)
{
  g_autoptr(TreeRules) rules = tree_rules_new();
  g_autofree char *own = own_rules();
  if ((geteuid() == 0 && !tree_rules_load(rules, SYSTEM_RULES, error)) || !tree_rules_load(rules, own, error))
    return NULL;
  leave_out_own_files(rules, root);
  return g_steal_pointer(&rules);
}

static gint64
stamp_of(const char *path)
{
  struct stat status;
  return stat(path, &status) < 0 ? 0
                                 : status.st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) +
                                       status.st_mtim.tv_nsec + (gint64)status.st_ino;
}

gint64
sync_rules_stamp(void)
{
  g_autofree char *own = own_rules();
  return (gint64)((guint64)stamp_of(SYSTEM_RULES) * 31 + (guint64)stamp_of(own));
}
