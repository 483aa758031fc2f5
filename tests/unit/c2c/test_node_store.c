/* What a clone's node remembers, and who may do what. */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "c2c/node_limits.h"
#include "c2c/node_store.h"

typedef struct {
  char *directory;
  NodeStore *store;
} World;

static IdentityPublic
user(guint8 letter)
{
  IdentityPublic key;
  memset(key.bytes, letter, sizeof key.bytes);
  return key;
}

static void
reopen(World *world)
{
  g_autoptr(GError) error = NULL;
  node_store_close(world->store);
  g_autofree char *place = g_build_filename(world->directory, "c2c", NULL);
  world->store = node_store_open(place, &error);
  g_assert_no_error(error);
}

static World
world_new(void)
{
  World world = {.directory = g_dir_make_tmp("doppel-node-XXXXXX", NULL)};
  reopen(&world);
  return world;
}

static void
world_clear(World *world)
{
  static const char *const files[] = {"c2c/node.db", "c2c/node.db-wal", "c2c/node.db-shm", "c2c", ""};
  node_store_close(world->store);
  for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
    g_autofree char *path = g_build_filename(world->directory, files[i], NULL);
    g_remove(path);
  }
  g_free(world->directory);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static gboolean
may(World *world, const IdentityPublic *origin, const char *service)
{
  g_autoptr(GError) error = NULL;
  g_auto(NodeDecision) decision = {0};
  g_assert_true(node_store_may(world->store, origin, service, &decision, &error));
  g_assert_no_error(error);
  g_assert_nonnull(decision.explanation);
  return decision.allowed;
}

static void
permit(World *world, const IdentityPublic *origin, const char *group, const char *service, gboolean allow)
{
  g_autoptr(GError) error = NULL;
  const NodeSubject subject = {origin, group};
  g_assert_true(node_store_permit(world->store, &subject, service, allow, "", 1, &error));
  g_assert_no_error(error);
}

