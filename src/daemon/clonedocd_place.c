#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/clonedocd.h"
#include "daemon/served.h"

void
clonedocd_place_clear(ClonedocdPlace *place)
{
  g_free(place->state);
  g_free(place->log);
}

gboolean
clonedocd_place_complete(ClonedocdPlace *place, GError **error)
{
  if (!served_complete_state("clonedocd", &place->state, error))
    return FALSE;
  if (!place->log)
    place->log = g_build_filename(place->state, "log", NULL);
  return TRUE;
}

IdentityKey *
clonedocd_place_key(const ClonedocdPlace *place, GError **error)
{
  g_autofree char *path = g_build_filename(place->state, "server.key", NULL);
  return identity_key_load_or_create(path, error);
}

DocLog *
clonedocd_place_look(const ClonedocdPlace *place, GError **error)
{
  if (!strstr(place->log, "://") && access(place->log, F_OK) < 0 && errno == ENOENT) {
    doppel_error_set(
        error, DOPPEL_ERROR_NOT_FOUND,
        "there are no documents in %s yet: \"clonedocd serve\" keeps some there (--state or --log "
        "say where)",
        place->log);
    return NULL;
  }
  return doc_log_open(place->log, error);
}

char *
clonedocd_name_to_text(const DocName *name)
{
  GString *text = g_string_new(NULL);
  for (guint i = 0; i < sizeof name->bytes; i++)
    g_string_append_printf(text, "%02x", name->bytes[i]);
  return g_string_free(text, FALSE);
}

gboolean
clonedocd_name_from_text(const char *text, DocName *name, GError **error)
{
  gboolean good = strlen(text) == 2 * sizeof name->bytes;
  for (guint i = 0; good && i < sizeof name->bytes; i++) {
    int high = g_ascii_xdigit_value(text[2 * i]), low = g_ascii_xdigit_value(text[2 * i + 1]);
    good = high >= 0 && low >= 0;
    name->bytes[i] = (guint8)(high * 16 + low);
  }
  return good ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "\"%s\" is no document's name: 64 hexadecimal digits, as \"clonedocd list\" "
                          "prints them",
                          text);
}
