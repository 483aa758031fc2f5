/* Everybody comes to one text: 16 devices with their clones write in one document through an ordering server,
 * while links are cut, stall, come late and are opened anew in any order, and devices, clones and the server
 * are killed and go on from what they saved. At the end all devices and clones have the same bytes, and each
 * keystroke is there once, but for those that somebody deleted.
 *
 * --schedules N --seed S: so many lives of that world, from these seeds on. */
#include "sim_world.h"

static int schedules = 6;
static gint64 seed = 1;

static void
live(SimWorld *world)
{
  for (guint left = 300 + sim_pick(&world->net, 500); left > 0; left--) {
    sim_world_step(world);
    sim_world_disturb(world);
    if (sim_chance(&world->net, 2))
      sim_device_type(world, sim_pick(&world->net, SIM_USERS));
  }
}

static void
settle(SimWorld *world)
{
  world->calm = TRUE;
  for (guint left = 20000; left > 0 && !sim_world_is_settled(world); left--)
    sim_world_step(world);
  g_assert_true(sim_world_is_settled(world));
}

static char *
text_of(const OtText *text)
{
  return ot_text_copy(text, 0, ot_text_length(text), NULL);
}

static char *
check_same(const SimWorld *world)
{
  char *same = text_of(world->devices[0].text);
  const DocHistory *history = world->server.history;
  for (guint i = 0; i < SIM_USERS; i++) {
    const DocDocument *doc = world->clones[i].doc;
    g_autofree char *device = text_of(world->devices[i].text), *shown = text_of(doc_document_text(doc)),
                    *committed = text_of(doc_document_committed(doc));
    g_assert_cmpstr(device, ==, same);
    g_assert_cmpstr(shown, ==, same);
    g_assert_cmpstr(committed, ==, same);
    g_assert_cmpuint(doc_document_unread(doc), ==, 0);
    g_assert_true(doc_chain_equal(doc_history_chain(doc_document_history(doc), doc_document_number(doc)),
                                  doc_history_chain(history, doc_history_number(history))));
  }
  return same;
}

/* Of what was typed and kept, all that nobody deleted, each once, and nothing else. */
static void
check_keys(const SimWorld *world, const char *text)
{
  g_autoptr(GHashTable) there = g_hash_table_new(NULL, NULL);
  for (guint deleted = 0; deleted < 2; deleted++)
    for (guint i = 0; i < SIM_USERS; i++)
      for (guint k = 0; k < world->devices[i].keys->len; k++) {
        const SimKey *key = &g_array_index(world->devices[i].keys, SimKey, k);
        if (deleted && key->deleted)
          g_hash_table_remove(there, GUINT_TO_POINTER(key->letter));
        else if (!deleted && !key->deleted)
          g_assert_true(g_hash_table_add(there, GUINT_TO_POINTER(key->letter)));
      }
  for (const char *at = text; *at; at = g_utf8_next_char(at))
    g_assert_true(g_hash_table_remove(there, GUINT_TO_POINTER(g_utf8_get_char(at))));
  g_assert_cmpuint(g_hash_table_size(there), ==, 0);
}

static void
tell(const SimCounts *counts)
{
  g_test_message("%u letters typed; %u entries, of them %u void and %u checkpoints; %u flights sent again",
                 counts->typed, counts->entries, counts->voids, counts->checkpoints, counts->flights_again);
  g_test_message("%u links cut, %u stalled, %u opened before the old one was gone, %u taken for an old one "
                 "(%u messages came late), %u refused",
                 counts->cuts, counts->stalls, counts->roams, counts->replaced, counts->late,
                 counts->refused);
  g_test_message("killed: devices %u times, clones %u, the server %u; %u heads compared",
                 counts->device_kills, counts->clone_kills, counts->server_kills, counts->heads);
}

/* Every kind of trouble was there. */
static void
check_counts(const SimCounts *counts)
{
  g_assert_cmpuint(counts->voids, >, 0);
  g_assert_cmpuint(counts->checkpoints, >, 0);
  g_assert_cmpuint(counts->flights_again, >, 0);
  g_assert_cmpuint(counts->cuts, >, 0);
  g_assert_cmpuint(counts->stalls, >, 0);
  g_assert_cmpuint(counts->replaced, >, 0);
  g_assert_cmpuint(counts->late, >, 0);
  g_assert_cmpuint(counts->device_kills, >, 0);
  g_assert_cmpuint(counts->clone_kills, >, 0);
  g_assert_cmpuint(counts->server_kills, >, 0);
  g_assert_cmpuint(counts->heads, >, 0);
}

static void
test_schedules(void)
{
  SimCounts counts = {0};
  for (int i = 0; i < schedules; i++) {
    if (schedules > 100 && i % 50 == 0)
      g_test_message("schedule %d", i);
    g_autoptr(SimWorld) world = sim_world_new((guint32)(seed + i), &counts);
    live(world);
    settle(world);
    g_autofree char *text = check_same(world);
    check_keys(world, text);
  }
  tell(&counts);
  if (schedules >= 6)
    check_counts(&counts);
}

int
main(int argc, char **argv)
{
  const GOptionEntry entries[] = {
      {"schedules", 0, 0, G_OPTION_ARG_INT, &schedules, "How many", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &seed, "Of the first", "S"},
      {NULL},
  };
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_autoptr(GError) error = NULL;
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_ignore_unknown_options(context, TRUE);
  if (!g_option_context_parse(context, &argc, &argv, &error)) {
    g_printerr("%s\n", error->message);
    return 2;
  }
  g_test_init(&argc, &argv, NULL);
  g_test_message("seeds from %" G_GINT64_FORMAT " on", seed);
  g_test_add_func("/clonedoc/convergence", test_schedules);
  return g_test_run();
}
