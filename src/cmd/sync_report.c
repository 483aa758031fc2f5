#include "cmd/sync_report.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cmd/clone_store.h"
#include "cmd/table.h"

#define NOTES_SHOWN 5

/* ---- while it goes on ---- */

static char *
telling_text(const ReplicatorProgress *progress)
{
  g_autofree char *done = clone_store_size(progress->bytes_done);
  g_autofree char *all = clone_store_size(progress->bytes);
  g_autofree char *sent = clone_store_size(progress->sent);
  g_autofree char *rate = clone_store_size((guint64)progress->rate);
  GString *text = g_string_new(NULL);
  g_string_printf(text, "%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " paths, %s of %s", progress->paths_done,
                  progress->paths, done, all);
  if (progress->rate > 0)
    g_string_append_printf(text, ", %s/s", rate);
  if (progress->left_s >= 0) {
    guint left = (guint)MIN(progress->left_s, 359999);
    g_string_append_printf(text, ", %u:%02u:%02u left", left / 3600, left / 60 % 60, left % 60);
  }
  g_string_append_printf(text, "; %s sent", sent);
  return g_string_free(text, FALSE);
}

void
sync_report_clear(SyncLine *line)
{
  if (line->shown > 0)
    fprintf(stderr, "\r%*s\r", (int)line->shown, "");
  line->shown = 0;
}

void
sync_report_progress(void *user, const ReplicatorProgress *progress)
{
  static const char *const phases[] = {"asking the clone what it has", "looking at the tree", NULL,
                                       "completing the generation"};
  SyncLine *line = user;
  if (!line->wanted)
    return;
  g_autofree char *text =
      phases[progress->phase] ? g_strdup(phases[progress->phase]) : telling_text(progress);
  gsize length = g_utf8_strlen(text, -1), shown = line->shown;
  fprintf(stderr, "\r%s%*s", text, (int)(shown > length ? shown - length : 0), "");
  line->shown = length;
}

/* ---- afterwards ---- */

static const char *const losses[GENERATION_LOST_KINDS] = {"owners", "attributes", "device_nodes"};

static void
print_json(const char *clone, const ReplicatorResult *result)
{
  g_autoptr(GString) json = g_string_new("{\"clone\": ");
  g_autofree char *made = clone_store_time(result->time_ns, TRUE);
  json_append_string(json, clone);
  g_string_append_printf(json,
                         ", \"generation\": %" G_GUINT64_FORMAT
                         ", \"made\": %s, \"resumed\": %s, \"others\": %" G_GUINT64_FORMAT ", \"time\": ",
                         result->generation, result->made ? "true" : "false",
                         result->resumed ? "true" : "false", result->others);
  json_append_string(json, made);
  g_string_append_printf(json,
                         ",\n \"looked_at\": %" G_GUINT64_FORMAT ", \"paths\": %" G_GUINT64_FORMAT
                         ", \"bytes\": %" G_GUINT64_FORMAT ", \"literals\": %" G_GUINT64_FORMAT
                         ", \"taken\": %" G_GUINT64_FORMAT ", \"left\": %" G_GUINT64_FORMAT
                         ",\n \"sent\": %" G_GUINT64_FORMAT ", \"received\": %" G_GUINT64_FORMAT
                         ", \"seconds\": %.3f,\n \"lost\": {",
                         result->looked_at, result->paths, result->bytes, result->literals, result->taken,
                         result->left, result->sent, result->received, result->took_ns / 1e9);
  for (guint i = 0; i < GENERATION_LOST_KINDS; i++)
    g_string_append_printf(json, "%s\"%s\": %" G_GUINT64_FORMAT, i ? ", " : "", losses[i], result->lost[i]);
  g_string_append(json, "},\n \"notes\": [");
  for (guint i = 0; result->notes && i < result->notes->len; i++) {
    g_string_append(json, i ? ", " : "");
    json_append_string(json, result->notes->pdata[i]);
  }
  g_string_append(json, "]}");
  puts(json->str);
}

