#include "trace.h"

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <string.h>

static JsonParser *
parse(const char *path, GError **error)
{
  g_autoptr(GFile) file = g_file_new_for_path(path);
  g_autoptr(GInputStream) raw = G_INPUT_STREAM(g_file_read(file, NULL, error));
  if (!raw)
    return NULL;
  g_autoptr(GConverter) gunzip = G_CONVERTER(g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_GZIP));
  g_autoptr(GInputStream) stream =
      g_str_has_suffix(path, ".gz") ? g_converter_input_stream_new(raw, gunzip) : g_object_ref(raw);
  g_autoptr(JsonParser) parser = json_parser_new_immutable();
  if (!json_parser_load_from_stream(parser, stream, NULL, error))
    return NULL;
  return g_steal_pointer(&parser);
}

static void
add_patches(Trace *trace, JsonArray *patches)
{
  for (guint i = 0; i < json_array_get_length(patches); i++) {
    JsonArray *patch = json_array_get_array_element(patches, i);
    const char *inserted = json_array_get_string_element(patch, 2);
    TracePatch one = {json_array_get_int_element(patch, 0), json_array_get_int_element(patch, 1),
                      g_string_chunk_insert_const(trace->strings, inserted), strlen(inserted)};
    g_array_append_val(trace->patches, one);
  }
}

/* What a step's parents had seen, and the parents themselves. */
static void
look_back(Trace *trace, TraceStep *step, JsonArray *parents, const guint32 *own)
{
  step->seen = g_new0(guint32, trace->agents);
  for (guint i = 0; i < json_array_get_length(parents); i++) {
    guint index = json_array_get_int_element(parents, i);
    const TraceStep *parent = &g_array_index(trace->steps, TraceStep, index);
    for (guint agent = 0; agent < trace->agents; agent++)
      step->seen[agent] = MAX(step->seen[agent], parent->seen[agent]);
    step->seen[parent->agent] = MAX(step->seen[parent->agent], own[index]);
  }
}

static void
add_steps(Trace *trace, JsonArray *steps)
{
  guint count = json_array_get_length(steps);
  /* Of each step, the how manieth of its agent it is. */
  g_autofree guint32 *own = g_new0(guint32, count), *made = g_new0(guint32, trace->agents);
  for (guint i = 0; i < count; i++) {
    JsonObject *object = json_array_get_object_element(steps, i);
    TraceStep step = {.patch = trace->patches->len};
    if (json_object_has_member(object, "agent")) {
      step.agent = json_object_get_int_member(object, "agent");
      look_back(trace, &step, json_object_get_array_member(object, "parents"), own);
    }
    own[i] = ++made[step.agent];
    add_patches(trace, json_object_get_array_member(object, "patches"));
    step.patches = trace->patches->len - step.patch;
    g_array_append_val(trace->steps, step);
  }
}

Trace *
trace_read(const char *path, GError **error)
{
  g_autoptr(JsonParser) parser = parse(path, error);
  if (!parser)
    return NULL;
  JsonObject *root = json_node_get_object(json_parser_get_root(parser));
  Trace *trace = g_new0(Trace, 1);
  gboolean concurrent = json_object_has_member(root, "numAgents");
  trace->agents = concurrent ? json_object_get_int_member(root, "numAgents") : 1;
  trace->start = g_strdup(concurrent ? "" : json_object_get_string_member(root, "startContent"));
  trace->end = g_strdup(json_object_get_string_member(root, "endContent"));
  trace->patches = g_array_new(FALSE, FALSE, sizeof(TracePatch));
  trace->steps = g_array_new(FALSE, FALSE, sizeof(TraceStep));
  trace->strings = g_string_chunk_new(65536);
  add_steps(trace, json_object_get_array_member(root, "txns"));
  return trace;
}

void
trace_free(Trace *trace)
{
  if (!trace)
    return;
  for (guint i = 0; i < trace->steps->len; i++)
    g_free(g_array_index(trace->steps, TraceStep, i).seen);
  g_array_free(trace->steps, TRUE);
  g_array_free(trace->patches, TRUE);
  g_string_chunk_free(trace->strings);
  g_free(trace->start);
  g_free(trace->end);
  g_free(trace);
}
