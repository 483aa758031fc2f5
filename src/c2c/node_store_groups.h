/* What a clone's node keeps of messages to groups: which were here, those that no program has taken yet, and
 * those of its own that somebody has not got yet. All of it bounded by number, bytes and age. */
#pragma once

#include "c2c/group_message.h"
#include "c2c/group_seen.h"
#include "c2c/node_store.h"

#define NODE_LETTERS_MAX       256        /* that wait for a program; the oldest make room */
#define NODE_LETTERS_BYTES_MAX (4u << 20) /* of them */
#define NODE_SENT_MAX          256        /* own messages of the last days; the oldest make room */
#define NODE_SENT_BYTES_MAX    (8u << 20) /* of those that are kept for somebody */

/* For a clone that is another user's now: all of it. */
gboolean node_store_forget_messages(NodeStore *store, GError **error);

/* ---- that came ---- */

/* Whether it was here before, remembered; a new one is kept for a program, in the same transaction. STALE
 * with an error where the store cannot be written. */
GroupNews node_store_take(NodeStore *store, const GroupMessage *message, guint64 now_us, GError **error);

typedef struct {
  gint64 id;
  IdentityPublic origin;
  GBytes *body;
} NodeLetter;
void node_letter_free(NodeLetter *letter);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeLetter, node_letter_free)

/* The oldest that waits in that group, later than `after` (0: of all), and that it waits no more. NULL
 * without an error: there is none. */
NodeLetter *node_store_next_letter(NodeStore *store, const char *group, gint64 after, GError **error);
gboolean node_store_drop_letter(NodeStore *store, gint64 id, GError **error);

/* ---- that were sent ---- */

/* Keeps an own message before it is sent to `members` others. */
gboolean node_store_keep_sent(NodeStore *store, const GroupMessage *message, guint members, GError **error);
/* It was not sent after all. */
gboolean node_store_drop_sent(NodeStore *store, guint64 sequence, GError **error);
/* The number of the last one that is known of, 0: none. */
guint64 node_store_last_sent(NodeStore *store);
/* It has gone through the tree: `missed` (of IdentityPublic) have not got it, and it is kept for them. */
gboolean node_store_spread(NodeStore *store, guint64 sequence, const GArray *missed, GError **error);
/* Those that have not: an array of GBytes, packed. */
GPtrArray *node_store_unspread(NodeStore *store, GError **error);

/* Who waits for anything: an array of IdentityPublic. */
GArray *node_store_awaiting(NodeStore *store, GError **error);
/* The oldest that one waits for, packed. NULL without an error: none. */
GBytes *node_store_next_awaited(NodeStore *store, const IdentityPublic *origin, guint64 *sequence,
                                GError **error);
/* It has it; or it has not, because of `trouble`. */
gboolean node_store_reached(NodeStore *store, guint64 sequence, const IdentityPublic *origin, GError **error);
gboolean node_store_missed(NodeStore *store, guint64 sequence, const IdentityPublic *origin,
                           const char *trouble, GError **error);
/* What is too old is kept for nobody. */
gboolean node_store_expire(NodeStore *store, guint64 now_us, GError **error);

typedef struct {
  guint64 sequence;
  char *group;
  guint members, waiting, given_up;
  gboolean spread;
} NodeSent;
void node_sent_free(NodeSent *sent);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeSent, node_sent_free)
/* The newest first; `sequence` 0: all of them. */
GPtrArray *node_store_sent(NodeStore *store, guint64 sequence, GError **error);

typedef struct {
  IdentityPublic origin;
  char *name; /* as the owner's contacts have it; NULL: none */
  char *trouble;
  guint tries;
} NodeAwaited;
void node_awaited_free(NodeAwaited *awaited);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeAwaited, node_awaited_free)
/* A page of who waits for a message, by origin, after `after` (NULL: the first). */
GPtrArray *node_store_awaited(NodeStore *store, guint64 sequence, const IdentityPublic *after, guint most,
                              GError **error);
