/* What a device hands to its clone's node so that the clone is the user's from then on (LocalControl "bind";
 * wire/c2c.proto NodeBind, NodeBound), checked as it is decoded. */
#pragma once

#include "c2c/directory_message.h"
#include "c2c/directory_place.h"

#define NODE_BIND_VERB       "bind"
#define NODE_BIND_PLACES_MAX 16
#define NODE_BIND_MS         30000 /* that a device waits for the answer: the node asks a directory meanwhile */

typedef struct {
  Record *record;    /* verified; mostly without whereabouts */
  GPtrArray *places; /* of DirectoryPlace: whom the clone asks from now on, the home directory first */
} NodeBind;
void node_bind_free(NodeBind *bind);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeBind, node_bind_free)

GBytes *node_bind_encode(const Record *record, const GPtrArray *places);

/* NULL: HOSTILE, or as record_decode_unplaced(). The record's home directory is among the places. */
NodeBind *node_bind_decode(const void *data, gsize length, GError **error);

typedef struct {
  DirectoryStatus status;
  char *message;  /* the directory's words, or why it could not be asked (BUSY); NULL: none */
  Record *record; /* as it was registered; set where the status is OK */
  guint64 number; /* in the directory's log; likewise */
} NodeBound;
void node_bound_free(NodeBound *bound);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeBound, node_bound_free)

GBytes *node_bound_encode(const NodeBound *bound);

/* NULL: HOSTILE; with OK also where the record registered is not `told` with whereabouts. */
NodeBound *node_bound_decode(const void *data, gsize length, const Record *told, GError **error);
