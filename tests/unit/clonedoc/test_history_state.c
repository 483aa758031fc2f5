/* A history that goes on from a state, and what is too far behind for it. */
#include <string.h>

#include "base/error.h"
#include "doc_world.h"

typedef struct {
  Person *ann, *bob, *eve;
  DocName document;
  DocHistory *history;
} World;

static World
world_new(void)
{
  World world = {.ann = person_new(1), .bob = person_new(2), .eve = person_new(3)};
  g_autoptr(DocEnvelope) first = person_found(world.ann, &world.bob, 1, &world.document);
  world.history = doc_history_new(&world.document);
  g_assert_cmpint(history_add(world.history, first), ==, DOC_GOOD);
  g_assert_true(person_learn(world.bob, first));
  return world;
}

static void
world_clear(World *world)
{
  person_free(world->ann);
  person_free(world->bob);
  person_free(world->eve);
  doc_history_free(world->history);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

static void
write_many(World *world, guint count)
{
  for (guint i = 0; i < count; i++) {
    g_autoptr(DocEnvelope) edit = person_edit(world->ann, world->history, "a");
    g_assert_cmpint(history_add(world->history, edit), ==, DOC_GOOD);
  }
}

static GBytes *
state_of(const DocHistory *history, guint64 at)
{
  GBytes *state = doc_history_pack(history, at, DOC_BEHIND_MAX);
  g_assert_nonnull(state);
  return state;
}

static DocHistory *
begin_with(const World *world, GBytes *state)
{
  gsize length;
  const void *bytes = g_bytes_get_data(state, &length);
  GError *error = NULL;
  DocHistory *history = doc_history_unpack(bytes, length, &world->document, DOC_BEHIND_MAX, &error);
  g_assert_no_error(error);
  return history;
}

/* As many entries may be between as the rule says, and not one more; nothing has to be known of what is
 * further behind. */
static void
test_too_many_entries(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) in_time = person_edit(world.bob, world.history, "in time");
  world.bob->sequence--;
  write_many(&world, DOC_BEHIND_MAX);
  DocVerdict verdict;
  DocFault fault;
  g_assert_true(doc_history_would_take(world.history, in_time, &verdict, &fault));
  g_assert_cmpint(verdict, ==, DOC_GOOD);
  write_many(&world, 1);
  g_assert_cmpint(history_add(world.history, in_time), ==, DOC_VOID_OLD);
  world.bob->sequence++;
  g_autoptr(DocEnvelope) anew = person_edit(world.bob, world.history, "in time");
  g_assert_cmpint(history_add(world.history, anew), ==, DOC_GOOD);
}

/* So many bytes of edits, too. */
static void
test_too_many_bytes(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) late = person_edit(world.bob, world.history, "late");
  g_autofree char *body = g_strnfill(DOC_BEHIND_BYTES, 'x');
  g_autoptr(DocEnvelope) large = person_edit(world.ann, world.history, body);
  g_assert_cmpint(history_add(world.history, large), ==, DOC_GOOD);
  g_assert_cmpint(history_add(world.history, late), ==, DOC_VOID_OLD);
}

/* A state is the same for all who have taken the same entries, also after they went on; and it goes on as
 * they did: sequences, members, chains are there. */
static void
test_goes_on(void)
{
  g_auto(World) world = world_new();
  write_many(&world, 30);
  g_autoptr(GBytes) now = state_of(world.history, 31);
  g_autoptr(DocHistory) other = begin_with(&world, now);
  g_autoptr(DocEnvelope) bobs = person_edit(world.bob, world.history, "b");
  g_autoptr(DocEnvelope) again = person_edit(world.ann, world.history, "a");
  world.ann->sequence--;
  g_autoptr(DocEnvelope) removal = person_change(world.ann, world.history, world.bob, DOC_NONE, 0);
  g_assert_cmpint(history_add(world.history, removal), ==, DOC_GOOD);
  g_assert_null(doc_history_pack(world.history, 31, DOC_BEHIND_MAX)); /* members were others then */
  g_assert_cmpint(history_add(other, removal), ==, DOC_GOOD);
  g_assert_cmpint(history_add(world.history, bobs), ==, DOC_VOID_REMOVED);
  g_assert_cmpint(history_add(other, bobs), ==, DOC_VOID_REMOVED);
  g_assert_true(doc_chain_equal(doc_history_chain(world.history, 33), doc_history_chain(other, 33)));
  g_autoptr(GBytes) one = state_of(world.history, 33), two = state_of(other, 33);
  g_assert_true(g_bytes_equal(one, two));
  write_many(&world, 5);
  g_autoptr(GBytes) later = state_of(world.history, 33);
  g_assert_true(g_bytes_equal(one, later));
  g_autoptr(GError) error = NULL;
  DocVerdict verdict;
  g_assert_false(doc_history_take(other, 34, again, &verdict, &error));
  g_assert_cmpint(doc_history_fault(other), ==, DOC_FAULT_DUPLICATE);
  g_assert_true(doc_history_is_removed(other, identity_key_public(world.bob->key)));
  g_assert_false(doc_history_is_removed(other, identity_key_public(world.eve->key)));
}

