/* Processes of doppeld: one per session, one per pairing. */
#pragma once

#include "daemon/daemon.h"
#include "daemon/programs.h"
#include "daemon/state.h"
#include "link/callers.h"
#include "replicator/job_bounds.h"

typedef enum { DAEMON_SESSION, DAEMON_PAIRING, DAEMON_NODE } DaemonWorkerKind;

typedef struct {
  DaemonWorkerKind kind;
  pid_t pid;
  int control_fd; /* of a session or a node: sockets go there, and the key comes back that the device has
                     proved */
  gboolean proved;
  IdentityPublic device; /* that has proved it */
  gint64 deadline;       /* CLOCK_MONOTONIC ns: to be proved by then; G_MAXINT64 afterwards */
  gint64 began_at;       /* CLOCK_MONOTONIC ns */
  gint64 kill_at;        /* when to stop waiting for its end; 0: not ending */
  LinkCallerSource source;
  LinkPreamble preamble;
  char *clone_name;
} DaemonWorker;
void daemon_worker_free(DaemonWorker *worker);

/* What workers need to know. */
typedef struct {
  DaemonState *state;
  const char *state_directory, *tmp;
  const char *root; /* of all clones; NULL: each has what its device synchronised */
  JobBounds jobs;   /* of each background job */
  DaemonPrograms *programs;
  char **c2c_addresses; /* where other clones reach this host; NULL: where it listens */
  DaemonSessionMain run;
} DaemonWorkplace;

/* Forks a session's process for `clone`. Takes `fd`. NULL with an error. */
DaemonWorker *daemon_worker_session(const DaemonWorkplace *place, int fd, const LinkPreamble *preamble,
                                    const DaemonClone *clone, GError **error);

/* Forks a process that answers one pairing request, the only one to know the host's secret key. Takes `fd`.
 */
DaemonWorker *daemon_worker_pairing(const DaemonWorkplace *place, int fd, const LinkPreamble *preamble,
                                    GError **error);

/* Forks a process with nothing open but the standard streams, `kept` (-1: nothing) and *control_fd, one end
 * of a socket pair whose other end is the parent's *control_fd. 0 in the child; -1 with an error. */
pid_t daemon_worker_fork(const DaemonWorkplace *place, int kept, int *control_fd, GError **error);
DaemonWorker *daemon_worker_new(DaemonWorkerKind kind, pid_t pid, int control_fd,
                                const LinkPreamble *preamble);
