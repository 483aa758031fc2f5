/* The ordering server, as members and others meet it: one order for all, nothing acknowledged is lost, and
 * nobody can make it hand out what members would blame it for. */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/database.h"
#include "base/error.h"
#include "server_world.h"

/* Ann's document, in which Bob writes; Eve is nobody. */
typedef struct {
  ServerWorld *server;
  Person *ann, *bob, *eve;
  DocName document;
  DocEnvelope *first;
  DocHistory *history; /* as it should be */
  WorldClient *client; /* Ann's */
} World;

static void
world_init(World *world, const DocServerOptions *options)
{
  *world = (World){.server = server_world_new(NULL, options),
                   .ann = person_new(1),
                   .bob = person_new(2),
                   .eve = person_new(3)};
  world->first = person_found(world->ann, &world->bob, 1, &world->document);
  world->history = doc_history_new(&world->document);
  world->client = world_client_new(world->server, world->ann->key);
  g_assert_cmpint(history_add(world->history, world->first), ==, DOC_GOOD);
  g_assert_true(person_learn(world->bob, world->first));
}

static void
world_clear(World *world)
{
  world_client_free(world->client);
  person_free(world->ann);
  person_free(world->bob);
  person_free(world->eve);
  doc_envelope_free(world->first);
  doc_history_free(world->history);
  server_world_free(world->server);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static void
make_document(World *world)
{
  guint64 number;
  g_assert_cmpint(world_client_append(world->client, &world->document, world->first, &number), ==,
                  DOC_STATUS(OK));
  g_assert_cmpuint(number, ==, 1);
}

/* One more edit, which has to get the next number. */
static void
add_edit(World *world, WorldClient *client, Person *person)
{
  guint64 number;
  g_autoptr(DocEnvelope) edit = person_edit(person, world->history, "some words");
  g_assert_cmpint(world_client_append(client, &world->document, edit, &number), ==, DOC_STATUS(OK));
  g_assert_cmpuint(number, ==, doc_history_number(world->history) + 1);
  g_assert_cmpint(history_add(world->history, edit), ==, DOC_GOOD);
}

static void
must_be_fault(WorldClient *client, const DocName *document, const DocEnvelope *envelope, DocFault fault)
{
  g_autoptr(GBytes) packed = doc_envelope_pack(envelope);
  g_autoptr(DocClientEvent) event =
      world_client_answer(client, doc_client_append(client->client, document, packed));
  g_assert_cmpint(event->answer->status, ==, DOC_STATUS(REFUSED));
  g_assert_cmpstr(doc_fault_name(event->answer->fault), ==, doc_fault_name(fault));
}

/* What a newcomer checks: all entries, in their order, and the server's head of them. */
static void
must_read(World *world, WorldClient *client)
{
  g_autoptr(DocHistory) history = doc_history_new(&world->document);
  g_autoptr(GError) error = NULL;
  guint64 call = doc_client_follow(client->client, &world->document, 1);
  while (doc_history_number(history) < doc_history_number(world->history)) {
    g_autoptr(DocClientEvent) event = world_client_answer(client, call);
    g_assert_cmpint(event->answer->status, ==, DOC_STATUS(OK));
    for (guint i = 0; i < event->answer->entries->len; i++) {
      gsize length;
      DocVerdict verdict;
      const void *bytes = g_bytes_get_data(event->answer->entries->pdata[i], &length);
      g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, &error);
      g_assert_no_error(error);
      g_assert_true(doc_history_take(history, event->answer->number + i, envelope, &verdict, &error));
    }
    g_assert_true(doc_history_check_head(history, &event->head, &error));
  }
  doc_client_end(client->client, call);
  g_assert_true(doc_chain_equal(doc_history_chain(history, doc_history_number(history)),
                                doc_history_chain(world->history, doc_history_number(world->history))));
}

