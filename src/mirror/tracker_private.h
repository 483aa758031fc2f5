/* What the files of the tracker share and nobody else sees. */
#pragma once

#include "mirror/tracker.h"

struct MirrorTracker {
  MirrorProcess *process;
  MirrorTrack track;
  int uffd;
  int device;                  /* in the process, on /dev/userfaultfd; -1: none */
  gboolean demand;             /* the userfaultfd serves the kernel's faults, too */
  const MirrorRanges *missing; /* the owner's: pages that the process cannot have written; NULL: none */
  void (*replaced)(guint64 start, guint64 end, void *user);
  void *replaced_user;
  guint64 page;
  GArray *written;      /* pagemap: struct page_region_abi, of one scan */
  GHashTable *barred;   /* pagemap: starts of areas that cannot be registered, nor written */
  gboolean begun;       /* soft-dirty: the bits mean something */
  GHashTable *hashes;   /* hash: page address → PageHash */
  GHashTable *seen;     /* hash: the table being made by the present scan */
  MirrorLayout *former; /* mappings of the last call; NULL: none yet */
  MirrorRanges *turned; /* of another kind than at the last call, and so made anew on the other side */
};

/* Only memory that can hold something of its own is looked at. */
gboolean tracker_watches(const MirrorTracker *tracker, const MirrorMapping *area);
/* Whether a page that is the file's is not the process's own. */
gboolean tracker_file_pages_are_clean(const MirrorMapping *area);
/* Memory of which the process may have a page without having it before it: it is looked at. */
gboolean tracker_hides_pages(const MirrorMapping *area);
/* Became another at this call: all of it is new to the other side. */
gboolean tracker_is_turned(const MirrorTracker *tracker, const MirrorMapping *area);
/* Of zeros, or not to be read. */
gboolean tracker_is_blank(MirrorTracker *tracker, guint64 address);
/* Appends to `runs` (NULL: nothing does), by address. */
void tracker_emit(GArray *runs, guint64 start, guint64 end, MirrorRunKind kind);

/* tracker_pagemap.c, tracker_walk.c: the backends' halves of what tracker.h says; `runs` may be NULL. */
gboolean tracker_pagemap_start(MirrorTracker *tracker, GError **error);
gboolean tracker_pagemap_changed(MirrorTracker *tracker, const MirrorLayout *layout, GArray *runs,
                                 GError **error);
gboolean tracker_pagemap_forget(MirrorTracker *tracker, const GArray *runs, GError **error);
gboolean tracker_soft_dirty_works(void);
gboolean tracker_walk_changed(MirrorTracker *tracker, const MirrorLayout *layout, GArray *runs,
                              GError **error);
gboolean tracker_hash_forget(MirrorTracker *tracker, const GArray *runs, GError **error);
