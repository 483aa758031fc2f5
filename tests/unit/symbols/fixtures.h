/* Where the build put the fixtures. */
#pragma once

#include <glib.h>

static inline char *
fixture_path(const char *name)
{
  const char *folder = g_getenv("FIXTURES");
  g_assert_nonnull(folder);
  return g_build_filename(folder, name, NULL);
}
