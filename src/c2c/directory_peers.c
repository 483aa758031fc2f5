#include "c2c/directory_peers.h"

#include <string.h>

typedef enum { IDLE, UPDATING, COMPARING, LISTING, FETCHING, TAKING } Phase;

/* After what went wrong: milliseconds, doubled each time up to the time between healings. */
#define PAUSE_MS 1000
/* Of a peer that hands out what is not new nobody has to hear the end. */
#define REFUSED_MAX 4096

typedef struct {
  IdentityPublic key;
  DirectoryPeerStatus status; /* but for `waiting` and `healing` */
  GQueue updates;             /* of DirectorySigned; the first `sending` are under way */
  guint sending;

  Phase phase;
  guint64 question;
  gint64 deadline_ms; /* of the question */
  gint64 pause_ms;    /* nothing is asked before */
  int back_off;       /* 0: nothing went wrong */
  gint64 heal_ms;     /* the next healing */

  /* Of a healing. */
  gboolean healing, turn; /* `turn`: it goes on before further updates are sent */
  GArray *homes;          /* of IdentityPublic: still to compare; the last one is at it */
  gboolean compared;      /* that one's digests are: */
  guint8 differs[DIRECTORY_BUCKETS];
  guint bucket;
  GArray *wanted; /* of IdentityPublic */
  GArray *asked;  /* the same, of which a FETCH is under way */
  guint fetched, refused, taking;
} Peer;

struct DirectoryPeers {
  const IdentityKey *own;
  DirectoryStore *store;
  DirectoryPeersOptions options;
  GRand *random;
  DirectoryPeersCallbacks callbacks;
  void *data;
  GPtrArray *peers;
  guint64 questions;
};

static void
signed_free(void *data)
{
  directory_signed_clear(data);
  g_free(data);
}

static void
peer_free(void *data)
{
  Peer *peer = data;
  g_queue_clear_full(&peer->updates, signed_free);
  g_array_unref(peer->homes);
  g_array_unref(peer->wanted);
  g_array_unref(peer->asked);
  g_free(peer);
}

/* At most `ms` later, at least half of it: so that not all ask at once. */
static gint64
soon(DirectoryPeers *peers, gint64 now_ms, int ms)
{
  return now_ms + ms - g_rand_int_range(peers->random, 0, ms / 2 + 1);
}

static Peer *
peer_new(DirectoryPeers *peers, const IdentityPublic *key, gint64 now_ms)
{
  Peer *peer = g_new0(Peer, 1);
  peer->key = *key;
  peer->status.healed_ms = -1;
  g_queue_init(&peer->updates);
  peer->homes = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  peer->wanted = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  peer->asked = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  peer->heal_ms = soon(peers, now_ms, peers->options.return_ms);
  return peer;
}

static Peer *
find(const DirectoryPeers *peers, const IdentityPublic *key)
{
  for (guint i = 0; i < peers->peers->len; i++) {
    Peer *peer = peers->peers->pdata[i];
    if (identity_public_equal(&peer->key, key))
      return peer;
  }
  return NULL;
}

static DirectoryPeersOptions
complete(const DirectoryPeersOptions *options)
{
  DirectoryPeersOptions all = options ? *options : (DirectoryPeersOptions){0};
  all.heal_ms = all.heal_ms ? all.heal_ms : 45000;
  all.return_ms = all.return_ms ? all.return_ms : 2000;
  all.question_ms = all.question_ms ? all.question_ms : 30000;
  all.queue = all.queue ? all.queue : 4096;
  all.fetch = all.fetch ? all.fetch : 65536;
  return all;
}

DirectoryPeers *
directory_peers_new(const IdentityKey *own, DirectoryStore *store, const DirectoryPeersOptions *options,
                    guint32 seed, const DirectoryPeersCallbacks *callbacks, void *data)
{
  DirectoryPeers *peers = g_new0(DirectoryPeers, 1);
  peers->own = own;
  peers->store = store;
  peers->options = complete(options);
  peers->random = g_rand_new_with_seed(seed);
  peers->callbacks = *callbacks;
  peers->data = data;
  peers->peers = g_ptr_array_new_with_free_func(peer_free);
  return peers;
}

void
directory_peers_free(DirectoryPeers *peers)
{
  g_rand_free(peers->random);
  g_ptr_array_unref(peers->peers);
  g_free(peers);
}

static gboolean
contains(const IdentityPublic *keys, guint count, const IdentityPublic *key)
{
  for (guint i = 0; i < count; i++)
    if (identity_public_equal(&keys[i], key))
      return TRUE;
  return FALSE;
}

