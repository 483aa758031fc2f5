/* The processes that answer streams in a clone (c2c/service.h): one for each conversation, forked by a
 * *zygote*, a process with one thread that is forked from the node before that has opened anything. A crash,
 * a loop or a hunger for memory of one is nobody else's. All of them end with the node. */
#pragma once

#include "c2c/service.h"

#define SPAWNER_PROCESSES   64  /* at a time */
#define SPAWNER_PER_PEER    8   /* of one user, at a time */
#define SPAWNER_PER_OWNER   32  /* of the clone's own user */
#define SPAWNER_FAREWELL_MS 500 /* between the end of a conversation's time and SIGKILL */
#define SPAWNER_MEMORY      (1ull << 30)
#define SPAWNER_SECONDS     (24u * 3600)
#define SPAWNER_FILES       256u
#define SPAWNER_MESSAGE_MAX 4096u

typedef struct Spawner Spawner;

typedef struct {
  guint64 id;
  int status, signal; /* of its exit; the signal that ended it, 0: none */
  gboolean overtime;  /* its time was over */
  gboolean refused;   /* it could not be begun */
} SpawnerExit;

/* Forks the zygote, to which only the standard streams stay open: the caller has one thread. All of
 * `services` (the last one's name NULL) and `place` must live as long. NULL with an error. */
Spawner *spawner_new(const Service *services, const ServiceTask *tasks, const ServicePlace *place,
                     GError **error);

/* Begins the tasks (may be NULL: none), which are begun again when they end, less and less often. */
void spawner_begin_tasks(Spawner *spawner);

/* Ends all of its processes. */
void spawner_free(Spawner *spawner);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Spawner, spawner_free)

/* The service with that name ("forward:80" is "forward:"'s). NULL: there is none. */
const Service *spawner_service(const Spawner *spawner, const char *service);

/* Begins a process that answers `fd` (taken, also when it fails). 0 with an error: NOT_FOUND no such service,
 * DENIED it is for the owner only, GONE too many of them at present or no zygote; else the process's number
 * for spawner_next_exit(). The permission's limits (c2c/node_limits.h) apply; that of streams, to processes
 * of open services only. */
guint64 spawner_start(Spawner *spawner, int fd, const char *service, const ServicePeer *peer, GError **error);

/* Ends one early. */
void spawner_stop(Spawner *spawner, guint64 id);

/* How many there are at present. */
guint spawner_running(const Spawner *spawner);

/* Readable where spawner_next_exit() has something to do: TRUE with the next end of a process, FALSE where
 * there is none now. With *lost (set when the zygote itself is gone) nothing can be begun any more. */
int spawner_fd(const Spawner *spawner);
gboolean spawner_next_exit(Spawner *spawner, SpawnerExit *out, gboolean *lost);
