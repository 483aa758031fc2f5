#include "clonedoc/server/jet_answer.h"

#include <jansson.h>

/* Codes of its errors, as they are in every version (server/errors.json of nats-server). */
enum {
  OTHER_LAST_SEQUENCE = 10071,
  NO_RESOURCES = 10023, /* for as long as a member's disk is full */
};

/* Of a member that may lack, or be something else. */
static gboolean
read_number(const json_t *object, const char *name, gint64 *number)
{
  const json_t *member = json_object_get(object, name);
  *number = json_integer_value(member);
  return json_is_integer(member);
}

static gboolean
read_error(JetAck *ack, const json_t *error)
{
  gint64 status, code = 0;
  if (!read_number(error, "code", &status))
    return FALSE;
  read_number(error, "err_code", &code);
  const char *words = json_string_value(json_object_get(error, "description"));
  g_autofree char *shown = g_strescape(words ? words : "", NULL);
  g_strlcpy(ack->words, shown, sizeof ack->words);
  if (code == OTHER_LAST_SEQUENCE)
    ack->fate = JET_OTHERWISE;
  else
    ack->fate = status >= 500 || code == NO_RESOURCES ? JET_LATER : JET_REFUSED;
  return TRUE;
}

gboolean
jet_answer_ack(JetAck *ack, const void *data, gsize length, const char *stream)
{
  *ack = (JetAck){.fate = JET_LATER};
  json_auto_t *root = length <= JET_ACK_MAX ? json_loadb(data, length, 0, NULL) : NULL;
  if (!json_is_object(root))
    return FALSE;
  const json_t *error = json_object_get(root, "error");
  if (error)
    return read_error(ack, error);
  gint64 sequence;
  if (g_strcmp0(json_string_value(json_object_get(root, "stream")), stream) != 0 ||
      !read_number(root, "seq", &sequence) || sequence <= 0)
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
