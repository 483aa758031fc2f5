/* doppeld's verbs. Each gets the arguments from its own name on, prints its own errors, and returns the exit
 * status: 0 done, 1 not done, 2 misused. */
#pragma once

#include "augmenter/session.h"
#include "daemon/program.h"

typedef int (*DaemonSessionMain)(Link *link, const AugmenterSession *session);

/* All of doppeld; `run` serves a session, in a process of its own. */
int daemon_main(int argc, char **argv, DaemonSessionMain run);

/* What daemon_main() was given. */
DaemonSessionMain daemon_session_main(void);

int daemon_serve(int argc, char **argv);
int daemon_invite(int argc, char **argv);
int daemon_clones(int argc, char **argv);
int daemon_base(int argc, char **argv);
int daemon_revoke(int argc, char **argv);

#define DAEMON_STATE_HELP                                                                                    \
  "Where the host keeps keys and clones (/var/lib/doppeld, or ~/.local/state/doppeld for who is not root)"

/* Parses the options of a verb. FALSE, with *status, where the verb is over: help was shown, or misuse.
 * Exactly `words` words stay from argv[1] on; where it is negative, as many or more. */
gboolean daemon_parse(GOptionContext *context, int *argc, char ***argv, int words, int *status);

/* Prints "doppeld VERB: message" and returns the exit status that the error's code means. */
int daemon_fail(const char *verb, const GError *error);
