#include "record_world.h"

#include <string.h>

IdentityKey *
world_key(guint number)
{
  guint8 seed[IDENTITY_SEED_LENGTH] = {0};
  memcpy(seed, &number, sizeof number);
  return identity_key_from_seed(seed);
}

WorldUser *
world_user_new(guint number, const char *name)
{
  WorldUser *user = g_new0(WorldUser, 1);
  user->origin = world_key(number);
  user->key = world_key(number);
  user->recovery = world_key(number + 1);
  user->clone = world_key(number + 2);
  user->device = world_key(number + 3);
  user->provider = world_key(number + 4);
  user->directory = world_key(number + 5);
  user->root = record_sign_root(user->origin, identity_key_public(user->recovery));
  user->successions = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  RecordBinding *binding = &user->binding;
  binding->origin = *identity_key_public(user->origin);
  binding->name = name;
  memset(binding->clone, number, sizeof binding->clone);
  binding->clone_key = *identity_key_public(user->clone);
  binding->device = *identity_key_public(user->device);
  binding->provider = *identity_key_public(user->provider);
  binding->directory = *identity_key_public(user->directory);
  binding->issued = WORLD_TIME;
  binding->expires = WORLD_TIME + 1000;
  user->hosting = record_sign_hosting(user->provider, binding->clone, &binding->clone_key, WORLD_TIME);
  return user;
}

void
world_user_free(WorldUser *user)
{
  if (!user)
    return;
  IdentityKey *keys[] = {user->origin, user->key,      user->recovery, user->clone,
                         user->device, user->provider, user->directory};
  for (gsize i = 0; i < G_N_ELEMENTS(keys); i++)
    identity_key_free(keys[i]);
  g_bytes_unref(user->root);
  g_bytes_unref(user->hosting);
  g_ptr_array_unref(user->successions);
  g_free(user);
}

void
world_succeed(WorldUser *user, guint number, gboolean by_recovery)
{
  IdentityKey *key = world_key(number), *recovery = world_key(number + 1);
  g_ptr_array_add(user->successions,
                  record_sign_succession(&user->binding.origin, user->successions->len + 1,
                                         by_recovery ? user->recovery : user->key, by_recovery, key,
                                         identity_key_public(recovery), WORLD_TIME));
  identity_key_free(user->key);
  identity_key_free(user->recovery);
  user->key = key;
  user->recovery = recovery;
}

Record *
world_record(const WorldUser *user, guint64 serial, guint64 sequence, GError **error)
{
  static const char *const addresses[] = {"192.0.2.1:4280", "[2001:db8::1]:4280", NULL};
  RecordBinding binding = user->binding;
  binding.serial = serial;
  g_autoptr(GBytes) bound = record_sign_binding(user->key, &binding);
  g_autoptr(GBytes) whereabouts =
      sequence > 0 ? record_sign_whereabouts(user->clone, addresses, sequence, WORLD_TIME, WORLD_TIME + 100)
                   : NULL;
  return record_assemble(user->root, (GBytes *const *)user->successions->pdata, user->successions->len, bound,
                         user->hosting, whereabouts, error);
}
