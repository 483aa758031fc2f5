/* An ordering server whose log says nothing for some time, as a replicated one does that chooses a leader:
 * others are served meanwhile, and nothing is said that might not be so. */
#include "base/error.h"
#include "server_world.h"

#define ENTRIES 20u

/* ---- a log with a gate ---- */

static struct {
  GMutex lock;
  GCond moved;
  gboolean shut, hurries;
  guint waiting, fails; /* operations: that stand before it; that are to fail with GONE */
  guint lets;           /* pass while it is shut */
  gboolean reads_only;  /* it is shut for what is read only */
  gboolean to_read;     /* what stands before it is to be read */
  guint reads;          /* so many have passed, */
  guint from_first;     /* of them from the first entry of a document on */
  gboolean holds, held; /* what has read a length is to stand behind the gate; stands there */
  guint lengths;        /* so many were read */
} gate;

typedef struct {
  DocLog log;
  DocLog *inner;
} GateLog;

static gboolean
is_shut(gboolean reads)
{
  return gate.shut && (reads || !gate.reads_only);
}

static gboolean
pass(gboolean reads, GError **error)
{
  g_mutex_lock(&gate.lock);
  gate.waiting++;
  gate.to_read = reads;
  g_cond_broadcast(&gate.moved);
  while (is_shut(reads) && !gate.hurries && gate.lets == 0)
    g_cond_wait(&gate.moved, &gate.lock);
  gate.waiting--;
  gboolean let = is_shut(reads) && gate.lets > 0;
  gboolean fails = (is_shut(reads) && !let) || gate.fails > 0;
  gate.lets -= let;
  g_cond_broadcast(&gate.moved);
  gate.reads += reads;
  gate.fails -= gate.fails > 0;
  g_mutex_unlock(&gate.lock);
  return !fails || doppel_error_set(error, DOPPEL_ERROR_GONE, "nobody leads");
}

static void
set_gate(gboolean shut, guint fails)
{
  g_mutex_lock(&gate.lock);
  gate.shut = shut;
  gate.hurries = FALSE;
  gate.fails = fails;
  gate.lets = 0;
  gate.reads_only = FALSE;
  gate.reads = 0;
  g_cond_broadcast(&gate.moved);
  g_mutex_unlock(&gate.lock);
}

/* Shut for what is read only, and so many of that pass; until the next stands before it. */
static void
let_reads(ServerWorld *world, guint lets)
{
  gboolean stands = FALSE;
  g_mutex_lock(&gate.lock);
  gate.reads_only = TRUE;
  gate.lets = lets;
  g_cond_broadcast(&gate.moved);
  g_mutex_unlock(&gate.lock);
  while (!stands) {
    g_main_context_iteration(world->context, FALSE);
    g_usleep(1000);
    g_mutex_lock(&gate.lock);
    stands = gate.waiting > 0 && gate.to_read && gate.lets == 0;
    g_mutex_unlock(&gate.lock);
  }
  while (g_main_context_iteration(world->context, FALSE))
    ;
}

static guint
count_reads(void)
{
  g_mutex_lock(&gate.lock);
  guint reads = gate.reads;
  g_mutex_unlock(&gate.lock);
  return reads;
}

/* One passes. */
static void
let_one(void)
{
  g_mutex_lock(&gate.lock);
  gate.lets = 1;
  g_cond_broadcast(&gate.moved);
  while (gate.lets > 0)
    g_cond_wait(&gate.moved, &gate.lock);
  g_mutex_unlock(&gate.lock);
}

/* Until the server's thread stands before it. */
static void
await_waiting(ServerWorld *world)
{
  for (guint waiting = 0; waiting == 0;) {
    g_main_context_iteration(world->context, FALSE);
    g_usleep(1000);
    g_mutex_lock(&gate.lock);
    waiting = gate.waiting;
    g_mutex_unlock(&gate.lock);
  }
}

