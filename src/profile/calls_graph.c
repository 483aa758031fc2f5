#include "base/error.h"
#include "profile/calls_private.h"

/* Steps of dividing what is no function's among its callers. */
#define DIVIDE_LIMIT (1u << 24)
#define LINK_LIMIT   (2u << 20)
G_STATIC_ASSERT(LINK_LIMIT <= PROFILE_ARC_LIMIT);

/* A function, or code that is none and whose callers are to have what it does. */
typedef struct {
  const ProfilePlace *place; /* NULL: no function */
  const CallsObject *object;
  guint64 self;
  guint64 outside, outside_nested, outside_cost; /* calls by nobody that is known */
  guint group;                                   /* of code that is no function: union-find's parent */
} Vertex;

typedef struct {
  guint from, to;
  guint64 calls, nested, cost;
} Link;

/* Code that is no function and calls itself only: one thing to its callers. */
typedef struct {
  guint64 self;
  GArray *in, *out; /* of Link */
} Group;

/* What one caller has of a group. */
typedef struct {
  guint vertex;
  guint64 calls, self, cost;
} Share;

typedef struct {
  GArray *vertices;     /* of Vertex */
  GHashTable *by_place; /* ProfilePlace -> index + 1 */
  GArray *links;        /* of Link */
  GHashTable *by_ends;  /* own: ends -> index of link */
  guint64 elsewhere;
  guint64 divided; /* steps so far */
} Builder;

static Vertex *
vertex_at(const Builder *builder, guint index)
{
  return &g_array_index(builder->vertices, Vertex, index);
}

static guint
add_vertex(Builder *builder, const ProfilePlace *place, const CallsObject *object)
{
  Vertex vertex = {.place = place, .object = object, .group = builder->vertices->len};
  g_array_append_val(builder->vertices, vertex);
  return vertex.group;
}

static guint
vertex_of(Builder *builder, const ProfilePlace *place, const CallsObject *object)
{
  guint known = GPOINTER_TO_UINT(g_hash_table_lookup(builder->by_place, place));
  if (known > 0)
    return known - 1;
  guint index = add_vertex(builder, place, object);
  g_hash_table_insert(builder->by_place, (gpointer)place, GUINT_TO_POINTER(index + 1));
  return index;
}

/* The function that a context begins with. What nobody called, as a thread's first code, begins with its own
 * largest part. */
static const ProfilePlace *
home_of(const ProfileContext *context)
{
  char *end;
  guint64 named = g_str_has_prefix(context->name, "0x") ? g_ascii_strtoull(context->name, &end, 16) : 0;
  if (context->called || named > 0)
    return calls_find(context->object, context->called ? context->entry : named);
  const CallsPart *largest = NULL;
  for (guint i = 0; i < context->parts->len; i++) {
    const CallsPart *part = context->parts->pdata[i];
    if (part->place && (!largest || part->self > largest->self))
      largest = part;
  }
  return largest ? largest->place : NULL;
}

static void
place_parts(Builder *builder, ProfileContext *context)
{
  const ProfilePlace *home = home_of(context);
  context->vertex =
      home ? vertex_of(builder, home, context->object) : add_vertex(builder, NULL, context->object);
  for (guint i = 0; i < context->parts->len; i++) {
    CallsPart *part = context->parts->pdata[i];
    part->vertex = part->place ? vertex_of(builder, part->place, context->object) : context->vertex;
    Vertex *vertex = vertex_at(builder, part->vertex);
    vertex->self = profile_sum(vertex->self, part->self);
  }
}

/* total * weight / sum as the step from one whole number to the next, so that all steps make up the total. */
static guint64
share(guint64 total, guint64 before, guint64 weight, guint64 sum)
{
  unsigned __int128 end = (unsigned __int128)total * ((unsigned __int128)before + weight) / sum;
  return (guint64)(end - (unsigned __int128)total * before / sum);
}

/* Both ends count: g_int64_hash() looks at one, and a function may have very many callers. */
static guint
hash_ends(gconstpointer ends)
{
  return (guint)(*(const guint64 *)ends * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) >> 32);
}

