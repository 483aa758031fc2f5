#include "directory_rig.h"

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/io.h"

#define TIMEOUT_MS 60000

static char *caches;

Rig *
rig_new(guint number)
{
  Rig *rig = g_new0(Rig, 1);
  rig->key = world_key(number);
  rig->folder = g_dir_make_tmp("doppel-directory-XXXXXX", NULL);
  rig->store = g_strdup_printf("sqlite:%s/directory.db", rig->folder);
  rig->place.key = *identity_key_public(rig->key);
  rig->port = -1;
  rig->options = (DirectoryServerOptions){.key = rig->key, .store = rig->store};
  return rig;
}

static int
bound_socket(struct sockaddr_in *address)
{
  socklen_t length = sizeof *address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  g_assert_cmpint(bind(fd, (struct sockaddr *)address, sizeof *address), ==, 0);
  g_assert_cmpint(getsockname(fd, (struct sockaddr *)address, &length), ==, 0);
  return fd;
}

static int
listen_on(Rig *rig)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  if (rig->port < 0) {
    rig->port = bound_socket(&address);
    rig->place.address = g_strdup_printf("127.0.0.1:%u", ntohs(address.sin_port));
  }
  g_assert_cmpint(getsockname(rig->port, (struct sockaddr *)&address, &length), ==, 0);
  int fd = bound_socket(&address);
  g_assert_cmpint(listen(fd, 256), ==, 0);
  return fd;
}

static gpointer
rig_main(gpointer data)
{
  Rig *rig = data;
  g_main_context_push_thread_default(rig->context);
  g_main_loop_run(rig->loop);
  g_main_context_pop_thread_default(rig->context);
  return NULL;
}

void
rig_start(Rig *rig)
{
  g_autoptr(GError) error = NULL;
  rig->context = g_main_context_new();
  rig->loop = g_main_loop_new(rig->context, FALSE);
  rig->server = directory_server_new(&rig->options, rig->context, &error);
  g_assert_no_error(error);
  directory_server_listen(rig->server, listen_on(rig));
  rig->thread = g_thread_new("directory", rig_main, rig);
}

void
rig_stop(Rig *rig)
{
  if (!rig->thread)
    return;
  g_main_loop_quit(rig->loop);
  g_thread_join(g_steal_pointer(&rig->thread));
  g_clear_pointer(&rig->server, directory_server_free);
  g_clear_pointer(&rig->loop, g_main_loop_unref);
  g_clear_pointer(&rig->context, g_main_context_unref);
}

static void
remove_folder(const char *path)
{
  GDir *dir = g_dir_open(path, 0, NULL);
  for (const char *name; dir && (name = g_dir_read_name(dir));) {
    g_autofree char *file = g_build_filename(path, name, NULL);
    g_remove(file);
  }
  if (dir)
    g_dir_close(dir);
  g_rmdir(path);
}

static void
remove_caches(void)
{
  remove_folder(caches);
  g_free(caches);
}

void
rig_free(Rig *rig)
{
  rig_stop(rig);
  io_close(&rig->port);
  remove_folder(rig->folder);
  identity_key_free(rig->key);
  g_free(rig->folder);
  g_free(rig->store);
  g_free(rig->place.address);
  g_free(rig);
}

typedef struct {
  void (*function)(gpointer data);
  gpointer data;
  GMutex lock;
  GCond done;
  gboolean over;
} Call;

static gboolean
run_call(gpointer data)
{
  Call *call = data;
  call->function(call->data);
  g_mutex_lock(&call->lock);
  call->over = TRUE;
  g_cond_signal(&call->done);
  g_mutex_unlock(&call->lock);
  return G_SOURCE_REMOVE;
}

void
rig_invoke(Rig *rig, void (*function)(gpointer data), gpointer data)
{
  Call call = {.function = function, .data = data};
  g_mutex_init(&call.lock);
  g_cond_init(&call.done);
  g_main_context_invoke(rig->context, run_call, &call);
  g_mutex_lock(&call.lock);
  while (!call.over)
    g_cond_wait(&call.done, &call.lock);
  g_mutex_unlock(&call.lock);
  g_mutex_clear(&call.lock);
  g_cond_clear(&call.done);
}

DirectoryClient *
rig_client(const IdentityKey *own, Rig *first, ...)
{
  static guint count;
  g_autoptr(GError) error = NULL;
  if (!caches) {
    caches = g_dir_make_tmp("doppel-caches-XXXXXX", NULL);
    atexit(remove_caches);
  }
  g_autofree char *path = g_strdup_printf("%s/cache%u.db", caches, count++);
  DirectoryClient *client = directory_client_open(path, own, &error);
  g_assert_no_error(error);
  g_autoptr(GPtrArray) places = g_ptr_array_new();
  va_list rigs;
  va_start(rigs, first);
  for (Rig *rig = first; rig; rig = va_arg(rigs, Rig *))
    g_ptr_array_add(places, &rig->place);
  va_end(rigs);
  directory_client_set(client, places);
  directory_client_set_timeout(client, TIMEOUT_MS);
  return client;
}

WorldUser *
rig_user(Rig *rig, guint number, const char *name)
{
  WorldUser *user = world_user_new(number, name);
  user->binding.directory = rig->place.key;
  return user;
}

Record *
rig_record(const WorldUser *user, guint64 serial, guint64 sequence)
{
  g_autoptr(GError) error = NULL;
  Record *record = world_record(user, serial, sequence, &error);
  g_assert_no_error(error);
  return record;
}

void
rig_register(DirectoryClient *client, const Record *record, guint64 number)
{
  g_autoptr(GError) error = NULL;
  guint64 got = 0;
  directory_client_register(client, record, &got, NULL, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(got, ==, number);
}

void
rig_refused(DirectoryClient *client, const Record *record, DirectoryStatus status)
{
  g_autoptr(GError) error = NULL;
  guint64 number = 0;
  DirectoryStatus got;
  g_assert_false(directory_client_register(client, record, &number, &got, &error));
  g_assert_nonnull(error);
  g_assert_cmpint(got, ==, status);
}
