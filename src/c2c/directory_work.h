/* What the server has done in threads: verifying, reading, committing. Tasks go in from the server's thread
 * and come back there, in any order. */
#pragma once

#include "c2c/directory_server.h"

typedef struct DirectoryWork DirectoryWork;

typedef void (*DirectoryTaskDone)(DirectoryTask *task, gpointer server);

/* As in DirectoryServerOptions. `done` gets every task back, in `context`, `registered` what was committed.
 */
DirectoryWork *directory_work_new(const DirectoryServerOptions *options, GMainContext *context,
                                  DirectoryTaskDone done, void (*registered)(GArray *puts, gpointer server),
                                  gpointer server, GError **error);

/* Waits for the threads. Tasks that are under way come back to nobody. */
void directory_work_free(DirectoryWork *work);

/* Takes the task. With candidates it is committed as it is; else its handler says what is done. */
void directory_work_put(DirectoryWork *work, DirectoryTask *task);

const IdentityKey *directory_work_key(const DirectoryWork *work);
guint64 directory_work_commits(const DirectoryWork *work);

void directory_task_free(DirectoryTask *task);

/* directory_judge.c: what becomes of candidates, in the committing thread. */
typedef struct {
  DirectoryStore *store;
  IdentityPublic home; /* this directory */
  GHashTable *known;   /* IdentityPublic -> Record: what is stored, decoded */
} DirectoryJudge;
void directory_judge_init(DirectoryJudge *judge, DirectoryStore *store, const IdentityPublic *home);
void directory_judge_clear(DirectoryJudge *judge);

/* Judges and commits candidates (an array of DirectoryCandidate that are not judged) until all are. Appends
 * what was registered here to `registered` (of DirectoryPut with a record that is held). Number of commits.
 */
guint directory_judge_all(DirectoryJudge *judge, GPtrArray *candidates, GArray *registered);

/* Whether a record that is registered has that key: its user's, its clone's, or its device's. */
gboolean directory_record_is_of(const Record *record, const IdentityPublic *key);

/* directory_handlers.c */
extern const DirectoryHandler directory_handlers[];
extern const guint directory_handlers_count;

/* What handlers need to know of the options; from any thread. */
const GArray *directory_server_providers(const DirectoryServer *server);