static Link *
link_of(Builder *builder, guint from, guint to)
{
  guint64 ends = (guint64)from << 32 | to;
  gpointer known = g_hash_table_lookup(builder->by_ends, &ends);
  if (!known) {
    Link link = {.from = from, .to = to};
    g_array_append_val(builder->links, link);
    known = GUINT_TO_POINTER(builder->links->len);
    g_hash_table_insert(builder->by_ends, g_memdup2(&ends, sizeof ends), known);
  }
  return &g_array_index(builder->links, Link, GPOINTER_TO_UINT(known) - 1);
}

static void
add_to_link(Builder *builder, guint from, guint to, const Link *what)
{
  Link *link = link_of(builder, from, to);
  link->calls = profile_sum(link->calls, what->calls);
  link->nested = profile_sum(link->nested, what->nested);
  link->cost = profile_sum(link->cost, what->cost);
}

/* What a part costs, with what it calls and jumps to, as far as that is known. */
static guint64
sum_of(const CallsPart *part)
{
  guint64 sum = part->self;
  for (guint i = 0; part->calls && i < part->calls->len; i++)
    sum = profile_sum(sum, ((CallsCall *)part->calls->pdata[i])->cost);
  for (guint i = 0; part->jumps && i < part->jumps->len; i++) {
    const CallsJump *jump = part->jumps->pdata[i];
    sum = profile_sum(sum, share(jump->to->inclusive, 0, jump->count, MAX(jump->to->entered, 1)));
  }
  return sum;
}

/* All that a part costs. Of what jumps round in a circle each is counted once. Depth first, without
 * recursion, since a context may jump through any number of functions. */
static guint64
inclusive_of(CallsPart *first)
{
  g_autoptr(GPtrArray) chain = g_ptr_array_new();
  for (CallsPart *next = first; next || chain->len > 0;) {
    if (next && !next->begun) {
      next->begun = TRUE;
      g_ptr_array_add(chain, next);
    }
    if (chain->len == 0)
      break;
    CallsPart *part = chain->pdata[chain->len - 1];
    next = part->jumps && part->followed < part->jumps->len
               ? ((CallsJump *)part->jumps->pdata[part->followed++])->to
               : NULL;
    if (!next) {
      part->inclusive = sum_of(part);
      g_ptr_array_set_size(chain, (gint)chain->len - 1);
    }
  }
  return first->inclusive;
}

static void
add_call(Builder *builder, const CallsCall *call)
{
  guint to = call->place ? vertex_of(builder, call->place, call->object) : call->callee->vertex;
  Link link = {.calls = call->calls};
  if (call->nested)
    link.nested = call->calls;
  else
    link.cost = call->cost;
  add_to_link(builder, call->from->vertex, to, &link);
}

/* A jump back to the function that its context was called with is inside that call. */
static gboolean
is_nested(const CallsJump *jump)
{
  const ProfileContext *context = jump->from->context;
  return context->nested || (context->called && context->vertex == jump->to->vertex);
}

static void
add_jump(Builder *builder, const CallsJump *jump)
{
  if (jump->from->vertex == jump->to->vertex || jump->count == 0)
    return;
  Link link = {.calls = jump->count};
  if (is_nested(jump))
    link.nested = jump->count;
  else
    link.cost = share(inclusive_of(jump->to), 0, jump->count, jump->to->entered);
  add_to_link(builder, jump->from->vertex, jump->to->vertex, &link);
}

static guint
group_of(Builder *builder, guint index)
{
  while (vertex_at(builder, index)->group != index) {
    Vertex *vertex = vertex_at(builder, index);
    vertex->group = vertex_at(builder, vertex->group)->group;
    index = vertex->group;
  }
  return index;
}

static void
free_group(gpointer data)
{
  Group *group = data;
  g_array_unref(group->in);
  g_array_unref(group->out);
  g_free(group);
}

static Group *
ensure_group(GHashTable *groups, guint index)
{
  Group *group = g_hash_table_lookup(groups, GUINT_TO_POINTER(index));
  if (!group) {
    group = g_new0(Group, 1);
    group->in = g_array_new(FALSE, FALSE, sizeof(Link));
    group->out = g_array_new(FALSE, FALSE, sizeof(Link));
    g_hash_table_insert(groups, GUINT_TO_POINTER(index), group);
  }
  return group;
}

