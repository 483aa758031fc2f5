/* Time as the engine measures it. */
#pragma once

#include <glib.h>

/* CLOCK_MONOTONIC in nanoseconds. */
gint64 clock_now_ns(void);

/* Seconds since 1970, as everything sees the time that judges what has expired. */
gint64 clock_unix_time(void);

/* For tests: that time is so many seconds later from now on. */
void clock_shift_unix_time(gint64 seconds);

/* What is left until then, rounded up: 0 once it has passed, never less (to poll(2), less is for ever). */
int clock_left_ms(gint64 deadline_ns);