static void
hold(void)
{
  g_mutex_lock(&gate.lock);
  gate.lengths++;
  gate.held = gate.holds;
  while (gate.holds && !gate.hurries)
    g_cond_wait(&gate.moved, &gate.lock);
  gate.held = FALSE;
  g_mutex_unlock(&gate.lock);
}

static void
set_holds(gboolean holds)
{
  g_mutex_lock(&gate.lock);
  gate.holds = holds;
  g_cond_broadcast(&gate.moved);
  g_mutex_unlock(&gate.lock);
}

/* Until a length was read, and is not told. */
static void
await_held(ServerWorld *world)
{
  for (gboolean held = FALSE; !held;) {
    g_main_context_iteration(world->context, FALSE);
    g_usleep(1000);
    g_mutex_lock(&gate.lock);
    held = gate.held;
    g_mutex_unlock(&gate.lock);
  }
}

static gboolean
gate_append(DocLog *log, DocLogPut *puts, guint count, GError **error)
{
  for (guint i = 0; i < count; i++)
    puts[i].outcome = DOC_LOG_FAILED;
  return pass(FALSE, error) && doc_log_append_all(((GateLog *)log)->inner, puts, count, error);
}

static GPtrArray *
gate_read(DocLog *log, const DocName *document, guint64 from, guint count, gsize bytes, GError **error)
{
  g_mutex_lock(&gate.lock);
  gate.from_first += from == 1;
  g_mutex_unlock(&gate.lock);
  return pass(TRUE, error) ? doc_log_read(((GateLog *)log)->inner, document, from, count, bytes, error)
                           : NULL;
}

static gboolean
gate_length(DocLog *log, const DocName *document, guint64 *length, GError **error)
{
  if (!pass(FALSE, error))
    return FALSE;
  gboolean good = doc_log_length(((GateLog *)log)->inner, document, length, error);
  hold();
  return good;
}

static gboolean
gate_size(DocLog *log, guint64 *documents, guint64 *bytes, GError **error)
{
  return doc_log_size(((GateLog *)log)->inner, documents, bytes, error);
}

static void
gate_hurry(DocLog *log)
{
  g_mutex_lock(&gate.lock);
  gate.hurries = TRUE;
  g_cond_broadcast(&gate.moved);
  g_mutex_unlock(&gate.lock);
}

static void
gate_free(DocLog *log)
{
  doc_log_free(((GateLog *)log)->inner);
  g_free(log);
}

static DocLog *
put_gate(DocLog *inner)
{
  static const DocLogKind kind = {.scheme = "gate",
                                  .free = gate_free,
                                  .append = gate_append,
                                  .read = gate_read,
                                  .length = gate_length,
                                  .size = gate_size,
                                  .hurry = gate_hurry};
  GateLog *log = g_new0(GateLog, 1);
  *log = (GateLog){{&kind}, inner};
  return &log->log;
}

/* ---- the world ---- */

/* A document of one who writes. */
typedef struct {
  Person *author;
  DocName name;
  DocHistory *history;
  WorldClient *client;
} Text;

static void
text_init(Text *text, ServerWorld *world, guint8 seed)
{
  *text = (Text){.author = person_new(seed)};
  g_autoptr(DocEnvelope) first = person_found(text->author, NULL, 0, &text->name);
  text->history = doc_history_new(&text->name);
  text->client = world_client_new(world, text->author->key);
  g_assert_cmpint(history_add(text->history, first), ==, DOC_GOOD);
  g_assert_cmpint(world_client_append(text->client, &text->name, first, NULL), ==, DOC_STATUS(OK));
}

static void
text_clear(Text *text)
{
  world_client_free(text->client);
  doc_history_free(text->history);
  person_free(text->author);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Text, text_clear)

