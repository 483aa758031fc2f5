/* The local socket: a server in a thread of its own, and programs that use c2c.h, or worse. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/api.h"
#include "c2c/local.h"
#include "c2c/local_message.h"
#include "wire/message.h"

typedef struct {
  char *directory, *path;
  GMainContext *context;
  GMainLoop *loop;
  GThread *thread;
  LocalServer *server;
  LocalCall *offer; /* the one LISTEN */
  gint started, gone, outstanding;
} World;

/* ---- a server whose services are named for what they do ---- */

static gboolean
connect_later(void *data)
{
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  g_assert_cmpint(write(ends[1], "later", 5), ==, 5);
  close(ends[1]);
  local_call_connected(data, ends[0]);
  return G_SOURCE_REMOVE;
}

static void
call_later(World *world, GSourceFunc function, void *data)
{
  GSource *source = g_timeout_source_new(50);
  g_source_set_callback(source, function, data, NULL);
  g_source_attach(source, world->context);
  g_source_unref(source);
}

static void
on_dial(LocalCall *call, const char *user, const char *service, void *data)
{
  World *world = data;
  int ends[2];
  if (strcmp(service, "later") == 0) {
    call_later(world, connect_later, call);
  } else if (strcmp(service, "never") == 0) {
    g_atomic_int_inc(&world->outstanding);
  } else if (strcmp(service, "name") == 0) {
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
    g_assert_cmpint(write(ends[1], user, strlen(user)), ==, strlen(user));
    close(ends[1]);
    local_call_connected(call, ends[0]);
  } else {
    int why = atoi(service);
    local_call_refuse(call, why, "first line\nsecond\x1b[31m line");
  }
}

static void
on_listen(LocalCall *call, const char *service, void *data)
{
  World *world = data;
  if (strcmp(service, "taken") == 0) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, "somebody else offers it");
    return;
  }
  local_call_set(call, world);
  local_call_offer(call);
  g_atomic_pointer_set(&world->offer, call);
}

static void
on_control(LocalCall *call, const char *verb, const guint8 *body, gsize length, void *data)
{
  if (strcmp(verb, "flood") == 0) {
    /* More than may wait for one that does not read. */
    g_autofree guint8 *much = g_malloc0(60000);
    for (guint i = 0; i < 2 * LOCAL_UNSENT_MAX / 60000; i++)
      g_assert_true(local_call_answer(call, much, 60000, TRUE));
  } else if (strcmp(verb, "long") == 0) {
    g_autofree guint8 *much = g_malloc0(LOCAL_MESSAGE_MAX);
    g_assert_false(local_call_answer(call, much, LOCAL_MESSAGE_MAX, FALSE));
  } else {
    for (gsize i = 0; i < length; i++)
      local_call_answer(call, body + i, 1, i + 1 < length);
  }
}

static void
on_gone(LocalCall *call, void *data)
{
  World *world = data;
  if (local_call_get(call)) {
    g_assert_true(local_call_get(call) == world);
    g_atomic_pointer_set(&world->offer, NULL);
  }
  g_atomic_int_inc(&world->gone);
}

static const LocalCallbacks callbacks = {on_dial, on_listen, on_control, on_gone};

static void *
serve(void *data)
{
  World *world = data;
  g_main_context_push_thread_default(world->context);
  g_main_loop_run(world->loop);
  local_server_free(world->server);
  g_main_context_pop_thread_default(world->context);
  return NULL;
}

static void
world_start(World *world, const char *below)
{
  *world = (World){.directory = g_dir_make_tmp("doppel-local-XXXXXX", NULL)};
  world->path = g_build_filename(world->directory, below, NULL);
  g_autofree char *parent = g_path_get_dirname(world->path);
  g_assert_cmpint(g_mkdir_with_parents(parent, 0700), ==, 0);
  world->context = g_main_context_new();
  world->loop = g_main_loop_new(world->context, FALSE);
  g_autoptr(GError) error = NULL;
  world->server = local_server_new(world->path, world->context, &callbacks, world, &error);
  g_assert_no_error(error);
  world->thread = g_thread_new("server", serve, world);
}

static gboolean
quit(void *data)
{
  g_main_loop_quit(data);
  return G_SOURCE_REMOVE;
}

