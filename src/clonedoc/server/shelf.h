/* The documents that an ordering server has open: each with the history that its log says, so that the next
 * entry can be judged and heads be signed. A document is read in slices, so that a long one does not keep
 * others waiting; when there are too many, the one that was used least lately is closed, and read again when
 * it is asked for.
 *
 * A history is never ahead of the log but while a batch is being appended. The shelf knows no log: what it
 * wants to have read its owner has read. */
#pragma once

#include "clonedoc/history.h"
#include "clonedoc/server/log.h"

typedef struct DocShelf DocShelf;

typedef enum {
  DOC_OPEN_READING,
  DOC_OPEN_READY,
  DOC_OPEN_APPENDING, /* the history may be ahead of the log: nothing is judged, and no head is signed */
  DOC_OPEN_BROKEN,
} DocOpenState;

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
  guint rivals;     /* another server was faster, or the log failed: so many batches have one entry of it */
  DocHead head;     /* as of now; `packed` NULL: not signed yet */
  char *words;      /* BROKEN: why, */
  gint64 broken_at; /* and since when (CLOCK_MONOTONIC, ns) */
  /* The server's. */
  GQueue waiting;     /* until it is READY */
  GPtrArray *follows; /* keep it open */
  GList used;         /* the shelf's, like the next */
  gboolean queued;
  gboolean doubted; /* the log may have lost what the history has */
} DocOpen;

/* `most`: so many open at a time; those that are followed count, too. `drop` is for what waits at its end. */
DocShelf *doc_shelf_new(guint most, GDestroyNotify drop);
void doc_shelf_free(DocShelf *shelf);

/* The document where it is open; NULL. */
DocOpen *doc_shelf_find(const DocShelf *shelf, const DocName *name);

/* The open document of that name, which may have to be read first; NULL: there is no room. */
DocOpen *doc_shelf_open(DocShelf *shelf, const DocName *name);

#define DOC_SLICE_ENTRIES 512u
#define DOC_SLICE_BYTES   (1u << 20)

/* One that is READING and whose next slice is wanted: the entries behind its history's. Where it is `doubted`
 * and the log has fewer than those, doc_shelf_begin_anew() comes first. NULL: none. It stays open until
 * doc_shelf_take(). */
DocOpen *doc_shelf_next(DocShelf *shelf);
void doc_shelf_begin_anew(DocOpen *open);
/* The slice; NULL with `why`: the log cannot be read. TRUE: it is READY or BROKEN now. */
gboolean doc_shelf_take(DocShelf *shelf, DocOpen *open, const GPtrArray *entries, const GError *why);

/* The log has, or may have, entries that the history has not; where it is `doubted`, the log may have lost
 * some that the history has. Where the history was judged further than the log goes, it is begun anew. */
void doc_shelf_read_again(DocShelf *shelf, DocOpen *open, gboolean doubted);

/* Forgets one that nobody follows or waits for. */
void doc_shelf_close(DocShelf *shelf, DocOpen *open);

/* The number of that author's entry with that sequence; 0: there is none. */
guint64 doc_open_number(const DocOpen *open, const IdentityPublic *author, guint64 sequence);

/* Entry `number` of one that is READY, from memory; NULL: it is not there, but may be in the log. */
GBytes *doc_open_recent(const DocOpen *open, guint64 number);

/* The entry of the history is in the log now; to be said in the order of their numbers. */
void doc_open_add(DocOpen *open, const IdentityPublic *author, guint64 sequence, guint64 number,
                  GBytes *entry);