/* Asks for one more entry; the call. */
static guint64
begin_edit(Text *text)
{
  g_autoptr(DocEnvelope) edit = person_edit(text->author, text->history, "some words");
  g_autoptr(GBytes) packed = doc_envelope_pack(edit);
  g_assert_cmpint(history_add(text->history, edit), ==, DOC_GOOD);
  return doc_client_append(text->client->client, &text->name, packed);
}

static void
must_be_told(WorldClient *client, guint64 call, guint64 number)
{
  g_autoptr(DocClientEvent) event = world_client_answer(client, call);
  g_assert_no_error(client->error);
  g_assert_cmpint(event->answer->status, ==, DOC_STATUS(OK));
  g_assert_cmpuint(event->answer->number, ==, number);
  g_assert_cmpuint(event->head.number, >=, number);
}

/* Until the server has begun with so many calls more than `before`. */
static void
await_calls(ServerWorld *world, guint64 before, guint count)
{
  gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
  while (doc_server_counters(world->server).calls < before + count) {
    g_main_context_iteration(world->context, TRUE);
    g_assert_cmpint(g_get_monotonic_time(), <, until);
  }
  while (g_main_context_iteration(world->context, FALSE))
    ;
}

static ServerWorld *
begin(const DocServerOptions *options)
{
  ServerWorld *world = server_world_new(NULL, options);
  server_world_stop(world);
  world->wrap = put_gate;
  set_gate(FALSE, 0);
  server_world_start(world);
  return world;
}

/* ---- tests ---- */

/* While an entry of one waits for the log, another one connects and asks. When the log speaks again all have
 * their numbers, in the order in which they came. */
static void
test_silent(void)
{
  g_autoptr(ServerWorld) world = begin(NULL);
  g_auto(Text) one = {0}, other = {0};
  guint64 calls[ENTRIES];
  text_init(&one, world, 1);
  text_init(&other, world, 2);
  must_be_told(other.client, begin_edit(&other), 2);
  set_gate(TRUE, 0);
  for (guint i = 0; i < ENTRIES; i++)
    calls[i] = begin_edit(&one);
  await_waiting(world);
  g_autoptr(WorldClient) client = world_client_new(world, one.author->key);
  guint64 head = doc_client_head(client->client, &other.name);
  await_calls(world, doc_server_counters(world->server).calls, 1);
  g_assert_null(doc_client_take(client->client));
  g_assert_null(doc_client_take(one.client->client));
  guint64 last = begin_edit(&other);
  set_gate(FALSE, 0);
  g_autoptr(DocClientEvent) told = world_client_answer(client, head);
  g_assert_cmpuint(told->head.number, >=, 2);
  for (guint i = 0; i < ENTRIES; i++)
    must_be_told(one.client, calls[i], 2 + i);
  must_be_told(other.client, last, 3);
}

/* Wherever somebody follows from, they may know more from another server: that of the first slice of many, or
 * of their own entry's number. Nothing is said before the log does. */
static void
test_more_elsewhere(void)
{
  g_autoptr(ServerWorld) world = begin(NULL);
  g_autoptr(GError) error = NULL;
  g_auto(Text) text = {0};
  text_init(&text, world, 1);
  g_autoptr(DocEnvelope) edit = person_edit(text.author, text.history, "elsewhere");
  g_autoptr(GBytes) packed = doc_envelope_pack(edit);
  g_autoptr(DocLog) elsewhere = doc_log_open(world->folder, &error);
  g_assert_cmpint(doc_log_append(elsewhere, &text.name, 2, packed, &error), ==, DOC_LOG_DONE);
  set_gate(TRUE, 0);
  guint64 calls[3];
  for (guint i = 0; i < G_N_ELEMENTS(calls); i++)
    calls[i] = doc_client_follow(text.client->client, &text.name, 1 + i);
  for (gint64 end = g_get_monotonic_time() + 2 * G_USEC_PER_SEC; g_get_monotonic_time() < end;)
    g_main_context_iteration(world->context, TRUE);
  g_assert_null(doc_client_take(text.client->client));
  set_gate(FALSE, 0);
  for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
    g_autoptr(DocClientEvent) told = world_client_await(text.client);
    g_assert_cmpuint(told->call, ==, calls[i]);
    g_assert_cmpuint(told->head.number, ==, 2);
  }
}

