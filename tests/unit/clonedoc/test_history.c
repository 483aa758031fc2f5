/* A document's history as members check it: what its rules void for everybody at one place, and what no
 * correct server hands out. */
#include <string.h>

#include "base/error.h"
#include "doc_world.h"

typedef struct {
  Person *ann, *bob, *eve;
  DocName document;
  DocEnvelope *first;
  DocHistory *history;
} World;

/* Ann's document; Bob writes in it, Eve does not yet. */
static World
world_new(void)
{
  World world = {.ann = person_new(1), .bob = person_new(2), .eve = person_new(3)};
  world.first = person_found(world.ann, &world.bob, 1, &world.document);
  world.history = doc_history_new(&world.document);
  g_assert_cmpint(history_add(world.history, world.first), ==, DOC_GOOD);
  g_assert_true(person_learn(world.bob, world.first));
  return world;
}

static void
world_clear(World *world)
{
  person_free(world->ann);
  person_free(world->bob);
  person_free(world->eve);
  doc_envelope_free(world->first);
  doc_history_free(world->history);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static DocEnvelope *
again(const DocEnvelope *envelope)
{
  g_autoptr(GBytes) packed = doc_envelope_pack(envelope);
  GError *error = NULL;
  gsize length;
  const void *bytes = g_bytes_get_data(packed, &length);
  DocEnvelope *decoded = doc_envelope_decode(bytes, length, &error);
  g_assert_no_error(error);
  return decoded;
}

/* A copy of the history so far, to be forked. */
static DocHistory *
other_history(const World *world)
{
  DocHistory *other = doc_history_new(&world->document);
  g_assert_cmpint(history_add(other, world->first), ==, DOC_GOOD);
  return other;
}

static char *
read_body(const Person *person, const World *world, const DocEnvelope *envelope)
{
  g_autoptr(GBytes) body = doc_body_open(person->ring, &world->document, envelope, NULL);
  return body ? g_strndup(g_bytes_get_data(body, NULL), g_bytes_get_size(body)) : NULL;
}

/* What is packed comes back, and hashes to the same chain for everybody. */
static void
test_edit(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) edit = person_edit(world.bob, world.history, "hello");
  g_autoptr(DocEnvelope) decoded = again(edit);
  g_autoptr(DocHistory) other = other_history(&world);
  g_assert_cmpint(history_add(world.history, edit), ==, DOC_GOOD);
  g_assert_cmpint(history_add(other, decoded), ==, DOC_GOOD);
  g_assert_true(doc_chain_equal(doc_history_chain(world.history, 2), doc_history_chain(other, 2)));
  g_autofree char *seen = read_body(world.ann, &world, decoded);
  g_assert_cmpstr(seen, ==, "hello");
  g_assert_null(read_body(world.eve, &world, decoded));
  /* Not as another's entry, nor at another place. */
  decoded->sequence++;
  g_assert_null(read_body(world.ann, &world, decoded));
  gsize length;
  g_autoptr(GBytes) packed = doc_envelope_pack(edit);
  g_assert_null(g_strstr_len(g_bytes_get_data(packed, &length), (gssize)g_bytes_get_size(packed), "hello"));
}

