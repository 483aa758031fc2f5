/* A node, and whoever links to it and introduces themselves, in any order: with their own record, an older
 * one, that of a clone that was lost, another's, or bytes; before, while and after the directory is asked,
 * which answers late, with what is newer or nothing; while links come again, streams are opened, and others
 * introduce themselves as the same user. Whoever is taken for a user's clone has the key of the newest record
 * that the node knows of them, and nobody else's streams reach a program.
 *
 * The linker gives the node this file's links, directory and clock: see meson.build. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "c2c/mux_state.h"
#include "c2c/node_private.h"
#include "link/pass.h"
#include "people.h"
#include "record_world.h"
#include "sockets.h"

#define STEPS     60
#define USERS     3u
#define KINDS     6u
#define STRANGERS 2u
#define KEYS      (2 * USERS + STRANGERS) /* of clones: each user's first, each user's second, strangers' */
#define ENDS      48u
#define ASKED_MAX 8u /* questions to the directory until it is busy */
#define SECOND    G_GINT64_CONSTANT(1000000000)

/* The other end of a link of the node's. */
typedef struct {
  const Link *link; /* the node's */
  Link *own;        /* NULL: hung up */
  guint key;
  gboolean dialler;
  guint32 next; /* the number of its next stream */
} End;

typedef struct {
  NodeFound found;
  void *data;
  IdentityPublic origin;
} Question;

typedef struct {
  Node node;
  NodeConfig config;
  int control; /* by which the node gets sockets */
  End ends[ENDS];
  guint count;
  guint key;      /* of who comes next */
  guint8 session; /* likewise */
  GArray *questions;
  LinkCallerSource source;
  gint64 now;
  Input input;
} World;
static World world;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static const IdentityKey *
clone_of(guint key)
{
  static IdentityKey *keys[KEYS];
  if (!keys[key])
    keys[key] = world_key(100 + key);
  return keys[key];
}

/* Kinds: 0 the first clone's, 1 the same later, 2 it is revoked, 3 the second clone's, 4 the same later, 5 it
 * was signed by who found a key that the user has no more. */
static Record *
record_of(guint user, guint kind)
{
  static Record *records[USERS][KINDS];
  static const struct {
    guint serial, sequence, successions, clone;
  } kinds[KINDS] = {{1, 1, 0, 0}, {1, 2, 0, 0}, {2, 0, 0, 0}, {3, 1, 1, 1}, {3, 2, 1, 1}, {9, 1, 0, 0}};
  static const char *const names[USERS] = {"alice", "bob", "carol"};
  if (records[user][kind])
    return records[user][kind];
  g_autoptr(WorldUser) made = world_user_new(10 * (user + 1), names[user]);
  identity_key_free(made->clone);
  made->clone = world_key(100 + user + USERS * kinds[kind].clone);
  made->binding.clone_key = *identity_key_public(made->clone);
  made->binding.clone[0] ^= kinds[kind].clone;
  made->binding.revoked = kind == 2;
  g_bytes_unref(made->hosting);
  made->hosting =
      record_sign_hosting(made->provider, made->binding.clone, &made->binding.clone_key, WORLD_TIME);
  if (kinds[kind].successions > 0)
    world_succeed(made, 5000 + 10 * user, TRUE);
  records[user][kind] = world_record(made, kinds[kind].serial, kinds[kind].sequence, NULL);
  demand(records[user][kind] != NULL);
  return records[user][kind];
}

/* ---- what the node stands on ---- */

