/* A profile that a clone sends, in two pieces. Its files are not looked for: each has a few functions here.
 * What is accepted makes sense. */
#include "profile/callgrind.h"

static ProfileFile *
declared(const char *path, GError **error)
{
  ProfileFile *file =
      profile_file_new(profile_object_copy(&(ProfileObject){.path = (char *)path, .build_id = (char *)"aa"}));
  for (guint64 i = 1; i <= 8; i++)
    profile_file_add(file, i * 0x100, i % 2 ? 0x100 : 0x80, i * 0x100, NULL);
  return file;
}

static void
check(const ProfileGraph *graph)
{
  guint64 total = profile_graph_total(graph), calls = 0;
  for (guint i = 0; i < graph->functions->len; i++) {
    const ProfileFunction *function = profile_graph_function(graph, i);
    g_assert_cmpuint(function->object, <, graph->objects->len);
    g_assert_cmpuint(function->self, <=, total);
    g_assert_cmpuint(function->calls, <=, G_MAXINT64);
    g_assert_cmpuint(function->nested, <=, function->calls);
    calls = profile_sum(calls, function->calls);
  }
  guint64 sum = 0;
  for (guint i = 0; i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    g_assert_cmpuint(arc->caller, <, graph->functions->len);
    g_assert_cmpuint(arc->callee, <, graph->functions->len);
    g_assert_cmpuint(arc->nested, <=, arc->calls);
    sum = profile_sum(sum, arc->calls);
  }
  g_assert_cmpuint(sum, <=, calls);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  if (length == 0)
    return 0;
  const char *text = (const char *)data + 1;
  gsize first = MIN((gsize)data[0] * 16, length - 1);
  g_autoptr(GError) error = NULL;
  g_autoptr(ProfileCallgrind) callgrind = profile_callgrind_new(declared, "fuzz");
  if (profile_callgrind_feed(callgrind, text, first, &error) &&
      profile_callgrind_feed(callgrind, text + first, length - 1 - first, &error)) {
    g_autoptr(ProfileGraph) graph = profile_callgrind_end(callgrind, &error);
    g_assert_true((graph == NULL) == (error != NULL));
    if (graph) {
      check(graph);
      g_autoptr(ProfileGraph) twice = profile_graph_new();
      g_assert_true(profile_graph_merge(twice, graph) && profile_graph_merge(twice, graph));
      g_assert_cmpuint(twice->functions->len, ==, graph->functions->len);
      check(twice);
    }
  } else {
    g_assert_nonnull(error);
  }
  return 0;
}
