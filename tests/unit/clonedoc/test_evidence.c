/* Evidence that has but a part of a history in it: what it shows to who knows nothing of what came before,
 * and that of what a correct server may give out none can be made. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/evidence.h"
#include "doc_world.h"
#include "identity/statement.h"
#include "wire/doc.pb-c.h"
#include "wire/message.h"

typedef struct {
  Person *ann, *bob;
  IdentityKey *server;
  DocName document;
  DocHistory *history;
  GPtrArray *entries; /* of GBytes: of the history, and behind it what the server has signed besides */
  GArray *chains;     /* of DocChain, before each entry and after the last */
} World;

static void
tell(World *world, const DocEnvelope *envelope)
{
  DocChain chain = g_array_index(world->chains, DocChain, world->chains->len - 1);
  doc_envelope_chain(envelope, &chain);
  g_array_append_val(world->chains, chain);
  g_ptr_array_add(world->entries, doc_envelope_pack(envelope));
}

/* Of what is right: the envelope is taken. */
static void
add(World *world, DocEnvelope *envelope, DocVerdict verdict)
{
  g_assert_cmpint(history_add(world->history, envelope), ==, verdict);
  tell(world, envelope);
  doc_envelope_free(envelope);
}

static World
world_new(guint edits)
{
  World world = {.ann = person_new(1), .bob = person_new(2), .server = identity_key_generate()};
  DocChain none = {{0}};
  g_autoptr(DocEnvelope) first = person_found(world.ann, &world.bob, 1, &world.document);
  world.history = doc_history_new(&world.document);
  world.entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  world.chains = g_array_new(FALSE, FALSE, sizeof(DocChain));
  g_array_append_val(world.chains, none);
  g_assert_cmpint(history_add(world.history, first), ==, DOC_GOOD);
  g_assert_true(person_learn(world.bob, first));
  tell(&world, first);
  for (guint i = 0; i < edits; i++)
    add(&world, person_edit(i % 3 == 0 ? world.ann : world.bob, world.history, "text"), DOC_GOOD);
  return world;
}

static void
world_clear(World *world)
{
  person_free(world->ann);
  person_free(world->bob);
  identity_key_free(world->server);
  doc_history_free(world->history);
  g_ptr_array_unref(world->entries);
  g_array_unref(world->chains);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

/* Of all entries. */
static void
sign_head(const World *world, DocHead *head)
{
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  Doppel__Wire__DocHead wire = DOPPEL__WIRE__DOC_HEAD__INIT;
  wire.version = 1;
  wire.document = wire_borrow(world->document.bytes, sizeof world->document);
  wire.number = world->entries->len;
  wire.chain = wire_borrow(&g_array_index(world->chains, DocChain, world->entries->len), sizeof(DocChain));
  g_autoptr(GBytes) statement = wire_pack(&wire.base);
  gsize length;
  const void *bytes = g_bytes_get_data(statement, &length);
  statement_sign(world->server, STATEMENT_DOC_HEAD, bytes, length, signature);
  Doppel__Wire__DocSigned with = DOPPEL__WIRE__DOC_SIGNED__INIT;
  with.statement = wire_borrow(bytes, length);
  with.signature = wire_borrow(signature, sizeof signature);
  g_autoptr(GBytes) packed = wire_pack(&with.base);
  bytes = g_bytes_get_data(packed, &length);
  g_assert_true(doc_head_decode(head, bytes, length, identity_key_public(world->server), NULL));
}

/* The evidence with the entries from `number` on. */
static GBytes *
part_from(const World *world, guint64 number)
{
  g_auto(DocHead) head = {0};
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) entries = g_ptr_array_new();
  sign_head(world, &head);
  for (guint64 i = number; i <= world->entries->len; i++)
    g_ptr_array_add(entries, world->entries->pdata[i - 1]);
  GBytes *part = doc_evidence_of_part(&head, &g_array_index(world->chains, DocChain, number - 1), entries,
                                      identity_key_public(world->server), &error);
  if (!part)
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
  return part;
}

static gboolean
shows(const World *world, const void *bytes, gsize length, DocEvidence *evidence)
{
  return doc_evidence_check(bytes, length, identity_key_public(world->server), evidence, NULL);
}

/* Shown by every part from the second entry to that with number `from`, and by none that is shorter. */
static void
assert_shown(const World *world, DocFault fault, guint64 number, guint64 from)
{
  g_autoptr(IdentityKey) other = identity_key_generate();
  for (guint64 i = 2; i <= world->entries->len; i++) {
    g_autoptr(GBytes) part = part_from(world, i);
    DocEvidence evidence;
    g_assert_cmpint(part != NULL, ==, i <= from);
    if (!part)
      continue;
    gsize length;
    const guint8 *bytes = g_bytes_get_data(part, &length);
    g_assert_true(shows(world, bytes, length, &evidence));
    g_assert_cmpstr(doc_fault_name(evidence.fault), ==, doc_fault_name(fault));
    g_assert_cmpuint(evidence.number, ==, number);
    g_assert_cmpuint(evidence.length, ==, world->entries->len);
    g_assert_true(doc_name_equal(&evidence.document, &world->document));
    g_assert_false(doc_evidence_check(bytes, length, identity_key_public(other), &evidence, NULL));
    if (i < from)
      continue;
    for (gsize at = 0; at < length; at++) {
      g_autofree guint8 *changed = g_memdup2(bytes, length);
      changed[at] ^= 1 << at % 8;
      g_assert_false(shows(world, changed, length, &evidence));
      g_assert_false(shows(world, bytes, at, &evidence));
    }
  }
}

