/* Which of this device's files its clones have: the built-in rules, /etc/doppel/sync.rules where root
 * synchronises, ~/.config/doppel/sync.rules, and never what doppel itself keeps. */
#pragma once

#include "replica/tree_rules.h"

/* For the tree at `root` (absolute). NULL with an error where a file cannot be read. */
TreeRules *sync_rules_load(const char *root, GError **error);

/* Something that is another number when one of the files has changed. */
gint64 sync_rules_stamp(void);
