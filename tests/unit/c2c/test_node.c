/* Nodes of several clones: who is let in, who may do what, and what becomes of streams when clones move and
 * directories are away. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/mux.h"
#include "c2c/node_bind.h"
#include "node_world.h"
#include "wire/c2c_control.pb-c.h"

typedef struct {
  WorldClone *alice, *bob;
} World;

static World
world_new(void)
{
  node_world_begin();
  return (World){clone_bound(100, "alice"), clone_bound(200, "bob")};
}

static void
world_clear(World *world)
{
  clone_free(world->alice);
  clone_free(world->bob);
  node_world_end();
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static void
assert_refused(WorldClone *clone, const char *user, const char *service, int why)
{
  int fd = clone_dial(clone, user, service);
  g_assert_cmpint(errno, ==, why);
  g_assert_cmpint(fd, ==, -1);
}

static void
assert_echoes(WorldClone *clone, const char *user, const char *service)
{
  g_auto(Fd) fd = clone_dial(clone, user, service);
  g_assert_cmpint(fd, >=, 0);
  g_assert_true(echoes(fd, "hello"));
}

static int
try_bind(WorldClone *clone, const WorldUser *user, guint64 serial)
{
  g_autoptr(GBytes) body = world_bind(user, serial);
  return clone_ask_bytes(clone, "bind", body, NULL);
}

/* Only its own user's binding, and none that is older than another. */
static void
test_bind(void)
{
  g_auto(World) world = world_new();
  g_autoptr(WorldUser) thief = world_user_new(300, "thief");
  g_assert_cmpuint(fake_directory_sequence(world.alice->user), >, 0);
  g_assert_cmpint(try_bind(world.alice, world.bob->user, 9), ==, EACCES);
  thief->binding.clone_key = *identity_key_public(world.alice->user->clone);
  memcpy(thief->binding.clone, world.alice->user->binding.clone, sizeof thief->binding.clone);
  g_clear_pointer(&thief->hosting, g_bytes_unref);
  thief->hosting = record_sign_hosting(thief->provider, thief->binding.clone, &thief->binding.clone_key, 1);
  g_assert_cmpint(try_bind(world.alice, thief, 9), ==, EACCES);
  clone_bind(world.alice, 5);
  g_assert_cmpint(try_bind(world.alice, world.alice->user, 4), ==, EACCES);
  clone_bind(world.alice, 5);
}

static DirectoryStatus
bind_status(WorldClone *clone, const WorldUser *user, guint64 serial)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) answer = NULL, body = world_bind(user, serial);
  g_autoptr(Record) told = world_record(user, serial, 0, NULL);
  g_assert_cmpint(clone_ask_bytes(clone, NODE_BIND_VERB, body, &answer), ==, 0);
  g_autoptr(NodeBound) bound =
      node_bound_decode(g_bytes_get_data(answer, NULL), g_bytes_get_size(answer), told, &error);
  g_assert_no_error(error);
  return bound->status;
}

/* A name that is another's costs nobody the name that they have; and a clone that was never registered is
 * free for another user of its device. */
static void
test_refused_bind(void)
{
  g_auto(World) world = world_new();
  const char *name = world.alice->user->binding.name;
  guint64 before = fake_directory_sequence(world.alice->user);
  world.alice->user->binding.name = FAKE_NAME_TAKEN;
  g_assert_cmpint(bind_status(world.alice, world.alice->user, 6), ==, DIRECTORY_STATUS(TAKEN));
  world.alice->user->binding.name = name;
  for (int i = 0; fake_directory_sequence(world.alice->user) <= before; i++) {
    g_assert_cmpint(i, <, 3000); /* registered again, as it was */
    g_usleep(20000);
  }
  g_assert_cmpint(bind_status(world.alice, world.alice->user, 5), ==, DIRECTORY_STATUS(OK));

  WorldClone *carol = clone_new(400, "carol");
  carol->user->binding.name = FAKE_NAME_TAKEN;
  g_assert_cmpint(bind_status(carol, carol->user, 1), ==, DIRECTORY_STATUS(TAKEN));
  g_autoptr(WorldUser) anew = world_user_new(401, "dora");
  anew->binding.clone_key = carol->user->binding.clone_key;
  anew->binding.expires = carol->user->binding.expires;
  memcpy(anew->binding.clone, carol->user->binding.clone, sizeof anew->binding.clone);
  g_clear_pointer(&anew->hosting, g_bytes_unref);
  anew->hosting = record_sign_hosting(anew->provider, anew->binding.clone, &anew->binding.clone_key, 1);
  g_assert_cmpint(bind_status(carol, anew, 1), ==, DIRECTORY_STATUS(OK));
  clone_free(carol);
}

