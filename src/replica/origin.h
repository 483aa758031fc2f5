/* Where a copied-up file came from when its mark does not say so.
 *
 * An overlay that was mounted without privileges cannot use file handles, and marks a copied-up file with an
 * empty `origin`. It may then be what was below at its own path, or what was below at another and was
 * renamed. */
#pragma once

#include "replica/rows.h"

/* `names` are the rows of one such inode, of all `rows`. The row at which it was before; NULL where that
 * cannot be told. Rows in `claimed` (a set) have gone to others already; `renamed` is as in
 * ReplicaCaptureOptions. */
ReplicaRow *replica_origin_guess(GPtrArray *rows, GPtrArray *names, GHashTable *claimed, GHashTable *renamed);
