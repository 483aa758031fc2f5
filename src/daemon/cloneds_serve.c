/* cloneds serve and key. */
#include <stdio.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/directory_peer_service.h"
#include "c2c/directory_server.h"
#include "daemon/cloneds.h"
#include "daemon/served.h"

#define DESCRIPTORS 12288 /* connections, and what the store needs */

typedef struct {
  ClonedsPlace place;
  char **listen, **providers;
  int rate, heal;
} Options;

static void
options_clear(Options *options)
{
  cloneds_place_clear(&options->place);
  g_strfreev(options->listen);
  g_strfreev(options->providers);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static gboolean
open_listeners(DirectoryServer *server, char **addresses, GPtrArray *names, GError **error)
{
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
  gboolean good = served_listen(addresses, DIRECTORY_PORT, fds, names, error);
  for (guint i = 0; i < fds->len; i++)
    directory_server_listen(server, g_array_index(fds, int, i));
  return good;
}

static DirectoryPeerService *
new_peers(const Options *options, const IdentityKey *key, GError **error)
{
  g_autofree char *places = cloneds_place_peers(&options->place);
  g_autofree char *status = cloneds_place_peers_status(&options->place);
  const DirectoryPeerServiceOptions how = {.key = key,
                                           .store = options->place.store,
                                           .places = places,
                                           .status = status,
                                           .peers = {.heal_ms = options->heal * 1000}};
  return directory_peer_service_new(&how, error);
}

static gboolean
serve(Options *options, GError **error)
{
  g_auto(Fd) lock = -1;
  g_autoptr(GArray) providers = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  if (options->rate < 0)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--rate is a number from 0 on");
  if (options->heal < 1 || options->heal > 86400)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--heal is a number of seconds from 1 to 86400");
  if (!served_read_keys("--provider", options->providers, providers, error) ||
      !cloneds_place_complete(&options->place, error) ||
      /* Two over one state would give out one number twice to peers. An etcd's are many, each with a state
       * directory of its own that has the same key. */
      !served_lock("cloneds", options->place.state, "the directory", &lock, error))
    return FALSE;
  g_autoptr(IdentityKey) key = cloneds_place_key(&options->place, error);
  if (!key)
    return FALSE;
  served_allow_descriptors(DESCRIPTORS);
  g_autoptr(DirectoryPeerService) peers = new_peers(options, key, error);
  if (!peers)
    return FALSE;
  DirectoryServerOptions how = {
      .key = key, .store = options->place.store, .providers = providers, .rate = (guint)options->rate};
  directory_peer_service_prepare(peers, &how);
  g_autoptr(DirectoryServer) server = directory_server_new(&how, NULL, error);
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  if (!server || !open_listeners(server, options->listen, names, error) ||
      !served_note_listening(options->place.state, names, error))
    return FALSE;
  served_tell_listening("cloneds", names, "the directory's", key);
  directory_peer_service_start(peers, server, NULL);
  served_run();
  directory_peer_service_stop(peers);
  DirectoryCounters counters = directory_server_counters(server);
  g_printerr("cloneds: ends after %" G_GUINT64_FORMAT " questions and %" G_GUINT64_FORMAT
             " registrations in %" G_GUINT64_FORMAT " commits; %" G_GUINT64_FORMAT
             " connections were let in, %" G_GUINT64_FORMAT " refused, %" G_GUINT64_FORMAT " dropped\n",
             counters.questions, counters.registered, counters.commits, counters.door.accepted,
             counters.door.refused, counters.door.dropped);
  return TRUE;
}

int
cloneds_serve(int argc, char **argv)
{
  g_auto(Options) options = {.rate = DIRECTORY_RATE, .heal = 45};
  GOptionEntry entries[] = {
      {"store", 0, 0, G_OPTION_ARG_STRING, &options.place.store, CLONEDS_STORE_HELP, "URI"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &options.place.state, CLONEDS_STATE_HELP, "DIR"},
      {"listen", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.listen,
       "Where to listen (may be repeated; [::]:" DIRECTORY_PORT ")", "ADDR:PORT"},
      {"provider", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.providers,
       "Register only users whose clones this provider hosts (may be repeated; by default everybody's)",
       "KEY"},
      {"rate", 0, 0, G_OPTION_ARG_INT, &options.rate,
       "What one source of addresses, and each registered key, may ask for in a second (" G_STRINGIFY(
           DIRECTORY_RATE) "; a look-up is 1, a registration or a connection 4; 0: any)",
       "N"},
      {"heal", 0, 0, G_OPTION_ARG_INT, &options.heal,
       "How often at least to compare with each peer (45; see \"cloneds peer\")", "SECONDS"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(
      context,
      "Answers whoever asks until SIGTERM: registers the records of users who have made this their home\n"
      "directory, and tells everybody's. A registration is answered when it is on the disk.");
  g_option_context_set_description(context,
                                   "KEY of a provider is the host's key that \"doppeld serve\" prints.\n\n"
                                   "Example: cloneds serve --listen 192.0.2.7:3678");
  int status;
  if (!cloneds_parse(context, &argc, &argv, 0, &status))
    return status;
  return serve(&options, &error) ? 0 : cloneds_fail("serve", error);
}

static gboolean
print_key(ClonedsPlace *place, const char *const *addresses, GError **error)
{
  g_autoptr(IdentityKey) key = cloneds_place_complete(place, error) ? cloneds_place_key(place, error) : NULL;
  if (!key)
    return FALSE;
  return served_print_key(place->state, key, addresses, DIRECTORY_PORT, error);
}

int
cloneds_key(int argc, char **argv)
{
  g_auto(ClonedsPlace) place = {0};
  g_auto(GStrv) addresses = NULL;
  GOptionEntry entries[] = {
      {"address", 0, 0, G_OPTION_ARG_STRING_ARRAY, &addresses,
       "Where users reach this directory (may be repeated; by default where \"serve\" listens)", "HOST:PORT"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &place.state, CLONEDS_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(context,
                               "Prints ADDRESS=KEY, which is all that users need to know of a directory. "
                               "Who has it from you in a way\nthat nobody can change is sure to ask "
                               "this directory and no other.");
  g_option_context_set_description(
      context,
      "Example: doppel name claim alice --directory \"$(cloneds key --address directory.example:3678)\"");
  int status;
  if (!cloneds_parse(context, &argc, &argv, 0, &status))
    return status;
  return print_key(&place, (const char *const *)addresses, &error) ? 0 : cloneds_fail("key", error);
}
