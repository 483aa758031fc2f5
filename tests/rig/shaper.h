/* The link itself: a thread that carries IP packets between two TUN devices at a rate, with a delay, through
 * a bounded queue.
 *
 * A direction is a line that takes size / rate to put a packet on, and half the round trip until it comes
 * out. A packet that would wait longer than the profile's queue for the line is dropped (drop-tail). Rate 0
 * is no limit. */
#pragma once

#include <glib.h>

#include "profile.h"

typedef struct Shaper Shaper;

typedef enum {
  SHAPER_OPEN,
  SHAPER_CUT,     /* packets are lost */
  SHAPER_STALLED, /* packets are kept (as far as the queue goes) until it is open again */
} ShaperState;

typedef enum { SHAPER_UP /* from the device */, SHAPER_DOWN } ShaperWay;

typedef struct {
  guint64 bytes[2], packets[2]; /* delivered, by ShaperWay */
  guint64 drops[2];
  double cpu_seconds; /* of the thread */
} ShaperCounters;

/* Starts carrying. Takes both descriptors (TUN devices without packet information, not blocking). */
Shaper *shaper_start(int device, int host, const Profile *profile);
void shaper_stop(Shaper *shaper);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Shaper, shaper_stop)

void shaper_set_state(Shaper *shaper, ShaperState state);
void shaper_set_profile(Shaper *shaper, const Profile *profile);

/* For the next `milliseconds`, every TCP segment becomes a reset of its connection. */
void shaper_reset_connections(Shaper *shaper, guint milliseconds);

ShaperCounters shaper_counters(Shaper *shaper);
