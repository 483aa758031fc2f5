/* What a user may be called. */
#include <string.h>

#include "base/error.h"
#include "identity/record.h"

/* Names that differ only in what nobody sees would be taken for each other. */
static const char *
problem_with(gunichar c)
{
  if (c == '/')
    return "has a '/', which stands between a directory and a name";
  if (c < 128 && g_ascii_isupper(c))
    return "has capital letters: write it in small ones";
  if (g_unichar_isspace(c))
    return "has white space";
  if (g_unichar_iscntrl(c) || g_unichar_type(c) == G_UNICODE_FORMAT)
    return "has characters that cannot be seen";
  return NULL;
}

gboolean
record_name_check(const char *name, GError **error)
{
  gsize length = strnlen(name, RECORD_NAME_MAX + 1);
  if (length == 0 || length > RECORD_NAME_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "a user's name has 1 to %d bytes", RECORD_NAME_MAX);
  if (!g_utf8_validate(name, length, NULL))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "a user's name is UTF-8 text, and this is none");
  if (g_str_has_prefix(name, "key:"))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "\"%s\" cannot be a user's name: what begins with \"key:\" is a fingerprint",
                            name);
  for (const char *at = name; *at; at = g_utf8_next_char(at)) {
    const char *problem = problem_with(g_utf8_get_char(at));
    if (problem) {
      g_autofree char *printable = g_strescape(name, NULL);
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%s\" cannot be a user's name: it %s", printable,
                              problem);
    }
  }
  return TRUE;
}