/* However many ask for one document, the log is asked once for all who came before it was; who came after
 * that may have seen at another server what it did not say. */
static void
test_lengths(void)
{
  g_autoptr(ServerWorld) world = begin(NULL);
  g_auto(Text) text = {0};
  guint64 calls[ENTRIES];
  text_init(&text, world, 1);
  g_autoptr(DocEnvelope) edit = person_edit(text.author, text.history, "elsewhere");
  g_autoptr(GBytes) packed = doc_envelope_pack(edit);
  g_autoptr(DocClientEvent) known =
      world_client_answer(text.client, doc_client_head(text.client->client, &text.name));
  g_assert_cmpuint(known->head.number, ==, 1);
  set_holds(TRUE);
  guint lengths = gate.lengths;
  guint64 before = doc_server_counters(world->server).calls;
  guint64 first = doc_client_head(text.client->client, &text.name);
  await_held(world);
  g_autoptr(DocLog) elsewhere = doc_log_open(world->folder, NULL);
  g_assert_cmpint(doc_log_append(elsewhere, &text.name, 2, packed, NULL), ==, DOC_LOG_DONE);
  for (guint i = 0; i < ENTRIES; i++)
    calls[i] = doc_client_head(text.client->client, &text.name);
  await_calls(world, before, 1 + ENTRIES);
  set_holds(FALSE);
  g_autoptr(DocClientEvent) early = world_client_answer(text.client, first);
  g_assert_cmpuint(early->head.number, >=, 1);
  for (guint i = 0; i < ENTRIES; i++) {
    g_autoptr(DocClientEvent) told = world_client_answer(text.client, calls[i]);
    g_assert_cmpuint(told->head.number, ==, 2);
  }
  g_assert_cmpuint(gate.lengths, ==, lengths + 2);
}

/* Entries of several that fail together, again and again: the document is read from its first entry once. */
static void
test_fails_again(void)
{
  g_autoptr(ServerWorld) world = begin(NULL);
  g_auto(Text) other = {0};
  g_autoptr(Person) ann = person_new(1), bob = person_new(2);
  DocName name;
  g_autoptr(DocEnvelope) first = person_found(ann, &bob, 1, &name);
  g_autoptr(DocHistory) history = doc_history_new(&name);
  text_init(&other, world, 3);
  g_autoptr(WorldClient) client = world_client_new(world, ann->key);
  g_assert_cmpint(history_add(history, first), ==, DOC_GOOD);
  g_assert_true(person_learn(bob, first));
  g_assert_cmpint(world_client_append(client, &name, first, NULL), ==, DOC_STATUS(OK));
  g_autoptr(DocEnvelope) one = person_edit(ann, history, "by Ann");
  g_autoptr(DocEnvelope) two = person_edit(bob, history, "by Bob");
  g_autoptr(GBytes) packed_one = doc_envelope_pack(one);
  g_autoptr(GBytes) packed_two = doc_envelope_pack(two);
  guint from_first = gate.from_first;
  for (guint round = 0; round < 2; round++) {
    g_autoptr(DocClientEvent) head = world_client_answer(client, doc_client_head(client->client, &name));
    g_assert_cmpuint(head->head.number, ==, 1);
    set_gate(TRUE, 0);
    guint64 before = doc_server_counters(world->server).calls;
    guint64 another = begin_edit(&other);
    await_waiting(world);
    guint64 a = doc_client_append(client->client, &name, packed_one);
    guint64 b = doc_client_append(client->client, &name, packed_two);
    await_calls(world, before, 3);
    /* Both are in the next batch; or one, and the other in the one after it. */
    let_one();
    await_waiting(world);
    set_gate(FALSE, 1);
    g_autoptr(DocClientEvent) had = world_client_answer(client, a);
    g_assert_cmpint(had->answer->status, ==, DOC_STATUS(FAILED));
    g_autoptr(DocClientEvent) too = world_client_answer(client, b);
    g_assert_cmpint(too->answer->status, ==, round == 0 ? DOC_STATUS(FAILED) : DOC_STATUS(OK));
    must_be_told(other.client, another, 2 + round);
  }
  g_assert_cmpuint(gate.from_first, ==, from_first + 1);
}

