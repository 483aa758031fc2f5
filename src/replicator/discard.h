/* Removing a directory of the Replicator's with all that is in it. */
#pragma once

#include <glib.h>

/* Of any depth and with any permissions in it; nothing there is no error. Others may do the same at the same
 * time. FALSE with an error. */
gboolean discard_directory(const char *path, GError **error);
