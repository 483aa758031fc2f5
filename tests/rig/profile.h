/* What a link is like: the table of profiles. */
#pragma once

#include <glib.h>

typedef struct {
  const char *name;
  guint rtt_us;      /* round trip of an empty link */
  gdouble down_mbit; /* towards the device, megabits (10^6) of IP packets a second */
  gdouble up_mbit;
  guint queue_ms; /* how long a packet may wait for the line before the next one is dropped */
  const char *about;
} Profile;

extern const Profile profiles[]; /* ends with a nameless one */

/* NULL where there is none of that name. */
const Profile *profile_find(const char *name);