/* Long entries, which another server appends: all but the last are in the log only. */
static void
add_elsewhere(ServerWorld *world, Text *text, guint count)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DocLog) elsewhere = doc_log_open(world->folder, &error);
  g_autofree char *words = g_strnfill(300 << 10, 'w');
  for (guint i = 0; i < count; i++) {
    g_autoptr(DocEnvelope) edit = person_edit(text->author, text->history, words);
    g_autoptr(GBytes) packed = doc_envelope_pack(edit);
    g_assert_cmpint(history_add(text->history, edit), ==, DOC_GOOD);
    g_assert_cmpint(doc_log_append(elsewhere, &text->name, doc_history_number(text->history), packed, &error),
                    ==, DOC_LOG_DONE);
  }
}

/* Of what a connection follows one is read at a time, also for those who do not wait for it; and each has its
 * turn. */
static void
test_many_follows(void)
{
  g_autoptr(ServerWorld) world = begin(NULL);
  g_auto(Text) text = {0};
  guint64 calls[2 * ENTRIES];
  text_init(&text, world, 1);
  g_autoptr(WorldClient) client = world_client_new(world, text.author->key);
  for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
    calls[i] = doc_client_follow(client->client, &text.name, 2);
    g_autoptr(DocClientEvent) event = world_client_answer(client, calls[i]);
    g_assert_cmpuint(event->head.number, ==, 1);
  }
  set_gate(TRUE, 0);
  add_elsewhere(world, &text, 3);
  let_reads(world, 1);
  guint64 before = doc_server_counters(world->server).calls;
  for (guint i = 0; i < ENTRIES; i++)
    doc_client_end(client->client, calls[i]);
  await_calls(world, before, ENTRIES);
  set_gate(FALSE, 0);
  for (guint told = 0; told < ENTRIES;) {
    g_autoptr(DocClientEvent) event = world_client_await(client);
    told += event->answer->number + event->answer->entries->len - 1 == 4;
  }
  g_assert_cmpuint(count_reads(), <=, 1 + ENTRIES);
}

/* A connection may have a few answers read at a time. */
static void
test_many_reads(void)
{
  g_autoptr(ServerWorld) world = begin(NULL);
  g_auto(Text) text = {0};
  text_init(&text, world, 1);
  add_elsewhere(world, &text, 2);
  g_autoptr(WorldClient) client = world_client_new(world, text.author->key);
  g_autoptr(DocClientEvent) head = world_client_answer(client, doc_client_head(client->client, &text.name));
  g_assert_cmpuint(head->head.number, ==, 3);
  set_gate(TRUE, 0);
  guint64 before = doc_server_counters(world->server).calls;
  for (guint i = 0; i < ENTRIES; i++)
    doc_client_read(client->client, &text.name, 2, 1);
  await_calls(world, before, ENTRIES);
  let_reads(world, 0);
  g_assert_cmpuint(doc_server_counters(world->server).busy, >=, ENTRIES - 4);
  set_gate(FALSE, 0);
  for (guint told = 0; told < ENTRIES; told++) {
    g_autoptr(DocClientEvent) event = world_client_await(client);
    g_assert_cmpint(event->answer->status, ==, DOC_STATUS(OK));
    g_assert_cmpuint(event->answer->number, ==, 2);
  }
}

/* What waited while the log said nothing has failed with it, and is not tried for as long again; then all
 * goes on. */