static void
test_permissions(void)
{
  g_auto(World) world = world_new();
  assert_refused(world.alice, "bob", "echo", EACCES);
  assert_refused(world.alice, "bob", "nothing", EACCES);
  clone_permit(world.bob, "allow", "alice", "echo", "");
  assert_echoes(world.alice, "bob", "echo");
  assert_refused(world.alice, "bob", "mine", EACCES);
  assert_refused(world.bob, "alice", "echo", EACCES);
  clone_permit(world.bob, "allow", "alice", "*", "");
  assert_refused(world.alice, "bob", "mine", EACCES);
  assert_refused(world.alice, "bob", "nothing", ENOENT);
  assert_echoes(world.bob, "", "mine");
  assert_echoes(world.bob, "bob", "mine");
  clone_permit(world.bob, "deny", "alice", "echo", "");
  assert_refused(world.alice, "bob", "echo", EACCES);
  assert_refused(world.alice, "nobody", "echo", ENOENT);
}

/* What was said of everybody is forgotten for everybody only: no group has an empty name. */
static void
test_forgotten_permission(void)
{
  g_auto(World) world = world_new();
  Doppel__Wire__ControlPermit permit = DOPPEL__WIRE__CONTROL_PERMIT__INIT;
  clone_permit(world.bob, "allow", "*", "echo", "");
  permit.subject = (char *)"@";
  permit.service = (char *)"echo";
  permit.forget = TRUE;
  g_assert_cmpint(clone_ask(world.bob, "allow", &permit.base, NULL), !=, 0);
  assert_echoes(world.alice, "bob", "echo");
  permit.subject = (char *)"*";
  g_assert_cmpint(clone_ask(world.bob, "allow", &permit.base, NULL), ==, 0);
  assert_refused(world.alice, "bob", "echo", EACCES);
}

static void
test_limit_of_streams(void)
{
  g_auto(World) world = world_new();
  clone_permit(world.bob, "allow", "alice", "echo", "streams=2");
  g_auto(Fd) first = clone_dial(world.alice, "bob", "echo");
  int second = clone_dial(world.alice, "bob", "echo");
  g_assert_true(echoes(first, "x") && echoes(second, "y"));
  assert_refused(world.alice, "bob", "echo", EAGAIN);
  close(second);
  int fd = -1;
  for (guint i = 0; i < 3000 && fd < 0; i++) {
    fd = clone_dial(world.alice, "bob", "echo");
    g_usleep(20000);
  }
  g_assert_true(echoes(fd, "z"));
  close(fd);
}

/* What is open is so to everybody, until the owner says no; and whoever has many users takes no more than a
 * part of the clone's processes. */
static void
test_open(void)
{
  g_auto(World) world = world_new();
  g_autoptr(WorldClone) carol = clone_bound(300, "carol"), dave = clone_bound(400, "dave");
  g_autoptr(GArray) held = g_array_new(FALSE, FALSE, sizeof(int));
  WorldClone *const many[] = {world.alice, carol};
  for (guint i = 0; i < SERVICE_OPEN_MAX; i++) {
    int fd = clone_dial(many[i % 2], "bob", "open");
    g_assert_true(echoes(fd, "hello"));
    g_array_append_val(held, fd);
  }
  assert_refused(world.alice, "bob", "open", EAGAIN);
  assert_refused(dave, "bob", "open", EAGAIN);
  clone_permit(world.bob, "allow", "dave", "open", "");
  assert_echoes(dave, "bob", "open");
  clone_permit(world.bob, "deny", "dave", "open", "");
  assert_refused(dave, "bob", "open", EACCES);
  clone_permit(world.bob, "deny", "*", "*", "");
  assert_refused(carol, "bob", "open", EACCES);
  for (guint i = 0; i < held->len; i++)
    close(g_array_index(held, int, i));
}

