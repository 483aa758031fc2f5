#include "peer_net.h"

#include <string.h>

#include "base/error.h"
#include "record_world.h"

typedef struct {
  DirectoryStore store;
  GHashTable *rows; /* origin -> DirectoryRow */
  guint64 number;
} MemoryStore;

typedef struct {
  Net *net;
  guint index, life;
  MemoryStore store;
  DirectoryPeers *peers;
  gboolean up[NET_NODES]; /* its link to another one */
  gint64 work_ms;
} Node;

typedef enum { QUESTION, ANSWER, TAKEN } Kind;

typedef struct {
  gint64 at;
  guint64 order;
  Kind kind;
  guint from, to, life; /* TAKEN: of `to`, what came from `from` */
  GBytes *bytes;
  guint taken;
} Event;

struct Net {
  GRand *random;
  const NetLiar *liar;
  gint64 now, next_flip;
  gboolean faulty;
  guint64 orders;
  guint questions;
  GSequence *events;
  Node nodes[NET_NODES];
  void (*watch)(guint node, const Record *record, gpointer data);
  gpointer watch_data;
};

const IdentityKey *
net_key(guint node)
{
  static IdentityKey *keys[NET_NODES];
  if (!keys[node])
    keys[node] = world_key(9000 + node);
  return keys[node];
}

GRand *
net_random(Net *net)
{
  return net->random;
}

guint
net_questions(const Net *net)
{
  return net->questions;
}

/* The store, as far as peers use it */

static guint
origin_hash(gconstpointer key)
{
  guint hash;
  memcpy(&hash, key, sizeof hash);
  return hash;
}

static gboolean
origin_equal(gconstpointer a, gconstpointer b)
{
  return identity_public_equal(a, b);
}

static int
memory_get(DirectoryStore *base, const IdentityPublic *origin, DirectoryRow **row, GError **error)
{
  const DirectoryRow *found = g_hash_table_lookup(((MemoryStore *)base)->rows, origin);
  if (!found)
    return 0;
  *row = g_new(DirectoryRow, 1);
  **row = *found;
  g_bytes_ref(found->record);
  if (found->update)
    g_bytes_ref(found->update);
  return 1;
}

static int
by_origin(gconstpointer a, gconstpointer b)
{
  return memcmp(a, b, sizeof(IdentityPublic));
}

static GArray *
memory_seen(DirectoryStore *base, const IdentityPublic *home, guint8 bucket, GError **error)
{
  GArray *all = g_array_new(FALSE, FALSE, sizeof(DirectorySeen));
  GHashTableIter iter;
  const DirectoryRow *row;
  g_hash_table_iter_init(&iter, ((MemoryStore *)base)->rows);
  while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&row)) {
    if (row->origin.bytes[0] != bucket || !identity_public_equal(&row->home, home))
      continue;
    DirectorySeen seen = {.origin = row->origin};
    memcpy(seen.hash, row->hash, sizeof seen.hash);
    g_array_append_val(all, seen);
  }
  g_array_sort(all, by_origin);
  return all;
}

static const DirectoryStoreKind memory_kind = {.scheme = "memory", .get = memory_get, .seen = memory_seen};

const DirectoryRow *
net_row(Net *net, guint node, const IdentityPublic *origin)
{
  return g_hash_table_lookup(net->nodes[node].store.rows, origin);
}

static gboolean
is_newer(Node *node, const Record *record)
{
  const DirectoryRow *row = net_row(node->net, node->index, &record->origin);
  if (!row)
    return TRUE;
  gsize length;
  const void *bytes = g_bytes_get_data(row->record, &length);
  g_autoptr(Record) present = record_decode(bytes, length, NULL, NULL);
  return record_supersedes(record, present);
}

static void
put(Node *node, const Record *record, guint64 number, GBytes *update)
{
  DirectoryRow *row = g_new0(DirectoryRow, 1);
  row->origin = record->origin;
  row->home = record->directory;
  row->number = number;
  memcpy(row->hash, record->hash, sizeof row->hash);
  row->record = g_bytes_ref(record->bytes);
  row->update = update;
  g_hash_table_replace(node->store.rows, &row->origin, row);
}

/* Events */

static void
event_free(gpointer data)
{
  Event *event = data;
  g_clear_pointer(&event->bytes, g_bytes_unref);
  g_free(event);
}

static int
by_time(gconstpointer a, gconstpointer b, gpointer data)
{
  const Event *one = a, *other = b;
  return one->at != other->at ? (one->at < other->at ? -1 : 1) : (one->order < other->order ? -1 : 1);
}

static void
post(Net *net, gint64 delay, Event event)
{
  event.at = net->now + delay;
  event.order = ++net->orders;
  g_sequence_insert_sorted(net->events, g_memdup2(&event, sizeof event), by_time, NULL);
}

static gboolean
chance(Net *net, guint percent)
{
  return net->faulty && g_rand_int_range(net->random, 0, 100) < (gint32)percent;
}

