/* What the files of receive.h share. */
#pragma once

#include "base/io.h"
#include "replica/generation_store.h"
#include "replicator/receive.h"
#include "replicator/sync_message.h"

typedef struct {
  Link *link;
  const ReplicatorPlace *place;
  int control_fd;         /* -1: no more sockets will come */
  Fd directory;           /* of the replica; -1: there is none */
  Fd lock, live;          /* locks of the session that writes (receive_open.c) */
  GenerationStore *store; /* of a session that writes */
  Fd public_set;          /* what the host's public base has, as the device was told; -1: nothing */
  Fd readable;            /* the store's directory, of one that only reads; -1: there is none */
  gboolean greeted, over;
  gboolean committed; /* a generation was made: the store is to be tidied */
  guint64 durable;    /* that the device was told */
  GArray *mismatches; /* of guint64, of the attempt */
  guint grant;        /* messages of an answer that may still be sent */
} Receiver;

/* Waits for the link or for another socket of the session, at most `timeout_ms` (-1: as long as it takes),
 * and does what there is to do for the link. FALSE with an error when the link is dead. */
gboolean receiver_wait(Receiver *receiver, int timeout_ms, GError **error);

/* receive_open.c: see ReplicatorPlace. */
void receiver_enter(guint32 uid, guint32 gid);
/* The store. Opening it to write waits for whoever else does. */
gboolean receiver_open(Receiver *receiver, gboolean write, GError **error);
/* Whether another session waits for the store. */
gboolean receiver_is_awaited(Receiver *receiver);
/* The directory of the store, or -1: there is none yet. */
int receiver_store(Receiver *receiver);

/* receive_attempt.c: an attempt's messages. FALSE with an error that ends the session. */
gboolean receiver_begin(Receiver *receiver, const Doppel__Sync__Attempt *begin, GError **error);
gboolean receiver_abandon(Receiver *receiver, GError **error);
gboolean receiver_step(Receiver *receiver, const Doppel__Sync__Step *step, GError **error);
gboolean receiver_welcome(Receiver *receiver, GError **error);
/* Tells the device how far the attempt is durable, if it does not know. */
gboolean receiver_tell_durable(Receiver *receiver, GError **error);

void receiver_generation(const GenerationRecord *record, Doppel__Sync__Generation *message);

/* receive_show.c: looking. */
gboolean receiver_list(Receiver *receiver, GError **error);
gboolean receiver_show(Receiver *receiver, const Doppel__Sync__Show *show, GError **error);

/* receive_keep.c: what is kept, by the wish of the device's owner. The lock is held while that is changed,
 * and while a store is tidied up by it: a generation that was pinned does not go. */
gboolean receiver_keep(Receiver *receiver, const Doppel__Sync__Keep *message, GError **error);
/* A descriptor that holds it, or -1 with an error. */
int receiver_keep_lock(Receiver *receiver, GError **error);

/* receive_fetch.c */
gboolean receiver_fetch(Receiver *receiver, const Doppel__Sync__Fetch *message, GError **error);

/* receive_public.c: the host's public base. How many bytes what it has can be told in; 0: nothing. */
guint64 receiver_public_length(Receiver *receiver);
gboolean receiver_public(Receiver *receiver, const Doppel__Sync__Contents *question, GError **error);

/* receive_compare.c */
gboolean receiver_compare(Receiver *receiver, const Doppel__Sync__Compare *compare, GError **error);

/* receive_answer.c: an answer of many messages. */
typedef struct {
  Receiver *receiver;
  GPtrArray *entries; /* of Doppel__Sync__Entry, not sent yet */
  gsize bytes;        /* of them, roughly */
  GError *error;      /* the first; nothing is sent after it */
} ReceiverAnswer;

void receiver_answer_init(ReceiverAnswer *answer, Receiver *receiver, guint grant);
/* The path; `facts` and `hash` may be NULL. FALSE after an error. */
gboolean receiver_answer_add(ReceiverAnswer *answer, const char *path, const ReplicaFacts *facts,
                             const guint8 *hash, Doppel__Sync__Change change);
/* A further name of the file that was added as `to`. */
gboolean receiver_answer_link(ReceiverAnswer *answer, const char *path, const char *to,
                              const ReplicaFacts *facts);
/* The content of the last entry: what of the `size` bytes of `fd` is from `offset` on. */
gboolean receiver_answer_content(ReceiverAnswer *answer, int fd, guint64 offset, guint64 size);
/* Bytes of no entry. */
gboolean receiver_answer_bytes(ReceiverAnswer *answer, const guint8 *bytes, gsize length);
/* Sends the rest, and End. FALSE with the first error. */
gboolean receiver_answer_end(ReceiverAnswer *answer, GError **error);

/* Opens a file of a layer to be read. A descriptor, or -1 with errno. */
int receiver_open_file(int directory, const char *name);