void
directory_peers_set(DirectoryPeers *peers, const IdentityPublic *keys, guint count, gint64 now_ms)
{
  for (guint i = peers->peers->len; i-- > 0;)
    if (!contains(keys, count, &((Peer *)peers->peers->pdata[i])->key))
      g_ptr_array_remove_index(peers->peers, i);
  for (guint i = 0; i < count && peers->peers->len < DIRECTORY_PEERS_MAX; i++)
    if (!find(peers, &keys[i]) && !identity_public_equal(&keys[i], identity_key_public(peers->own)))
      g_ptr_array_add(peers->peers, peer_new(peers, &keys[i], now_ms));
}

/* Healing */

static void
stop_healing(Peer *peer)
{
  peer->healing = FALSE;
  g_array_set_size(peer->homes, 0);
  g_array_set_size(peer->wanted, 0);
  g_array_set_size(peer->asked, 0);
  peer->compared = FALSE;
  peer->bucket = DIRECTORY_BUCKETS;
}

/* All homes but the own one: of its users nobody else knows better. */
static void
begin_healing(DirectoryPeers *peers, Peer *peer)
{
  stop_healing(peer);
  peer->healing = TRUE;
  peer->fetched = peer->refused = 0;
  for (guint i = 0; i < peers->peers->len; i++)
    g_array_append_val(peer->homes, ((Peer *)peers->peers->pdata[i])->key);
}

/* Something did not go well with this peer: what was sent waits again, and healing begins anew later. */
static void
give_up(DirectoryPeers *peers, Peer *peer, gint64 now_ms)
{
  peer->phase = IDLE;
  peer->sending = 0;
  stop_healing(peer);
  peer->back_off = peer->back_off ? MIN(2 * peer->back_off, peers->options.heal_ms) : PAUSE_MS;
  peer->pause_ms = soon(peers, now_ms, peer->back_off);
  peer->heal_ms = MAX(peer->pause_ms, MIN(peer->heal_ms, soon(peers, now_ms, peers->options.heal_ms)));
}

static void
end_healing(DirectoryPeers *peers, Peer *peer, gint64 now_ms)
{
  stop_healing(peer);
  peer->status.healed_ms = now_ms;
  peer->heal_ms = soon(peers, now_ms, peers->options.heal_ms);
}

static void
ask(DirectoryPeers *peers, Peer *peer, Phase phase, DirectoryQuestion *question, gint64 now_ms)
{
  question->id = peer->question = ++peers->questions;
  peer->phase = phase;
  peer->deadline_ms = now_ms + peers->options.question_ms;
  peers->callbacks.ask(peers, &peer->key, question, peers->data);
}

static void
ask_updates(DirectoryPeers *peers, Peer *peer, gint64 now_ms)
{
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(UPDATES));
  question->updates = directory_updates_new();
  peer->sending = 0;
  for (GList *item = peer->updates.head; item && peer->sending < DIRECTORY_UPDATES_MAX; item = item->next) {
    DirectorySigned copy = {0};
    directory_signed_copy(&copy, item->data);
    g_array_append_val(question->updates, copy);
    peer->sending++;
  }
  ask(peers, peer, UPDATING, question, now_ms);
}

static const IdentityPublic *
present_home(const Peer *peer)
{
  return &g_array_index(peer->homes, IdentityPublic, peer->homes->len - 1);
}

static void
ask_fetch(DirectoryPeers *peers, Peer *peer, gint64 now_ms)
{
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(FETCH));
  guint count = MIN(peer->wanted->len, DIRECTORY_FETCH_MAX);
  question->home = *present_home(peer);
  question->origins = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  const IdentityPublic *last = &g_array_index(peer->wanted, IdentityPublic, peer->wanted->len - count);
  g_array_append_vals(question->origins, last, count);
  g_array_set_size(peer->asked, 0);
  g_array_append_vals(peer->asked, last, count);
  g_array_set_size(peer->wanted, peer->wanted->len - count);
  peer->fetched += count;
  ask(peers, peer, FETCHING, question, now_ms);
}

static void
ask_bucket(DirectoryPeers *peers, Peer *peer, gint64 now_ms)
{
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(BUCKET));
  question->home = *present_home(peer);
  question->bucket = peer->bucket;
  ask(peers, peer, LISTING, question, now_ms);
}

static void
ask_digests(DirectoryPeers *peers, Peer *peer, gint64 now_ms)
{
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(DIGESTS));
  question->home = *present_home(peer);
  ask(peers, peer, COMPARING, question, now_ms);
}

