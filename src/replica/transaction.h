/* The inside of apply.h: what is known of a delta that is being applied. check -> stage -> plan -> commit. */
#pragma once

#include <glib.h>

#include "replica/delta.h"
#include "replica/journal.h"
#include "replica/seen.h"

/* What is at a path now and has to leave it. */
typedef struct {
  const char *path;
  ReplicaFacts facts;
  char *aside;    /* where it goes: in a staging directory */
  gboolean moves; /* to be somewhere else in the end */
} ReplicaLeaver;

/* What an entry has had prepared. */
typedef struct {
  char *staged;      /* MAKE: where the new inode waits */
  guint64 dev, ino;  /* of that */
  ReplicaFacts now;  /* KEEP, MOVE: the inode's facts before anything is done */
  GArray *redo;      /* of ReplicaSaved: the new bytes, in the journal's data file */
  gboolean unlocked; /* made writable for the time of the transaction */
} ReplicaItem;

typedef struct {
  int root;
  const ReplicaSeen *seen;
  gboolean durable;
  GPtrArray *entries;  /* of ReplicaEntry, not owned */
  GArray *items;       /* of ReplicaItem, one for each entry */
  GHashTable *made;    /* paths that will be directories made by this delta */
  GHashTable *leavers; /* path to ReplicaLeaver */
  GHashTable *stages;  /* file system to the path of its staging directory */
  GHashTable
      *unlocked; /* directories made writable for the time of the transaction: path to ReplicaFacts before */
  GPtrArray *conflicts; /* of strings */
  ReplicaJournal *journal;
} ReplicaTransaction;

void replica_transaction_init(ReplicaTransaction *transaction, int root, GPtrArray *entries);
void replica_transaction_clear(ReplicaTransaction *transaction);

/* check.. : compares every path with what the block saw, finds what has to leave. FALSE with MISMATCH and the
 * conflicts. */
gboolean replica_transaction_check(ReplicaTransaction *transaction, GError **error);

/* Makes the staging directories and the empty new inodes. */
gboolean replica_transaction_stage(ReplicaTransaction *transaction, GError **error);

/* All content has come: finishes the new inodes, saves what will be overwritten, takes the room that will be
 * needed, and writes the steps of the commit down. */
gboolean replica_transaction_plan(ReplicaTransaction *transaction, GError **error);

static inline ReplicaItem *
replica_transaction_item(ReplicaTransaction *transaction, guint index)
{
  return &g_array_index(transaction->items, ReplicaItem, index);
}
