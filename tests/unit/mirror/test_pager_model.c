/* Pages that come when they are touched, at random, against a model that knows what should be where. */

#include "pager_rig.h"

/* ---- everything at random, against a model ---- */

enum { MODEL_PAGES = 160, MODEL_TURNS = 1500 };

typedef struct {
  guint64 first;    /* word of the page; the others are `rest` */
  guint64 rest;     /* of the other side's, or 0 */
  gboolean changed; /* by the process, since the last look */
  gboolean let_go;  /* by it, since then: a hole will do */
  gboolean held;    /* and not touched */
  gboolean touched; /* since the other side last said what is there */
} ModelPage;

static void
model_look(PagerWorld *world, ModelPage *model)
{
  pager_rig_look(world);
  guint said[MODEL_PAGES] = {0};
  for (guint i = 0; i < world->runs->len; i++) {
    const MirrorRun *run = &g_array_index(world->runs, MirrorRun, i);
    for (guint64 at = run->address; at < run->address + run->length; at += PAGE)
      if (at >= HERE && at < AT(MODEL_PAGES))
        said[(at - HERE) / PAGE] = run->kind == MIRROR_RUN_DATA ? 'D' : 'O';
  }
  for (guint page = 0; page < MODEL_PAGES; page++) {
    ModelPage *is = &model[page];
    if ((said[page] != 0) != is->changed || (said[page] == 'O' && !(is->let_go && !is->first && !is->rest)))
      g_error("page %u: said '%c', changed %d, let go %d", page, said[page] ? (char)said[page] : '.',
              is->changed, is->let_go);
    is->changed = is->let_go = FALSE;
  }
}

static void
model_untouched(PagerWorld *world, const ModelPage *model)
{
  g_autoptr(GArray) ranges = mirror_pager_untouched(world->pager);
  MirrorRange part;
  /* Those that came with others, unasked, are told as well. */
  for (guint page = 0; page < MODEL_PAGES; page++) {
    gboolean told = mirror_ranges_meet(ranges, AT(page), AT(page + 1), &part);
    g_assert_true(told || !model[page].held);
    g_assert_false(told && model[page].touched);
  }
}

static guint
some_pages(GRand *random, guint page, guint limit)
{
  guint pages = g_rand_int_range(random, 1, limit);
  return MIN(pages, MODEL_PAGES - page);
}

/* A new block: some of it is what the other side says. */
static void
model_arm(PagerWorld *world, ModelPage *model, GRand *random)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  static const MirrorRunKind kinds[] = {MIRROR_RUN_FAR, MIRROR_RUN_FAR, MIRROR_RUN_HELD, MIRROR_RUN_DATA,
                                        MIRROR_RUN_HOLE};
  model_look(world, model);
  for (guint page = 0; page < MODEL_PAGES; page++)
    model[page].held = FALSE; /* told before, if it was */
  g_array_unref(mirror_pager_untouched(world->pager));
  for (guint page = g_rand_int_range(random, 0, 20); page < MODEL_PAGES;) {
    guint pages = some_pages(random, page, 24);
    MirrorRunKind kind = kinds[g_rand_int_range(random, 0, G_N_ELEMENTS(kinds))];
    for (guint i = page; i < page + pages; i++) {
      world->words[i] =
          kind == MIRROR_RUN_HOLE || g_rand_int_range(random, 0, 6) == 0 ? 0 : g_rand_int(random);
      model[i] = (ModelPage){world->words[i], world->words[i], FALSE, FALSE, kind == MIRROR_RUN_HELD, FALSE};
    }
    pager_rig_make_run(world, delta, page, pages, kind);
    page += pages + (g_rand_boolean(random) ? 0 : g_rand_int_range(random, 1, 40));
  }
  pager_rig_apply(world, delta, &error);
  g_assert_no_error(error);
}

static void
model_touch(ModelPage *model, guint page, guint pages)
{
  for (guint i = page; i < page + pages; i++) {
    model[i].held = FALSE;
    model[i].touched = TRUE;
  }
}