static void
post_message(Net *net, Event event)
{
  guint copies = chance(net, 15) ? 0 : chance(net, 15) ? 2 : 1;
  for (guint i = 0; i < copies; i++) {
    Event copy = event;
    copy.bytes = g_bytes_ref(event.bytes);
    post(net, g_rand_int_range(net->random, 1, net->faulty ? 4000 : 50), copy);
  }
  g_bytes_unref(event.bytes);
}

static guint
index_of(const IdentityPublic *key)
{
  for (guint i = 0; i < NET_NODES; i++)
    if (identity_public_equal(key, identity_key_public(net_key(i))))
      return i;
  g_assert_not_reached();
}

static void
ask(DirectoryPeers *peers, const IdentityPublic *peer, const DirectoryQuestion *question, void *data)
{
  Node *node = data;
  node->net->questions++;
  post_message(node->net, (Event){.kind = QUESTION,
                                  .from = node->index,
                                  .to = index_of(peer),
                                  .life = node->life,
                                  .bytes = directory_question_encode(question)});
}

static guint
take_all(Node *node, const GArray *updates)
{
  IdentityPublic keys[NET_NODES];
  guint taken = 0;
  for (guint i = 0; i < NET_NODES; i++)
    keys[i] = *identity_key_public(net_key(i));
  for (guint i = 0; i < updates->len; i++) {
    const DirectorySigned *update = &g_array_index(updates, DirectorySigned, i);
    IdentityPublic home;
    g_autoptr(Record) record =
        directory_peers_judge(update, keys, NET_NODES, &keys[node->index], &home, NULL);
    if (!record || !is_newer(node, record))
      continue;
    put(node, record, 0, directory_signed_pack(update));
    taken++;
    if (node->net->watch)
      node->net->watch(node->index, record, node->net->watch_data);
  }
  return taken;
}

static void
take(DirectoryPeers *peers, const IdentityPublic *peer, const GArray *updates, void *data)
{
  Node *node = data;
  Event event = {.kind = TAKEN, .from = index_of(peer), .to = node->index, .life = node->life};
  event.taken = take_all(node, updates);
  post(node->net, 5, event);
}

static void
start(Node *node)
{
  static const DirectoryPeersCallbacks callbacks = {.ask = ask, .take = take};
  IdentityPublic keys[NET_NODES];
  node->life++;
  node->peers = directory_peers_new(net_key(node->index), &node->store.store, NULL,
                                    g_rand_int(node->net->random), &callbacks, node);
  for (guint i = 0; i < NET_NODES; i++)
    keys[i] = *identity_key_public(net_key(i));
  directory_peers_set(node->peers, keys, NET_NODES, node->net->now);
  for (guint i = 0; i < NET_NODES; i++)
    if (node->up[i])
      directory_peers_connected(node->peers, &keys[i], node->net->now);
}

void
net_restart(Net *net, guint index)
{
  directory_peers_free(net->nodes[index].peers);
  start(&net->nodes[index]);
}

static DirectoryAnswer *
answer_to(Node *node, const DirectoryQuestion *question)
{
  if (question->what != DIRECTORY_WHAT(UPDATES))
    return directory_peers_answer(&node->store.store, net_key(node->index), question);
  take_all(node, question->updates);
  DirectoryAnswer *answer = directory_answer_new(DIRECTORY_STATUS(OK), NULL);
  answer->id = question->id;
  return answer;
}

static void
deliver_question(Net *net, const Event *event)
{
  Node *node = &net->nodes[event->to];
  gsize length;
  const void *bytes = g_bytes_get_data(event->bytes, &length);
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryQuestion) question = directory_question_decode(bytes, length, &error);
  g_assert_no_error(error);
  g_autoptr(DirectoryAnswer) answer = answer_to(node, question);
  if (net->liar && net->liar->answer && event->to == NET_NODES - 1)
    net->liar->answer(net, question, answer);
  post_message(net, (Event){.kind = ANSWER,
                            .from = event->to,
                            .to = event->from,
                            .life = event->life,
                            .bytes = directory_answer_encode(answer)});
}

static void
deliver(Net *net, const Event *event)
{
  Node *to = &net->nodes[event->to], *asker = event->kind == QUESTION ? &net->nodes[event->from] : to;
  guint peer = event->kind == QUESTION ? event->to : event->from;
  /* A connection ends with either end's process, or when the network parts them. */
  if (event->life != asker->life || (event->kind != TAKEN && !asker->up[peer]))
    return;
  if (event->kind == QUESTION) {
    deliver_question(net, event);
  } else if (event->kind == TAKEN) {
    directory_peers_taken(to->peers, identity_key_public(net_key(event->from)), event->taken, net->now);
  } else {
    gsize length;
    const void *bytes = g_bytes_get_data(event->bytes, &length);
    g_autoptr(GError) error = NULL;
    g_autoptr(DirectoryAnswer) answer = directory_answer_decode(bytes, length, &error);
    g_assert_no_error(error);
    directory_peers_answered(to->peers, identity_key_public(net_key(event->from)), answer, net->now);
  }
}

