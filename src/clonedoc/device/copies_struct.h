/* For the files of this folder. */
#pragma once

#include "base/database.h"
#include "base/io.h"
#include "clonedoc/device/copies.h"

struct DocCopies {
  sqlite3 *db;
  DatabaseStatements *statements;
  char *folder;
  Fd watch;
};

/* One transaction, of one writer. */
gboolean doc_copies_begin(DocCopies *copies, GError **error);
/* Keeps it where `good`; else it is undone, and `error` stays as it is. */
gboolean doc_copies_end(DocCopies *copies, gboolean good, GError **error);