/* How many streams and processes there are. */
static Doppel__Wire__ControlStatus *
read_status(WorldClone *clone)
{
  g_autoptr(GBytes) nothing = g_bytes_new(NULL, 0), answer = NULL;
  gsize length;
  g_assert_cmpint(clone_ask_bytes(clone, "status", nothing, &answer), ==, 0);
  const guint8 *bytes = g_bytes_get_data(answer, &length);
  Doppel__Wire__ControlStatus *status = doppel__wire__control_status__unpack(NULL, length, bytes);
  g_assert_nonnull(status);
  return status;
}

static void
assert_processes_left(WorldClone *clone, guint processes)
{
  guint streams = 1;
  for (guint i = 0; streams > 0; i++) {
    Doppel__Wire__ControlStatus *status = read_status(clone);
    streams = status->streams;
    g_assert_cmpuint(status->processes, ==, processes);
    doppel__wire__control_status__free_unpacked(status, NULL);
    g_assert_cmpuint(i, <, 3000);
    g_usleep(20000);
  }
}

/* Who leaves at once counts for as long as the process goes on that answers them. */
static void
test_open_left(void)
{
  g_auto(World) world = world_new();
  g_autoptr(GPtrArray) many = g_ptr_array_new_with_free_func((GDestroyNotify)clone_free);
  for (guint i = 1; i <= SERVICE_OPEN_MAX / 4; i++) {
    g_autofree char *name = g_strdup_printf("user%u", i);
    WorldClone *clone = clone_bound(200 + 100 * i, name);
    g_ptr_array_add(many, clone);
    for (guint j = 0; j < 4; j++)
      assert_echoes(clone, "bob", "stay");
    assert_processes_left(world.bob, 4 * i);
    assert_refused(clone, "bob", "stay", EAGAIN);
  }
  assert_refused(world.alice, "bob", "stay", EAGAIN);
  assert_refused(world.alice, "bob", "open", EAGAIN);
  assert_echoes(world.bob, "", "mine");
}

/* A program of bob's offers something; the other end is who it says. */
static void
test_listener(void)
{
  g_auto(World) world = world_new();
  C2cPeer peer;
  char *why = NULL;
  C2c *c2c = c2c_open(world.bob->socket, &why);
  C2cListener *listener = c2c_listen(c2c, "message:chat", &why);
  g_assert_nonnull(listener);
  g_assert_null(c2c_listen(c2c, "message:chat", NULL));
  g_assert_null(c2c_listen(c2c, "echo", NULL));
  assert_refused(world.alice, "bob", "message:chat", EACCES);
  clone_permit(world.bob, "allow", "alice", "message:*", "");
  g_auto(Fd) near = clone_dial(world.alice, "bob", "message:chat");
  g_auto(Fd) far = c2c_accept(listener, &peer);
  g_assert_cmpint(near, >=, 0);
  g_assert_cmpint(far, >=, 0);
  g_assert_cmpstr(peer.name, ==, "alice");
  g_assert_cmpmem(peer.origin, 32, world.alice->user->binding.origin.bytes, 32);
  g_assert_cmpmem(peer.clone, 32, identity_key_public(world.alice->user->clone)->bytes, 32);
  g_assert_true(io_write_all(near, "x", 1));
  char byte = 0;
  g_assert_cmpint(read(far, &byte, 1), ==, 1);
  c2c_listener_close(listener);
  c2c_close(c2c);
  /* Bob's node has heard of the end when it comes to that. */
  for (guint i = 0; i < 3000; i++) {
    g_auto(Fd) late = clone_dial(world.alice, "bob", "message:chat");
    if (late < 0 && errno == ENOENT)
      return;
    g_usleep(20000);
  }
  g_assert_not_reached();
}

static guint
count_links(WorldClone *clone, const char *name)
{
  g_autoptr(GBytes) answer = NULL;
  g_assert_cmpint(clone_ask(clone, "peers", NULL, &answer), ==, 0);
  Doppel__Wire__ControlPeers *peers =
      doppel__wire__control_peers__unpack(NULL, g_bytes_get_size(answer), g_bytes_get_data(answer, NULL));
  guint links = peers->n_peers;
  for (guint i = 0; i < links; i++)
    g_assert_cmpstr(peers->peers[i]->name, ==, name);
  doppel__wire__control_peers__free_unpacked(peers, NULL);
  return links;
}

