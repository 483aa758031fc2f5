/* The real valgrind on subject.c, whose calls are known from its text. */
#include <glib/gstdio.h>
#include <string.h>

#include "profile/callgrind.h"
#include "profile/file.h"
#include "rig.h"

static char *
fixture(const char *name)
{
  return g_build_filename(g_getenv("FIXTURES"), name, NULL);
}

/* Runs a fixture under valgrind, with the house's arguments and then `more`, and reads the profile. */
static ProfileGraph *
profile(const char *name, const char *const *more)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *program = fixture(name);
  g_autofree char *folder = g_dir_make_tmp("doppel-profile-XXXXXX", &error);
  g_assert_no_error(error);
  g_autofree char *path = g_build_filename(folder, "out", NULL);
  g_autofree char *output = g_strconcat("--callgrind-out-file=", path, NULL);
  g_autoptr(GPtrArray) arguments = g_ptr_array_new();
  g_ptr_array_add(arguments, (gpointer) "valgrind");
  for (guint i = 0; profile_callgrind_arguments[i]; i++)
    g_ptr_array_add(arguments, (gpointer)profile_callgrind_arguments[i]);
  for (guint i = 0; more && more[i]; i++)
    g_ptr_array_add(arguments, (gpointer)more[i]);
  g_ptr_array_add(arguments, output);
  g_ptr_array_add(arguments, program);
  g_ptr_array_add(arguments, NULL);
  g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), "LD_BIND_NOW", "1", TRUE);
  int status;
  g_spawn_sync(NULL, (char **)arguments->pdata, environment, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
               &status, &error);
  g_assert_no_error(error);
  g_spawn_check_wait_status(status, &error);
  g_assert_no_error(error);
  ProfileGraph *graph = profile_callgrind_read(path, &error);
  g_assert_no_error(error);
  g_unlink(path);
  g_rmdir(folder);
  return graph;
}

/* Graphs of one program with and without its symbols have its functions at the same offsets: gives those of
 * `graph` the names that subject has. */
static void
name_functions(ProfileGraph *graph, const char *name)
{
  g_autofree char *program = fixture(name), *named = fixture("subject");
  g_autoptr(ProfileFile) file = profile_file_read(named, NULL);
  for (guint i = 0; i < graph->functions->len; i++) {
    ProfileFunction *function = profile_graph_function(graph, i);
    const ProfileObject *object = graph->objects->pdata[function->object];
    if (!g_str_equal(object->path, program))
      continue;
    for (guint j = 0; j < file->places->len; j++) {
      const ProfilePlace *place = &g_array_index(file->places, ProfilePlace, j);
      if (place->offset != function->offset)
        continue;
      g_free(function->name);
      function->name = g_strdup(place->name);
    }
  }
}

static const struct {
  const char *name;
  guint64 calls, nested;
} functions[] = {
    {"main", 1, 0},      {"first", 10, 0},      {"middle", 13, 0},  {"last", 19, 0},
    {"factorial", 6, 5}, {"even", 3, 2},        {"odd", 3, 2},      {"guarded", 5, 0},
    {"rare", 2, 0},      {"each", 1, 0},        {"visit", 11, 0},   {"make", 5, 0},
    {"make_two", 1, 0},  {"with_thread", 1, 0}, {"threaded", 1, 0}, {"interlude", 2, 0},
};

static const struct {
  const char *caller, *callee;
  guint64 calls, nested;
} arcs[] = {
    {"main", "first", 10, 0},     {"first", "middle", 10, 0}, /* a jump */
    {"main", "middle", 3, 0},     {"middle", "last", 13, 0},  /* a jump */
    {"main", "last", 1, 0},       {"first", "last", 0, 0},
    {"main", "factorial", 1, 0},  {"factorial", "factorial", 5, 5},
    {"main", "even", 1, 0},       {"even", "odd", 3, 2},
    {"odd", "even", 2, 2},        {"main", "guarded", 5, 0},
    {"guarded", "last", 5, 0}, /* two of them after the unlikely half */
    {"guarded", "rare", 2, 0}, /* in it */
    {"guarded", "guarded", 0, 0}, {"main", "each", 1, 0},
    {"each", "visit", 7, 0}, /* by a pointer */
    {"threaded", "visit", 4, 0},  {"main", "make", 5, 0},
    {"make", "malloc", 5, 0},     {"make", "free", 5, 0},
    {"make_two", "free", 2, 0},   {"main", "interlude", 2, 0},
};

static const ProfileArc *
find_arc(const ProfileGraph *graph, const char *caller, const char *callee)
{
  const ProfileFunction *from = rig_find(graph, caller), *to = rig_find(graph, callee);
  for (guint i = 0; i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    if (profile_graph_function(graph, arc->caller) == from &&
        profile_graph_function(graph, arc->callee) == to)
      return arc;
  }
  return NULL;
}