static void
test_calls(void)
{
  g_auto(World) world;
  world_init(&world, NULL);
  g_autoptr(WorldClient) bob = world_client_new(world.server, world.bob->key);
  g_autoptr(DocClientEvent) none = world_client_answer(bob, doc_client_head(bob->client, &world.document));
  g_assert_cmpint(none->answer->status, ==, DOC_STATUS(UNKNOWN));
  make_document(&world);
  for (guint i = 0; i < 5; i++)
    add_edit(&world, i % 2 ? world.client : bob, i % 2 ? world.ann : world.bob);
  g_autoptr(DocClientEvent) head = world_client_answer(bob, doc_client_head(bob->client, &world.document));
  g_assert_cmpuint(head->head.number, ==, 6);
  g_assert_true(doc_history_check_head(world.history, &head->head, NULL));
  g_autoptr(DocClientEvent) some =
      world_client_answer(bob, doc_client_read(bob->client, &world.document, 3, 2));
  g_assert_cmpuint(some->answer->number, ==, 3);
  g_assert_cmpuint(some->answer->entries->len, ==, 2);
  g_autoptr(DocClientEvent) beyond =
      world_client_answer(bob, doc_client_read(bob->client, &world.document, 7, 0));
  g_assert_cmpuint(beyond->answer->entries->len, ==, 0);
  must_read(&world, bob);
}

static void
test_following(void)
{
  g_auto(World) world;
  world_init(&world, NULL);
  g_autoptr(WorldClient) bob = world_client_new(world.server, world.bob->key);
  make_document(&world);
  guint64 call = doc_client_follow(bob->client, &world.document, 2), next = 2;
  /* At first: how long it is. */
  g_autoptr(DocClientEvent) now = world_client_answer(bob, call);
  g_assert_cmpuint(now->head.number, ==, 1);
  for (guint i = 0; i < 20; i++)
    add_edit(&world, world.client, world.ann);
  while (next <= 21) {
    g_autoptr(DocClientEvent) event = world_client_answer(bob, call);
    g_assert_cmpuint(event->answer->number, ==, next);
    g_assert_cmpuint(event->answer->entries->len, >, 0);
    next += event->answer->entries->len;
  }
  g_assert_cmpuint(next, ==, 22);
  doc_client_end(bob->client, call);
  add_edit(&world, world.client, world.ann);
  guint64 later = doc_client_head(bob->client, &world.document);
  g_autoptr(DocClientEvent) head = world_client_await(bob);
  g_assert_cmpuint(head->call, ==, later);
  g_assert_cmpuint(head->head.number, ==, 22);
}

/* Whatever members would blame the server for gets no number. */
static void
test_refused(void)
{
  g_auto(World) world;
  world_init(&world, NULL);
  make_document(&world);
  g_autoptr(WorldClient) bob = world_client_new(world.server, world.bob->key);
  g_autoptr(WorldClient) eve = world_client_new(world.server, world.eve->key);
  add_edit(&world, bob, world.bob);
  /* A stranger. */
  world.eve->sequence = 0;
  g_autoptr(DocEnvelope) strange = person_entry(world.eve, world.history, DOC_CHECKPOINT);
  strange->sealed = g_bytes_new_static("forty bytes or more, as sealing makes them.", 43);
  doc_envelope_sign(strange, &world.document, world.eve->key);
  g_assert_cmpint(world_client_append(eve, &world.document, strange, NULL), ==, DOC_STATUS(DENIED));
  /* Another's name under it. */
  g_autoptr(DocEnvelope) forged = person_edit(world.bob, world.history, "not by Bob");
  forged->signature[5] ^= 1;
  must_be_fault(eve, &world.document, forged, DOC_FAULT_FORGED);
  /* An entry left out, one twice, one on another history, another document's. */
  g_autoptr(DocEnvelope) later = person_edit(world.bob, world.history, "after the next");
  must_be_fault(bob, &world.document, later, DOC_FAULT_DROPPED);
  world.bob->sequence = 0;
  g_autoptr(DocEnvelope) twice = person_edit(world.bob, world.history, "another first one");
  must_be_fault(bob, &world.document, twice, DOC_FAULT_DUPLICATE);
  g_autoptr(DocEnvelope) fork = person_edit(world.bob, world.history, "elsewhere");
  fork->chain.bytes[3] ^= 1;
  doc_envelope_sign(fork, &world.document, world.bob->key);
  must_be_fault(bob, &world.document, fork, DOC_FAULT_FORK);
  DocName other;
  world.ann->sequence = 0;
  doc_keyring_free(world.ann->ring);
  world.ann->ring = doc_keyring_new();
  g_autoptr(DocEnvelope) elsewhere = person_found(world.ann, &world.eve, 1, &other);
  must_be_fault(bob, &world.document, elsewhere, DOC_FAULT_FORGED);
  g_autoptr(GBytes) nonsense = g_bytes_new_static("no entry", 8);
  g_autoptr(DocClientEvent) event =
      world_client_answer(bob, doc_client_append(bob->client, &world.document, nonsense));
  g_assert_cmpint(event->answer->fault, ==, DOC_FAULT_DAMAGED);
  /* None of it is to be seen. */
  world.bob->sequence = 1;
  add_edit(&world, bob, world.bob);
  must_read(&world, eve);
}

