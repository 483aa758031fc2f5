/* Where an ordering server keeps documents' entries (Clone2Clone section 5; docs/decisions/0037): per
 * document a sequence, numbered from 1 without gaps. One interface; SQLite (log_sqlite.c) in a folder, or a
 * replicated log that several servers share. What an entry says is nobody's business here.
 *
 * An entry is appended under the number that its caller believes to be the next: where another server was
 * first, that number is *taken*, and the caller reads what came and tries again. What was appended stays so
 * through a kill and, as far as the kind promises it, the loss of power.
 *
 * Functions block. A log belongs to one thread at a time. An operation fails with GONE where a replicated log
 * says nothing for as long as its patience lasts. */
#pragma once

#include "clonedoc/envelope.h"

#define DOC_LOG_BATCH_MAX 1024u /* entries of one append */
#define DOC_LOG_READ_MAX  4096u /* entries of one read */

typedef struct DocLog DocLog;

typedef enum {
  DOC_LOG_DONE,
  DOC_LOG_TAKEN,  /* that number has an entry already, which may be this one: nothing was changed */
  DOC_LOG_FAILED, /* whether the entry is there is not known: read, before the next try */
} DocLogOutcome;

typedef struct {
  DocName document;
  guint64 number;
  GBytes *entry;         /* the caller's */
  DocLogOutcome outcome; /* set by append */
} DocLogPut;

typedef struct {
  DocName name;
  guint64 length; /* entries */
  guint64 bytes;  /* of them together */
} DocLogDocument;

/* "DIR": SQLite in the folder, which is made where it is missing. "nats://HOST:PORT[,HOST:PORT...][/NAME]":
 * NATS JetStream. NULL with an error. */
DocLog *doc_log_open(const char *where, GError **error);
void doc_log_free(DocLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocLog, doc_log_free)

/* Appends up to DOC_LOG_BATCH_MAX entries, of any documents; those of one document in the order of their
 * numbers. Each put has its own outcome; one that is DONE is durable. Behind a put that is not DONE none of
 * the same document is: it was made on top of what is not there (TAKEN behind TAKEN, FAILED behind FAILED). A
 * number beyond the next is FAILED with MISMATCH: the log is shorter than the caller knows it.
 * FALSE where any is FAILED, with an error that says why. */
gboolean doc_log_append_all(DocLog *log, DocLogPut *puts, guint count, GError **error);

/* One. The error is set where it is FAILED only. */
DocLogOutcome doc_log_append(DocLog *log, const DocName *document, guint64 number, GBytes *entry,
                             GError **error);

/* The entries from number `from` on: at most `count` (DOC_LOG_READ_MAX), until they have `bytes` together,
 * but at least one; to the end. An array of GBytes, empty beyond the end; NULL with an error. */
GPtrArray *doc_log_read(DocLog *log, const DocName *document, guint64 from, guint count, gsize bytes,
                        GError **error);

/* How many entries the document has, 0: there is none of that name. */
gboolean doc_log_length(DocLog *log, const DocName *document, guint64 *length, GError **error);

/* From any thread, before the end: whatever waits for the log, or will, is to give up soon. */
void doc_log_hurry(DocLog *log);

/* How many documents there are, and bytes of entries in them; costs a walk through the documents. */
gboolean doc_log_size(DocLog *log, guint64 *documents, guint64 *bytes, GError **error);

/* At most `count` documents in the order of their names, the first after `after` (NULL: from the beginning).
 * An array of DocLogDocument; NULL with an error: UNSUPPORTED where the kind cannot tell. */
GArray *doc_log_documents(DocLog *log, const DocName *after, guint count, GError **error);

/* A kind of log implements this; log.c dispatches, and has checked the arguments' bounds. */
typedef struct {
  const char *scheme;                                 /* before "://"; NULL: a folder */
  DocLog *(*open)(const char *where, GError **error); /* the whole of it */
  void (*free)(DocLog *log);
  gboolean (*append)(DocLog *log, DocLogPut *puts, guint count, GError **error);
  GPtrArray *(*read)(DocLog *log, const DocName *document, guint64 from, guint count, gsize bytes,
                     GError **error);
  gboolean (*length)(DocLog *log, const DocName *document, guint64 *length, GError **error);
  gboolean (*size)(DocLog *log, guint64 *documents, guint64 *bytes, GError **error);
  GArray *(*documents)(DocLog *log, const DocName *after, guint count, GError **error); /* or NULL */
  void (*hurry)(DocLog *log);                                                           /* or NULL */
} DocLogKind;

/* Each kind's struct begins with this. */
struct DocLog {
  const DocLogKind *kind;
};

extern const DocLogKind doc_log_sqlite, doc_log_nats;
