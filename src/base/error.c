#include "base/error.h"

#include <errno.h>

G_DEFINE_QUARK(doppel_error, doppel_error)

gboolean
doppel_error_errno(GError **error, const char *format, ...)
{
  int saved = errno;
  va_list arguments;
  va_start(arguments, format);
  g_autofree char *message = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED, "%s: %s", message, g_strerror(saved));
  errno = saved;
  return FALSE;
}

gboolean
doppel_error_set(GError **error, DoppelErrorCode code, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  if (error)
    *error = g_error_new_valist(DOPPEL_ERROR, code, format, arguments);
  va_end(arguments);
  return FALSE;
}

gboolean
doppel_error_set_foreign(GError **error, DoppelErrorCode code, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree char *raw = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_autofree char *text = g_utf8_make_valid(raw, -1);
  return doppel_error_set(error, code, "%s", text);
}
