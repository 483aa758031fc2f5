/* What doppel profile prints. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "cmd/profile.h"
#include "cmd/profile_observe.h"
#include "mirror/symbols_demangle.h"

double
profile_cmd_speed(const ProfileLearned *learned)
{
  guint64 total = profile_graph_total(learned->graph);
  gboolean whole = !learned->alone->cut && !learned->profiled->cut && !learned->profiled->children;
  return whole && total ? (double)learned->alone->cpu_ns / (double)total : 0;
}

/* ---- the functions ---- */

typedef struct {
  const ProfileGraph *graph;
  GArray *order; /* guint: functions, the most expensive first */
} Top;

static gint
compare(gconstpointer left, gconstpointer right, gpointer user)
{
  const ProfileGraph *graph = user;
  const ProfileFunction *a = profile_graph_function(graph, *(const guint *)left);
  const ProfileFunction *b = profile_graph_function(graph, *(const guint *)right);
  if (a->inclusive != b->inclusive)
    return a->inclusive < b->inclusive ? 1 : -1;
  return (a->self < b->self) - (a->self > b->self);
}

static GArray *
most_expensive(const ProfileGraph *graph, guint count)
{
  GArray *order = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; i < graph->functions->len; i++)
    g_array_append_val(order, i);
  g_array_sort_with_data(order, compare, (gpointer)graph);
  g_array_set_size(order, MIN(count, order->len));
  return order;
}

/* Its name for people: as the symbol says, else by its place. */
static char *
name_of(const ProfileGraph *graph, const ProfileFunction *function)
{
  const ProfileObject *object = graph->objects->pdata[function->object];
  g_autofree char *file = g_path_get_basename(object->path);
  g_autofree char *bare = function->name ? symbols_demangle_bare(function->name) : NULL;
  if (function->name)
    return g_strdup_printf("%s (%s)", bare ? bare : function->name, file);
  return g_strdup_printf("%s+0x%" G_GINT64_MODIFIER "x", file, function->offset);
}

/* ---- text ---- */

/* At the right of its column; a size has a character of several bytes in it. */
static void
print_size(guint64 bytes, int width)
{
  g_autofree char *size = bytes ? g_format_size(bytes) : g_strdup("-");
  printf(" %*s%s", MAX(width - (int)g_utf8_strlen(size, -1), 0), "", size);
}

static void
print_seen(const ProfileLearned *learned)
{
  if (!learned->seen || !learned->seen->len)
    return;
  printf("\n%7s %11s %11s %11s %11s %6s %7s  %s\n", "blocks", "first sent", "received", "later sent",
         "received", "cut", "aborted", "off-loaded function");
  for (guint i = 0; i < learned->seen->len; i++) {
    const ProfilerSeen *seen = learned->seen->pdata[i];
    g_autofree char *name = name_of(learned->graph, profile_graph_function(learned->graph, seen->function));
    guint64 later = seen->blocks > 1 ? seen->blocks - 1 : 1;
    printf("%7" G_GUINT64_FORMAT, seen->blocks);
    print_size(seen->first_out, 11);
    print_size(seen->first_in, 11);
    print_size((seen->bytes_out - seen->first_out) / later, 11);
    print_size((seen->bytes_in - seen->first_in) / later, 11);
    printf(" %6" G_GUINT64_FORMAT " %7" G_GUINT64_FORMAT "  %s\n", seen->cut, seen->aborted, name);
    if (seen->reason)
      printf("        %s\n", seen->reason);
  }
}

static void
print_text(const ProfileLearned *learned, const GArray *top)
{
  guint64 total = profile_graph_total(learned->graph);
  double whole = total ? (double)total : 1, speed = profile_cmd_speed(learned);
  printf("%s: %" G_GUINT64_FORMAT " instructions in %u functions; %u %s known\n", learned->program->path,
         total, learned->graph->functions->len, learned->runs, learned->runs == 1 ? "run is" : "runs are");
  printf("in the clone \"%s\": %.3f s alone (%.3f s of a processor", learned->clone,
         learned->alone->wall_ns / 1e9, learned->alone->cpu_ns / 1e9);
  if (speed > 0)
    printf(", %.3f ns for an instruction", speed);
  printf("), %.3f s under valgrind\n\n", learned->profiled->wall_ns / 1e9);
  printf("%9s %7s %12s  %s\n", "inclusive", "self", "calls", "function");
  for (guint i = 0; i < top->len; i++) {
    const ProfileFunction *function = profile_graph_function(learned->graph, g_array_index(top, guint, i));
    g_autofree char *name = name_of(learned->graph, function);
    printf("%7.1f %% %5.1f %% %12" G_GUINT64_FORMAT "  %s\n", 100 * (double)function->inclusive / whole,
           100 * (double)function->self / whole, function->calls, name);
  }
  print_seen(learned);
  for (guint i = 0; i < learned->notes->len; i++)
    fprintf(stderr, "doppel profile: %s\n", (const char *)learned->notes->pdata[i]);
}

/* ---- JSON ---- */

