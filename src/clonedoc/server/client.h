/* The client's side of a conversation with an ordering server. It connects and connects again by itself, and
 * asks again what was not answered: an append is the very same entry, which has one number however often it
 * is sent, and a follow goes on where it was. What is BUSY is asked again, too.
 *
 * Whatever the server says is HOSTILE until it was checked. Checked here: that it is an answer to a call, and
 * that its head is signed by that server, is the document's, and is as long as what is told. What entries say
 * is for clonedoc/history.h: they are handed on as they came, with the numbers that the server says.
 *
 * Driven by its owner as a link is: doc_client_prepare() and poll(), then doc_client_work() and
 * doc_client_take() (or by a GMainContext: link/link_source.h). Nothing blocks. */
#pragma once

#include "clonedoc/server/call.h"

typedef struct DocClient DocClient;

/* An answer to a call; of a follow there are many. */
typedef struct {
  guint64 call;
  DocWhat what;
  DocName document;
  DocAnswer *answer;
  DocHead head; /* checked; `packed` NULL where there is none: not with OK or UNKNOWN */
} DocClientEvent;
void doc_client_event_free(DocClientEvent *event);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocClientEvent, doc_client_event_free)

/* Of the server with that key; `own` is borrowed. NULL: USAGE for addresses that are none. */
DocClient *doc_client_new(const char *const *addresses, const IdentityPublic *server, const IdentityKey *own,
                          GError **error);
void doc_client_free(DocClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocClient, doc_client_free)

/* Begin a call. Its id, which the events have. */
guint64 doc_client_append(DocClient *client, const DocName *document, GBytes *entry);
guint64 doc_client_read(DocClient *client, const DocName *document, guint64 from, guint count);
guint64 doc_client_head(DocClient *client, const DocName *document);
guint64 doc_client_follow(DocClient *client, const DocName *document, guint64 from);

/* Ends a follow, or forgets a call: no more events of it. */
void doc_client_end(DocClient *client, guint64 call);

/* As link_prepare(); `client` is a DocClient. */
guint doc_client_prepare(gpointer client, struct pollfd *fds, int *timeout_ms);

/* FALSE: HOSTILE, the server said what no correct one says, and is not asked any more. */
gboolean doc_client_work(DocClient *client, GError **error);

/* The next, the caller's; NULL: none yet. */
DocClientEvent *doc_client_take(DocClient *client);

/* Both, until there is one. NULL with an error: GONE after `timeout_ms`, or HOSTILE. */
DocClientEvent *doc_client_await(DocClient *client, int timeout_ms, GError **error);

gboolean doc_client_is_up(const DocClient *client);
/* Why it is not; NULL where that is not known. */
const GError *doc_client_trouble(const DocClient *client);
/* Of the connection now; NULL: there is none. */
const LinkCounters *doc_client_counters(DocClient *client);