/* Who was removed may write no more; what a member made without knowing of it gets its number, and is void
 * for all. */
static void
test_void(void)
{
  g_auto(World) world;
  world_init(&world, NULL);
  make_document(&world);
  g_autoptr(WorldClient) bob = world_client_new(world.server, world.bob->key);
  g_autoptr(DocEnvelope) late = person_edit(world.bob, world.history, "did not know");
  g_autoptr(DocEnvelope) gone = person_change(world.ann, world.history, world.bob, DOC_NONE, 1);
  g_autoptr(DocHistory) before = doc_history_new(&world.document);
  guint64 number;
  history_add(before, world.first);
  g_assert_cmpint(world_client_append(world.client, &world.document, gone, &number), ==, DOC_STATUS(OK));
  g_assert_cmpint(history_add(world.history, gone), ==, DOC_GOOD);
  g_assert_cmpint(world_client_append(bob, &world.document, late, NULL), ==, DOC_STATUS(DENIED));
  g_autoptr(DocEnvelope) old = person_edit(world.ann, before, "under the former key");
  g_assert_cmpint(world_client_append(world.client, &world.document, old, &number), ==, DOC_STATUS(OK));
  g_assert_cmpuint(number, ==, 3);
  g_assert_cmpint(history_add(world.history, old), ==, DOC_VOID_KEY);
  must_read(&world, bob);
}

/* Whoever lost the answer asks again, and over whichever connection. */
static void
test_same_again(void)
{
  g_auto(World) world;
  world_init(&world, NULL);
  make_document(&world);
  make_document(&world);
  g_autoptr(WorldClient) other = world_client_new(world.server, world.ann->key);
  g_autoptr(DocEnvelope) edit = person_edit(world.ann, world.history, "once");
  g_autoptr(GBytes) packed = doc_envelope_pack(edit);
  guint64 calls[6];
  for (guint i = 0; i < G_N_ELEMENTS(calls); i++)
    calls[i] = doc_client_append((i % 2 ? other : world.client)->client, &world.document, packed);
  for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
    g_autoptr(DocClientEvent) event = world_client_answer(i % 2 ? other : world.client, calls[i]);
    g_assert_cmpint(event->answer->status, ==, DOC_STATUS(OK));
    g_assert_cmpuint(event->answer->number, ==, 2);
  }
  g_assert_cmpint(history_add(world.history, edit), ==, DOC_GOOD);
  /* Long ago, too. */
  for (guint i = 0; i < 100; i++)
    add_edit(&world, world.client, world.ann);
  guint64 number;
  g_assert_cmpint(world_client_append(other, &world.document, edit, &number), ==, DOC_STATUS(OK));
  g_assert_cmpuint(number, ==, 2);
  must_read(&world, other);
}

