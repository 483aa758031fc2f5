/* doppeld invite, clones, revoke: what the host's owner does beside a running server. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/table.h"
#include "daemon/daemon.h"
#include "daemon/own_addresses.h"
#include "daemon/state.h"
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

/* Where a device will find this host, judging by where it listens. */
static char **
guess_addresses(DaemonState *state, GError **error)
{
  g_auto(GStrv) listening = daemon_state_listening(state, error);
  return listening ? daemon_own_addresses((const char *const *)listening, INVITATION_ADDRESSES_MAX) : NULL;
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
daemon_invite(int argc, char **argv)
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

static char *
device_keys(const DaemonClone *clone)
{
  g_autoptr(GStrvBuilder) keys = g_strv_builder_new();
  for (guint i = 0; i < clone->devices->len; i++) {
    g_autofree char *key = identity_public_to_text(&g_array_index(clone->devices, IdentityPublic, i));
    g_strv_builder_add(keys, key);
  }
  g_auto(GStrv) all = g_strv_builder_end(keys);
  return g_strjoinv(",", all);
}

static gboolean
list_clones(const char *directory, gboolean json, GError **error)
{
  static const TableColumn columns[] = {{"NAME", "name"},
                                        {"ID", "id"},
                                        {"PAIRED", "paired"},
                                        {"LAST USED", "last_used"},
                                        {"DEVICES", "devices", TABLE_NUMBER},
                                        {"RECOVERY PHRASE", "recovery_phrase"},
                                        {NULL, "device_key"}, /* several with commas */
                                        {NULL, "clone_key"}};
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
    g_autofree char *count = g_strdup_printf("%u", clone->devices->len);
    g_autofree char *phrase = format_time(daemon_state_recovery(state, clone->id));
    g_autofree char *devices = device_keys(clone);
    g_autofree char *key = identity_public_to_text(&clone->key);
    const char *cells[] = {clone->name, id,
                           paired,      seen ? seen : json ? NULL : "never",
                           count,       phrase ? phrase : json ? NULL : "none",
                           devices,     key};
    table_add(table, cells);
  }
  if (clones->len > 0 || json)
    table_print(table, json, stdout);
  else
    g_printerr("This host has no clones. \"doppeld invite\" prints an invitation.\n");
  return TRUE;
}

int
daemon_clones(int argc, char **argv)
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

/* One device of several, as `key` says. */
static gboolean
lock_out(DaemonState *state, const DaemonClone *clone, const char *key, GError **error)
{
  IdentityPublic device;
  if (!identity_public_from_text(key, &device, error))
    return FALSE;
  if (!daemon_devices_have(clone->devices, &device))
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "the clone %s has no device with this key: see \"doppeld clones --json\"",
                            clone->name);
  if (!daemon_state_lock_out(state, clone->id, &device, error))
    return FALSE;
  printf("The device is locked out of %s.\n", clone->name);
  return TRUE;
}

static gboolean
revoke_what(DaemonState *state, const DaemonClone *clone, gboolean recovery, const char *device,
            GError **error)
{
  if (recovery && !daemon_state_forget_recovery(state, clone->id, error))
    return FALSE;
  if (recovery)
    printf("The recovery phrase of %s is void.\n", clone->name);
  if (device)
    return lock_out(state, clone, device, error);
  if (recovery)
    return TRUE;
  if (!daemon_state_revoke(state, clone->id, error))
    return FALSE;
  printf("%s is revoked.\n", clone->name);
  return TRUE;
}

int
daemon_revoke(int argc, char **argv)
{
  gboolean recovery = FALSE;
  g_autofree char *directory = NULL, *device = NULL;
  GOptionEntry entries[] = {
      {"recovery", 0, 0, G_OPTION_ARG_NONE, &recovery,
       "Only make the clone's recovery phrase void: it was read by somebody, say", NULL},
      {"device", 0, 0, G_OPTION_ARG_STRING, &device, "Only lock this device out (\"doppeld clones --json\")",
       "KEY"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &directory, DAEMON_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("CLONE");
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(
      context, "Takes the clone (its name or id in \"doppeld clones\") away from its devices: its "
               "key and its files are removed,\nits running sessions end within some seconds.");
  g_option_context_set_description(context,
                                   "Examples:\n"
                                   "  doppeld revoke phone\n"
                                   "  doppeld revoke --recovery phone    the device, and the files, stay");
  int status;
  if (!daemon_parse(context, &argc, &argv, 1, &status))
    return status;
  g_autoptr(DaemonState) state = open_state(directory, &error);
  g_autoptr(DaemonClone) clone = state ? daemon_state_find(state, argv[1], &error) : NULL;
  if (!clone || !revoke_what(state, clone, recovery, device, &error))
    return daemon_fail("revoke", error);
  return 0;
}
