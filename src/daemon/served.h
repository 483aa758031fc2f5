/* What servers with a state directory of their own and a key that clients pin (cloneds, clonedocd) have in
 * common. `program` is the program's name, as its messages begin. */
#pragma once

#include "identity/key.h"

/* Fills in *state where it was not said (/var/lib/PROGRAM, or ~/.local/state/PROGRAM for who is not root),
 * and makes the directory. DENIED where others can enter it. */
gboolean served_complete_state(const char *program, char **state, GError **error);

/* Only one serves a state at a time: DENIED where another one does. `what` it serves, for the message. *fd is
 * the caller's, for as long as it serves. */
gboolean served_lock(const char *program, const char *state, const char *what, int *fd, GError **error);

/* Listens on the addresses (NULL: `port` of every address). Appends descriptors (which do not block) to `fds`
 * (of int) and what they are bound to to `names`. */
gboolean served_listen(char **addresses, const char *port, GArray *fds, GPtrArray *names, GError **error);

/* Remembers where it listens, for served_print_key(); and says so, with the key, which is `whose`. */
gboolean served_note_listening(const char *state, const GPtrArray *names, GError **error);
void served_tell_listening(const char *program, const GPtrArray *names, const char *whose,
                           const IdentityKey *key);

/* Prints ADDRESS=KEY, a line for each address: those that are said, else where it listened last. */
gboolean served_print_key(const char *state, const IdentityKey *key, const char *const *addresses,
                          const char *port, GError **error);

/* Appends the keys (IdentityPublic) that an option names; USAGE for one that is none. */
gboolean served_read_keys(const char *option, char **texts, GArray *keys, GError **error);

/* So many descriptors, where the system lets it. */
void served_allow_descriptors(guint count);

/* Runs the default main loop until SIGTERM or SIGINT. */
void served_run(void);
