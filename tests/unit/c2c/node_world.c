#include "node_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "c2c/api.h"
#include "c2c/local_packet.h"
#include "c2c/node_bind.h"
#include "c2c/spawner.h"
#include "link/link.h"
#include "link/pass.h"
#include "wire/c2c.pb-c.h"
#include "wire/c2c_control.pb-c.h"

static char *folder;

static int
run_echo(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  char bytes[4096];
  ssize_t got;
  while ((got = read(fd, bytes, sizeof bytes)) > 0)
    if (!io_write_all(fd, bytes, got))
      return 1;
  return 0;
}

/* Goes on after its stream. */
static int
run_stay(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  run_echo(fd, service, peer, place);
  close(fd);
  pause();
  return 0;
}

static const Service world_services[] = {{"echo", FALSE, run_echo},
                                         {"mine", TRUE, run_echo},
                                         {"open", FALSE, run_echo, "streams=8"},
                                         {"stay", FALSE, run_stay, "streams=4"},
                                         {NULL}};
const Service *node_world_services = world_services;
const ServiceTask *node_world_tasks;
gboolean (*node_world_sign)(const IdentityKey *key, const guint8 *statement, gsize length,
                            guint8 signature[IDENTITY_SIGNATURE_LENGTH], GError **error);

char *
clone_store(const WorldClone *clone)
{
  return g_build_filename(clone->place, "store", NULL);
}

static char **
read_addresses(void *data)
{
  g_autofree char *text = NULL;
  return g_file_get_contents(data, &text, NULL, NULL) && *text ? g_strsplit(text, ",", -1) : NULL;
}

static int
listen_for_programs(const WorldClone *clone)
{
  struct sockaddr_un address;
  g_auto(Fd) directory = -1;
  g_mkdir_with_parents(clone->place, 0700);
  g_assert_cmpint(local_packet_address(clone->programs, &address, &directory), ==, 0);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  g_unlink(clone->programs); /* of the same clone before */
  g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  g_assert_cmpint(listen(fd, 64), ==, 0);
  return fd;
}

/* The file is put in its place by a new name each time. */
static int
watch_addresses(const WorldClone *clone)
{
  g_autofree char *directory = g_path_get_dirname(clone->address_file);
  int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  g_assert_cmpint(inotify_add_watch(fd, directory, IN_MOVED_TO | IN_CLOSE_WRITE), >=, 0);
  return fd;
}

static void
run_node(WorldClone *clone, int control_fd)
{
  g_autofree char *store = clone_store(clone);
  NodeConfig config = {.directory = clone->place,
                       .replica = store,
                       .clone_name = clone->name,
                       .key = clone->user->clone,
                       .control_fd = control_fd,
                       .programs_fd = listen_for_programs(clone),
                       .services = node_world_services,
                       .tasks = node_world_tasks,
                       .sign = node_world_sign,
                       .addresses = read_addresses,
                       .addresses_fd = watch_addresses(clone),
                       .data = clone->address_file};
  memcpy(config.clone, clone->user->binding.clone, sizeof config.clone);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  _exit(node_run(&config));
}

/* `port` 0: any. */
static int
listen_at(const WorldClone *clone, guint port)
{
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  /* Somebody's connection may have that port for a moment. */
  for (guint i = 0; i < 1000 && bind(fd, (struct sockaddr *)&address, sizeof address) < 0; i++)
    g_usleep(10000);
  g_assert_cmpint(listen(fd, 64), ==, 0);
  g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
  g_autofree char *text = g_strdup_printf("127.0.0.1:%u", ntohs(address.sin_port));
  g_assert_true(g_file_set_contents(clone->address_file, text, -1, NULL));
  return fd;
}

static volatile sig_atomic_t moves;

static void
on_move(int number)
{
  moves = 1;
}

static void
hand_over(int fd, int control_fd)
{
  LinkPreamble preamble;
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  if (!link_preamble_read(fd, 30000, &preamble, NULL))
    return;
  wire_preamble_encode(bytes, &preamble);
  link_pass_send_with(control_fd, fd, bytes, sizeof bytes, NULL);
}

