/* A document's history, by authors and a server who may do anything: entries of theirs, really signed, in any
 * order; and bytes that are entries or heads. Whatever comes, two histories that are told the same say the
 * same, what would be taken is, somebody owns the document, and after a fault nothing is taken. */
#include <string.h>

#include "clonedoc/history.h"
#include "clonedoc/keys.h"

enum { PEOPLE = 4, STEPS = 24 };

typedef struct {
  const guint8 *data;
  gsize length;
} Input;

typedef struct {
  DocName document;
  DocHistory *one, *two;
} World;

static IdentityKey *keys[PEOPLE];

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static guint8
next(Input *input)
{
  if (input->length == 0)
    return 0;
  input->length--;
  return *input->data++;
}

static void
add_changes(DocEnvelope *envelope, Input *input)
{
  envelope->changes = g_array_new(FALSE, FALSE, sizeof(DocMember));
  envelope->keys = g_ptr_array_new_with_free_func((GDestroyNotify)doc_sealed_keys_free);
  g_autoptr(GBytes) sealed = g_bytes_new("sealed", 6);
  guint8 changes = next(input) % 5, given = next(input) % 6;
  for (guint i = 0; i < changes; i++) {
    guint8 what = next(input);
    const IdentityPublic *key = identity_key_public(keys[what % PEOPLE]);
    DocMember member = {*key, *key, (DocRole)(what / PEOPLE % 4)};
    g_array_append_val(envelope->changes, member);
  }
  for (guint i = 0; i < given; i++)
    g_ptr_array_add(envelope->keys,
                    doc_sealed_keys_new(identity_key_public(keys[next(input) % PEOPLE]), 1, sealed));
}

/* What somebody writes; mostly as it should be, so that there is something behind it. */
static DocEnvelope *
write_entry(Input *input, const DocHistory *history)
{
  DocEnvelope *envelope = g_new0(DocEnvelope, 1);
  guint8 who = next(input), how = next(input);
  guint64 last = history ? doc_history_number(history) : 0;
  const IdentityKey *key = keys[who % PEOPLE];
  envelope->author = *identity_key_public(key);
  envelope->sequence = (history ? doc_history_sequence(history, &envelope->author) : 0) + 1 + (how & 1);
  envelope->kind = !history || how & 2 ? DOC_MEMBERS : how & 4 ? DOC_CHECKPOINT : DOC_EDIT;
  envelope->epoch = (history ? doc_history_epoch(history) : 1) + (how >> 3 & 1);
  if (history) {
    envelope->base = last - MIN(last, who / PEOPLE % 4);
    envelope->chain = *doc_history_chain(history, envelope->base);
    envelope->chain.bytes[0] ^= how >> 4 & 1;
  }
  if (envelope->kind == DOC_MEMBERS)
    add_changes(envelope, input);
  else
    envelope->sealed = g_bytes_new_static("forty bytes or more, as sealing makes them.", 43);
  doc_envelope_sign(envelope, history ? doc_history_document(history) : NULL, key);
  envelope->signature[0] ^= how >> 5 & 1;
  return envelope;
}

static void
tell(World *world, guint64 number, const DocEnvelope *envelope)
{
  DocVerdict first = DOC_GOOD, second = DOC_GOOD, foretold = DOC_GOOD;
  DocFault fault;
  guint64 before = doc_history_number(world->one);
  gboolean would = doc_history_would_take(world->one, envelope, &foretold, &fault);
  gboolean one = doc_history_take(world->one, number, envelope, &first, NULL);
  demand(one == doc_history_take(world->two, number, envelope, &second, NULL) &&
         doc_history_fault(world->one) == doc_history_fault(world->two));
  demand(doc_history_number(world->one) == before + one);
  if (one)
    demand(would && first == second && first == foretold);
  else
    demand(doc_history_fault(world->one) != DOC_FAULT_NONE);
  if (number == before + 1)
    demand(would == one);
  if (one && number > 1)
    demand(doc_chain_equal(doc_history_chain(world->one, number), doc_history_chain(world->two, number)));
  g_autoptr(GArray) members = doc_history_members(world->one);
  guint owners = 0;
  for (guint i = 0; i < members->len; i++)
    owners += g_array_index(members, DocMember, i).role == DOC_OWNER;
  demand(doc_history_number(world->one) == 0 || owners > 0);
}

static void
look_at_bytes(const Input *input)
{
  static const IdentityPublic nobody;
  g_auto(DocHead) head = {0};
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(input->data, input->length, NULL);
  demand(!doc_head_decode(&head, input->data, input->length, &nobody, NULL));
  if (!envelope)
    return;
  g_autoptr(GBytes) packed = doc_envelope_pack(envelope);
  gsize length;
  const void *bytes = g_bytes_get_data(packed, &length);
  g_autoptr(DocEnvelope) again = doc_envelope_decode(bytes, length, NULL);
  DocChain one = {0}, two = {0};
  demand(again != NULL);
  doc_envelope_chain(envelope, &one);
  doc_envelope_chain(again, &two);
  demand(doc_chain_equal(&one, &two));
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  World world;
  for (guint i = 0; i < PEOPLE && !keys[i]; i++) {
    guint8 seed[IDENTITY_SEED_LENGTH] = {(guint8)(i + 1)};
    keys[i] = identity_key_from_seed(seed);
  }
  look_at_bytes(&input);
  g_autoptr(DocEnvelope) first = write_entry(&input, NULL);
  doc_envelope_name(first, &world.document);
  world.one = doc_history_new(&world.document);
  world.two = doc_history_new(&world.document);
  tell(&world, 1, first);
  g_autoptr(DocEnvelope) old = NULL;
  for (guint i = 0; i < STEPS && input.length > 0 && doc_history_fault(world.one) == DOC_FAULT_NONE; i++) {
    guint8 where = next(&input);
    guint64 number = doc_history_number(world.one) + 1 + (where == 1) - (where == 2);
    DocEnvelope *entry = write_entry(&input, world.one);
    tell(&world, number, old && where == 3 ? old : entry);
    doc_envelope_free(old);
    old = entry;
  }
  doc_history_free(world.one);
  doc_history_free(world.two);
  return 0;
}
