/* Directories in a network that exists only here: time is a number, messages are lost, doubled, late and out
 * of order as a seed says, links come and go, directories restart. What they decide is the real thing
 * (c2c/directory_peers.h), as are the messages' bytes. */
#pragma once

#include "c2c/directory_peers.h"

#define NET_NODES 4u

typedef struct Net Net;

/* What a directory does that lies: all may be NULL. */
typedef struct {
  /* Changes an answer of its. */
  void (*answer)(Net *net, const DirectoryQuestion *question, DirectoryAnswer *answer);
} NetLiar;

/* `liar`: the last directory is one. */
Net *net_new(guint32 seed, const NetLiar *liar);
void net_free(Net *net);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Net, net_free)

GRand *net_random(Net *net);
const IdentityKey *net_key(guint node); /* of a directory; the same in every net */

/* Has it registered at its home, where it is newer than what is there; `silent`: and stops before it tells
 * anybody. */
void net_register(Net *net, Record *record, gboolean silent);

/* Messages are lost and links break from now on, or no more. */
void net_faults(Net *net, gboolean faulty);

/* A directory ends and starts again, with what it has stored. */
void net_restart(Net *net, guint node);

/* Sends what nobody in their right mind would send; the answer goes nowhere. */
void net_push(Net *net, guint from, guint to, const DirectorySigned *updates, guint count);

/* Lets time pass, in milliseconds. */
void net_run(Net *net, gint64 ms);

/* What a directory has of a user: its hash, or NULL. */
const DirectoryRow *net_row(Net *net, guint node, const IdentityPublic *origin);

/* Called whenever a directory takes something that it did not register itself. */
void net_watch(Net *net, void (*taken)(guint node, const Record *record, gpointer data), gpointer data);

/* Questions that were asked so far. */
guint net_questions(const Net *net);
