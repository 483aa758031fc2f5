#include "service_rig.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/send_receipt.h"

static GHashTable *users;
static GPtrArray *offered;
static char *home;
static GMutex mutex;
static GCond over;
static guint running, cuts, cut_most;
static GRand *cut_random;

static void
user_free(gpointer data)
{
  RigUser *user = data;
  g_free(user->name);
  identity_key_free(user->origin);
  identity_key_free(user->clone_key);
  g_free((char *)user->place.directory);
  g_free((char *)user->place.replica);
  g_free(user->as_peer.name);
  g_free(user);
}

RigUser *
rig_user(const char *name)
{
  RigUser *user = g_hash_table_lookup(users, name);
  if (user)
    return user;
  user = g_new0(RigUser, 1);
  user->name = g_strdup(name);
  user->origin = identity_key_generate();
  user->clone_key = identity_key_generate();
  user->place.directory = g_build_filename(home, name, NULL);
  user->place.replica = g_build_filename(home, name, "store", NULL);
  user->place.socket = user->name; /* by which dial() knows whose it is */
  user->place.clone_name = user->name;
  g_assert_cmpint(g_mkdir_with_parents(user->place.directory, 0700), ==, 0);
  user->as_peer.name = g_strdup(name);
  user->as_peer.origin = *identity_key_public(user->origin);
  user->as_peer.clone_key = *identity_key_public(user->clone_key);
  g_hash_table_insert(users, user->name, user);
  return user;
}

typedef struct {
  int fd;
  const Service *service;
  RigUser *user;
  ServicePeer peer;
} Run;

static void
thread_over(void)
{
  g_mutex_lock(&mutex);
  running--;
  g_cond_broadcast(&over);
  g_mutex_unlock(&mutex);
}

static void
thread_start(GThreadFunc function, gpointer data)
{
  g_mutex_lock(&mutex);
  running++;
  g_mutex_unlock(&mutex);
  g_thread_unref(g_thread_new("rig", function, data));
}

static gpointer
run_service(gpointer data)
{
  Run *run = data;
  run->service->run(run->fd, run->service->name, &run->peer, &run->user->place);
  close(run->fd);
  g_free(run->peer.limits);
  g_free(run);
  thread_over();
  return NULL;
}

int
rig_serve(const Service *service, RigUser *user, RigUser *peer, const char *limits)
{
  int pair[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
  Run *run = g_new0(Run, 1);
  *run = (Run){pair[1], service, user, peer->as_peer};
  run->peer.limits = g_strdup(limits);
  run->peer.owner = user == peer;
  thread_start(run_service, run);
  return pair[0];
}

/* ---- cuts ---- */

typedef struct {
  int ends[2];
  guint64 left;
} Pump;

/* Passes bytes on both ways; breaks when its number is used up. */
static gpointer
run_pump(gpointer data)
{
  Pump *pump = data;
  char buffer[4096];
  gboolean open = TRUE;
  while (open && pump->left > 0) {
    struct pollfd fds[] = {{.fd = pump->ends[0], .events = POLLIN}, {.fd = pump->ends[1], .events = POLLIN}};
    poll(fds, 2, -1);
    for (int i = 0; open && i < 2; i++) {
      if (!fds[i].revents)
        continue;
      gssize got = recv(pump->ends[i], buffer, MIN(sizeof buffer, pump->left), 0);
      open = got > 0 && send(pump->ends[!i], buffer, got, MSG_NOSIGNAL) == got;
      pump->left -= open ? got : 0;
    }
  }
  close(pump->ends[0]);
  close(pump->ends[1]);
  g_free(pump);
  thread_over();
  return NULL;
}

static int
cut_stream(int fd)
{
  int pair[2];
  g_mutex_lock(&mutex);
  gboolean cut = cuts > 0;
  guint64 left = cut ? g_rand_int_range(cut_random, 1, cut_most) : 0;
  cuts -= cut;
  g_mutex_unlock(&mutex);
  if (!cut)
    return fd;
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
  Pump *pump = g_new(Pump, 1);
  *pump = (Pump){{fd, pair[1]}, left};
  thread_start(run_pump, pump);
  return pair[0];
}

void
rig_cut(guint count, guint seed, guint most)
{
  g_mutex_lock(&mutex);
  g_clear_pointer(&cut_random, g_rand_free);
  cut_random = g_rand_new_with_seed(seed);
  cuts = count;
  cut_most = most;
  g_mutex_unlock(&mutex);
}

guint
rig_cuts_left(void)
{
  g_mutex_lock(&mutex);
  guint left = cuts;
  g_mutex_unlock(&mutex);
  return left;
}

/* ---- the node ---- */

static int
rig_dial(const ServicePlace *place, const char *name, const char *service, GError **error)
{
  g_mutex_lock(&mutex);
  RigUser *user = g_hash_table_lookup(users, name), *caller = g_hash_table_lookup(users, place->socket);
  gboolean away = user && user->away, denies = user && user->denies;
  if (user)
    user->dials++;
  g_mutex_unlock(&mutex);
  if (!user || away || denies) {
    doppel_error_set(error,
                     !user  ? DOPPEL_ERROR_NOT_FOUND
                     : away ? DOPPEL_ERROR_GONE
                            : DOPPEL_ERROR_DENIED,
                     "%s cannot be dialled", name);
    return -1;
  }
  for (guint i = 0; i < offered->len; i++) {
    const Service *offer = offered->pdata[i];
    if (g_str_equal(offer->name, service))
      return cut_stream(rig_serve(offer, user, caller, ""));
  }
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "no service %s", service);
  return -1;
}

