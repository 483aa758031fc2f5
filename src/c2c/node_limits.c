#include "c2c/node_limits.h"

#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "c2c/node_store.h"

#define KEY_MAX 32

static const struct {
  const char *key;
  gsize offset;
  gboolean bytes;
} known[] = {
    {"memory", offsetof(NodeLimits, memory), TRUE},    {"time", offsetof(NodeLimits, seconds), FALSE},
    {"cpu", offsetof(NodeLimits, cpu_seconds), FALSE}, {"processes", offsetof(NodeLimits, processes), FALSE},
    {"streams", offsetof(NodeLimits, streams), FALSE},
};

static gboolean
parse_number(const char *text, gboolean bytes, guint64 *value)
{
  static const char units[] = "KMG";
  char *end;
  if (!g_ascii_isdigit(*text))
    return FALSE;
  *value = g_ascii_strtoull(text, &end, 10);
  const char *unit = bytes && *end ? strchr(units, *end) : NULL;
  guint shift = unit ? 10 * (unit - units + 1) : 0;
  if (unit)
    end++;
  if (*end || *value == 0 || *value > (bytes ? (guint64)G_MAXINT64 >> shift : G_MAXINT32))
    return FALSE;
  *value <<= shift;
  return TRUE;
}

static gboolean
parse_one(const char *entry, NodeLimits *limits, GError **error)
{
  const char *equals = strchr(entry, '=');
  gsize length = equals ? equals - entry : 0;
  gboolean plain = length > 0 && length <= KEY_MAX && equals[1] && g_utf8_validate(entry, -1, NULL);
  for (gsize i = 0; plain && entry[i]; i++)
    plain = !g_ascii_iscntrl(entry[i]) && (i >= length || g_ascii_isalnum(entry[i]) || entry[i] == '-');
  if (!plain)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "a limit is KEY=VALUE, not '%.60s'", entry);
  for (guint i = 0; i < G_N_ELEMENTS(known); i++) {
    guint64 value;
    if (strlen(known[i].key) != length || strncmp(known[i].key, entry, length) != 0)
      continue;
    if (!parse_number(equals + 1, known[i].bytes, &value))
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "the limit %s takes a number above 0%s: not '%.40s'",
                              known[i].key, known[i].bytes ? ", with K, M or G where wanted" : "",
                              equals + 1);
    if (known[i].bytes)
      memcpy((char *)limits + known[i].offset, &value, sizeof value);
    else
      memcpy((char *)limits + known[i].offset, &(guint){value}, sizeof(guint));
    return TRUE;
  }
  return TRUE;
}

gboolean
node_limits_parse(const char *text, NodeLimits *limits, GError **error)
{
  NodeLimits all = {0};
  if (strlen(text) > NODE_LIMITS_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "limits take %u bytes at most", NODE_LIMITS_MAX);
  g_auto(GStrv) entries = g_strsplit(text, ",", -1);
  for (char **entry = entries; *text && *entry; entry++)
    if (!parse_one(*entry, &all, error))
      return FALSE;
  if (limits)
    *limits = all;
  return TRUE;
}
