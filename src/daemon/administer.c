/* doppeld invite, clones, revoke: what the host's owner does beside a running server. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/table.h"
#include "daemon/daemon.h"
#include "daemon/state.h"
#include "identity/address.h"
#include "identity/base32.h"

#define EXPIRES_DEFAULT "10m"
#define EXPIRES_MAX     (30 * 24 * 3600) /* seconds */

static DaemonState *
open_state(const char *directory, GError **error)
{
  g_autofree char *usual = directory ? NULL : daemon_state_directory();
  return daemon_state_open(directory ? directory : usual, error);
}

/* "90s", "10m", "2h", "1d". */
static gboolean
parse_duration(const char *text, gint64 *seconds, GError **error)
{
  static const struct {
    char unit;
    int seconds;
  } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
  char *end;
  guint64 number = g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0;
  for (gsize i = 0; number > 0 && i < G_N_ELEMENTS(units); i++)
    if (end[0] == units[i].unit && end[1] == '\0' && number <= EXPIRES_MAX / units[i].seconds) {
      *seconds = number * units[i].seconds;
      return TRUE;
    }
  return doppel_error_set(
      error, DOPPEL_ERROR_USAGE,
      "\"%.40s\" is no time that an invitation can last: write 90s, 10m, 2h or 7d (at most 30d)", text);
}

static gboolean
is_wildcard(const char *address, char **port)
{
  g_autofree char *host = NULL;
  return identity_address_split(address, &host, port, NULL) &&
         (g_str_equal(host, "::") || g_str_equal(host, "0.0.0.0"));
}

/* The addresses of this machine that others can use: not loopback, not link-local. */
static void
add_own_addresses(GPtrArray *addresses, const char *port)
{
  struct ifaddrs *all = NULL;
  if (getifaddrs(&all) < 0)
    return;
  for (struct ifaddrs *each = all; each && addresses->len < INVITATION_ADDRESSES_MAX; each = each->ifa_next) {
    char text[INET6_ADDRSTRLEN];
    if (!each->ifa_addr || !(each->ifa_flags & IFF_UP) || (each->ifa_flags & IFF_LOOPBACK))
      continue;
    if (each->ifa_addr->sa_family == AF_INET) {
      inet_ntop(AF_INET, &((struct sockaddr_in *)each->ifa_addr)->sin_addr, text, sizeof text);
      g_ptr_array_add(addresses, g_strdup_printf("%s:%s", text, port));
    } else if (each->ifa_addr->sa_family == AF_INET6) {
      const struct in6_addr *raw = &((struct sockaddr_in6 *)each->ifa_addr)->sin6_addr;
      if (IN6_IS_ADDR_LINKLOCAL(raw))
        continue;
      inet_ntop(AF_INET6, raw, text, sizeof text);
      g_ptr_array_add(addresses, g_strdup_printf("[%s]:%s", text, port));
    }
  }
  freeifaddrs(all);
}

/* Where a device will find this host, judging by where it listens. */
static char **
guess_addresses(DaemonState *state, GError **error)
{
  g_auto(GStrv) listening = daemon_state_listening(state, error);
  if (!listening)
    return NULL;
  g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);
  for (char **address = listening; *address && addresses->len < INVITATION_ADDRESSES_MAX; address++) {
    g_autofree char *port = NULL;
    if (!is_wildcard(*address, &port)) {
      g_ptr_array_add(addresses, g_strdup(*address));
      continue;
    }
    guint before = addresses->len;
    add_own_addresses(addresses, port);
    if (addresses->len == before)
      g_ptr_array_add(addresses, g_strdup_printf("127.0.0.1:%s", port));
  }
  g_ptr_array_add(addresses, NULL);
  return (char **)g_ptr_array_steal(addresses, NULL);
}

static gboolean
invite(const char *directory, char **given, const char *expires, GError **error)
{
  gint64 seconds = 0;
  if (!parse_duration(expires, &seconds, error))
    return FALSE;
  g_autoptr(DaemonState) state = open_state(directory, error);
  g_autoptr(IdentityKey) key = state ? daemon_state_host_key(state, error) : NULL;
  if (!key)
    return FALSE;
  g_auto(GStrv) addresses = given ? g_strdupv(given) : guess_addresses(state, error);
  if (!addresses)
    return FALSE;
  gint64 until = g_get_real_time() / G_USEC_PER_SEC + seconds;
  g_autoptr(Invitation) invitation =
      invitation_new(identity_key_public(key), (const char *const *)addresses, until, error);
  if (!invitation || !daemon_state_invite(state, invitation, error))
    return FALSE;
  g_autofree char *text = invitation_to_text(invitation);
  g_autofree char *list = g_strjoinv(", ", addresses);
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(until);
  g_autofree char *when = g_date_time_format(time, "%F %T");
  puts(text);
  fflush(stdout);
  g_printerr("For one device, until %s. It will look for this host at %s.\n"
             "On the device: doppel pair INVITATION\n",
             when, list);
  return TRUE;
}