static Link *
make_link(guint key, gboolean dialler)
{
  int ends[2];
  demand(world.count < ENDS && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Link *link = link_new_local(ends[0]);
  world.ends[world.count++] = (End){link, link_new_local(ends[1]), key, dialler, dialler ? 2 : 1};
  return link;
}

Link *
__wrap_link_accept_later(const LinkPreamble *preamble, const IdentityKey *own, const IdentityPublic *peer,
                         const LinkOptions *options, GError **error)
{
  return make_link(world.key, TRUE);
}

Link *
__wrap_link_dial_later(const char *const *addresses, const IdentityKey *own, const IdentityPublic *peer,
                       const guint8 clone[16], const LinkOptions *options, GError **error)
{
  for (guint key = 0; key < KEYS; key++)
    if (identity_public_equal(identity_key_public(clone_of(key)), peer))
      return world.count < ENDS ? make_link(key, FALSE) : NULL;
  __builtin_trap();
}

gboolean
__wrap_link_resume(Link *link, int fd, GError **error)
{
  close(fd);
  return TRUE;
}

const IdentityPublic *
__wrap_link_peer(const Link *link)
{
  for (guint i = world.count; i-- > 0;)
    if (world.ends[i].link == link)
      return identity_key_public(clone_of(world.ends[i].key));
  __builtin_trap();
}

void
__wrap_link_set_addresses(Link *link, const char *const *addresses)
{
}

LinkCallerSource
__wrap_link_caller_source_of(const struct sockaddr_storage *address)
{
  return world.source;
}

gint64
__wrap_clock_now_ns(void)
{
  return world.now;
}

void
__wrap_node_directory_find_origin(NodeDirectory *directory, const IdentityPublic *origin, gboolean fresh,
                                  NodeFound found, void *data)
{
  Question question = {found, data, *origin};
  g_array_append_val(world.questions, question);
}

gboolean
__wrap_node_directory_is_busy(NodeDirectory *directory)
{
  return world.questions->len >= ASKED_MAX;
}

/* What the directory's cache may take as shown by its owner. */
void
__wrap_node_directory_learn(NodeDirectory *directory, Record *record)
{
  demand(!record->revoked && record->expires > clock_unix_time());
}

GPtrArray *
__wrap_node_directory_heads(NodeDirectory *directory)
{
  GPtrArray *heads = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  g_ptr_array_add(heads, g_bytes_new_static("head", 4));
  return heads;
}

void
__wrap_node_directory_seen(NodeDirectory *directory, const ProtobufCBinaryData *heads, gsize count)
{
  guint sum = 0;
  for (gsize i = 0; i < count; i++)
    for (gsize at = 0; at < heads[i].len; at++)
      sum += heads[i].data[at];
  demand(sum <= 255u * 65536);
}

void
__wrap_node_groups_peer(Node *node, const IdentityPublic *origin)
{
}

const Service *
__wrap_spawner_service(const Spawner *spawner, const char *service)
{
  return NULL;
}

/* A program is given a stream: of a clone that is who it is said to be, and may. */
gboolean
__wrap_local_call_incoming(LocalCall *call, const LocalFrom *from, int fd)
{
  gboolean there = FALSE;
  for (guint i = 0; i < world.node.links->len; i++) {
    const NodeLink *link = world.node.links->pdata[i];
    there |= !link->ended && link->peer && identity_public_equal(&link->peer->origin, &from->origin) &&
             identity_public_equal(link_peer(mux_link(link->mux)), &from->clone_key);
  }
  demand(there && identity_public_equal(&from->origin, &record_of(0, 0)->origin));
  close(fd);
  return TRUE;
}

/* ---- what happens ---- */

static void
settle(void)
{
  for (guint i = 0; i < 400 && g_main_context_iteration(NULL, FALSE); i++)
    ;
}

static void
check_link(const NodeLink *link)
{
  const IdentityPublic *key = link_peer(mux_link(link->mux));
  demand(!link->claim || identity_public_equal(key, &link->claim->clone_key));
  demand(link->held->len == 0 || link->claim);
  demand(link->proved == (link->peer != NULL));
  if (!link->peer)
    return;
  const Record *record = link->peer->record;
  demand(record && !record->revoked && identity_public_equal(key, &record->clone_key));
}

static void
check_peer(const NodePeer *peer)
{
  guint count = 0;
  for (guint i = 0; i < world.node.links->len; i++) {
    const NodeLink *link = world.node.links->pdata[i];
    count += link->peer == peer && !link->ended;
  }
  demand(!peer->current || (peer->current->peer == peer && !peer->current->ended));
  demand(count <= NODE_LINKS_PEER + 1);
}

static void
check(void)
{
  GHashTableIter all;
  gpointer peer;
  guint unproved = 0;
  for (guint i = 0; i < world.node.links->len; i++) {
    const NodeLink *link = world.node.links->pdata[i];
    unproved += !link->ended && !link->peer;
    if (!link->ended)
      check_link(link);
  }
  demand(unproved <= NODE_UNPROVED_MAX);
  if (!world.node.peers)
    return;
  g_hash_table_iter_init(&all, world.node.peers);
  while (g_hash_table_iter_next(&all, NULL, &peer))
    check_peer(peer);
}

/* With a preamble that is one's own, the last one's, or none. */
static void
come(void)
{
  int ends[2];
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  LinkPreamble preamble = {.purpose = WIRE_PURPOSE_PEER};
  if (world.count == ENDS)
    return;
  world.key = input_below(&world.input, KEYS);
  world.source.bytes[0] = input_below(&world.input, 8);
  memcpy(preamble.clone, world.config.clone, sizeof preamble.clone);
  guint what = input_below(&world.input, 16);
  world.session += what > 0;
  preamble.session[0] = world.session;
  preamble.clone[0] ^= what == 1;
  wire_preamble_encode(bytes, &preamble);
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  demand(link_pass_send_with(world.control, ends[0], bytes, sizeof bytes - (what == 2), NULL));
  close(ends[0]);
  gboolean orphan;
  node_accept_sockets(&world.node, &orphan);
  demand(!orphan);
  close(ends[1]);
}

static End *
some_end(void)
{
  End *end = world.count ? &world.ends[input_number(&world.input, 1) % world.count] : NULL;
  return end && end->own ? end : NULL;
}

static void
say(End *end, const Doppel__Wire__MuxControl *control)
{
  gsize length = doppel__wire__mux_control__get_packed_size(control);
  g_autofree guint8 *packed = g_malloc(length + 1);
  doppel__wire__mux_control__pack(control, packed);
  link_send(end->own, C2C_CHANNEL, &(struct iovec){packed, length}, 1, NULL);
  link_work(end->own, NULL);
  for (LinkMessage *message; (message = link_take(end->own)); link_message_free(message))
    ;
}

static void
introduce(End *end)
{
  Input *input = &world.input;
  Doppel__Wire__MuxControl control = DOPPEL__WIRE__MUX_CONTROL__INIT;
  Doppel__Wire__MuxIntroduce message = DOPPEL__WIRE__MUX_INTRODUCE__INIT;
  guint user = input_below(input, 8) ? end->key % USERS : input_below(input, USERS);
  gsize length, size;
  const guint8 *bytes = g_bytes_get_data(record_of(user, input_below(input, KINDS))->bytes, &length);
  g_autofree guint8 *copy = g_memdup2(bytes, length);
  ProtobufCBinaryData heads[4];
  guint damage = input_below(input, 32);
  if (damage == 0)
    copy[input_number(input, 2) % length] ^= 1 << input_below(input, 8);
  else if (damage == 1)
    length = input_number(input, 2) % length;
  message.record = (ProtobufCBinaryData){length, copy};
  message.n_heads = input_below(input, 8) ? 0 : input_below(input, G_N_ELEMENTS(heads));
  for (guint i = 0; i < message.n_heads; i++) {
    const guint8 *head = input_bytes(input, input_number(input, 1), &size);
    heads[i] = (ProtobufCBinaryData){size, (guint8 *)head};
  }
  message.heads = heads;
  control.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_INTRODUCE;
  control.introduce = &message;
  say(end, &control);
}

static void
open_stream(End *end)
{
  static const char *const services[] = {"echo", "echo", "group:x", "none"};
  Doppel__Wire__MuxControl control = DOPPEL__WIRE__MUX_CONTROL__INIT;
  Doppel__Wire__MuxOpen open = DOPPEL__WIRE__MUX_OPEN__INIT;
  open.stream = end->next;
  open.window = MUX_WINDOW_FIRST;
  open.user = (char *)(input_below(&world.input, 16) ? "" : "u");
  open.service = (char *)services[input_below(&world.input, G_N_ELEMENTS(services))];
  control.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_OPEN;
  control.open = &open;
  end->next += 2;
  say(end, &control);
}

static void
reset_stream(End *end)
{
  Doppel__Wire__MuxControl control = DOPPEL__WIRE__MUX_CONTROL__INIT;
  Doppel__Wire__MuxReset reset = DOPPEL__WIRE__MUX_RESET__INIT;
  if (end->next <= 2)
    return;
  reset.stream = end->next - 2 * (1 + input_below(&world.input, (end->next - 1) / 2));
  control.what_case = DOPPEL__WIRE__MUX_CONTROL__WHAT_RESET;
  control.reset = &reset;
  say(end, &control);
}

/* A directory shows who is asked for, or nobody; an old one shows what is old. */
static void
answer(guint number, Record *record)
{
  g_autoptr(GError) error = NULL;
  NodeAnswer how = {0};
  Question question = g_array_index(world.questions, Question, number);
  g_array_remove_index(world.questions, number);
  if (!record)
    error = g_error_new_literal(DOPPEL_ERROR, DOPPEL_ERROR_GONE, "no directory answers");
  question.found(record, record ? &how : NULL, error, question.data);
}

static void
answer_some(void)
{
  if (world.questions->len == 0)
    return;
  guint number = input_number(&world.input, 1) % world.questions->len, kind = input_below(&world.input, 8);
  const IdentityPublic *origin = &g_array_index(world.questions, Question, number).origin;
  for (guint user = 0; user < USERS; user++)
    if (identity_public_equal(&record_of(user, 0)->origin, origin))
      answer(number, kind < KINDS ? record_of(user, kind) : NULL);
}

/* A program wants to reach a user whom the node knows. */
static void
dial(void)
{
  NodePeer *peer = node_peer(&world.node, &record_of(input_below(&world.input, USERS), 0)->origin, FALSE);
  if (!peer || !peer->record)
    return;
  node_peer_link(peer, NULL);
  if (input_below(&world.input, 2))
    node_peer_check(peer);
}

static void
pass_time(void)
{
  static const gint64 spans[] = {SECOND / 10, SECOND, 2 * SECOND, 11 * SECOND, 40 * SECOND, 700 * SECOND};
  world.now += spans[input_below(&world.input, G_N_ELEMENTS(spans))];
  node_peers_due(&world.node, world.now);
  node_peers_tick(&world.node, world.now);
}

static void
hang_up(End *end)
{
  g_clear_pointer(&end->own, link_free);
}

static void
say_bytes(End *end)
{
  gsize length;
  const guint8 *bytes = input_bytes(&world.input, input_number(&world.input, 1), &length);
  link_send(end->own, C2C_CHANNEL, &(struct iovec){(void *)bytes, length}, 1, NULL);
  link_work(end->own, NULL);
}

static void
step(void)
{
  guint what = input_below(&world.input, 16);
  End *end = what >= 6 ? some_end() : NULL;
  if (what <= 1)
    come();
  else if (what <= 3)
    answer_some();
  else if (what == 4)
    pass_time();
  else if (what == 5)
    dial();
  else if (!end)
    return;
  else if (what <= 10)
    introduce(end);
  else if (what <= 12)
    open_stream(end);
  else if (what == 13)
    reset_stream(end);
  else if (what == 14)
    hang_up(end);
  else
    say_bytes(end);
}

/* Nothing here changes them. */
static NodeStore *
permissions(void)
{
  static const NodeSubject everybody;
  static NodeStore *store;
  const NodeSubject alice = {.origin = &record_of(0, 0)->origin};
  if (store)
    return store;
  g_autofree char *directory = g_path_get_dirname(sockets_path("node.db"));
  store = node_store_open(directory, NULL);
  demand(store && node_store_permit(store, &everybody, "*", FALSE, "", 1, NULL) &&
         node_store_permit(store, &alice, "echo", TRUE, "", 1, NULL));
  return store;
}

static void
begin(void)
{
  static char program;
  int ends[2];
  Node *node = &world.node;
  demand(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  world.control = ends[1];
  world.config = (NodeConfig){.clone = {7}, .key = people_home(0), .control_fd = ends[0]};
  node->config = &world.config;
  node->own = input_below(&world.input, 16) ? record_ref(record_of(USERS - 1, 0)) : NULL;
  node->links = g_ptr_array_new();
  node->dials = g_ptr_array_new();
  node->serving = g_ptr_array_new();
  node->listeners = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  node->store = permissions();
  g_hash_table_insert(node->listeners, g_strdup("echo"), (LocalCall *)(void *)&program);
  world.questions = g_array_new(FALSE, FALSE, sizeof(Question));
}

static void
finish(void)
{
  Node *node = &world.node;
  while (world.questions->len > 0)
    answer(0, NULL);
  settle();
  node_peers_clear(node);
  node_serving_clear(node);
  settle();
  g_ptr_array_unref(node->dials);
  g_hash_table_unref(node->listeners);
  g_clear_pointer(&node->own, record_unref);
  g_array_unref(world.questions);
  for (guint i = 0; i < world.count; i++)
    hang_up(&world.ends[i]);
  close(world.control);
  close(world.config.control_fd);
}

static GLogWriterOutput
say_nothing(GLogLevelFlags level, const GLogField *fields, gsize count, gpointer data)
{
  return G_LOG_WRITER_HANDLED;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
  people_files_in_memory();
  g_log_set_writer_func(say_nothing, NULL, NULL);
  return 0;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  g_main_context_default();
  guint before = sockets_open();
  world = (World){.now = 1000 * SECOND, .input = {data, length}};
  begin();
  for (guint i = 0; i < STEPS && world.input.left > 0; i++) {
    step();
    settle();
    check();
  }
  finish();
  demand(sockets_open() == before);
  return 0;
}