static void
assert_fault(DocHistory *history, guint64 number, const DocEnvelope *envelope, DocFault fault)
{
  g_autoptr(GError) error = NULL;
  DocVerdict verdict;
  guint64 before = doc_history_number(history);
  g_assert_false(doc_history_take(history, number, envelope, &verdict, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_cmpstr(doc_fault_name(doc_history_fault(history)), ==, doc_fault_name(fault));
  g_assert_nonnull(strstr(error->message, doc_fault_name(fault)));
  g_assert_cmpuint(doc_history_number(history), ==, before);
}

/* Each on a history of its own, which takes nothing right afterwards either. */
static void
test_faults(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) one = person_edit(world.bob, world.history, "one");
  g_assert_cmpint(history_add(world.history, one), ==, DOC_GOOD);
  g_autoptr(DocEnvelope) two = person_edit(world.bob, world.history, "two");
  g_autoptr(DocHistory) left_out = other_history(&world), replayed = other_history(&world),
                        dropped = other_history(&world), forked = other_history(&world),
                        forged = other_history(&world), duplicate = other_history(&world);
  assert_fault(left_out, 3, two, DOC_FAULT_GAP);
  assert_fault(left_out, 2, one, DOC_FAULT_GAP);
  assert_fault(replayed, 1, one, DOC_FAULT_REPLAYED);
  /* Bob's second without his first: his base is not there, either. */
  assert_fault(dropped, 2, two, DOC_FAULT_FORK);
  g_autoptr(DocEnvelope) anns = person_edit(world.ann, forked, "ann's");
  g_assert_cmpint(history_add(forked, anns), ==, DOC_GOOD);
  assert_fault(forked, 3, two, DOC_FAULT_FORK);
  g_autoptr(DocEnvelope) changed = again(one);
  changed->signature[5] ^= 1;
  assert_fault(forged, 2, changed, DOC_FAULT_FORGED);
  g_assert_cmpint(history_add(duplicate, one), ==, DOC_GOOD);
  assert_fault(duplicate, 3, one, DOC_FAULT_DUPLICATE);
}

/* Two of one author's that were made on the same base, in the wrong order, or the first left out. */
static void
test_order_of_author(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) one = person_edit(world.bob, world.history, "one");
  g_autoptr(DocEnvelope) two = person_edit(world.bob, world.history, "two");
  g_autoptr(DocHistory) other = other_history(&world);
  assert_fault(other, 2, two, DOC_FAULT_DROPPED);
  g_assert_cmpint(history_add(world.history, one), ==, DOC_GOOD);
  g_assert_cmpint(history_add(world.history, two), ==, DOC_GOOD);
}

static void
test_first(void)
{
  g_auto(World) world = world_new();
  DocName name;
  g_autoptr(Person) ann = person_new(1), eve = person_new(3);
  g_autoptr(DocEnvelope) eves = person_found(eve, &ann, 1, &name);
  g_autoptr(DocHistory) other = doc_history_new(&world.document), stripped = doc_history_new(&name);
  assert_fault(other, 1, eves, DOC_FAULT_OTHER);
  g_autoptr(DocEnvelope) edit = person_edit(world.bob, world.history, "no beginning");
  assert_fault(stripped, 1, edit, DOC_FAULT_OTHER);
  /* Eve makes a document in Ann's name: it has a name of its own, and not Ann's signature. */
  g_autoptr(DocEnvelope) forged = again(world.first);
  forged->signature[0] ^= 1;
  doc_envelope_name(forged, &name);
  g_autoptr(DocHistory) of_forged = doc_history_new(&name);
  assert_fault(of_forged, 1, forged, DOC_FAULT_FORGED);
}

static void
assert_void(DocHistory *history, const DocEnvelope *envelope, DocVerdict verdict)
{
  DocVerdict told;
  DocFault fault;
  g_assert_true(doc_history_would_take(history, envelope, &told, &fault));
  g_assert_cmpstr(doc_verdict_name(told), ==, doc_verdict_name(verdict));
  g_assert_cmpstr(doc_verdict_name(history_add(history, envelope)), ==, doc_verdict_name(verdict));
}

/* Eve, who is nobody here; Eve, who may read; and what she writes once she may write. */
static void
test_roles(void)
{
  g_auto(World) world = world_new();
  doc_keyring_make(world.eve->ring, 1);
  g_autoptr(DocEnvelope) strange = person_edit(world.eve, world.history, "let me in");
  assert_void(world.history, strange, DOC_VOID_STRANGER);
  g_autoptr(Person) eve = person_new(3);
  g_autoptr(DocEnvelope) bobs = person_change(world.bob, world.history, eve, DOC_READER, 1);
  assert_void(world.history, bobs, DOC_VOID_ROLE);
  g_autoptr(DocEnvelope) reader = person_change(world.ann, world.history, eve, DOC_READER, 1);
  g_assert_cmpint(history_add(world.history, reader), ==, DOC_GOOD);
  g_assert_true(person_learn(eve, reader));
  g_autoptr(DocEnvelope) early = person_edit(eve, world.history, "I write");
  assert_void(world.history, early, DOC_VOID_ROLE);
  g_autoptr(DocEnvelope) writer = person_change(world.ann, world.history, eve, DOC_WRITER, 1);
  g_assert_cmpint(history_add(world.history, writer), ==, DOC_GOOD);
  g_autoptr(DocEnvelope) edit = person_edit(eve, world.history, "now");
  g_assert_cmpint(history_add(world.history, edit), ==, DOC_GOOD);
}