static void
print_text(const char *clone, const ReplicatorResult *result)
{
  g_autofree char *sent = clone_store_size(result->sent);
  g_autofree char *bytes = clone_store_size(result->bytes);
  g_autofree char *taken = clone_store_size(result->taken);
  g_autofree char *time = clone_store_time(result->time_ns, FALSE);
  if (result->made)
    printf("The clone %s has generation %" G_GUINT64_FORMAT " now, of %" G_GUINT64_FORMAT " paths%s.\n"
           "%" G_GUINT64_FORMAT
           " of them were looked at closely, with files of %s; %s were sent, in %.1f s.\n",
           clone, result->generation, result->nodes,
           result->resumed ? ": it went on where the last one stopped" : "", result->paths, bytes, sent,
           result->took_ns / 1e9);
  else if (result->generation)
    printf("Nothing has changed since generation %" G_GUINT64_FORMAT " of %s.\n", result->generation, time);
  else
    printf("There is nothing to synchronise.\n");
  if (result->taken)
    printf("Of %s the clone's host had the content in its public base.\n", taken);
}

/* A line for a terminal: paths are anybody's. */
static void
complain(const char *text)
{
  g_autofree char *escaped = g_strescape(text, NULL);
  fprintf(stderr, "doppel sync: %s\n", escaped);
}

static void
print_problems(const ReplicatorResult *result)
{
  static const char *const what[GENERATION_LOST_KINDS] = {
      "owners cannot be kept by the clone (doppeld runs there as an ordinary user)",
      "files have attributes that the clone cannot keep",
      "device nodes cannot be kept by the clone",
  };
  guint count = result->notes ? result->notes->len : 0;
  for (guint i = 0; i < MIN(count, NOTES_SHOWN); i++)
    complain(result->notes->pdata[i]);
  if (count > NOTES_SHOWN)
    fprintf(stderr, "doppel sync: ... and %u more that were left out (--json lists them)\n",
            count - NOTES_SHOWN);
  for (guint i = 0; i < GENERATION_LOST_KINDS; i++) {
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT " %s, as of /%s", result->lost[i], what[i],
                                            result->first_lost[i] ? result->first_lost[i] : "");
    if (result->lost[i])
      complain(text);
  }
  if (result->others)
    fprintf(
        stderr,
        "doppel sync: generation %" G_GUINT64_FORMAT
        " was not made of what this device has: it is another device's, or later than what was restored "
        "here. It stays as it is; the newest is this device's now (\"doppel diff --from %" G_GUINT64_FORMAT
        "\" lists what is otherwise in it)\n",
        result->others, result->others);
  if (result->left)
    fprintf(stderr,
            "doppel sync: %" G_GUINT64_FORMAT " paths changed meanwhile, or could not be read: they are left "
            "for the next time\n",
            result->left);
}

void
sync_report_result(const char *clone, const ReplicatorResult *result, gboolean json)
{
  if (json) {
    print_json(clone, result);
    return;
  }
  print_problems(result);
  print_text(clone, result);
}

/* ---- before ---- */

static const TableColumn columns[] = {{"CHANGE", "change"}, {"PATH", "path"}};

static void
add_row(Table *table, const char *change, const char *root, const char *path)
{
  g_autofree char *full = g_strconcat(strcmp(root, "/") == 0 ? "" : root, "/", path, NULL);
  const char *cells[] = {change, full};
  table_add(table, cells);
}

static void
add_gone(Table *table, CloneIndex *index, const char *root, const TreePlan *plan)
{
  GHashTableIter iter;
  gpointer node;
  g_hash_table_iter_init(&iter, plan->gone);
  while (g_hash_table_iter_next(&iter, &node, NULL)) {
    g_autofree char *path = tree_index_path(index->tree, *(gint64 *)node);
    if (path)
      add_row(table, "gone", root, path);
  }
}

void
sync_report_plan(CloneIndex *index, const char *root, const TreePlan *plan, gboolean json)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  g_autofree char *size = clone_store_size(plan->bytes);
  for (guint i = 0; i < plan->changes->len; i++) {
    const TreeChange *change = &g_array_index(plan->changes, TreeChange, i);
    add_row(table,
            change->moved               ? "moved"
            : change->node == TREE_NONE ? "new"
                                        : "changed",
            root, change->path);
  }
  add_gone(table, index, root, plan);
  if (json || table_rows(table) > 0)
    table_print(table, json, stdout);
  fprintf(stderr,
          "%" G_GUINT64_FORMAT
          " entries were looked at; %u paths would have to be told, with files of %s. Nothing was "
          "sent.\n",
          plan->seen, table_rows(table), size);
}
