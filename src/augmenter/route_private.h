/* What the files that route system calls share and nobody else sees. Each says what becomes of a call, or
 * leaves it held until more is known (augmenter_retry_held()). FALSE ends the session. */
#pragma once

#include "augmenter/augmenter.h"

/* It ends the block, or, of a child, gives it up; `why` may be NULL. */
gboolean route_cut(Augmenter *augmenter, HeldCall *call, const char *why, GError **error);
/* The mirror makes it. */
gboolean route_go_on(Augmenter *augmenter, HeldCall *call);
/* It is made already: a result, or -errno. */
gboolean route_answer(Augmenter *augmenter, HeldCall *call, gint64 value);

/* route.c: by what its descriptors are; by what its paths name. */
gboolean route_descriptor(Augmenter *augmenter, HeldCall *held, GError **error);
gboolean route_path(Augmenter *augmenter, HeldCall *held, GError **error);

/* forward.c. The device makes it; with another path in the first one's place, where that is not NULL. */
gboolean route_forward(Augmenter *augmenter, HeldCall *held, const char *path, GError **error);
/* A call about a set of descriptors: where they are the device's. */
gboolean route_set(Augmenter *augmenter, HeldCall *held, GError **error);

/* route_special.c: of the class SPECIAL. */
gboolean route_special(Augmenter *augmenter, HeldCall *held, GError **error);
