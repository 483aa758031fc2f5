#include "cmd/profile_observe.h"

#include "base/line.h"
#include "mirror/elf_facts.h"

/* A block costs the engine some milliseconds at least, and a run of many takes long. */
#define WORTH_INSTRUCTIONS 200000u /* of a block */
#define BLOCKS_MAX         1000u   /* in a run */
#define SHARE              50u     /* one in so many of the program's instructions */
#define ALIKE              100u    /* two that differ by less than one in so many */

/* ---- candidates ---- */

static guint64
blocks_of(const ProfileFunction *function)
{
  return function->calls - function->nested;
}

/* What the loader runs, before there is a program. */
static gboolean
is_beginning(const ProfileGraph *graph, const ProfileFunction *function)
{
  static const char *const names[] = {"_start", "__libc_start_main", "__libc_start_call_main"};
  const ProfileObject *object = graph->objects->pdata[function->object];
  g_autofree char *file = g_path_get_basename(object->path);
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    if (g_strcmp0(function->name, names[i]) == 0)
      return TRUE;
  return g_str_has_prefix(file, "ld-linux") || strchr(object->path, ':');
}

static gint
compare(gconstpointer left, gconstpointer right, gpointer user)
{
  const ProfileFunction *a = profile_graph_function(user, *(const guint *)left);
  const ProfileFunction *b = profile_graph_function(user, *(const guint *)right);
  return (a->inclusive < b->inclusive) - (a->inclusive > b->inclusive);
}

/* Of functions that do hardly more than call the next one, the last says what the others would: its index in
 * `chosen`, or -1. */
static gint
find_alike(const ProfileGraph *graph, const GArray *chosen, const ProfileFunction *function)
{
  for (guint i = 0; i < chosen->len; i++) {
    const ProfileFunction *other = profile_graph_function(graph, g_array_index(chosen, guint, i));
    if (blocks_of(other) == blocks_of(function) &&
        other->inclusive - function->inclusive <= other->inclusive / ALIKE)
      return (gint)i;
  }
  return -1;
}

GArray *
profile_observe_candidates(const ProfileGraph *graph, guint most)
{
  GArray *chosen = g_array_new(FALSE, FALSE, sizeof(guint));
  g_autoptr(GArray) order = g_array_new(FALSE, FALSE, sizeof(guint));
  guint64 total = profile_graph_total(graph);
  for (guint i = 0; i < graph->functions->len; i++)
    g_array_append_val(order, i);
  g_array_sort_with_data(order, compare, (gpointer)graph);
  for (guint i = 0; i < order->len; i++) {
    guint index = g_array_index(order, guint, i);
    const ProfileFunction *function = profile_graph_function(graph, index);
    guint64 blocks = blocks_of(function);
    if (function->inclusive < total / SHARE)
      break;
    if (!blocks || blocks > BLOCKS_MAX * (guint64)graph->runs ||
        function->inclusive / blocks < WORTH_INSTRUCTIONS || is_beginning(graph, function))
      continue;
    gint alike = find_alike(graph, chosen, function);
    if (alike >= 0)
      g_array_index(chosen, guint, alike) = index;
    else if (chosen->len < most)
      g_array_append_val(chosen, index);
  }
  return chosen;
}

/* As "doppel run -f" takes it: a file and an address in it, which is nobody else's. NULL where the file says
 * nothing. */
static char *
text_of(const ProfileGraph *graph, const ProfileFunction *function)
{
  const ProfileObject *object = graph->objects->pdata[function->object];
  g_autoptr(ElfFacts) facts = elf_facts_read(object->path, NULL);
  for (guint i = 0; facts && i < facts->segments->len; i++) {
    const ElfSegment *segment = &g_array_index(facts->segments, ElfSegment, i);
    if (function->offset >= segment->offset && function->offset - segment->offset < segment->file_size)
      return g_strdup_printf("%s:0x%" G_GINT64_MODIFIER "x", object->path,
                             function->offset - segment->offset + segment->vaddr);
  }
  return NULL;
}

/* ---- in the clone ---- */

typedef struct {
  const GArray *functions; /* guint, as they were asked for */
  GPtrArray *seen;
} Taking;

static void
take(const Doppel__Wire__ProfilerSeen *said, gpointer user)
{
  Taking *taking = user;
  ProfilerSeen *seen = g_new0(ProfilerSeen, 1);
  g_ptr_array_add(taking->seen, seen);
  seen->function = g_array_index(taking->functions, guint, said->function);
  if (said->stats.len)
    profiler_seen_read(seen, (const char *)said->stats.data, said->stats.len);
  if (!seen->reason && *said->reason)
    seen->reason = line_of(said->reason, PROFILER_SEEN_REASON);
}

gboolean
profile_observe(ProfilerClient *client, const ProfileGraph *graph, const GArray *candidates, guint seconds,
                const ProfilerWatcher *watcher, GPtrArray **seen, GError **error)
{
  g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GArray) functions = g_array_new(FALSE, FALSE, sizeof(guint));
  *seen = g_ptr_array_new_with_free_func((GDestroyNotify)profiler_seen_free);
  for (guint i = 0; i < candidates->len; i++) {
    guint index = g_array_index(candidates, guint, i);
    char *text = text_of(graph, profile_graph_function(graph, index));
    if (!text)
      continue;
    g_ptr_array_add(texts, text);
    g_array_append_val(functions, index);
  }
  Taking taking = {functions, *seen};
  return !texts->len || profiler_client_observe(client, texts, seconds, watcher, take, &taking, error);
}

/* ---- to be kept ---- */

/* The first of the blocks, or all others: time is told of all alike. A block's own round trip is not among
 * those that it asks for. */
static ProfileBlocks
blocks_seen(const ProfilerSeen *seen, gboolean first)
{
  guint64 count = first ? MIN(seen->blocks, 1) : seen->blocks - MIN(seen->blocks, 1);
  guint64 trips = first ? seen->first_trips : seen->trips - seen->first_trips;
  double share = seen->blocks ? (double)count / (double)seen->blocks : 0;
  return (ProfileBlocks){.blocks = count,
                         .bytes_out = first ? seen->first_out : seen->bytes_out - seen->first_out,
                         .bytes_in = first ? seen->first_in : seen->bytes_in - seen->first_in,
                         .device_ns = (guint64)(seen->device_ns * share),
                         .clone_ns = (guint64)(seen->clone_ns * share),
                         .round_trips = trips - MIN(trips, count)};
}

ProfileObserved *
profile_observe_sums(const ProfileGraph *graph, const GPtrArray *list)
{
  ProfileObserved *observed = profile_observed_new();
  for (guint i = 0; i < list->len; i++) {
    const ProfilerSeen *seen = list->pdata[i];
    const ProfileFunction *function = profile_graph_function(graph, seen->function);
    guint64 failed = seen->cut + seen->aborted;
    ProfileObservation *kept = seen->blocks || failed
                                   ? profile_observed_add(observed, graph->objects->pdata[function->object],
                                                          function->offset, function->name)
                                   : NULL;
    if (!kept)
      continue;
    const ProfileBlocks first = blocks_seen(seen, TRUE), later = blocks_seen(seen, FALSE);
    profile_blocks_add(&kept->first, &first);
    profile_blocks_add(&kept->later, &later);
    kept->failed += failed;
    if (failed && seen->reason)
      profile_observation_reason(kept, seen->reason, failed);
  }
  return observed;
}
