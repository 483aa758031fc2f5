/* What is said to a room and by it (wire/doc_room.proto), checked as it is taken: what comes out of here is
 * within the limits below, names have their lengths, and what may be shown is one line of UTF-8 each. Both
 * sides of each conversation use it. */
#pragma once

#include "clonedoc/envelope.h"
#include "clonedoc/pair.h"
#include "wire/doc_room.pb-c.h"
#include "wire/stream.h"

#define DOC_ROOM_FRAME_MAX     (DOC_PAIR_MESSAGE_MAX + 256) /* bytes, of a device's conversation */
#define DOC_ROOM_PEER_MAX      (10u << 20)                  /* of one between clones: an entry, and proofs */
#define DOC_ROOM_TITLE_MAX     200u                         /* bytes */
#define DOC_ROOM_USER_MAX      256u
#define DOC_ROOM_WORDS_MAX     1200u
#define DOC_ROOM_ADDRESSES_MAX 16u
#define DOC_ROOM_ADDRESS_MAX   256u
#define DOC_ROOM_COPY_LENGTH   16
#define DOC_ROOM_PROOF_PIECE   (1u << 20)
#define DOC_ROOM_LOG_MAX       10000u
#define DOC_ROOM_HEADS_MAX     64u /* in a message */

typedef Doppel__Room__Question DocRoomQuestion;
typedef Doppel__Room__Answer DocRoomAnswer;
typedef Doppel__Room__Invitation DocRoomInvitation;
typedef Doppel__Room__Heads DocRoomHeads;
typedef Doppel__Room__PeerAnswer DocRoomPeerAnswer;
typedef Doppel__Room__Caller DocRoomCaller;
#define DOC_ROOM_ASK(NAME)  DOPPEL__ROOM__QUESTION__WHAT_##NAME
#define DOC_ROOM_TELL(NAME) DOPPEL__ROOM__ANSWER__WHAT_##NAME
#define DOC_ROOM_WHY(NAME)  DOPPEL__ROOM__WHY__##NAME

/* NULL: HOSTILE. */
DocRoomQuestion *doc_room_question_take(const void *data, gsize length, GError **error);
DocRoomAnswer *doc_room_answer_take(const void *data, gsize length, GError **error);
DocRoomInvitation *doc_room_invitation_take(const void *data, gsize length, GError **error);
DocRoomHeads *doc_room_heads_take(const void *data, gsize length, GError **error);
DocRoomPeerAnswer *doc_room_peer_answer_take(const void *data, gsize length, GError **error);
DocRoomCaller *doc_room_caller_take(const void *data, gsize length, GError **error);

void doc_room_question_free(DocRoomQuestion *question);
void doc_room_answer_free(DocRoomAnswer *answer);
void doc_room_invitation_free(DocRoomInvitation *invitation);
void doc_room_heads_free(DocRoomHeads *heads);
void doc_room_peer_answer_free(DocRoomPeerAnswer *answer);
void doc_room_caller_free(DocRoomCaller *caller);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocRoomQuestion, doc_room_question_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocRoomAnswer, doc_room_answer_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocRoomInvitation, doc_room_invitation_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocRoomHeads, doc_room_heads_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocRoomPeerAnswer, doc_room_peer_answer_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocRoomCaller, doc_room_caller_free)

/* What may be shown, and where a server may be, as above: of what was kept in a file. */
gboolean doc_room_is_line(const char *text, gsize least, gsize most);
gboolean doc_room_are_addresses(char **addresses, gsize count, gsize least);

/* An error as the room says it, `words` (the caller's) on one line; and what was said as an error (FALSE). */
void doc_room_failed_init(Doppel__Room__Failed *failed, const GError *error, char **words);
gboolean doc_room_failed(const Doppel__Room__Failed *failed, GError **error);
