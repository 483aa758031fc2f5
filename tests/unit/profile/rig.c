#include "rig.h"

const ProfileFunction *
rig_find(const ProfileGraph *graph, const char *name)
{
  guint64 offset = g_str_has_prefix(name, "0x") ? g_ascii_strtoull(name, NULL, 16) : 0;
  for (guint i = 0; i < graph->functions->len; i++) {
    const ProfileFunction *function = profile_graph_function(graph, i);
    if (offset ? function->offset == offset : g_strcmp0(function->name, name) == 0)
      return function;
  }
  return NULL;
}

void
rig_expect(const ProfileGraph *graph, const char *name, guint64 self, guint64 calls, guint64 nested,
           guint64 inclusive)
{
  const ProfileFunction *function = rig_find(graph, name);
  g_test_message("%s: self %" G_GUINT64_FORMAT ", calls %" G_GUINT64_FORMAT ", nested %" G_GUINT64_FORMAT
                 ", inclusive %" G_GUINT64_FORMAT,
                 name, function ? function->self : 0, function ? function->calls : 0,
                 function ? function->nested : 0, function ? function->inclusive : 0);
  g_assert_nonnull(function);
  g_assert_cmpuint(function->self, ==, self);
  g_assert_cmpuint(function->calls, ==, calls);
  g_assert_cmpuint(function->nested, ==, nested);
  g_assert_cmpuint(function->inclusive, ==, inclusive);
}

void
rig_expect_arc(const ProfileGraph *graph, const char *caller, const char *callee, guint64 calls,
               guint64 nested, guint64 cost)
{
  const ProfileFunction *from = rig_find(graph, caller), *to = rig_find(graph, callee);
  const ProfileArc *found = NULL;
  for (guint i = 0; i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    if (profile_graph_function(graph, arc->caller) == from &&
        profile_graph_function(graph, arc->callee) == to)
      found = arc;
  }
  g_test_message(
      "%s -> %s: calls %" G_GUINT64_FORMAT ", nested %" G_GUINT64_FORMAT ", cost %" G_GUINT64_FORMAT, caller,
      callee, found ? found->calls : 0, found ? found->nested : 0, found ? found->cost : 0);
  if (calls == 0) {
    g_assert_null(found);
    return;
  }
  g_assert_nonnull(found);
  g_assert_cmpuint(found->calls, ==, calls);
  g_assert_cmpuint(found->nested, ==, nested);
  g_assert_cmpuint(found->cost, ==, cost);
}

char *
rig_text(const ProfileGraph *graph)
{
  GString *text = g_string_new(NULL);
  g_string_append_printf(text, "%u runs, %" G_GUINT64_FORMAT " elsewhere\n", graph->runs, graph->elsewhere);
  for (guint i = 0; i < graph->objects->len; i++) {
    const ProfileObject *object = graph->objects->pdata[i];
    g_string_append_printf(text, "%s %s %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT " %s\n", object->path,
                           object->build_id ? object->build_id : "-", object->size, object->mtime_ns,
                           object->hash ? object->hash : "-");
  }
  for (guint i = 0; i < graph->functions->len; i++) {
    const ProfileFunction *function = profile_graph_function(graph, i);
    g_string_append_printf(text,
                           "%u+%" G_GINT64_MODIFIER "x %s %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
                           " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "\n",
                           function->object, function->offset, function->name ? function->name : "-",
                           function->self, function->calls, function->nested, function->inclusive);
  }
  for (guint i = 0; i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    g_string_append_printf(text, "%u>%u %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "\n",
                           arc->caller, arc->callee, arc->calls, arc->nested, arc->cost);
  }
  return g_string_free(text, FALSE);
}