/* Both dial at once, many times. */
static void
test_both(void)
{
  g_auto(World) world = world_new();
  clone_permit(world.alice, "allow", "*", "echo", "");
  clone_permit(world.bob, "allow", "*", "echo", "");
  pid_t child = fork();
  if (child == 0) {
    for (guint i = 0; i < 20; i++)
      assert_echoes(world.alice, "bob", "echo");
    _exit(0);
  }
  for (guint i = 0; i < 20; i++)
    assert_echoes(world.bob, "alice", "echo");
  int status;
  g_assert_cmpint(waitpid(child, &status, 0), ==, child);
  g_assert_cmpint(status, ==, 0);
  /* The surplus link ends. */
  guint links = 2;
  for (guint i = 0; i < 1200 && links != 1; i++) {
    g_usleep(50000);
    links = count_links(world.alice, "bob");
  }
  g_assert_cmpuint(links, ==, 1);
}

/* A clone that moves is found again, and its streams go on. */
static void
test_move(void)
{
  g_auto(World) world = world_new();
  clone_permit(world.bob, "allow", "alice", "echo", "");
  g_auto(Fd) fd = clone_dial(world.alice, "bob", "echo");
  g_assert_true(echoes(fd, "before"));
  guint64 sequence = fake_directory_sequence(world.bob->user);
  clone_move(world.bob);
  g_assert_true(echoes(fd, "after"));
  g_assert_cmpuint(fake_directory_sequence(world.bob->user), >, sequence);
  /* Who did not look meanwhile finds it, too. */
  assert_echoes(world.alice, "bob", "echo");
}

/* What is remembered serves while no directory answers. */
static void
test_directory_away(void)
{
  g_auto(World) world = world_new();
  clone_permit(world.bob, "allow", "alice", "echo", "");
  assert_echoes(world.alice, "bob", "echo");
  fake_directory_away(TRUE);
  assert_echoes(world.alice, "bob", "echo");
  assert_refused(world.alice, "carol", "echo", EHOSTUNREACH);
  fake_directory_away(FALSE);
}

static void
test_peer_away(void)
{
  g_auto(World) world = world_new();
  clone_permit(world.bob, "allow", "alice", "echo", "");
  clone_kill(world.bob);
  assert_refused(world.alice, "bob", "echo", EHOSTUNREACH);
}

/* Bob's clone is killed, and begins anew where it was: it knows nothing of its links, whoever had dialled
 * them, and new streams do not wait for these. */
static void
test_begun_anew(void)
{
  for (guint from_bob = 0; from_bob < 2; from_bob++) {
    g_auto(World) world = world_new();
    clone_permit(world.alice, "allow", "bob", "echo", "");
    clone_permit(world.bob, "allow", "alice", "echo", "");
    if (from_bob)
      assert_echoes(world.bob, "alice", "echo");
    else
      assert_echoes(world.alice, "bob", "echo");
    clone_kill(world.bob);
    clone_revive(world.bob);
    assert_echoes(world.alice, "bob", "echo");
  }
}

/* A link to bob's clone as somebody else, who says what he likes. */
static Link *
dial_raw(World *world, const IdentityKey *own)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *address = clone_address(world->bob);
  const char *const addresses[] = {address, NULL};
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.purpose = WIRE_PURPOSE_PEER;
  options.compression = -1;
  options.resume_ms = 0;
  Link *link = link_dial(addresses, own, identity_key_public(world->bob->user->clone),
                         world->bob->user->binding.clone, &options, &error);
  g_assert_no_error(error);
  return link;
}

static void
send_control(Link *link, const Doppel__Wire__MuxControl *control)
{
  gsize length = doppel__wire__mux_control__get_packed_size(control);
  g_autofree guint8 *bytes = g_malloc(length);
  doppel__wire__mux_control__pack(control, bytes);
  struct iovec piece = {bytes, length};
  g_assert_true(link_send(link, C2C_CHANNEL, &piece, 1, NULL));
}

