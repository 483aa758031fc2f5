/* A directory among others of which any may lie: what they tell it unasked, what they answer as it heals, and
 * what they ask, in any order, with connections that come and go. Whatever they say, its own users are
 * untouched, and of the others' it has what their home directories have signed. */
#include <string.h>

#include "c2c/directory_peers.h"
#include "c2c/directory_work.h"
#include "people.h"

#define STEPS     60
#define PEERS     (PEOPLE_HOMES - 1)
#define ASKED_MAX 4000 /* questions that a turn may lead to: beyond that somebody has put it into a loop */

typedef struct {
  DirectoryQuestion *question; /* that waits for its answer */
  GArray *offered;             /* that wait to be taken */
  gboolean connected;
} Peer;

typedef struct {
  DirectoryPeers *peers;
  DirectoryStore *store;
  DirectoryJudge judge;
  IdentityPublic keys[PEERS];
  Peer peer[PEERS];
  gint64 now_ms;
  guint asked;
  Input input;
} World;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static guint
index_of(const World *world, const IdentityPublic *key)
{
  for (guint i = 0; i < PEERS; i++)
    if (identity_public_equal(&world->keys[i], key))
      return i;
  __builtin_trap();
}

static void
forget(Peer *peer)
{
  g_clear_pointer(&peer->question, directory_question_free);
  g_clear_pointer(&peer->offered, g_array_unref);
}

/* What is asked is a question that a peer understands, and the only one at a time. */
static void
on_ask(DirectoryPeers *peers, const IdentityPublic *key, const DirectoryQuestion *question, void *data)
{
  World *world = data;
  Peer *peer = &world->peer[index_of(world, key)];
  g_autoptr(GBytes) bytes = directory_question_encode(question);
  gsize length;
  const void *packed = g_bytes_get_data(bytes, &length);
  demand(peer->connected && !peer->offered && world->asked++ < ASKED_MAX);
  forget(peer);
  peer->question = directory_question_decode(packed, length, NULL);
  demand(peer->question != NULL);
}

static void
on_take(DirectoryPeers *peers, const IdentityPublic *key, const GArray *updates, void *data)
{
  World *world = data;
  Peer *peer = &world->peer[index_of(world, key)];
  demand(peer->connected && !peer->offered && updates->len > 0 && updates->len <= DIRECTORY_FETCH_MAX);
  peer->offered = directory_updates_new();
  for (guint i = 0; i < updates->len; i++) {
    DirectorySigned copy = {0};
    directory_signed_copy(&copy, &g_array_index(updates, DirectorySigned, i));
    g_array_append_val(peer->offered, copy);
  }
}

/* How many were new, as the service does it (directory_peer_service.c). */
static guint
judge(World *world, const GArray *updates)
{
  DirectoryTask *task = g_new0(DirectoryTask, 1);
  g_autoptr(GArray) registered = g_array_new(FALSE, FALSE, sizeof(DirectoryPut));
  const IdentityPublic *own = identity_key_public(people_home(0));
  guint taken = 0;
  for (guint i = 0; i < updates->len; i++) {
    const DirectorySigned *update = &g_array_index(updates, DirectorySigned, i);
    IdentityPublic home;
    Record *record = directory_peers_judge(update, world->keys, PEERS, own, &home, NULL);
    if (!record)
      continue;
    demand(identity_public_equal(&home, &record->directory) && !identity_public_equal(&home, own));
    directory_task_add(task, record, directory_signed_pack(update));
  }
  if (task->candidates)
    directory_judge_all(&world->judge, task->candidates, registered);
  demand(registered->len == 0);
  for (guint i = 0; task->candidates && i < task->candidates->len; i++)
    taken += ((const DirectoryCandidate *)task->candidates->pdata[i])->status == DIRECTORY_STATUS(OK);
  directory_task_free(task);
  return taken;
}

static GArray *
some_updates(World *world, guint most)
{
  Input *input = &world->input;
  GArray *updates = directory_updates_new();
  for (guint left = input_below(input, most + 1); left > 0; left--) {
    const IdentityKey *signer = people_home(input_below(input, PEOPLE_HOMES));
    DirectorySigned update =
        directory_update_sign(signer, 1 + input_below(input, 4), people_any_record(input)->bytes);
    if (input_below(input, 8) == 0)
      update.signature[input_below(input, IDENTITY_SIGNATURE_LENGTH)] ^= 1;
    g_array_append_val(updates, update);
  }
  return updates;
}