int
daemon_invite(int argc, char **argv, DaemonSessionMain run)
{
  g_auto(GStrv) addresses = NULL;
  g_autofree char *expires = g_strdup(EXPIRES_DEFAULT);
  g_autofree char *state = NULL;
  GOptionEntry entries[] = {
      {"address", 0, 0, G_OPTION_ARG_STRING_ARRAY, &addresses,
       "Where devices reach this host (may be repeated; by default: where \"serve\" listens)", "HOST:PORT"},
      {"expires", 0, 0, G_OPTION_ARG_STRING, &expires, "How long it can be used: 90s, 10m, 2h, 7d (10m)",
       "TIME"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &state, DAEMON_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(context,
                               "Prints an invitation, a single word, with which one device can get a clone "
                               "on this host. Hand it over\nin private: who has it first, has the clone.");
  g_option_context_set_description(context,
                                   "Example: doppeld invite --address clone.example.net:3677 --expires 1h\n"
                                   "Then, on the device: doppel pair WHAT-IT-PRINTED");
  int status;
  if (!daemon_parse(context, &argc, &argv, 0, &status))
    return status;
  return invite(state, addresses, expires, &error) ? 0 : daemon_fail("invite", error);
}

static char *
format_time(gint64 seconds)
{
  if (seconds == 0)
    return NULL;
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(seconds);
  return g_date_time_format(time, "%FT%TZ");
}

static gboolean
list_clones(const char *directory, gboolean json, GError **error)
{
  static const TableColumn columns[] = {{"NAME", "name"},     {"ID", "id"},
                                        {"PAIRED", "paired"}, {"LAST USED", "last_used"},
                                        {NULL, "device_key"}, {NULL, "clone_key"}};
  g_autoptr(DaemonState) state = open_state(directory, error);
  g_autoptr(GPtrArray) clones = state ? daemon_state_clones(state, error) : NULL;
  if (!clones)
    return FALSE;
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < clones->len; i++) {
    const DaemonClone *clone = clones->pdata[i];
    g_autofree char *id = base32_encode(clone->id, sizeof clone->id);
    g_autofree char *paired = format_time(clone->paired);
    g_autofree char *seen = format_time(clone->seen);
    g_autofree char *device = identity_public_to_text(&clone->device);
    g_autofree char *key = identity_public_to_text(&clone->key);
    const char *cells[] = {clone->name, id, paired, seen ? seen : json ? NULL : "never", device, key};
    table_add(table, cells);
  }
  if (clones->len > 0 || json)
    table_print(table, json, stdout);
  else
    g_printerr("This host has no clones. \"doppeld invite\" prints an invitation.\n");
  return TRUE;
}

int
daemon_clones(int argc, char **argv, DaemonSessionMain run)
{
  gboolean json = FALSE;
  g_autofree char *state = NULL;
  GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &state, DAEMON_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(context, "Lists the clones of this host; times are UTC.");
  g_option_context_set_description(context, "Example: doppeld clones --json");
  int status;
  if (!daemon_parse(context, &argc, &argv, 0, &status))
    return status;
  return list_clones(state, json, &error) ? 0 : daemon_fail("clones", error);
}

int
daemon_revoke(int argc, char **argv, DaemonSessionMain run)
{
  g_autofree char *directory = NULL;
  GOptionEntry entries[] = {
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &directory, DAEMON_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("CLONE");
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(
      context, "Takes the clone (its name or id in \"doppeld clones\") away from its device: its "
               "key is removed,\nits running sessions end within some seconds.");
  g_option_context_set_description(context, "Example: doppeld revoke phone");
  int status;
  if (!daemon_parse(context, &argc, &argv, 1, &status))
    return status;
  g_autoptr(DaemonState) state = open_state(directory, &error);
  g_autoptr(DaemonClone) clone = state ? daemon_state_find(state, argv[1], &error) : NULL;
  if (!clone || !daemon_state_revoke(state, clone->id, &error))
    return daemon_fail("revoke", error);
  printf("%s is revoked.\n", clone->name);
  return 0;
}
