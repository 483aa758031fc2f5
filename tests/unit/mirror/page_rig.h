/* What the tests of the page caches share: pages of a number, directories of their own, and damage. */
#pragma once

#include <glib.h>

#include "mirror/page_key.h"

/* A directory that is removed with what is in it at rig_directory_remove(). */
char *rig_directory_make(void);
void rig_directory_remove(char *directory);

/* A page that `number` makes, and its key. */
void rig_page(guint64 number, guint8 page[static COPIES_PAGE], PageKey *key);

char *rig_read(const char *path, gsize *length);
void rig_write(const char *path, const char *bytes, gsize length);

/* Tries `check` on the file at `path` cut short at many lengths, with bytes flipped, made of garbage, and
 * longer than it was; then puts it back. */
void rig_damage(const char *path, void (*check)(gpointer user), gpointer user);

double rig_ms_since(gint64 began_ns);
