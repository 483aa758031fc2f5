#include "clonedoc/server/jet_answer.h"

#include <json-glib/json-glib.h>
#include <string.h>

/* Codes of its errors, as they are in every version (server/errors.json of nats-server). */
enum {
  OTHER_LAST_SEQUENCE = 10071,
  NO_RESOURCES = 10023, /* for as long as a member's disk is full */
};

/* Of a member that may lack, or be something else. */
static gboolean
read_number(JsonObject *object, const char *name, gint64 *number)
{
  JsonNode *node = json_object_get_member(object, name);
  if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64)
    return FALSE;
  *number = json_node_get_int(node);
  return TRUE;
}

static const char *
read_text(JsonObject *object, const char *name)
{
  JsonNode *node = json_object_get_member(object, name);
  return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING
             ? json_node_get_string(node)
             : NULL;
}

static gboolean
read_error(JetAck *ack, JsonNode *node)
{
  gint64 status, code = 0;
  if (!JSON_NODE_HOLDS_OBJECT(node))
    return FALSE;
  JsonObject *error = json_node_get_object(node);
  if (!read_number(error, "code", &status))
    return FALSE;
  read_number(error, "err_code", &code);
  const char *words = read_text(error, "description");
  g_autofree char *shown = g_strescape(words ? words : "", NULL);
  g_strlcpy(ack->words, shown, sizeof ack->words);
  if (code == OTHER_LAST_SEQUENCE)
    ack->fate = JET_OTHERWISE;
  else
    ack->fate = status >= 500 || code == NO_RESOURCES ? JET_LATER : JET_REFUSED;
  return TRUE;
}

/* json-glib calls itself for each level, and has no limit there. An acknowledgement has two. */
static gboolean
is_flat(const char *text, gsize length)
{
  guint opened = 0;
  for (gsize i = 0; i < length; i++)
    opened += text[i] == '{' || text[i] == '[';
  return opened <= 8;
}

gboolean
jet_answer_ack(JetAck *ack, const void *data, gsize length, const char *stream)
{
  const char *text = data;
  *ack = (JetAck){.fate = JET_LATER};
  g_autoptr(JsonParser) parser = json_parser_new_immutable();
  if (length == 0 || length > JET_ACK_MAX || memchr(text, '\0', length) || !is_flat(text, length) ||
      !g_utf8_validate_len(text, length, NULL) ||
      !json_parser_load_from_data(parser, text, (gssize)length, NULL))
    return FALSE;
  JsonNode *root = json_parser_get_root(parser);
  if (!root || !JSON_NODE_HOLDS_OBJECT(root))
    return FALSE;
  JsonObject *object = json_node_get_object(root);
  JsonNode *error = json_object_get_member(object, "error");
  if (error)
    return read_error(ack, error);
  gint64 sequence;
  if (g_strcmp0(read_text(object, "stream"), stream) != 0 || !read_number(object, "seq", &sequence) ||
      sequence <= 0)
    return FALSE;
  ack->fate = JET_STORED;
  ack->sequence = (guint64)sequence;
  return TRUE;
}

gboolean
jet_answer_number(const char *text, guint64 *number)
{
  return text && (text[0] != '0' || !text[1]) &&
         g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, number, NULL) && g_ascii_isdigit(text[0]);
}
