/* A node that sends to groups, takes messages of others and passes them on, among members and strangers whose
 * streams say anything: messages that are whole, damaged, replayed, signed by others, or told in pieces;
 * answers that are true, false or bytes; streams that break off, dials that fail, at once or late; programs
 * that listen, read, or go before they have read; directories that know the sender late or not; members that
 * come and go; the node's end and new beginning. A program is given what a member signed, and nothing again
 * once it has read it; what is answered makes sense; and what is sent or passed on comes to an end.
 *
 * The linker gives the node this file's dials, directory, programs and clock: see meson.build. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/node_groups_private.h"
#include "c2c/node_store_private.h"
#include "c2c/stream_end.h"
#include "people.h"
#include "sockets.h"

#define STEPS        80
#define STREAMS      64u
#define DIALS        1024u
#define LETTERS_MOST 512u
#define BRINGS_MOST  16u
#define ROUNDS       2000u
#define SECOND       G_GINT64_CONSTANT(1000000000)
#define ME           0u

static const char *const groups[] = {"friends", "all"};

/* The other end of a stream of the node's. */
typedef struct {
  int fd;                             /* -1: none any more */
  enum { SAYS, HEARS, PROGRAM } what; /* a message, or what is answered to one, or is a program's */
  GByteArray *got;
  IdentityPublic origin; /* PROGRAM: whose message it is */
  guint life;            /* PROGRAM: of the node that gave it */
} Stream;

typedef struct {
  NodeDialled done; /* NULL: it is over */
  void *data;
} Dial;

typedef struct {
  NodeFound found;
  void *data;
  IdentityPublic origin;
} Question;

