/* The public base as its operator keeps it: sources come and go, share contents, and survive being killed. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "daemon/public_base.h"
#include "replica/public_base.h"
#include "replica/public_set.h"

typedef struct {
  char *folder, *path; /* `path` is the base's */
} World;

static void
run(const char *script, const char *argument, const char *other)
{
  const char *words[] = {"sh", "-c", script, "sh", argument, other, NULL};
  int status;
  g_autoptr(GError) error = NULL;
  g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, &error);
  g_assert_no_error(error);
  g_assert_cmpint(status, ==, 0);
}

static World
world_new(void)
{
  World world = {.folder = g_dir_make_tmp("doppel-base-XXXXXX", NULL)};
  world.path = g_build_filename(world.folder, "base", NULL);
  return world;
}

static void
world_clear(World *world)
{
  run("chmod -R u+rwX \"$1\"; rm -rf \"$1\"", world->folder, NULL);
  g_free(world->folder);
  g_free(world->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static DaemonBase *
open_base(const World *world)
{
  g_autoptr(GError) error = NULL;
  DaemonBase *base = daemon_base_open(world->path, TRUE, &error);
  g_assert_no_error(error);
  return base;
}

/* A file of the directory `in`, with a content that `seed` makes. */
static void
make_file(const World *world, const char *in, const char *name, guint seed, gsize length, mode_t mode)
{
  g_autofree char *directory = g_build_filename(world->folder, in, NULL);
  g_autofree char *path = g_build_filename(directory, name, NULL);
  g_autofree guint8 *bytes = g_malloc(length);
  g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
  for (gsize i = 0; i < length; i++)
    bytes[i] = (seed * 2654435761u + i * 40503u) >> 7;
  g_assert_true(g_file_set_contents(path, (char *)bytes, length, NULL));
  g_assert_cmpint(chmod(path, mode), ==, 0);
}

static DaemonBaseAdded
add(const World *world, DaemonBase *base, const char *in)
{
  g_autofree char *path = g_build_filename(world->folder, in, NULL);
  g_autoptr(GError) error = NULL;
  DaemonBaseAdded added;
  g_assert_true(daemon_base_add_directory(base, path, NULL, &added, &error));
  g_assert_no_error(error);
  return added;
}

static DaemonBaseSource *
only_source(DaemonBase *base)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) sources = daemon_base_sources(base, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(sources->len, ==, 1);
  return g_ptr_array_steal_index(sources, 0);
}

static void
count_one(gpointer user_data, const guint8 hash[static GENERATION_CONTENT_HASH])
{
  ++*(guint *)user_data;
}

static guint
count_contents(DaemonBase *base)
{
  guint count = 0;
  g_assert_true(public_base_list(base->fd, count_one, &count, NULL));
  return count;
}

/* What devices are told: how many keys. */
static guint64
told(DaemonBase *base)
{
  guint64 length;
  g_auto(Fd) fd = public_base_open_set(base->fd, &length);
  g_autoptr(GBytes) bytes = fd < 0 ? NULL : public_base_read_set(fd);
  g_autoptr(PublicSet) set = bytes ? public_set_unpack(bytes, NULL) : NULL;
  g_assert_nonnull(set);
  return public_set_count(set);
}

static void
remove_source(const World *world, DaemonBase *base, const char *in, guint64 bytes)
{
  g_autofree char *path = g_build_filename(world->folder, in, NULL);
  g_autoptr(GError) error = NULL;
  guint64 freed;
  g_assert_true(daemon_base_remove(base, path, &freed, &error));
  g_assert_no_error(error);
  g_assert_cmpuint(freed, ==, bytes);
}

static void
test_sources(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DaemonBase) base = open_base(&world);
  make_file(&world, "one/d", "a", 1, 5000, 0644);
  make_file(&world, "one", "same as a", 1, 5000, 0444);
  make_file(&world, "one", "b", 2, 6000, 0644);
  make_file(&world, "one", "large", 3, PUBLIC_BASE_LARGE, 0644);
  make_file(&world, "one", "small", 4, PUBLIC_BASE_MIN - 1, 0644);
  make_file(&world, "two", "b", 2, 6000, 0644);
  make_file(&world, "two", "c", 5, 7000, 0644);
  DaemonBaseAdded one = add(&world, base, "one"), two = add(&world, base, "two");
  g_assert_cmpuint(one.files, ==, 5);
  g_assert_cmpuint(one.small, ==, 1);
  g_assert_cmpuint(one.fresh, ==, 3);
  g_assert_cmpuint(one.bytes, ==, 11000 + PUBLIC_BASE_LARGE);
  g_assert_cmpuint(two.fresh, ==, 1);
  g_assert_cmpuint(count_contents(base), ==, 4);
  g_assert_cmpuint(told(base), ==, 5); /* the large one's size, too */
  remove_source(&world, base, "one", 5000 + PUBLIC_BASE_LARGE);
  g_assert_cmpuint(count_contents(base), ==, 2);
  g_assert_cmpuint(told(base), ==, 2);
  g_autoptr(DaemonBaseSource) left = only_source(base);
  g_assert_true(g_str_has_suffix(left->name, "/two"));
  g_assert_cmpuint(left->contents, ==, 2);
  g_assert_cmpuint(left->bytes, ==, 13000);
  g_autoptr(GError) error = NULL;
  guint64 bytes;
  g_assert_false(daemon_base_remove(base, "/nowhere", &bytes, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
}

/* Added again, a source is what it is now. */
static void
test_again(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DaemonBase) base = open_base(&world);
  make_file(&world, "one", "a", 1, 5000, 0644);
  make_file(&world, "one", "b", 2, 5000, 0644);
  add(&world, base, "one");
  make_file(&world, "one", "b", 3, 5000, 0644);
  DaemonBaseAdded added = add(&world, base, "one");
  g_autoptr(DaemonBaseSource) source = only_source(base);
  g_assert_cmpuint(added.fresh, ==, 1);
  g_assert_cmpuint(source->contents, ==, 2);
  g_assert_cmpuint(count_contents(base), ==, 2);
}

/* What not everybody may read is not everybody's. */
static void
test_private(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DaemonBase) base = open_base(&world);
  make_file(&world, "one", "public", 1, 5000, 0644);
  make_file(&world, "one", "secret", 2, 5000, 0640);
  make_file(&world, "one/home", "letter", 3, 5000, 0644);
  run("chmod 700 \"$1/one/home\"; ln -s secret \"$1/one/link\"; mkfifo \"$1/one/fifo\"", world.folder, NULL);
  DaemonBaseAdded added = add(&world, base, "one");
  g_assert_cmpuint(added.files, ==, 2);
  g_assert_cmpuint(added.private, ==, 2);
  g_assert_cmpuint(count_contents(base), ==, 1);
}

