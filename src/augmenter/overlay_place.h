/* Between planning an overlay and mounting it. */
#pragma once

#include <sys/stat.h>

#include "augmenter/overlay.h"

typedef enum {
  PLACE_LAYER,
  PLACE_SKELETON, /* a layer whose lower only stands for the original */
  PLACE_VIEW,     /* read-only, with the mounts below: nothing there is the caller's to write */
  PLACE_FILE,
} PlaceKind;

typedef struct {
  PlaceKind kind;
  char *path;  /* in the caller's view of the lower tree */
  char *lower; /* directory that is the lower layer: `path`, a copy set apart, or a skeleton */
} Place;

/* What the mirror calls `path`, which is of the caller's view. */
const char *overlay_inside(const Overlay *overlay, const char *path);

/* Mounts SESSION/stage, where everything else that is mounted on the way to the new root goes. FALSE with
 * errno. */
gboolean overlay_mount_stage(const Overlay *overlay);

void overlay_note(Overlay *overlay, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Gives the directory `fd` what `status`, that of `original`, has: owner where possible, mode, times. */
void overlay_copy_look(const struct stat *status, const char *original, int fd);
