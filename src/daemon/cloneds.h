/* cloneds' verbs. Each gets the arguments from its own name on, prints its own errors, and returns the exit
 * status: 0 done, 1 not done, 2 misused. */
#pragma once

#include "c2c/directory_store.h"

int cloneds_serve(int argc, char **argv);
int cloneds_key(int argc, char **argv);
int cloneds_list(int argc, char **argv);
int cloneds_show(int argc, char **argv);
int cloneds_check(int argc, char **argv);
int cloneds_peer(int argc, char **argv);

#define CLONEDS_STATE_HELP                                                                                   \
  "Where the directory keeps its key and, by default, its records (/var/lib/cloneds, or "                    \
  "~/.local/state/cloneds for who is not root)"
#define CLONEDS_STORE_HELP                                                                                   \
  "Where records are (sqlite:STATE/directory.db): sqlite:PATH, or etcd://HOST:PORT[,HOST:PORT...]/PREFIX"

/* Where a directory is: what every verb may be told. */
typedef struct {
  char *state, *store;
} ClonedsPlace;
void cloneds_place_clear(ClonedsPlace *place);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ClonedsPlace, cloneds_place_clear)

/* Fills in what was not said, and makes the state directory. */
gboolean cloneds_place_complete(ClonedsPlace *place, GError **error);

/* The directory's key, made at first use. */
IdentityKey *cloneds_place_key(const ClonedsPlace *place, GError **error);

/* The list of its peers, and what a server tells about them: paths, the caller's. */
char *cloneds_place_peers(const ClonedsPlace *place);
char *cloneds_place_peers_status(const ClonedsPlace *place);

/* The store of a directory that exists: who only looks makes none. */
DirectoryStore *cloneds_place_look(const ClonedsPlace *place, GError **error);

/* Parses the options of a verb. FALSE, with *status, where the verb is over: misuse. Exactly `words` words
 * stay from argv[1] on. */
gboolean cloneds_parse(GOptionContext *context, int *argc, char ***argv, int words, int *status);

/* Prints "cloneds VERB: message" and returns the exit status that the error's code means. */
int cloneds_fail(const char *verb, const GError *error);