/* Nothing but refusals comes, and then the end. */
static void
assert_thrown_out(Link *link)
{
  g_autoptr(GError) error = NULL;
  for (;;) {
    g_autoptr(LinkMessage) message = link_await(link, 60000, &error);
    if (!message)
      break;
    g_assert_cmpuint(message->channel, ==, C2C_CHANNEL);
    Doppel__Wire__MuxControl *control =
        doppel__wire__mux_control__unpack(NULL, message->length, message->data);
    g_assert_nonnull(control);
    g_assert_cmpint(control->what_case, !=, DOPPEL__WIRE__MUX_CONTROL__WHAT_ACCEPTED);
    doppel__wire__mux_control__free_unpacked(control, NULL);
  }
  g_assert_cmpint(link_state(link), ==, LINK_DEAD);
}

static void
introduce(Link *link, const WorldUser *user)
{
  g_autoptr(GError) error = NULL;
  Doppel__Wire__MuxControl control = DOPPEL__WIRE__MUX_CONTROL__INIT;
  Doppel__Wire__MuxIntroduce message = DOPPEL__WIRE__MUX_INTRODUCE__INIT;
  static const char *const addresses[] = {"127.0.0.1:9", NULL};
  gint64 now = clock_unix_time();
  RecordBinding binding = user->binding;
  binding.serial = 1;
  binding.expires = now + 1000;
  g_autoptr(GBytes) bound = record_sign_binding(user->key, &binding);
  g_autoptr(GBytes) whereabouts = record_sign_whereabouts(user->clone, addresses, 1, now, now + 1000);
  g_autoptr(Record) record = record_assemble(user->root, NULL, 0, bound, user->hosting, whereabouts, &error);
  g_assert_no_error(error);
  message.record.data = (guint8 *)g_bytes_get_data(record->bytes, &message.record.len);
  control.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_INTRODUCE;
  control.introduce = &message;
  send_control(link, &control);
}

static void
open_stream(Link *link)
{
  Doppel__Wire__MuxControl control = DOPPEL__WIRE__MUX_CONTROL__INIT;
  Doppel__Wire__MuxOpen message = DOPPEL__WIRE__MUX_OPEN__INIT;
  message.stream = 2;
  message.service = (char *)"echo";
  message.window = MUX_WINDOW_FIRST;
  control.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_OPEN;
  control.open = &message;
  send_control(link, &control);
}

static void
test_strangers(void)
{
  g_auto(World) world = world_new();
  g_autoptr(IdentityKey) key = world_key(999);
  g_autoptr(WorldUser) carol = world_user_new(400, "carol");
  clone_permit(world.bob, "allow", "*", "echo", "");
  /* One who does not say who he is. */
  Link *silent = dial_raw(&world, key);
  open_stream(silent);
  assert_thrown_out(silent);
  link_free(silent);
  /* One who says that he is alice. */
  Link *liar = dial_raw(&world, key);
  introduce(liar, world.alice->user);
  open_stream(liar);
  assert_thrown_out(liar);
  link_free(liar);
  /* Nonsense. */
  Link *mad = dial_raw(&world, key);
  struct iovec piece = {(char *)"\xff\xff\xff", 3};
  g_assert_true(link_send(mad, C2C_CHANNEL, &piece, 1, NULL));
  assert_thrown_out(mad);
  link_free(mad);
  /* One who is who he says, and may do what everybody may. */
  Link *honest = dial_raw(&world, carol->clone);
  introduce(honest, carol);
  open_stream(honest);
  gboolean accepted = FALSE;
  while (!accepted) {
    g_autoptr(GError) error = NULL;
    g_autoptr(LinkMessage) message = link_await(honest, 60000, &error);
    g_assert_no_error(error);
    Doppel__Wire__MuxControl *control =
        doppel__wire__mux_control__unpack(NULL, message->length, message->data);
    accepted = control->what_case == DOPPEL__WIRE__MUX_CONTROL__WHAT_ACCEPTED;
    doppel__wire__mux_control__free_unpacked(control, NULL);
  }
  link_free(honest);
  assert_echoes(world.alice, "bob", "echo");
}

