#include "base/sysfs.h"

#include <fcntl.h>
#include <string.h>

#include "base/io.h"

#define ATTRIBUTE_MAX 4096 /* a page: sysfs has no larger ones */
#define ENTRIES_MAX   4096

char *
sysfs_text(int directory, const char *attribute)
{
  g_autofree char *text = io_read_file_at(directory, attribute, ATTRIBUTE_MAX);
  if (!text)
    return NULL;
  gsize length = strlen(text);
  if (length > 0 && text[length - 1] == '\n')
    text[length - 1] = '\0';
  return g_steal_pointer(&text);
}

gint64
sysfs_number(int directory, const char *attribute, gint64 min, gint64 max, gint64 otherwise)
{
  g_autofree char *text = sysfs_text(directory, attribute);
  gint64 number;
  return text && g_ascii_string_to_signed(text, 10, min, max, &number, NULL) ? number : otherwise;
}

static int
compare(gconstpointer a, gconstpointer b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

gboolean
sysfs_each(const char *path, void (*visit)(const char *name, int directory, gpointer data), gpointer data)
{
  g_auto(Fd) parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_autoptr(GDir) listing = parent < 0 ? NULL : g_dir_open(path, 0, NULL);
  if (!listing)
    return FALSE;
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  for (const char *name; names->len < ENTRIES_MAX && (name = g_dir_read_name(listing));)
    g_ptr_array_add(names, g_strdup(name));
  g_ptr_array_sort(names, compare);
  for (guint i = 0; i < names->len; i++) {
    g_auto(Fd) directory = openat(parent, names->pdata[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0)
      visit(names->pdata[i], directory, data);
  }
  return TRUE;
}
