/* The gateway's JSON (protobuf's JSON mapping: 64-bit integers are strings, bytes are base64, and what is 0,
 * empty or false is left out). */
#include <jansson.h>
#include <string.h>

#include "base/error.h"
#include "c2c/etcd_client.h"

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
number_of(const json_t *object, const char *name, guint64 *value, GError **error)
{
  *value = 0;
  if (!json_object_get(object, name))
    return TRUE;
  const char *text = json_string_value(json_object_get(object, name));
  if (text && g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, value, NULL))
    return TRUE;
  return nonsense(error, "a number is none");
}

/* g_base64_decode() takes anything: what it has skipped shows when it is encoded again. */
static GBytes *
bytes_of(const json_t *object, const char *name, GError **error)
{
  if (!json_object_get(object, name))
    return g_bytes_new(NULL, 0);
  const char *text = json_string_value(json_object_get(object, name));
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
read_pair(const json_t *object, GPtrArray *pairs, GError **error)
{
  guint64 revision;
  if (!json_is_object(object))
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

/* An array that may be left out: then it is NULL, which has no elements. FALSE where it is something else. */
static gboolean
array_of(const json_t *object, const char *name, const json_t **array, GError **error)
{
  *array = json_object_get(object, name);
  return !*array || json_is_array(*array) ? TRUE : nonsense(error, "a list is none");
}

static gboolean
read_range(const json_t *range, EtcdResult *result, GError **error)
{
  const json_t *pairs;
  if (!number_of(range, "count", &result->count, error) || !array_of(range, "kvs", &pairs, error))
    return FALSE;
  for (gsize i = 0; i < json_array_size(pairs); i++)
    if (!read_pair(json_array_get(pairs, i), result->pairs, error))
      return FALSE;
  return result->pairs->len <= result->count ? TRUE : nonsense(error, "more pairs than it counts");
}

static gboolean
read_result(const json_t *object, GPtrArray *results, GError **error)
{
  if (!json_is_object(object))
    return nonsense(error, "a result is none");
  EtcdResult *result = g_new0(EtcdResult, 1);
  result->pairs = g_ptr_array_new_with_free_func(pair_free);
  g_ptr_array_add(results, result);
  const json_t *range = json_object_get(object, "response_range");
  if (!range)
    return TRUE;
  return json_is_object(range) ? read_range(range, result, error)
                               : nonsense(error, "a range's result is none");
}

static gboolean
read_answer(const json_t *object, guint operations, EtcdAnswer *answer, GError **error)
{
  const json_t *succeeded = json_object_get(object, "succeeded"), *header = json_object_get(object, "header");
  const json_t *results;
  guint64 revision;
  if (!json_is_object(header))
    return nonsense(error, "it has no header");
  if (succeeded && !json_is_boolean(succeeded))
    return nonsense(error, "it neither succeeded nor failed");
  if (!number_of(header, "revision", &revision, error) || !array_of(object, "responses", &results, error))
    return FALSE;
  answer->revision = revision;
  answer->succeeded = json_is_true(succeeded);
  if (json_array_size(results) != (answer->succeeded ? operations : 0))
    return nonsense(error, "it has other results than were asked for");
  for (gsize i = 0; i < json_array_size(results); i++)
    if (!read_result(json_array_get(results, i), answer->results, error))
      return FALSE;
  return TRUE;
}

EtcdAnswer *
etcd_answer_parse(const char *text, gsize length, guint operations, GError **error)
{
  json_auto_t *root = length <= ETCD_ANSWER_MAX ? json_loadb(text, length, 0, NULL) : NULL;
  if (!json_is_object(root)) {
    nonsense(error, "it is no JSON object");
    return NULL;
  }
  g_autoptr(EtcdAnswer) answer = g_new0(EtcdAnswer, 1);
  answer->results = g_ptr_array_new_with_free_func(result_free);
  if (!read_answer(root, operations, answer, error))
    return NULL;
  return g_steal_pointer(&answer);
}
