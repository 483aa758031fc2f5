/* cloneds peer: the directories that this one keeps its users together with (Clone2Clone section 4.1). */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "c2c/directory_peer_report.h"
#include "c2c/directory_place.h"
#include "cmd/table.h"
#include "daemon/cloneds.h"

static const TableColumn columns[] = {
    {"NAME", "name", TABLE_TEXT},         {"ADDRESS", "address", TABLE_TEXT},
    {"STATE", "state", TABLE_TEXT},       {"HEALED", "healed_ago", TABLE_TEXT},
    {"WAITING", "waiting", TABLE_NUMBER}, {"KEY", "key", TABLE_TEXT},
    {NULL, "healed", TABLE_NUMBER},       {NULL, "sent", TABLE_NUMBER},
    {NULL, "taken", TABLE_NUMBER},        {NULL, "refused", TABLE_NUMBER},
    {NULL, "trouble", TABLE_TEXT},
};

typedef struct {
  ClonedsPlace place;
  gboolean json;
} Options;

static void
options_clear(Options *options)
{
  cloneds_place_clear(&options->place);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static GPtrArray *
load(Options *options, char **path, GError **error)
{
  if (!cloneds_place_complete(&options->place, error))
    return NULL;
  *path = cloneds_place_peers(&options->place);
  return directory_places_load(*path, error);
}

static DirectoryPlace *
find(const GPtrArray *places, const char *name, guint *index)
{
  for (guint i = 0; i < places->len; i++) {
    DirectoryPlace *place = places->pdata[i];
    if (g_strcmp0(place->name, name) == 0) {
      *index = i;
      return place;
    }
  }
  return NULL;
}

static gboolean
check_new(const Options *options, const GPtrArray *places, const DirectoryPlace *new, GError **error)
{
  guint index;
  g_autoptr(IdentityKey) own = cloneds_place_key(&options->place, error);
  if (!own)
    return FALSE;
  if (identity_public_equal(&new->key, identity_key_public(own)))
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "that key is this directory's own: give the one that \"cloneds key\" prints there");
  if (places->len >= DIRECTORY_PEERS_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "a directory has at most %u peers",
                            DIRECTORY_PEERS_MAX);
  if (find(places, new->name, &index))
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "there is a peer \"%s\" already: \"cloneds peer remove %s\" first, or take another name", new->name,
        new->name);
  for (guint i = 0; i < places->len; i++) {
    const DirectoryPlace *place = places->pdata[i];
    if (identity_public_equal(&place->key, &new->key))
      return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                              "the directory with that key is the peer \"%s\" already",
                              place->name ? place->name : place->address);
  }
  return TRUE;
}

static gboolean
add(Options *options, char **words, GError **error)
{
  g_autofree char *path = NULL, *text = g_strdup_printf("%s=%s=%s", words[0], words[1], words[2]);
  g_autoptr(GPtrArray) places = load(options, &path, error);
  g_autoptr(DirectoryPlace) new = places ? directory_place_parse(text, error) : NULL;
  if (!new || !check_new(options, places, new, error))
    return FALSE;
  g_ptr_array_add(places, g_steal_pointer(&new));
  return directory_places_save(places, path, error);
}

static gboolean
drop(Options *options, char **words, GError **error)
{
  guint index;
  g_autofree char *path = NULL;
  g_autoptr(GPtrArray) places = load(options, &path, error);
  if (!places)
    return FALSE;
  if (!find(places, words[0], &index))
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "there is no peer \"%s\": see \"cloneds peer list\"", words[0]);
  g_ptr_array_remove_index(places, index);
  return directory_places_save(places, path, error);
}

static char *
words_of_ago(gint64 seconds)
{
  gint64 ago = g_get_real_time() / G_USEC_PER_SEC - seconds;
  if (seconds == 0)
    return g_strdup("never");
  if (ago < 120)
    return g_strdup_printf("%" G_GINT64_FORMAT " s ago", MAX(ago, 0));
  return ago < 7200 ? g_strdup_printf("%" G_GINT64_FORMAT " min ago", ago / 60)
                    : g_strdup_printf("%" G_GINT64_FORMAT " h ago", ago / 3600);
}

