/* The gateway's JSON (protobuf's JSON mapping: 64-bit integers are strings, bytes are base64, and what is 0,
 * empty or false is left out). */
#include <json-glib/json-glib.h>
#include <string.h>

#include "base/error.h"
#include "c2c/etcd_client.h"

/* The parser calls itself for each level; an answer has seven. */
#define DEPTH_MAX 16

void
etcd_answer_free(EtcdAnswer *answer)
{
  g_ptr_array_unref(answer->results);
  g_free(answer);
}

static void
pair_free(void *data)
{
  EtcdPair *pair = data;
  g_bytes_unref(pair->key);
  g_clear_pointer(&pair->value, g_bytes_unref);
  g_free(pair);
}

static void
result_free(void *data)
{
  EtcdResult *result = data;
  g_ptr_array_unref(result->pairs);
  g_free(result);
}

static gboolean
nonsense(GError **error, const char *what)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "etcd's answer makes no sense: %s", what);
}

static gboolean
shallow(const char *text, gsize length)
{
  guint depth = 0;
  gboolean quoted = FALSE;
  for (gsize i = 0; i < length; i++) {
    if (quoted) {
      if (text[i] == '\\')
        i++;
      else if (text[i] == '"')
        quoted = FALSE;
    } else if (text[i] == '"') {
      quoted = TRUE;
    } else if (text[i] == '[' || text[i] == '{') {
      if (++depth > DEPTH_MAX)
        return FALSE;
    } else if ((text[i] == ']' || text[i] == '}') && depth > 0) {
      depth--;
    }
  }
  return TRUE;
}

static JsonObject *
as_object(JsonNode *node)
{
  return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static const char *
text_of(JsonObject *object, const char *name)
{
  JsonNode *node = json_object_get_member(object, name);
  return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING
             ? json_node_get_string(node)
             : NULL;
}

static gboolean
number_of(JsonObject *object, const char *name, guint64 *value, GError **error)
{
  *value = 0;
  if (!json_object_has_member(object, name))
    return TRUE;
  const char *text = text_of(object, name);
  if (text && g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, value, NULL))
    return TRUE;
  return nonsense(error, "a number is none");
}

/* g_base64_decode() takes anything: what it has skipped shows when it is encoded again. */
static GBytes *
bytes_of(JsonObject *object, const char *name, GError **error)
{
  if (!json_object_has_member(object, name))
    return g_bytes_new(NULL, 0);
  const char *text = text_of(object, name);
  gsize length = 0;
  g_autofree guchar *bytes = text ? g_base64_decode(text, &length) : NULL;
  g_autofree char *again = text ? g_base64_encode(bytes, length) : NULL;
  if (!text || strcmp(text, again) != 0) {
    nonsense(error, "a key or value is no base64");
    return NULL;
  }
  return g_bytes_new_take(g_steal_pointer(&bytes), length);
}

static gboolean
read_pair(JsonNode *node, GPtrArray *pairs, GError **error)
{
  JsonObject *object = as_object(node);
  guint64 revision;
  if (!object)
    return nonsense(error, "a pair is none");
  if (!number_of(object, "mod_revision", &revision, error))
    return FALSE;
  g_autoptr(GBytes) key = bytes_of(object, "key", error);
  g_autoptr(GBytes) value = key ? bytes_of(object, "value", error) : NULL;
  if (!value)
    return FALSE;
  EtcdPair *pair = g_new0(EtcdPair, 1);
  *pair = (EtcdPair){.key = g_steal_pointer(&key), .value = g_steal_pointer(&value), .revision = revision};
  g_ptr_array_add(pairs, pair);
  return TRUE;
}

/* An array that may be left out, which is an empty one. FALSE where it is something else. */
static gboolean
array_of(JsonObject *object, const char *name, JsonArray **array, GError **error)
{
  JsonNode *node = json_object_get_member(object, name);
  *array = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
  return !node || *array ? TRUE : nonsense(error, "a list is none");
}

static gboolean
read_range(JsonObject *range, EtcdResult *result, GError **error)
{
  JsonArray *pairs;
  if (!number_of(range, "count", &result->count, error) || !array_of(range, "kvs", &pairs, error))
    return FALSE;
  for (guint i = 0; pairs && i < json_array_get_length(pairs); i++)
    if (!read_pair(json_array_get_element(pairs, i), result->pairs, error))
      return FALSE;
  return result->pairs->len <= result->count ? TRUE : nonsense(error, "more pairs than it counts");
}

static gboolean
read_result(JsonNode *node, GPtrArray *results, GError **error)
{
  JsonObject *object = as_object(node);
  if (!object)
    return nonsense(error, "a result is none");
  EtcdResult *result = g_new0(EtcdResult, 1);
  result->pairs = g_ptr_array_new_with_free_func(pair_free);
  g_ptr_array_add(results, result);
  JsonNode *range = json_object_get_member(object, "response_range");
  if (!range)
    return TRUE;
  return as_object(range) ? read_range(as_object(range), result, error)
                          : nonsense(error, "a range's result is none");
}

static gboolean
read_answer(JsonObject *object, guint operations, EtcdAnswer *answer, GError **error)
{
  JsonNode *succeeded = json_object_get_member(object, "succeeded");
  JsonObject *header = as_object(json_object_get_member(object, "header"));
  JsonArray *results;
  guint64 revision;
  if (!header)
    return nonsense(error, "it has no header");
  if (succeeded &&
      (!JSON_NODE_HOLDS_VALUE(succeeded) || json_node_get_value_type(succeeded) != G_TYPE_BOOLEAN))
    return nonsense(error, "it neither succeeded nor failed");
  if (!number_of(header, "revision", &revision, error) || !array_of(object, "responses", &results, error))
    return FALSE;
  answer->revision = revision;
  answer->succeeded = succeeded && json_node_get_boolean(succeeded);
  if ((results ? json_array_get_length(results) : 0) != (answer->succeeded ? operations : 0))
    return nonsense(error, "it has other results than were asked for");
  for (guint i = 0; results && i < json_array_get_length(results); i++)
    if (!read_result(json_array_get_element(results, i), answer->results, error))
      return FALSE;
  return TRUE;
}

EtcdAnswer *
etcd_answer_parse(const char *text, gsize length, guint operations, GError **error)
{
  g_autoptr(JsonParser) parser = json_parser_new_immutable();
  if (length > ETCD_ANSWER_MAX || !g_utf8_validate_len(text, length, NULL) || !shallow(text, length) ||
      !json_parser_load_from_data(parser, text, length, NULL) || !as_object(json_parser_get_root(parser))) {
    nonsense(error, "it is no JSON object");
    return NULL;
  }
  g_autoptr(EtcdAnswer) answer = g_new0(EtcdAnswer, 1);
  answer->results = g_ptr_array_new_with_free_func(result_free);
  if (!read_answer(as_object(json_parser_get_root(parser)), operations, answer, error))
    return NULL;
  return g_steal_pointer(&answer);
}