/* The clone was lost, and the user has another: whoever has the old one's key is nobody. */
static void
test_lost_clone(void)
{
  g_auto(World) world = world_new();
  g_autoptr(WorldUser) carol = world_user_new(400, "carol");
  clone_permit(world.bob, "allow", "*", "echo", "");
  /* The directory knows carol with a newer binding, of another clone. */
  g_autoptr(WorldClone) anew = clone_new(400, "carol");
  g_autoptr(IdentityKey) old = world_key(402);
  identity_key_free(anew->user->clone);
  anew->user->clone = world_key(450);
  Link *thief = NULL;
  {
    g_autoptr(GError) error = NULL;
    gint64 now = clock_unix_time();
    static const char *const addresses[] = {"127.0.0.1:9", NULL};
    RecordBinding binding = anew->user->binding;
    binding.serial = 2;
    binding.expires = now + 1000;
    binding.clone_key = *identity_key_public(anew->user->clone);
    g_autoptr(GBytes) hosting =
        record_sign_hosting(anew->user->provider, binding.clone, &binding.clone_key, now);
    g_autoptr(GBytes) bound = record_sign_binding(anew->user->key, &binding);
    g_autoptr(GBytes) whereabouts = record_sign_whereabouts(anew->user->clone, addresses, 1, now, now + 1000);
    g_autoptr(Record) record =
        record_assemble(anew->user->root, NULL, 0, bound, hosting, whereabouts, &error);
    g_assert_no_error(error);
    g_autofree char *text = identity_public_to_text(&record->origin);
    g_autofree char *path = g_strconcat(fake_directory, "/", text, ".record", NULL);
    g_assert_true(g_file_set_contents(path, g_bytes_get_data(record->bytes, NULL),
                                      g_bytes_get_size(record->bytes), NULL));
    thief = dial_raw(&world, old);
  }
  introduce(thief, carol);
  open_stream(thief);
  assert_thrown_out(thief);
  link_free(thief);
}

/* Connections that say nothing keep nobody out. */
static void
test_flood(void)
{
  g_auto(World) world = world_new();
  clone_permit(world.bob, "allow", "alice", "echo", "");
  g_auto(Fd) before = clone_dial(world.alice, "bob", "echo");
  g_assert_true(echoes(before, "x"));
  g_autofree char *address = clone_address(world.bob);
  struct sockaddr_in where = {.sin_family = AF_INET,
                              .sin_port = htons(atoi(strchr(address, ':') + 1)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
  for (guint i = 0; i < 100; i++) {
    WirePreamble preamble = {.purpose = WIRE_PURPOSE_PEER};
    guint8 bytes[WIRE_PREAMBLE_LENGTH];
    memcpy(preamble.clone, world.bob->user->binding.clone, sizeof preamble.clone);
    memcpy(preamble.session, &i, sizeof i);
    wire_preamble_encode(bytes, &preamble);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&where, sizeof where), ==, 0);
    g_assert_true(io_write_all(fd, bytes, sizeof bytes));
    g_array_append_val(fds, fd);
  }
  g_assert_true(echoes(before, "y"));
  assert_echoes(world.alice, "bob", "echo");
  for (guint i = 0; i < fds->len; i++)
    close(g_array_index(fds, int, i));
}

static void
make_group(WorldClone *clone, const char *a, const char *b)
{
  char *users[] = {(char *)a, (char *)b};
  for (guint i = 0; i < G_N_ELEMENTS(users); i++) {
    Doppel__Wire__ControlContactEdit contact = DOPPEL__WIRE__CONTROL_CONTACT_EDIT__INIT;
    contact.user = users[i];
    g_assert_cmpint(clone_ask(clone, "contact", &contact.base, NULL), ==, 0);
  }
  Doppel__Wire__ControlGroupEdit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__CREATE;
  edit.group = (char *)"team";
  edit.users = users;
  edit.n_users = G_N_ELEMENTS(users);
  g_assert_cmpint(clone_ask(clone, "group", &edit.base, NULL), ==, 0);
}

static void
send_to_team(WorldClone *clone, const char *words)
{
  Doppel__Wire__ControlGroupEdit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SEND;
  edit.group = (char *)"team";
  edit.message = (ProtobufCBinaryData){strlen(words), (guint8 *)words};
  g_assert_cmpint(clone_ask(clone, "group", &edit.base, NULL), ==, 0);
}

static void
assert_gets(C2cListener *listener, const char *from, const char *words)
{
  C2cPeer peer;
  char bytes[100] = "";
  g_auto(Fd) fd = c2c_accept(listener, &peer);
  g_assert_cmpint(fd, >=, 0);
  g_assert_cmpint(io_read_all(fd, bytes, sizeof bytes - 1), >=, 0);
  g_assert_cmpstr(peer.name, ==, from);
  g_assert_cmpstr(bytes, ==, words);
}

