/* The directories that this device knows: directory.conf beside its keys. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/name.h"
#include "cmd/table.h"

static char *
list_path(void)
{
  g_autofree char *directory = identity_directory();
  return g_build_filename(directory, "directory.conf", NULL);
}

GPtrArray *
name_places(GError **error)
{
  g_autofree char *path = list_path();
  return directory_places_load(path, error);
}

const char *
name_place_words(const DirectoryPlace *place)
{
  return place->name ? place->name : place->address;
}

const DirectoryPlace *
name_place_keyed(const GPtrArray *places, const IdentityPublic *key)
{
  for (guint i = 0; i < places->len; i++)
    if (identity_public_equal(&((const DirectoryPlace *)places->pdata[i])->key, key))
      return places->pdata[i];
  return NULL;
}

static DirectoryPlace *
place_called(const GPtrArray *places, const char *name)
{
  for (guint i = 0; i < places->len; i++) {
    DirectoryPlace *place = places->pdata[i];
    if (g_strcmp0(place->name, name) == 0 || strcmp(place->address, name) == 0)
      return place;
  }
  return NULL;
}

/* The same directory at another address keeps its place, and its name unless it gets another. */
static gboolean
put(GPtrArray *places, const DirectoryPlace *place, GError **error)
{
  const DirectoryPlace *named = place->name ? place_called(places, place->name) : NULL;
  if (named && !identity_public_equal(&named->key, &place->key))
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "another directory, with another key, is called \"%s\": call this one otherwise, or "
        "\"doppel name directory remove %s\" first",
        place->name, place->name);
  DirectoryPlace *same = (DirectoryPlace *)name_place_keyed(places, &place->key);
  if (!same) {
    g_ptr_array_add(places, directory_place_copy(place));
    return TRUE;
  }
  g_free(same->address);
  same->address = g_strdup(place->address);
  if (place->name) {
    g_free(same->name);
    same->name = g_strdup(place->name);
  }
  return TRUE;
}

static gboolean
save(const GPtrArray *places, GError **error)
{
  g_autofree char *path = list_path(), *parent = identity_directory();
  if (g_mkdir_with_parents(parent, 0700) < 0)
    return doppel_error_errno(error, "cannot make the directory %s", parent);
  return directory_places_save(places, path, error);
}

DirectoryPlace *
name_home(const char *text, GPtrArray **places, GError **error)
{
  g_autoptr(GPtrArray) list = name_places(error);
  if (!list)
    return NULL;
  DirectoryPlace *known = text ? place_called(list, text) : list->len > 0 ? list->pdata[0] : NULL;
  g_autoptr(DirectoryPlace) home = known ? directory_place_copy(known) : NULL;
  if (!home && !text)
    doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "this device knows no directory: say with --directory ADDRESS=KEY which one (\"cloneds\" "
        "prints that where it runs)");
  else if (!home && !strchr(text, '='))
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "there is no directory \"%s\" in the list (\"doppel name directory\" prints it): write "
                     "ADDRESS=KEY",
                     text);
  else if (!home && (home = directory_place_parse(text, error)) &&
           (!put(list, home, error) || !save(list, error)))
    g_clear_pointer(&home, directory_place_free);
  if (!home)
    return NULL;
  *places = g_steal_pointer(&list);
  return g_steal_pointer(&home);
}

static const TableColumn columns[] = {{"NAME", "name"}, {"ADDRESS", "address"}, {"KEY", "key"}};

static gboolean
list(const NameOptions *options, GError **error)
{
  g_autoptr(GPtrArray) places = name_places(error);
  if (!places)
    return FALSE;
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < places->len; i++) {
    const DirectoryPlace *place = places->pdata[i];
    g_autofree char *key = identity_public_to_text(&place->key);
    const char *cells[] = {place->name, place->address, key};
    table_add(table, cells);
  }
  if (options->json || places->len > 0)
    table_print(table, options->json, stdout);
  else
    fputs("This device knows no directory: \"doppel name directory add ADDRESS=KEY\" adds one.\n", stderr);
  return TRUE;
}

static gboolean
add(const char *text, GError **error)
{
  g_autoptr(DirectoryPlace) place = directory_place_parse(text, error);
  g_autoptr(GPtrArray) places = place ? name_places(error) : NULL;
  return places && put(places, place, error) && save(places, error);
}

static gboolean
remove_one(const char *name, GError **error)
{
  g_autoptr(GPtrArray) places = name_places(error);
  if (!places)
    return FALSE;
  DirectoryPlace *place = place_called(places, name);
  if (!place)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "there is no directory \"%s\": \"doppel name directory\" lists those there are",
                            name);
  g_autoptr(User) user = user_load(FALSE, NULL);
  if (user && user->record && identity_public_equal(&user->record->directory, &place->key))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "\"%s\" is the home directory of \"%s\": claim the name in another one first",
                            name, user->record->name);
  g_ptr_array_remove(places, place);
  return save(places, error);
}

/* The clone asks the same ones: it is told now, or, where it is away, with the next synchronisation. */
static gboolean
tell_clone(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) places = name_places(&error);
  g_autoptr(User) user = places ? user_load(TRUE, &error) : NULL;
  if (user && (!user->record || user->record->revoked || !user->key))
    return TRUE;
  if (user && name_tell_again(user, places, &error))
    return TRUE;
  fprintf(stderr,
          "The list has changed here; the clone could not be told (%s). It will be with the next \"doppel "
          "sync\".\n",
          error->message);
  return TRUE;
}

gboolean
name_directory(char **words, const NameOptions *options, GError **error)
{
  if (!words[0] || (strcmp(words[0], "list") == 0 && !words[1]))
    return list(options, error);
  if (strcmp(words[0], "add") == 0 && words[1])
    return add(words[1], error) && tell_clone();
  if (strcmp(words[0], "remove") == 0 && words[1])
    return remove_one(words[1], error) && tell_clone();
  return doppel_error_set(
      error, DOPPEL_ERROR_USAGE,
      "write \"directory list\", \"directory add [NAME=]ADDRESS=KEY\" or \"directory remove "
      "NAME\"");
}
