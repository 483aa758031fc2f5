/* Which paths are replicated: rules in the manner of gitignore(5), the last one that matches decides.
 *
 *     pattern      not replicated, nor what is in it
 *     !pattern     replicated after all (what is in a directory that is left out is not looked at)
 *     # comment
 *
 * A pattern with a slash before its end counts from the root, one without matches names at any depth; one
 * that ends in a slash is for directories only. `*`, `?` and `[...]` stay within a name, `**` does not. Every
 * replica begins with the built-in rules. */
#pragma once

#include <glib.h>

typedef struct TreeRules TreeRules;

/* The built-in rules. */
TreeRules *tree_rules_new(void);
void tree_rules_free(TreeRules *rules);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TreeRules, tree_rules_free)

/* Adds a line; `origin` says in an explanation where it comes from. */
void tree_rules_add(TreeRules *rules, const char *line, const char *origin);

/* Adds the lines of a file. One that is not there has none. FALSE where it cannot be read. */
gboolean tree_rules_load(TreeRules *rules, const char *file, GError **error);

/* Whether `path`, below the root, is left out. *why (may be NULL) is then the rule and its origin, and stays
 * the rules'. */
gboolean tree_rules_omit(const TreeRules *rules, const char *path, gboolean is_directory, const char **why);
