/* Directories with real links between them, in one process: what one registers the others have, at once where
 * they are there, and by healing where they were away. */
#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "c2c/directory_peer_report.h"
#include "c2c/directory_peer_service.h"
#include "record_world.h"

enum { NODES = 3, USERS = 4, PATIENCE_S = 120 };

typedef struct {
  IdentityKey *key;
  char *uri, *places, *status;
  int port, fd; /* one that holds the port while it is stopped; one that listens, until it is started */
  DirectoryPeerService *service;
  DirectoryServer *server;
  DirectoryStore *store; /* to look at */
} Node;

typedef struct {
  char *place;
  Node nodes[NODES];
  Record *records[NODES][USERS];
} World;

static int
bound_socket(guint16 port)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  return fd;
}

static guint16
port_of(int fd)
{
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
  return ntohs(address.sin_port);
}

static int
listen_at(guint16 port)
{
  int fd = bound_socket(port);
  g_assert_cmpint(listen(fd, 16), ==, 0);
  return fd;
}

static void
make_records(World *world)
{
  for (guint i = 0; i < NODES; i++)
    for (guint j = 0; j < USERS; j++) {
      g_autofree char *name = g_strdup_printf("user%u-%u", i, j);
      g_autoptr(WorldUser) user = world_user_new(1000 + 100 * i + 10 * j, name);
      user->binding.directory = *identity_key_public(world->nodes[i].key);
      world->records[i][j] = world_record(user, 1, 1, NULL);
      g_assert_nonnull(world->records[i][j]);
    }
}

static World *
world_new(void)
{
  World *world = g_new0(World, 1);
  world->place = g_dir_make_tmp("doppel-peers-XXXXXX", NULL);
  for (guint i = 0; i < NODES; i++) {
    Node *node = &world->nodes[i];
    node->key = world_key(7000 + i);
    node->uri = g_strdup_printf("sqlite:%s/%u.db", world->place, i);
    node->places = g_strdup_printf("%s/%u.conf", world->place, i);
    node->status = g_strdup_printf("%s/%u.status", world->place, i);
    node->port = bound_socket(0);
    node->fd = listen_at(port_of(node->port));
    node->store = directory_store_open(node->uri, NULL);
    g_assert_nonnull(node->store);
  }
  make_records(world);
  return world;
}

/* `others`: bits of those that are to be its peers. */
static void
set_places(World *world, guint index, guint others)
{
  g_autoptr(GPtrArray) places = g_ptr_array_new_with_free_func((GDestroyNotify)directory_place_free);
  g_autoptr(GError) error = NULL;
  for (guint i = 0; i < NODES; i++) {
    if (!(others & 1u << i))
      continue;
    g_autofree char *key = identity_public_to_text(identity_key_public(world->nodes[i].key));
    g_autofree char *text = g_strdup_printf("n%u=127.0.0.1:%u=%s", i, port_of(world->nodes[i].port), key);
    g_ptr_array_add(places, directory_place_parse(text, &error));
    g_assert_no_error(error);
  }
  g_assert_true(directory_places_save(places, world->nodes[index].places, &error));
}

static void
start(World *world, guint index)
{
  Node *node = &world->nodes[index];
  g_autoptr(GError) error = NULL;
  DirectoryPeerServiceOptions options = {
      .key = node->key, .store = node->uri, .places = node->places, .status = node->status};
  options.peers.heal_ms = 4000;
  options.peers.return_ms = 200;
  node->service = directory_peer_service_new(&options, &error);
  g_assert_no_error(error);
  DirectoryServerOptions server = {.key = node->key, .store = node->uri};
  directory_peer_service_prepare(node->service, &server);
  node->server = directory_server_new(&server, NULL, &error);
  g_assert_no_error(error);
  directory_server_listen(node->server, node->fd >= 0 ? node->fd : listen_at(port_of(node->port)));
  node->fd = -1;
  directory_peer_service_start(node->service, node->server, NULL);
}

static void
stop(World *world, guint index)
{
  Node *node = &world->nodes[index];
  if (!node->server)
    return;
  directory_peer_service_stop(node->service);
  g_clear_pointer(&node->server, directory_server_free);
  g_clear_pointer(&node->service, directory_peer_service_free);
}

