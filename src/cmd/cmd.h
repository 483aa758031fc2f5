/* The verbs of the command line, one per file. Each gets the arguments from its own name on, prints its own
 * errors, and returns the exit status: 0 done, 1 not done, 2 misused. `doppel run` returns what the program
 * returned. */
#pragma once

#include <glib.h>

int cmd_run(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_pair(int argc, char **argv);
int cmd_clones(int argc, char **argv);
int cmd_unpair(int argc, char **argv);
int cmd_name(int argc, char **argv);
int cmd_keep(int argc, char **argv);
int cmd_checkpoints(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_jobs(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_kill(int argc, char **argv);
int cmd_symbols(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_agent(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_sync(int argc, char **argv);
int cmd_snapshots(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_doc(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_gateway(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_outbox(int argc, char **argv);
int cmd_inbox(int argc, char **argv);
int cmd_share(int argc, char **argv);
int cmd_unshare(int argc, char **argv);
int cmd_shares(int argc, char **argv);
int cmd_search(int argc, char **argv);
int cmd_get(int argc, char **argv);
int cmd_forward(int argc, char **argv);
int cmd_whois(int argc, char **argv);
int cmd_peers(int argc, char **argv);
int cmd_allow(int argc, char **argv);
int cmd_deny(int argc, char **argv);
int cmd_contacts(int argc, char **argv);
int cmd_group(int argc, char **argv);
int cmd_energy(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_profile(int argc, char **argv);
int cmd_rules(int argc, char **argv);

/* Brings the clone's copy of this device's files up to date, as "doppel sync" does, where it has one; `clone`
 * as for paired_find(). */
gboolean cmd_sync_again(const char *clone, GError **error);

/* Prints "doppel VERB: message" and returns the exit status that the error's code means. */
int cmd_fail(const char *verb, const GError *error);

/* Parses the options of a verb's `context`, which it frees; between `minimum` and `maximum` words stay in
 * argv[1]... FALSE, after telling the user, when there are more or fewer or the options are wrong: return 2
 * then. */
gboolean cmd_parse(GOptionContext *context, int *argc, char ***argv, int minimum, int maximum);
