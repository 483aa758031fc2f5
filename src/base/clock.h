/* Time as the engine measures it. */
#pragma once

#include <glib.h>

/* CLOCK_MONOTONIC in nanoseconds. */
gint64 clock_now_ns(void);
