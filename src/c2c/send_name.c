#include "c2c/send_name.h"

#include <string.h>

#include "c2c/send_message.h"

/* What steers a terminal or lets a name be read as another one. */
static gboolean
is_unwelcome(gunichar letter)
{
  if (letter == '/' || letter == '\\')
    return TRUE;
  switch (g_unichar_type(letter)) {
  case G_UNICODE_CONTROL:
  case G_UNICODE_FORMAT:
  case G_UNICODE_LINE_SEPARATOR:
  case G_UNICODE_PARAGRAPH_SEPARATOR:
  case G_UNICODE_SURROGATE:
  case G_UNICODE_PRIVATE_USE:
  case G_UNICODE_UNASSIGNED:
    return TRUE;
  default:
    return FALSE;
  }
}

/* The most bytes of `text`, `most` at most, that end with a whole letter. */
static gsize
fitting(const char *text, gsize most)
{
  gsize length = strlen(text);
  if (length <= most)
    return length;
  while (most > 0 && ((guchar)text[most] & 0xc0) == 0x80)
    most--;
  return most;
}

/* Where the ending begins: ".gz", not longer than anybody's ending is. */
static const char *
ending(const char *name)
{
  const char *dot = strrchr(name, '.');
  return dot && dot != name && strlen(dot) <= 16 ? dot : name + strlen(name);
}

/* `name` with `middle` before its ending, in 255 bytes. */
static char *
assemble(const char *name, const char *middle)
{
  const char *end = ending(name);
  g_autofree char *stem = g_strndup(name, end - name);
  stem[fitting(stem, SEND_NAME_MAX - strlen(end) - strlen(middle))] = '\0';
  return g_strconcat(stem, middle, end, NULL);
}

char *
send_name_clean(const char *offered)
{
  g_autofree char *valid = g_utf8_make_valid(offered, -1);
  const char *from = valid;
  for (const char *at = valid; *at; at++)
    if ((*at == '/' || *at == '\\') && at[1])
      from = at + 1;
  g_autoptr(GString) name = g_string_new(NULL);
  for (; *from; from = g_utf8_next_char(from)) {
    gunichar letter = g_utf8_get_char(from);
    gboolean first = name->len == 0 && (letter == '.' || letter == '-');
    g_string_append_unichar(name, first || is_unwelcome(letter) ? '_' : letter);
  }
  g_strchomp(name->str);
  return name->str[0] ? assemble(name->str, "") : g_strdup("file");
}

char *
send_name_numbered(const char *name, guint n)
{
  g_autofree char *middle = n > 1 ? g_strdup_printf(" (%u)", n) : g_strdup("");
  return assemble(name, middle);
}
