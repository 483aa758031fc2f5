#include "profile/graph.h"

typedef struct {
  guint64 high, low;
} Pair;

static guint
hash_pair(gconstpointer key)
{
  const Pair *pair = key;
  guint64 mixed = (pair->high * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15)) ^ pair->low;
  mixed *= G_GUINT64_CONSTANT(0xff51afd7ed558ccd);
  return (guint)(mixed >> 32);
}

static gboolean
equal_pairs(gconstpointer a, gconstpointer b)
{
  const Pair *left = a, *right = b;
  return left->high == right->high && left->low == right->low;
}

static void
clear_function(gpointer function)
{
  g_free(((ProfileFunction *)function)->name);
}

ProfileGraph *
profile_graph_new(void)
{
  ProfileGraph *graph = g_new0(ProfileGraph, 1);
  graph->objects = g_ptr_array_new_with_free_func((GDestroyNotify)profile_object_free);
  graph->functions = g_array_new(FALSE, FALSE, sizeof(ProfileFunction));
  g_array_set_clear_func(graph->functions, clear_function);
  graph->arcs = g_array_new(FALSE, FALSE, sizeof(ProfileArc));
  graph->by_path = g_hash_table_new(g_str_hash, g_str_equal);
  graph->by_place = g_hash_table_new_full(hash_pair, equal_pairs, g_free, NULL);
  graph->by_pair = g_hash_table_new_full(hash_pair, equal_pairs, g_free, NULL);
  return graph;
}

void
profile_graph_free(ProfileGraph *graph)
{
  if (!graph)
    return;
  g_hash_table_unref(graph->by_path);
  g_ptr_array_unref(graph->objects);
  g_array_unref(graph->functions);
  g_array_unref(graph->arcs);
  g_hash_table_unref(graph->by_place);
  g_hash_table_unref(graph->by_pair);
  g_free(graph);
}

guint64
profile_sum(guint64 left, guint64 right)
{
  guint64 sum;
  return __builtin_add_overflow(left, right, &sum) || sum > G_MAXINT64 ? G_MAXINT64 : sum;
}

static gboolean
find_object(const ProfileGraph *graph, const char *path, guint *index)
{
  gpointer value;
  gboolean found = g_hash_table_lookup_extended(graph->by_path, path, NULL, &value);
  *index = found ? GPOINTER_TO_UINT(value) : graph->objects->len;
  return found;
}

guint
profile_graph_add_object(ProfileGraph *graph, const ProfileObject *object)
{
  guint index;
  if (!find_object(graph, object->path, &index)) {
    ProfileObject *copy = profile_object_copy(object);
    g_ptr_array_add(graph->objects, copy);
    g_hash_table_insert(graph->by_path, copy->path, GUINT_TO_POINTER(index));
  }
  return index;
}

/* The index under the key; `next` with the key added where there is none. */
static guint
index_of(GHashTable *table, Pair key, guint next)
{
  gpointer value;
  if (g_hash_table_lookup_extended(table, &key, NULL, &value))
    return GPOINTER_TO_UINT(value);
  g_hash_table_insert(table, g_memdup2(&key, sizeof key), GUINT_TO_POINTER(next));
  return next;
}

guint
profile_graph_add_function(ProfileGraph *graph, guint object, guint64 offset, const char *name)
{
  guint index = index_of(graph->by_place, (Pair){object, offset}, graph->functions->len);
  if (index == graph->functions->len) {
    ProfileFunction function = {.object = object, .offset = offset, .name = g_strdup(name)};
    g_array_append_val(graph->functions, function);
  }
  return index;
}

ProfileArc *
profile_graph_add_arc(ProfileGraph *graph, guint caller, guint callee)
{
  guint index = index_of(graph->by_pair, (Pair){caller, callee}, graph->arcs->len);
  if (index == graph->arcs->len) {
    ProfileArc arc = {.caller = caller, .callee = callee};
    g_array_append_val(graph->arcs, arc);
  }
  return &g_array_index(graph->arcs, ProfileArc, index);
}

ProfileFunction *
profile_graph_function(const ProfileGraph *graph, guint index)
{
  return &g_array_index(graph->functions, ProfileFunction, index);
}

/* Which of the graph's objects another's is; how many there are where it is none. FALSE: another file has its
 * path. */
static gboolean
match_object(const ProfileGraph *graph, const ProfileObject *object, guint *index)
{
  if (find_object(graph, object->path, index))
    return profile_object_same(graph->objects->pdata[*index], object);
  for (guint i = 0; i < graph->objects->len; i++)
    if (profile_object_same(graph->objects->pdata[i], object)) {
      *index = i;
      break;
    }
  return TRUE;
}

gboolean
profile_graph_find(const ProfileGraph *graph, const ProfileObject *object, guint64 offset, guint *index)
{
  guint of;
  gpointer value;
  if (!match_object(graph, object, &of) || of == graph->objects->len ||
      !g_hash_table_lookup_extended(graph->by_place, &(Pair){of, offset}, NULL, &value))
    return FALSE;
  *index = GPOINTER_TO_UINT(value);
  return TRUE;
}

static guint
merge_function(ProfileGraph *graph, guint object, const ProfileFunction *from)
{
  guint index = profile_graph_add_function(graph, object, from->offset, from->name);
  ProfileFunction *function = profile_graph_function(graph, index);
  function->self = profile_sum(function->self, from->self);
  function->calls = profile_sum(function->calls, from->calls);
  function->nested = profile_sum(function->nested, from->nested);
  function->inclusive = profile_sum(function->inclusive, from->inclusive);
  return index;
}

gboolean
profile_graph_merge(ProfileGraph *graph, const ProfileGraph *other)
{
  g_autofree guint *objects = g_new0(guint, other->objects->len);
  for (guint i = 0; i < other->objects->len; i++)
    if (!match_object(graph, other->objects->pdata[i], &objects[i]))
      return FALSE;
  guint known = graph->objects->len;
  for (guint i = 0; i < other->objects->len; i++)
    if (objects[i] == known)
      objects[i] = profile_graph_add_object(graph, other->objects->pdata[i]);
  g_autofree guint *indices = g_new0(guint, other->functions->len);
  for (guint i = 0; i < other->functions->len; i++) {
    const ProfileFunction *function = profile_graph_function(other, i);
    indices[i] = merge_function(graph, objects[function->object], function);
  }
  for (guint i = 0; i < other->arcs->len; i++) {
    const ProfileArc *from = &g_array_index(other->arcs, ProfileArc, i);
    ProfileArc *arc = profile_graph_add_arc(graph, indices[from->caller], indices[from->callee]);
    arc->calls = profile_sum(arc->calls, from->calls);
    arc->nested = profile_sum(arc->nested, from->nested);
    arc->cost = profile_sum(arc->cost, from->cost);
  }
  graph->runs += MIN(other->runs, G_MAXINT - graph->runs);
  graph->elsewhere = profile_sum(graph->elsewhere, other->elsewhere);
  return TRUE;
}

guint64
profile_graph_total(const ProfileGraph *graph)
{
  guint64 total = graph->elsewhere;
  for (guint i = 0; i < graph->functions->len; i++)
    total = profile_sum(total, profile_graph_function(graph, i)->self);
  return total;
}

const char *
profile_graph_changed(const ProfileGraph *graph, const ProfileObject *program)
{
  for (guint i = 0; i < graph->objects->len; i++) {
    const ProfileObject *object = graph->objects->pdata[i];
    if (!profile_object_same(object, program) && !profile_object_is_current(object))
      return object->path;
  }
  return NULL;
}