static void
test_gone(void)
{
  g_autoptr(ServerWorld) world = begin(NULL);
  g_auto(Text) one = {0}, other = {0};
  text_init(&one, world, 1);
  text_init(&other, world, 2);
  set_gate(TRUE, 0);
  guint64 call = begin_edit(&one);
  await_waiting(world);
  set_gate(FALSE, 1);
  g_autoptr(DocClientEvent) event = world_client_answer(one.client, call);
  g_assert_cmpint(event->answer->status, ==, DOC_STATUS(FAILED));
  g_assert_cmpstr(world->complained, ==, "nobody leads");
  guint64 head = doc_client_head(one.client->client, &one.name);
  g_autoptr(DocClientEvent) told = world_client_answer(one.client, head);
  g_assert_cmpuint(told->head.number, ==, 1);
  must_be_told(other.client, begin_edit(&other), 2);
}

/* More entries than are kept while the log says nothing: they are asked for again, and nobody is cut off. */
static void
test_full(void)
{
  DocServerOptions options = DOC_SERVER_OPTIONS_DEFAULT;
  options.rate = 0;
  options.held_max = 1 << 20;
  g_autoptr(ServerWorld) world = begin(&options);
  g_autofree char *words = g_strnfill(100 << 10, 'w');
  Text texts[ENTRIES] = {0};
  guint64 calls[ENTRIES];
  for (guint i = 0; i < ENTRIES; i++)
    text_init(&texts[i], world, (guint8)(1 + i));
  set_gate(TRUE, 0);
  DocServerCounters before = doc_server_counters(world->server);
  for (guint i = 0; i < ENTRIES; i++) {
    g_autoptr(DocEnvelope) edit = person_edit(texts[i].author, texts[i].history, words);
    g_autoptr(GBytes) packed = doc_envelope_pack(edit);
    calls[i] = doc_client_append(texts[i].client->client, &texts[i].name, packed);
  }
  await_calls(world, before.calls, ENTRIES);
  g_assert_cmpuint(doc_server_counters(world->server).busy, >=, ENTRIES / 2);
  g_autoptr(WorldClient) client = world_client_new(world, texts[0].author->key);
  guint64 head = doc_client_head(client->client, &texts[0].name);
  await_calls(world, before.calls, ENTRIES + 1);
  set_gate(FALSE, 0);
  g_autoptr(DocClientEvent) told = world_client_answer(client, head);
  g_assert_cmpuint(told->head.number, >=, 1);
  for (guint i = 0; i < ENTRIES; i++)
    must_be_told(texts[i].client, calls[i], 2);
  g_assert_cmpuint(doc_server_counters(world->server).door.accepted, ==, before.door.accepted + 1);
  for (guint i = 0; i < ENTRIES; i++)
    text_clear(&texts[i]);
}

/* The end of a server waits for no log; what had no answer is sent again, and has one number. */
static void
test_end(void)
{
  g_autoptr(ServerWorld) world = begin(NULL);
  g_auto(Text) text = {0};
  text_init(&text, world, 1);
  set_gate(TRUE, 0);
  guint64 call = begin_edit(&text);
  await_waiting(world);
  server_world_stop(world);
  set_gate(FALSE, 0);
  server_world_start(world);
  must_be_told(text.client, call, 2);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/doc/server-log/silent", test_silent);
  g_test_add_func("/doc/server-log/more-elsewhere", test_more_elsewhere);
  g_test_add_func("/doc/server-log/lengths", test_lengths);
  g_test_add_func("/doc/server-log/many-follows", test_many_follows);
  g_test_add_func("/doc/server-log/many-reads", test_many_reads);
  g_test_add_func("/doc/server-log/gone", test_gone);
  g_test_add_func("/doc/server-log/full", test_full);
  g_test_add_func("/doc/server-log/fails-again", test_fails_again);
  g_test_add_func("/doc/server-log/end", test_end);
  return g_test_run();
}