/* After a removal: nothing of the removed one counts, whenever it was made, nothing new can be read with the
 * old keys, and what others sealed with the old key is void, so that it cannot be read by who was removed. */
static void
test_removal(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) late = person_edit(world.bob, world.history, "made before");
  g_autoptr(DocEnvelope) old_key = person_edit(world.ann, world.history, "sealed with the old key");
  g_autoptr(DocEnvelope) removal = person_change(world.ann, world.history, world.bob, DOC_NONE, 0);
  /* Ann's edit has the sequence before her removal's. */
  g_autoptr(DocHistory) before = other_history(&world);
  g_assert_cmpint(history_add(before, old_key), ==, DOC_GOOD);
  world.ann->sequence = 1;
  g_autoptr(DocEnvelope) now = person_change(world.ann, world.history, world.bob, DOC_NONE, 0);
  g_assert_cmpint(history_add(world.history, now), ==, DOC_GOOD);
  g_assert_cmpuint(doc_history_epoch(world.history), ==, 2);
  assert_void(world.history, late, DOC_VOID_REMOVED);
  g_assert_false(person_learn(world.bob, now));
  g_assert_false(doc_keyring_has(world.bob->ring, 2));
  doc_keyring_make(world.bob->ring, 2); /* one of his own */
  g_autoptr(DocEnvelope) after = person_edit(world.bob, world.history, "made after");
  assert_void(world.history, after, DOC_VOID_REMOVED);
  g_autoptr(DocEnvelope) secret = person_edit(world.ann, world.history, "secret");
  g_assert_cmpint(history_add(world.history, secret), ==, DOC_GOOD);
  g_assert_null(read_body(world.bob, &world, secret));
  g_autofree char *seen = read_body(world.ann, &world, secret);
  g_assert_cmpstr(seen, ==, "secret");
  /* With the old key at a later place. */
  g_autoptr(DocEnvelope) stale = person_entry(world.ann, world.history, DOC_EDIT);
  stale->epoch = 1;
  stale->sealed = doc_body_seal(world.ann->ring, &world.document, stale, "x", 1);
  doc_envelope_sign(stale, &world.document, world.ann->key);
  assert_void(world.history, stale, DOC_VOID_KEY);
  /* A key that was removed never comes back. */
  g_autoptr(DocEnvelope) back = person_change(world.ann, world.history, world.bob, DOC_WRITER, 2);
  assert_void(world.history, back, DOC_VOID_CHANGE);
}

/* Two owners change the members at once: who comes second has not known who is there, and does it again. */
static void
test_concurrent_changes(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) owner = person_change(world.ann, world.history, world.bob, DOC_OWNER, 1);
  g_assert_cmpint(history_add(world.history, owner), ==, DOC_GOOD);
  g_autoptr(Person) dan = person_new(4);
  g_autoptr(DocEnvelope) anns = person_change(world.ann, world.history, world.eve, DOC_WRITER, 1);
  g_autoptr(DocEnvelope) bobs = person_change(world.bob, world.history, dan, DOC_WRITER, 1);
  g_autoptr(DocHistory) other = other_history(&world);
  g_assert_cmpint(history_add(other, owner), ==, DOC_GOOD);
  g_assert_cmpint(history_add(world.history, anns), ==, DOC_GOOD);
  assert_void(world.history, bobs, DOC_VOID_MEMBERS);
  g_assert_cmpint(history_add(other, bobs), ==, DOC_GOOD);
  assert_void(other, anns, DOC_VOID_MEMBERS);
  g_autoptr(DocEnvelope) anew = person_change(world.bob, world.history, dan, DOC_WRITER, 1);
  g_assert_cmpint(history_add(world.history, anew), ==, DOC_GOOD);
}

