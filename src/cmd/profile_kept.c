/* doppel profile --list, --forget */
#include <stdio.h>

#include "base/error.h"
#include "cmd/clone_store.h"
#include "cmd/cmd.h"
#include "cmd/profile.h"
#include "cmd/table.h"
#include "plan/store.h"
#include "profile/stored.h"

#define NS_PER_S G_GINT64_CONSTANT(1000000000)

static const TableColumn columns[] = {
    {"PROGRAM", "program", TABLE_TEXT},
    {"RUNS", "runs", TABLE_NUMBER},
    {"FUNCTIONS", "functions", TABLE_NUMBER},
    {"INSTRUCTIONS", "instructions", TABLE_NUMBER},
    {"USED", "used", TABLE_TEXT},
    {"STALE SINCE ANOTHER", "changed", TABLE_TEXT},
};

static void
add_row(Table *table, const ProfileStored *stored, gboolean json)
{
  g_autofree char *runs = g_strdup_printf("%" G_GUINT64_FORMAT, stored->runs);
  g_autofree char *functions = g_strdup_printf("%" G_GUINT64_FORMAT, stored->functions);
  g_autofree char *instructions = g_strdup_printf("%" G_GUINT64_FORMAT, stored->instructions);
  g_autofree char *used = clone_store_time(stored->used * NS_PER_S, json);
  const char *cells[] = {stored->path, runs, functions, instructions, used, stored->changed};
  table_add(table, cells);
}

int
profile_cmd_list(const ProfileOptions *options)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *store = plan_store_profiles_path();
  g_autoptr(GPtrArray) list = profile_stored_list(store, &error);
  if (!list)
    return cmd_fail("profile", error);
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < list->len; i++)
    add_row(table, list->pdata[i], options->json);
  if (options->json || list->len > 0)
    table_print(table, options->json, stdout);
  else
    fputs("No program was profiled yet: \"doppel profile -- PROGRAM ARGUMENT...\" does.\n", stderr);
  return 0;
}

int
profile_cmd_forget(const ProfileOptions *options)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *store = plan_store_profiles_path();
  g_autofree char *found = g_find_program_in_path(options->forget);
  g_autofree char *path = g_canonicalize_filename(found ? found : options->forget, NULL);
  if (profile_stored_forget(store, path, &error))
    return 0;
  if (!error)
    doppel_error_set_foreign(&error, DOPPEL_ERROR_NOT_FOUND,
                             "there is no profile of %s: \"doppel profile --list\" says of what there are",
                             path);
  return cmd_fail("profile", error);
}