static void
set_link(Net *net, guint from, guint to, gboolean up)
{
  Node *node = &net->nodes[from];
  if (from == to || node->up[to] == up)
    return;
  node->up[to] = up;
  if (up)
    directory_peers_connected(node->peers, identity_key_public(net_key(to)), net->now);
  else
    directory_peers_disconnected(node->peers, identity_key_public(net_key(to)), net->now);
}

/* A network in parts: who is in one reaches only the others in it. */
static void
flip(Net *net)
{
  guint part[NET_NODES];
  gboolean whole = g_rand_int_range(net->random, 0, 3) == 0;
  for (guint i = 0; i < NET_NODES; i++)
    part[i] = whole ? 0 : (guint)g_rand_int_range(net->random, 0, 2);
  for (guint i = 0; i < NET_NODES; i++)
    for (guint j = 0; j < NET_NODES; j++)
      set_link(net, i, j, part[i] == part[j] && g_rand_int_range(net->random, 0, 8) != 0);
  net->next_flip = net->now + g_rand_int_range(net->random, 500, 15000);
}

void
net_faults(Net *net, gboolean faulty)
{
  net->faulty = faulty;
  net->next_flip = faulty ? net->now : G_MAXINT64;
  for (guint i = 0; !faulty && i < NET_NODES; i++)
    for (guint j = 0; j < NET_NODES; j++)
      set_link(net, i, j, TRUE);
}

void
net_run(Net *net, gint64 ms)
{
  gint64 end = net->now + ms;
  for (;;) {
    GSequenceIter *first = g_sequence_get_begin_iter(net->events);
    gboolean any = !g_sequence_iter_is_end(first);
    gint64 next = MIN(end, net->next_flip);
    for (guint i = 0; i < NET_NODES; i++)
      next = MIN(next, net->nodes[i].work_ms);
    if (any)
      next = MIN(next, ((Event *)g_sequence_get(first))->at);
    net->now = MAX(net->now, next);
    if (net->now >= end)
      return;
    if (net->now >= net->next_flip)
      flip(net);
    if (any && ((Event *)g_sequence_get(first))->at <= net->now) {
      Event event = *(Event *)g_sequence_get(first);
      event.bytes = event.bytes ? g_bytes_ref(event.bytes) : NULL;
      g_sequence_remove(first);
      deliver(net, &event);
      g_clear_pointer(&event.bytes, g_bytes_unref);
    }
    for (guint i = 0; i < NET_NODES; i++)
      net->nodes[i].work_ms = MAX(directory_peers_work(net->nodes[i].peers, net->now), net->now + 1);
  }
}

void
net_register(Net *net, Record *record, gboolean silent)
{
  Node *node = &net->nodes[index_of(&record->directory)];
  if (!is_newer(node, record))
    return;
  put(node, record, ++node->store.number, NULL);
  if (!silent)
    directory_peers_registered(node->peers, node->store.number, record->bytes, net->now);
  node->work_ms = net->now;
}

void
net_push(Net *net, guint from, guint to, const DirectorySigned *updates, guint count)
{
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(UPDATES));
  question->id = 1;
  question->updates = directory_updates_new();
  for (guint i = 0; i < count; i++) {
    DirectorySigned copy = {0};
    directory_signed_copy(&copy, &updates[i]);
    g_array_append_val(question->updates, copy);
  }
  post_message(net, (Event){.kind = QUESTION,
                            .from = from,
                            .to = to,
                            .life = net->nodes[from].life,
                            .bytes = directory_question_encode(question)});
}

void
net_watch(Net *net, void (*taken)(guint node, const Record *record, gpointer data), gpointer data)
{
  net->watch = taken;
  net->watch_data = data;
}

Net *
net_new(guint32 seed, const NetLiar *liar)
{
  Net *net = g_new0(Net, 1);
  net->random = g_rand_new_with_seed(seed);
  net->liar = liar;
  net->next_flip = G_MAXINT64;
  net->events = g_sequence_new(event_free);
  for (guint i = 0; i < NET_NODES; i++) {
    Node *node = &net->nodes[i];
    node->net = net;
    node->index = i;
    node->store.store.kind = &memory_kind;
    node->store.rows =
        g_hash_table_new_full(origin_hash, origin_equal, NULL, (GDestroyNotify)directory_row_free);
    start(node);
  }
  net_faults(net, FALSE);
  return net;
}

void
net_free(Net *net)
{
  for (guint i = 0; i < NET_NODES; i++) {
    directory_peers_free(net->nodes[i].peers);
    g_hash_table_unref(net->nodes[i].store.rows);
  }
  g_sequence_free(net->events);
  g_rand_free(net->random);
  g_free(net);
}
