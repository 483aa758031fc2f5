/* What the parts of the ordering server share: server.c (connections and turns), server_log.c (what the log
 * is asked), server_append.c (entries that want a number), server_tell.c (what is handed out). */
#pragma once

#include "clonedoc/server/clerk.h"
#include "clonedoc/server/server.h"
#include "clonedoc/server/shelf.h"

/* A connection. Members are whose key is a member's of some document. */
typedef struct {
  LinkVisit base;
  gsize unwritten; /* of the last look */
  DocParts parts;
  guint calls;        /* not answered yet */
  guint reads;        /* of them: need entries from the log */
  GPtrArray *follows; /* keep the connection; NULL before the preamble has come */
  gboolean reading;   /* entries for one of these: from the log, or they are here and not told yet */
  guint turn;         /* whose is the next to have that */
} DocVisit;

/* A call on its way to its answer. */
typedef struct {
  DocServer *server;
  guint64 visit; /* whose */
  IdentityPublic peer;
  DocCall *call;
  DocEnvelope *envelope; /* APPEND; until it is put into a batch */
  GBytes *packed;        /* ... as it is kept */
  IdentityPublic author;
  guint64 sequence;
  guint tries;     /* others were faster */
  gboolean fresh;  /* the log was asked how long the document is since it came, */
  guint64 length;  /* and said that, */
  gboolean blind;  /* or nothing */
  gboolean reads;  /* counts among its visit's reads */
  GPtrArray *read; /* entries from the log that its answer needs; NULL: */
  guint64 first;   /* their first number */
} DocTask;

typedef struct {
  DocVisit *visit;
  DocOpen *open;
  guint64 id;
  guint64 next;     /* entry to be told */
  gboolean greeted; /* was told the head, even where there was no entry */
  GPtrArray *read;  /* the next entries, from the log, until the document is READY; NULL */
  gboolean failed;  /* to read them: not again before there is more to be told, or the connection works */
} DocFollow;

typedef struct {
  GArray *puts;     /* of DocLogPut */
  GPtrArray *tasks; /* of DocTask, one for each put */
  GPtrArray *opens; /* of DocOpen, likewise */
} DocBatch;

struct DocServer {
  DocServerOptions options;
  GMainContext *context;
  LinkDoor *door;
  DocShelf *shelf;
  DocClerk *clerk;
  GQueue tasks;    /* of DocTask */
  DocBatch *batch; /* that is being appended; NULL */
  GQueue later;    /* of DocTask: entries, until it is */
  gboolean reads;  /* a slice for the shelf */
  gboolean polls;
  GHashTable *asked;   /* DocName → the errand, server_log.c's, that asks last how long it is */
  GPtrArray *followed; /* of DocOpen */
  guint polled;        /* of them: the one that was held against the log last */
  GArray *hungry;      /* of guint64: visits that may ask more now */
  GSource *turn;
  GSource *poll;
  gsize held;        /* bytes of entries that are on their way to a number, */
  gsize parts;       /* and of calls that are not whole yet */
  guint64 documents; /* about so many there are */
  char *complained;
  DocServerCounters counters;
};

void doc_task_free(DocTask *task);

/* Has the task done in a turn to come. Takes it. */
void doc_server_put(DocServer *server, DocTask *task);

/* There is something to do in a turn to come. */
void doc_server_wake(DocServer *server);

/* Once, until it is about something else. */
void doc_server_complain(DocServer *server, const char *words);

/* Answers to a task whose visit may be gone; takes both. */
void doc_server_answer(DocServer *server, DocTask *task, DocAnswer *answer);
void doc_server_answer_briefly(DocServer *server, DocTask *task, DocStatus status, const char *words);
void doc_server_answer_busy(DocServer *server, DocTask *task, const char *words);

/* One call less of the visit's waits for its answer. */
void doc_server_answered(DocServer *server, DocVisit *visit);

/* The head of one that is READY, signed: the open's. */
GBytes *doc_server_head(DocServer *server, DocOpen *open);

/* The log said nothing, and what is known without it might be less than others know. */
void doc_server_answer_blind(DocServer *server, DocTask *task);

/* Where a document can be worked on now, or never, what waits for that goes on. */
void doc_server_end_waiting(DocServer *server, DocOpen *open);

/* ---- server_log.c ---- */

/* Asks the log how long the task's document is: whoever has seen an entry at another server of the same log
 * is to see it here, too. The task comes back in a turn to come, fresh. */
void doc_server_ask(DocServer *server, DocTask *task);

/* Reads entries from `from` on for a task, which comes back with them, or was answered that they cannot be
 * read now; for whoever follows, who is told. */
void doc_server_read(DocServer *server, DocTask *task, guint64 from, guint count, gsize bytes);
void doc_server_read_follow(DocServer *server, DocFollow *follow, guint count, gsize bytes);

/* The next slice for the shelf, if one is wanted. */
void doc_server_read_slice(DocServer *server);

/* Looks what other servers have appended to some documents that are followed. */
void doc_server_poll(DocServer *server);

/* Takes the batch; doc_batch_done() gets it. */
void doc_server_append(DocServer *server, DocBatch *batch);

/* ---- server_append.c ---- */

DocBatch *doc_batch_new(void);
void doc_batch_free(DocBatch *batch);

/* Judges an entry: it is put into the batch, or answered. Takes the task. `open` is READY. */
void doc_batch_add(DocServer *server, DocBatch *batch, DocOpen *open, DocTask *task);
/* Answers all, whose outcome is known. */
void doc_batch_done(DocServer *server, DocBatch *batch, const GError *error);

/* ---- server_tell.c ---- */

/* READ, HEAD and FOLLOW of one that is READY. Take the task. */
void doc_server_tell(DocServer *server, DocOpen *open, DocTask *task);

/* Tells what is new to who follows, as far as they take it. */
void doc_server_tell_follows(DocServer *server, DocOpen *open);
void doc_server_tell_visit(DocServer *server, DocVisit *visit);
/* Entries from `from` on, which were read for that follow, unless it has ended meanwhile. */
void doc_server_tell_read(DocServer *server, guint64 visit, guint64 follow, const DocName *document,
                          guint64 from, GPtrArray *entries);

/* Ends them; those of a visit, or that one. */
void doc_server_end_follows(DocServer *server, DocVisit *visit);
void doc_server_end_follow(DocServer *server, DocVisit *visit, guint64 id);
