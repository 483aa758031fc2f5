/* The ordering server of documents (Clone2Clone section 5; SPORC section 3: "the server's only job is to
 * order and to store"). It gives each entry the next number of its document, hands entries out, and signs how
 * long a history is and what its hash is; it can read nothing of them, and nobody has to trust it.
 *
 * It gives no number to what a member's history would call a fault (docs/decisions/0037), nor to anybody who
 * is no member; entries that are void for another reason get one. The very same entry again has the number
 * that it has. What has an answer is durable.
 *
 * Appends that come while others go to the disk go there as one. All of it lives in one thread, that of a
 * GMainContext, but for the log, which has a thread of its own: a log that does not answer holds up nothing
 * that can be done without it. */
#pragma once

#include "clonedoc/server/call.h"
#include "clonedoc/server/log.h"
#include "link/door.h"

typedef struct DocServer DocServer;

#define DOC_SERVER_RATE 200
#define DOC_SERVER_HELD (256u << 20)

typedef struct {
  const IdentityKey *key; /* signs heads, and is what clients know the server by; borrowed */
  DocLog *log;            /* borrowed, and used by nobody else */
  guint rate;             /* calls of a source of addresses, and of a member's key, in a second; 0: any */
  guint open_max;         /* documents in memory; three quarters of them may be followed */
  guint64 documents_max;
  guint64 document_bytes; /* of the entries of one */
  guint entry_bytes;      /* of one entry */
  guint follows_max;      /* of one connection */
  gsize held_max;         /* bytes of entries that have no number yet, of all */
  const GArray *founders; /* of IdentityPublic: who may make documents; NULL: everybody; borrowed */
  /* Words for the operator; may be NULL. */
  void (*complain)(const char *words, gpointer data);
  /* For tests of those who do not trust it: what is handed out to `peer` may be changed. NULL. */
  void (*hand_out)(const IdentityPublic *peer, const DocName *document, DocAnswer *answer, gpointer data);
  gpointer data;
} DocServerOptions;
#define DOC_SERVER_OPTIONS_DEFAULT                                                                           \
  (DocServerOptions)                                                                                         \
  {                                                                                                          \
    .rate = DOC_SERVER_RATE, .open_max = 1024, .documents_max = 100000,                                      \
    .document_bytes = G_GUINT64_CONSTANT(1) << 30, .entry_bytes = DOC_ENVELOPE_MAX, .follows_max = 256,      \
    .held_max = DOC_SERVER_HELD                                                                              \
  }

/* `context` NULL: the default one. NULL with an error where the log cannot be read. */
DocServer *doc_server_new(const DocServerOptions *options, GMainContext *context, GError **error);
void doc_server_free(DocServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocServer, doc_server_free)

/* Accepts connections from now on. Takes the listening socket `fd`. */
void doc_server_listen(DocServer *server, int fd);

typedef struct {
  guint64 calls, busy, refused; /* calls; of them answered BUSY; entries that got no number */
  guint64 appended, batches;    /* entries, and how often the log was written to */
  LinkDoorCounters door;
} DocServerCounters;
DocServerCounters doc_server_counters(const DocServer *server);
