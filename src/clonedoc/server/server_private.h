/* What the parts of the ordering server share: server.c (connections and turns), server_append.c (entries
 * that want a number), server_tell.c (what is handed out). */
#pragma once

#include "clonedoc/server/server.h"
#include "clonedoc/server/shelf.h"

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
  guint tries;    /* others were faster */
  gboolean fresh; /* the document was held against the log since it came */
} DocTask;

typedef struct {
  DocVisit *visit;
  DocOpen *open;
  guint64 id;
  guint64 next;     /* entry to be told */
  gboolean greeted; /* was told the head, even where there was no entry */
} DocFollow;

struct DocServer {
  DocServerOptions options;
  GMainContext *context;
  DocDoor *door;
  DocShelf *shelf;
  GQueue tasks;        /* of DocTask */
  GPtrArray *followed; /* of DocOpen */
  guint polled;        /* of them: the one that was held against the log last */
  GArray *hungry;      /* of guint64: visits that may ask more now */
  GSource *turn;
  GSource *poll;
  gsize held;        /* bytes of entries that are on their way to a number */
  guint64 documents; /* about so many there are */
  char *complained;
  DocServerCounters counters;
};

void doc_task_free(DocTask *task);

/* Has the task done in a turn to come. Takes it. */
void doc_server_put(DocServer *server, DocTask *task);

/* Once, until it is about something else. */
void doc_server_complain(DocServer *server, const char *words);

/* Answers to a task whose visit may be gone; takes both. */
void doc_server_answer(DocServer *server, DocTask *task, DocAnswer *answer);
void doc_server_answer_briefly(DocServer *server, DocTask *task, DocStatus status, const char *words);

/* Whoever has seen an entry at another server of the same log is to see it here, too: one that is READY is
 * held against the log, once for each task. FALSE: it is being read now. */
gboolean doc_server_is_fresh(DocServer *server, DocOpen *open, DocTask *task);

/* One call less of the visit's waits for its answer. */
void doc_server_answered(DocServer *server, DocVisit *visit);

/* The head of one that is READY, signed: the open's. */
GBytes *doc_server_head(DocServer *server, DocOpen *open);

/* ---- server_append.c ---- */

typedef struct {
  GArray *puts;     /* of DocLogPut */
  GPtrArray *tasks; /* of DocTask, one for each put */
  GPtrArray *opens; /* of DocOpen, likewise */
} DocBatch;

/* Judges an entry: it is put into the batch, or answered. Takes the task. `open` is READY. */
void doc_batch_add(DocServer *server, DocBatch *batch, DocOpen *open, DocTask *task);
/* Appends and answers all. */
void doc_batch_commit(DocServer *server, DocBatch *batch);

/* ---- server_tell.c ---- */

/* READ, HEAD and FOLLOW of one that is READY. Take the task. */
void doc_server_tell(DocServer *server, DocOpen *open, DocTask *task);

/* Tells what is new to who follows, as far as they take it. */
void doc_server_tell_follows(DocServer *server, DocOpen *open);
void doc_server_tell_visit(DocServer *server, DocVisit *visit);

/* Ends them; those of a visit, or that one. */
void doc_server_end_follows(DocServer *server, DocVisit *visit);
void doc_server_end_follow(DocServer *server, DocVisit *visit, guint64 id);