/* Changes that would leave somebody without a key, or nobody to change anything. */
static void
test_impossible_changes(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) nobody = person_change(world.ann, world.history, world.ann, DOC_NONE, 0);
  assert_void(world.history, nobody, DOC_VOID_CHANGE);
  g_autoptr(DocEnvelope) keyless = person_change(world.ann, world.history, world.eve, DOC_WRITER, 1);
  g_ptr_array_set_size(keyless->keys, 0);
  doc_envelope_sign(keyless, &world.document, world.ann->key);
  assert_void(world.history, keyless, DOC_VOID_CHANGE);
  g_autoptr(DocEnvelope) old_epoch = person_change(world.ann, world.history, world.bob, DOC_NONE, 0);
  old_epoch->epoch = 1;
  doc_envelope_sign(old_epoch, &world.document, world.ann->key);
  assert_void(world.history, old_epoch, DOC_VOID_CHANGE);
  g_autoptr(DocEnvelope) twice = person_change(world.ann, world.history, world.eve, DOC_WRITER, 1);
  DocMember member = person_as(world.eve, DOC_WRITER);
  g_array_append_val(twice->changes, member);
  doc_envelope_sign(twice, &world.document, world.ann->key);
  assert_void(world.history, twice, DOC_VOID_CHANGE);
  g_assert_cmpint(doc_history_role(world.history, identity_key_public(world.bob->key)), ==, DOC_WRITER);
  g_assert_cmpuint(doc_history_epoch(world.history), ==, 1);
}

/* Who is new gets the keys that the owner gives: all, or from now on. */
static void
test_newcomer(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) old = person_edit(world.ann, world.history, "old");
  g_assert_cmpint(history_add(world.history, old), ==, DOC_GOOD);
  g_autoptr(DocEnvelope) removal = person_change(world.ann, world.history, world.bob, DOC_NONE, 0);
  g_assert_cmpint(history_add(world.history, removal), ==, DOC_GOOD);
  g_autoptr(Person) dan = person_new(4);
  g_autoptr(DocEnvelope) all = person_change(world.ann, world.history, world.eve, DOC_READER, 1);
  g_assert_cmpint(history_add(world.history, all), ==, DOC_GOOD);
  g_autoptr(DocEnvelope) from_now = person_change(world.ann, world.history, dan, DOC_READER, 2);
  g_assert_cmpint(history_add(world.history, from_now), ==, DOC_GOOD);
  g_assert_true(person_learn(world.eve, all) && person_learn(dan, from_now));
  g_autofree char *eves = read_body(world.eve, &world, old), *dans = read_body(dan, &world, old);
  g_assert_cmpstr(eves, ==, "old");
  g_assert_null(dans);
  g_assert_cmpuint(doc_keyring_first(world.eve->ring, 2), ==, 1);
  g_assert_cmpuint(doc_keyring_first(dan->ring, 2), ==, 2);
  g_assert_cmpuint(doc_keyring_first(dan->ring, 3), ==, 0);
  /* What was sealed to one opens to nobody else. */
  g_assert_false(doc_keyring_open(dan->ring, all->keys->pdata[0], 2, dan->key, NULL));
}