/* The server comes back, and clients go on with what they were at. */
static void
test_restart(void)
{
  g_auto(World) world;
  world_init(&world, NULL);
  make_document(&world);
  g_autoptr(WorldClient) bob = world_client_new(world.server, world.bob->key);
  guint64 call = doc_client_follow(bob->client, &world.document, 1), next = 1;
  for (guint turn = 0; turn < 3; turn++) {
    for (guint i = 0; i < 5; i++)
      add_edit(&world, world.client, world.ann);
    while (next <= doc_history_number(world.history)) {
      g_autoptr(DocClientEvent) event = world_client_answer(bob, call);
      g_assert_cmpuint(event->answer->entries->len == 0 ? next : event->answer->number, ==, next);
      next += event->answer->entries->len;
    }
    server_world_stop(world.server);
    g_main_context_iteration(NULL, FALSE);
    server_world_start(world.server);
  }
  must_read(&world, world.client);
}

/* Two servers over one log: whoever asks which, the order is one. */
static void
test_rivals(void)
{
  g_auto(World) world;
  world_init(&world, NULL);
  make_document(&world);
  g_autoptr(ServerWorld) rival = server_world_new(world.server->folder, NULL);
  g_autoptr(WorldClient) bob = world_client_new(rival, world.bob->key);
  guint64 call = doc_client_follow(bob->client, &world.document, 1), next = 1;
  g_autoptr(DocHistory) seen = doc_history_new(&world.document);
  history_add(seen, world.first);
  guint numbers = 0;
  for (guint turn = 0; turn < 20; turn++) {
    /* Both on what was there at the same time. */
    g_autoptr(DocEnvelope) one = person_edit(world.ann, seen, "by Ann");
    g_autoptr(DocEnvelope) two = person_edit(world.bob, seen, "by Bob");
    g_autoptr(GBytes) first = doc_envelope_pack(one);
    g_autoptr(GBytes) second = doc_envelope_pack(two);
    guint64 a = doc_client_append(world.client->client, &world.document, first);
    guint64 b = doc_client_append(bob->client, &world.document, second);
    g_autoptr(DocClientEvent) had = world_client_answer(world.client, a);
    g_assert_cmpint(had->answer->status, ==, DOC_STATUS(OK));
    guint64 other = 0;
    while (next <= had->answer->number || other == 0) {
      g_autoptr(DocClientEvent) event = world_client_await(bob);
      g_assert_no_error(bob->error);
      g_assert_cmpint(event->answer->status, ==, DOC_STATUS(OK));
      if (event->call == b) {
        other = event->answer->number;
        continue;
      }
      g_assert_cmpuint(event->call, ==, call);
      next += event->answer->entries->len;
    }
    g_assert_cmpuint(MIN(other, had->answer->number), ==, 2 + numbers);
    g_assert_cmpuint(MAX(other, had->answer->number), ==, 3 + numbers);
    numbers += 2;
    g_assert_cmpint(history_add(seen, other < had->answer->number ? two : one), ==, DOC_GOOD);
    g_assert_cmpint(history_add(seen, other < had->answer->number ? one : two), ==, DOC_GOOD);
  }
}