static void
assert_nothing(const World *world)
{
  for (guint64 i = 2; i <= world->entries->len; i += 1 + world->entries->len / 64)
    g_assert_null(part_from(world, i));
}

static void
test_forged(void)
{
  g_auto(World) world = world_new(9);
  g_autoptr(DocEnvelope) edit = person_edit(world.bob, world.history, "mine");
  edit->signature[7] ^= 1;
  tell(&world, edit);
  assert_shown(&world, DOC_FAULT_FORGED, 11, 11);
}

/* Whatever the server has signed behind it. */
static void
test_fork(void)
{
  g_auto(World) world = world_new(9);
  g_autoptr(DocHistory) other = doc_history_new(&world.document);
  for (guint i = 0; i < 9; i++) {
    gsize length;
    const void *bytes = g_bytes_get_data(world.entries->pdata[i], &length);
    g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
    history_add(other, envelope);
  }
  g_autoptr(DocEnvelope) anns = person_edit(world.ann, other, "there");
  history_add(other, anns);
  g_autoptr(DocEnvelope) bobs =
      person_edit(world.bob, other, "there"); /* on that, which is not entry 10 here */
  tell(&world, bobs);
  assert_shown(&world, DOC_FAULT_FORK, 11, 11);
  g_autoptr(DocEnvelope) late = person_edit(world.ann, world.history, "late");
  tell(&world, late);
  assert_shown(&world, DOC_FAULT_FORK, 11, 11);
}

/* On an entry that is not there before it. */
static void
test_not_there(void)
{
  g_auto(World) world = world_new(9);
  g_autoptr(DocEnvelope) edit = person_entry(world.bob, world.history, DOC_EDIT);
  edit->base = 11;
  edit->sealed = doc_body_seal(world.bob->ring, &world.document, edit, "x", 1);
  doc_envelope_sign(edit, &world.document, world.bob->key);
  tell(&world, edit);
  assert_shown(&world, DOC_FAULT_FORK, 11, 11);
}

static void
test_duplicate(void)
{
  g_auto(World) world = world_new(9);
  gsize length;
  const void *bytes = g_bytes_get_data(world.entries->pdata[6], &length);
  g_autoptr(DocEnvelope) seventh = doc_envelope_decode(bytes, length, NULL);
  tell(&world, seventh);
  /* Bob's last one before it, which is later than the seventh. */
  assert_shown(&world, DOC_FAULT_DUPLICATE, 11, 10);
}

static void
test_dropped(void)
{
  g_auto(World) world = world_new(9);
  world.ann->sequence++;
  g_autoptr(DocEnvelope) edit = person_edit(world.ann, world.history, "after another");
  tell(&world, edit);
  /* Ann's last one before it is 8. */
  assert_shown(&world, DOC_FAULT_DROPPED, 11, 8);
}

/* Also with what is void: of who was removed, or made for what was before. */
static void
test_good(void)
{
  g_auto(World) world = world_new(20);
  g_autoptr(DocEnvelope) early = person_edit(world.bob, world.history, "made before");
  DocEnvelope *removal = person_change(world.ann, world.history, world.bob, DOC_NONE, 1);
  g_assert_true(person_learn(world.ann, removal));
  add(&world, removal, DOC_GOOD);
  g_assert_cmpint(history_add(world.history, early), ==, DOC_VOID_REMOVED);
  tell(&world, early);
  for (guint i = 0; i < 10; i++)
    add(&world, person_edit(world.ann, world.history, "text"), DOC_GOOD);
  assert_nothing(&world);
}

/* What its author made so long ago that nobody looks at that any more is void, not a fault. */
static void
test_old(void)
{
  g_auto(World) world = world_new(5);
  g_autoptr(DocEnvelope) old = person_entry(world.bob, world.history, DOC_EDIT);
  old->chain.bytes[0] ^= 1;
  old->sealed = doc_body_seal(world.bob->ring, &world.document, old, "x", 1);
  doc_envelope_sign(old, &world.document, world.bob->key);
  for (guint i = 0; i <= DOC_BEHIND_MAX; i++)
    add(&world, person_edit(world.ann, world.history, "text"), DOC_GOOD);
  g_assert_cmpint(history_add(world.history, old), ==, DOC_VOID_OLD);
  tell(&world, old);
  assert_nothing(&world);
}

/* Entries that are not what was signed, or from another place. */
static void
test_other_chain(void)
{
  g_auto(World) world = world_new(9);
  g_autoptr(DocEnvelope) edit = person_edit(world.bob, world.history, "mine");
  edit->signature[7] ^= 1;
  tell(&world, edit);
  g_array_index(world.chains, DocChain, 4).bytes[0] ^= 1;
  g_assert_null(part_from(&world, 5));
  g_autoptr(GBytes) from_six = part_from(&world, 6);
  g_assert_nonnull(from_six);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/evidence/part/forged", test_forged);
  g_test_add_func("/evidence/part/fork", test_fork);
  g_test_add_func("/evidence/part/not-there", test_not_there);
  g_test_add_func("/evidence/part/duplicate", test_duplicate);
  g_test_add_func("/evidence/part/dropped", test_dropped);
  g_test_add_func("/evidence/part/good", test_good);
  g_test_add_func("/evidence/part/old", test_old);
  g_test_add_func("/evidence/part/other-chain", test_other_chain);
  return g_test_run();
}