/* As doppeld: listens, and hands sockets to the node. */
static void
run_host(WorldClone *clone, guint port)
{
  int ends[2];
  g_autoptr(GArray) open = g_array_new(FALSE, FALSE, sizeof(int));
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct sigaction action = {.sa_handler = on_move};
  sigaction(SIGUSR1, &action, NULL); /* before anybody hears of the node, and moves it */
  int listener = listen_at(clone, port);
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), ==, 0);
  if (fork() == 0) {
    close(listener);
    close(ends[0]);
    run_node(clone, ends[1]);
  }
  close(ends[1]);
  for (;;) {
    struct pollfd fds[] = {{.fd = listener, .events = POLLIN}, {.fd = ends[0]}};
    int ready = poll(fds, 2, 200);
    if (fds[1].revents & POLLHUP)
      _exit(0);
    if (moves) {
      moves = 0;
      int before = listener; /* which keeps its port until there is another one */
      listener = listen_at(clone, 0);
      close(before);
      for (guint i = 0; i < open->len; i++)
        shutdown(g_array_index(open, int, i), SHUT_RDWR);
    } else if (ready > 0 && fds[0].revents) {
      int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
      hand_over(fd, ends[0]);
      g_array_append_val(open, fd);
    }
  }
}

void
node_world_begin(void)
{
  prctl(PR_SET_CHILD_SUBREAPER, 1); /* clone_kill() waits for nodes, too */
  folder = g_dir_make_tmp("doppel-nodes-XXXXXX", NULL);
  fake_directory = g_build_filename(folder, "directory", NULL);
  g_assert_cmpint(g_mkdir(fake_directory, 0700), ==, 0);
}

void
node_world_end(void)
{
  const char *words[] = {"rm", "-rf", folder, NULL};
  g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
  g_clear_pointer(&folder, g_free);
  g_clear_pointer(&fake_directory, g_free);
}

WorldClone *
clone_new(guint number, const char *name)
{
  return clone_as(number, name, NULL);
}

/* Its socket may be left of another life: who answers there is alive. */
static void
await_node(const WorldClone *clone)
{
  C2c *c2c = NULL;
  for (guint i = 0; i < 6000 && !(c2c = c2c_open(clone->socket, NULL)); i++)
    g_usleep(10000);
  g_assert_nonnull(c2c);
  c2c_close(c2c);
}

/* The host and its node are a process group. */
static void
start_host(WorldClone *clone, guint port)
{
  clone->host = fork();
  if (clone->host == 0) {
    setpgid(0, 0);
    run_host(clone, port);
  }
  setpgid(clone->host, clone->host); /* here, too: it may have to be killed at once */
}

WorldClone *
clone_as(guint number, const char *name, const guint8 *id)
{
  WorldClone *clone = g_new0(WorldClone, 1);
  clone->name = g_strdup(name);
  clone->place = g_build_filename(folder, name, NULL);
  clone->socket = g_build_filename(clone->place, NODE_SOCKET, NULL);
  clone->programs = g_build_filename(clone->place, NODE_PROGRAMS_SOCKET, NULL);
  clone->address_file = g_strconcat(clone->place, ".address", NULL);
  clone->user = world_user_new(number, clone->name);
  /* The same for who comes again: of two bindings with one serial number the hash would decide. */
  static gint64 expires;
  if (expires == 0)
    expires = clock_unix_time() + 86400;
  clone->user->binding.expires = expires;
  if (id) {
    memcpy(clone->user->binding.clone, id, sizeof clone->user->binding.clone);
    g_bytes_unref(clone->user->hosting);
    clone->user->hosting = record_sign_hosting(clone->user->provider, id, &clone->user->binding.clone_key, 1);
  }
  start_host(clone, 0);
  await_node(clone);
  if (id)
    clone_bind(clone, 1);
  return clone;
}

/* All of them: one that is still ending would keep its socket from the next node of that clone. */
void
clone_kill(WorldClone *clone)
{
  if (clone->host <= 0)
    return;
  kill(-clone->host, SIGKILL);
  while (waitpid(-clone->host, NULL, 0) > 0)
    ;
  clone->host = 0;
}

void
clone_revive(WorldClone *clone)
{
  g_autofree char *address = clone_address(clone);
  start_host(clone, (guint)atoi(strchr(address, ':') + 1));
  await_node(clone);
}

void
clone_free(WorldClone *clone)
{
  clone_kill(clone);
  world_user_free(clone->user);
  g_free(clone->name);
  g_free(clone->place);
  g_free(clone->socket);
  g_free(clone->programs);
  g_free(clone->address_file);
  g_free(clone);
}

static int
take_answer(const unsigned char *body, size_t length, int more, void *data)
{
  GBytes **answer = data;
  g_clear_pointer(answer, g_bytes_unref);
  *answer = g_bytes_new(body, length);
  return 0;
}