static void
world_end(World *world)
{
  call_later(world, quit, world->loop);
  g_thread_join(world->thread);
  g_assert_cmpint(access(world->path, F_OK), ==, -1); /* it has removed its socket */
  g_autofree char *command = g_strdup_printf("rm -r '%s'", world->directory);
  g_assert_cmpint(system(command), ==, 0);
  g_main_loop_unref(world->loop);
  g_main_context_unref(world->context);
  g_free(world->path);
  g_free(world->directory);
}

static void
wait_for(gint *value, gint wanted)
{
  for (int i = 0; i < 6000 && g_atomic_int_get(value) < wanted; i++)
    g_usleep(10000);
  g_assert_cmpint(g_atomic_int_get(value), >=, wanted);
}

static C2c *
enter(const World *world)
{
  char *why = NULL;
  C2c *c2c = c2c_open(world->path, &why);
  g_assert_cmpstr(why, ==, NULL);
  g_assert_nonnull(c2c);
  return c2c;
}

static void
assert_says(int fd, const char *text)
{
  char got[256] = {0};
  g_assert_cmpint(io_read_all(fd, got, sizeof got - 1), ==, strlen(text));
  g_assert_cmpstr(got, ==, text);
  close(fd);
}

/* ---- dialling ---- */

static void
test_dial(void)
{
  World world;
  world_start(&world, "socket");
  C2c *c2c = enter(&world);
  char *why = NULL;
  assert_says(c2c_dial(c2c, "home/bäcker", "name", &why), "home/bäcker");
  assert_says(c2c_dial(c2c, NULL, "later", &why), "later");
  assert_says(c2c_dial(c2c, NULL, "name", NULL), "");
  g_assert_null(why);
  c2c_close(c2c);
  world_end(&world);
}

static void
test_refusals(void)
{
  static const struct {
    Doppel__Wire__C2cRefusal why;
    int number;
  } cases[] = {{DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_USER, ENOENT},
               {DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE, ENOENT},
               {DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY, EHOSTUNREACH},
               {DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, EACCES},
               {DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, EAGAIN},
               {DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, EIO},
               {DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED, EINVAL},
               /* An answer without a stream is none. */
               {DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE, EIO}};
  World world;
  world_start(&world, "socket");
  C2c *c2c = enter(&world);
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    char service[8], *why = NULL;
    g_snprintf(service, sizeof service, "%d", cases[i].why);
    g_assert_cmpint(c2c_dial(c2c, "alice", service, &why), ==, -1);
    g_assert_cmpint(errno, ==, cases[i].number);
    /* Nothing that a terminal would obey. */
    g_assert_cmpstr(why, ==, "first line second [31m line");
    free(why);
  }
  g_autofree char *long_name = g_strnfill(LOCAL_SERVICE_MAX + 1, 'x');
  g_assert_cmpint(c2c_dial(c2c, "alice", long_name, NULL), ==, -1);
  g_assert_cmpint(errno, ==, EINVAL);
  c2c_close(c2c);
  world_end(&world);
}

static void
test_nobody(void)
{
  char *why = NULL;
  g_assert_null(c2c_open("/nonexistent/c2c.socket", &why));
  g_assert_cmpint(errno, ==, ENOENT);
  g_assert_nonnull(strstr(why, "/nonexistent/c2c.socket"));
  free(why);
}

/* ---- offering ---- */

static gboolean
send_incoming(void *data)
{
  World *world = data;
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  g_assert_cmpint(write(ends[1], "hello", 5), ==, 5);
  close(ends[1]);
  LocalFrom from = {.name = "alice", .service = "message:chat"};
  memset(from.origin.bytes, 1, sizeof from.origin.bytes);
  memset(from.clone_key.bytes, 2, sizeof from.clone_key.bytes);
  g_assert_true(local_call_incoming(world->offer, &from, ends[0]));
  return G_SOURCE_REMOVE;
}

