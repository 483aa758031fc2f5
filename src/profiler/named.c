#include "profiler/named.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

enum { LINE_MAX_BYTES = 64 << 10, PATHS_MAX = 4096 };

/* The path that a line gives to an id, or NULL. */
static const char *
path_in(const char *line)
{
  if (!g_str_has_prefix(line, "ob=(") && !g_str_has_prefix(line, "cob=("))
    return NULL;
  const char *path = strstr(line, ") ");
  return path && path[2] == '/' ? path + 2 : NULL;
}

static void
take_line(char *line, GHashTable *seen, ProfilerNamedFunc take, gpointer user)
{
  const char *path = path_in(g_strchomp(line));
  if (!path || g_hash_table_size(seen) >= PATHS_MAX || !g_hash_table_add(seen, g_strdup(path)))
    return;
  g_autoptr(ProfileObject) object = profile_object_read(path, NULL);
  if (object)
    take(object, user);
}

void
profiler_named_objects(int profile, ProfilerNamedFunc take, gpointer user)
{
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  g_autofree char *line = g_malloc(LINE_MAX_BYTES);
  g_auto(Fd) own = fcntl(profile, F_DUPFD_CLOEXEC, 0);
  FILE *file = own < 0 ? NULL : fdopen(own, "r");
  if (!file)
    return;
  own = -1;
  while (fgets(line, LINE_MAX_BYTES, file))
    take_line(line, seen, take, user);
  fclose(file);
  lseek(profile, 0, SEEK_SET);
}
