#include "replicator/policy_text.h"

#define DAY 86400

char *
policy_text_duration(gint64 seconds)
{
  gint64 minutes = seconds / 60, hours = seconds / 3600;
  if (seconds < 60)
    return g_strdup_printf("%" G_GINT64_FORMAT " s", MAX(seconds, 0));
  if (minutes < 60)
    return g_strdup_printf("%" G_GINT64_FORMAT " min", minutes);
  if (seconds >= 2 * DAY)
    return g_strdup_printf("%" G_GINT64_FORMAT " d", seconds / DAY);
  if (minutes % 60 == 0)
    return g_strdup_printf("%" G_GINT64_FORMAT " h", hours);
  return g_strdup_printf("%" G_GINT64_FORMAT " h %" G_GINT64_FORMAT " min", hours, minutes % 60);
}

char *
policy_text_size(guint64 bytes)
{
  static const char units[] = "kMGTPE";
  if (bytes == G_MAXUINT64)
    return g_strdup("any amount");
  if (bytes < 1000)
    return g_strdup_printf("%u B", (guint)bytes);
  double value = bytes / 1000.0;
  guint unit = 0;
  for (; value >= 999.95 && units[unit + 1]; unit++)
    value /= 1000;
  gboolean whole = value == (guint64)value;
  return g_strdup_printf("%.*f %cB", whole ? 0 : 1, value, units[unit]);
}

char *
policy_text_when(gint64 when, gint64 now, int minute)
{
  gint64 left = MAX(when - now, 0);
  if (left >= DAY) {
    g_autofree char *duration = policy_text_duration(left);
    return g_strconcat("in ", duration, NULL);
  }
  int then = (minute + (int)((left + 59) / 60)) % 1440;
  return g_strdup_printf("at %02d:%02d", then / 60, then % 60);
}
