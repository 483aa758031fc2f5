/* Facts as protobuf messages, and the checks that bytes from the other side pass before anything believes
 * them. */
#pragma once

#include <glib.h>

#include "replica/facts.h"
#include "wire/replica.pb-c.h"

#define REPLICA_MESSAGE_MAX (1u << 20) /* bytes of one packed message */

/* Fills `message` with what `facts` holds; it borrows from `facts` and owns nothing. */
void replica_facts_to_message(const ReplicaFacts *facts, Doppel__Wire__ReplicaFacts *message);

/* The reverse: `facts` (need not be initialised) gets its own copies. A NULL message is an absent path. FALSE
 * with HOSTILE for what no correct peer sends. */
gboolean replica_facts_from_message(const Doppel__Wire__ReplicaFacts *message, ReplicaFacts *facts,
                                    GError **error);

/* The same of facts with all extended attributes (REPLICA_READ_ALL): of a copy that is kept. */
gboolean replica_facts_all_from_message(const Doppel__Wire__ReplicaFacts *message, ReplicaFacts *facts,
                                        GError **error);

/* The same with what is the reading machine's own (facts.h). */
void replica_facts_own_to_message(const ReplicaFacts *facts, Doppel__Wire__ReplicaFacts *message);
gboolean replica_facts_own_from_message(const Doppel__Wire__ReplicaFacts *message, ReplicaFacts *facts,
                                        GError **error);

/* One packed ReplicaFacts, its own too; `failure` is the errno that came instead of facts, or 0. */
GBytes *replica_facts_pack(const ReplicaFacts *facts, int failure);
gboolean replica_facts_unpack(const guint8 *data, gsize length, ReplicaFacts *facts, int *failure,
                              GError **error);

/* A path from a message: a string of its own, or NULL with HOSTILE. `root_too`: "" is acceptable. */
char *replica_path_from_message(const ProtobufCBinaryData *data, gboolean root_too, GError **error);

ProtobufCBinaryData replica_path_to_message(const char *path);

/* Packs any message. */
GBytes *replica_message_pack(const ProtobufCMessage *message);
