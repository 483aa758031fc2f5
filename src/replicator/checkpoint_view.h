/* What a chain of checkpoints, a base and what changed since, comes to: of each byte of memory and of files
 * the newest one that there is. The newest one's state says which memory and which files count. */
#pragma once

#include "replicator/checkpoint_body.h"

/* `bodies` (of CheckpointBody, the base first) stay the caller's. Called for every stretch of memory, in no
 * particular order, none twice; `bytes` NULL: as the mapping began. FALSE with an error ends it. */
typedef gboolean (*CheckpointTake)(guint64 start, guint64 length, const guint8 *bytes, gpointer user,
                                   GError **error);
gboolean checkpoint_view_memory(const GPtrArray *bodies, CheckpointTake take, gpointer user, GError **error);

/* The same of a file's content, in ascending order, up to `size`; what is not told is zeros. */
gboolean checkpoint_view_file(const GPtrArray *bodies, guint32 file, guint64 size, CheckpointTake take,
                              gpointer user, GError **error);

/* All of the chain as one base, with the newest one's state. */
gboolean checkpoint_view_merge(const GPtrArray *bodies, CheckpointWriter *writer, GError **error);
