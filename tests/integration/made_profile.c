/* Writes a profile as if "doppel profile" had seen it: made_profile STORE PROGRAM, and on standard input
 * lines
 *
 *   function NAME SELF CALLS INCLUSIVE
 *   call CALLER CALLEE CALLS COST
 *   blocks NAME COUNT UP DOWN MICROSECONDS   each of so many later blocks; and as many first ones of twice
 * that failed NAME COUNT
 *
 * of functions that PROGRAM has. */
#include <stdio.h>
#include <string.h>

#include "mirror/symbols.h"
#include "profile/store.h"

/* Names for a profile to use, beside main: they do nothing. */
int work(int x);
int little(int x);

__attribute__((noinline, used)) int
work(int x)
{
  return 3 * x;
}

__attribute__((noinline, used)) int
little(int x)
{
  return 5 * x;
}

typedef struct {
  SymbolFile *symbols;
  ProfileObject *program;
  ProfileGraph *graph;
  ProfileObserved *observed;
} Making;

static guint64
offset_of(const Making *making, const char *name)
{
  for (guint i = 0; i < symbols_count(making->symbols); i++)
    if (strcmp(symbols_at(making->symbols, i)->name, name) == 0)
      return symbols_at(making->symbols, i)->offset;
  g_error("the program has no function %s", name);
}

static guint
function_of(const Making *making, const char *name)
{
  guint object = profile_graph_add_object(making->graph, making->program);
  return profile_graph_add_function(making->graph, object, offset_of(making, name), name);
}

static ProfileObservation *
observation_of(const Making *making, const char *name)
{
  return profile_observed_add(making->observed, making->program, offset_of(making, name), name);
}

static guint64
number(char **words, guint index)
{
  return g_ascii_strtoull(words[index], NULL, 10);
}

static ProfileBlocks
blocks(guint64 count, guint64 up, guint64 down, guint64 us)
{
  return (ProfileBlocks){count, count * up, count * down, count * us * 1000, count * us * 1000, 0};
}

static void
take(Making *making, char **words)
{
  guint count = g_strv_length(words);
  if (count == 5 && strcmp(words[0], "function") == 0) {
    ProfileFunction *function = profile_graph_function(making->graph, function_of(making, words[1]));
    function->self = number(words, 2);
    function->calls = number(words, 3);
    function->inclusive = number(words, 4);
  } else if (count == 5 && strcmp(words[0], "call") == 0) {
    guint caller = function_of(making, words[1]), callee = function_of(making, words[2]);
    *profile_graph_add_arc(making->graph, caller, callee) =
        (ProfileArc){caller, callee, number(words, 3), 0, number(words, 4)};
  } else if (count == 6 && strcmp(words[0], "blocks") == 0) {
    ProfileObservation *seen = observation_of(making, words[1]);
    seen->first = blocks(number(words, 2), 2 * number(words, 3), 2 * number(words, 4), 2 * number(words, 5));
    seen->later = blocks(number(words, 2), number(words, 3), number(words, 4), number(words, 5));
  } else if (count == 3 && strcmp(words[0], "failed") == 0) {
    observation_of(making, words[1])->failed = number(words, 2);
  } else {
    g_error("what is \"%s\"?", words[0]);
  }
}

int
main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(SymbolFile) symbols = argc == 3 ? symbols_open(argv[2], &error) : NULL;
  g_autoptr(ProfileObject) program = symbols ? profile_object_read(argv[2], &error) : NULL;
  if (!program)
    g_error("%s", error ? error->message : "made_profile STORE PROGRAM");
  g_autoptr(ProfileGraph) graph = profile_graph_new();
  g_autoptr(ProfileObserved) observed = profile_observed_new();
  Making making = {symbols, program, graph, observed};
  graph->runs = 1;
  char line[256];
  while (fgets(line, sizeof line, stdin)) {
    g_auto(GStrv) words = g_strsplit(g_strchomp(line), " ", -1);
    take(&making, words);
  }
  g_autoptr(ProfileStore) store = profile_store_open(argv[1]);
  return profile_store_add(store, program, graph) &&
                 (observed->functions->len == 0 || profile_store_observe(store, program, observed))
             ? 0
             : 1;
}
