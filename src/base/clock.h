/* Time as the engine measures it. */
#pragma once

#include <glib.h>

/* CLOCK_MONOTONIC in nanoseconds. */
gint64 clock_now_ns(void);

/* What is left until then, rounded up: 0 once it has passed, never less (to poll(2), less is for ever). */
int clock_left_ms(gint64 deadline_ns);