int
clone_ask_bytes(WorldClone *clone, const char *verb, GBytes *body, GBytes **answer)
{
  g_autoptr(GBytes) got = NULL;
  char *why = NULL;
  C2c *c2c = c2c_open(clone->socket, &why);
  if (!c2c) {
    int number = errno;
    free(why);
    return number ? number : ENOTCONN;
  }
  int failed = c2c_control(c2c, verb, g_bytes_get_data(body, NULL), g_bytes_get_size(body), 60000,
                           take_answer, &got, &why) < 0
                   ? errno
                   : 0;
  c2c_close(c2c);
  if (failed)
    g_test_message("%s: %s", verb, why);
  free(why);
  if (answer)
    *answer = g_steal_pointer(&got);
  return failed;
}

int
clone_ask(WorldClone *clone, const char *verb, const ProtobufCMessage *body, GBytes **answer)
{
  gsize length = body ? protobuf_c_message_get_packed_size(body) : 0;
  guint8 *bytes = g_malloc(length + 1);
  if (body)
    protobuf_c_message_pack(body, bytes);
  g_autoptr(GBytes) packed = g_bytes_new_take(bytes, length);
  return clone_ask_bytes(clone, verb, packed, answer);
}

GBytes *
world_bind(const WorldUser *user, guint64 serial)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Record) record = world_record(user, serial, 0, &error);
  g_assert_no_error(error);
  DirectoryPlace place = {.address = (char *)"127.0.0.1:3678", .key = user->binding.directory};
  g_autoptr(GPtrArray) places = g_ptr_array_new();
  g_ptr_array_add(places, &place);
  return node_bind_encode(record, places);
}

void
clone_bind(WorldClone *clone, guint64 serial)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) answer = NULL;
  g_autoptr(GBytes) body = world_bind(clone->user, serial);
  g_autoptr(Record) told = world_record(clone->user, serial, 0, NULL);
  g_assert_cmpint(clone_ask_bytes(clone, NODE_BIND_VERB, body, &answer), ==, 0);
  g_autoptr(NodeBound) bound =
      node_bound_decode(g_bytes_get_data(answer, NULL), g_bytes_get_size(answer), told, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(bound->status, ==, DIRECTORY_STATUS(OK));
  g_assert_cmpuint(bound->number, ==, 7);
}

WorldClone *
clone_bound(guint number, const char *name)
{
  WorldClone *clone = clone_new(number, name);
  clone_bind(clone, 1);
  return clone;
}

char *
clone_address(const WorldClone *clone)
{
  char *text = NULL;
  g_assert_true(g_file_get_contents(clone->address_file, &text, NULL, NULL));
  return text;
}

void
clone_move(WorldClone *clone)
{
  g_autofree char *before = clone_address(clone);
  kill(clone->host, SIGUSR1);
  for (guint i = 0; i < 6000; i++) {
    g_autofree char *now = clone_address(clone);
    if (strcmp(now, before) != 0)
      return;
    g_usleep(10000);
  }
  g_assert_not_reached();
}

void
clone_permit(WorldClone *clone, const char *verb, const char *subject, const char *service,
             const char *limits)
{
  Doppel__Wire__ControlPermit permit = DOPPEL__WIRE__CONTROL_PERMIT__INIT;
  permit.subject = (char *)subject;
  permit.service = (char *)service;
  permit.limits = (char *)limits;
  g_assert_cmpint(clone_ask(clone, verb, &permit.base, NULL), ==, 0);
}

int
clone_dial(WorldClone *clone, const char *user, const char *service)
{
  char *why = NULL;
  C2c *c2c = c2c_open(clone->socket, &why);
  g_assert_nonnull(c2c);
  int fd = c2c_dial(c2c, user, service, &why), saved = errno;
  if (fd < 0)
    g_test_message("%s %s: %s", user, service, why);
  free(why);
  c2c_close(c2c);
  errno = saved;
  return fd;
}

char *
clone_dial_words(WorldClone *clone, const char *user, const char *service)
{
  char *why = NULL;
  C2c *c2c = c2c_open(clone->socket, &why);
  g_assert_nonnull(c2c);
  g_assert_cmpint(c2c_dial(c2c, user, service, &why), <, 0);
  c2c_close(c2c);
  char *words = g_strdup(why);
  free(why);
  return words;
}

gboolean
echoes(int fd, const char *words)
{
  gsize length = strlen(words);
  g_autofree char *back = g_malloc0(length + 1);
  return io_write_all(fd, words, length) && io_read_all(fd, back, length) == (gssize)length &&
         strcmp(words, back) == 0;
}
