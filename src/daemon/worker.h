/* Processes of doppeld: one per session, one per pairing. */
#pragma once

#include "daemon/callers.h"
#include "daemon/daemon.h"
#include "daemon/state.h"

typedef enum { DAEMON_SESSION, DAEMON_PAIRING } DaemonWorkerKind;

typedef struct {
  DaemonWorkerKind kind;
  pid_t pid;
  int control_fd; /* of a session: sockets go there, one byte comes back when the device has proved its key */
  gboolean proved;
  gint64 deadline; /* CLOCK_MONOTONIC ns: to be proved by then; G_MAXINT64 afterwards */
  gint64 kill_at;  /* when to stop waiting for its end; 0: not ending */
  DaemonSource source;
  LinkPreamble preamble;
  char *clone_name;
} DaemonWorker;
void daemon_worker_free(DaemonWorker *worker);

/* What workers need to know. */
typedef struct {
  DaemonState *state;
  const char *state_directory, *root, *tmp;
  DaemonSessionMain run;
} DaemonWorkplace;

/* Forks a session's process for `clone`. Takes `fd`. NULL with an error. */
DaemonWorker *daemon_worker_session(const DaemonWorkplace *place, int fd, const LinkPreamble *preamble,
                                    const DaemonClone *clone, GError **error);

/* Forks a process that answers one pairing request, the only one to know the host's secret key. Takes `fd`.
 */
DaemonWorker *daemon_worker_pairing(const DaemonWorkplace *place, int fd, const LinkPreamble *preamble,
                                    GError **error);