static void
world_free(World *world)
{
  for (guint i = 0; i < NODES; i++) {
    Node *node = &world->nodes[i];
    stop(world, i);
    if (node->fd >= 0)
      close(node->fd);
    close(node->port);
    directory_store_close(node->store);
    identity_key_free(node->key);
    g_free(node->uri);
    g_free(node->places);
    g_free(node->status);
    for (guint j = 0; j < USERS; j++)
      record_unref(world->records[i][j]);
  }
  GDir *dir = g_dir_open(world->place, 0, NULL);
  for (const char *name; (name = g_dir_read_name(dir));) {
    g_autofree char *path = g_build_filename(world->place, name, NULL);
    g_remove(path);
  }
  g_dir_close(dir);
  g_rmdir(world->place);
  g_free(world->place);
  g_free(world);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

static void
registered(GPtrArray *candidates, gpointer data)
{
  for (guint i = 0; i < candidates->len; i++)
    g_assert_cmpint(((DirectoryCandidate *)candidates->pdata[i])->status, ==, DIRECTORY_STATUS(OK));
  *(gboolean *)data = TRUE;
}

static void
register_all(World *world, guint index)
{
  gboolean done = FALSE;
  GPtrArray *candidates = directory_candidates_new();
  for (guint i = 0; i < USERS; i++) {
    DirectoryCandidate *candidate = g_new0(DirectoryCandidate, 1);
    candidate->record = record_ref(world->records[index][i]);
    g_ptr_array_add(candidates, candidate);
  }
  directory_server_submit(world->nodes[index].server, candidates, registered, &done);
  while (!done)
    g_main_context_iteration(NULL, TRUE);
}

static gboolean
has_all(World *world, guint index, guint home)
{
  for (guint i = 0; i < USERS; i++) {
    g_autoptr(DirectoryRow) row = NULL;
    const Record *record = world->records[home][i];
    if (directory_store_get(world->nodes[index].store, &record->origin, &row, NULL) <= 0 ||
        memcmp(row->hash, record->hash, sizeof row->hash) != 0)
      return FALSE;
  }
  return TRUE;
}

static gboolean
tick(gpointer data)
{
  return G_SOURCE_CONTINUE;
}

/* Lets the servers work until `index` has what was registered at `home`; the seconds it took. */
static double
wait_for(World *world, guint index, guint home)
{
  gint64 begin = g_get_monotonic_time();
  guint ticker = g_timeout_add(20, tick, NULL);
  while (!has_all(world, index, home)) {
    g_assert_cmpint(g_get_monotonic_time() - begin, <, PATIENCE_S * G_USEC_PER_SEC);
    g_main_context_iteration(NULL, TRUE);
  }
  g_source_remove(ticker);
  return (double)(g_get_monotonic_time() - begin) / G_USEC_PER_SEC;
}

static void
test_together(void)
{
  g_autoptr(World) world = world_new();
  for (guint i = 0; i < NODES; i++) {
    set_places(world, i, 7);
    start(world, i);
  }
  for (guint i = 0; i < NODES; i++)
    register_all(world, i);
  for (guint i = 0; i < NODES; i++)
    for (guint home = 0; home < NODES; home++)
      g_test_message("%u has %u's users after %.2f s", i, home, wait_for(world, i, home));
}

/* One that was away gets what it missed, of a home that is gone for good now, from the third. */
static void
test_healing(void)
{
  g_autoptr(World) world = world_new();
  for (guint i = 0; i < NODES; i++)
    set_places(world, i, 7);
  start(world, 0);
  start(world, 1);
  register_all(world, 0);
  wait_for(world, 1, 0);
  stop(world, 0);
  start(world, 2);
  wait_for(world, 2, 0);
  /* And again, after it was restarted, what is registered meanwhile. */
  stop(world, 2);
  register_all(world, 1);
  start(world, 2);
  wait_for(world, 2, 1);
}

/* Nothing is taken from, or told to, a directory that the operator has not made a peer; made one, without a
 * restart, it is. */
static void
test_strangers(void)
{
  g_autoptr(World) world = world_new();
  set_places(world, 0, 2);
  set_places(world, 1, 0);
  start(world, 0);
  start(world, 1);
  register_all(world, 0);
  const IdentityPublic *other = identity_key_public(world->nodes[1].key);
  gint64 begin = g_get_monotonic_time();
  guint ticker = g_timeout_add(20, tick, NULL);
  for (gboolean told = FALSE; !told;) {
    DirectoryPeerReport report;
    g_assert_cmpint(g_get_monotonic_time() - begin, <, PATIENCE_S * G_USEC_PER_SEC);
    g_main_context_iteration(NULL, TRUE);
    directory_peer_report_load(world->nodes[0].status, other, &report);
    told = report.known && report.trouble && strstr(report.trouble, "no peer");
    directory_peer_report_clear(&report);
  }
  g_source_remove(ticker);
  g_assert_false(has_all(world, 1, 0));
  set_places(world, 1, 1);
  wait_for(world, 1, 0);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/directory/peer-service/together", test_together);
  g_test_add_func("/directory/peer-service/healing", test_healing);
  g_test_add_func("/directory/peer-service/strangers", test_strangers);
  return g_test_run();
}
