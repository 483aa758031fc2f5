/* The clone's copy as the clone itself tells it: for a device whose index is lost, or says something else. */
#pragma once

#include "link/link.h"
#include "replica/tree_index.h"

/* Asks for the manifest of a generation and puts it into `index`, which is empty. Nothing is known afterwards
 * of who the files are on the device: the next scan looks at each of them. With `links`, what are names of
 * one inode in the clone have the same number for it, on a device 0; without, nothing has one. FALSE with an
 * error. */
gboolean manifest_receive(Link *link, TreeIndex *index, guint64 generation, gboolean links, GError **error);