static void
test_limits(void)
{
  DocServerOptions options = DOC_SERVER_OPTIONS_DEFAULT;
  options.rate = 0;
  options.documents_max = 3;
  options.document_bytes = 8000;
  options.entry_bytes = 3000;
  options.follows_max = 2;
  options.open_max = 3;
  g_auto(World) world;
  world_init(&world, &options);
  make_document(&world);
  g_autofree char *words = g_strnfill(2600, 'w');
  g_autofree char *longer = g_strnfill(3000, 'w');
  g_autoptr(DocEnvelope) too_long = person_edit(world.ann, world.history, longer);
  g_assert_cmpint(world_client_append(world.client, &world.document, too_long, NULL), ==, DOC_STATUS(FULL));
  world.ann->sequence--;
  guint full = 0;
  for (guint i = 0; i < 4 && !full; i++) {
    g_autoptr(DocEnvelope) edit = person_edit(world.ann, world.history, words);
    full = world_client_append(world.client, &world.document, edit, NULL) == DOC_STATUS(FULL) ? i : 0;
    if (!full)
      history_add(world.history, edit);
  }
  g_assert_cmpuint(full, ==, 2);
  /* More documents than may be open at once, and than there may be. */
  Person *people[4];
  DocName names[4];
  for (guint i = 0; i < 4; i++) {
    people[i] = person_new((guint8)(10 + i));
    g_autoptr(DocEnvelope) first = person_found(people[i], NULL, 0, &names[i]);
    g_assert_cmpint(world_client_append(world.client, &names[i], first, NULL), ==,
                    i < 2 ? DOC_STATUS(OK) : DOC_STATUS(FULL));
    person_free(people[i]);
  }
  must_read(&world, world.client);
  guint64 calls[3];
  for (guint i = 0; i < 3; i++) {
    calls[i] = doc_client_follow(world.client->client, &world.document, 1);
    g_autoptr(DocClientEvent) event = world_client_answer(world.client, calls[i]);
    g_assert_cmpint(event->answer->status, ==, i < 2 ? DOC_STATUS(OK) : DOC_STATUS(FULL));
  }
  /* Whoever follows all that can be open leaves room for those who ask. */
  g_autoptr(WorldClient) bob = world_client_new(world.server, world.bob->key);
  for (guint i = 0; i < 2; i++) {
    g_autoptr(DocClientEvent) event = world_client_answer(bob, doc_client_follow(bob->client, &names[i], 1));
    g_assert_cmpint(event->answer->status, ==, i == 0 ? DOC_STATUS(OK) : DOC_STATUS(FULL));
    g_autoptr(DocClientEvent) head = world_client_answer(bob, doc_client_head(bob->client, &names[i]));
    g_assert_cmpuint(head->head.number, ==, 1);
  }
}

static void
test_founders(void)
{
  g_autoptr(GArray) founders = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  g_autoptr(Person) eve = person_new(3);
  g_array_append_val(founders, *identity_key_public(eve->key));
  DocServerOptions options = DOC_SERVER_OPTIONS_DEFAULT;
  options.founders = founders;
  g_auto(World) world;
  world_init(&world, &options);
  g_assert_cmpint(world_client_append(world.client, &world.document, world.first, NULL), ==,
                  DOC_STATUS(DENIED));
  DocName name;
  g_autoptr(DocEnvelope) first = person_found(eve, &world.ann, 1, &name);
  g_assert_cmpint(world_client_append(world.client, &name, first, NULL), ==, DOC_STATUS(OK));
}

/* Whoever asks too much is told to wait, and then has it all the same. */
static void
test_rate(void)
{
  DocServerOptions options = DOC_SERVER_OPTIONS_DEFAULT;
  options.rate = 10; /* which the slowest machine can exceed */
  g_auto(World) world;
  world_init(&world, &options);
  make_document(&world);
  for (guint round = 0; round < 5 && doc_server_counters(world.server->server).busy == 0; round++) {
    guint64 last = 0;
    for (guint i = 0; i < 60; i++)
      last = doc_client_head(world.client->client, &world.document);
    g_autoptr(DocClientEvent) event = world_client_answer(world.client, last);
    g_assert_cmpint(event->answer->status, ==, DOC_STATUS(OK));
  }
  g_assert_cmpuint(doc_server_counters(world.server->server).busy, >, 0);
}

/* What costs more than may ever be saved up is done all the same. */
static void
test_low_rate(void)
{
  DocServerOptions options = DOC_SERVER_OPTIONS_DEFAULT;
  options.rate = 2;
  g_auto(World) world;
  world_init(&world, &options);
  make_document(&world);
}

