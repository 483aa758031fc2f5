/* Amounts and times in words. */
#pragma once

#include <glib.h>

/* "45 s", "12 min", "3 h 20 min", "5 d" */
char *policy_text_duration(gint64 seconds);

/* "512 B", "1.2 MB": decimal, as the configuration has them; G_MAXUINT64 is "any amount". */
char *policy_text_size(guint64 bytes);

/* "at 16:10", or "in 3 d" when it is a day off or more. `minute` is the local minute of the day at `now` (s
 * since 1970). */
char *policy_text_when(gint64 when, gint64 now, int minute);