static void
test_check(void)
{
  g_auto(World) world = world_new();
  g_auto(DaemonBaseChecked) first = {0}, second = {0}, third = {0};
  g_autoptr(DaemonBase) base = open_base(&world);
  g_autoptr(GError) error = NULL;
  for (guint i = 0; i < 20; i++) {
    g_autofree char *name = g_strdup_printf("%u", i);
    make_file(&world, "one", name, i, 5000 + i, 0644);
  }
  make_file(&world, "two", "x", 100, 5000, 0644);
  add(&world, base, "one");
  add(&world, base, "two");
  g_assert_true(daemon_base_check(base, NULL, &first, &error));
  g_assert_cmpuint(first.contents, ==, 21);
  g_assert_cmpuint(first.damaged + first.missing + first.sources->len, ==, 0);
  /* Two are damaged, one is gone; what is nobody's goes. */
  run("cd \"$1/contents\" && set -- $(find . -type f -size +4k -size -6k ! -empty | xargs -n1 ls -l | "
      "awk '$5 != 5000 {print $NF}' | head -n 3) && chmod 600 $1 $2 && printf x | dd of=$1 bs=1 seek=77 "
      "conv=notrunc "
      "status=none && truncate -s 100 $2 && rm -f $3 && "
      "head -c 900 /dev/urandom > 00/00112233445566778899aabbccddee",
      world.path, NULL);
  g_assert_true(daemon_base_check(base, NULL, &second, &error));
  g_assert_cmpuint(second.contents, ==, 18);
  g_assert_cmpuint(second.damaged, ==, 2);
  g_assert_cmpuint(second.missing, ==, 1);
  g_assert_cmpuint(second.sources->len, ==, 1);
  g_assert_true(g_str_has_suffix(second.sources->pdata[0], "/one"));
  g_assert_cmpuint(count_contents(base), ==, 18);
  g_assert_cmpuint(told(base), ==, 18);
  g_assert_cmpuint(add(&world, base, "one").fresh, ==, 3);
  g_assert_true(daemon_base_check(base, NULL, &third, &error));
  g_assert_cmpuint(third.contents, ==, 21);
  g_assert_cmpuint(third.sources->len, ==, 0);
}

