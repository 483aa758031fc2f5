/* What a device keeps of documents: of each its text and what its clone said last of it, in one SQLite file
 * of a folder. It is there without the clone, and for several programs at once. */
#pragma once

#include "clonedoc/envelope.h"

typedef struct DocCopies DocCopies;

/* Makes the folder (its parents, too) where there is none. */
DocCopies *doc_copies_open(const char *folder, GError **error);
void doc_copies_free(DocCopies *copies);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocCopies, doc_copies_free)

const char *doc_copies_folder(const DocCopies *copies);

/* Readable where one of the copies may have changed, by this program, too; doc_copies_heed() makes it
 * unreadable again. */
int doc_copies_fd(const DocCopies *copies);
void doc_copies_heed(DocCopies *copies);

typedef struct {
  DocName document;
  char *title;
  GBytes *row; /* what the clone said of it, as the caller has packed it */
} DocKnown;
void doc_known_free(DocKnown *known);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocKnown, doc_known_free)

/* All of them, by title; an array of DocKnown. */
GPtrArray *doc_copies_list(DocCopies *copies, GError **error);

/* Exactly these are the documents there are, now. What is not among them loses its copy where everything in
 * that came from the clone; who was typed into without the clone stays. */
gboolean doc_copies_know(DocCopies *copies, const GPtrArray *known, GError **error);

/* One more, or one that is otherwise now. */
gboolean doc_copies_add(DocCopies *copies, const DocKnown *known, GError **error);

/* The copy and what was said of it are no more. */
gboolean doc_copies_forget(DocCopies *copies, const DocName *document, GError **error);