static void
expect_known_calls(const ProfileGraph *graph)
{
  for (guint i = 0; i < G_N_ELEMENTS(functions); i++) {
    const ProfileFunction *function = rig_find(graph, functions[i].name);
    g_test_message("%s: %" G_GUINT64_FORMAT " calls", functions[i].name, function ? function->calls : 0);
    g_assert_nonnull(function);
    g_assert_cmpuint(function->calls, ==, functions[i].calls);
    g_assert_cmpuint(function->nested, ==, functions[i].nested);
  }
  for (guint i = 0; i < G_N_ELEMENTS(arcs); i++) {
    const ProfileArc *arc = find_arc(graph, arcs[i].caller, arcs[i].callee);
    g_test_message("%s -> %s: %" G_GUINT64_FORMAT " calls", arcs[i].caller, arcs[i].callee,
                   arc ? arc->calls : 0);
    g_assert_cmpuint(arc ? arc->calls : 0, ==, arcs[i].calls);
    g_assert_cmpuint(arc ? arc->nested : 0, ==, arcs[i].nested);
  }
}

/* What must hold of any profile. */
static void
expect_sound(const ProfileGraph *graph)
{
  guint64 total = profile_graph_total(graph);
  g_autofree guint64 *in = g_new0(guint64, graph->functions->len);
  g_autofree guint64 *out = g_new0(guint64, graph->functions->len);
  for (guint i = 0; i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    in[arc->callee] += arc->calls;
    out[arc->caller] += arc->cost;
  }
  for (guint i = 0; i < graph->functions->len; i++) {
    const ProfileFunction *function = profile_graph_function(graph, i);
    g_assert_cmpuint(in[i], <=, function->calls);
    g_assert_cmpuint(function->nested, <=, function->calls);
    g_assert_cmpuint(function->inclusive, <=, total);
  }
}

static ProfileGraph *named_profile, *stripped_profile;

static void
test_named(void)
{
  named_profile = profile("subject", NULL);
  expect_known_calls(named_profile);
  expect_sound(named_profile);
}

/* What a function calls and executes makes up its inclusive cost, where nothing is recursive. */
static void
test_costs_add_up(void)
{
  static const char *const plain[] = {"main", "first", "middle", "guarded", "each", "make", "make_two"};
  for (guint i = 0; i < G_N_ELEMENTS(plain); i++) {
    const ProfileFunction *function = rig_find(named_profile, plain[i]);
    guint64 sum = function->self;
    for (guint j = 0; j < named_profile->arcs->len; j++) {
      const ProfileArc *arc = &g_array_index(named_profile->arcs, ProfileArc, j);
      if (profile_graph_function(named_profile, arc->caller) == function)
        sum += arc->cost;
    }
    g_test_message("%s", plain[i]);
    g_assert_cmpuint(function->inclusive, ==, sum);
  }
  /* Recursion: all of it is inside the one call from outside. */
  const ProfileFunction *factorial = rig_find(named_profile, "factorial");
  g_assert_cmpuint(factorial->inclusive, ==, factorial->self);
  const ProfileFunction *even = rig_find(named_profile, "even"), *odd = rig_find(named_profile, "odd");
  g_assert_cmpuint(even->inclusive, ==, even->self + odd->self);
}

/* Without its symbols the program has the same functions, calls and costs. */
static void
test_stripped(void)
{
  stripped_profile = profile("subject-stripped", NULL);
  name_functions(stripped_profile, "subject-stripped");
  expect_known_calls(stripped_profile);
  expect_sound(stripped_profile);
  for (guint i = 0; i < G_N_ELEMENTS(functions); i++) {
    const ProfileFunction *left = rig_find(named_profile, functions[i].name);
    const ProfileFunction *right = rig_find(stripped_profile, functions[i].name);
    g_test_message("%s", functions[i].name);
    g_assert_cmpuint(left->offset, ==, right->offset);
    g_assert_cmpuint(left->self, ==, right->self);
    /* Starting and joining a thread costs what its luck is. */
    if (!g_str_equal(functions[i].name, "main") && !g_str_equal(functions[i].name, "with_thread"))
      g_assert_cmpuint(left->inclusive, ==, right->inclusive);
  }
}

/* Numbers and names written out, and many parts in one file, are the same profile. */
static void
test_other_writings(void)
{
  static const char *const plain[] = {"--compress-strings=no", "--compress-pos=no", NULL};
  static const char *const lines[] = {"--dump-line=yes", NULL};
  static const char *const parts[] = {"--combine-dumps=yes", "--dump-before=interlude", NULL};
  static const char *const *const writings[] = {plain, lines, parts};
  for (guint i = 0; i < G_N_ELEMENTS(writings); i++) {
    g_autoptr(ProfileGraph) graph = profile("subject", writings[i]);
    expect_known_calls(graph);
    for (guint j = 0; j < G_N_ELEMENTS(functions); j++) {
      g_test_message("%s %s", writings[i][0], functions[j].name);
      g_assert_cmpuint(rig_find(graph, functions[j].name)->self, ==,
                       rig_find(named_profile, functions[j].name)->self);
    }
  }
}

static void
test_missing(void)
{
  g_test_skip("valgrind is not installed");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_autofree char *valgrind = g_find_program_in_path("valgrind");
  if (!valgrind) {
    g_test_add_func("/valgrind/missing", test_missing);
    return g_test_run();
  }
  g_test_add_func("/valgrind/named", test_named);
  g_test_add_func("/valgrind/costs-add-up", test_costs_add_up);
  g_test_add_func("/valgrind/stripped", test_stripped);
  g_test_add_func("/valgrind/other-writings", test_other_writings);
  int failures = g_test_run();
  profile_graph_free(named_profile);
  profile_graph_free(stripped_profile);
  return failures;
}
