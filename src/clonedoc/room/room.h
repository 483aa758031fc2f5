/* The documents that a member keeps (Clone2Clone section 5): in the member's clone, where it works while the
 * device is away; or, the very same, on the device (SPORC). It talks with the ordering servers, checks what
 * they say, keeps everything, and converses with the devices' copies (clonedoc/pair.h) and with the other
 * members' rooms.
 *
 * Everything is in one SQLite file, and only what is in it is ever said: each step of doc_room_work() takes
 * what has come, changes the documents, their copies and what is known of others, keeps all of it in one
 * transaction, and only then lets the answers and entries out that follow from it. So it may be killed at any
 * time, and goes on from the step before: servers and devices say again what was not kept.
 *
 * A fault of the server's is named, with evidence where there is any (clonedoc/evidence.h), and that document
 * takes nothing more from there; what is typed is kept for doc_document_recover(), which a question begins.
 * Everything of servers, members, and their clones is HOSTILE until it was checked. */
#pragma once

#include <poll.h>

#include "clonedoc/room/room_call.h"

typedef struct DocRoom DocRoom;

typedef struct {
  const char *path;       /* of the file */
  const IdentityKey *key; /* of this member: signs its entries, and is known to servers; borrowed */
  IdentityPublic user;    /* origin key of whose it is */
  guint interval_ms;      /* between two tellings of heads to a member, while something happens */
  guint entries_each;     /* or as many entries */
  guint checkpoint_each;  /* entries between checkpoints */
  guint documents_max;
  guint invitations_max;  /* that were not accepted; of one user a quarter */
  guint64 document_bytes; /* of the entries that are kept of one document */
  /* Devices are on this machine, where a row costs nothing: they are told when what they typed is with the
   * server, too. */
  gboolean beside;
  /* What others do to the shown text, for an editor in this process; or NULL. */
  void (*shown)(const DocName *document, const OtOp *op, gpointer data);
  gpointer data;
} DocRoomOptions;
#define DOC_ROOM_OPTIONS_DEFAULT                                                                             \
  (DocRoomOptions)                                                                                           \
  {                                                                                                          \
    .interval_ms = 10000, .entries_each = 16, .checkpoint_each = 512, .documents_max = 256,                  \
    .invitations_max = 64, .document_bytes = G_GUINT64_CONSTANT(1) << 30                                     \
  }

/* Makes the file where there is none. NULL with an error. */
DocRoom *doc_room_open(const DocRoomOptions *options, GError **error);
void doc_room_free(DocRoom *room);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocRoom, doc_room_free)

/* ---- driving: nothing blocks but the disk ---- */

/* Adds what to poll for to `fds` (of struct pollfd), and shortens *timeout_ms (-1: for ever). */
void doc_room_prepare(DocRoom *room, GArray *fds, int *timeout_ms);

/* The next step. FALSE: it could not be kept; the room is to be freed, and can be opened again. */
gboolean doc_room_work(DocRoom *room, GError **error);

/* ---- conversations ---- */

typedef enum {
  DOC_ROOM_DEVICE, /* of the member's own: may ask and change everything */
  DOC_ROOM_INVITE, /* "doc-invite", of that user's clone */
  DOC_ROOM_HEADS,  /* "doc-heads", likewise: anybody's, of whom only members are answered */
} DocRoomService;

/* A stream socket, taken, on which somebody converses until they or the room end it. `user` (their origin
 * key) and `name` are for INVITE and HEADS; copied. */
void doc_room_converse(DocRoom *room, int fd, DocRoomService service, const IdentityPublic *user,
                       const char *name);

/* How many there are. */
guint doc_room_talks(const DocRoom *room);

/* ---- what others have to be told ---- */

/* One message to another user's clone, answered by one: the caller's to carry, over a stream to that service.
 */
typedef struct {
  guint64 id;
  IdentityPublic user;
  const char *service; /* "doc-invite", "doc-heads" */
  GBytes *message;     /* a frame's content */
} DocErrand;
void doc_errand_free(DocErrand *errand);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocErrand, doc_errand_free)

/* The next, the caller's; NULL: none now. Each ends by the other function; a document has one at a time with
 * a user. */
DocErrand *doc_room_next_errand(DocRoom *room);
/* `answer` NULL: it did not get there, because of `why`. */
void doc_room_errand_done(DocRoom *room, guint64 id, GBytes *answer, const GError *why);
