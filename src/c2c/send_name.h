/* Names of files that come from others. */
#pragma once

#include <glib.h>

/* The name under which a file that came as `offered` (hostile) may be kept: valid UTF-8 of 1 to 255 bytes,
 * no path, no control characters and none that change the direction of writing (Unicode Technical Report 36),
 * not beginning with '.' or '-'. */
char *send_name_clean(const char *offered);

/* The n-th name to try where those before are taken: "plan.txt", "plan (2).txt", ...; at most 255 bytes. */
char *send_name_numbered(const char *name, guint n);
