/* Taking a name back with the recovery phrase: on a new device, or from who has taken the key. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "cmd/name.h"
#include "cmd/phrase_input.h"
#include "link/pair.h"

static gboolean
is_mine(const User *user, const Record *record)
{
  return (user->key && identity_public_equal(identity_key_public(user->key), &record->key)) ||
         (user->next && identity_public_equal(identity_key_public(user->next), &record->key));
}

static Record *
succeed(User *user, const Record *found, const IdentityRecovery *phrase, const RecordBinding *binding,
        GBytes *hosting, GError **error)
{
  const IdentityKey *key = identity_recovery_successor(phrase);
  int after = user_recovery_place(found, identity_key_public(key));
  if (after < 0) {
    doppel_error_set(
        error, DOPPEL_ERROR_DENIED,
        "this is not the recovery phrase of \"%s\": it is another clone's or user's, or a newer phrase "
        "was made since",
        found->name);
    return NULL;
  }
  UserSuccession succession = {.signer = key,
                               .by_recovery = TRUE,
                               .after = after,
                               .successor = user->next,
                               .recovery = identity_key_public(key),
                               .time = clock_unix_time()};
  return user_succeed(found, &succession, binding, hosting, error);
}

/* An attempt before, whose answer was lost, is gone on with: no number is given to two successions. */
static Record *
make_record(User *user, const Record *found, const IdentityRecovery *phrase, const RecordBinding *binding,
            GBytes *hosting, GError **error)
{
  const Record *newest = user_newest(user);
  gboolean unanswered = user->proposed && newest->recoveries > 0 && is_mine(user, newest);
  if (unanswered && (identity_public_equal(&found->key, &newest->key) || !record_supersedes(found, newest)))
    return user_bind(user, NULL, binding, hosting, error);
  return succeed(user, found, phrase, binding, hosting, error);
}

/* Bound to a clone that this device has, or (`lost`) to none. */
static gboolean
choose_binding(const Record *found, const NameOptions *options, PairedClone **clone, RecordBinding *binding,
               GBytes **hosting, GError **error)
{
  gint64 now = clock_unix_time();
  if (options->lost) {
    g_autoptr(RecordParts) parts = record_parts(found);
    *binding = user_binding(found);
    binding->issued = now;
    binding->expires = MAX(found->expires, now + 1);
    binding->revoked = TRUE;
    *hosting = g_bytes_ref(parts->hosting);
    return TRUE;
  }
  g_autoptr(IdentityKey) device = identity_device_key(error);
  *clone = device ? paired_find(options->clone, error) : NULL;
  if (!*clone) {
    g_prefix_error(
        error, "a name goes with a clone (get the old one back with \"doppel restore --device\" first, or "
               "say --lost where it is gone, too): ");
    return FALSE;
  }
  *hosting = link_pair_hosting(*clone, device, error);
  return *hosting && name_make_binding(binding, found->name, *clone, &found->directory, options, error);
}

static gboolean
check_same_user(const User *user, const Record *found, GError **error)
{
  const Record *newest = user_newest(user);
  if (!newest || identity_public_equal(&newest->origin, &found->origin))
    return TRUE;
  if (!user->record)
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "this device has begun to be another user, \"%s\": remove user.key and user.proposed "
        "beside its keys first",
        newest->name);
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "this device is that of another user, \"%s\": a device has one user", newest->name);
}

/* What this device has made itself may be newer than what it is shown. */
static Record *
newest_of(const User *user, Record *found)
{
  const Record *newest = user_newest(user);
  return record_ref(newest && record_supersedes(newest, found) ? (Record *)newest : found);
}

gboolean
name_recover(char **words, const NameOptions *options, GError **error)
{
  guint64 number = 0;
  RecordBinding binding;
  g_autoptr(GPtrArray) places = NULL;
  g_autoptr(PairedClone) clone = NULL;
  g_autoptr(GBytes) hosting = NULL;
  g_autoptr(DirectoryPlace) home = name_home(options->directory, &places, error);
  g_autoptr(Record) told = home ? name_ask_lookup(home, places, words[0], error) : NULL;
  g_autoptr(User) user = told ? user_load(TRUE, error) : NULL;
  if (!user || !check_same_user(user, told, error) || !user_next_key(user, error))
    return FALSE;
  g_autoptr(Record) found = newest_of(user, told);
  if (!choose_binding(found, options, &clone, &binding, &hosting, error))
    return FALSE;
  g_autoptr(IdentityRecovery) phrase = phrase_input(options->phrase_file, error);
  g_autoptr(Record) record = phrase ? make_record(user, found, phrase, &binding, hosting, error) : NULL;
  if (!record || !name_publish(user, record, places, &number, error)) {
    g_prefix_error(error, "\"%s\" was not taken back: ", found->name);
    return FALSE;
  }
  if (clone)
    paired_set_successor(clone->name, identity_key_public(identity_recovery_successor(phrase)), NULL);
  printf("You are \"%s\" again, with a new key on this device (number %" PRIu64
         " of the directory's log).\nWhoever had the old key is locked out. The phrase stays good.\n",
         user->record->name, number);
  return TRUE;
}
