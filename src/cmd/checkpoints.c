/* doppel checkpoints: what a clone keeps of programs that ran with "doppel run --checkpoint". */
#include <stdio.h>

#include "cmd/checkpoint_words.h"
#include "cmd/cmd.h"
#include "cmd/table.h"

static const char summary[] =
    "Lists the programs of which a clone keeps checkpoints, made by \"doppel run --checkpoint\", the one "
    "with "
    "the\nnewest checkpoint last. \"doppel resume\" goes on from there. They go when their program ends by "
    "itself.";

static const char examples[] = "Examples:\n"
                               "  doppel checkpoints\n"
                               "  doppel checkpoints --json\n"
                               "  doppel checkpoints --remove 3f9c\n"
                               "\n"
                               "STATE is running (as far as the clone knows; for some seconds longer than it "
                               "does), resumed, or waiting (to be resumed).\n";

static const TableColumn columns[] = {
    {"ID", "id"},
    {"STATE", "state"},
    {"NEWEST", "newest"},
    {"TAKEN", "taken", TABLE_NUMBER},
    {"BYTES", "bytes", TABLE_NUMBER},
    {NULL, "files", TABLE_NUMBER},
    {"PAUSE MS", "pause_ms", TABLE_NUMBER},
    {NULL, "job", TABLE_NUMBER},
    {NULL, "resumed_on"},
    {NULL, "began"},
    {"DEVICE", "device"},
    {NULL, "directory"},
    {"OWNER", "owner"},
    {"COMMAND", "command"},
};

static char *
time_text(gint64 us)
{
  g_autoptr(GDateTime) time = us > 0 ? g_date_time_new_from_unix_utc(us / G_USEC_PER_SEC) : NULL;
  return time ? g_date_time_format(time, "%FT%TZ") : NULL;
}

static char *
number_text(gboolean known, guint64 number)
{
  return known ? g_strdup_printf("%" G_GUINT64_FORMAT, number) : NULL;
}

static void
add_row(Table *table, const Doppel__Wire__CheckpointSummary *run)
{
  const CheckpointChain *chain = run->chain;
  const Doppel__Wire__CheckpointLink *last = chain->n_link ? chain->link[chain->n_link - 1] : NULL;
  gboolean resumed = chain->taken_job || *chain->taken_device;
  g_autofree char *id = checkpoint_run_text(run->run.data), *newest = time_text(last ? last->kept_us : 0),
                  *taken = number_text(TRUE, chain->kept), *bytes = number_text(TRUE, run->bytes),
                  *files = number_text(TRUE, chain->n_link),
                  *pause = last ? g_strdup_printf("%.1f", (double)last->pause_ns / 1e6) : NULL,
                  *job = number_text(chain->taken_job > 0, chain->taken_job),
                  *began = time_text(chain->began_us), *command = checkpoint_words_command(chain),
                  *directory = g_strndup((const char *)chain->directory.data, chain->directory.len);
  const char *cells[] = {id,
                         resumed        ? "resumed"
                         : run->running ? "running"
                                        : "waiting",
                         newest,
                         taken,
                         bytes,
                         files,
                         pause,
                         job,
                         *chain->taken_device ? chain->taken_device : NULL,
                         began,
                         chain->host,
                         directory,
                         run->foreign ? "another device" : "this device",
                         command};
  table_add(table, cells);
}

static int
remove_all(CheckpointClient *client, char **words, gboolean force)
{
  int status = 0;
  for (; *words; words++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) list = checkpoint_client_list(client, &error);
    const Doppel__Wire__CheckpointSummary *run = list ? checkpoint_client_find(list, *words, &error) : NULL;
    if (!run || !checkpoint_client_remove(client, run->run.data, force, &error))
      status = cmd_fail("checkpoints", error);
  }
  return status;
}

static int
print_all(CheckpointClient *client, gboolean json)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) list = checkpoint_client_list(client, &error);
  if (!list)
    return cmd_fail("checkpoints", error);
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < list->len; i++)
    add_row(table, ((const CheckpointMessage *)list->pdata[i])->summary);
  if (json || list->len > 0)
    table_print(table, json, stdout);
  else
    fputs("The clone keeps no checkpoints. \"doppel run --checkpoint 60s -- PROGRAM\" makes some.\n", stderr);
  return 0;
}

int
cmd_checkpoints(int argc, char **argv)
{
  gboolean json = FALSE, force = FALSE, remove_some = FALSE;
  g_autofree char *clone = NULL;
  const GOptionEntry options[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON, with all there is to know", NULL},
      {"remove", 0, 0, G_OPTION_ARG_NONE, &remove_some, "Remove the checkpoints of these programs", NULL},
      {"force", 0, 0, G_OPTION_ARG_NONE, &force, "Although the program may still run", NULL},
      CHECKPOINT_CLONE_OPTION(&clone),
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[ID...]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, examples);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, G_MAXINT))
    return 2;
  if (remove_some ? argc < 2 : argc > 1) {
    fprintf(stderr, remove_some ? "doppel checkpoints: --remove takes the ids of those to remove\n"
                                : "doppel checkpoints: ids are for --remove\n");
    return 2;
  }
  g_autoptr(GError) error = NULL;
  g_autoptr(CheckpointClient) client = checkpoint_words_open("checkpoints", clone, &error);
  if (!client)
    return cmd_fail("checkpoints", error);
  return remove_some ? remove_all(client, argv + 1, force) : print_all(client, json);
}
