/* A rig that is up: what its control socket can change. */
#pragma once

#include <glib.h>

#include "network.h"
#include "shaper.h"
#include "share.h"

typedef struct {
  Network network;
  Shaper *shaper;
  Share *shares[2]; /* by NetworkSide */
  const Profile *profile;
  gint64 started; /* ns */
} Rig;

/* What the rig has measured so far, as one JSON object. */
char *rig_report(Rig *rig);

/* Carries out one line, such as "cut" or "address host 10.77.0.3", and returns the answer's text: "ok", a
 * JSON object, or "error: …". */
char *rig_obey(Rig *rig, const char *line);

/* The table of what rig_obey() understands, for a --help. */
char *rig_orders_help(void);
