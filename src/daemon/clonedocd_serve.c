/* clonedocd serve and key. */
#include "base/error.h"
#include "base/io.h"
#include "clonedoc/server/server.h"
#include "daemon/clonedocd.h"
#include "daemon/served.h"

#define DESCRIPTORS 12288 /* connections, and what the log needs */
#define MEGABYTE    G_GUINT64_CONSTANT(1048576)

typedef struct {
  ClonedocdPlace place;
  char **listen, **founders;
  int rate, open, documents, document_size, entry_size, follows;
} Options;

static void
options_clear(Options *options)
{
  clonedocd_place_clear(&options->place);
  g_strfreev(options->listen);
  g_strfreev(options->founders);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static gboolean
check_limits(const Options *options, GError **error)
{
  const struct {
    const char *name;
    int value, least, most;
  } limits[] = {
      {"--rate", options->rate, 0, 1000000},
      {"--open", options->open, 1, 1000000},
      {"--documents", options->documents, 1, G_MAXINT},
      {"--document-size", options->document_size, 1, 1 << 24},
      {"--entry-size", options->entry_size, 1, DOC_ENVELOPE_MAX >> 10},
      {"--follows", options->follows, 1, 1000000},
  };
  for (guint i = 0; i < G_N_ELEMENTS(limits); i++)
    if (limits[i].value < limits[i].least || limits[i].value > limits[i].most)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s is a number from %d to %d", limits[i].name,
                              limits[i].least, limits[i].most);
  return TRUE;
}

static void
complain(const char *words, gpointer data)
{
  g_printerr("clonedocd: %s\n", words);
}

static gboolean
open_listeners(DocServer *server, char **addresses, GPtrArray *names, GError **error)
{
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
  gboolean good = served_listen(addresses, DOC_PORT, fds, names, error);
  for (guint i = 0; i < fds->len; i++)
    doc_server_listen(server, g_array_index(fds, int, i));
  return good;
}

static void
tell_end(const DocServer *server)
{
  DocServerCounters counters = doc_server_counters(server);
  g_printerr("clonedocd: ends after %" G_GUINT64_FORMAT " calls; %" G_GUINT64_FORMAT
             " entries were appended in %" G_GUINT64_FORMAT " batches, %" G_GUINT64_FORMAT
             " refused; %" G_GUINT64_FORMAT " connections were let in, %" G_GUINT64_FORMAT
             " refused, %" G_GUINT64_FORMAT " dropped\n",
             counters.calls, counters.appended, counters.batches, counters.refused, counters.door.accepted,
             counters.door.refused, counters.door.dropped);
}

static gboolean
serve(Options *options, GError **error)
{
  g_auto(Fd) lock = -1;
  g_autoptr(GArray) founders = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  if (!check_limits(options, error) || !served_read_keys("--founder", options->founders, founders, error) ||
      !clonedocd_place_complete(&options->place, error) ||
      /* Servers that share a log have a state directory each, all with the same key. */
      !served_lock("clonedocd", options->place.state, "documents", &lock, error))
    return FALSE;
  g_autoptr(IdentityKey) key = clonedocd_place_key(&options->place, error);
  g_autoptr(DocLog) log = key ? doc_log_open(options->place.log, error) : NULL;
  if (!log)
    return FALSE;
  served_allow_descriptors(DESCRIPTORS);
  const DocServerOptions how = {.key = key,
                                .log = log,
                                .rate = (guint)options->rate,
                                .open_max = (guint)options->open,
                                .documents_max = (guint64)options->documents,
                                .document_bytes = (guint64)options->document_size * MEGABYTE,
                                .entry_bytes = (guint)options->entry_size << 10,
                                .follows_max = (guint)options->follows,
                                .held_max = DOC_SERVER_HELD,
                                .founders = founders,
                                .complain = complain};
  g_autoptr(DocServer) server = doc_server_new(&how, NULL, error);
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  if (!server || !open_listeners(server, options->listen, names, error) ||
      !served_note_listening(options->place.state, names, error))
    return FALSE;
  served_tell_listening("clonedocd", names, "the server's", key);
  served_run();
  tell_end(server);
  return TRUE;
}

