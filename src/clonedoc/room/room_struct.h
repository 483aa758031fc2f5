/* What a room is made of: for the files room*.c only. */
#pragma once

#include "base/database.h"
#include "base/io.h"
#include "clonedoc/document.h"
#include "clonedoc/room/room.h"
#include "clonedoc/server/client.h"

#define ROOM_COPIES_MAX 8u         /* of a document: of those that are not open one goes for a new one */
#define ROOM_TALKS_MAX  64u        /* conversations at a time */
#define ROOM_OUT_MAX    (4u << 20) /* bytes that wait to be read by the other end: no more is taken from it */
#define ROOM_STATE_EACH 256u       /* entries, after which all of a document is kept anew */
#define ROOM_PROOF_MAX  (1u << 20) /* bytes of one that other members are told, or believed */
#define MS(ms)          ((ms)*G_GINT64_CONSTANT(1000000))

typedef Doppel__Room__State RoomStage;
#define ROOM_STAGE(NAME) DOPPEL__ROOM__STATE__##NAME

/* A server that documents are at. */
typedef struct {
  DocRoom *room;
  char **addresses;
  IdentityPublic key;
  DocClient *client; /* NULL: it was found out */
  guint users;       /* documents */
} RoomServer;

/* A device's copy of a document. */
typedef struct {
  guint8 id[DOC_ROOM_COPY_LENGTH];
  DocPair *pair;
  gint64 used; /* seconds since 1970 */
  gboolean dirty;
} RoomCopy;

typedef enum { ROOM_INVITE_NONE, ROOM_INVITE_WANTED, ROOM_INVITE_DUE } RoomInvite;

/* What is known of a member's key, beside what the history says. */
typedef struct {
  IdentityPublic user, key;
  char *name;
  RoomInvite invite;
  guint64 entry; /* that made them a member; 0: not seen */
  gboolean from_now;
  gint64 due_at; /* the invitation, once more; CLOCK_MONOTONIC ns */
  guint tries;
  char *words;
  guint64 head; /* that they have shown */
  gint64 head_at;
  DocHead ahead; /* further than one's own: to be held against that when it is there */
  gint64 told;   /* how long the history was that they were told last; -1: none */
  gint64 told_at, asked_at;
  guint failures;   /* to tell them, since they were last heard of */
  gboolean soon;    /* to be told now, however many others there are */
  gint64 proofs_at; /* CLOCK_MONOTONIC ns: since then so many bytes of proofs of theirs were looked at */
  gsize proofs;
  gboolean proof_told, dirty;
} RoomPerson;

/* An entry that was taken, and has to be kept. */
typedef struct {
  guint64 number;
  GBytes *entry;
  DocVerdict verdict;
} RoomEntry;

typedef struct {
  DocRoom *room;
  DocName name;
  char *title;
  RoomServer *server;
  RoomStage stage; /* JOINED, INVITED, JOINING, RECOVERING */
  char *from;      /* who has invited, or NULL */
  IdentityPublic from_user;
  GBytes *invitation; /* the entry; NULL: it was made here */
  guint64 invitation_number;
  DocCheckpoint start;
  GBytes *start_entry;
  DocDocument *doc;  /* NULL: INVITED */
  DocDocument *onto; /* RECOVERING */
  guint64 give_next; /* RECOVERING: the number of the kept entry that the server is given; 0: none */
  GArray *given;     /* ... the calls, of guint64, of that one and those behind it; 0: it is answered */
  guint give_most;   /* ... so many at a time */
  guint64 follow, append, read, ask; /* calls; 0: none */
  GBytes *appended;                  /* what was sent last */
  gint64 again_at;                   /* CLOCK_MONOTONIC ns: after something failed; 0: at once */
  guint failures;
  char *words;
  guint64 bytes; /* of the entries that are kept */
  guint64 state_at;
  DocHead head, ahead; /* of the server's: the last that the history was held against; one further on */
  GBytes *proof;
  char *fault_words;
  gint64 fault_at, changed;
  guint64
      pardon; /* after a recovery: how long histories were that are known not to be this one's beginning */
  GPtrArray *fresh;  /* of RoomEntry */
  GPtrArray *copies; /* of RoomCopy */
  GPtrArray *people; /* of RoomPerson */
  gboolean facts_dirty, own_dirty, state_dirty, copies_dirty, left, stuck, forget_entries;
  guint64 forget_after;
  guint64 version; /* grows with what a row says of more than the text */
} RoomDocument;

typedef struct RoomCheck RoomCheck;

typedef enum { ROOM_STAY_NONE, ROOM_STAY_MEETS, ROOM_STAY_STAYS, ROOM_STAY_LEAVES } RoomStay;