static void
test_contacts(void)
{
  g_auto(World) world = world_new();
  g_autoptr(GError) error = NULL;
  IdentityPublic alice = user('a'), other = user('b');
  g_assert_true(node_store_add_contact(world.store, "alice", &alice, 5, &error));
  g_assert_false(node_store_add_contact(world.store, "alice", &other, 6, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_clear_error(&error);
  g_assert_true(node_store_add_contact(world.store, "allie", &alice, 7, &error));
  reopen(&world);
  g_autoptr(NodeContact) contact = node_store_contact(world.store, NULL, &alice, &error);
  g_assert_cmpstr(contact->name, ==, "allie");
  g_assert_cmpint(contact->since, ==, 5);
  g_assert_null(node_store_contact(world.store, "alice", NULL, &error));
  g_assert_no_error(error);
  permit(&world, &alice, NULL, "send", TRUE);
  g_assert_true(node_store_forget_contact(world.store, "allie", &error));
  g_assert_false(may(&world, &alice, "send"));
  g_assert_false(node_store_forget_contact(world.store, "allie", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
}

static void
test_directory(void)
{
  g_auto(World) world = world_new();
  g_autoptr(GError) error = NULL;
  g_autofree char *place = g_build_filename(world.directory, "c2c", NULL);
  GStatBuf status;
  g_assert_cmpint(g_stat(place, &status), ==, 0);
  g_assert_cmpint(status.st_mode & 0777, ==, 0700);
  g_assert_cmpint(g_chmod(place, 0755), ==, 0);
  g_assert_null(node_store_open(place, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
}

static void
test_denied_by_default(void)
{
  g_auto(World) world = world_new();
  IdentityPublic alice = user('a');
  g_assert_false(may(&world, &alice, "send"));
  g_assert_true(node_store_add_contact(world.store, "alice", &alice, 5, NULL));
  g_assert_false(may(&world, &alice, "send"));
  permit(&world, &alice, NULL, "send", TRUE);
  g_assert_true(may(&world, &alice, "send"));
  g_assert_false(may(&world, &alice, "sen"));
  g_assert_false(may(&world, &alice, "search"));
  const NodeSubject subject = {&alice, NULL};
  g_assert_true(node_store_unpermit(world.store, &subject, "send", NULL));
  g_assert_false(may(&world, &alice, "send"));
}

/* The narrowest subject decides, a denial among equals. */
static void
test_subjects(void)
{
  g_auto(World) world = world_new();
  IdentityPublic alice = user('a'), bob = user('b'), carol = user('c');
  g_assert_true(node_store_add_group(world.store, "team", NULL));
  g_assert_true(node_store_add_group(world.store, "noisy", NULL));
  g_assert_true(node_store_join_group(world.store, "team", &alice, TRUE, NULL));
  g_assert_true(node_store_join_group(world.store, "team", &bob, TRUE, NULL));
  g_assert_true(node_store_join_group(world.store, "noisy", &bob, TRUE, NULL));
  permit(&world, NULL, NULL, "search", TRUE);
  g_assert_true(may(&world, &carol, "search"));
  permit(&world, NULL, "noisy", "search", FALSE);
  g_assert_true(may(&world, &alice, "search"));
  g_assert_false(may(&world, &bob, "search"));
  permit(&world, NULL, "team", "search", TRUE);
  g_assert_false(may(&world, &bob, "search"));
  permit(&world, &bob, NULL, "search", TRUE);
  g_assert_true(may(&world, &bob, "search"));
  permit(&world, &alice, NULL, "search", FALSE);
  g_assert_false(may(&world, &alice, "search"));
  g_assert_true(node_store_join_group(world.store, "noisy", &carol, TRUE, NULL));
  g_assert_false(may(&world, &carol, "search"));
  g_assert_true(node_store_remove_group(world.store, "noisy", NULL));
  g_assert_true(may(&world, &carol, "search"));
  /* A group made again is a new one. */
  g_assert_true(node_store_add_group(world.store, "noisy", NULL));
  g_assert_true(node_store_join_group(world.store, "noisy", &carol, TRUE, NULL));
  g_assert_true(may(&world, &carol, "search"));
}

/* What is said more precisely counts. */
static void
test_services(void)
{
  g_auto(World) world = world_new();
  IdentityPublic alice = user('a');
  permit(&world, &alice, NULL, "forward:*", TRUE);
  g_assert_true(may(&world, &alice, "forward:80"));
  g_assert_false(may(&world, &alice, "forwarded"));
  g_assert_false(may(&world, &alice, "send"));
  permit(&world, &alice, NULL, "forward:22", FALSE);
  g_assert_false(may(&world, &alice, "forward:22"));
  g_assert_true(may(&world, &alice, "forward:80"));
  permit(&world, &alice, NULL, "*", FALSE);
  g_assert_true(may(&world, &alice, "forward:80"));
  permit(&world, &alice, NULL, "*", TRUE);
  g_assert_true(may(&world, &alice, "send"));
  g_assert_false(may(&world, &alice, "forward:22"));
  /* A narrower subject's rough word before a wider one's precise one. */
  IdentityPublic bob = user('b');
  permit(&world, NULL, NULL, "send", TRUE);
  permit(&world, &bob, NULL, "*", FALSE);
  g_assert_false(may(&world, &bob, "send"));
}

static void
test_nonsense(void)
{
  g_auto(World) world = world_new();
  static const char *const services[] = {"", "a b", "a,b", "se*", "*x", "a\n", "\xff"};
  IdentityPublic alice = user('a');
  const NodeSubject subject = {&alice, NULL}, nowhere = {NULL, "nowhere"};
  for (guint i = 0; i < G_N_ELEMENTS(services); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_false(node_store_permit(world.store, &subject, services[i], TRUE, "", 1, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  }
  g_autoptr(GError) error = NULL;
  g_assert_false(node_store_permit(world.store, &nowhere, "send", TRUE, "", 1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_assert_false(node_store_add_group(world.store, "a b", NULL));
}

static void
test_limits(void)
{
  NodeLimits limits;
  static const char *const wrong[] = {"memory",           "memory=", "memory=0", "memory=1X",
                                      "time=1K",          "=1",      "a=1,,b=2", "time=-1",
                                      "time=99999999999", "a b=1",   "x=\n",     "memory=9999999999G"};
  g_assert_true(node_limits_parse("", &limits, NULL));
  g_assert_cmpuint(limits.memory, ==, 0);
  g_assert_true(node_limits_parse("memory=64M,time=30,cpu=5,streams=2,quota=7G", &limits, NULL));
  g_assert_cmpuint(limits.memory, ==, 64u << 20);
  g_assert_cmpuint(limits.seconds, ==, 30);
  g_assert_cmpuint(limits.cpu_seconds, ==, 5);
  g_assert_cmpuint(limits.streams, ==, 2);
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_false(node_limits_parse(wrong[i], NULL, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  }
}

static void
test_limits_of_decision(void)
{
  g_auto(World) world = world_new();
  IdentityPublic alice = user('a');
  const NodeSubject subject = {&alice, NULL};
  g_autoptr(GError) error = NULL;
  g_assert_true(node_store_permit(world.store, &subject, "run", TRUE, "memory=1G,time=60", 1, &error));
  g_auto(NodeDecision) decision = {0};
  g_assert_true(node_store_may(world.store, &alice, "run", &decision, &error));
  g_assert_true(decision.allowed);
  g_assert_cmpstr(decision.limits, ==, "memory=1G,time=60");
  const NodeSubject first = {0};
  g_autoptr(GPtrArray) all = node_store_permissions(world.store, &first, "", 10, &error);
  g_assert_cmpuint(all->len, ==, 1);
  g_assert_true(g_str_has_prefix(((NodePermission *)all->pdata[0])->subject, "key:"));
}

static void
test_things(void)
{
  g_auto(World) world = world_new();
  g_autoptr(GBytes) value = g_bytes_new_static("\0x", 2), empty = g_bytes_new_static(NULL, 0);
  g_assert_null(node_store_get(world.store, "record", NULL));
  g_assert_true(node_store_put(world.store, "record", value, NULL));
  g_assert_true(node_store_put(world.store, "nothing", empty, NULL));
  reopen(&world);
  g_autoptr(GBytes) back = node_store_get(world.store, "record", NULL);
  g_autoptr(GBytes) nothing = node_store_get(world.store, "nothing", NULL);
  g_assert_true(g_bytes_equal(back, value));
  g_assert_cmpuint(g_bytes_get_size(nothing), ==, 0);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/node-store/contacts", test_contacts);
  g_test_add_func("/node-store/directory", test_directory);
  g_test_add_func("/node-store/denied-by-default", test_denied_by_default);
  g_test_add_func("/node-store/subjects", test_subjects);
  g_test_add_func("/node-store/services", test_services);
  g_test_add_func("/node-store/nonsense", test_nonsense);
  g_test_add_func("/node-store/limits", test_limits);
  g_test_add_func("/node-store/limits-of-decision", test_limits_of_decision);
  g_test_add_func("/node-store/things", test_things);
  return g_test_run();
}
