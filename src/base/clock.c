#include "base/clock.h"

#include <time.h>

gint64
clock_now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (gint64)now.tv_sec * 1000000000 + now.tv_nsec;
}

static gint shift; /* seconds; of threads, too */

gint64
clock_unix_time(void)
{
  return g_get_real_time() / G_USEC_PER_SEC + g_atomic_int_get(&shift);
}

void
clock_shift_unix_time(gint64 seconds)
{
  g_atomic_int_add(&shift, (gint)seconds);
}

int
clock_left_ms(gint64 deadline_ns)
{
  gint64 now = clock_now_ns();
  if (deadline_ns <= now)
    return 0;
  gint64 left = deadline_ns - now;
  return (int)MIN(left / 1000000 + (left % 1000000 != 0), G_MAXINT);
}