static void
test_listen(void)
{
  World world;
  world_start(&world, "socket");
  C2c *c2c = enter(&world);
  char *why = NULL;
  g_assert_null(c2c_listen(c2c, "taken", &why));
  g_assert_cmpint(errno, ==, EEXIST);
  g_assert_cmpstr(why, ==, "somebody else offers it");
  free(why);
  C2cListener *listener = c2c_listen(c2c, "message:chat", &why);
  g_assert_cmpstr(why, ==, NULL);
  call_later(&world, send_incoming, &world);
  struct pollfd wait = {.fd = c2c_listener_fd(listener), .events = POLLIN};
  g_assert_cmpint(poll(&wait, 1, 60000), ==, 1);
  C2cPeer peer;
  assert_says(c2c_accept(listener, &peer), "hello");
  g_assert_cmpstr(peer.name, ==, "alice");
  g_assert_cmpint(peer.origin[0] + peer.origin[31], ==, 2);
  g_assert_cmpint(peer.clone[0] + peer.clone[31], ==, 4);
  /* The offer ends with the listener, not with what it was made from. */
  c2c_close(c2c);
  g_usleep(50000);
  g_assert_cmpint(g_atomic_int_get(&world.gone), ==, 0);
  c2c_listener_close(listener);
  wait_for(&world.gone, 1);
  g_assert_null(g_atomic_pointer_get(&world.offer));
  world_end(&world);
}

static gboolean
flood_incoming(void *data)
{
  World *world = data;
  LocalFrom from = {.name = "alice", .service = "message:chat"};
  guint taken = 0;
  while (taken < 100000 && local_call_incoming(world->offer, &from, open("/dev/null", O_RDONLY | O_CLOEXEC)))
    taken++;
  g_atomic_int_set(&world->started, taken);
  return G_SOURCE_REMOVE;
}

static void
test_listener_does_not_take(void)
{
  World world;
  world_start(&world, "socket");
  C2c *c2c = enter(&world);
  C2cListener *listener = c2c_listen(c2c, "message:chat", NULL);
  g_assert_nonnull(listener);
  call_later(&world, flood_incoming, &world);
  wait_for(&world.started, 1);
  int count = g_atomic_int_get(&world.started);
  g_test_message("%d streams wait in the socket and before it", count);
  g_assert_cmpint(count, <, 1000);
  for (int i = 0; i < count; i++) {
    int fd = c2c_accept(listener, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
  }
  c2c_listener_close(listener);
  c2c_close(c2c);
  world_end(&world);
}

/* ---- what is no stream ---- */

static int
collect(const unsigned char *body, size_t length, int more, void *data)
{
  g_string_append_len(data, (const char *)body, length);
  g_string_append_c(data, more ? ',' : '.');
  return ((GString *)data)->len >= 6;
}

static void
test_control(void)
{
  World world;
  world_start(&world, "socket");
  C2c *c2c = enter(&world);
  char *why = NULL;
  g_autoptr(GString) text = g_string_new(NULL);
  g_assert_cmpint(c2c_control(c2c, "whois", "abc", 3, 10000, collect, text, &why), ==, 0);
  g_assert_cmpstr(text->str, ==, "a,b,c.");
  g_string_truncate(text, 0);
  /* Whoever has enough hears no more, and the next question gets its own answers. */
  g_assert_cmpint(c2c_control(c2c, "whois", "vwxyz", 5, 10000, collect, text, NULL), ==, -1);
  g_assert_cmpint(errno, ==, ECANCELED);
  g_assert_cmpstr(text->str, ==, "v,w,x,");
  g_string_truncate(text, 0);
  g_assert_cmpint(c2c_control(c2c, "whois", "d", 1, 10000, collect, text, &why), ==, 0);
  g_assert_cmpstr(text->str, ==, "d.");
  g_assert_cmpint(c2c_control(c2c, "long", "", 0, 10000, NULL, NULL, &why), ==, -1);
  g_assert_cmpstr(why, ==, "the answer is too long");
  free(why);
  c2c_close(c2c);
  world_end(&world);
}

/* ---- programs that are not correct ---- */

static int
connect_raw(const World *world)
{
  struct sockaddr_un address;
  int directory;
  g_assert_cmpint(local_packet_address(world->path, &address, &directory), ==, 0);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  io_close(&directory);
  return fd;
}

static void
assert_closed(int fd)
{
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  char byte;
  g_assert_cmpint(poll(&wait, 1, 60000), ==, 1);
  g_assert_cmpint(read(fd, &byte, 1), <=, 0);
  close(fd);
}

static void
test_bad_messages(void)
{
  World world;
  world_start(&world, "socket");
  C2c *other = enter(&world);
  g_autofree char *noise = g_strnfill(LOCAL_MESSAGE_MAX + 1, 'x');
  const gsize lengths[] = {1, 100, LOCAL_MESSAGE_MAX, LOCAL_MESSAGE_MAX + 1};
  for (guint i = 0; i < G_N_ELEMENTS(lengths); i++) {
    int fd = connect_raw(&world);
    g_assert_cmpint(local_packet_send(fd, noise, lengths[i], -1, 0), ==, 0);
    assert_closed(fd);
  }
  /* A well-formed one that is no request, with a descriptor that nobody wants. */
  int fd = connect_raw(&world);
  const guint8 empty_dial[] = {0x08, 1, 0x12, 0};
  g_assert_cmpint(local_packet_send(fd, empty_dial, sizeof empty_dial, 0, 0), ==, 0);
  assert_closed(fd);
  /* One without a number: what answers it would be an empty packet, the end of the connection. */
  fd = connect_raw(&world);
  const guint8 unnumbered_dial[] = {0x12, 7, 0x12, 5, 'l', 'a', 't', 'e', 'r'};
  g_assert_cmpint(local_packet_send(fd, unnumbered_dial, sizeof unnumbered_dial, -1, 0), ==, 0);
  assert_closed(fd);
  assert_says(c2c_dial(other, "alice", "name", NULL), "alice");
  c2c_close(other);
  world_end(&world);
}

static void
send_dial(int fd, guint64 id, const char *service)
{
  Doppel__Wire__LocalDial dial = DOPPEL__WIRE__LOCAL_DIAL__INIT;
  dial.service = (char *)service;
  Doppel__Wire__LocalRequest request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  request.id = id;
  request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_DIAL;
  request.dial = &dial;
  g_autoptr(GBytes) bytes = wire_pack(&request.base);
  g_assert_cmpint(local_packet_send(fd, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), -1, 0), ==,
                  0);
}

