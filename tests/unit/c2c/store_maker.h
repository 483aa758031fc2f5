/* Generations of a clone's tree, made file by file. */
#pragma once

#include "replica/generation_store.h"

typedef struct {
  GenerationStore *store;
  guint64 number; /* of the next step */
  guint64 generation;
  GHashTable *paths; /* of all that is there */
} StoreMaker;

StoreMaker *store_maker_new(const char *path);
void store_maker_free(StoreMaker *maker);

/* Each is told in the generation that is being made; mtime in seconds. Directories come before what is in
 * them. */
void store_maker_directory(StoreMaker *maker, const char *path);
void store_maker_file(StoreMaker *maker, const char *path, const void *content, gsize length, guint64 zeros,
                      gint64 mtime);
void store_maker_link(StoreMaker *maker, const char *path, const char *target);
void store_maker_remove(StoreMaker *maker, const char *path);
void store_maker_commit(StoreMaker *maker);