static void
test_long(void)
{
  g_auto(World) world;
  world_init(&world, NULL);
  make_document(&world);
  g_autofree char *words = g_strnfill(3 << 20, 'w');
  g_autoptr(DocEnvelope) large = person_edit(world.ann, world.history, words);
  g_assert_cmpint(world_client_append(world.client, &world.document, large, NULL), ==, DOC_STATUS(OK));
  g_assert_cmpint(history_add(world.history, large), ==, DOC_GOOD);
  /* Many, without waiting for each other: on the disk together. */
  enum { MANY = 3000 };
  guint64 last = 0;
  for (guint i = 0; i < MANY; i++) {
    g_autoptr(DocEnvelope) edit = person_edit(world.ann, world.history, "one of many");
    g_autoptr(GBytes) packed = doc_envelope_pack(edit);
    last = doc_client_append(world.client->client, &world.document, packed);
    g_assert_cmpint(history_add(world.history, edit), ==, DOC_GOOD);
  }
  g_autoptr(DocClientEvent) event = world_client_answer(world.client, last);
  g_assert_cmpuint(event->answer->number, ==, MANY + 2);
  g_assert_cmpuint(doc_server_counters(world.server->server).batches, <, MANY / 2);
  must_read(&world, world.client);
  server_world_stop(world.server);
  server_world_start(world.server);
  must_read(&world, world.client);
}

/* A full disk is said; what was acknowledged is there, and with room it goes on. */
static void
test_full_disk(void)
{
  g_auto(World) world;
  world_init(&world, NULL);
  make_document(&world);
  struct rlimit former, little;
  g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &former), ==, 0);
  little = (struct rlimit){.rlim_cur = 256 << 10, .rlim_max = former.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &little), ==, 0);
  g_autofree char *words = g_strnfill(20000, 'w');
  g_autoptr(DocEnvelope) refused = NULL;
  for (guint i = 0; i < 40 && !refused; i++) {
    g_autoptr(DocEnvelope) edit = person_edit(world.ann, world.history, words);
    if (world_client_append(world.client, &world.document, edit, NULL) == DOC_STATUS(OK))
      history_add(world.history, edit);
    else
      refused = g_steal_pointer(&edit);
  }
  g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &former), ==, 0);
  g_assert_nonnull(refused);
  g_assert_nonnull(strstr(world.server->complained, "make room"));
  must_read(&world, world.client);
  g_assert_cmpint(world_client_append(world.client, &world.document, refused, NULL), ==, DOC_STATUS(OK));
  g_assert_cmpint(history_add(world.history, refused), ==, DOC_GOOD);
  must_read(&world, world.client);
}

static void
lose_end(World *world, guint64 length)
{
  g_autofree char *path = g_build_filename(world->server->folder, "documents.db", NULL);
  g_autofree char *sql = g_strdup_printf("DELETE FROM entry WHERE number > %" G_GUINT64_FORMAT
                                         "; UPDATE document SET length = %" G_GUINT64_FORMAT,
                                         length, length);
  sqlite3 *db = NULL;
  g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
  g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close(db);
}

/* A log that has lost its end: those who follow are told, and can name it; what was lost can be sent again.
 */