static void
test_many_requests(void)
{
  World world;
  world_start(&world, "socket");
  int fd = connect_raw(&world);
  for (guint i = 0; i < LOCAL_CALLS_MAX + 20; i++)
    send_dial(fd, i + 1, "never");
  wait_for(&world.outstanding, LOCAL_CALLS_MAX);
  g_usleep(100000);
  g_assert_cmpint(g_atomic_int_get(&world.outstanding), ==, LOCAL_CALLS_MAX);
  /* It is seen to go although nothing is read from it, and all that it asked for is given up. */
  close(fd);
  wait_for(&world.gone, LOCAL_CALLS_MAX);
  world_end(&world);
}

static void
test_slow_reader(void)
{
  World world;
  world_start(&world, "socket");
  C2c *other = enter(&world);
  int fd = connect_raw(&world);
  Doppel__Wire__LocalControl control = DOPPEL__WIRE__LOCAL_CONTROL__INIT;
  control.verb = (char *)"flood";
  Doppel__Wire__LocalRequest request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  request.id = 1;
  request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_CONTROL;
  request.control = &control;
  g_autoptr(GBytes) bytes = wire_pack(&request.base);
  local_packet_send(fd, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), -1, 0);
  wait_for(&world.gone, 1);
  assert_says(c2c_dial(other, "alice", "name", NULL), "alice");
  close(fd);
  c2c_close(other);
  world_end(&world);
}

static void
test_many_clients(void)
{
  World world;
  world_start(&world, "socket");
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
  for (guint i = 0; i < LOCAL_CLIENTS_MAX; i++) {
    int fd = connect_raw(&world);
    g_array_append_val(fds, fd);
  }
  C2c *late = enter(&world);
  char *why = NULL;
  g_assert_cmpint(c2c_dial(late, "alice", "name", &why), ==, -1);
  g_assert_nonnull(why);
  free(why);
  c2c_close(late);
  for (guint i = 0; i < fds->len; i++)
    close(g_array_index(fds, int, i));
  for (int i = 0; i < 1200; i++) {
    C2c *c2c = enter(&world);
    int fd = c2c_dial(c2c, "alice", "name", NULL);
    c2c_close(c2c);
    if (fd >= 0) {
      assert_says(fd, "alice");
      world_end(&world);
      return;
    }
    g_usleep(50000);
  }
  g_assert_not_reached();
}