static void
test_busy(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DaemonBase) base = open_base(&world);
  g_autoptr(GError) error = NULL;
  g_assert_null(daemon_base_open(world.path, TRUE, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  g_autoptr(DaemonBase) reader = daemon_base_open(world.path, FALSE, NULL);
  g_assert_nonnull(reader);
}

static void
make_package(const World *world, const char *version)
{
  run("mkdir -p \"$1/package/DEBIAN\" \"$1/package/usr/bin\" && printf 'Package: thing\\nVersion: "
      "%s\\nArchitecture: all\\n"
      "Maintainer: me <me@localhost>\\nDescription: a thing\\n' \"$2\" > \"$1/package/DEBIAN/control\" && "
      "{ echo \"$2\"; head -c 9000 /dev/zero | tr '\\0' x; } > \"$1/package/usr/bin/thing\" && chmod 0700 "
      "\"$1/package/usr/bin/thing\" && dpkg-deb --root-owner-group --build \"$1/package\" \"$1/thing.deb\" > "
      "/dev/null",
      world->folder, version);
}

/* A package is known by its name and version; all of it is public, whatever its files' modes. */
static void
test_package(void)
{
  g_auto(World) world = world_new();
  g_autofree char *program = g_find_program_in_path("dpkg-deb");
  if (!program) {
    g_test_skip("there is no dpkg-deb");
    return;
  }
  g_autoptr(DaemonBase) base = open_base(&world);
  g_autofree char *path = g_build_filename(world.folder, "thing.deb", NULL);
  g_autofree char *unpacked = g_build_filename(world.path, "unpacked", NULL);
  g_autoptr(GError) error = NULL;
  DaemonBaseAdded added;
  make_package(&world, "1.0");
  g_assert_true(daemon_base_add_package(base, path, NULL, &added, &error));
  g_assert_cmpuint(added.fresh, ==, 1);
  g_autoptr(DaemonBaseSource) source = only_source(base);
  g_assert_cmpstr(source->name, ==, "thing_1.0_all");
  make_package(&world, "2.0");
  g_assert_true(daemon_base_add_package(base, path, NULL, &added, &error));
  g_assert_cmpuint(count_contents(base), ==, 2);
  g_assert_false(g_file_test(unpacked, G_FILE_TEST_EXISTS));
  g_assert_true(g_file_set_contents(path, "no package", -1, NULL));
  g_assert_false(daemon_base_add_package(base, path, NULL, &added, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_cmpuint(count_contents(base), ==, 2);
}

/* ---- killed ---- */

typedef struct {
  int base;
  GBytes *set;
  guint found;
} Seen;

static void
look_up(gpointer user_data, const guint8 hash[static GENERATION_CONTENT_HASH])
{
  Seen *seen = user_data;
  g_autoptr(PublicSet) set = public_set_unpack(seen->set, NULL);
  seen->found += public_set_has(set, public_base_key(hash));
}

/* Whatever devices are told is there: as many contents are in the set as the set has. */
static void
assert_told_is_there(const World *world)
{
  g_auto(Fd) base = open(world->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  guint64 length;
  g_auto(Fd) fd = base < 0 ? -1 : public_base_open_set(base, &length);
  if (fd < 0)
    return;
  Seen seen = {.base = base, .set = public_base_read_set(fd)};
  g_assert_nonnull(seen.set);
  g_assert_true(public_base_list(base, look_up, &seen, NULL));
  g_autoptr(PublicSet) set = public_set_unpack(seen.set, NULL);
  g_assert_cmpuint(seen.found, ==, public_set_count(set));
  g_bytes_unref(seen.set);
}

static pid_t
begin_work(const World *world, gboolean removing)
{
  pid_t child = fork();
  if (child > 0)
    return child;
  g_autofree char *path = g_build_filename(world->folder, "one", NULL);
  DaemonBase *base = daemon_base_open(world->path, TRUE, NULL);
  DaemonBaseAdded added;
  guint64 bytes;
  if (!base)
    _exit(2);
  _exit(!(removing ? daemon_base_remove(base, path, &bytes, NULL)
                   : daemon_base_add_directory(base, path, NULL, &added, NULL)));
}

static void
test_killed(void)
{
  enum { FILES = 300, KILLS = 60 };
  g_auto(World) world = world_new();
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  guint over = 0;
  for (guint i = 0; i < FILES; i++) {
    g_autofree char *name = g_strdup_printf("%u", i);
    make_file(&world, "one", name, i, 1000 + i, 0644);
  }
  for (guint i = 0; i < KILLS; i++) {
    pid_t child = begin_work(&world, i % 3 == 2);
    int status;
    g_usleep(g_rand_int_range(rand, 0, 1000 << i % 9));
    kill(child, SIGKILL);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    over += WIFEXITED(status);
    assert_told_is_there(&world);
  }
  g_test_message("%u of %u came to their end", over, KILLS);
  g_autoptr(DaemonBase) base = open_base(&world);
  g_autoptr(GError) error = NULL;
  g_auto(DaemonBaseChecked) checked = {0};
  add(&world, base, "one");
  g_assert_true(daemon_base_check(base, NULL, &checked, &error));
  g_assert_cmpuint(checked.contents, ==, FILES);
  g_assert_cmpuint(checked.damaged + checked.missing, ==, 0);
  g_assert_cmpuint(count_contents(base), ==, FILES);
  g_assert_cmpuint(told(base), ==, FILES);
}

int
main(int argc, char **argv)
{
  umask(022);
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/base/sources", test_sources);
  g_test_add_func("/base/again", test_again);
  g_test_add_func("/base/private", test_private);
  g_test_add_func("/base/check", test_check);
  g_test_add_func("/base/busy", test_busy);
  g_test_add_func("/base/package", test_package);
  g_test_add_func("/base/killed", test_killed);
  return g_test_run();
}
