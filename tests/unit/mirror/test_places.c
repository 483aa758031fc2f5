/* Where pages that stayed behind belong, and what is kept of them: against models that know better. */
#include "mirror/places.h"

#include <string.h>

#include "mirror/kept.h"
#include "mirror/withhold.h"

enum { PAGE = 4096, PLACES = 64, TURNS = 4000 };

static guint64
at(guint page)
{
  return (guint64)(page + 1) * PAGE;
}

/* model[place] is the origin's page plus one; 0: nothing belongs there. */
static void
assert_places(const MirrorPlaces *places, const guint *model)
{
  guint64 sum = 0, now, origin;
  MirrorRange part;
  for (guint i = 0; i < PLACES; i++) {
    gboolean met = mirror_places_meet(places, at(i), at(i + 1), &part, &origin);
    g_assert_cmpint(met, ==, model[i] != 0);
    g_assert_true(!met || (part.start == at(i) && origin == at(model[i] - 1)));
    g_assert_true(!met || (mirror_places_now(places, origin, &now) && now == at(i)));
    sum += met ? PAGE : 0;
  }
  g_assert_cmpuint(mirror_places_sum(places), ==, sum);
  g_assert_cmpint(mirror_places_empty(places), ==, sum == 0);
}

/* Whatever lies at the target of a move was unmapped before. */
static void
move(MirrorPlaces *places, guint *model, guint from, guint to, guint pages)
{
  guint moved[PLACES];
  mirror_places_clear(places, at(to), at(to + pages), NULL);
  mirror_places_move(places, at(from), at(to), (guint64)pages * PAGE);
  memset(model + to, 0, pages * sizeof *model);
  memcpy(moved, model + from, pages * sizeof *model);
  memset(model + from, 0, pages * sizeof *model);
  memcpy(model + to, moved, pages * sizeof *model);
}

static void
clear(MirrorPlaces *places, guint *model, guint start, guint pages)
{
  g_autoptr(GArray) gone = mirror_ranges_new();
  guint64 wanted = 0;
  for (guint i = start; i < start + pages; i++) {
    wanted += model[i] ? PAGE : 0;
    model[i] = 0;
  }
  mirror_places_clear(places, at(start), at(start + pages), gone);
  g_assert_cmpuint(mirror_ranges_sum(gone), ==, wanted);
}

static void
came(MirrorPlaces *places, guint *model, guint start, guint pages)
{
  mirror_places_came(places, at(start), at(start + pages));
  for (guint i = 0; i < PLACES; i++)
    if (model[i] > start && model[i] <= start + pages)
      model[i] = 0;
}

static void
test_model(void)
{
  for (guint run = 0; run < TURNS / 50; run++) {
    MirrorPlaces *places = mirror_places_new();
    guint model[PLACES] = {0};
    mirror_places_add(places, at(4), at(PLACES - 4));
    for (guint i = 4; i < PLACES - 4; i++)
      model[i] = i + 1;
    for (guint turn = 0; turn < 50; turn++) {
      guint pages = g_test_rand_int_range(1, 12), from = g_test_rand_int_range(0, PLACES - 12),
            to = g_test_rand_int_range(0, PLACES - 12);
      int what = g_test_rand_int_range(0, 4);
      if (what == 0)
        clear(places, model, from, g_test_rand_int_range(1, 4));
      else if (what == 1)
        came(places, model, from, g_test_rand_int_range(1, 4));
      else if (from + pages <= to || to + pages <= from)
        move(places, model, from, to, pages);
      MirrorPlaces *copy = mirror_places_copy(places);
      assert_places(places, model);
      mirror_places_free(places);
      places = copy;
    }
    mirror_places_free(places);
  }
}

/* ---- kept ---- */

static void
leave(MirrorKept *kept, guint page, guint8 byte)
{
  guint8 bytes[PAGE];
  memset(bytes, byte, sizeof bytes);
  mirror_kept_leave(kept, at(page), bytes);
}

/* What is given of the pages 0 to 7: a letter each, '0' for zeros, '.' for nothing. */
static void
assert_given(MirrorKept *kept, guint start, guint end, const char *wanted)
{
  g_autoptr(GArray) ranges = mirror_ranges_new();
  g_autoptr(MirrorDelta) answer = mirror_delta_new();
  g_autoptr(GString) got = g_string_new("........");
  guint64 data = 0;
  mirror_ranges_add(ranges, at(start), at(end));
  g_assert_true(mirror_kept_give(kept, ranges, answer, NULL));
  for (guint i = 0; i < answer->runs->len; i++) {
    const MirrorRun *run = &g_array_index(answer->runs, MirrorRun, i);
    for (guint64 done = 0; done < run->length; done += PAGE)
      got->str[(run->address + done) / PAGE - 1] =
          run->kind == MIRROR_RUN_HOLE ? '0' : (char)answer->data->data[data + done];
    data += mirror_run_bytes(run);
  }
  g_assert_cmpuint(data, ==, answer->data->len);
  g_assert_cmpstr(got->str, ==, wanted);
}

static void
test_generations(void)
{
  MirrorKept *kept = mirror_kept_new();
  for (guint page = 0; page < 6; page++)
    leave(kept, page, page == 2 ? 0 : 'a');
  assert_given(kept, 0, 8, "........"); /* the device has not taken that block */
  mirror_kept_settle(kept);
  assert_given(kept, 1, 3, ".a0.....");
  assert_given(kept, 1, 3, "........"); /* once */
  leave(kept, 3, 'b');
  mirror_kept_take_along(kept, at(4), at(5));
  assert_given(kept, 3, 4, "...a...."); /* thrown away: what the block before left */
  mirror_kept_settle(kept);
  assert_given(kept, 0, 8, "a..b.a..");
  g_assert_cmpuint(mirror_kept_pages(kept), ==, 0);
  leave(kept, 1, 'c');
  leave(kept, 2, 'c');
  mirror_kept_settle(kept);
  mirror_kept_drop(kept, at(2), G_MAXUINT64 / PAGE * PAGE);
  assert_given(kept, 0, 8, ".c......");
  mirror_kept_free(kept);
}

static void
test_too_many(void)
{
  MirrorKept *kept = mirror_kept_new();
  g_autoptr(GArray) ranges = mirror_ranges_new();
  g_autoptr(MirrorDelta) answer = mirror_delta_new();
  mirror_ranges_add(ranges, at(0), at(MIRROR_GIVE_MAX + 1));
  g_assert_false(mirror_kept_give(kept, ranges, answer, NULL));
  mirror_kept_free(kept);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/places/model", test_model);
  g_test_add_func("/kept/generations", test_generations);
  g_test_add_func("/kept/too many", test_too_many);
  return g_test_run();
}