static void
test_other_user(void)
{
  if (geteuid() != 0) {
    g_test_skip("only root can become somebody else");
    return;
  }
  World world;
  world_start(&world, "socket");
  struct stat facts;
  g_assert_cmpint(stat(world.path, &facts), ==, 0);
  g_assert_cmpint(facts.st_mode & 0777, ==, 0600);
  /* Even where the file would let them in. */
  chmod(world.directory, 0755);
  chmod(world.path, 0666);
  pid_t child = fork();
  if (child == 0) {
    if (setresuid(65534, 65534, 65534) < 0)
      _exit(2);
    C2c *c2c = c2c_open(world.path, NULL);
    _exit(!c2c ? 3 : c2c_dial(c2c, "alice", "name", NULL) < 0 ? 0 : 1);
  }
  int status;
  g_assert_cmpint(waitpid(child, &status, 0), ==, child);
  g_assert_cmpint(status, ==, 0);
  world_end(&world);
}

/* ---- the file ---- */

static void
test_socket_file(void)
{
  World world;
  /* Longer than an address. */
  g_autofree char *deep = g_strnfill(120, 'd'), *below = g_build_filename(deep, "socket", NULL);
  world_start(&world, below);
  g_autoptr(GError) error = NULL;
  g_assert_null(local_server_new(world.path, world.context, &callbacks, &world, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  C2c *c2c = enter(&world);
  assert_says(c2c_dial(c2c, "alice", "name", NULL), "alice");
  c2c_close(c2c);
  g_assert_true(local_server_is_reachable(world.server));
  world_end(&world);
}

static void
test_left_behind(void)
{
  g_autofree char *directory = g_dir_make_tmp("doppel-local-XXXXXX", NULL);
  g_autofree char *path = g_build_filename(directory, "socket", NULL);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  g_strlcpy(address.sun_path, path, sizeof address.sun_path);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  close(fd); /* of a server that was killed */
  g_autoptr(GMainContext) context = g_main_context_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(LocalServer) server = local_server_new(path, context, &callbacks, NULL, &error);
  g_assert_no_error(error);
  g_assert_cmpint(unlink(path), ==, 0);
  g_assert_false(local_server_is_reachable(server));
  g_assert_cmpint(rmdir(directory), ==, 0);
}

/* Sends `count` descriptors with one byte. */
static void
send_descriptors(int fd, guint count)
{
  union {
    char bytes[CMSG_SPACE(8 * sizeof(int))];
    struct cmsghdr align;
  } control = {{0}};
  struct iovec piece = {(void *)"x", 1};
  struct msghdr message = {.msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = CMSG_SPACE(count * sizeof(int))};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(count * sizeof(int));
  for (guint i = 0; i < count; i++)
    memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof fd);
  g_assert_cmpint(sendmsg(fd, &message, 0), ==, 1);
}

static guint
descriptors_open(void)
{
  guint count = 0;
  for (int fd = 0; fd < 256; fd++)
    count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

/* Of several descriptors one is given, and none stays open unseen. */
static void
test_descriptors(void)
{
  char byte;
  for (guint count = 1; count <= 8; count++) {
    int ends[2], passed = -1;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), ==, 0);
    guint before = descriptors_open();
    send_descriptors(ends[0], count);
    g_assert_cmpint(local_packet_receive(ends[1], &byte, 1, &passed, 0), ==, 1);
    g_assert_cmpint(passed, >=, 0);
    close(passed);
    g_assert_cmpuint(descriptors_open(), ==, before);
    send_descriptors(ends[0], count);
    g_assert_cmpint(local_packet_receive(ends[1], &byte, 1, NULL, 0), ==, 1);
    g_assert_cmpuint(descriptors_open(), ==, before);
    close(ends[0]);
    close(ends[1]);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/c2c/local/dial", test_dial);
  g_test_add_func("/c2c/local/refusals", test_refusals);
  g_test_add_func("/c2c/local/nobody", test_nobody);
  g_test_add_func("/c2c/local/listen", test_listen);
  g_test_add_func("/c2c/local/listener-does-not-take", test_listener_does_not_take);
  g_test_add_func("/c2c/local/control", test_control);
  g_test_add_func("/c2c/local/bad-messages", test_bad_messages);
  g_test_add_func("/c2c/local/descriptors", test_descriptors);
  g_test_add_func("/c2c/local/many-requests", test_many_requests);
  g_test_add_func("/c2c/local/slow-reader", test_slow_reader);
  g_test_add_func("/c2c/local/many-clients", test_many_clients);
  g_test_add_func("/c2c/local/other-user", test_other_user);
  g_test_add_func("/c2c/local/socket-file", test_socket_file);
  g_test_add_func("/c2c/local/left-behind", test_left_behind);
  return g_test_run();
}
