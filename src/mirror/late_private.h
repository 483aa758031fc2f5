/* What the files of mirror/late.h share and nobody else sees. */
#pragma once

#include "mirror/late.h"

enum { PAGE = COPIES_PAGE };

/* A process's view of what is far: the primary's own, or a child's that was forked meanwhile. */
typedef struct {
  int fd;
  MirrorPlaces *far;
} LateSpace;

struct MirrorLate {
  MirrorProcess *process;
  MirrorTracker *tracker; /* NULL: no session */
  MirrorPull pull;
  void (*failed)(const GError *error, void *user);
  void *user;
  LateSpace own;
  GPtrArray *heirs; /* LateSpace */
  gint64 heirs_since;
  MirrorRanges *armed;      /* addresses as they are now */
  MirrorRanges *strange;    /* arrived by mremap(2) since the last capture */
  MirrorRanges *let_go;     /* was far, and is zeros now: a change, whatever the page's mark says */
  guint64 expected, window; /* where a walk through memory would go on; pages */
};

void late_space_free(LateSpace *space);
/* What is far in [start, end) comes. */
gboolean late_fetch(MirrorLate *late, LateSpace *space, guint64 start, guint64 end, GError **error);
