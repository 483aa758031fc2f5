/* doppel clones: which clones this device has, and where they are. */
#include <stdio.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/table.h"
#include "identity/base32.h"
#include "identity/paired.h"

static const char summary[] = "Lists the clones that this device is paired with. With NAME and --address: "
                              "looks for that clone there from now "
                              "on, for a\n"
                              "host that has moved. (Its key tells whether it is the right one.)";

static const char notes[] = "Examples:\n"
                            "  doppel clones\n"
                            "  doppel clones home --address 192.0.2.7:3677 --address clone.example.net:3677";

static const TableColumn columns[] = {
    {"NAME", "name"}, {"ADDRESSES", "addresses"}, {"PAIRED", "paired"}, {NULL, "id"},
    {NULL, "key"},    {NULL, "host_key"},
};

static void
add_row(Table *table, const PairedClone *clone)
{
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(clone->since);
  g_autofree char *since = time ? g_date_time_format(time, "%FT%TZ") : NULL;
  g_autofree char *addresses = g_strjoinv(" ", clone->addresses);
  g_autofree char *id = base32_encode(clone->id, sizeof clone->id);
  g_autofree char *key = identity_public_to_text(&clone->key);
  g_autofree char *host = identity_public_to_text(&clone->host);
  const char *cells[] = {clone->name, addresses, since, id, key, host};
  table_add(table, cells);
}

static int
list(gboolean json)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) clones = paired_list(&error);
  if (!clones)
    return cmd_fail("clones", error);
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < clones->len; i++)
    add_row(table, clones->pdata[i]);
  if (json || clones->len > 0)
    table_print(table, json, stdout);
  else
    fputs("This device is paired with no clone. \"doppel run\" uses a local one, on this machine; \"doppel "
          "pair\" adds "
          "others.\n",
          stderr);
  return 0;
}

int
cmd_clones(int argc, char **argv)
{
  gboolean json = FALSE;
  g_auto(GStrv) addresses = NULL;
  const GOptionEntry options[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON, with ids and keys", NULL},
      {"address", 0, 0, G_OPTION_ARG_STRING_ARRAY, &addresses, "Where NAME is from now on; repeatable",
       "HOST:PORT"},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[NAME]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 1))
    return 2;
  if ((argc > 1) != (addresses != NULL)) {
    fputs("doppel clones: NAME and --address belong together.\n", stderr);
    return 2;
  }
  g_autoptr(GError) error = NULL;
  if (addresses && !paired_set_addresses(argv[1], (const char *const *)addresses, &error))
    return cmd_fail("clones", error);
  return addresses ? 0 : list(json);
}
