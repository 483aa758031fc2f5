#include "profiler/seen.h"

#include <json-glib/json-glib.h>

#include "base/line.h"

void
profiler_seen_free(ProfilerSeen *seen)
{
  g_free(seen->reason);
  g_free(seen);
}

/* Beyond these nothing is believed, and no sum of them overflows. */
#define COUNT_MAX        (G_GUINT64_CONSTANT(1) << 53)
#define MICROSECONDS_MAX 1e9
#define NS_MAX           1e18

static guint64
number_of(JsonObject *object, const char *name)
{
  JsonNode *node = json_object_get_member(object, name);
  gboolean number = node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
  return number ? MIN((guint64)MAX(json_node_get_int(node), 0), COUNT_MAX) : 0;
}

static double
real_of(JsonObject *object, const char *name)
{
  JsonNode *node = json_object_get_member(object, name);
  double value = node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_double(node) : 0;
  return value > 0 && value < MICROSECONDS_MAX ? value : 0;
}

static JsonNode *
member(JsonObject *object, const char *name, JsonNodeType type)
{
  JsonNode *node = json_object_get_member(object, name);
  return node && json_node_get_node_type(node) == type ? node : NULL;
}

/* The first of an array, where that is an object. */
static JsonObject *
first_of(JsonObject *object, const char *name)
{
  JsonNode *node = member(object, name, JSON_NODE_ARRAY);
  JsonArray *array = node ? json_node_get_array(node) : NULL;
  JsonNode *first = array && json_array_get_length(array) ? json_array_get_element(array, 0) : NULL;
  return first && JSON_NODE_HOLDS_OBJECT(first) ? json_node_get_object(first) : NULL;
}

static void
read_reasons(ProfilerSeen *seen, JsonObject *function)
{
  JsonNode *node = member(function, "reasons", JSON_NODE_OBJECT);
  guint64 most = 0;
  if (!node)
    return;
  JsonObject *reasons = json_node_get_object(node);
  g_autoptr(GList) names = json_object_get_members(reasons);
  for (GList *name = names; name; name = name->next) {
    guint64 count = number_of(reasons, name->data);
    if (count <= most)
      continue;
    most = count;
    g_free(seen->reason);
    seen->reason = line_of(name->data, PROFILER_SEEN_REASON);
  }
}

/* Medians of each part, in microseconds. */
static void
read_split(ProfilerSeen *seen, JsonObject *function)
{
  static const char *const device[] = {"stop", "capture", "send", "apply"};
  static const char *const clone[] = {"clone_apply", "clone_capture", "clone_send"};
  JsonNode *node = member(function, "split_us", JSON_NODE_OBJECT);
  if (!node)
    return;
  JsonObject *split = json_node_get_object(node);
  for (guint i = 0; i < G_N_ELEMENTS(device); i++)
    seen->device_ns += real_of(split, device[i]) * 1e3 * (double)seen->blocks;
  for (guint i = 0; i < G_N_ELEMENTS(clone); i++)
    seen->clone_ns += real_of(split, clone[i]) * 1e3 * (double)seen->blocks;
  seen->device_ns = MIN(seen->device_ns, NS_MAX);
  seen->clone_ns = MIN(seen->clone_ns, NS_MAX);
}

static void
read_function(ProfilerSeen *seen, JsonObject *function)
{
  seen->blocks = number_of(function, "remote");
  seen->cut = number_of(function, "cut");
  seen->aborted = number_of(function, "aborted");
  seen->bytes_out = number_of(function, "bytes_out");
  seen->bytes_in = number_of(function, "bytes_in");
  seen->trips = number_of(function, "round_trips");
  JsonObject *first = first_of(function, "blocks");
  if (first) {
    seen->first_out = MIN(number_of(first, "out"), seen->bytes_out);
    seen->first_in = MIN(number_of(first, "in"), seen->bytes_in);
    seen->first_trips = MIN(number_of(first, "round_trips"), seen->trips);
  }
  read_split(seen, function);
  read_reasons(seen, function);
}

gboolean
profiler_seen_read(ProfilerSeen *seen, const char *json, gsize length)
{
  g_autoptr(JsonParser) parser = json_parser_new();
  JsonNode *root =
      json_parser_load_from_data(parser, json, (gssize)length, NULL) ? json_parser_get_root(parser) : NULL;
  JsonObject *function =
      root && JSON_NODE_HOLDS_OBJECT(root) ? first_of(json_node_get_object(root), "functions") : NULL;
  if (function)
    read_function(seen, function);
  return function != NULL;
}
