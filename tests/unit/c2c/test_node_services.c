/* Sending, sharing and searching as a user does it: doppel's own verbs, through the nodes of two clones that
 * find each other in a directory and talk over links. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "c2c/send_receipt.h"
#include "c2c/services.h"
#include "c2c/share_index.h"
#include "c2c/share_message.h"
#include "node_world.h"
#include "store_maker.h"

typedef struct {
  WorldClone *alice, *bob;
  char *folder;
} World;

static World
world_new(void)
{
  node_world_services = services;
  node_world_tasks = services_tasks;
  node_world_sign = send_receipt_sign;
  node_world_begin();
  World world = {clone_bound(100, "alice"), clone_bound(200, "bob"),
                 g_dir_make_tmp("doppel-verbs-XXXXXX", NULL)};
  return world;
}

static void
world_clear(World *world)
{
  clone_free(world->alice);
  clone_free(world->bob);
  node_world_end();
  const char *words[] = {"rm", "-rf", world->folder, NULL};
  g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
  g_free(world->folder);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

/* The exit status of "doppel WORDS" on the device of that clone's owner; *said has what it printed, errors
 * too. */
static int
doppel(World *world, WorldClone *clone, char **said, const char *words)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *line = g_strdup_printf("exec '%s' %s 2>&1", g_getenv("DOPPEL"), words);
  const char *argv[] = {"sh", "-c", line, NULL};
  g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), "DOPPEL_C2C_SOCKET", clone->socket, TRUE);
  int status;
  g_free(*said);
  *said = NULL;
  g_spawn_sync(world->folder, (char **)argv, environment, G_SPAWN_SEARCH_PATH, NULL, NULL, said, NULL,
               &status, &error);
  g_assert_no_error(error);
  g_test_message("%s: doppel %s: %d %s", clone->name, words, WEXITSTATUS(status), *said);
  return WEXITSTATUS(status);
}

static char *
write_file(World *world, const char *name, gsize length)
{
  g_autofree char *path = g_build_filename(world->folder, name, NULL);
  g_autofree char *content = g_malloc(length + 1);
  for (gsize i = 0; i < length; i++)
    content[i] = (char)(i * 31 + (i >> 8));
  g_assert_true(g_file_set_contents(path, content, length, NULL));
  return g_steal_pointer(&path);
}

static void
assert_same(World *world, const char *one, const char *other)
{
  g_autofree char *a = g_build_filename(world->folder, one, NULL),
                  *b = g_build_filename(world->folder, other, NULL);
  g_autofree char *left = NULL, *right = NULL;
  gsize left_length, right_length;
  g_assert_true(g_file_get_contents(a, &left, &left_length, NULL));
  g_assert_true(g_file_get_contents(b, &right, &right_length, NULL));
  g_assert_cmpmem(left, left_length, right, right_length);
}

/* A file goes from alice to bob, when he has allowed it; twice the same name is no harm. */
static void
test_send(void)
{
  g_auto(World) world = world_new();
  g_autofree char *said = NULL;
  g_autofree char *path = write_file(&world, "plan.bin", 3000000);
  g_assert_cmpint(doppel(&world, world.alice, &said, "send --wait bob plan.bin"), ==, 1);
  g_assert_nonnull(strstr(said, "allow"));
  clone_permit(world.bob, "allow", "alice", "send", "");
  gint64 begun = g_get_monotonic_time();
  g_assert_cmpint(doppel(&world, world.alice, &said, "send --wait bob plan.bin"), ==, 0);
  g_assert_cmpint(g_get_monotonic_time() - begun, <,
                  45 * G_USEC_PER_SEC); /* it is told: it would look by itself after a minute */
  g_assert_nonnull(strstr(said, "delivered"));
  g_assert_cmpint(doppel(&world, world.alice, &said, "send --wait --json bob plan.bin"), ==, 0);
  g_assert_nonnull(strstr(said, "\"kept_as\": \"plan (2).bin\""));
  g_assert_cmpint(doppel(&world, world.alice, &said, "send nobody plan.bin"), ==, 1);
  g_assert_cmpint(doppel(&world, world.bob, &said, "inbox --json"), ==, 0);
  json_auto_t *rows = json_loads(said, 0, NULL);
  g_assert_cmpuint(json_array_size(rows), ==, 2);
  g_assert_cmpint(doppel(&world, world.bob, &said, "inbox get --to . --rm"), ==, 0);
  assert_same(&world, "plan.bin", "plan (2).bin");
  assert_same(&world, "plan.bin", "plan (2) (2).bin"); /* plan (2).bin was taken, by the other one */
  g_assert_cmpint(doppel(&world, world.bob, &said, "inbox"), ==, 0);
  g_assert_nonnull(strstr(said, "Nothing came"));
  g_assert_cmpint(doppel(&world, world.bob, &said, "inbox get 1"), ==, 1);
  g_assert_cmpint(doppel(&world, world.alice, &said, "outbox"), ==, 0);
  g_assert_nonnull(strstr(said, "refused"));
  g_assert_cmpint(doppel(&world, world.alice, &said, "outbox cancel 1"), ==, 0);
}

/* What is sent while bob is away waits, and goes out by itself when he is back, whoever has started anew
 * meanwhile. */