static void
test_lost_end(void)
{
  g_auto(World) world;
  world_init(&world, NULL);
  make_document(&world);
  g_autoptr(GError) error = NULL;
  g_autoptr(DocEnvelope) kept = NULL;
  guint64 call = doc_client_follow(world.client->client, &world.document, 1), number;
  g_autoptr(WorldClient) bob = world_client_new(world.server, world.bob->key);
  for (guint i = 0; i < 5; i++)
    add_edit(&world, bob, world.bob);
  kept = person_edit(world.bob, world.history, "is lost");
  g_assert_cmpint(world_client_append(bob, &world.document, kept, &number), ==, DOC_STATUS(OK));
  g_autoptr(DocHistory) short_history = world.history;
  world.history = doc_history_new(&world.document);
  guint64 shown = 0;
  while (shown < 7) {
    g_autoptr(DocClientEvent) event = world_client_answer(world.client, call);
    shown += event->answer->entries->len;
    g_assert_cmpuint(event->head.number, <=, 7);
  }
  lose_end(&world, 6);
  g_autoptr(DocClientEvent) event = world_client_answer(world.client, call);
  g_assert_cmpuint(event->head.number, ==, 6);
  g_assert_true(doc_history_check_head(short_history, &event->head, &error));
  g_assert_cmpint(history_add(short_history, kept), ==, DOC_GOOD);
  g_assert_cmpint(world_client_append(bob, &world.document, kept, &number), ==, DOC_STATUS(OK));
  g_assert_cmpuint(number, ==, 7);
  g_autoptr(DocClientEvent) again = world_client_answer(world.client, call);
  g_assert_cmpuint(again->answer->number, ==, 7);
}

/* ---- what a client does not believe ---- */

typedef enum { NO_HEAD, OTHERS_HEAD, OTHER_DOCUMENT, SHORT_HEAD, NO_NUMBER, LIES } Lie;

typedef struct {
  Lie lie;
  const IdentityKey *server, *other;
  guint told;
} Liar;

static void
lie(const IdentityPublic *peer, const DocName *document, DocAnswer *answer, gpointer data)
{
  Liar *liar = data;
  DocName name = *document;
  g_auto(DocHead) head = {0};
  if (answer->status != DOC_STATUS(OK))
    return;
  liar->told++;
  name.bytes[0] ^= liar->lie == OTHER_DOCUMENT;
  g_autoptr(DocHistory) history = doc_history_new(&name);
  if (liar->lie == NO_NUMBER) {
    answer->number = 0;
    return;
  }
  g_clear_pointer(&answer->head, g_bytes_unref);
  if (liar->lie == NO_HEAD)
    return;
  doc_head_sign(&head, history, liar->lie == OTHERS_HEAD ? liar->other : liar->server);
  answer->head = g_bytes_ref(head.packed);
}

static void
test_lies(void)
{
  static const guint8 seed[IDENTITY_SEED_LENGTH] = {77};
  g_autoptr(IdentityKey) key = identity_key_from_seed(seed);
  g_autoptr(Person) other = person_new(9);
  for (Lie which = 0; which < LIES; which++) {
    Liar liar = {which, key, other->key};
    g_auto(World) world;
    world_init(&world, NULL);
    server_world_stop(world.server);
    world.server->options.hand_out = lie;
    world.server->options.data = &liar;
    server_world_start(world.server);
    world.server->options.data = world.server;
    g_autoptr(GBytes) packed = doc_envelope_pack(world.first);
    doc_client_append(world.client->client, &world.document, packed);
    g_assert_null(world_client_await(world.client));
    g_assert_nonnull(world.client->error);
    g_assert_true(g_error_matches(world.client->error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE) ||
                  g_error_matches(world.client->error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED));
    g_assert_cmpuint(liar.told, ==, 1);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/doc/server/calls", test_calls);
  g_test_add_func("/doc/server/following", test_following);
  g_test_add_func("/doc/server/refused", test_refused);
  g_test_add_func("/doc/server/void", test_void);
  g_test_add_func("/doc/server/same-again", test_same_again);
  g_test_add_func("/doc/server/restart", test_restart);
  g_test_add_func("/doc/server/rivals", test_rivals);
  g_test_add_func("/doc/server/limits", test_limits);
  g_test_add_func("/doc/server/founders", test_founders);
  g_test_add_func("/doc/server/rate", test_rate);
  g_test_add_func("/doc/server/low-rate", test_low_rate);
  g_test_add_func("/doc/server/long", test_long);
  g_test_add_func("/doc/server/full-disk", test_full_disk);
  g_test_add_func("/doc/server/lost-end", test_lost_end);
  g_test_add_func("/doc/server/lies", test_lies);
  return g_test_run();
}
