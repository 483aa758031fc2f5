#include "controller/learned.h"

#include <errno.h>
#include <glib/gstdio.h>

#include "base/error.h"
#include "controller/keeper.h"
#include "identity/paired.h"

static char *
path_of(const char *before, const char *clone, const char *after)
{
  g_autofree char *directory = identity_directory();
  g_autofree char *name = g_strconcat(before, clone, after, NULL);
  return g_build_filename(directory, name, NULL);
}

char *
learned_features_path(const char *clone)
{
  return path_of("features-", clone, "");
}

char *
learned_pages_path(const char *clone)
{
  return path_of("", clone, ".pages");
}

gboolean
learned_forget(const char *clone, GError **error)
{
  g_autofree char *features = learned_features_path(clone);
  g_autofree char *index = learned_pages_path(clone);
  g_autofree char *draft =
      path_of("", clone, ".pages.new"); /* of a run that was killed as it wrote the index */
  const char *const paths[] = {features, index, draft};
  gboolean good = paired_name_check(clone, error); /* no other files are within reach */
  if (!good)
    return FALSE;
  keeper_stop(clone, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS(paths); i++)
    if (g_unlink(paths[i]) < 0 && errno != ENOENT)
      good = doppel_error_errno(good ? error : NULL,
                                "what this device knows of the clone cannot be removed, %s", paths[i]);
  return good;
}
