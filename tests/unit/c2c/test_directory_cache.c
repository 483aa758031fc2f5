/* What is remembered of directories, where the file is damaged, or somebody has changed it. */
#include <glib/gstdio.h>
#include <sqlite3.h>

#include "c2c/directory_cache.h"
#include "record_world.h"

typedef struct {
  char *directory, *path;
  DirectoryCache *cache;
  Record *alice, *bob;
} World;

static Record *
add_user(DirectoryCache *cache, guint number, const char *name)
{
  g_autoptr(WorldUser) user = world_user_new(number, name);
  g_autoptr(GError) error = NULL;
  Record *record = world_record(user, 1, 1, &error);
  g_assert_no_error(error);
  g_assert_cmpint(directory_cache_put(cache, record, NULL, NULL, NULL, &error), ==, 1);
  g_assert_no_error(error);
  return record;
}

static void
set_up(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  world->directory = g_dir_make_tmp("doppel-cache-XXXXXX", &error);
  g_assert_no_error(error);
  world->path = g_build_filename(world->directory, "cache.db", NULL);
  world->cache = directory_cache_open(world->path, &error);
  g_assert_no_error(error);
  world->alice = add_user(world->cache, 100, "alice");
  world->bob = add_user(world->cache, 200, "bob");
}

static void
tear_down(World *world, gconstpointer unused)
{
  static const char *const endings[] = {"", "-wal", "-shm"};
  directory_cache_close(world->cache);
  record_unref(world->alice);
  record_unref(world->bob);
  for (guint i = 0; i < G_N_ELEMENTS(endings); i++) {
    g_autofree char *path = g_strconcat(world->path, endings[i], NULL);
    g_unlink(path);
  }
  g_rmdir(world->directory);
  g_free(world->path);
  g_free(world->directory);
}

static void
change(const World *world, const char *sql)
{
  sqlite3 *database;
  g_assert_cmpint(sqlite3_open(world->path, &database), ==, SQLITE_OK);
  g_assert_cmpint(sqlite3_exec(database, sql, NULL, NULL, NULL), ==, SQLITE_OK);
  g_assert_cmpint(sqlite3_changes(database), >, 0);
  sqlite3_close(database);
}

static guint
count_found(const World *world, const char *name, const Record *record)
{
  g_autoptr(GPtrArray) found =
      directory_cache_find(world->cache, name, record ? &record->origin : NULL, NULL, NULL);
  g_assert_nonnull(found);
  return found->len;
}

/* A record proves itself, also in the place of another's: it is not shown for that other. */
static void
test_in_another_place(World *world, gconstpointer unused)
{
  g_assert_cmpuint(count_found(world, NULL, world->alice), ==, 1);
  g_assert_cmpuint(count_found(world, "alice", NULL), ==, 1);
  change(world, "UPDATE record SET bytes = (SELECT bytes FROM record WHERE name = 'bob')");
  g_assert_cmpuint(count_found(world, NULL, world->alice), ==, 0);
  g_assert_cmpuint(count_found(world, "alice", NULL), ==, 0);
  g_assert_cmpuint(count_found(world, NULL, world->bob), ==, 1);
  /* As if it was not there: the next one is kept. */
  g_assert_cmpint(directory_cache_put(world->cache, world->alice, NULL, NULL, NULL, NULL), ==, 1);
  g_assert_cmpuint(count_found(world, "alice", NULL), ==, 1);
}

static void
test_damaged(World *world, gconstpointer unused)
{
  change(world, "UPDATE record SET bytes = x'0102' WHERE name = 'alice'");
  g_assert_cmpuint(count_found(world, "alice", NULL), ==, 0);
  change(world, "UPDATE record SET bytes = 7 WHERE name = 'alice'");
  g_assert_cmpuint(count_found(world, "alice", NULL), ==, 0);
  g_assert_cmpuint(count_found(world, "bob", NULL), ==, 1);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add("/directory/cache/in-another-place", World, NULL, set_up, test_in_another_place, tear_down);
  g_test_add("/directory/cache/damaged", World, NULL, set_up, test_damaged, tear_down);
  return g_test_run();
}
