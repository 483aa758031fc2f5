/* doppel diff: what changed between two generations. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/clone_store.h"
#include "cmd/cmd.h"
#include "cmd/table.h"
#include "replicator/history.h"

static const char summary[] =
    "Lists what is otherwise in one generation of this device's files than in an earlier one: at PATH and in "
    "it, or "
    "everywhere.\n"
    "What the device has that no generation has yet, \"doppel sync --dry-run\" tells.";

static const char notes[] = "Examples:\n"
                            "  doppel diff                        what the last synchronisation brought\n"
                            "  doppel diff --from 3 ~/letters     what happened there since generation 3\n"
                            "  doppel diff --from 3 --to 7 --json";

static const TableColumn columns[] = {
    {"CHANGE", "change"},
    {"BYTES", "bytes", TABLE_NUMBER},
    {"PATH", "path"},
};

static const char *const changes[] = {"", "added", "removed", "content", "metadata"};

typedef struct {
  char *path;
  Doppel__Sync__Change change;
  gboolean sized;
  guint64 size;
} Difference;

static void
difference_free(gpointer pointer)
{
  Difference *difference = pointer;
  g_free(difference->path);
  g_free(difference);
}

static void
differs(void *user, const char *path, Doppel__Sync__Change change, const ReplicaFacts *facts)
{
  Difference *difference = g_new0(Difference, 1);
  difference->path = g_strdup(path);
  difference->change = change;
  difference->sized = facts && facts->type == REPLICA_FILE;
  difference->size = difference->sized ? facts->size : 0;
  g_ptr_array_add(user, difference);
}

static int
by_path(gconstpointer a, gconstpointer b)
{
  return strcmp((*(const Difference *const *)a)->path, (*(const Difference *const *)b)->path);
}

static void
print_all(const char *root, GPtrArray *found, gboolean json)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  g_ptr_array_sort(found, by_path);
  for (guint i = 0; i < found->len; i++) {
    const Difference *difference = found->pdata[i];
    g_autofree char *path = g_strconcat(strcmp(root, "/") == 0 ? "" : root, "/", difference->path, NULL);
    g_autofree char *size =
        difference->sized ? g_strdup_printf("%" G_GUINT64_FORMAT, difference->size) : NULL;
    const char *cells[] = {changes[difference->change], size, path};
    table_add(table, cells);
  }
  if (json || found->len > 0)
    table_print(table, json, stdout);
}

/* The generations that are meant where one was not named: the newest, and the one before the other. */
static gboolean
choose(const char *clone, guint64 *from, guint64 *to, GError **error)
{
  g_autoptr(Link) link = clone_store_reach(clone, NULL, error);
  g_autoptr(GArray) generations = link ? history_list(link, error) : NULL;
  if (!generations)
    return FALSE;
  if (!*to && generations->len > 0)
    *to = g_array_index(generations, HistoryGeneration, generations->len - 1).number;
  for (guint i = 0; i < generations->len && !*from; i++)
    if (i + 1 < generations->len && g_array_index(generations, HistoryGeneration, i + 1).number == *to)
      *from = g_array_index(generations, HistoryGeneration, i).number;
  if (*from && *to)
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                          "the clone has %s to compare with: \"doppel snapshots\" lists what it has",
                          generations->len > 0 ? "no earlier generation" : "no generation yet");
}

static gboolean
compare(const char *clone, guint64 from, guint64 to, const char *word, gboolean json, GError **error)
{
  g_autofree char *root = NULL;
  if ((!from || !to) && !choose(clone, &from, &to, error))
    return FALSE;
  g_autoptr(Link) link = clone_store_reach(clone, &root, error);
  g_autofree char *path = !link ? NULL : word ? clone_store_path(root, word, error) : g_strdup("");
  g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(difference_free);
  if (!path || !history_compare(link, from, to, path, differs, found, error))
    return FALSE;
  print_all(root, found, json);
  return TRUE;
}

int
cmd_diff(int argc, char **argv)
{
  gboolean json = FALSE;
  gint64 from = 0, to = 0;
  g_autofree char *clone = NULL;
  const GOptionEntry options[] = {
      {"from", 0, 0, G_OPTION_ARG_INT64, &from, "The earlier generation (the one before the other)", "N"},
      {"to", 0, 0, G_OPTION_ARG_INT64, &to, "The later one (the newest)", "N"},
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &clone, "Of this clone; needed where there are several", "NAME"},
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[PATH]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 1))
    return 2;
  if (from < 0 || to < 0) {
    fprintf(stderr, "doppel diff: %s takes the number of a generation, as \"doppel snapshots\" lists them\n",
            from < 0 ? "--from" : "--to");
    return 2;
  }
  g_autoptr(GError) error = NULL;
  return compare(clone, from, to, argc > 1 ? argv[1] : NULL, json, &error) ? 0 : cmd_fail("diff", error);
}