static void
add_row(Table *table, const DirectoryPlace *place, const char *status)
{
  DirectoryPeerReport report;
  directory_peer_report_load(status, &place->key, &report);
  const char *state = !report.known ? "not running" : report.connected ? "connected" : "away";
  g_autofree char *shown =
      report.trouble ? g_strdup_printf("%s: %s", state, report.trouble) : g_strdup(state);
  g_autofree char *key = identity_public_to_text(&place->key), *ago = words_of_ago(report.healed);
  g_autofree char *waiting = g_strdup_printf("%u", report.waiting);
  g_autofree char *healed = g_strdup_printf("%" G_GINT64_FORMAT, report.healed);
  g_autofree char *sent = g_strdup_printf("%" G_GUINT64_FORMAT, report.sent);
  g_autofree char *taken = g_strdup_printf("%" G_GUINT64_FORMAT, report.taken);
  g_autofree char *refused = g_strdup_printf("%" G_GUINT64_FORMAT, report.refused);
  const char *const cells[] = {
      place->name ? place->name : "-",
      place->address,
      shown,
      ago,
      waiting,
      key,
      healed,
      sent,
      taken,
      refused,
      report.trouble ? report.trouble : "",
  };
  table_add(table, cells);
  directory_peer_report_clear(&report);
}

static gboolean
list(Options *options, char **words, GError **error)
{
  g_autofree char *path = NULL;
  g_autoptr(GPtrArray) places = load(options, &path, error);
  if (!places)
    return FALSE;
  g_autofree char *status = cloneds_place_peers_status(&options->place);
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < places->len; i++)
    add_row(table, places->pdata[i], status);
  table_print(table, options->json, stdout);
  return fflush(stdout) == 0 || doppel_error_errno(error, "cannot write");
}

static const struct {
  const char *name;
  int words;
  gboolean (*function)(Options *options, char **words, GError **error);
} verbs[] = {{"add", 3, add}, {"list", 0, list}, {"remove", 1, drop}};

static gboolean
run(Options *options, int count, char **words, GError **error)
{
  for (gsize i = 0; i < G_N_ELEMENTS(verbs) && count > 0; i++) {
    if (!g_str_equal(words[0], verbs[i].name))
      continue;
    if (count - 1 != verbs[i].words)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%s\" takes %d words, not %d", words[0],
                              verbs[i].words, count - 1);
    return verbs[i].function(options, words + 1, error);
  }
  return count > 0 ? doppel_error_set(error, DOPPEL_ERROR_USAGE, "there is no \"%s\": add, list or remove",
                                      words[0])
                   : doppel_error_set(error, DOPPEL_ERROR_USAGE, "it lacks a word: add, list or remove");
}

int
cloneds_peer(int argc, char **argv)
{
  g_auto(Options) options = {0};
  GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print JSON (list)", NULL},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &options.place.state, CLONEDS_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("add NAME ADDRESS KEY | list | remove NAME");
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(
      context,
      "Says which other directories this one keeps its users together with. Each tells the others what is\n"
      "registered there, signed; what one has missed it finds by comparing digests, and fetches from any. A\n"
      "directory is believed about the users who have made it their home, and about nobody else's.\n\n"
      "Both have to name each other. A server that runs takes a change within seconds.");
  g_option_context_set_description(
      context, "NAME is your own name for it; ADDRESS=KEY is what \"cloneds key\" prints there.\n\n"
               "Example: cloneds peer add west west.example:3678 KEY");
  g_set_prgname("cloneds peer");
  if (g_option_context_parse(context, &argc, &argv, &error) && run(&options, argc - 1, argv + 1, &error))
    return 0;
  int status = cloneds_fail("peer", error);
  if (status == 2)
    g_printerr("Try \"cloneds peer --help\".\n");
  return status;
}
