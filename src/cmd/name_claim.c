/* Claiming a name for the own clone, giving the key a successor, and saying that there is no clone. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "cmd/name.h"
#include "cmd/phrase_output.h"
#include "link/pair.h"

static gint64
expiry(const NameOptions *options, gint64 now)
{
  return now + (options->expires ? options->expires : NAME_EXPIRES_S);
}

gboolean
name_make_binding(RecordBinding *binding, const char *name, const PairedClone *clone,
                  const IdentityPublic *directory, const NameOptions *options, GError **error)
{
  g_autoptr(IdentityKey) device = identity_device_key(error);
  if (!device)
    return FALSE;
  gint64 now = clock_unix_time();
  *binding = (RecordBinding){.name = name,
                             .clone_key = clone->key,
                             .device = *identity_key_public(device),
                             .provider = clone->host,
                             .directory = *directory,
                             .issued = now,
                             .expires = expiry(options, now)};
  memcpy(binding->clone, clone->id, sizeof binding->clone);
  return TRUE;
}

/* The recovery key of a user who is new: the phrase's that pairing showed, or one of its own. */
static gboolean
choose_recovery(const PairedClone *clone, IdentityPublic *public, IdentityRecovery **made, GError **error)
{
  if (clone->has_successor) {
    *public = clone->successor;
    return TRUE;
  }
  *made = identity_recovery_new(error);
  if (!*made)
    return FALSE;
  *public = *identity_key_public(identity_recovery_successor(*made));
  return TRUE;
}

static void
show_phrase(const IdentityRecovery *recovery, const char *name)
{
  printf("The recovery phrase of the name \"%s\", for the day on which this device is lost:\n", name);
  phrase_output(recovery);
  printf(
      "Write it down and keep it off this device: whoever has it can take the name. It is shown this once.\n"
      "On a new device it is asked for by\n"
      "  doppel name recover %s\n\n",
      name);
}

/* The root is kept, so its phrase is shown, whatever the directory will say to this name. */
static Record *
prepare(User *user, const char *name, const PairedClone *clone, const DirectoryPlace *home,
        const NameOptions *options, GError **error)
{
  RecordBinding binding;
  IdentityPublic recovery = {{0}};
  g_autoptr(IdentityRecovery) made = NULL;
  g_autoptr(IdentityKey) device = identity_device_key(error);
  g_autoptr(GBytes) hosting = device ? link_pair_hosting(clone, device, error) : NULL;
  if (!hosting || !name_make_binding(&binding, name, clone, &home->key, options, error) ||
      !user_make_key(user, error) || (!user_newest(user) && !choose_recovery(clone, &recovery, &made, error)))
    return NULL;
  g_autoptr(Record) record = user_bind(user, &recovery, &binding, hosting, error);
  if (!record || !user_propose(user, record, error))
    return NULL;
  if (made)
    show_phrase(made, name);
  return g_steal_pointer(&record);
}

static void
report(const Record *record, const DirectoryPlace *home, guint64 number)
{
  g_autofree char *origin = identity_public_to_text(&record->origin);
  printf("You are \"%s\" in the directory \"%s\" (number %" PRIu64 " of its log).\n"
         "Others can be sure that it is you by your first key:\n  key:%s\n",
         record->name, name_place_words(home), number, origin);
}

gboolean
name_claim(char **words, const NameOptions *options, GError **error)
{
  guint64 number = 0;
  g_autoptr(GPtrArray) places = NULL;
  if (!record_name_check(words[0], error))
    return FALSE;
  g_autoptr(PairedClone) clone = options->clone ? paired_find(options->clone, error) : user_clone(error);
  g_autoptr(DirectoryPlace) home = clone ? name_home(options->directory, &places, error) : NULL;
  g_autoptr(User) user = home ? user_load(TRUE, error) : NULL;
  if (!user)
    return FALSE;
  g_autoptr(Record) record = prepare(user, words[0], clone, home, options, error);
  if (!record || !name_publish(user, record, places, &number, error)) {
    g_prefix_error(error, "\"%s\" is not yours: ", words[0]);
    return FALSE;
  }
  report(user->record, home, number);
  return TRUE;
}

static const Record *
need_record(const User *user, GError **error)
{
  if (!user->record)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "this device's user has no name yet: \"doppel name claim NAME\" gets one, \"doppel name "
                     "recover NAME\" takes one back");
  return user->record;
}

/* The binding that was taken last, as of now. */
static RecordBinding
same_binding(const Record *record, const NameOptions *options)
{
  RecordBinding binding = user_binding(record);
  gint64 now = clock_unix_time();
  binding.issued = now;
  binding.expires = options->expires ? expiry(options, now) : MAX(record->expires, now + NAME_DAY_S);
  return binding;
}

/* With the phrase that pairing made last, where that is a newer one. A succession that was proposed and not
 * answered is the one that is told again. */
static Record *
make_succession(User *user, const NameOptions *options, GError **error)
{
  const Record *newest = user_newest(user);
  g_autoptr(PairedClone) clone = user_clone(NULL);
  g_autoptr(RecordParts) parts = record_parts(user->record);
  RecordBinding binding = same_binding(user->record, options);
  if (newest->successions > user->record->successions)
    return user_bind(user, NULL, &binding, parts->hosting, error);
  const IdentityKey *next = user_next_key(user, error);
  UserSuccession succession = {.signer = user->key,
                               .after = newest->successions,
                               .successor = next,
                               .recovery =
                                   clone && clone->has_successor ? &clone->successor : &newest->recovery,
                               .time = clock_unix_time()};
  return next ? user_succeed(newest, &succession, &binding, parts->hosting, error) : NULL;
}

gboolean
name_succeed(char **words, const NameOptions *options, GError **error)
{
  guint64 number = 0;
  g_autoptr(GPtrArray) places = name_places(error);
  g_autoptr(User) user = places ? user_load(TRUE, error) : NULL;
  if (!user || !need_record(user, error))
    return FALSE;
  g_autoptr(Record) record = make_succession(user, options, error);
  if (!record || !name_publish(user, record, places, &number, error)) {
    g_prefix_error(error, "the old key of \"%s\" is still the one that holds: ", user->record->name);
    return FALSE;
  }
  printf("\"%s\" has a new key; what the old one signs from now on is nothing (number %" PRIu64
         " of the directory's log).\n",
         user->record->name, number);
  return TRUE;
}

gboolean
name_revoke(char **words, const NameOptions *options, GError **error)
{
  guint64 number = 0;
  g_autoptr(GPtrArray) places = name_places(error);
  g_autoptr(User) user = places ? user_load(TRUE, error) : NULL;
  if (!user || !need_record(user, error))
    return FALSE;
  g_autoptr(RecordParts) parts = record_parts(user->record);
  RecordBinding binding = same_binding(user->record, options);
  binding.revoked = TRUE;
  g_autoptr(Record) record = user_bind(user, NULL, &binding, parts->hosting, error);
  if (!record || !name_publish(user, record, places, &number, error)) {
    g_prefix_error(error, "the clone of \"%s\" still counts: ", user->record->name);
    return FALSE;
  }
  printf("\"%s\" has no clone any more: nobody takes the lost one for yours (number %" PRIu64
         " of the directory's log).\n"
         "The name stays yours; \"doppel name claim %s\" gives it another clone.\n",
         user->record->name, number, user->record->name);
  return TRUE;
}
