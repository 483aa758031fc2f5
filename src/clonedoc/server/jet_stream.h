/* A JetStream stream that holds the messages of documents, one subject each, and the connection to it
 * (libnats). This floor knows subjects and sequences; what they mean is log_nats.c's.
 *
 * A *sequence* is JetStream's number of a message within the whole stream, from 1, larger with every message.
 * Everything that comes from there is HOSTILE until it is checked.
 *
 * Functions block, and try again until their deadline (CLOCK_MONOTONIC, ns) where there is no leader, or a
 * member is gone; they fail with GONE then. A stream belongs to one thread, but for jet_stream_hurry(). */
#pragma once

#include "clonedoc/envelope.h"
#include "clonedoc/server/jet_answer.h"

#define JET_ATTEMPT_MS 2000 /* without an answer for so long, one asks again */

typedef struct JetStream JetStream;

/* A message of a document. */
typedef struct {
  DocName document;
  guint64 sequence;
  guint64 number; /* the entry that its author took it for */
  guint64 after;  /* the last message of the document at that time: its sequence; 0: there was none */
  GBytes *entry;  /* NULL: the message is none that jet_stream_put() has written */
} JetEntry;
void jet_entry_clear(JetEntry *entry);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(JetEntry, jet_entry_clear)

/* "nats://HOST:PORT[,HOST:PORT...][/NAME]": connects, and makes the stream where there is none. NULL with an
 * error: USAGE for an address that is none, UNSUPPORTED where the servers or a stream that is there are set
 * up otherwise than a log needs. */
JetStream *jet_stream_open(const char *where, gint64 deadline, GError **error);
void jet_stream_free(JetStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JetStream, jet_stream_free)

const char *jet_stream_where(const JetStream *stream);
/* From any thread: all deadlines have passed, from now on. */
void jet_stream_hurry(JetStream *stream);
gboolean jet_stream_hurries(JetStream *stream);

/* How many connections it has had. Another number: what was known of the stream may not hold any more. */
guint jet_stream_connections(JetStream *stream);

/* The document's last message as the stream's leader has it: 1, 0 there is none, -1 with an error. */
int jet_stream_last(JetStream *stream, const DocName *document, JetEntry *entry, gint64 deadline,
                    GError **error);

/* The document's first message after `sequence`, of which it is known that it is there: a member that does
 * not have it yet is asked again. */
gboolean jet_stream_next(JetStream *stream, const DocName *document, guint64 sequence, JetEntry *entry,
                         gint64 deadline, GError **error);

/* The same, and those that follow it, as far as `window` questions at once find them: each is for the first
 * message after a sequence, one more than the last question's. An array of JetEntry, at least one; NULL with
 * an error. */
GArray *jet_stream_some(JetStream *stream, const DocName *document, guint64 sequence, guint window,
                        gint64 deadline, GError **error);

/* Writes a message that is no document's: whoever acknowledges it leads, and has all that was acknowledged to
 * anybody before the call. */
gboolean jet_stream_mark(JetStream *stream, gint64 deadline, GError **error);

/* How many documents have messages, and the bytes of all messages, with what JetStream puts around them. */
gboolean jet_stream_size(JetStream *stream, guint64 *documents, guint64 *bytes, gint64 deadline,
                         GError **error);

/* Questions of which many are under way at once. Each returns a token, under which its answer comes; 0 where
 * it was not sent: there is no connection at the moment. */

/* Asks to store an entry where the document's last message has the sequence `after`. */
guint64 jet_stream_put(JetStream *stream, const DocName *document, guint64 number, guint64 after,
                       GBytes *entry);
/* Asks any member for the document's first message after `sequence`. */
guint64 jet_stream_ask(JetStream *stream, const DocName *document, guint64 sequence);

typedef struct {
  guint64 token;
  gboolean stored; /* answers a put: `ack`; else an ask: `entry`, whose sequence is 0 where there is none */
  JetAck ack;
  JetEntry entry;
} JetAnswer;
void jet_answer_clear(JetAnswer *answer);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(JetAnswer, jet_answer_clear)

/* The next answer; FALSE where none comes in time, or the connection is lost. An answer may be to a question
 * that was given up. */
gboolean jet_stream_answer(JetStream *stream, JetAnswer *answer, int timeout_ms);

/* Of the answers that have come: nobody waits for them any more. */
void jet_stream_forget(JetStream *stream);
