/* A clone: the document's replica for the server, and an end of the pair for the device. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/server/call.h"
#include "sim_world.h"

enum { FOLLOW_ID = 1, APPEND_ID = 2 };

void
sim_clone_init(SimClone *clone, guint who)
{
  guint8 seed[IDENTITY_SEED_LENGTH];
  memset(seed, (int)who + 1, sizeof seed);
  *clone = (SimClone){.key = identity_key_from_seed(seed), .pair = doc_pair_new(DOC_PAIR_CLONE)};
  seed[0] ^= 0x80;
  clone->user = identity_key_from_seed(seed);
  clone->taken = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  clone->ahead = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  clone->disk.entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
}

void
sim_clone_clear(SimClone *clone)
{
  g_clear_pointer(&clone->doc, doc_document_free);
  g_clear_pointer(&clone->pair, doc_pair_free);
  identity_key_free(clone->key);
  identity_key_free(clone->user);
  g_ptr_array_unref(clone->taken);
  g_ptr_array_unref(clone->ahead);
  g_clear_pointer(&clone->head, g_bytes_unref);
  g_clear_pointer(&clone->disk.doc, g_bytes_unref);
  g_clear_pointer(&clone->disk.own, g_bytes_unref);
  g_clear_pointer(&clone->disk.pair, g_bytes_unref);
  g_ptr_array_unref(clone->disk.entries);
}

static void
set_bytes(GBytes **bytes, GBytes *to)
{
  g_clear_pointer(bytes, g_bytes_unref);
  *bytes = to;
}

/* All at once: mostly what is its own and the entries since, at times the whole document. */
void
sim_clone_save(SimWorld *world, SimClone *clone)
{
  if (!clone->disk.doc || sim_chance(&world->net, 20)) {
    set_bytes(&clone->disk.doc, doc_document_save(clone->doc));
    g_ptr_array_set_size(clone->disk.entries, 0);
    g_ptr_array_set_size(clone->taken, 0);
  }
  for (guint i = 0; i < clone->taken->len; i++)
    g_ptr_array_add(clone->disk.entries, g_bytes_ref(clone->taken->pdata[i]));
  g_ptr_array_set_size(clone->taken, 0);
  set_bytes(&clone->disk.own, doc_document_save_own(clone->doc));
  set_bytes(&clone->disk.pair, doc_pair_save(clone->pair));
}

void
sim_clone_kill(SimWorld *world, guint who)
{
  SimClone *clone = &world->clones[who];
  if (!clone->doc)
    return;
  world->counts->clone_kills++;
  g_clear_pointer(&clone->doc, doc_document_free);
  g_clear_pointer(&clone->pair, doc_pair_free);
  g_ptr_array_set_size(clone->taken, 0);
  g_ptr_array_set_size(clone->ahead, 0);
  g_clear_pointer(&clone->head, g_bytes_unref);
  if (clone->down)
    sim_link_close(&world->net, clone->down, 1);
  if (clone->up)
    sim_link_close(&world->net, clone->up, 0);
  clone->down = clone->up = NULL;
  clone->back_at = world->net.now + sim_pick(&world->net, 80);
}

static void
come_up(SimClone *clone)
{
  g_autoptr(GError) error = NULL;
  gsize length;
  const void *data = g_bytes_get_data(clone->disk.doc, &length);
  clone->doc = doc_document_load(clone->key, data, length, &error);
  g_assert_no_error(error);
  for (guint i = 0; i < clone->disk.entries->len; i++) {
    g_auto(DocTaken) taken = {0};
    data = g_bytes_get_data(clone->disk.entries->pdata[i], &length);
    doc_document_take(clone->doc, doc_document_number(clone->doc) + 1, data, length, &taken, &error);
    g_assert_no_error(error);
  }
  data = g_bytes_get_data(clone->disk.own, &length);
  doc_document_load_own(clone->doc, data, length, &error);
  g_assert_no_error(error);
  data = g_bytes_get_data(clone->disk.pair, &length);
  clone->pair = doc_pair_load(DOC_PAIR_CLONE, data, length, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(doc_pair_length(clone->pair), ==, ot_text_length(doc_document_text(clone->doc)));
}

/* ---- saying ---- */

static void
call(SimWorld *world, SimClone *clone, guint64 id, DocWhat what, GBytes *entry)
{
  DocCall ask = {.id = id, .document = *doc_document_name(clone->doc), .what = what, .entry = entry};
  if (what == DOC_WHAT(FOLLOW))
    ask.from = doc_document_number(clone->doc) + 1;
  g_autoptr(GBytes) bytes = doc_call_encode(&ask);
  sim_link_send(&world->net, clone->up, 0, bytes);
}

static void
open_link(SimWorld *world, guint who)
{
  SimClone *clone = &world->clones[who];
  clone->up = sim_link_open(&world->net, TO_SERVER, who);
  clone->flown = FALSE;
  call(world, clone, FOLLOW_ID, DOC_WHAT(FOLLOW), NULL);
}

/* What is to be sent over its links, NULL where nothing is. */
typedef struct {
  GBytes *entry;
  GPtrArray *messages;
} Saying;

static Saying
ask(SimWorld *world, SimClone *clone)
{
  Saying saying = {NULL, g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref)};
  GBytes *message;
  while (clone->down && (message = doc_pair_next(clone->pair)))
    g_ptr_array_add(saying.messages, message);
  /* Some make their entries before there is anybody to send them to. */
  if (clone->up || sim_chance(&world->net, 20))
    saying.entry = doc_document_submit(clone->doc);
  if (saying.entry)
    clone->flown = FALSE;
  else if (!clone->flown && clone->up) {
    saying.entry = doc_document_flight(clone->doc);
    world->counts->flights_again += saying.entry != NULL;
  }
  return saying;
}

