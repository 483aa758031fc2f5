/* doppel sync: the clone's copy of this device's files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cmd/clone_store.h"
#include "cmd/clone_where.h"
#include "cmd/cmd.h"
#include "cmd/name.h"
#include "cmd/sync_once.h"
#include "cmd/sync_report.h"
#include "cmd/sync_scope.h"
#include "replicator/pace.h"
#include "replicator/sync_root.h"
#include "replicator/sync_rules.h"

#define SYSTEM_RULES "/etc/doppel/sync.rules"

static const char summary[] = "Brings a clone's copy of this device's files up to date; or only what is in "
                              "the directories PATH, of a file what "
                              "is beside it.\n"
                              "What changed since the last time becomes a new generation, which is there as "
                              "a whole or not at all; older ones "
                              "stay (\"doppel\n"
                              "snapshots\"). What is interrupted goes on where it stopped at the next call.";

static const char notes[] = "Not synchronised are file systems that the kernel makes up, temporary files, "
                            "caches, sockets, doppel's own "
                            "files, and what\n"
                            "~/.config/doppel/sync.rules says (" SYSTEM_RULES
                            " for root): a pattern a line, as in .gitignore; a line that "
                            "begins with ! includes.\n\n"
                            "Examples:\n"
                            "  doppel sync --dry-run           what would be told?\n"
                            "  doppel sync --limit 500k        without filling a slow link\n"
                            "  doppel sync ~/letters           only that\n"
                            "  doppel sync --clone desk --json";

typedef struct {
  char *clone, *root, *limit;
  gboolean dry_run, json, walk;
  gboolean again; /* only what was synchronised before, and without a word where all is well */
  char **words;
} Options;