static GBytes *
some_digests(World *world, const DirectoryQuestion *question)
{
  g_autofree guint8 *digests = g_malloc0(DIRECTORY_DIGESTS_LENGTH);
  guint kind = input_below(&world->input, 3);
  if (kind == 0)
    demand(directory_digest_all(world->store, &question->home, digests, NULL));
  if (kind != 1)
    for (guint left = input_below(&world->input, 8); left > 0; left--)
      digests[input_number(&world->input, 2) % DIRECTORY_DIGESTS_LENGTH] ^= 1;
  return g_bytes_new_take(g_steal_pointer(&digests), DIRECTORY_DIGESTS_LENGTH);
}

/* Users who are there, who are not, twice, in any order. */
static GArray *
some_seen(World *world, guint bucket)
{
  Input *input = &world->input;
  GArray *seen = g_array_new(FALSE, FALSE, sizeof(DirectorySeen));
  guint count = input_below(input, 6), times = input_below(input, 16) == 0 ? 300 : 1;
  for (guint i = 0; i < count * times; i++) {
    DirectorySeen one = {.hash = {(guint8)i}};
    if (i % count == 0) {
      one.origin = *people_origin(input_below(input, PEOPLE));
    } else {
      memcpy(one.origin.bytes + 1, &i, sizeof i);
      one.origin.bytes[0] = bucket;
    }
    g_array_append_val(seen, one);
  }
  return seen;
}

static void
answer_with(World *world, guint which, const DirectoryAnswer *said)
{
  g_autoptr(GBytes) bytes = directory_answer_encode(said);
  gsize length;
  const void *packed = g_bytes_get_data(bytes, &length);
  g_autoptr(DirectoryAnswer) answer = directory_answer_decode(packed, length, NULL);
  DirectoryQuestion **question = &world->peer[which].question;
  if (!answer)
    return;
  if (*question && answer->id == (*question)->id)
    g_clear_pointer(question, directory_question_free);
  directory_peers_answered(world->peers, &world->keys[which], answer, world->now_ms);
}

static void
lie(World *world, guint which)
{
  Input *input = &world->input;
  const DirectoryQuestion *question = world->peer[which].question;
  if (!question)
    return;
  g_autoptr(DirectoryAnswer) answer = directory_answer_new(
      input_below(input, 8) ? DIRECTORY_STATUS(OK) : (DirectoryStatus)input_below(input, 10), NULL);
  answer->id = question->id + (input_below(input, 16) == 15);
  answer->more = input_below(input, 2);
  answer->number = input_below(input, 4) ? input_below(input, 8) : input_number(input, 8);
  guint kind = input_below(input, 5);
  if (question->what == DIRECTORY_WHAT(DIGESTS) || kind == 0)
    answer->digests = some_digests(world, question);
  if (question->what == DIRECTORY_WHAT(BUCKET) || kind == 1)
    answer->seen = some_seen(world, question->bucket);
  if (question->what == DIRECTORY_WHAT(FETCH) || kind == 2)
    answer->updates = some_updates(world, 5);
  answer_with(world, which, answer);
}

static void
say_bytes(World *world, guint which)
{
  gsize length;
  const guint8 *bytes = input_blob(&world->input, &length);
  g_autoptr(DirectoryAnswer) answer = directory_answer_decode(bytes, length, NULL);
  if (answer)
    answer_with(world, which, answer);
}

static void
take_offered(World *world, guint which)
{
  g_autoptr(GArray) offered = g_steal_pointer(&world->peer[which].offered);
  if (offered)
    directory_peers_taken(world->peers, &world->keys[which], judge(world, offered), world->now_ms);
}

/* A peer's own question. */
static void
be_asked(World *world)
{
  static const DirectoryWhat kinds[] = {DIRECTORY_WHAT(DIGESTS), DIRECTORY_WHAT(BUCKET),
                                        DIRECTORY_WHAT(FETCH)};
  Input *input = &world->input;
  g_autoptr(DirectoryQuestion) question =
      directory_question_new(kinds[input_below(input, G_N_ELEMENTS(kinds))]);
  question->home = *identity_key_public(people_home(input_below(input, PEOPLE_HOMES)));
  question->bucket = input_number(input, 1);
  question->origins = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  for (guint left = 1 + input_below(input, 8); left > 0; left--)
    g_array_append_val(question->origins, *people_origin(input_below(input, PEOPLE)));
  g_autoptr(DirectoryAnswer) answer = directory_peers_answer(world->store, people_home(0), question);
  g_autoptr(GBytes) bytes = directory_answer_encode(answer);
  gsize length;
  const void *packed = g_bytes_get_data(bytes, &length);
  g_autoptr(DirectoryAnswer) same = directory_answer_decode(packed, length, NULL);
  demand(same && same->status == DIRECTORY_STATUS(OK) && same->updates->len <= question->origins->len);
}