static void
test_heads(void)
{
  g_auto(World) world = world_new();
  g_autoptr(Person) server = person_new(9), other_server = person_new(8);
  g_autoptr(DocHistory) fork = other_history(&world);
  g_autoptr(DocEnvelope) anns = person_edit(world.ann, world.history, "a"),
                         bobs = person_edit(world.bob, fork, "b");
  g_assert_cmpint(history_add(world.history, anns), ==, DOC_GOOD);
  g_assert_cmpint(history_add(fork, bobs), ==, DOC_GOOD);
  g_auto(DocHead) one = {0}, two = {0}, copy = {0}, early = {0};
  g_autoptr(DocHistory) begun = other_history(&world);
  doc_head_sign(&one, world.history, server->key);
  doc_head_sign(&two, fork, server->key);
  doc_head_sign(&early, begun, server->key);
  const void *bytes = g_bytes_get_data(two.packed, NULL);
  gsize length = g_bytes_get_size(two.packed);
  g_autoptr(GError) error = NULL;
  g_assert_false(doc_head_decode(&copy, bytes, length, identity_key_public(other_server->key), &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_clear_error(&error);
  g_assert_true(doc_head_decode(&copy, bytes, length, identity_key_public(server->key), &error));
  g_assert_true(doc_heads_conflict(&one, &copy));
  g_assert_false(doc_heads_conflict(&one, &early) || doc_heads_conflict(&one, &one));
  g_assert_true(doc_history_check_head(world.history, &early, &error));
  g_assert_true(doc_history_check_head(world.history, &one, &error));
  g_assert_false(doc_history_check_head(fork, &one, &error));
  g_assert_cmpint(doc_history_fault(fork), ==, DOC_FAULT_TWO_HEADS);
  g_clear_error(&error);
  g_assert_true(doc_history_check_head(begun, &one, &error)); /* further on: not known yet */
  g_assert_false(doc_history_check_head(begun, &early, &error));
  g_assert_cmpint(doc_history_fault(begun), ==, DOC_FAULT_ROLLBACK);
}

/* Of an entry with a bit that is another, nothing is taken. */
static void
test_bits(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) edit = person_edit(world.bob, world.history, "every bit counts");
  g_autoptr(GBytes) packed = doc_envelope_pack(edit);
  gsize length;
  const guint8 *bytes = g_bytes_get_data(packed, &length);
  g_autofree guint8 *changed = g_memdup2(bytes, length);
  for (gsize bit = 0; bit < length * 8; bit++) {
    changed[bit / 8] ^= (guint8)(1 << bit % 8);
    g_autoptr(DocEnvelope) decoded = doc_envelope_decode(changed, length, NULL);
    DocVerdict verdict;
    DocFault fault;
    /* With another author it is a stranger's: void. */
    g_assert_true(!decoded || !doc_history_would_take(world.history, decoded, &verdict, &fault) ||
                  verdict == DOC_VOID_STRANGER);
    changed[bit / 8] ^= (guint8)(1 << bit % 8);
  }
  for (gsize cut = 0; cut < length; cut++) {
    g_autoptr(DocEnvelope) decoded = doc_envelope_decode(bytes, cut, NULL);
    g_assert_null(decoded);
  }
}

/* What was verified once is as good without; all else is looked at all the same. */
static void
test_again(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) edit = person_edit(world.bob, world.history, "seen before");
  g_autoptr(DocHistory) other = doc_history_new(&world.document);
  g_autoptr(GError) error = NULL;
  DocVerdict verdict;
  g_assert_cmpint(history_add(world.history, edit), ==, DOC_GOOD);
  g_assert_true(doc_history_take_again(other, 1, world.first, &verdict, &error));
  g_assert_true(doc_history_take_again(other, 2, edit, &verdict, &error));
  g_assert_true(doc_chain_equal(doc_history_chain(other, 2), doc_history_chain(world.history, 2)));
  g_assert_false(doc_history_take_again(other, 3, edit, &verdict, &error));
  g_assert_cmpint(doc_history_fault(other), ==, DOC_FAULT_DUPLICATE);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/history/edit", test_edit);
  g_test_add_func("/history/faults", test_faults);
  g_test_add_func("/history/order-of-author", test_order_of_author);
  g_test_add_func("/history/first", test_first);
  g_test_add_func("/history/roles", test_roles);
  g_test_add_func("/history/removal", test_removal);
  g_test_add_func("/history/concurrent-changes", test_concurrent_changes);
  g_test_add_func("/history/impossible-changes", test_impossible_changes);
  g_test_add_func("/history/newcomer", test_newcomer);
  g_test_add_func("/history/heads", test_heads);
  g_test_add_func("/history/bits", test_bits);
  g_test_add_func("/history/again", test_again);
  return g_test_run();
}