typedef struct {
  Node node;
  NodeConfig config;
  Stream streams[STREAMS];
  Dial dials[DIALS];
  guint dialled;
  gboolean away; /* nobody is reached any more */
  GArray *questions;
  GPtrArray *known; /* packed messages */
  GHashTable *said; /* "origin body" of what was signed by who sent it */
  GHashTable *read; /* likewise: of what a program has read to its end */
  guint bodies, life;
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
clone_key(guint clone)
{
  static IdentityKey *keys[PEOPLE];
  if (!keys[clone]) {
    guint number = 10 * (clone + 1) + 2; /* as people.c makes them */
    guint8 seed[IDENTITY_SEED_LENGTH] = {0};
    memcpy(seed, &number, sizeof number);
    keys[clone] = identity_key_from_seed(seed);
    demand(identity_public_equal(identity_key_public(keys[clone]), &people_record(clone, 0)->clone_key));
  }
  return keys[clone];
}

static const char *
some_group(void)
{
  return groups[input_below(&world.input, G_N_ELEMENTS(groups))];
}

static char *
key_of(const IdentityPublic *origin, const void *body, gsize length)
{
  g_autofree char *who = identity_public_to_text(origin), *what = g_base64_encode(body, length);
  return g_strconcat(who, " ", what, NULL);
}

static Stream *
free_stream(void)
{
  for (guint i = 0; i < STREAMS; i++)
    if (world.streams[i].fd < 0)
      return &world.streams[i];
  return NULL;
}

static void
stream_begin(Stream *stream, int fd, int what)
{
  stream->fd = fd;
  stream->what = what;
  stream->got = g_byte_array_new();
}

static void
stream_end(Stream *stream)
{
  io_close(&stream->fd);
  g_clear_pointer(&stream->got, g_byte_array_unref);
}

/* ---- what the node stands on ---- */

gint64
__wrap_clock_now_ns(void)
{
  return world.now;
}

/* So that an input does the same each time. */
guint32
__wrap_g_random_int(void)
{
  return 7;
}

gint32
__wrap_g_random_int_range(gint32 begin, gint32 end)
{
  return begin;
}

NodeDial *
__wrap_node_dial(Node *node, const char *user, const char *service, NodeDialled done, void *data)
{
  demand(g_str_has_prefix(user, "key:") && g_str_equal(service, NODE_GROUP_SERVICE));
  if (world.away || world.dialled == DIALS || input_below(&world.input, 16) == 0) {
    done(-1, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY, "nobody is there", data);
    return NULL;
  }
  Dial *dial = &world.dials[world.dialled++];
  *dial = (Dial){done, data};
  return (NodeDial *)(void *)dial;
}

void
__wrap_node_dial_cancel(NodeDial *dial)
{
  Dial *which = (Dial *)(void *)dial;
  demand(which >= world.dials && which < world.dials + world.dialled && which->done);
  which->done = NULL;
}

void
__wrap_node_directory_find_origin(NodeDirectory *directory, const IdentityPublic *origin, gboolean fresh,
                                  NodeFound found, void *data)
{
  Question question = {found, data, *origin};
  g_array_append_val(world.questions, question);
}

/* As local.c does it. */
gboolean
__wrap_local_call_incoming(LocalCall *call, const LocalFrom *from, int fd)
{
  Stream *stream = free_stream();
  demand(g_str_has_prefix(from->service, NODE_GROUP_LISTENER) && from->name[0]);
  if (!stream || input_below(&world.input, 16) == 0) {
    close(fd);
    return FALSE;
  }
  stream_end_name(fd);
  stream_begin(stream, fd, PROGRAM);
  stream->origin = from->origin;
  stream->life = world.life;
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
check(void)
{
  const NodeGroups *node = world.node.groups;
  demand(!node || (node->letters->len <= LETTERS_MOST && node->bringing <= BRINGS_MOST &&
                   groups_under_way(node->groups) <= GROUPS_TASKS_MAX));
}

/* What has come. FALSE at its end. */
static gboolean
hear(Stream *stream)
{
  guint8 bytes[4096];
  ssize_t got = recv(stream->fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (got > 0)
    g_byte_array_append(stream->got, bytes, (guint)got);
  return got > 0 || (got < 0 && errno == EAGAIN);
}

static void
program_step(Stream *stream)
{
  gboolean more = input_below(&world.input, 8) > 0;
  while (more && hear(stream)) {
    guint length = stream->got->len;
    demand(length <= GROUP_BODY_MAX);
    more = hear(stream) && stream->got->len > length;
  }
  g_autofree char *key = key_of(&stream->origin, stream->got->data, stream->got->len);
  gboolean whole = recv(stream->fd, &(char){0}, 1, MSG_DONTWAIT) == 0 && stream_end_is_proper(stream->fd);
  if (whole) {
    demand(g_hash_table_contains(world.said, key));
    /* A node that has ended does not hear of it: the next one gives the message again. */
    demand(stream->life != world.life || g_hash_table_add(world.read, g_steal_pointer(&key)));
  }
  stream_end(stream);
}

/* The node's answers to a message. */
static void
check_answers(Stream *stream)
{
  gssize taken = 1;
  while (taken > 0) {
    g_auto(GroupAnswer) answer = {0};
    taken = group_answer_take(stream->got->data, stream->got->len, &answer, NULL);
    demand(taken >= 0 && (answer.status != GROUP_REFUSED || answer.words));
    g_byte_array_remove_range(stream->got, 0, (guint)taken);
  }
}

static void
hear_answers(Stream *stream)
{
  for (guint i = 0; i < 4 && hear(stream); i++)
    check_answers(stream);
  if (input_below(&world.input, 8) == 0)
    stream_end(stream);
}

static void
remember(const guint8 *bytes, gsize length)
{
  g_ptr_array_add(world.known, g_bytes_new(bytes, length));
}

static void
say_anything(Stream *stream)
{
  g_autoptr(GArray) missed = g_array_new(FALSE, FALSE, sizeof(guint));
  GroupAnswer said = {
      .status = 1 + input_below(&world.input, 5), .missed = missed, .words = (char *)"words\nof\x01mine"};
  said.reached = input_number(&world.input, 1);
  for (guint count = input_below(&world.input, 5); count > 0; count--) {
    guint place = input_below(&world.input, 8);
    g_array_append_val(missed, place);
  }
  g_autoptr(GBytes) bytes = group_answer_new(&said);
  gsize length = g_bytes_get_size(bytes);
  if (input_below(&world.input, 16) == 0)
    length = input_number(&world.input, 1) % (length + 1);
  send(stream->fd, g_bytes_get_data(bytes, NULL), length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A member that the node has dialled: hears the message, and answers before, meanwhile, and after. */
static void
member_step(Stream *stream)
{
  guint what = input_below(&world.input, 8);
  gsize length;
  gboolean all = FALSE;
  for (guint i = 0; i < 32 && !all && stream->got->len <= GROUP_MESSAGE_MAX; i++)
    all = !hear(stream);
  if (all && stream->got->len > 0) {
    g_autoptr(GroupMessage) message = group_message_decode(stream->got->data, stream->got->len, NULL);
    demand(message != NULL);
    remember(stream->got->data, stream->got->len);
    g_byte_array_set_size(stream->got, 0);
  }
  if (what <= 4) {
    say_anything(stream);
  } else if (what == 5) {
    const guint8 *bytes = input_bytes(&world.input, input_number(&world.input, 1), &length);
    send(stream->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
  } else if (what == 6) {
    shutdown(stream->fd, SHUT_WR);
  } else {
    stream_end(stream);
  }
}

static void
stream_step(void)
{
  Stream *stream = &world.streams[input_number(&world.input, 1) % STREAMS];
  for (guint i = 0; i < STREAMS && stream->fd < 0; i++)
    stream = &world.streams[(stream - world.streams + 1) % STREAMS];
  if (stream->fd < 0)
    return;
  if (stream->what == PROGRAM)
    program_step(stream);
  else if (stream->what == SAYS)
    hear_answers(stream);
  else
    member_step(stream);
}

static void
answer_dial(void)
{
  Dial *dial = &world.dials[input_number(&world.input, 2) % MAX(world.dialled, 1)];
  for (guint i = 0; i < world.dialled && !dial->done; i++)
    dial = &world.dials[(dial - world.dials + 1) % world.dialled];
  int ends[2];
  Stream *stream = free_stream();
  NodeDialled done = g_steal_pointer(&dial->done);
  if (!done)
    return;
  if (!stream || input_below(&world.input, 8) == 0) {
    done(-1, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, "not for you", dial->data);
    return;
  }
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  stream_begin(stream, ends[1], HEARS);
  done(ends[0], DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE, NULL, dial->data);
}

/* To the node, whole or in part. */
static void
bring(const guint8 *bytes, gsize length)
{
  g_autoptr(GError) error = NULL;
  Stream *stream = free_stream();
  int fd = stream ? node_groups_serve(&world.node, &error) : -1;
  if (fd < 0)
    return;
  stream_begin(stream, fd, SAYS);
  guint how = input_below(&world.input, 16);
  if (how == 0)
    length = input_number(&world.input, 2) % (length + 1);
  send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (how > 1)
    shutdown(fd, SHUT_WR);
}

/* A member's clone makes what it likes, with whatever name and time. */
static void
forge(void)
{
  Input *input = &world.input;
  guint8 digest[TREE_DIGEST_LENGTH];
  guint sender = input_below(input, PEOPLE),
        signer = input_below(input, 8) ? sender : input_below(input, PEOPLE);
  guint64 now_us = (guint64)node_now() * 1000000, sequence = now_us + input_below(input, 80);
  const char *group = some_group();
  if (input_below(input, 16) == 0)
    sequence = input_number(input, 8);
  g_autoptr(GArray) members = node_store_members(world.node.store, group, NULL);
  const IdentityPublic me = people_record(ME, 0)->origin;
  g_array_append_val(members, me);
  g_autoptr(Tree) tree =
      tree_new(group, people_origin(sender), (const IdentityPublic *)members->data, members->len);
  tree_digest(tree, digest);
  g_autofree char *body = g_strdup_printf("%u", world.bodies++);
  g_autoptr(GroupMessage) message = group_message_new(group, people_origin(sender), sequence, digest, body,
                                                      strlen(body), clone_key(signer), NULL);
  if (!message)
    return;
  if (signer == sender)
    g_hash_table_add(world.said, key_of(people_origin(sender), body, strlen(body)));
  if (input_below(input, 4))
    message->record =
        g_bytes_ref(people_record(input_below(input, 16) ? sender : ME, input_below(input, 2))->bytes);
  g_autoptr(GBytes) packed = group_message_pack(message, input_number(input, 1), input_below(input, 8) == 0);
  remember(g_bytes_get_data(packed, NULL), g_bytes_get_size(packed));
  bring(g_bytes_get_data(packed, NULL), g_bytes_get_size(packed));
}

static void
replay(void)
{
  Input *input = &world.input;
  if (world.known->len == 0)
    return;
  gsize length;
  const guint8 *bytes =
      g_bytes_get_data(world.known->pdata[input_number(input, 1) % world.known->len], &length);
  g_autofree guint8 *copy = g_memdup2(bytes, length);
  if (input_below(input, 2) && length > 0)
    copy[input_number(input, 2) % length] ^= input_number(input, 1);
  bring(copy, length);
}

static void
send_own(void)
{
  guint64 sequence;
  g_autofree char *body = g_strdup_printf("own %u", world.bodies++);
  node_groups_send(&world.node, some_group(), body, strlen(body), &sequence, NULL);
}

static void
answer_directory(void)
{
  g_autoptr(GError) error = NULL;
  NodeAnswer how = {0};
  if (world.questions->len == 0)
    return;
  guint number = input_number(&world.input, 1) % world.questions->len, kind = input_below(&world.input, 8);
  const Question question = g_array_index(world.questions, Question, number);
  Record *record = NULL;
  g_array_remove_index(world.questions, number);
  for (guint user = 0; user < PEOPLE; user++)
    if (kind < 6 && identity_public_equal(people_origin(user), &question.origin))
      record = people_record(user, kind % 4);
  if (!record)
    error = g_error_new_literal(DOPPEL_ERROR, kind == 7 ? DOPPEL_ERROR_NOT_FOUND : DOPPEL_ERROR_GONE, "no");
  question.found(record, record ? &how : NULL, error, question.data);
}

static void
edit(void)
{
  guint who = input_below(&world.input, PEOPLE + 4);
  IdentityPublic stranger = {{(guint8)who, 1}};
  demand(node_store_join_group(world.node.store, some_group(), who < PEOPLE ? people_origin(who) : &stranger,
                               input_below(&world.input, 4) > 0, NULL));
}

/* A program comes, in place of another. */
static void
listen_to(const char *group)
{
  static char program;
  g_autofree char *service = g_strconcat(NODE_GROUP_LISTENER, group, NULL);
  g_hash_table_insert(world.node.listeners, g_strdup(service), (LocalCall *)(void *)&program);
  node_groups_listening(&world.node, service);
}

static void
listen_or_not(void)
{
  const char *group = some_group();
  g_autofree char *service = g_strconcat(NODE_GROUP_LISTENER, group, NULL);
  if (input_below(&world.input, 4))
    listen_to(group);
  else
    g_hash_table_remove(world.node.listeners, service);
}

static void
pass_time(void)
{
  static const gint64 spans[] = {SECOND / 10, SECOND, 3 * SECOND, 16 * SECOND, 100 * SECOND};
  gint64 due = node_groups_due(&world.node);
  if (input_below(&world.input, 2))
    world.now += spans[input_below(&world.input, G_N_ELEMENTS(spans))];
  else if (due != G_MAXINT64)
    world.now = MAX(world.now, due);
  node_groups_tick(&world.node, world.now);
}

/* The node ends; the next one goes on with what is in the store. */
static void
begin_anew(void)
{
  node_groups_clear(&world.node);
  world.life++;
}

static void
step(void)
{
  guint what = input_below(&world.input, 32);
  if (what <= 7)
    stream_step();
  else if (what <= 12)
    answer_dial();
  else if (what <= 15)
    pass_time();
  else if (what <= 20)
    forge();
  else if (what <= 24)
    answer_directory();
  else if (what <= 26)
    send_own();
  else if (what == 27)
    replay();
  else if (what == 28)
    edit();
  else if (what == 29)
    listen_or_not();
  else if (what == 30)
    node_groups_peer(&world.node, people_origin(input_below(&world.input, PEOPLE)));
  else
    begin_anew();
}

/* To make a new one for each input would take longer than all else. */
static NodeStore *
store_with_members(void)
{
  static NodeStore *store;
  if (!store) {
    g_autofree char *directory = g_path_get_dirname(sockets_path("node.db"));
    store = node_store_open(directory, NULL);
  }
  demand(store &&
         sqlite3_exec(store->database,
                      "DELETE FROM member; DELETE FROM team; DELETE FROM awaited; DELETE FROM message;"
                      "DELETE FROM letter; DELETE FROM seen;",
                      NULL, NULL, NULL) == SQLITE_OK);
  for (guint i = 0; i < G_N_ELEMENTS(groups); i++) {
    demand(node_store_add_group(store, groups[i], NULL));
    for (guint who = 1; who < PEOPLE - i; who++)
      demand(node_store_join_group(store, groups[i], people_origin(who), TRUE, NULL));
  }
  return store;
}

static void
begin(void)
{
  Node *node = &world.node;
  world.config = (NodeConfig){.clone = {7}, .key = clone_key(ME)};
  node->config = &world.config;
  node->own = record_ref(people_record(ME, 0));
  node->listeners = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  node->store = store_with_members();
  for (guint i = 0; i < STREAMS; i++)
    world.streams[i].fd = -1;
  world.questions = g_array_new(FALSE, FALSE, sizeof(Question));
  world.known = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  world.said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  world.read = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  listen_to(groups[0]);
}

/* Nobody says anything any more, and nobody is reached: everything that is under way ends, by itself. */
static void
run_out(void)
{
  world.away = TRUE;
  for (guint i = 0; i < world.dialled; i++) {
    NodeDialled done = g_steal_pointer(&world.dials[i].done);
    if (done)
      done(-1, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY, "nobody is there", world.dials[i].data);
  }
  for (guint i = 0; i < ROUNDS && world.node.groups && groups_under_way(world.node.groups->groups) > 0; i++) {
    gint64 due = node_groups_due(&world.node);
    world.now = due == G_MAXINT64 ? world.now + SECOND : MAX(world.now, due);
    node_groups_tick(&world.node, world.now);
    settle();
  }
  demand(!world.node.groups || groups_under_way(world.node.groups->groups) == 0);
}

static void
finish(void)
{
  Node *node = &world.node;
  run_out();
  node_groups_clear(node);
  while (world.questions->len > 0)
    answer_directory();
  settle();
  for (guint i = 0; i < world.dialled; i++)
    demand(!world.dials[i].done);
  for (guint i = 0; i < STREAMS; i++)
    if (world.streams[i].fd >= 0)
      stream_end(&world.streams[i]);
  g_clear_pointer(&node->peers, g_hash_table_unref);
  g_hash_table_unref(node->listeners);
  record_unref(node->own);
  g_array_unref(world.questions);
  g_ptr_array_unref(world.known);
  g_hash_table_unref(world.said);
  g_hash_table_unref(world.read);
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
  memset(&world, 0, sizeof world);
  world.now = 1000 * SECOND;
  world.input = (Input){data, length};
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