/* The bucket that is to be listed next; DIRECTORY_BUCKETS: none. */
static void
skip_equal(Peer *peer)
{
  while (peer->bucket < DIRECTORY_BUCKETS && !peer->differs[peer->bucket])
    peer->bucket++;
}

static void
go_on_healing(DirectoryPeers *peers, Peer *peer, gint64 now_ms)
{
  skip_equal(peer);
  gboolean enough = peer->fetched >= peers->options.fetch || peer->refused >= REFUSED_MAX;
  if (!enough && peer->wanted->len > 0) {
    ask_fetch(peers, peer, now_ms);
  } else if (!enough && peer->bucket < DIRECTORY_BUCKETS) {
    ask_bucket(peers, peer, now_ms);
  } else {
    if (peer->compared)
      g_array_set_size(peer->homes, peer->homes->len - 1);
    peer->compared = FALSE;
    if (enough || peer->homes->len == 0)
      end_healing(peers, peer, now_ms);
    else
      ask_digests(peers, peer, now_ms);
  }
}

/* Asks what is next, if nothing is under way. What is new and what is old take turns. */
static void
go_on(DirectoryPeers *peers, Peer *peer, gint64 now_ms)
{
  if (!peer->status.connected || peer->phase != IDLE || now_ms < peer->pause_ms)
    return;
  if (!peer->healing && now_ms >= peer->heal_ms)
    begin_healing(peers, peer);
  gboolean heals = peer->healing && (peer->turn || peer->updates.length == 0);
  peer->turn = !heals;
  if (heals)
    go_on_healing(peers, peer, now_ms);
  if (peer->phase == IDLE && peer->updates.length > 0)
    ask_updates(peers, peer, now_ms);
}

/* Answers */

static gboolean
take_updates_answer(Peer *peer, const DirectoryAnswer *answer)
{
  /* What it does not want now it may want later; what it refuses it has judged. */
  if (answer->status == DIRECTORY_STATUS(BUSY) || answer->status == DIRECTORY_STATUS(FAILED))
    return FALSE;
  peer->status.sent += peer->sending;
  for (; peer->sending > 0; peer->sending--)
    signed_free(g_queue_pop_head(&peer->updates));
  return TRUE;
}

static gboolean
take_digests(DirectoryPeers *peers, Peer *peer, const DirectoryAnswer *answer)
{
  g_autofree guint8 *own = g_malloc(DIRECTORY_DIGESTS_LENGTH);
  gsize length = 0;
  const guint8 *theirs = answer->digests ? g_bytes_get_data(answer->digests, &length) : NULL;
  if (answer->status != DIRECTORY_STATUS(OK) || length != DIRECTORY_DIGESTS_LENGTH ||
      !directory_digest_all(peers->store, present_home(peer), own, NULL))
    return FALSE;
  for (guint i = 0; i < DIRECTORY_BUCKETS; i++)
    peer->differs[i] = memcmp(own + i * DIRECTORY_DIGEST_LENGTH, theirs + i * DIRECTORY_DIGEST_LENGTH,
                              DIRECTORY_DIGEST_LENGTH) != 0;
  peer->compared = TRUE;
  peer->bucket = 0;
  return TRUE;
}

static gboolean
take_bucket(DirectoryPeers *peers, Peer *peer, const DirectoryAnswer *answer)
{
  if (answer->status != DIRECTORY_STATUS(OK) || !answer->seen)
    return FALSE;
  g_autoptr(GArray) own = directory_store_seen(peers->store, present_home(peer), (guint8)peer->bucket, NULL);
  if (!own)
    return FALSE;
  directory_digest_wanted(peer->bucket, own, answer->seen, peer->wanted);
  peer->bucket++;
  return TRUE;
}

static gboolean
take_fetched(DirectoryPeers *peers, Peer *peer, const DirectoryAnswer *answer)
{
  if (answer->status != DIRECTORY_STATUS(OK) || !answer->updates)
    return FALSE;
  guint dealt = peer->asked->len;
  if (answer->more && answer->number > 0 && answer->number < dealt) {
    dealt = (guint)answer->number;
    g_array_append_vals(peer->wanted, &g_array_index(peer->asked, IdentityPublic, dealt),
                        peer->asked->len - dealt);
    peer->fetched -= peer->asked->len - dealt;
  }
  if (answer->updates->len > dealt)
    return FALSE;
  peer->refused += dealt - answer->updates->len;
  if (answer->updates->len == 0)
    return TRUE;
  peer->phase = TAKING;
  peer->taking = answer->updates->len;
  peers->callbacks.take(peers, &peer->key, answer->updates, peers->data);
  return TRUE;
}

