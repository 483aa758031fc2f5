/* A file's content, from the device to the clone: only the blocks of 64 KiB that the clone's older version
 * lacks.
 *
 *   clone                                            device
 *   replica_pull_new, replica_pull_request   -->     replica_send_new
 *   replica_pull_push ... replica_pull_finish  <--   replica_send_next ...
 *
 * The last message carries the facts of the version that was sent, with the hash of its whole content; the
 * clone's copy is put in place only when it has that hash. */
#pragma once

#include <glib.h>

#include "replica/fix.h"

typedef struct ReplicaPull ReplicaPull;

enum {
  REPLICA_PULL_IN_PLACE = 1, /* keep the inode of the clone's file: the mirror has it open */
};

/* MISMATCH as for replica_fix(). `copy` must outlive it. */
ReplicaPull *replica_pull_new(const ReplicaCopy *copy, const char *path, guint flags, GError **error);
void replica_pull_free(ReplicaPull *pull);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaPull, replica_pull_free)

/* What to send to the device. */
GBytes *replica_pull_request(ReplicaPull *pull);

/* Takes the next message. FALSE with an error; HOSTILE where the content does not have the hash. */
gboolean replica_pull_push(ReplicaPull *pull, const guint8 *data, gsize length, GError **error);
gboolean replica_pull_done(const ReplicaPull *pull);

/* Puts the file in its place; *facts (or NULL) is a copy of what the device said of it. */
gboolean replica_pull_finish(ReplicaPull *pull, ReplicaFacts *facts, GError **error);

typedef struct ReplicaSend ReplicaSend;

/* The device's half, for a request from the clone. `hashes` may be NULL. NOT_FOUND where there is no such
 * file. */
ReplicaSend *replica_send_new(int root, const guint8 *request, gsize length, GError **error);
void replica_send_free(ReplicaSend *send);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaSend, replica_send_free)

/* The next message, NULL after the last, and NULL with an error: MISMATCH where the file changed while it was
 * read; then begin anew. */
GBytes *replica_send_next(ReplicaSend *send, GError **error);