static void
add_number(GString *json, const char *key, double value)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append_printf(json, ",\"%s\":%s", key, g_ascii_formatd(text, sizeof text, "%.6f", value));
}

static void
add_text(GString *json, const char *key, const char *value)
{
  g_string_append_printf(json, ",\"%s\":", key);
  if (value)
    json_append_string(json, value);
  else
    g_string_append(json, "null");
}

static void
add_functions(GString *json, const ProfileGraph *graph, const GArray *top)
{
  g_string_append(json, ",\"top\":[");
  for (guint i = 0; i < top->len; i++) {
    const ProfileFunction *function = profile_graph_function(graph, g_array_index(top, guint, i));
    const ProfileObject *object = graph->objects->pdata[function->object];
    g_string_append(json, i ? ",{\"object\":" : "{\"object\":");
    json_append_string(json, object->path);
    add_text(json, "name", function->name);
    g_string_append_printf(
        json,
        ",\"offset\":%" G_GUINT64_FORMAT ",\"inclusive\":%" G_GUINT64_FORMAT ",\"self\":%" G_GUINT64_FORMAT
        ",\"calls\":%" G_GUINT64_FORMAT ",\"nested\":%" G_GUINT64_FORMAT "}",
        function->offset, function->inclusive, function->self, function->calls, function->nested);
  }
  g_string_append_c(json, ']');
}

static void
add_seen(GString *json, const ProfileLearned *learned)
{
  g_string_append(json, ",\"observed\":[");
  for (guint i = 0; learned->seen && i < learned->seen->len; i++) {
    const ProfilerSeen *seen = learned->seen->pdata[i];
    const ProfileFunction *function = profile_graph_function(learned->graph, seen->function);
    const ProfileObject *object = learned->graph->objects->pdata[function->object];
    g_string_append(json, i ? ",{\"object\":" : "{\"object\":");
    json_append_string(json, object->path);
    add_text(json, "name", function->name);
    g_string_append_printf(json,
                           ",\"offset\":%" G_GUINT64_FORMAT ",\"blocks\":%" G_GUINT64_FORMAT
                           ",\"first\":{\"out\":%" G_GUINT64_FORMAT ",\"in\":%" G_GUINT64_FORMAT
                           ",\"round_trips\":%" G_GUINT64_FORMAT "},\"bytes_out\":%" G_GUINT64_FORMAT
                           ",\"bytes_in\":%" G_GUINT64_FORMAT ",\"round_trips\":%" G_GUINT64_FORMAT
                           ",\"cut\":%" G_GUINT64_FORMAT ",\"aborted\":%" G_GUINT64_FORMAT,
                           function->offset, seen->blocks, seen->first_out, seen->first_in, seen->first_trips,
                           seen->bytes_out, seen->bytes_in, seen->trips, seen->cut, seen->aborted);
    add_number(json, "device_s", seen->device_ns / 1e9);
    add_number(json, "clone_s", seen->clone_ns / 1e9);
    add_text(json, "reason", seen->reason);
    g_string_append_c(json, '}');
  }
  g_string_append_c(json, ']');
}

static void
print_json(const ProfileLearned *learned, const GArray *top)
{
  g_autoptr(GString) json = g_string_new("{\"program\":");
  double speed = profile_cmd_speed(learned);
  json_append_string(json, learned->program->path);
  add_text(json, "build_id", learned->program->build_id);
  add_text(json, "clone", learned->clone);
  g_string_append_printf(json,
                         ",\"runs\":%u,\"instructions\":%" G_GUINT64_FORMAT
                         ",\"functions\":%u,\"arcs\":%u,\"profile_bytes\":%" G_GUINT64_FORMAT
                         ",\"status\":%u,\"complete\":%s,\"children\":%u",
                         learned->runs, profile_graph_total(learned->graph), learned->graph->functions->len,
                         learned->graph->arcs->len, learned->bytes, learned->profiled->status,
                         learned->profiled->cut ? "false" : "true", learned->profiled->children);
  add_number(json, "alone_s", learned->alone->wall_ns / 1e9);
  add_number(json, "alone_cpu_s", learned->alone->cpu_ns / 1e9);
  add_number(json, "profiled_s", learned->profiled->wall_ns / 1e9);
  if (speed > 0)
    add_number(json, "ns_per_instruction", speed);
  else
    g_string_append(json, ",\"ns_per_instruction\":null");
  add_functions(json, learned->graph, top);
  add_seen(json, learned);
  g_string_append(json, ",\"notes\":[");
  for (guint i = 0; i < learned->notes->len; i++) {
    g_string_append(json, i ? "," : "");
    json_append_string(json, learned->notes->pdata[i]);
  }
  g_string_append(json, "]}\n");
  fputs(json->str, stdout);
}

void
profile_cmd_say(const ProfileLearned *learned, const ProfileOptions *options)
{
  g_autoptr(GArray) top = most_expensive(learned->graph, (guint)options->top);
  if (options->json)
    print_json(learned, top);
  else
    print_text(learned, top);
}
