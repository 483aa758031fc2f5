#include "sysfs_rig.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

char *
sysfs_rig_new(void)
{
  g_autoptr(GError) error = NULL;
  char *sys = g_dir_make_tmp("doppel-sysfs-XXXXXX", &error);
  g_assert_no_error(error);
  return sys;
}

void
sysfs_rig_remove(const char *sys, const char *path)
{
  g_autofree char *whole = g_build_filename(sys, path, NULL);
  const char *command[] = {"rm", "-rf", "--", whole, NULL};
  g_assert_true(
      g_spawn_sync(NULL, (char **)command, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
}

void
sysfs_rig_free(char *sys)
{
  sysfs_rig_remove(sys, "");
  g_free(sys);
}

static void
put(const char *sys, const char *attribute)
{
  g_auto(GStrv) link = g_strsplit(attribute, "->", 2);
  g_auto(GStrv) pair = g_strsplit(attribute, "=", 2);
  g_autofree char *path = g_build_filename(sys, link[1] ? link[0] : pair[0], NULL);
  g_autofree char *parent = g_path_get_dirname(path);
  g_assert_cmpint(g_mkdir_with_parents(g_str_has_suffix(attribute, "/") ? path : parent, 0700), ==, 0);
  if (link[1]) {
    g_assert_cmpint(symlink(link[1], path), ==, 0);
  } else if (pair[1]) {
    g_autofree char *text = g_strconcat(g_strdelimit(pair[1], "_", ' '), "\n", NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
  }
}

void
sysfs_rig_put(const char *sys, const char *attributes)
{
  g_auto(GStrv) each = g_strsplit(attributes, " ", -1);
  for (char **attribute = each; *attribute; attribute++)
    if (**attribute)
      put(sys, *attribute);
}