typedef struct {
  DocRoom *room;
  Fd fd;
  DocRoomService service;
  gsize frame_max;
  IdentityPublic user;
  char *name;
  GByteArray *in, *held, *out;
  gboolean asked, ending, dead, ended; /* ended: the other end says nothing more */
  RoomDocument *document;              /* open, being verified, or invited to; borrowed */
  RoomCopy *copy;                      /* borrowed */
  guint64 told_version;
  DocRole told_role;
  gboolean told_settled;
  guint pace_ms;        /* of an open copy */
  gboolean said;        /* ... and that it has everything, */
  gboolean said_joined; /* of a history that was read */
  gint64 pair_at;   /* CLOCK_MONOTONIC ns: the pair's next message, no sooner; 0: there was none to be said */
  gboolean brief;   /* of a verification: the finding alone */
  gint64 verify_at; /* CLOCK_MONOTONIC ns, since when; 0: it is not being verified */
  RoomCheck *check; /* NULL: there is nothing to be read again */
  gboolean checked; /* that is over */
  gint64 told_at;   /* CLOCK_MONOTONIC ns: how far it is */
  RoomStay stay;
  gboolean hands;         /* the invitation of `invited` is waited for */
  IdentityPublic invited; /* their key */
  gint64 patience;        /* MEETS, LEAVES, `hands`: until when; else 0 */
  gint64 deadline;
} RoomTalk;

struct DocRoom {
  DocRoomOptions options;
  IdentityKey *key;
  sqlite3 *db;
  DatabaseStatements *statements;
  GPtrArray *servers;   /* of RoomServer */
  GPtrArray *documents; /* of RoomDocument */
  GPtrArray *talks;     /* of RoomTalk */
  GPtrArray *errands;   /* of RoomErrand: under way */
  guint64 last_errand;
  gboolean more; /* there is something to do at once */
};

/* room_store.c. Loads all; keeps all that is dirty, in one transaction. */
gboolean room_store_open(DocRoom *room, GError **error);
gboolean room_store_keep(DocRoom *room, GError **error);
/* Kept entries, from number `from` to `to` (of GBytes); what has not been kept yet among them. NULL: they are
 * not all there. */
GPtrArray *room_entries(const RoomDocument *document, guint64 from, guint64 to, GError **error);
/* What a member began with: nothing, the entry that invited, or a checkpoint. NULL with an error. */
DocDocument *room_document_begin(const RoomDocument *document, GError **error);
/* As kept: the state, NULL with FAILED where it is none; and the heads, numbers 0 where there are none. */
DocDocument *room_kept_state(const RoomDocument *document, GError **error);
gboolean room_kept_heads(const RoomDocument *document, DocHead *head, DocHead *ahead, GError **error);
typedef gboolean RoomEntryEach(guint64 number, GBytes *entry, DocVerdict verdict, gint64 time, gpointer data);
gboolean room_entries_each(const RoomDocument *document, guint64 from, guint64 to, RoomEntryEach *each,
                           gpointer data, GError **error);

/* room_document.c */
RoomDocument *room_document_new(DocRoom *room, const DocName *name, const char *title);
void room_document_free(RoomDocument *document);
RoomDocument *room_find(const DocRoom *room, const void *name);
RoomPerson *room_person(RoomDocument *document, const IdentityPublic *key);
RoomPerson *room_person_add(RoomDocument *document, const DocMember *member, const char *name);
void room_person_free(RoomPerson *person);
void room_copy_free(RoomCopy *copy);
void room_entry_free(RoomEntry *entry);
DocFault room_fault(const RoomDocument *document);
gboolean room_follows(const RoomDocument *document);
void room_words(RoomDocument *document, const char *words);
/* The history took something: what follows from that. */
void room_document_took(RoomDocument *document, guint64 number, GBytes *entry, const DocTaken *taken);
/* An operation on the shown text, which copies but for `except` (may be NULL) have to follow. */
void room_copies_edit(RoomDocument *document, const OtOp *op, const RoomCopy *except);
RoomCopy *room_copy_find(RoomDocument *document, const void *id);
RoomCopy *room_copy_add(RoomDocument *document, const void *id);
void room_document_follow(RoomDocument *document, const char *from, gsize from_bytes, const OtText *after);
void room_document_replace(RoomDocument *document, DocDocument *doc);

/* room_server.c */
RoomServer *room_server_get(DocRoom *room, char **addresses, gsize count, const IdentityPublic *key,
                            GError **error);
void room_server_leave(RoomServer *server);
void room_server_free(RoomServer *server);
void room_document_quiet(RoomDocument *document); /* ends its calls */
gboolean room_servers_work(DocRoom *room);        /* there may be more to do at once */
void room_servers_drive(DocRoom *room);           /* before keeping */
void room_servers_release(DocRoom *room);         /* after it */

/* room_fault.c. A head was told with entries up to `last`, or by another member. */
void room_faulty(RoomDocument *document, const GError *why, GBytes *proof);
void room_faulty_entry(RoomDocument *document, const GError *why, const DocAnswer *answer, guint index,
                       const DocHead *head);
