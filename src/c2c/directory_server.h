/* CloneDS: answers questions over links (wire/directory.proto), whoever asks. No question makes another
 * wait for long: records are verified in a pool of threads, the store has threads of its own, and what came
 * while a commit was under way goes into the next as one.
 *
 * A server lives in a GMainContext's thread; only what says so runs elsewhere. */
#pragma once

#include "c2c/directory_head.h"
#include "link/door.h"

typedef struct DirectoryServer DirectoryServer;
typedef struct DirectoryHandler DirectoryHandler;

/* A record that wants to be registered (update NULL) or was told by a peer. */
typedef struct {
  Record *record;
  GBytes *update; /* a packed DirectorySigned of the record's home; NULL: registered here */
  /* Once judged: OK, STALE, TAKEN, FAILED or BUSY. */
  gboolean judged;
  DirectoryStatus status;
  const char *words; /* static, or NULL */
  guint64 number;    /* in the own log */
} DirectoryCandidate;

/* A question on its way to its answer. */
typedef struct {
  DirectoryServer *server;
  const DirectoryHandler *handler;
  DirectoryQuestion *question;
  IdentityPublic peer;                                            /* who asks: the key that was proved */
  GPtrArray *candidates;                                          /* of DirectoryCandidate */
  DirectoryAnswer *answer;                                        /* the task's */
  void (*done)(GPtrArray *candidates, gpointer data);             /* of directory_server_submit() */
  void (*answered)(const DirectoryAnswer *answer, gpointer data); /* of directory_server_read() */
  gpointer data;
  guint64 connection;
  gboolean proves, proved; /* whether to look if `peer` is registered here; it is */
} DirectoryTask;

/* How one kind of question is answered. */
struct DirectoryHandler {
  DirectoryWhat what;
  guint price; /* of what a source of addresses may ask in a time */

  /* A read: in a thread of the store's. `state` is not newer than what the store will say. Sets task->answer;
   * where that is OK or UNKNOWN it gets a signed head of that state. FALSE with an error: FAILED. */
  gboolean (*read)(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error);

  /* A write has these instead. verify(): in a thread of the pool; adds candidates with
   * directory_task_add(), or sets task->answer and returns FALSE. judged(): in the committing thread, when
   * every candidate is; sets task->answer. */
  gboolean (*verify)(DirectoryTask *task);
  void (*judged)(DirectoryTask *task);
};

/* Takes both. */
void directory_task_add(DirectoryTask *task, Record *record, GBytes *update);

/* Sets the answer. */
void directory_task_answer(DirectoryTask *task, DirectoryStatus status, const char *message);

typedef struct {
  const IdentityKey *key;  /* the directory's; borrowed */
  const char *store;       /* directory_store_open()'s URI */
  const GArray *providers; /* of IdentityPublic: only their users are registered; NULL: all; borrowed */
  guint rate; /* of an address, and of each key that is registered: price of questions in a second; 0: any */
  const DirectoryHandler *handlers; /* before the server's own; borrowed */
  guint handlers_count;
  /* After a commit, in the server's thread: what was registered here (not what peers told). */
  void (*registered)(DirectoryServer *server, const DirectoryPut *puts, guint count, gpointer data);
  gpointer data;
} DirectoryServerOptions;
#define DIRECTORY_RATE 200

/* `context` NULL: the default one. NULL with an error where the store cannot be used. */
DirectoryServer *directory_server_new(const DirectoryServerOptions *options, GMainContext *context,
                                      GError **error);

/* Ends connections, and threads when they have done what they were doing. */
void directory_server_free(DirectoryServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryServer, directory_server_free)

/* Accepts connections from now on. Takes the listening socket `fd`. */
void directory_server_listen(DirectoryServer *server, int fd);

/* From any thread. */
const IdentityKey *directory_server_key(const DirectoryServer *server);
gpointer directory_server_data(const DirectoryServer *server);

/* In the server's thread: has candidates (an array of DirectoryCandidate, verified by the caller; taken)
 * judged and committed; `done` gets them back, in the server's thread, to look at. */
void directory_server_submit(DirectoryServer *server, GPtrArray *candidates,
                             void (*done)(GPtrArray *candidates, gpointer data), gpointer data);
GPtrArray *directory_candidates_new(void);

/* In the server's thread: what is done in a thread of the store's, where `read` returns the task's answer
 * as a handler does (with a head), and `done` gets it; question->what need not be one that is asked. */
void directory_server_read(DirectoryServer *server, const DirectoryHandler *handler,
                           DirectoryQuestion *question,
                           void (*done)(const DirectoryAnswer *answer, gpointer data), gpointer data);

/* What was done so far, for people and tests. */
typedef struct {
  guint64 questions, busy; /* asked; of them answered BUSY */
  guint64 commits, registered;
  LinkDoorCounters door;
} DirectoryCounters;
DirectoryCounters directory_server_counters(const DirectoryServer *server);
