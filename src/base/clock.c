#include "base/clock.h"

#include <time.h>

gint64
clock_now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (gint64)now.tv_sec * 1000000000 + now.tv_nsec;
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
