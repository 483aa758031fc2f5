/* A message to a group: signed by its sender's clone, so that whoever passes it on can change nothing. */
#pragma once

#include <glib.h>

#include "c2c/tree.h"
#include "identity/record.h"

#define GROUP_BODY_MAX     (48u << 10)                         /* bytes */
#define GROUP_MESSAGE_MAX  (GROUP_BODY_MAX + RECORD_MAX + 512) /* bytes of a packed message */
#define GROUP_ID_LENGTH    16
#define GROUP_PATIENCE_MAX 120000 /* ms that a report is waited for, at most */

typedef struct {
  char *group;
  IdentityPublic origin; /* the sender */
  guint8 id[GROUP_ID_LENGTH];
  guint64 sequence;                   /* microseconds since 1970, rising with each message of the sender */
  guint8 members[TREE_DIGEST_LENGTH]; /* digest of the sender's list */
  GBytes *body;
  GBytes *statement; /* what was signed */
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];

  /* What is not signed: from whoever brought it. */
  GBytes *record;    /* the sender's, not checked here; NULL: none */
  guint patience_ms; /* that a report is waited for, at most GROUP_PATIENCE_MAX */
  gboolean alone;    /* it goes to nobody else from here */

  guint holders; /* beside the first */
} GroupMessage;

GroupMessage *group_message_ref(const GroupMessage *message);
void group_message_free(GroupMessage *message); /* lets one holder go */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GroupMessage, group_message_free)

/* Makes one with a random id. USAGE for a name that is none or a body that is too long. */
GroupMessage *group_message_new(const char *group, const IdentityPublic *origin, guint64 sequence,
                                const guint8 members[TREE_DIGEST_LENGTH], const void *body, gsize length,
                                const IdentityKey *clone_key, GError **error);

/* Decodes one, all of it checked but the signature. HOSTILE. */
GroupMessage *group_message_decode(const void *data, gsize length, GError **error);

/* FALSE: DENIED. `clone_key`: the present one of the origin's record. */
gboolean group_message_verify(const GroupMessage *message, const IdentityPublic *clone_key, GError **error);

/* As it travels to one member; with the record that it has. */
GBytes *group_message_pack(const GroupMessage *message, guint patience_ms, gboolean alone);

/* What is answered to one (GroupAnswer on the wire). */
typedef enum {
  GROUP_FORWARDS = 1,
  GROUP_DELIVERED,
  GROUP_REFUSED,
  GROUP_WORKING,
  GROUP_DONE,
} GroupStatus;

#define GROUP_ANSWER_MAX 4096u /* bytes, packed, without its length */
#define GROUP_MISSED_MAX 1000u /* places in one answer */
#define GROUP_PREFIX     2     /* bytes before an answer: its length, the higher first */

typedef struct {
  GroupStatus status;
  char *words;    /* with REFUSED: why; printable */
  guint reached;  /* below who answers, so far */
  GArray *missed; /* of guint: places in the sender's tree, rising; with WORKING and DONE. NULL: none */
} GroupAnswer;
void group_answer_clear(GroupAnswer *answer);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GroupAnswer, group_answer_clear)

/* One answer after its length; of `missed` at most GROUP_MISSED_MAX. */
GBytes *group_answer_new(const GroupAnswer *answer);

/* The first answer in `data`: the bytes that it takes, 0 where it is not there yet, -1 with HOSTILE. */
gssize group_answer_take(const guint8 *data, gsize length, GroupAnswer *answer, GError **error);
