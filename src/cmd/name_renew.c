/* Renewing a binding before it ends, and telling the clone which directories to ask. */
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "cmd/name.h"

#define AGAIN_S 600 /* after an attempt that was in vain */

/* For as long as it was made for, unless something else is said. */
static Record *
renewed(const User *user, const NameOptions *options, GError **error)
{
  const Record *record = user->record;
  RecordBinding binding = user_binding(record);
  g_autoptr(RecordParts) parts = record_parts(record);
  gint64 now = clock_unix_time(), life = record->expires - record->issued;
  binding.issued = now;
  binding.expires = now + (options && options->expires ? options->expires : MAX(life, 1));
  return user_bind(user, NULL, &binding, parts->hosting, error);
}

/* A succession that was not answered is the owner's to go on with. */
static gboolean
check(const User *user, GError **error)
{
  const Record *record = user->record;
  if (!record)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "this device's user has no name yet: \"doppel name claim NAME\" gets one");
  if (record->revoked)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%s\" has no clone now: \"doppel name claim %s\"",
                            record->name, record->name);
  if (user->proposed && user->proposed->successions != record->successions)
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "a new key of \"%s\" was proposed, and the directory has not answered: go on with "
        "\"doppel name succeed\" (or \"recover\")",
        record->name);
  return TRUE;
}

static gboolean
renew(User *user, const NameOptions *options, GPtrArray *places, guint64 *number, GError **error)
{
  g_autoptr(Record) record = renewed(user, options, error);
  if (record && name_publish(user, record, places, number, error))
    return TRUE;
  g_prefix_error(error, "the binding of \"%s\" was not renewed: ", user->record->name);
  return FALSE;
}

static char *
day_of(gint64 seconds)
{
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(seconds);
  return time ? g_date_time_format(time, "%FT%TZ") : g_strdup("");
}

gboolean
name_renew(char **words, const NameOptions *options, GError **error)
{
  guint64 number = 0;
  g_autoptr(GPtrArray) places = name_places(error);
  g_autoptr(User) user = places ? user_load(TRUE, error) : NULL;
  if (!user || !check(user, error) || !renew(user, options, places, &number, error))
    return FALSE;
  g_autofree char *until = day_of(user->record->expires);
  printf("\"%s\" is bound to the clone until %s (number %" PRIu64 " of the directory's log).\n",
         user->record->name, until, number);
  return TRUE;
}

/* ---- by itself ---- */

static char *
tried_path(void)
{
  g_autofree char *directory = identity_directory();
  return g_build_filename(directory, "name.tried", NULL);
}

static gboolean
tried_lately(void)
{
  struct stat status;
  g_autofree char *path = tried_path();
  if (stat(path, &status) < 0)
    return FALSE;
  gint64 age = g_get_real_time() / G_USEC_PER_SEC - status.st_mtime;
  return age >= 0 && age < AGAIN_S;
}

static void
note_attempt(gboolean good)
{
  g_autofree char *path = tried_path();
  if (good)
    g_unlink(path);
  else
    g_file_set_contents(path, "", 0, NULL);
}

static gboolean
keep(const char *verb, User *user, GPtrArray *places, gboolean due, GError **error)
{
  guint64 number;
  if (due && !renew(user, NULL, places, &number, error))
    return FALSE;
  if (due) {
    g_autofree char *until = day_of(user->record->expires);
    fprintf(stderr, "doppel %s: the binding of \"%s\" was renewed, until %s\n", verb, user->record->name,
            until);
    return TRUE;
  }
  if (!name_tell_again(user, places, error)) {
    g_prefix_error(error, "the clone was not told which directories to ask: ");
    return FALSE;
  }
  fprintf(stderr, "doppel %s: the clone was told which directories to ask\n", verb);
  return TRUE;
}

void
name_keep(const char *verb)
{
  g_autoptr(GError) error = NULL;
  gboolean due = user_renewal_is_due();
  g_autoptr(GPtrArray) places = name_places(NULL);
  if (!places || places->len == 0 || !(due || name_told_otherwise(places)) || tried_lately())
    return;
  /* Somebody else may be changing it just now. */
  g_autoptr(User) user = user_load(TRUE, NULL);
  if (!user || !user->key || !user->record || !check(user, NULL))
    return;
  gboolean good = keep(verb, user, places, due, &error);
  note_attempt(good);
  if (!good)
    fprintf(stderr, "doppel %s: %s\n", verb, error->message);
}

char *
name_renewal_words(const Record *record)
{
  g_autoptr(User) user = user_load(FALSE, NULL);
  if (record->revoked || clock_unix_time() < user_renewal_late(record))
    return NULL;
  g_autofree char *until = day_of(record->expires);
  gboolean over = record->expires <= clock_unix_time();
  gboolean key = user && user->key && identity_public_equal(identity_key_public(user->key), &record->key);
  if (key)
    return g_strdup_printf(
        "the binding of \"%s\" to the clone %s on %s, and should have been renewed by now: "
        "\"doppel name renew\" does that, or says why it cannot",
        record->name, over ? "ended" : "ends", until);
  return g_strdup_printf(
      "the binding of \"%s\" to the clone %s on %s, and this device has not the user's key: "
      "synchronise the device that has it; where that is lost, \"doppel name recover %s\" "
      "with the recovery phrase binds it anew",
      record->name, over ? "ended" : "ends", until, record->name);
}