/* Somebody who does not read keeps a program waiting as long as that will, and nobody else. */
static void
test_unread(void)
{
  g_auto(World) world = world_new();
  const struct timeval patience = {.tv_usec = 200000};
  static const guint8 bytes[65536];
  gsize most = 64u << 20, written = 0;
  ssize_t put;
  C2cPeer peer;
  clone_permit(world.bob, "allow", "alice", "*", "");
  C2c *c2c = c2c_open(world.bob->socket, NULL);
  C2cListener *listener = c2c_listen(c2c, "message:chat", NULL);
  g_assert_nonnull(listener);
  g_auto(Fd) fd = clone_dial(world.alice, "bob", "message:chat");
  g_auto(Fd) unread = c2c_accept(listener, &peer);
  g_assert_cmpint(unread, >=, 0);
  g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), ==, 0);
  while ((put = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL)) > 0 && written < most)
    written += put;
  g_assert_cmpint(put, <, 0);
  g_assert_cmpint(errno, ==, EAGAIN);
  assert_echoes(world.alice, "bob", "echo");
  c2c_listener_close(listener);
  c2c_close(c2c);
}

/* A message gets to all members once, also when one is away, and to nobody else; nor from anybody else. */
static void
test_group(void)
{
  g_auto(World) world = world_new();
  g_autoptr(WorldClone) carol = clone_bound(400, "carol"), dave = clone_bound(500, "dave");
  make_group(world.alice, "bob", "carol");
  make_group(world.bob, "alice", "carol");
  make_group(carol, "alice", "bob");
  make_group(dave, "alice", "bob");
  C2c *for_bob = c2c_open(world.bob->socket, NULL), *for_carol = c2c_open(carol->socket, NULL);
  C2cListener *bobs = c2c_listen(for_bob, "group:team", NULL),
              *carols = c2c_listen(for_carol, "group:team", NULL);
  send_to_team(world.alice, "first");
  assert_gets(bobs, "alice", "first");
  assert_gets(carols, "alice", "first");
  send_to_team(dave, "let me in");
  assert_refused(dave, "bob", "group", EACCES);
  clone_permit(world.bob, "allow", "dave", "*", "");
  assert_refused(dave, "bob", "group:team", EACCES);
  send_to_team(carol, "second");
  assert_gets(bobs, "carol", "second");
  clone_kill(world.alice);
  send_to_team(carol, "third");
  assert_gets(bobs, "carol", "third");
  struct pollfd more[] = {{.fd = c2c_listener_fd(bobs), .events = POLLIN},
                          {.fd = c2c_listener_fd(carols), .events = POLLIN}};
  g_assert_cmpint(poll(more, 2, 500), ==, 0);
  c2c_listener_close(bobs);
  c2c_listener_close(carols);
  c2c_close(for_bob);
  c2c_close(for_carol);
}

/* A program of bob's that listens to the group. */
typedef struct {
  C2c *c2c;
  C2cListener *listener;
} Program;

static Program
program_new(WorldClone *clone)
{
  Program program = {.c2c = c2c_open(clone->socket, NULL)};
  g_assert_nonnull(program.c2c);
  program.listener = c2c_listen(program.c2c, "group:team", NULL);
  g_assert_nonnull(program.listener);
  return program;
}

static void
program_end(Program *program)
{
  c2c_listener_close(program->listener);
  c2c_close(program->c2c);
}

static void
await_stream(const Program *program)
{
  struct pollfd waits = {.fd = c2c_listener_fd(program->listener), .events = POLLIN};
  g_assert_cmpint(poll(&waits, 1, 60000), ==, 1);
}

/* A message is a program's when it was read to its end and closed: until then the next that listens gets it,
 * whether the program has gone or the clone began anew. */
static void
test_group_kept(void)
{
  g_auto(World) world = world_new();
  g_autoptr(WorldClone) carol = clone_bound(400, "carol");
  make_group(world.alice, "bob", "carol");
  make_group(world.bob, "alice", "carol");
  send_to_team(world.alice, "first");
  Program program = program_new(world.bob);
  await_stream(&program); /* and does not take it */
  program_end(&program);
  program = program_new(world.bob);
  char some[3];
  int fd = c2c_accept(program.listener, NULL);
  g_assert_cmpint(read(fd, some, sizeof some), ==, sizeof some); /* not all of it */
  program_end(&program);
  close(fd);
  program = program_new(world.bob);
  await_stream(&program);
  assert_gets(program.listener, "alice", "first");
  send_to_team(world.alice, "second");
  await_stream(&program);
  assert_gets(program.listener, "alice", "second");
  send_to_team(world.alice, "third");
  await_stream(&program);
  clone_kill(world.bob);
  program_end(&program);
  clone_revive(world.bob);
  program = program_new(world.bob);
  await_stream(&program);
  assert_gets(program.listener, "alice", "third");
  program_end(&program);
}

