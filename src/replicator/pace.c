#include "replicator/pace.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define NS_PER_S  1000000000LL
#define CREDIT_NS (NS_PER_S / 5)

void
pace_begin(Pace *pace, guint64 rate, guint64 sent)
{
  *pace = (Pace){.rate = rate, .begun_at = sent, .since_ns = clock_now_ns()};
}

int
pace_wait_ms(Pace *pace, guint64 sent)
{
  if (!pace->rate)
    return 0;
  gint64 now = clock_now_ns();
  double due_ns = (double)(sent - pace->begun_at) / pace->rate * NS_PER_S,
         ahead = due_ns - (now - pace->since_ns);
  if (ahead < -CREDIT_NS) { /* it was idle, or the link is slower */
    pace_begin(pace, pace->rate, sent);
    return 0;
  }
  return ahead <= 0 ? 0 : (int)MIN(ahead / 1000000 + 1, 60000);
}

gboolean
pace_parse(const char *text, guint64 *rate, GError **error)
{
  static const char units[] = "kMGT";
  char *end;
  double value = g_ascii_strtod(text, &end), factor = 1;
  const char *unit = *end ? strchr(units, *end == 'K' ? 'k' : *end) : NULL;
  if (unit) {
    for (const char *at = units; at <= unit; at++)
      factor *= 1000;
    end++;
  }
  if (end != text && !*end && value >= 0 && value * factor < 1e18 && (value == 0 || value * factor >= 1000)) {
    *rate = (guint64)(value * factor);
    return TRUE;
  }
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "\"%s\" is no rate: say bytes a second, from 1k, as in 500k, 2M or 0 (no limit)",
                          text);
}
