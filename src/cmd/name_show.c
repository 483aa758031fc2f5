/* What this device knows of its user. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "cmd/name.h"
#include "identity/base32.h"

static char *
moment(gint64 seconds)
{
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(seconds);
  return time ? g_date_time_format(time, "%FT%TZ") : g_strdup("");
}

static const char *
state_of(const Record *record, gboolean taken)
{
  if (!taken)
    return "proposed";
  if (record->revoked)
    return "revoked";
  return record->expires <= clock_unix_time() ? "expired" : "registered";
}

static void
add_text(GString *json, const char *key, const char *text)
{
  g_string_append_printf(json, "%s\"%s\": ", json->len > 1 ? ",\n " : "", key);
  if (text)
    json_append_string(json, text);
  else
    g_string_append(json, "null");
}

static void
add_key(GString *json, const char *name, const IdentityPublic *key)
{
  g_autofree char *text = identity_public_to_text(key);
  add_text(json, name, text);
}

static void
print_json(const Record *record, gboolean taken, const char *clone, const char *directory)
{
  g_autoptr(GString) json = g_string_new("{");
  g_autofree char *issued = moment(record->issued), *expires = moment(record->expires);
  g_autofree char *id = base32_encode(record->clone, sizeof record->clone);
  add_text(json, "name", record->name);
  add_text(json, "state", state_of(record, taken));
  add_key(json, "origin", &record->origin);
  add_key(json, "key", &record->key);
  add_key(json, "recovery", &record->recovery);
  g_string_append_printf(json, ",\n \"successions\": %u, \"recoveries\": %u, \"serial\": %" PRIu64,
                         record->successions, record->recoveries, record->serial);
  add_text(json, "clone", clone);
  add_text(json, "clone_id", id);
  add_key(json, "clone_key", &record->clone_key);
  add_key(json, "device", &record->device);
  add_key(json, "provider", &record->provider);
  add_text(json, "directory", directory);
  add_key(json, "directory_key", &record->directory);
  add_text(json, "issued", issued);
  add_text(json, "expires", expires);
  g_string_append(json, "}");
  puts(json->str);
}

static const char *
reminder(const Record *record)
{
  return record->revoked || clock_unix_time() < user_renewal_late(record)
             ? ""
             : " (\"doppel name renew\" renews it, or says why it cannot)";
}

static void
print_key(const char *title, const IdentityPublic *key)
{
  g_autofree char *text = identity_public_to_text(key);
  printf("%-12s %s\n", title, text);
}

static void
print_words(const Record *record, gboolean taken, const char *clone, const char *directory)
{
  g_autofree char *expires = moment(record->expires), *origin = identity_public_to_text(&record->origin);
  printf("%-12s %s\n", "Name", record->name);
  printf("%-12s %s%s\n", "State", state_of(record, taken),
         taken ? "" : " (the directory has not taken it: claim it, or another name, again)");
  printf("%-12s key:%s\n", "First key", origin);
  if (record->successions > 0)
    print_key("Key now", &record->key);
  printf("%-12s %u%s\n", "Successions", record->successions,
         record->recoveries ? ", some by the phrase" : "");
  printf("%-12s %s\n", "Clone", record->revoked ? "none" : clone ? clone : "not this device's");
  printf("%-12s %s\n", "Directory", directory ? directory : "not in this device's list");
  print_key("Provider", &record->provider);
  printf("%-12s %s%s\n", "Until", expires, reminder(record));
}

gboolean
name_show(char **words, const NameOptions *options, GError **error)
{
  g_autoptr(User) user = user_load(FALSE, error);
  g_autoptr(GPtrArray) places = user ? name_places(error) : NULL;
  if (!places)
    return FALSE;
  const Record *record = user->record ? user->record : user->proposed;
  if (!record)
    return doppel_error_set(
        error, DOPPEL_ERROR_NOT_FOUND,
        "this device's user has no name yet: \"doppel name claim NAME --directory ADDRESS=KEY\" "
        "gets one");
  const DirectoryPlace *home = name_place_keyed(places, &record->directory);
  g_autoptr(PairedClone) clone = user_clone(NULL);
  gboolean own = clone && identity_public_equal(&clone->key, &record->clone_key);
  const char *directory = home ? name_place_words(home) : NULL;
  (options->json ? print_json : print_words)(record, user->record != NULL, own ? clone->name : NULL,
                                             directory);
  return TRUE;
}