/* What is behind the state's entries is not known, and not needed. */
static void
test_window(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) late = person_edit(world.bob, world.history, "late");
  write_many(&world, DOC_BEHIND_MAX + 500);
  guint64 last = doc_history_number(world.history);
  g_autoptr(GBytes) state = state_of(world.history, last);
  g_autoptr(DocHistory) other = begin_with(&world, state);
  g_assert_cmpuint(doc_history_first(other), ==, last - DOC_BEHIND_MAX);
  g_assert_cmpuint(doc_history_number(other), ==, last);
  g_assert_cmpint(history_add(other, late), ==, DOC_VOID_OLD);
  g_assert_cmpint(history_add(world.history, late), ==, DOC_VOID_OLD);
  write_many(&world, 3);
  g_assert_null(doc_history_pack(other, last - 1, DOC_BEHIND_MAX));
}

/* Every bit and every end of a state that is another: refused, or a state that says something else. */
static void
test_bits(void)
{
  g_auto(World) world = world_new();
  write_many(&world, 3);
  g_autoptr(GBytes) state = state_of(world.history, 4);
  gsize length;
  const guint8 *bytes = g_bytes_get_data(state, &length);
  g_autofree guint8 *changed = g_memdup2(bytes, length);
  guint refused = 0;
  for (gsize bit = 0; bit < length * 8; bit++) {
    changed[bit / 8] ^= (guint8)(1 << bit % 8);
    g_autoptr(DocHistory) history =
        doc_history_unpack(changed, length, &world.document, DOC_BEHIND_MAX, NULL);
    refused += history == NULL;
    if (history && doc_history_number(history) == 4) {
      g_autoptr(GBytes) packed = doc_history_pack(history, 4, DOC_BEHIND_MAX);
      g_assert_true(!packed || !g_bytes_equal(packed, state));
    }
    changed[bit / 8] ^= (guint8)(1 << bit % 8);
  }
  g_assert_cmpuint(refused, >, 0);
  for (gsize cut = 0; cut < length; cut++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(DocHistory) history = doc_history_unpack(bytes, cut, &world.document, DOC_BEHIND_MAX, &error);
    g_assert_null(history);
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  }
}

/* A checkpoint says who the members are: it is void where that is not so any more. */
static void
test_checkpoint_for_others(void)
{
  g_auto(World) world = world_new();
  g_autoptr(DocEnvelope) checkpoint = person_entry(world.bob, world.history, DOC_CHECKPOINT);
  checkpoint->sealed = doc_body_seal(world.bob->ring, &world.document, checkpoint, "text", 4);
  doc_envelope_sign(checkpoint, &world.document, world.bob->key);
  g_autoptr(DocEnvelope) eve = person_change(world.ann, world.history, world.eve, DOC_READER, 1);
  g_assert_cmpint(history_add(world.history, eve), ==, DOC_GOOD);
  g_assert_cmpint(history_add(world.history, checkpoint), ==, DOC_VOID_MEMBERS);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/history-state/too-many-entries", test_too_many_entries);
  g_test_add_func("/history-state/too-many-bytes", test_too_many_bytes);
  g_test_add_func("/history-state/goes-on", test_goes_on);
  g_test_add_func("/history-state/window", test_window);
  g_test_add_func("/history-state/bits", test_bits);
  g_test_add_func("/history-state/checkpoint-for-others", test_checkpoint_for_others);
  return g_test_run();
}