static gboolean
take_answer(DirectoryPeers *peers, Peer *peer, const DirectoryAnswer *answer)
{
  Phase phase = peer->phase;
  peer->phase = IDLE;
  switch (phase) {
  case UPDATING:
    return take_updates_answer(peer, answer);
  case COMPARING:
    return take_digests(peers, peer, answer);
  case LISTING:
    return take_bucket(peers, peer, answer);
  default:
    return take_fetched(peers, peer, answer);
  }
}

static gboolean
waits_for_answer(const Peer *peer)
{
  return peer->phase != IDLE && peer->phase != TAKING;
}

void
directory_peers_answered(DirectoryPeers *peers, const IdentityPublic *key, const DirectoryAnswer *answer,
                         gint64 now_ms)
{
  Peer *peer = find(peers, key);
  if (!peer || !waits_for_answer(peer) || answer->id != peer->question)
    return;
  if (take_answer(peers, peer, answer))
    peer->back_off = 0;
  else
    give_up(peers, peer, now_ms);
  go_on(peers, peer, now_ms);
}

void
directory_peers_taken(DirectoryPeers *peers, const IdentityPublic *key, guint taken, gint64 now_ms)
{
  Peer *peer = find(peers, key);
  if (!peer || peer->phase != TAKING)
    return;
  taken = MIN(taken, peer->taking);
  peer->status.taken += taken;
  peer->status.refused += peer->taking - taken;
  peer->refused += peer->taking - taken;
  peer->phase = IDLE;
  go_on(peers, peer, now_ms);
}

/* Other events */

void
directory_peers_connected(DirectoryPeers *peers, const IdentityPublic *key, gint64 now_ms)
{
  Peer *peer = find(peers, key);
  if (!peer || peer->status.connected)
    return;
  peer->status.connected = TRUE;
  peer->back_off = 0;
  peer->pause_ms = now_ms;
  peer->heal_ms = MIN(peer->heal_ms, soon(peers, now_ms, peers->options.return_ms));
  go_on(peers, peer, now_ms);
}

/* What it missed meanwhile it would not know of before the next healing: that begins as it comes back. */
void
directory_peers_disconnected(DirectoryPeers *peers, const IdentityPublic *key, gint64 now_ms)
{
  Peer *peer = find(peers, key);
  if (!peer)
    return;
  peer->status.connected = FALSE;
  peer->phase = IDLE;
  peer->sending = 0;
  peer->heal_ms = now_ms;
  stop_healing(peer);
}

void
directory_peers_registered(DirectoryPeers *peers, guint64 number, GBytes *record, gint64 now_ms)
{
  if (peers->peers->len == 0)
    return;
  DirectorySigned update = directory_update_sign(peers->own, number, record);
  for (guint i = 0; i < peers->peers->len; i++) {
    Peer *peer = peers->peers->pdata[i];
    if (peer->updates.length >= peers->options.queue) {
      g_queue_clear_full(&peer->updates, signed_free);
      peer->sending = 0;
      continue;
    }
    DirectorySigned *copy = g_new0(DirectorySigned, 1);
    directory_signed_copy(copy, &update);
    g_queue_push_tail(&peer->updates, copy);
    go_on(peers, peer, now_ms);
  }
  directory_signed_clear(&update);
}

gint64
directory_peers_work(DirectoryPeers *peers, gint64 now_ms)
{
  gint64 next_ms = G_MAXINT64;
  for (guint i = 0; i < peers->peers->len; i++) {
    Peer *peer = peers->peers->pdata[i];
    if (waits_for_answer(peer) && now_ms >= peer->deadline_ms)
      give_up(peers, peer, now_ms);
    go_on(peers, peer, now_ms);
    if (waits_for_answer(peer))
      next_ms = MIN(next_ms, peer->deadline_ms);
    else if (peer->status.connected && peer->phase == IDLE)
      next_ms = MIN(next_ms, MAX(peer->pause_ms, peer->updates.length ? now_ms : peer->heal_ms));
  }
  return MAX(next_ms, now_ms);
}

gboolean
directory_peers_status(const DirectoryPeers *peers, const IdentityPublic *key, DirectoryPeerStatus *status)
{
  const Peer *peer = find(peers, key);
  if (!peer)
    return FALSE;
  *status = peer->status;
  status->waiting = peer->updates.length;
  status->healing = peer->healing;
  return TRUE;
}
