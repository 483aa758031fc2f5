/* Where the own clone is (Clone2Clone section 4, steps 4 and 5): a device finds it wherever it has moved,
 * knowing nothing but a directory and its own keys. */
#pragma once

#include "identity/paired.h"

#define CLONE_WHERE_MS 5000 /* for the directories' answer */

/* What the directories say: "host:port", the caller's to g_strfreev(). NULL where they say nothing, or where
 * the clone is not the one that the user's record names. Blocks up to CLONE_WHERE_MS. */
char **clone_where_ask(const PairedClone *clone);

/* Whether somebody, not necessarily the clone, answers at an address that this device knows of it. A round
 * trip, or a second and a half. */
gboolean clone_where_answers(const PairedClone *clone);

/* Before a verb dials the clone `name` (NULL: the only one that is paired). Where nobody answers at the
 * addresses that this device knows, the directories are asked, and what they say is remembered when the clone
 * has proved there that it is the clone. It costs a round trip where all is well, and nothing where the clone
 * is none of the network of clones'. A clone that was not found is not looked for again within a minute.
 * `verb` is whom a terminal is told that it takes a while; NULL: nobody. The caller has one thread, and has
 * one afterwards. */
void clone_where_check(const char *verb, const char *name);

/* The same for who uses a session that a keeper has ready, where there is one (controller/keeper.h): then
 * nothing is waited for, and what is found is there for the next session. */
void clone_where_check_kept(const char *name);

/* Of a clone that is no longer this device's. */
void clone_where_forget(const PairedClone *clone);
