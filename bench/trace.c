#include "trace.h"

#include <gio/gio.h>
#include <jansson.h>
#include <string.h>

static size_t
read_some(void *buffer, size_t size, void *stream)
{
  return (size_t)g_input_stream_read(stream, buffer, size, NULL, NULL);
}

static json_t *
parse(const char *path, GError **error)
{
  g_autoptr(GFile) file = g_file_new_for_path(path);
  g_autoptr(GInputStream) raw = G_INPUT_STREAM(g_file_read(file, NULL, error));
  if (!raw)
    return NULL;
  g_autoptr(GConverter) gunzip = G_CONVERTER(g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_GZIP));
  g_autoptr(GInputStream) stream =
      g_str_has_suffix(path, ".gz") ? g_converter_input_stream_new(raw, gunzip) : g_object_ref(raw);
  json_error_t wrong;
  json_t *root = json_load_callback(read_some, stream, 0, &wrong);
  if (!root)
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s:%d: %s", path, wrong.line, wrong.text);
  return root;
}

static guint
number_of(const json_t *object, const char *name)
{
  return (guint)json_integer_value(json_object_get(object, name));
}

static const char *
text_of(const json_t *object, const char *name)
{
  return json_string_value(json_object_get(object, name));
}

static void
add_patches(Trace *trace, const json_t *patches)
{
  for (guint i = 0; i < json_array_size(patches); i++) {
    const json_t *patch = json_array_get(patches, i);
    const char *inserted = json_string_value(json_array_get(patch, 2));
    TracePatch one = {json_integer_value(json_array_get(patch, 0)),
                      json_integer_value(json_array_get(patch, 1)),
                      g_string_chunk_insert_const(trace->strings, inserted), strlen(inserted)};
    g_array_append_val(trace->patches, one);
  }
}

/* What a step's parents had seen, and the parents themselves. */
static void
look_back(Trace *trace, TraceStep *step, const json_t *parents, const guint32 *own)
{
  step->seen = g_new0(guint32, trace->agents);
  for (guint i = 0; i < json_array_size(parents); i++) {
    guint index = json_integer_value(json_array_get(parents, i));
    const TraceStep *parent = &g_array_index(trace->steps, TraceStep, index);
    for (guint agent = 0; agent < trace->agents; agent++)
      step->seen[agent] = MAX(step->seen[agent], parent->seen[agent]);
    step->seen[parent->agent] = MAX(step->seen[parent->agent], own[index]);
  }
}

static void
add_steps(Trace *trace, const json_t *steps)
{
  guint count = json_array_size(steps);
  /* Of each step, the how manieth of its agent it is. */
  g_autofree guint32 *own = g_new0(guint32, count), *made = g_new0(guint32, trace->agents);
  for (guint i = 0; i < count; i++) {
    const json_t *object = json_array_get(steps, i);
    TraceStep step = {.patch = trace->patches->len};
    if (json_object_get(object, "agent")) {
      step.agent = number_of(object, "agent");
      look_back(trace, &step, json_object_get(object, "parents"), own);
    }
    own[i] = ++made[step.agent];
    add_patches(trace, json_object_get(object, "patches"));
    step.patches = trace->patches->len - step.patch;
    g_array_append_val(trace->steps, step);
  }
}

Trace *
trace_read(const char *path, GError **error)
{
  json_auto_t *root = parse(path, error);
  if (!root)
    return NULL;
  Trace *trace = g_new0(Trace, 1);
  gboolean concurrent = json_object_get(root, "numAgents") != NULL;
  trace->agents = concurrent ? number_of(root, "numAgents") : 1;
  trace->start = g_strdup(concurrent ? "" : text_of(root, "startContent"));
  trace->end = g_strdup(text_of(root, "endContent"));
  trace->patches = g_array_new(FALSE, FALSE, sizeof(TracePatch));
  trace->steps = g_array_new(FALSE, FALSE, sizeof(TraceStep));
  trace->strings = g_string_chunk_new(65536);
  add_steps(trace, json_object_get(root, "txns"));
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
