/* Random operations on a file tree, as programs do them. */
#pragma once

#include "rig.h"

/* Fills a tree with some of everything. */
void moves_fill(Rig *rig, const char *root);
/* The same, with hard links in it. */
void moves_fill_linked(Rig *rig, const char *root);

/* One operation below `root`, never on names that begin with 'D' nor on the directory "keep" itself. */
void moves_block(Rig *rig, const char *root);

/* One operation of the device's own, on names that begin with 'D', at the top and in "keep". */
void moves_device(Rig *rig, const char *root);

/* One operation of the device's own anywhere, but on files with several links. */
void moves_device_anywhere(Rig *rig, const char *root);