static gboolean
dies(SimWorld *world, guint who)
{
  if (world->calm || !sim_chance(&world->net, 150))
    return FALSE;
  sim_clone_kill(world, who);
  return TRUE;
}

static void
say(SimWorld *world, guint who)
{
  SimClone *clone = &world->clones[who];
  Saying saying = ask(world, clone);
  if ((saying.entry || saying.messages->len > 0) && !dies(world, who)) {
    sim_clone_save(world, clone);
    if (clone->up && saying.entry && !dies(world, who)) {
      call(world, clone, APPEND_ID, DOC_WHAT(APPEND), saying.entry);
      clone->flown = TRUE;
    }
    for (guint i = 0; clone->down && i < saying.messages->len; i++)
      if (!dies(world, who))
        sim_link_send(&world->net, clone->down, 1, saying.messages->pdata[i]);
  }
  g_ptr_array_unref(saying.messages);
  g_clear_pointer(&saying.entry, g_bytes_unref);
}

static void
tell_head(SimWorld *world, guint who)
{
  SimClone *clone = &world->clones[who];
  if (!clone->head || (clone->untold < 4 && !sim_chance(&world->net, 200)) || world->calm)
    return;
  clone->untold = 0;
  sim_post(&world->net, (who + 1 + sim_pick(&world->net, SIM_USERS - 1)) % SIM_USERS, clone->head);
}

void
sim_clone_step(SimWorld *world, guint who)
{
  SimClone *clone = &world->clones[who];
  if (!clone->doc && clone->back_at <= world->net.now)
    come_up(clone);
  if (clone->doc && !clone->up && clone->back_at <= world->net.now)
    open_link(world, who);
  if (clone->doc)
    tell_head(world, who);
  if (clone->doc)
    say(world, who);
}

/* ---- the device ---- */

static void
take_from_device(SimWorld *world, SimClone *clone, SimLink *link, GBytes *message)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) shown = NULL;
  gsize length;
  const void *data = g_bytes_get_data(message, &length);
  if (!doc_pair_take(clone->pair, data, length, &shown, &error)) {
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
    world->counts->refused++;
    if (clone->down)
      sim_link_close(&world->net, clone->down, 1);
    clone->down = NULL;
    return;
  }
  if (shown)
    doc_document_edit(clone->doc, shown, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(doc_pair_length(clone->pair), ==, ot_text_length(doc_document_text(clone->doc)));
}

static void
accept_link(SimWorld *world, SimClone *clone, SimLink *link)
{
  SimLink *old = clone->down;
  doc_pair_begin(clone->pair);
  clone->down = link;
  if (!old)
    return;
  world->counts->replaced++;
  /* At times what the old one still had comes behind the beginning of the new one. */
  if (sim_chance(&world->net, 3)) {
    world->counts->late += old->ends[1].coming.length;
    sim_link_flush(&world->net, old, 1);
  }
  sim_link_close(&world->net, old, 1);
}

void
sim_clone_hear_device(SimWorld *world, SimLink *link, SimWhat what, GBytes *message)
{
  SimClone *clone = &world->clones[link->who];
  if (what == SIM_OPENED && !clone->doc)
    sim_link_close(&world->net, link, 1);
  else if (what == SIM_OPENED)
    accept_link(world, clone, link);
  else if (what == SIM_MESSAGE)
    take_from_device(world, clone, link, message);
  else if (clone->down == link)
    clone->down = NULL;
}