static void
register_somebody(World *world)
{
  guint user = input_below(&world->input, PEOPLE), kind = input_below(&world->input, PEOPLE_KINDS);
  if (people_home_of(user, kind) != 0)
    return;
  DirectoryTask *task = g_new0(DirectoryTask, 1);
  g_autoptr(GArray) registered = g_array_new(FALSE, FALSE, sizeof(DirectoryPut));
  directory_task_add(task, record_ref(people_record(user, kind)), NULL);
  directory_judge_all(&world->judge, task->candidates, registered);
  for (guint i = 0; i < registered->len; i++) {
    const DirectoryPut *put = &g_array_index(registered, DirectoryPut, i);
    directory_peers_registered(world->peers, put->number, put->record->bytes, world->now_ms);
    record_unref(put->record);
  }
  directory_task_free(task);
}

static void
step(World *world)
{
  guint which = input_below(&world->input, PEERS), what = input_below(&world->input, 16);
  Peer *peer = &world->peer[which];
  world->asked = 0;
  if (what == 0) {
    peer->connected = FALSE;
    directory_peers_disconnected(world->peers, &world->keys[which], world->now_ms);
    forget(peer);
  } else if (what <= 2) {
    peer->connected = TRUE;
    directory_peers_connected(world->peers, &world->keys[which], world->now_ms);
  } else if (what == 3) {
    register_somebody(world);
  } else if (what == 4) {
    g_autoptr(GArray) updates = some_updates(world, DIRECTORY_UPDATES_MAX);
    judge(world, updates);
  } else if (what == 5) {
    be_asked(world);
  } else if (what == 6) {
    say_bytes(world, which);
  } else if (what <= 8) {
    world->now_ms += 1 + 200 * (gint64)input_number(&world->input, 1);
    demand(directory_peers_work(world->peers, world->now_ms) >= world->now_ms);
  } else if (what <= 10) {
    take_offered(world, which);
  } else {
    lie(world, which);
  }
}

static void
check(World *world)
{
  for (guint home = 0; home < PEOPLE_HOMES; home++) {
    const IdentityPublic *key = identity_key_public(people_home(home));
    g_autoptr(GPtrArray) rows = directory_store_page(world->store, key, NULL, PEOPLE + 1, NULL);
    demand(rows && rows->len <= PEOPLE);
    for (guint i = 0; i < rows->len; i++) {
      const DirectoryRow *row = rows->pdata[i];
      DirectorySigned update = {0};
      IdentityPublic signer;
      demand((home == 0) == (row->number > 0));
      if (home == 0)
        continue;
      demand(row->update && directory_signed_unpack(g_bytes_get_data(row->update, NULL),
                                                    g_bytes_get_size(row->update), &update, NULL));
      g_autoptr(Record) record = directory_update_verify(&update, &signer, NULL, NULL);
      demand(record && identity_public_equal(&signer, key) && g_bytes_equal(record->bytes, row->record));
      directory_signed_clear(&update);
    }
  }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static const DirectoryPeersCallbacks callbacks = {on_ask, on_take};
  people_files_in_memory();
  World world = {.input = {data, length}};
  for (guint i = 0; i < PEERS; i++)
    world.keys[i] = *identity_key_public(people_home(i + 1));
  DirectoryPeersOptions options = {.queue = 3, .fetch = 600};
  world.store = directory_store_open("sqlite:/directory", NULL);
  demand(world.store != NULL);
  directory_judge_init(&world.judge, world.store, identity_key_public(people_home(0)));
  world.peers = directory_peers_new(people_home(0), world.store, &options, 7, &callbacks, &world);
  directory_peers_set(world.peers, world.keys, PEERS, 0);
  for (guint i = 0; i < STEPS && world.input.left > 0; i++)
    step(&world);
  check(&world);
  directory_peers_free(world.peers);
  directory_judge_clear(&world.judge);
  directory_store_close(world.store);
  for (guint i = 0; i < PEERS; i++)
    forget(&world.peer[i]);
  return 0;
}