/* A program that closes nothing is given no more than so many; and the others when it closes. */
static void
test_group_many(void)
{
  enum { MANY = 100 };
  g_auto(World) world = world_new();
  g_autoptr(WorldClone) carol = clone_bound(400, "carol");
  make_group(world.alice, "bob", "carol");
  make_group(world.bob, "alice", "carol");
  Program program = program_new(world.bob);
  gboolean got[MANY] = {FALSE};
  int fds[MANY];
  guint held = 0;
  for (guint i = 0; i < MANY; i++) {
    g_autofree char *words = g_strdup_printf("%u", i);
    send_to_team(world.alice, words);
  }
  for (guint i = 0; i < MANY; i++) {
    char words[8] = "";
    await_stream(&program);
    fds[held] = c2c_accept(program.listener, NULL);
    g_assert_cmpint(io_read_all(fds[held++], words, sizeof words - 1), >, 0);
    g_assert_cmpuint(atoi(words), <, MANY);
    g_assert_false(got[atoi(words)]);
    got[atoi(words)] = TRUE;
    for (; i >= 63 && held > 0; held--)
      close(fds[held - 1]);
  }
  program_end(&program);
}

/* Somebody else answers at the address that bob's record says: he has not bob's key. */
static void
test_man_in_the_middle(void)
{
  g_auto(World) world = world_new();
  clone_permit(world.bob, "allow", "alice", "echo", "");
  /* His clone has bob's id, so that only the key tells them apart. */
  g_autoptr(WorldUser) bob = world_user_new(200, "bob");
  WorldClone *mallory = clone_as(600, "mallory", bob->binding.clone);
  g_autofree char *address = clone_address(mallory);
  guint64 sequence = fake_directory_sequence(world.bob->user);
  g_assert_true(g_file_set_contents(world.bob->address_file, address, -1, NULL));
  for (guint i = 0; fake_directory_sequence(world.bob->user) == sequence; i++) {
    g_assert_cmpuint(i, <, 6000);
    g_usleep(10000);
  }
  assert_refused(world.alice, "bob", "echo", EHOSTUNREACH);
  /* What is told fits clones, not devices, which are paired with theirs. */
  g_autofree char *words = clone_dial_words(world.alice, "bob", "echo");
  g_assert_nonnull(strstr(words, "is not bob's clone"));
  g_assert_null(strstr(words, "pair"));
  clone_free(mallory);
}

int
main(int argc, char **argv)
{
  signal(SIGPIPE, SIG_IGN);
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/node/bind", test_bind);
  g_test_add_func("/node/refused-bind", test_refused_bind);
  g_test_add_func("/node/permissions", test_permissions);
  g_test_add_func("/node/forgotten-permission", test_forgotten_permission);
  g_test_add_func("/node/limit-of-streams", test_limit_of_streams);
  g_test_add_func("/node/open", test_open);
  g_test_add_func("/node/open-left", test_open_left);
  g_test_add_func("/node/listener", test_listener);
  g_test_add_func("/node/both", test_both);
  g_test_add_func("/node/move", test_move);
  g_test_add_func("/node/directory-away", test_directory_away);
  g_test_add_func("/node/peer-away", test_peer_away);
  g_test_add_func("/node/begun-anew", test_begun_anew);
  g_test_add_func("/node/strangers", test_strangers);
  g_test_add_func("/node/lost-clone", test_lost_clone);
  g_test_add_func("/node/flood", test_flood);
  g_test_add_func("/node/unread", test_unread);
  g_test_add_func("/node/group", test_group);
  g_test_add_func("/node/group-kept", test_group_kept);
  g_test_add_func("/node/group-many", test_group_many);
  g_test_add_func("/node/man-in-the-middle", test_man_in_the_middle);
  return g_test_run();
}
