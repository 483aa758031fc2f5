/* What this device has learned of a paired clone: hints, in files named after it in identity_directory().
 * They are checked when they are used, and cost time where they are wrong; but they are not to outlive the
 * pairing, as names of memory's contents are among them. */
#pragma once

#include <glib.h>

/* Where what the clone's processor offers is remembered. */
char *learned_features_path(const char *clone);
/* Where the names of the pages that it keeps are (mirror/page_index.h). */
char *learned_pages_path(const char *clone);

/* Forgets all of it, and ends the connection to the clone that is kept ready (controller/keeper.h), if one
 * is: for when `clone` names no clone any more, or another one. */
gboolean learned_forget(const char *clone, GError **error);