/* ---- the server ---- */

static void
compare(SimWorld *world, SimClone *clone, const DocHead *head)
{
  const DocHistory *history = doc_document_history(clone->doc);
  g_assert_true(doc_chain_equal(&head->chain, doc_history_chain(history, head->number)));
  world->counts->heads++;
}

static void
read_head(SimWorld *world, GBytes *packed, DocHead *head)
{
  g_autoptr(GError) error = NULL;
  gsize length;
  const void *data = g_bytes_get_data(packed, &length);
  doc_head_decode(head, data, length, identity_key_public(world->server.key), &error);
  g_assert_no_error(error);
}

/* A head that another clone tells says nothing of how long the server's history is now: only what it was. */
void
sim_clone_hear_head(SimWorld *world, guint who, GBytes *message)
{
  SimClone *clone = &world->clones[who];
  g_auto(DocHead) head = {0};
  if (!clone->doc)
    return;
  read_head(world, message, &head);
  if (head.number > doc_document_number(clone->doc))
    g_ptr_array_add(clone->ahead, g_bytes_ref(message));
  else
    compare(world, clone, &head);
}

static void
look_back(SimWorld *world, SimClone *clone)
{
  for (guint i = clone->ahead->len; i > 0; i--) {
    g_auto(DocHead) head = {0};
    read_head(world, clone->ahead->pdata[i - 1], &head);
    if (head.number > doc_document_number(clone->doc))
      continue;
    compare(world, clone, &head);
    g_ptr_array_remove_index_fast(clone->ahead, i - 1);
  }
}

void
sim_clone_take(SimWorld *world, SimClone *clone, guint64 number, GBytes *entry)
{
  g_autoptr(GError) error = NULL;
  g_auto(DocTaken) taken = {0};
  gsize length;
  const void *data = g_bytes_get_data(entry, &length);
  doc_document_take(clone->doc, number, data, length, &taken, &error);
  g_assert_no_error(error);
  g_assert_false(taken.lie || taken.again);
  world->counts->voids += taken.own && taken.verdict != DOC_GOOD;
  world->counts->checkpoints += taken.own && taken.kind == DOC_CHECKPOINT && taken.verdict == DOC_GOOD;
  g_ptr_array_add(clone->taken, g_bytes_ref(entry));
  clone->untold++;
  if (taken.shown)
    doc_pair_edit(clone->pair, taken.shown, &error);
  g_assert_no_error(error);
}

static void
take_answer(SimWorld *world, SimClone *clone, const DocAnswer *answer)
{
  g_autoptr(GError) error = NULL;
  g_auto(DocHead) head = {0};
  g_assert_cmpint(answer->status, ==, DOC_STATUS(OK));
  for (guint i = 0; i < answer->entries->len; i++)
    sim_clone_take(world, clone, answer->number + i, answer->entries->pdata[i]);
  read_head(world, answer->head, &head);
  doc_document_check_head(clone->doc, &head, &error);
  g_assert_no_error(error);
  set_bytes(&clone->head, g_bytes_ref(answer->head));
  look_back(world, clone);
}

void
sim_clone_hear_server(SimWorld *world, SimLink *link, SimWhat what, GBytes *message)
{
  SimClone *clone = &world->clones[link->who];
  g_autoptr(GError) error = NULL;
  gsize length;
  if (what == SIM_GONE) {
    clone->up = NULL;
    clone->back_at = world->net.now + sim_pick(&world->net, 30);
    return;
  }
  const void *data = g_bytes_get_data(message, &length);
  g_autoptr(DocAnswer) answer = doc_answer_decode(data, length, &error);
  g_assert_no_error(error);
  take_answer(world, clone, answer);
}

void
sim_clone_change(SimWorld *world)
{
  SimClone *owner = &world->clones[0], *any = &world->clones[sim_pick(&world->net, SIM_USERS)];
  if (any->doc && sim_chance(&world->net, 2))
    g_assert_true(doc_document_checkpoint(any->doc, NULL));
  else if (owner->doc) {
    gboolean gone = world->guests > 0 && sim_chance(&world->net, 2);
    guint8 seed[IDENTITY_SEED_LENGTH] = {0xee};
    guint guest = gone ? sim_pick(&world->net, world->guests) : world->guests++;
    memcpy(seed + 1, &guest, sizeof guest);
    g_autoptr(IdentityKey) key = identity_key_from_seed(seed);
    DocMember member = {*identity_key_public(key), *identity_key_public(key), gone ? DOC_NONE : DOC_READER};
    /* Who is gone already cannot go again. */
    doc_document_change(owner->doc, &member, 1, NULL);
  }
}
