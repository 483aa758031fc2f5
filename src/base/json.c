#include "base/json.h"

void
json_append_string(GString *json, const char *text)
{
  g_autofree char *valid = g_utf8_make_valid(text, -1);
  g_string_append_c(json, '"');
  for (const guchar *at = (const guchar *)valid; *at; at++) {
    if (*at == '"' || *at == '\\')
      g_string_append_printf(json, "\\%c", *at);
    else if (*at < 0x20 || *at == 0x7f)
      g_string_append_printf(json, "\\u%04x", *at);
    else
      g_string_append_c(json, (char)*at);
  }
  g_string_append_c(json, '"');
}
