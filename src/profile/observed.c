#include "profile/observed.h"

#include <stdlib.h>
#include <string.h>

static void
clear_observation(gpointer data)
{
  ProfileObservation *observation = data;
  for (guint i = 0; i < PROFILE_REASONS; i++)
    g_free(observation->reasons[i].text);
}

ProfileObserved *
profile_observed_new(void)
{
  ProfileObserved *observed = g_new0(ProfileObserved, 1);
  observed->places = profile_graph_new();
  observed->functions = g_array_new(FALSE, TRUE, sizeof(ProfileObservation));
  g_array_set_clear_func(observed->functions, clear_observation);
  return observed;
}

void
profile_observed_free(ProfileObserved *observed)
{
  if (!observed)
    return;
  profile_graph_free(observed->places);
  g_array_unref(observed->functions);
  g_free(observed);
}

static ProfileObservation *
at(const ProfileObserved *observed, guint index)
{
  return &g_array_index(observed->functions, ProfileObservation, index);
}

/* The same contents, wherever they lie; else whatever is at the path, which is added. */
static guint
index_of_object(ProfileGraph *places, const ProfileObject *object)
{
  for (guint i = 0; i < places->objects->len; i++)
    if (profile_object_same(places->objects->pdata[i], object))
      return i;
  return profile_graph_add_object(places, object);
}

ProfileObservation *
profile_observed_add(ProfileObserved *observed, const ProfileObject *object, guint64 offset, const char *name)
{
  guint known = observed->functions->len, index;
  if (profile_graph_find(observed->places, object, offset, &index))
    return at(observed, index);
  if (known >= PROFILE_OBSERVED_LIMIT)
    return NULL;
  guint of = index_of_object(observed->places, object);
  if (!profile_object_same(observed->places->objects->pdata[of], object))
    return NULL;
  profile_graph_add_function(observed->places, of, offset, name);
  g_array_set_size(observed->functions, known + 1);
  return at(observed, known);
}

const ProfileObservation *
profile_observed_find(const ProfileObserved *observed, const ProfileObject *object, guint64 offset)
{
  guint index;
  return profile_graph_find(observed->places, object, offset, &index) ? at(observed, index) : NULL;
}

static int
compare_reasons(const void *a, const void *b)
{
  const ProfileReason *left = a, *right = b;
  return left->count != right->count ? (left->count > right->count ? -1 : 1)
                                     : g_strcmp0(left->text, right->text);
}

void
profile_observation_reason(ProfileObservation *observation, const char *text, guint64 count)
{
  g_autofree char *valid = g_utf8_make_valid(text, strnlen(text, PROFILE_REASON_LENGTH));
  ProfileReason *reasons = observation->reasons, *free_one = NULL;
  for (guint i = 0; i < PROFILE_REASONS && !free_one; i++)
    if (!reasons[i].text || g_str_equal(reasons[i].text, valid))
      free_one = &reasons[i];
  if (count == 0 || (!free_one && reasons[PROFILE_REASONS - 1].count >= count))
    return;
  if (!free_one) {
    free_one = &reasons[PROFILE_REASONS - 1];
    g_clear_pointer(&free_one->text, g_free);
    free_one->count = 0;
  }
  if (!free_one->text)
    free_one->text = g_steal_pointer(&valid);
  free_one->count = profile_sum(free_one->count, count);
  guint known = 0;
  while (known < PROFILE_REASONS && reasons[known].text)
    known++;
  qsort(reasons, known, sizeof *reasons, compare_reasons);
}

void
profile_blocks_add(ProfileBlocks *sum, const ProfileBlocks *blocks)
{
  sum->blocks = profile_sum(sum->blocks, blocks->blocks);
  sum->bytes_out = profile_sum(sum->bytes_out, blocks->bytes_out);
  sum->bytes_in = profile_sum(sum->bytes_in, blocks->bytes_in);
  sum->device_ns = profile_sum(sum->device_ns, blocks->device_ns);
  sum->clone_ns = profile_sum(sum->clone_ns, blocks->clone_ns);
  sum->round_trips = profile_sum(sum->round_trips, blocks->round_trips);
}

static void
merge_observation(ProfileObservation *to, const ProfileObservation *from)
{
  profile_blocks_add(&to->first, &from->first);
  profile_blocks_add(&to->later, &from->later);
  to->forwarded = profile_sum(to->forwarded, from->forwarded);
  to->failed = profile_sum(to->failed, from->failed);
  to->out_of_memory = profile_sum(to->out_of_memory, from->out_of_memory);
  for (guint i = 0; i < PROFILE_REASONS && from->reasons[i].text; i++)
    profile_observation_reason(to, from->reasons[i].text, from->reasons[i].count);
}

static gboolean
agree(const ProfileObserved *left, const ProfileObserved *right)
{
  for (guint i = 0; i < right->places->objects->len; i++) {
    const ProfileObject *object = right->places->objects->pdata[i];
    gpointer index;
    if (g_hash_table_lookup_extended(left->places->by_path, object->path, NULL, &index) &&
        !profile_object_same(left->places->objects->pdata[GPOINTER_TO_UINT(index)], object))
      return FALSE;
  }
  return TRUE;
}

gboolean
profile_observed_merge(ProfileObserved *observed, const ProfileObserved *other)
{
  if (!agree(observed, other))
    return FALSE;
  for (guint i = 0; i < other->functions->len; i++) {
    const ProfileFunction *place = profile_graph_function(other->places, i);
    ProfileObservation *to = profile_observed_add(observed, other->places->objects->pdata[place->object],
                                                  place->offset, place->name);
    if (to)
      merge_observation(to, at(other, i));
  }
  return TRUE;
}
