/* A delta as a stream of messages of at most REPLICA_MESSAGE_MAX bytes, and back.
 *
 * Content is read from the upper layer when a message is made, so that a delta costs no memory of its own.
 * What comes out of a stream has passed every check that can be made without the tree: names, types, sizes,
 * order, counts. */
#pragma once

#include <glib.h>

#include "replica/delta.h"
#include "replica/message.h"

typedef struct ReplicaPacker ReplicaPacker;

/* `layer` and `delta` stay the caller's and must outlive the packer. */
ReplicaPacker *replica_packer_new(const ReplicaLayer *layer, const ReplicaDelta *delta);
void replica_packer_free(ReplicaPacker *packer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaPacker, replica_packer_free)

/* The next message, NULL after the last, and NULL with an error. */
GBytes *replica_packer_next(ReplicaPacker *packer, GError **error);

typedef struct ReplicaUnpacker ReplicaUnpacker;

typedef struct {
  guint entry; /* index into the entries */
  guint64 offset, length;
  const guint8 *bytes; /* NULL: zeros */
} ReplicaPiece;

/* Called for each piece of content, in ascending order of entry and offset, after all entries have come.
 * FALSE with an error ends it. */
typedef gboolean (*ReplicaPieceFunc)(const ReplicaPiece *piece, gpointer user_data, GError **error);

ReplicaUnpacker *replica_unpacker_new(ReplicaPieceFunc take, gpointer user_data);
void replica_unpacker_free(ReplicaUnpacker *unpacker);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaUnpacker, replica_unpacker_free)

/* Takes one message. FALSE with HOSTILE for one that no correct peer sends, or with the error of `take`. */
gboolean replica_unpacker_push(ReplicaUnpacker *unpacker, const guint8 *data, gsize length, GError **error);

/* The stream has ended, complete. */
gboolean replica_unpacker_done(const ReplicaUnpacker *unpacker);

/* The entries so far (of ReplicaEntry), owned by the unpacker. */
GPtrArray *replica_unpacker_entries(const ReplicaUnpacker *unpacker);
