#include "c2c/node.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/fd_source.h"
#include "c2c/node_private.h"

#define WATCH_NS       (3600 * G_GINT64_CONSTANT(1000000000))
#define WATCH_FIRST_NS (60 * G_GINT64_CONSTANT(1000000000)) /* after the start, which has other questions */

/* ---- what is due by the clock: a host has many nodes, and one that has nothing to do sleeps ---- */

typedef struct {
  GSource source;
  Node *node;
  gint64 due;
} Clock;

static gint64
node_due(Node *node, gint64 now)
{
  const gint64 dues[] = {node_register_due(node), node_dials_due(node), node_peers_due(node, now),
                         node_groups_due(node), node->watch_at};
  gint64 due = G_MAXINT64;
  for (guint i = 0; i < G_N_ELEMENTS(dues); i++)
    due = MIN(due, dues[i]);
  return due;
}

/* Before each sleep: whatever has changed what is due has woken the loop. */
static gboolean
clock_prepare(GSource *source, int *timeout_ms)
{
  Clock *clock = (Clock *)source;
  gint64 now = clock_now_ns();
  clock->due = node_due(clock->node, now);
  *timeout_ms = clock->due == G_MAXINT64 ? -1 : clock_left_ms(clock->due);
  return clock->due <= now;
}

static gboolean
clock_check(GSource *source)
{
  return ((Clock *)source)->due <= clock_now_ns();
}

static gboolean
clock_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
  Node *node = ((Clock *)source)->node;
  gint64 now = clock_now_ns();
  node_register_tick(node, now);
  node_dials_tick(node, now);
  node_peers_tick(node, now);
  node_groups_tick(node, now);
  if (now >= node->watch_at) {
    node_directory_watch(node->directory);
    node_groups_expire(node);
    node->watch_at = now + WATCH_NS;
  }
  return G_SOURCE_CONTINUE;
}

static GSource *
clock_new(Node *node)
{
  static GSourceFuncs functions = {
      .prepare = clock_prepare, .check = clock_check, .dispatch = clock_dispatch};
  GSource *source = g_source_new(&functions, sizeof(Clock));
  ((Clock *)source)->node = node;
  g_source_set_name(source, "clock");
  g_source_attach(source, NULL);
  return source;
}

static gboolean
on_addresses(GIOCondition ready, void *data)
{
  Node *node = data;
  char bytes[4096];
  ssize_t got;
  while ((got = read(node->config->addresses_fd, bytes, sizeof bytes)) > 0)
    ;
  /* Lost news are news, too. */
  if (got == 0 || (errno != EAGAIN && errno != ENOBUFS && errno != EINTR))
    return G_SOURCE_REMOVE;
  node_register_moved(node);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_control(GIOCondition ready, void *data)
{
  Node *node = data;
  gboolean orphan;
  node_accept_sockets(node, &orphan);
  if (orphan)
    g_main_loop_quit(node->loop);
  return orphan ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static gboolean
on_service(GIOCondition ready, void *data)
{
  node_services_ended(data);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_signal(gpointer data)
{
  g_main_loop_quit(((Node *)data)->loop);
  return G_SOURCE_CONTINUE;
}

static gboolean
open_node(Node *node, GError **error)
{
  const NodeConfig *config = node->config;
  node->store = node_store_open(config->directory, error);
  node->directory = node->store ? node_directory_new(config->directory, config->key, error) : NULL;
  if (!node->directory || !node_register_load(node, error) || !node_local_start(node, error))
    return FALSE;
  node_guests_start(node);
  return TRUE;
}

static void
run_loop(Node *node)
{
  GSource *control = fd_source_new(node->config->control_fd, G_IO_IN, NULL, on_control, node);
  GSource *services = fd_source_new(spawner_fd(node->spawner), G_IO_IN, NULL, on_service, node);
  guint term = g_unix_signal_add(SIGTERM, on_signal, node),
        interrupt = g_unix_signal_add(SIGINT, on_signal, node);
  spawner_begin_tasks(node->spawner);
  node->watch_at = clock_now_ns() + WATCH_FIRST_NS;
  GSource *clock = clock_new(node), *addresses = NULL;
  if (node->config->addresses_fd > 0)
    addresses = fd_source_new(node->config->addresses_fd, G_IO_IN, NULL, on_addresses, node);
  g_main_loop_run(node->loop);
  fd_source_free(clock);
  fd_source_free(addresses);
  g_source_remove(term);
  g_source_remove(interrupt);
  fd_source_free(control);
  fd_source_free(services);
}

static void
close_node(Node *node)
{
  node_groups_clear(node);
  node_local_stop(node);
  node_guests_stop(node);
  node_dials_clear(node);
  node_peers_clear(node);
  node_serving_clear(node);
  node_guests_clear(node);
  g_clear_pointer(&node->directory, node_directory_free);
  node_register_clear(node);
  g_ptr_array_unref(node->questions);
  g_hash_table_unref(node->listeners);
  g_clear_pointer(&node->store, node_store_close);
}

int
node_run(const NodeConfig *config)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = g_build_filename(config->directory, NODE_SOCKET, NULL);
  Node node = {.config = config, .socket = path};
  node.place = (ServicePlace){.directory = config->directory,
                              .socket = path,
                              .replica = config->replica,
                              .clone_name = config->clone_name,
                              .key = config->key};
  memcpy(node.place.clone, config->clone, sizeof node.place.clone);
  signal(SIGPIPE, SIG_IGN);
  /* Before any thread, and before anything is open that services must not have. */
  g_autoptr(Spawner) spawner = spawner_new(config->services, config->tasks, &node.place, &error);
  if (!spawner) {
    g_printerr("doppeld: clone %s: %s\n", config->clone_name, error->message);
    return 1;
  }
  node.spawner = spawner;
  node.loop = g_main_loop_new(NULL, FALSE);
  node.links = g_ptr_array_new();
  node.dials = g_ptr_array_new();
  node.bound = g_ptr_array_new();
  node.serving = g_ptr_array_new();
  node.questions = g_ptr_array_new();
  node.listeners = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  gboolean good = open_node(&node, &error);
  if (good)
    run_loop(&node);
  else
    g_printerr("doppeld: clone %s: %s\n", config->clone_name, error->message);
  close_node(&node);
  g_main_loop_unref(node.loop);
  return good ? 0 : 1;
}
