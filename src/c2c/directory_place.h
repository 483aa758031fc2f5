/* Where a directory is and what its key is, as users write it: "ADDRESS=KEY", or "NAME=ADDRESS=KEY" with a
 * name of their own for it; a file directory.conf has one a line, '#' before comments. */
#pragma once

#include "identity/key.h"

typedef struct {
  char *name; /* NULL: none */
  char *address;
  IdentityPublic key;
} DirectoryPlace;
void directory_place_free(DirectoryPlace *place);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryPlace, directory_place_free)
DirectoryPlace *directory_place_copy(const DirectoryPlace *place);

/* NULL: USAGE. An address without a port gets DIRECTORY_PORT. */
DirectoryPlace *directory_place_parse(const char *text, GError **error);
char *directory_place_to_text(const DirectoryPlace *place);

/* An array of DirectoryPlace, empty where there is no such file. NULL: USAGE that names the line. */
GPtrArray *directory_places_load(const char *path, GError **error);

/* Wholly or not at all; readable by its owner only. */
gboolean directory_places_save(const GPtrArray *places, const char *path, GError **error);
