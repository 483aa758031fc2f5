/* The documents that an ordering server has open: each with the history that its log says, so that the next
 * entry can be judged and heads be signed. A document is read in slices, so that a long one does not keep
 * others waiting; when there are too many, the one that was used least lately is closed, and read again when
 * it is asked for.
 *
 * A history is never ahead of the log but while a batch is being appended. */
#pragma once

#include "clonedoc/history.h"
#include "clonedoc/server/log.h"

typedef struct DocShelf DocShelf;

typedef enum { DOC_OPEN_READING, DOC_OPEN_READY, DOC_OPEN_BROKEN } DocOpenState;

typedef struct {
  DocName name;
  DocOpenState state;
  DocHistory *history;
  guint64 bytes;       /* of its entries */
  GHashTable *authors; /* the numbers of each one's entries, in their order; whatever verdict they got */
  GQueue recent;       /* of GBytes: the last entries */
  gsize recent_bytes;
  DocEnvelope *unsettled; /* judged, and not in the history yet */
  guint puts;             /* of the batch that is under way */
  DocHead head;           /* as of now; `packed` NULL: not signed yet */
  char *words;            /* BROKEN: why */
  /* The server's. */
  GQueue waiting;     /* until it is READY */
  GPtrArray *follows; /* keep it open */
  GList used;         /* the shelf's, like the next */
  gboolean queued;
} DocOpen;

/* `most`: so many open at a time; those that are followed count, too. `drop` is for what waits at its end. */
DocShelf *doc_shelf_new(DocLog *log, guint most, GDestroyNotify drop);
void doc_shelf_free(DocShelf *shelf);

/* Whether the document is open. */
gboolean doc_shelf_has(const DocShelf *shelf, const DocName *name);

/* The open document of that name, which may have to be read first; NULL: there is no room. */
DocOpen *doc_shelf_open(DocShelf *shelf, const DocName *name);

/* Reads one slice of one document that is READING. It when it is READY or BROKEN now; NULL: none is. */
DocOpen *doc_shelf_read(DocShelf *shelf);
gboolean doc_shelf_is_reading(const DocShelf *shelf);

/* The log has, or may have, entries that the history has not. Where the history may have entries that the log
 * has not, it is begun anew. */
void doc_shelf_read_again(DocShelf *shelf, DocOpen *open);

/* Forgets one that nobody follows or waits for. */
void doc_shelf_close(DocShelf *shelf, DocOpen *open);

/* The number of that author's entry with that sequence; 0: there is none. */
guint64 doc_open_number(const DocOpen *open, const IdentityPublic *author, guint64 sequence);

/* Entry `number` of one that is READY, from memory; NULL: it is not there, but may be in the log. */
GBytes *doc_open_recent(const DocOpen *open, guint64 number);

/* The entry of the history is in the log now; to be said in the order of their numbers. */
void doc_open_add(DocOpen *open, const IdentityPublic *author, guint64 sequence, guint64 number,
                  GBytes *entry);
