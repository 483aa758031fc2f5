/* Attributes of sysfs: small files of one line, each of which may be missing or refuse to be read. */
#pragma once

#include <glib.h>

/* The attribute without its last newline, or NULL. At most 4095 bytes. */
char *sysfs_text(int directory, const char *attribute);

/* A decimal number from min to max, or `otherwise`. */
gint64 sysfs_number(int directory, const char *attribute, gint64 min, gint64 max, gint64 otherwise);

/* Calls visit(name, directory, data) for each entry of `path` that is a directory, in the order of their
 * names. FALSE where there is no such path. */
gboolean sysfs_each(const char *path, void (*visit)(const char *name, int directory, gpointer data),
                    gpointer data);