static void
options_clear(Options *options)
{
  g_free(options->clone);
  g_free(options->root);
  g_free(options->limit);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

/* The tree: as said now, or as ever. */
static char *
find_root(const Options *options, const char *directory, GError **error)
{
  if (!options->root)
    return clone_index_root(directory);
  g_autofree char *root = realpath(options->root, NULL);
  if (!root) {
    doppel_error_errno(error, "the tree %s cannot be synchronised", options->root);
    return NULL;
  }
  return g_strdup(root);
}

/* The directories to look into for the words of the command line. */
static gboolean
limit_to_words(CloneIndex *index, const Options *options, const char *root, char ***directories,
               GError **error)
{
  g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
  *directories = NULL;
  for (char **word = options->words; *word; word++) {
    char *path = clone_store_path(root, *word, error);
    if (!path)
      return FALSE;
    g_ptr_array_add(paths, path);
  }
  g_ptr_array_add(paths, NULL);
  if (paths->len > 1)
    *directories = replicator_directories(index, (const char *const *)paths->pdata);
  return TRUE;
}

static gboolean
preview(CloneIndex *index, const ReplicatorOptions *replicator, gboolean json, GError **error)
{
  if (!index->state.head)
    fputs("doppel sync: this device knows of no generation in the clone: everything counts as new.\n",
          stderr);
  g_autoptr(TreePlan) plan = replicator_plan(index, replicator, error);
  if (plan)
    sync_report_plan(index, replicator->root, plan, json);
  return plan != NULL;
}

typedef struct {
  SyncLine line;
  SyncScope scope;
} Progress;

static void
progress_clear(Progress *progress)
{
  sync_scope_clear(&progress->scope);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Progress, progress_clear)

static void
report_progress(void *user, const ReplicatorProgress *progress)
{
  Progress *told = user;
  sync_report_progress(&told->line, progress);
  sync_scope_progress(&told->scope, progress);
}

static void
tell_again(const GError *why, gpointer user)
{
  sync_report_clear(&((Progress *)user)->line);
  fprintf(stderr, "doppel sync: %s: the clone is asked what it has, and told again.\n", why->message);
}

static gboolean
synchronise(const PairedClone *clone, CloneIndex *index, ReplicatorOptions *replicator, Progress *progress,
            const Options *options, GError **error)
{
  g_auto(ReplicatorResult) result = {0};
  const Doppel__Agent__Scope *said = sync_scope_said(&progress->scope);
  replicator->progress = report_progress;
  replicator->user = progress;
  progress->line = (SyncLine){.wanted = !options->json && isatty(STDERR_FILENO)};
  gboolean good = sync_once(clone, index, replicator, said ? (int)said->compression : 0, tell_again, progress,
                            &result, error);
  sync_report_clear(&progress->line);
  sync_scope_done(&progress->scope, good ? &result : NULL);
  if (good && !options->again)
    sync_report_result(clone->name, &result, options->json);
  return good;
}

/* An agent that runs knows what has changed; and its own synchronisation is not to be in the way. */
static gboolean
ask_agent(SyncScope *scope, const PairedClone *clone, const Options *options, ReplicatorOptions *replicator,
          GError **error)
{
  gboolean part = options->words[0] != NULL;
  if (options->dry_run)
    return TRUE;
  if (!sync_scope_take(scope, clone->name, replicator->root, part, error))
    return FALSE;
  if (!part)
    sync_scope_apply(scope, replicator);
  if (options->walk)
    replicator->directories = NULL;
  return TRUE;
}

static gboolean
run_on(const PairedClone *clone, const char *directory, const Options *options, ReplicatorOptions *replicator,
       GError **error)
{
  g_auto(GStrv) directories = NULL;
  g_auto(Progress) progress = {0};
  if (!ask_agent(&progress.scope, clone, options, replicator, error))
    return FALSE;
  g_autoptr(CloneIndex) index = clone_index_open(directory, error);
  if (!index || !limit_to_words(index, options, replicator->root, &directories, error))
    return FALSE;
  if (options->again && !index->state.head)
    return TRUE;
  if (directories)
    replicator->directories = (const char *const *)directories;
  if (sync_root_is_bare(index, replicator->root))
    fprintf(stderr,
            "doppel sync: %s is empty, and another directory than it was: is its file system mounted?\n",
            replicator->root);
  if (options->dry_run)
    return preview(index, replicator, options->json, error);
  return clone_index_set_root(directory, replicator->root, error) &&
         synchronise(clone, index, replicator, &progress, options, error);
}

static gboolean
run(const Options *options, GError **error)
{
  guint64 rate = 0;
  if (options->limit && !pace_parse(options->limit, &rate, error)) {
    g_prefix_error(error, "--limit: ");
    return FALSE;
  }
  if (!options->dry_run)
    clone_where_check("sync", options->clone);
  g_autoptr(PairedClone) clone = paired_find(options->clone, error);
  if (!clone)
    return FALSE;
  g_autofree char *directory = clone_store_directory(clone->name);
  if (options->again && !g_file_test(directory, G_FILE_TEST_IS_DIR))
    return TRUE;
  g_autofree char *root = find_root(options, directory, error);
  g_autoptr(TreeRules) rules = root ? sync_rules_load(root, error) : NULL;
  ReplicatorOptions replicator = {.root = root, .rules = rules, .rate = rate};
  return rules && run_on(clone, directory, options, &replicator, error);
}

gboolean
cmd_sync_again(const char *clone, GError **error)
{
  char *none[] = {NULL};
  const Options options = {.clone = (char *)clone, .again = TRUE, .words = none};
  return run(&options, error);
}

int
cmd_sync(int argc, char **argv)
{
  g_auto(Options) options = {0};
  const GOptionEntry entries[] = {
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &options.clone, "This clone; needed where there are several",
       "NAME"},
      {"dry-run", 'n', 0, G_OPTION_ARG_NONE, &options.dry_run, "List what would be told, and send nothing",
       NULL},
      {"limit", 0, 0, G_OPTION_ARG_STRING, &options.limit, "Send at most so many bytes a second: 500k, 2M",
       "RATE"},
      {"root", 0, 0, G_OPTION_ARG_FILENAME, &options.root,
       "The tree that the clone is to have a copy of, from now on (/)", "DIR"},
      {"walk", 0, 0, G_OPTION_ARG_NONE, &options.walk, "Look at all of the tree, whatever an agent knows",
       NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[PATH...]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, G_MAXINT))
    return 2;
  options.words = argv + 1;
  g_autoptr(GError) error = NULL;
  if (!run(&options, &error))
    return cmd_fail("sync", error);
  if (!options.dry_run)
    name_keep("sync");
  return 0;
}