static void
test_away(void)
{
  g_auto(World) world = world_new();
  g_autofree char *said = NULL;
  g_autofree char *path = write_file(&world, "late.bin", 100000);
  clone_permit(world.bob, "allow", "alice", "send", "");
  g_autofree char *stale = g_strdup(world.bob->socket);
  g_clear_pointer(&world.bob, clone_free);
  g_unlink(stale); /* by which the rig knows that a node is there */
  g_assert_cmpint(doppel(&world, world.alice, &said, "send bob late.bin"), ==, 0);
  g_usleep(G_USEC_PER_SEC);
  g_assert_cmpint(doppel(&world, world.alice, &said, "outbox"), ==, 0);
  g_assert_null(strstr(said, "delivered"));
  world.bob = clone_bound(200, "bob");
  clone_permit(world.bob, "allow", "alice", "send", "");
  gboolean delivered = FALSE;
  for (guint i = 0; i < 1200 && !delivered; i++) {
    g_usleep(G_USEC_PER_SEC / 10);
    doppel(&world, world.alice, &said, "outbox");
    delivered = strstr(said, "delivered") != NULL;
  }
  g_assert_true(delivered);
  g_assert_cmpint(doppel(&world, world.bob, &said, "inbox get"), ==, 0);
  assert_same(&world, "late.bin", "late (2).bin");
}

static void
share(WorldClone *clone, const char *path)
{
  Doppel__Share__Share message = DOPPEL__SHARE__SHARE__INIT;
  message.path = (ProtobufCBinaryData){strlen(path), (guint8 *)path};
  g_auto(Fd) fd = clone_dial(clone, "", "shares");
  g_assert_cmpint(fd, >=, 0);
  g_assert_true(share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_SHARE, &message, NULL));
  g_autoptr(ShareMessage) row = share_message_receive(fd, NULL), end = share_message_receive(fd, NULL);
  g_assert_cmpint(end->what_case, ==, DOPPEL__SHARE__MESSAGE__WHAT_END);
}

/* Bob shares; alice finds it when she may, and gets it when she may that; what bob shares no more is gone. */
static void
test_search(void)
{
  g_auto(World) world = world_new();
  g_autofree char *said = NULL, *store = clone_store(world.bob);
  StoreMaker *maker = store_maker_new(store);
  g_autofree char *content = g_strnfill(300000, 'y');
  memcpy(content, "apple pie ", 10);
  store_maker_directory(maker, "home");
  store_maker_directory(maker, "home/Recipes");
  store_maker_file(maker, "home/Recipes/pie.txt", content, strlen(content) / 2, 0, 5);
  store_maker_commit(maker);
  share(world.bob, "home/Recipes");
  gboolean indexed = FALSE;
  for (guint i = 0; i < 1200 && !indexed; i++) {
    g_usleep(G_USEC_PER_SEC / 10);
    g_assert_cmpint(doppel(&world, world.bob, &said, "shares"), ==, 0);
    indexed = strstr(said, "not indexed") == NULL;
  }
  g_assert_true(indexed);
  clone_permit(world.alice, "allow", "bob", "echo", ""); /* a contact */
  g_assert_cmpint(doppel(&world, world.alice, &said, "search --wait 60 apple"), ==, 0);
  g_assert_nonnull(strstr(said, "bob: "));
  clone_permit(world.bob, "allow", "alice", "search", "");
  g_assert_cmpint(doppel(&world, world.alice, &said, "search --wait 60 --json APPLE 'pi*'"), ==, 0);
  json_auto_t *rows = json_loads(said, 0, NULL);
  const json_t *hit = json_array_get(rows, 0);
  g_assert_cmpstr(json_string_value(json_object_get(hit, "user")), ==, "bob");
  g_assert_cmpstr(json_string_value(json_object_get(hit, "path")), ==, "Recipes/pie.txt");
  g_assert_cmpint(doppel(&world, world.alice, &said, "get bob Recipes/pie.txt"), ==, 1);
  clone_permit(world.bob, "allow", "alice", "fetch", "");
  g_assert_cmpint(doppel(&world, world.alice, &said, "get bob Recipes/pie.txt --to got.txt"), ==, 0);
  g_autofree char *path = g_build_filename(world.folder, "got.txt", NULL), *got = NULL;
  struct stat status;
  g_assert_cmpint(stat(path, &status), ==, 0);
  g_assert_cmpint(status.st_mtime, ==, 5);
  gsize length;
  g_assert_true(g_file_get_contents(path, &got, &length, NULL));
  g_assert_cmpmem(got, length, content, strlen(content) / 2);
  g_assert_cmpint(doppel(&world, world.alice, &said, "get bob Recipes/pie.txt --to got.txt"), ==, 1);
  g_assert_nonnull(strstr(said, "--force"));
  g_assert_cmpint(doppel(&world, world.alice, &said, "get bob Recipes/pie.txt --to got.txt --force"), ==, 0);
  g_assert_cmpint(doppel(&world, world.bob, &said, "unshare Recipes"), ==, 0);
  g_assert_cmpint(doppel(&world, world.alice, &said, "search --wait 60 apple"), ==, 0);
  g_assert_nonnull(strstr(said, "Nothing was found"));
  g_assert_cmpint(doppel(&world, world.alice, &said, "get bob Recipes/pie.txt"), ==, 1);
  store_maker_free(maker);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/node-services/send", test_send);
  g_test_add_func("/node-services/away", test_away);
  g_test_add_func("/node-services/search", test_search);
  return g_test_run();
}
