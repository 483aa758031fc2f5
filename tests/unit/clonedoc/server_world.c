#include "server_world.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/socket.h>

#include "link/link_source.h"

#define PATIENCE_S 60

static void
complain(const char *words, gpointer data)
{
  ServerWorld *world = data;
  g_free(world->complained);
  world->complained = g_strdup(words);
}

static int
listen_at(int port)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((guint16)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  g_assert_cmpint(listen(fd, 64), ==, 0);
  return fd;
}

void
server_world_start(ServerWorld *world)
{
  g_autoptr(GError) error = NULL;
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  const char *colon = world->address ? strrchr(world->address, ':') : NULL;
  int fd = listen_at(colon ? atoi(colon + 1) : 0);
  g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
  g_free(world->address);
  world->address = g_strdup_printf("127.0.0.1:%u", ntohs(address.sin_port));
  world->log = doc_log_open(world->folder, &error);
  g_assert_no_error(error);
  if (world->wrap)
    world->log = world->wrap(world->log);
  world->options.key = world->key;
  world->options.log = world->log;
  world->options.complain = complain;
  if (!world->options.data)
    world->options.data = world;
  world->server = doc_server_new(&world->options, world->context, &error);
  g_assert_no_error(error);
  doc_server_listen(world->server, fd);
}

void
server_world_stop(ServerWorld *world)
{
  g_clear_pointer(&world->server, doc_server_free);
  g_clear_pointer(&world->log, doc_log_free);
}

ServerWorld *
server_world_new(const char *folder, const DocServerOptions *options)
{
  static const guint8 seed[IDENTITY_SEED_LENGTH] = {77};
  ServerWorld *world = g_new0(ServerWorld, 1);
  world->folder = folder ? g_strdup(folder) : g_dir_make_tmp("doppel-doc-server-XXXXXX", NULL);
  world->key = identity_key_from_seed(seed);
  world->context = g_main_context_ref(g_main_context_default());
  world->options = options ? *options : DOC_SERVER_OPTIONS_DEFAULT;
  if (!options)
    world->options.rate = 0;
  server_world_start(world);
  return world;
}

void
server_world_free(ServerWorld *world)
{
  static const char *const files[] = {"documents.db", "documents.db-wal", "documents.db-shm"};
  server_world_stop(world);
  for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
    g_autofree char *path = g_build_filename(world->folder, files[i], NULL);
    g_unlink(path);
  }
  g_rmdir(world->folder);
  g_main_context_unref(world->context);
  identity_key_free(world->key);
  g_free(world->folder);
  g_free(world->address);
  g_free(world->complained);
  g_free(world);
}

static gboolean
work(gpointer data)
{
  WorldClient *client = data;
  return doc_client_work(client->client, &client->error) ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

WorldClient *
world_client_new(ServerWorld *world, const IdentityKey *key)
{
  g_autoptr(GError) error = NULL;
  WorldClient *client = g_new0(WorldClient, 1);
  const char *const addresses[] = {world->address, NULL};
  client->world = world;
  client->client = doc_client_new(addresses, identity_key_public(world->key), key, &error);
  g_assert_no_error(error);
  client->source = link_source_new(doc_client_prepare, client->client);
  g_source_set_callback(client->source, work, client, NULL);
  g_source_attach(client->source, world->context);
  return client;
}

void
world_client_free(WorldClient *client)
{
  g_source_destroy(client->source);
  g_source_unref(client->source);
  doc_client_free(client->client);
  g_clear_error(&client->error);
  g_free(client);
}

static gboolean
lose_patience(gpointer data)
{
  g_error("nothing happens");
  return G_SOURCE_REMOVE;
}

DocClientEvent *
world_client_await(WorldClient *client)
{
  GSource *limit = g_timeout_source_new_seconds(PATIENCE_S);
  g_source_set_callback(limit, lose_patience, NULL, NULL);
  g_source_attach(limit, client->world->context);
  DocClientEvent *event;
  while (!(event = doc_client_take(client->client)) && !client->error)
    g_main_context_iteration(client->world->context, TRUE);
  g_source_destroy(limit);
  g_source_unref(limit);
  return event;
}

DocClientEvent *
world_client_answer(WorldClient *client, guint64 call)
{
  for (;;) {
    DocClientEvent *event = world_client_await(client);
    if (!event || event->call == call)
      return event;
    doc_client_event_free(event);
  }
}

DocStatus
world_client_append(WorldClient *client, const DocName *document, const DocEnvelope *envelope,
                    guint64 *number)
{
  g_autoptr(GBytes) packed = doc_envelope_pack(envelope);
  g_autoptr(DocClientEvent) event =
      world_client_answer(client, doc_client_append(client->client, document, packed));
  g_assert_no_error(client->error);
  if (number)
    *number = event->answer->number;
  return event->answer->status;
}