int
clonedocd_serve(int argc, char **argv)
{
  const DocServerOptions usual = DOC_SERVER_OPTIONS_DEFAULT;
  g_auto(Options) options = {.rate = (int)usual.rate,
                             .open = (int)usual.open_max,
                             .documents = (int)usual.documents_max,
                             .document_size = (int)(usual.document_bytes / MEGABYTE),
                             .entry_size = (int)(usual.entry_bytes >> 10),
                             .follows = (int)usual.follows_max};
  GOptionEntry entries[] = {
      {"log", 0, 0, G_OPTION_ARG_STRING, &options.place.log, CLONEDOCD_LOG_HELP, "WHERE"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &options.place.state, CLONEDOCD_STATE_HELP, "DIR"},
      {"listen", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.listen,
       "Where to listen (may be repeated; [::]:" DOC_PORT ")", "ADDR:PORT"},
      {"founder", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.founders,
       "Only who has this key may make documents (may be repeated; by default everybody)", "KEY"},
      {"rate", 0, 0, G_OPTION_ARG_INT, &options.rate,
       "What one source of addresses, and each member's key, may ask for in a second (" G_STRINGIFY(
           DOC_SERVER_RATE) "; a call is 1 and 1 more for each 16 KiB, a connection 4, a new document 20; 0: "
                            "any)",
       "N"},
      {"documents", 0, 0, G_OPTION_ARG_INT, &options.documents, "How many documents there may be (100000)",
       "N"},
      {"document-size", 0, 0, G_OPTION_ARG_INT, &options.document_size,
       "How long the entries of one document may be together (1024)", "MIB"},
      {"entry-size", 0, 0, G_OPTION_ARG_INT, &options.entry_size, "How long one entry may be (8192)", "KIB"},
      {"open", 0, 0, G_OPTION_ARG_INT, &options.open,
       "How many documents are kept in memory (1024; the others are read when they are asked for)", "N"},
      {"follows", 0, 0, G_OPTION_ARG_INT, &options.follows,
       "How many documents one connection may follow (256)", "N"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(
      context,
      "Answers until SIGTERM: gives entries of members their numbers, hands entries out to who knows a\n"
      "document's name, and signs both. An entry is answered when it is on the disk.");
  g_option_context_set_description(context, "Example: clonedocd serve --listen 192.0.2.7:3679");
  int status;
  if (!clonedocd_parse(context, &argc, &argv, 0, &status))
    return status;
  return serve(&options, &error) ? 0 : clonedocd_fail("serve", error);
}

static gboolean
print_key(ClonedocdPlace *place, const char *const *addresses, GError **error)
{
  g_autoptr(IdentityKey) key =
      clonedocd_place_complete(place, error) ? clonedocd_place_key(place, error) : NULL;
  return key && served_print_key(place->state, key, addresses, DOC_PORT, error);
}

int
clonedocd_key(int argc, char **argv)
{
  g_auto(ClonedocdPlace) place = {0};
  g_auto(GStrv) addresses = NULL;
  GOptionEntry entries[] = {
      {"address", 0, 0, G_OPTION_ARG_STRING_ARRAY, &addresses,
       "Where members reach this server (may be repeated; by default where \"serve\" listens)", "HOST:PORT"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &place.state, CLONEDOCD_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(context,
                               "Prints ADDRESS=KEY, which is all that members need to know of an ordering "
                               "server: by the key they know it,\nand hold what it signs against it.");
  g_option_context_set_description(context, "Example: clonedocd key --address documents.example:3679");
  int status;
  if (!clonedocd_parse(context, &argc, &argv, 0, &status))
    return status;
  return print_key(&place, (const char *const *)addresses, &error) ? 0 : clonedocd_fail("key", error);
}