void room_take_head(RoomDocument *document, DocHead *head);
void room_reached(RoomDocument *document);
/* TRUE: too much of theirs was looked at lately, and they have to say it again. */
gboolean room_peer_waits(const RoomDocument *document, const IdentityPublic *user,
                         const Doppel__Room__Head *told);
/* TRUE: they have not recovered from what this member has, and are to be told. */
gboolean room_peer_head(RoomDocument *document, const IdentityPublic *user, const Doppel__Room__Head *told);

/* room_check.c: what is kept of a document is read again, a little in each step. Whatever is wrong with it is
 * the disk's doing: it was checked when it was taken. */
RoomCheck *room_check_new(RoomDocument *document);
void room_check_free(RoomCheck *check);
gboolean room_check_step(RoomCheck *check); /* TRUE: it is over */
/* How far it has come; and what is wrong, NULL: nothing, with the entry where that is seen, 0: none. */
void room_check_progress(const RoomCheck *check, guint64 *number, guint64 *of);
const char *room_check_damage(const RoomCheck *check, guint64 *entry);
guint room_check_unread(const RoomCheck *check);

/* room_recover.c */
gboolean room_recover_begin(RoomDocument *document, char **addresses, gsize count, const IdentityPublic *key,
                            GError **error);
void room_recover_drive(RoomDocument *document);
void room_recover_read(RoomDocument *document, const DocClientEvent *event);
void room_recover_release(RoomDocument *document);
/* FALSE: it is of another call. */
gboolean room_recover_appended(RoomDocument *document, const DocClientEvent *event);

/* room_talk.c, room_answer.c */
void room_talk_free(RoomTalk *talk);
gboolean room_talks_work(DocRoom *room);
void room_talks_drive(DocRoom *room);
void room_talks_release(DocRoom *room);
void room_talks_forget(DocRoom *room, const RoomDocument *document, const RoomCopy *copy);
void room_tell_end(RoomTalk *talk);
void room_tell_failed(RoomTalk *talk, const GError *error);
void room_tell(RoomTalk *talk, DocRoomAnswer *answer, Doppel__Room__Answer__WhatCase what);
void room_tell_row(RoomTalk *talk, const RoomDocument *document);
void room_tell_people(RoomTalk *talk, const RoomDocument *document);
void room_tell_self(RoomTalk *talk);
gboolean room_tell_log(RoomTalk *talk, const RoomDocument *document, const Doppel__Room__Range *range,
                       GError **error);
void room_tell_finding(RoomTalk *talk, const RoomDocument *document); /* and what its check has found */

/* room_wait.c: what is answered when it has come to be */
void room_stay(RoomTalk *talk);
gboolean room_hand(RoomTalk *talk, RoomDocument *document, const Doppel__Room__Change *change,
                   GError **error);
void room_wait_drive(RoomTalk *talk);
/* Nothing is to be waited for: its server is away, refuses, or is not believed any more. */
gboolean room_is_vain(const RoomDocument *document);

/* room_change.c: what a question changes. */
RoomDocument *room_create(DocRoom *room, const Doppel__Room__Create *create, GError **error);
gboolean room_accept(RoomDocument *document, GError **error);
gboolean room_change(RoomDocument *document, const Doppel__Room__Change *change, GError **error);
gboolean room_leave(RoomDocument *document, gboolean unsent, GError **error);
RoomDocument *room_bring(DocRoom *room, const ProtobufCBinaryData *sealed, GError **error);
RoomPerson *room_meant(RoomDocument *document, const Doppel__Room__Change *change);

/* room_peer.c */
gboolean room_invitation_fill(const RoomDocument *document, const RoomPerson *person,
                              DocRoomInvitation *invitation, GBytes **entry, DocCheckpoint *checkpoint);
gboolean room_invitation_ready(const RoomDocument *document, const RoomPerson *person);
typedef struct RoomErrand RoomErrand;
void room_errand_free(RoomErrand *errand);
gboolean room_take_invitation(DocRoom *room, const IdentityPublic *user, const char *name,
                              const DocRoomInvitation *invitation, GError **error);
/* NOT_FOUND: this user is a member of none of them, as far as this room knows. */
gboolean room_answer_heads(RoomTalk *talk, const DocRoomHeads *heads, GError **error);
gboolean room_knows(const DocRoom *room, const IdentityPublic *user); /* a member of something */
void room_peers_soon(RoomDocument *document);                         /* tells heads to all members at once */
gboolean room_peers_asked(const RoomDocument *document, gint64 since);
guint room_peers_silent(const RoomDocument *document, gint64 since); /* who could not be asked */
gint64 room_peers_due(const DocRoom *room); /* CLOCK_MONOTONIC ns; G_MAXINT64: never */
