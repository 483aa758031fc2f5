#include "c2c/directory_peer_keys.h"

#include "c2c/directory_peers.h"

struct DirectoryPeerKeys {
  IdentityPublic own;
  GMutex lock;
  GArray *all; /* of IdentityPublic, under the lock */
};

DirectoryPeerKeys *
directory_peer_keys_new(const IdentityPublic *own)
{
  DirectoryPeerKeys *keys = g_new0(DirectoryPeerKeys, 1);
  keys->own = *own;
  g_mutex_init(&keys->lock);
  keys->all = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  return keys;
}

void
directory_peer_keys_free(DirectoryPeerKeys *keys)
{
  g_array_unref(keys->all);
  g_mutex_clear(&keys->lock);
  g_free(keys);
}

void
directory_peer_keys_set(DirectoryPeerKeys *keys, const GArray *all)
{
  g_mutex_lock(&keys->lock);
  g_array_set_size(keys->all, 0);
  g_array_append_vals(keys->all, all->data, all->len);
  g_mutex_unlock(&keys->lock);
}

/* Signatures are not verified under the lock. */
static GArray *
copy_all(const DirectoryPeerKeys *keys)
{
  GMutex *lock = (GMutex *)&keys->lock;
  g_mutex_lock(lock);
  GArray *copy = g_array_copy(keys->all);
  g_mutex_unlock(lock);
  return copy;
}

gboolean
directory_peer_keys_has(const DirectoryPeerKeys *keys, const IdentityPublic *key)
{
  g_autoptr(GArray) all = copy_all(keys);
  for (guint i = 0; i < all->len; i++)
    if (identity_public_equal(&g_array_index(all, IdentityPublic, i), key))
      return TRUE;
  return FALSE;
}

Record *
directory_peer_keys_judge(const DirectoryPeerKeys *keys, const DirectorySigned *update)
{
  g_autoptr(GArray) all = copy_all(keys);
  IdentityPublic home;
  return directory_peers_judge(update, (const IdentityPublic *)(void *)all->data, all->len, &keys->own, &home,
                               NULL);
}