static void
model_store(PagerWorld *world, ModelPage *model, guint page, guint64 word, gboolean from_outside)
{
  if (from_outside)
    rig_write(world->process, AT(page), &word, sizeof word);
  else
    DO(world, STORE, AT(page), word);
  model[page].first = word;
  model[page].changed = TRUE;
}

static void
model_let_go(PagerWorld *world, ModelPage *model, guint page, guint pages)
{
  g_assert_cmpint(pager_rig_let_go(world, page, pages, MADV_DONTNEED), ==, 0);
  for (guint i = page; i < page + pages; i++)
    model[i] = (ModelPage){.changed = TRUE, .let_go = TRUE, .touched = TRUE};
}

static void
model_move(PagerWorld *world, ModelPage *model, GRand *random, guint page, guint pages)
{
  guint64 out = RIG_BOARD(world->process, result[1]), in = RIG_BOARD(world->process, result[0]);
  guint to = g_rand_int_range(random, 0, MODEL_PAGES), word_at = g_rand_int_range(random, 1, PAGE / 8);
  /* By the kernel: a word of one page into the first word of another. */
  g_assert_cmpint(CALL(world, SYS_write, out, AT(page) + word_at * 8, 8), ==, 8);
  g_assert_cmpint(CALL(world, SYS_read, in, AT(to), 8), ==, 8);
  guint64 word = model[page].rest;
  model_touch(model, to, 1);
  model[to].first = word;
  model[to].changed = TRUE;
}

static void
model_check(PagerWorld *world, ModelPage *model, guint page, guint pages, gboolean from_outside)
{
  if (!from_outside) {
    guint64 sum = 0;
    for (guint i = page; i < page + pages; i++)
      sum += model[i].first + model[i].rest * (PAGE / 8 - 1);
    g_assert_cmpuint(DO(world, SUM, AT(page), pages * PAGE), ==, sum);
    return;
  }
  g_autofree guint64 *words = g_malloc(pages * PAGE);
  rig_read(world->process, AT(page), words, pages * PAGE);
  for (guint i = 0; i < pages * PAGE / 8; i++) {
    const ModelPage *is = &model[page + i / (PAGE / 8)];
    g_assert_cmpuint(words[i], ==, i % (PAGE / 8) ? is->rest : is->first);
  }
}

static void
model_turn(PagerWorld *world, ModelPage *model, GRand *random)
{
  guint page = g_rand_int_range(random, 0, MODEL_PAGES);
  guint pages = some_pages(random, page, 8);
  gboolean outside = g_rand_int_range(random, 0, 4) == 0;
  switch (g_rand_int_range(random, 0, 12)) {
  case 0:
    model_arm(world, model, random);
    return;
  case 1:
    model_look(world, model);
    return;
  case 2:
    model_untouched(world, model);
    for (guint i = 0; i < MODEL_PAGES; i++)
      model[i].held = FALSE;
    return;
  case 3:
    model_let_go(world, model, page, pages);
    return;
  case 4:
  case 5:
    model_move(world, model, random, page, pages);
    model_touch(model, page, 1);
    return;
  case 6:
  case 7:
  case 8:
    model_touch(model, page, 1);
    model_store(world, model, page, g_rand_int(random), outside);
    return;
  default:
    model_touch(model, page, pages);
    model_check(world, model, page, pages, outside);
  }
}

static void
test_model(gconstpointer manner)
{
  PagerWorld world;
  g_autoptr(GRand) random = rig_random();
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  world.manner = GPOINTER_TO_INT(manner);
  ModelPage model[MODEL_PAGES] = {0};
  pager_rig_look(&world);
  for (guint turn = 0; turn < MODEL_TURNS; turn++)
    model_turn(&world, model, random);
  model_check(&world, model, 0, MODEL_PAGES, TRUE);
  g_test_message("%" G_GUINT64_FORMAT " pulls, %" G_GUINT64_FORMAT " pages",
                 mirror_pager_counts(world.pager)->pulls, mirror_pager_counts(world.pager)->pages);
  pager_rig_end(&world);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_data_func("/pager/model/honest", GINT_TO_POINTER(HONEST), test_model);
  g_test_add_data_func("/pager/model/generous", GINT_TO_POINTER(GENEROUS), test_model);
  return g_test_run();
}
