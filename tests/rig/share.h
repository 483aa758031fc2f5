/* A share of a processor for a group of processes: a control group with a quota, version 1 or 2. */
#pragma once

#include <glib.h>

typedef struct Share Share;

/* A new group named after this process and `name`, limited to `percent` of one processor (0: only counted).
 * Never NULL: where no control group can be had, share_limited() is FALSE and share_about() says why. */
Share *share_new(const char *name, double percent);
void share_free(Share *share); /* its processes must have ended */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Share, share_free)

/* Puts the calling process into the group; its children will be in it. Async-signal-safe enough for after
 * fork(). */
void share_join(const Share *share);

gboolean share_limited(const Share *share);
const char *share_about(const Share *share);

/* Kills whatever is still in the group. */
void share_kill(const Share *share);

/* Processor seconds that the group has used; negative where it cannot be told. */
double share_used(const Share *share);
