/* The database below a TreeIndex: its tables, its statements, its one error. */
#pragma once

#include <sqlite3.h>

#include "replica/tree_contents.h"
#include "replica/tree_index.h"
#include "replica/tree_inodes.h"
#include "replica/tree_pack.h"

typedef enum {
  SQL_BEGIN,
  SQL_COMMIT,
  SQL_GET,
  SQL_SET,
  SQL_NODE,
  SQL_CHILD,
  SQL_CHILDREN,
  SQL_INODE,
  SQL_COUNT,
  SQL_SIZE,
  SQL_CONTENT,
  SQL_INSERT,
  SQL_UPDATE,
  SQL_ANY,
  SQL_DELETE_SINCE,
  SQL_DELETE,
  SQL_TOUCH,
  SQL_DOUBT,
  SQL_DOUBT_UNDO,
  SQL_MOVE,
  SQL_TOP_ID,
  SQL_SIGNATURE,
  SQL_SIGN,
  SQL_SIGN_LIKE,
  SQL_UNSIGN,
  SQL_REMEMBER,
  SQL_NEWEST_UNDO,
  SQL_RESTORE,
  SQL_UNDONE,
  SQL_FORGET_UNDO,
  SQL_PUT_PART,
  SQL_PART,
  SQL_FORGET_PARTS,
  SQL_PARTS_BACK,
  SQL_DROP_ASIDE,
  SQL_DROP_REPLACED_SIGNATURES,
  SQL_DROP_SIGNATURES_ASIDE,
  SQL_ANY_PACK,
  SQL_PACK,
  SQL_UNPACK,
  SQL_UNSIGN_PACK,
  SQL_PACKS,
  SQL_PACK_OF,
  SQL_PACKS_IN,
  SQL_PACKS_BEFORE,
  SQL_PACKS_SINCE,
  SQL_PACKS_ASIDE,
  SQL_RUN,
  SQL_RUNS,
  SQL_STATEMENTS,
} SqlStatement;

struct TreeIndex {
  sqlite3 *db;
  sqlite3_stmt *statements[SQL_STATEMENTS];
  gboolean writing; /* a transaction is open */
  GError *error;    /* the first */
  SignatureKey key;
  gint64 next_id;
  guint64 last, durable; /* numbers of steps */
  guint64 saved_last;    /* as the database has it */
  guint64 base;          /* what numbers of this attempt's steps are counted from in `since` */
  gboolean filling;      /* it was empty when it was opened, and the first generation is not complete */
  gboolean has_packs;    /* there may be some */
  gboolean ordered;      /* the first generation was completed: packed nodes have their runs */
  TreePack pack;         /* what was packed last, and is not written yet */
  TreeContents
      *contents;      /* while it is filled, of all nodes; while packs have no runs, of theirs; else NULL */
  TreeInodes *inodes; /* of packed nodes that have no runs; NULL: not asked for yet */
};

/* With `look` only to read what is there. */
gboolean tree_database_open(TreeIndex *index, const char *path, gboolean look, GError **error);
void tree_database_close(TreeIndex *index);

/* A generation is complete: inodes and contents are found by the database from now on. */
void tree_database_filled(TreeIndex *index);

/* A statement, reset, ready for its values. NULL after an error. */
sqlite3_stmt *tree_database_statement(TreeIndex *index, SqlStatement which);

/* The same for one that changes something: begins the transaction. */
sqlite3_stmt *tree_database_change(TreeIndex *index, SqlStatement which);

/* TRUE: there is a row. Of a NULL statement there is none. */
gboolean tree_database_step(TreeIndex *index, sqlite3_stmt *statement);

/* Runs a statement that has no rows, and resets it. */
void tree_database_run(TreeIndex *index, sqlite3_stmt *statement);
