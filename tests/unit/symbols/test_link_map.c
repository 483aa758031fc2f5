#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "fixtures.h"
#include "mirror/symbols_link_map.h"

static const LinkMapEntry *
named(GPtrArray *map, const char *name)
{
  for (guint i = 0; i < map->len; i++) {
    const LinkMapEntry *entry = map->pdata[i];
    if (g_str_equal(entry->name, name))
      return entry;
  }
  return NULL;
}

static void
test_origin(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *program = fixture_path("fixture-program");
  g_autoptr(GPtrArray) map = symbols_link_map(program, &error);
  g_assert_no_error(error);
  const LinkMapEntry *first = map->pdata[0];
  g_assert_cmpstr(first->path, ==, program);
  g_autofree char *wanted = fixture_path("libfixture.so.1");
  const LinkMapEntry *library = named(map, "libfixture.so.1");
  g_assert_nonnull(library);
  g_assert_cmpstr(library->path, ==, wanted);
  g_assert_cmpstr(library->needed_by, ==, program);
  const LinkMapEntry *libc = named(map, "libc.so.6");
  g_assert_nonnull(libc);
  g_assert_nonnull(libc->path);
  const LinkMapEntry *last = map->pdata[map->len - 1];
  struct stat loader, listed;
  g_assert_cmpint(stat(first->facts->interpreter, &loader), ==, 0);
  g_assert_cmpint(stat(last->path, &listed), ==, 0);
  g_assert_true(loader.st_ino == listed.st_ino);
}

static void
test_static(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *program = fixture_path("fixture-static");
  g_autoptr(GPtrArray) map = symbols_link_map(program, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(map->len, ==, 1);
}

/* A copy elsewhere has another $ORIGIN: its library is missing, which is told, and is no error. */
static void
test_missing(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *program = fixture_path("fixture-program");
  g_autofree char *folder = g_dir_make_tmp("doppel-map-XXXXXX", &error);
  g_autofree char *copy = g_build_filename(folder, "copy", NULL);
  g_autofree char *bytes = NULL;
  gsize length;
  g_assert_true(g_file_get_contents(program, &bytes, &length, NULL) &&
                g_file_set_contents(copy, bytes, length, NULL));
  g_autoptr(GPtrArray) map = symbols_link_map(copy, &error);
  g_assert_no_error(error);
  const LinkMapEntry *library = named(map, "libfixture.so.1");
  g_assert_nonnull(library);
  g_assert_null(library->path);
  g_setenv("LD_LIBRARY_PATH", g_getenv("FIXTURES"), TRUE);
  g_autoptr(GPtrArray) again = symbols_link_map(copy, &error);
  g_unsetenv("LD_LIBRARY_PATH");
  g_assert_nonnull(named(again, "libfixture.so.1")->path);
  remove(copy);
  remove(folder);
}

static gint
compare_text(gconstpointer a, gconstpointer b)
{
  return g_strcmp0(*(const char **)a, *(const char **)b);
}

/* What the loader itself says of real programs. */
static void
test_as_the_loader(void)
{
  static const char *const programs[] = {"/bin/sh", "/usr/bin/env", "/usr/bin/gcc", "/usr/bin/python3",
                                         "/usr/bin/git"};
  guint compared = 0;
  for (gsize i = 0; i < G_N_ELEMENTS(programs); i++) {
    g_autofree char *output = NULL;
    g_autofree char *errors = NULL;
    char *command[] = {(char *)"ldd", (char *)programs[i], NULL};
    if (!g_file_test(programs[i], G_FILE_TEST_IS_EXECUTABLE) ||
        !g_spawn_sync(NULL, command, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, &errors, NULL, NULL) ||
        !strstr(output, "=>"))
      continue;
    g_autoptr(GPtrArray) told = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    for (char **line = lines; *line; line++) {
      char *arrow = strstr(*line, "=> ");
      if (arrow)
        g_ptr_array_add(told, g_strndup(arrow + 3, strcspn(arrow + 3, " ")));
    }
    g_autoptr(GPtrArray) map = symbols_link_map(programs[i], NULL);
    g_autoptr(GPtrArray) own = g_ptr_array_new();
    /* Between the program and the loader. */
    for (guint j = 1; j + 1 < map->len; j++)
      g_ptr_array_add(own, ((LinkMapEntry *)map->pdata[j])->path);
    g_ptr_array_sort(told, compare_text);
    g_ptr_array_sort(own, compare_text);
    g_assert_cmpuint(own->len, ==, told->len);
    for (guint j = 0; j < own->len; j++)
      g_assert_cmpstr(own->pdata[j], ==, told->pdata[j]);
    compared++;
  }
  if (compared == 0)
    g_test_skip("no ldd to compare with");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/link_map/origin", test_origin);
  g_test_add_func("/link_map/static", test_static);
  g_test_add_func("/link_map/missing", test_missing);
  g_test_add_func("/link_map/as-the-loader", test_as_the_loader);
  return g_test_run();
}