static gboolean
rig_sign(const ServicePlace *place, const void *statement, gsize length, IdentityPublic *key,
         guint8 signature[IDENTITY_SIGNATURE_LENGTH], GError **error)
{
  RigUser *user = rig_user(place->socket);
  *key = *identity_key_public(user->clone_key);
  return send_receipt_sign(user->clone_key, statement, length, signature, error);
}

static char **
rig_contacts(const ServicePlace *place, GError **error)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new();
  GHashTableIter iterator;
  gpointer name;
  g_hash_table_iter_init(&iterator, users);
  while (g_hash_table_iter_next(&iterator, &name, NULL))
    if (!g_str_equal(name, place->socket))
      g_ptr_array_add(names, g_strdup(name));
  g_ptr_array_add(names, NULL);
  return (char **)g_ptr_array_steal(names, NULL);
}

static gboolean
rig_clone_key(const ServicePlace *place, const char *name, IdentityPublic *key, GError **error)
{
  RigUser *user = g_hash_table_lookup(users, name);
  if (!user)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no user %s", name);
  *key = *identity_key_public(user->clone_key);
  return TRUE;
}

static const ServiceNode rig_node = {rig_dial, rig_sign, rig_contacts, rig_clone_key};

void
rig_begin(const char *directory)
{
  home = g_strdup(directory);
  users = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, user_free);
  offered = g_ptr_array_new();
  service_node = &rig_node;
}

void
rig_offer(const Service *service)
{
  g_ptr_array_add(offered, (gpointer)service);
}

void
rig_wait(void)
{
  g_mutex_lock(&mutex);
  while (running > 0)
    g_cond_wait(&over, &mutex);
  g_mutex_unlock(&mutex);
}

void
rig_end(void)
{
  rig_wait();
  g_clear_pointer(&users, g_hash_table_unref);
  g_clear_pointer(&offered, g_ptr_array_unref);
  g_clear_pointer(&home, g_free);
  g_clear_pointer(&cut_random, g_rand_free);
  cuts = 0;
}

/* ---- places ---- */

char *
rig_directory(const char *name)
{
  g_autofree char *pattern = g_strdup_printf("/var/tmp/doppel-%s-XXXXXX", name);
  g_assert_nonnull(g_mkdtemp(pattern));
  return g_steal_pointer(&pattern);
}

void
rig_remove(const char *directory)
{
  const char *words[] = {"rm", "-rf", directory, NULL};
  g_assert_true(
      g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
}