/* What is no function, in groups, with the links over their borders. */
static GHashTable *
gather_groups(Builder *builder)
{
  GHashTable *groups = g_hash_table_new_full(NULL, NULL, NULL, free_group);
  for (guint i = 0; i < builder->links->len; i++) {
    const Link *link = &g_array_index(builder->links, Link, i);
    if (!vertex_at(builder, link->from)->place && !vertex_at(builder, link->to)->place)
      vertex_at(builder, group_of(builder, link->from))->group = group_of(builder, link->to);
  }
  for (guint i = 0; i < builder->vertices->len; i++)
    if (!vertex_at(builder, i)->place) {
      Group *group = ensure_group(groups, group_of(builder, i));
      group->self = profile_sum(group->self, vertex_at(builder, i)->self);
    }
  for (guint i = 0; i < builder->links->len; i++) {
    const Link *link = &g_array_index(builder->links, Link, i);
    gboolean from = vertex_at(builder, link->from)->place != NULL;
    gboolean to = vertex_at(builder, link->to)->place != NULL;
    if (from && !to)
      g_array_append_val(ensure_group(groups, group_of(builder, link->to))->in, *link);
    else if (!from && to)
      g_array_append_val(ensure_group(groups, group_of(builder, link->from))->out, *link);
  }
  return groups;
}

static void
leave_outside(Builder *builder, const Group *group)
{
  builder->elsewhere = profile_sum(builder->elsewhere, group->self);
  for (guint i = 0; i < group->out->len; i++) {
    const Link *out = &g_array_index(group->out, Link, i);
    Vertex *vertex = vertex_at(builder, out->to);
    vertex->outside = profile_sum(vertex->outside, out->calls);
    vertex->outside_nested = profile_sum(vertex->outside_nested, out->nested);
    vertex->outside_cost = profile_sum(vertex->outside_cost, out->cost);
  }
}

/* Gives a caller its share: of numbers by its number of calls, of costs by what its calls cost beyond the
 * group's own. */
static void
give(Builder *builder, const Group *group, const Share *caller, const Share *before, const Share *sum)
{
  Vertex *vertex = vertex_at(builder, caller->vertex);
  vertex->self = profile_sum(vertex->self, caller->self);
  for (guint i = 0; i < group->out->len; i++) {
    const Link *out = &g_array_index(group->out, Link, i);
    Link part = {.calls = share(out->calls, before->calls, caller->calls, sum->calls),
                 .nested = share(out->nested, before->calls, caller->calls, sum->calls),
                 .cost = sum->cost > 0 ? share(out->cost, before->cost, caller->cost, sum->cost)
                                       : share(out->cost, before->calls, caller->calls, sum->calls)};
    if (part.calls > 0 || part.cost > 0)
      add_to_link(builder, caller->vertex, out->to, &part);
  }
}

static Share
share_of(const Group *group, const Link *in, const Share *before, guint64 calls)
{
  guint64 self = share(group->self, before->calls, in->calls, calls);
  return (Share){in->from, in->calls, self, in->cost - MIN(self, in->cost)};
}

static gboolean
too_many_places(GError **error)
{
  return doppel_error_set(
      error, DOPPEL_ERROR_HOSTILE,
      "code that belongs to no function is called from too many places, or calls too many");
}

static gboolean
divide(Builder *builder, const Group *group, GError **error)
{
  guint64 calls = 0, cost = 0;
  for (guint i = 0; i < group->in->len; i++) {
    calls = profile_sum(calls, g_array_index(group->in, Link, i).calls);
    cost = profile_sum(cost, g_array_index(group->in, Link, i).cost);
  }
  if (calls == 0) {
    leave_outside(builder, group);
    return TRUE;
  }
  builder->divided += (guint64)group->in->len * (group->out->len + 1);
  if (builder->divided > DIVIDE_LIMIT)
    return too_many_places(error);
  if (calls == G_MAXINT64 || cost == G_MAXINT64)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "its numbers are too large");
  Share sum = {.calls = calls}, before = {0};
  for (guint i = 0; i < group->in->len; i++) {
    Share caller = share_of(group, &g_array_index(group->in, Link, i), &before, calls);
    sum.cost += caller.cost;
    before.calls += caller.calls;
  }
  before = (Share){0};
  for (guint i = 0; i < group->in->len; i++) {
    Share caller = share_of(group, &g_array_index(group->in, Link, i), &before, calls);
    give(builder, group, &caller, &before, &sum);
    if (builder->links->len > LINK_LIMIT)
      return too_many_places(error);
    before.calls += caller.calls;
    before.cost += caller.cost;
  }
  return TRUE;
}

