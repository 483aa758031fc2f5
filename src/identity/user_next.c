/* A user's next record, from the parts of the one before. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "identity/user.h"

RecordBinding
user_binding(const Record *record)
{
  RecordBinding binding = {.origin = record->origin,
                           .name = record->name,
                           .clone_key = record->clone_key,
                           .device = record->device,
                           .provider = record->provider,
                           .directory = record->directory,
                           .serial = record->serial,
                           .issued = record->issued,
                           .expires = record->expires,
                           .revoked = record->revoked};
  memcpy(binding.clone, record->clone, sizeof binding.clone);
  return binding;
}

static guint64
next_serial(const User *user)
{
  guint64 serial = user->record ? user->record->serial : 0;
  return MAX(serial, user->proposed ? user->proposed->serial : 0) + 1;
}

Record *
user_bind(const User *user, const IdentityPublic *recovery, const RecordBinding *binding, GBytes *hosting,
          GError **error)
{
  const Record *newest = user_newest(user);
  g_autoptr(RecordParts) parts = newest ? record_parts(newest) : NULL;
  g_autoptr(GBytes) root = parts ? g_bytes_ref(parts->root) : record_sign_root(user->key, recovery);
  RecordBinding made = *binding;
  made.origin = newest ? newest->origin : *identity_key_public(user->key);
  made.serial = next_serial(user);
  g_autoptr(GBytes) bound = record_sign_binding(user->key, &made);
  return record_assemble(root, parts ? (GBytes *const *)parts->successions->pdata : NULL,
                         parts ? parts->successions->len : 0, bound, hosting, NULL, error);
}

Record *
user_succeed(const Record *before, const UserSuccession *succession, const RecordBinding *binding,
             GBytes *hosting, GError **error)
{
  g_return_val_if_fail(succession->after <= before->successions, NULL);
  if (succession->after >= RECORD_SUCCESSIONS_MAX) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "the key of \"%s\" was followed by others %d times, and that is as often as it can be: "
                     "claim a new name",
                     before->name, RECORD_SUCCESSIONS_MAX);
    return NULL;
  }
  g_autoptr(RecordParts) parts = record_parts(before);
  g_ptr_array_set_size(parts->successions, succession->after);
  g_ptr_array_add(parts->successions,
                  record_sign_succession(&before->origin, succession->after + 1, succession->signer,
                                         succession->by_recovery, succession->successor, succession->recovery,
                                         succession->time));
  RecordBinding made = *binding;
  made.origin = before->origin;
  made.serial = before->serial + 1;
  g_autoptr(GBytes) bound = record_sign_binding(succession->successor, &made);
  return record_assemble(parts->root, (GBytes *const *)parts->successions->pdata, parts->successions->len,
                         bound, hosting, NULL, error);
}

int
user_recovery_place(const Record *record, const IdentityPublic *recovery)
{
  for (guint after = record_last_recovery(record); after <= record->successions; after++) {
    IdentityPublic then;
    record_keys_after(record, after, NULL, &then);
    if (identity_public_equal(&then, recovery))
      return after;
  }
  return -1;
}

gint64
user_renewal(const Record *record)
{
  return record->issued + (record->expires - record->issued) / 4;
}

gint64
user_renewal_late(const Record *record)
{
  return record->issued + (record->expires - record->issued) / 2;
}

gboolean
user_renewal_is_due(void)
{
  g_autoptr(User) user = user_load(FALSE, NULL);
  return user && user->key && user->record && !user->record->revoked &&
         clock_unix_time() >= user_renewal(user->record);
}
