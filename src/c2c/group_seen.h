/* Which messages of a group were here before: each sender numbers its messages in rising order, and of each
 * (group, sender) the last GROUP_SEEN numbers are kept, its window. What is older than all of a full window,
 * or than GROUP_AGE_US, is not taken: so a message is taken once, also from who recorded it. */
#pragma once

#include <glib.h>

#define GROUP_SEEN         256u
#define GROUP_SEEN_SENDERS 65536u /* (group, sender) pairs */

/* By the sender's clock. A sender keeps messages for members who are away for GROUP_KEPT_US; they are taken
 * a little longer, since clocks differ. */
#define GROUP_KEPT_US  (7 * 86400 * G_GUINT64_CONSTANT(1000000))
#define GROUP_AHEAD_US (15 * 60 * G_GUINT64_CONSTANT(1000000))
#define GROUP_AGE_US   (GROUP_KEPT_US + GROUP_AHEAD_US)

typedef enum { GROUP_NEW, GROUP_KNOWN, GROUP_STALE } GroupNews;

/* Looks, and remembers in `window` (of guint64, rising). `sequence` and `now_us`: microseconds since 1970. To
 * be asked about messages only that are proved to be their sender's. */
GroupNews group_seen_look(GArray *window, guint64 sequence, guint64 now_us);

/* A window as it is kept: what is damaged is an empty one. */
GArray *group_seen_load(const void *data, gsize length);
GBytes *group_seen_save(const GArray *window);
