/* No faster than the user allows, over all that crosses the link. */
#pragma once

#include <glib.h>

typedef struct {
  guint64 rate;     /* bytes a second; 0: as fast as it goes */
  guint64 begun_at; /* bytes that had been sent then */
  gint64 since_ns;
} Pace;

void pace_begin(Pace *pace, guint64 rate, guint64 sent);

/* Milliseconds until more may be sent, when `sent` bytes have been: 0 is now. What was not used of the last
 * 200 ms is lost, so that no more than that goes at once. */
int pace_wait_ms(Pace *pace, guint64 sent);

/* "500k", "2M", "1G": bytes a second, with decimal units, as for other programs' rates. 0 is no limit. FALSE
 * with USAGE. */
gboolean pace_parse(const char *text, guint64 *rate, GError **error);