static int
compare_groups(gconstpointer a, gconstpointer b)
{
  return GPOINTER_TO_UINT(a) < GPOINTER_TO_UINT(b) ? -1 : 1;
}

static gboolean
divide_groups(Builder *builder, GError **error)
{
  g_autoptr(GHashTable) groups = gather_groups(builder);
  /* In an order, so that a file gives the same graph every time. */
  g_autoptr(GList) keys = g_list_sort(g_hash_table_get_keys(groups), compare_groups);
  for (GList *key = keys; key; key = key->next)
    if (!divide(builder, g_hash_table_lookup(groups, key->data), error))
      return FALSE;
  return TRUE;
}

static void
count_outside(ProfileFunction *function, const Vertex *vertex)
{
  function->self = profile_sum(function->self, vertex->self);
  function->calls = profile_sum(function->calls, vertex->outside);
  function->nested = profile_sum(function->nested, vertex->outside_nested);
  function->inclusive = profile_sum(function->inclusive, vertex->outside_cost);
}

/* What ran and was called by nobody, as a process's first code, began once. */
static void
count_roots(ProfileGraph *graph)
{
  g_autofree guint64 *out = g_new0(guint64, graph->functions->len);
  for (guint i = 0; i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    out[arc->caller] = profile_sum(out[arc->caller], arc->cost);
  }
  for (guint i = 0; i < graph->functions->len; i++) {
    ProfileFunction *function = profile_graph_function(graph, i);
    guint64 all = profile_sum(function->self, out[i]);
    if (function->calls > 0 || all == 0)
      continue;
    function->calls = 1;
    function->inclusive = MAX(function->inclusive, all);
  }
}

static ProfileGraph *
make_graph(const Builder *builder)
{
  ProfileGraph *graph = profile_graph_new();
  graph->runs = 1;
  graph->elsewhere = builder->elsewhere;
  g_autofree guint *indices = g_new0(guint, builder->vertices->len);
  for (guint i = 0; i < builder->vertices->len; i++) {
    const Vertex *vertex = vertex_at(builder, i);
    if (!vertex->place)
      continue;
    guint object = profile_graph_add_object(graph, vertex->object->file->object);
    indices[i] = profile_graph_add_function(graph, object, vertex->place->offset, vertex->place->name);
    count_outside(profile_graph_function(graph, indices[i]), vertex);
  }
  for (guint i = 0; i < builder->links->len; i++) {
    const Link *link = &g_array_index(builder->links, Link, i);
    if (!vertex_at(builder, link->from)->place || !vertex_at(builder, link->to)->place)
      continue;
    ProfileArc *arc = profile_graph_add_arc(graph, indices[link->from], indices[link->to]);
    arc->calls = profile_sum(arc->calls, link->calls);
    arc->nested = profile_sum(arc->nested, link->nested);
    arc->cost = profile_sum(arc->cost, link->cost);
    ProfileFunction *callee = profile_graph_function(graph, arc->callee);
    callee->calls = profile_sum(callee->calls, link->calls);
    callee->nested = profile_sum(callee->nested, link->nested);
    callee->inclusive = profile_sum(callee->inclusive, link->cost);
  }
  count_roots(graph);
  return graph;
}

ProfileGraph *
profile_calls_finish(ProfileCalls *calls, GError **error)
{
  Builder builder = {0};
  builder.vertices = g_array_new(FALSE, FALSE, sizeof(Vertex));
  builder.by_place = g_hash_table_new(NULL, NULL);
  builder.links = g_array_new(FALSE, FALSE, sizeof(Link));
  builder.by_ends = g_hash_table_new_full(hash_ends, g_int64_equal, g_free, NULL);
  for (guint i = 0; i < calls->contexts.all->len; i++)
    place_parts(&builder, calls->contexts.all->pdata[i]);
  for (guint i = 0; i < calls->calls.all->len; i++)
    add_call(&builder, calls->calls.all->pdata[i]);
  for (guint i = 0; i < calls->jumps.all->len; i++)
    add_jump(&builder, calls->jumps.all->pdata[i]);
  ProfileGraph *graph = divide_groups(&builder, error) ? make_graph(&builder) : NULL;
  g_array_unref(builder.vertices);
  g_hash_table_unref(builder.by_place);
  g_array_unref(builder.links);
  g_hash_table_unref(builder.by_ends);
  return graph;
}
