#include "c2c/directory_place.h"

#include <string.h>

#include "base/error.h"
#include "c2c/directory_message.h"
#include "identity/address.h"

#define PLACES_MAX 16
#define FILE_MAX   (16u << 10)

void
directory_place_free(DirectoryPlace *place)
{
  if (!place)
    return;
  g_free(place->name);
  g_free(place->address);
  g_free(place);
}

DirectoryPlace *
directory_place_copy(const DirectoryPlace *place)
{
  DirectoryPlace *copy = g_new0(DirectoryPlace, 1);
  *copy = *place;
  copy->name = g_strdup(place->name);
  copy->address = g_strdup(place->address);
  return copy;
}

static char *
complete(const char *address, GError **error)
{
  if (identity_address_check(address, NULL))
    return g_strdup(address);
  g_autofree char *with_port = g_strconcat(address, ":", DIRECTORY_PORT, NULL);
  return identity_address_check(with_port, error) ? g_steal_pointer(&with_port) : NULL;
}

static gboolean
check_petname(const char *name, GError **error)
{
  for (const char *at = name; *at; at++)
    if (!g_ascii_isalnum(*at) && !strchr("-_.", *at))
      return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                              "a directory's name is made of letters, digits, '-', '_' and '.'");
  return (name[0] && strlen(name) <= 64) ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE, "a directory's name has 1 to 64 letters");
}

DirectoryPlace *
directory_place_parse(const char *text, GError **error)
{
  g_auto(GStrv) parts = g_strsplit(text, "=", 4);
  guint count = g_strv_length(parts);
  if (count != 2 && count != 3) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "\"%.80s\" is no directory: write ADDRESS=KEY, as \"cloneds key\" prints it", text);
    return NULL;
  }
  g_autoptr(DirectoryPlace) place = g_new0(DirectoryPlace, 1);
  if (count == 3) {
    if (!check_petname(parts[0], error))
      return NULL;
    place->name = g_strdup(parts[0]);
  }
  place->address = complete(parts[count - 2], error);
  if (place->address && identity_public_from_text(parts[count - 1], &place->key, error))
    return g_steal_pointer(&place);
  return NULL;
}

char *
directory_place_to_text(const DirectoryPlace *place)
{
  g_autofree char *key = identity_public_to_text(&place->key);
  return g_strdup_printf("%s%s%s=%s", place->name ? place->name : "", place->name ? "=" : "", place->address,
                         key);
}

GPtrArray *
directory_places_load(const char *path, GError **error)
{
  g_autoptr(GPtrArray) places = g_ptr_array_new_with_free_func((GDestroyNotify)directory_place_free);
  g_autofree char *text = NULL;
  gsize length;
  g_autoptr(GError) why = NULL;
  if (!g_file_get_contents(path, &text, &length, &why)) {
    if (g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT))
      return g_steal_pointer(&places);
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s", why->message);
    return NULL;
  }
  g_auto(GStrv) lines = g_strsplit(length <= FILE_MAX ? text : "", "\n", -1);
  for (guint i = 0; lines[i]; i++) {
    g_strstrip(lines[i]);
    if (!lines[i][0] || lines[i][0] == '#')
      continue;
    DirectoryPlace *place = directory_place_parse(lines[i], error);
    if (!place) {
      g_prefix_error(error, "%s, line %u: ", path, i + 1);
      return NULL;
    }
    g_ptr_array_add(places, place);
  }
  if (length <= FILE_MAX && places->len <= PLACES_MAX)
    return g_steal_pointer(&places);
  doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s names more than %d directories", path, PLACES_MAX);
  return NULL;
}

gboolean
directory_places_save(const GPtrArray *places, const char *path, GError **error)
{
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < places->len; i++) {
    g_autofree char *line = directory_place_to_text(places->pdata[i]);
    g_string_append_printf(text, "%s\n", line);
  }
  g_autoptr(GError) why = NULL;
  if (g_file_set_contents_full(path, text->str, (gssize)text->len,
                               G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &why))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s", why->message);
}
