#include "base/line.h"

#include <string.h>

gboolean
line_is_plain(const char *text, gsize least, gsize most)
{
  gsize length = strlen(text);
  if (length < least || length > most || !g_utf8_validate(text, length, NULL))
    return FALSE;
  for (; *text; text = g_utf8_next_char(text))
    if (g_unichar_iscntrl(g_utf8_get_char(text)))
      return FALSE;
  return TRUE;
}

char *
line_of(const char *words, gsize most)
{
  char *line = g_utf8_make_valid(words, -1);
  if (strlen(line) > most)
    *g_utf8_find_prev_char(line, line + most + 1) = '\0';
  for (char *at = line; *at; at = g_utf8_next_char(at))
    if (g_unichar_iscntrl(g_utf8_get_char(at)))
      memset(at, ' ', (gsize)(g_utf8_next_char(at) - at));
  return line;
}
