#include "cmd/gateway_dial.h"

#include "base/error.h"
#include "cmd/clone_where.h"
#include "identity/user.h"

static PairedClone *
find(const char *name, GError **error)
{
  return name ? paired_find(name, error) : user_clone(error);
}

static Link *
dial(const PairedClone *clone, const char *const *addresses, GError **error)
{
  g_autoptr(IdentityKey) own = identity_device_key(error);
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.compression = -1; /* streams are compressed by who knows what is in them */
  return own ? link_dial(addresses, own, &clone->key, clone->id, &options, error) : NULL;
}

Link *
gateway_dial_clone(const char *name, GError **error)
{
  g_autoptr(GError) away = NULL;
  g_autoptr(PairedClone) clone = find(name, error);
  if (!clone)
    return NULL;
  Link *link = clone_where_answers(clone) ? dial(clone, (const char *const *)clone->addresses, &away) : NULL;
  if (link)
    return link;
  /* Nobody is there, or somebody else has the address now. */
  g_auto(GStrv) addresses = clone_where_ask(clone);
  if (addresses && !g_strv_equal((const char *const *)addresses, (const char *const *)clone->addresses) &&
      (link = dial(clone, (const char *const *)addresses, NULL)))
    paired_set_addresses(clone->name, (const char *const *)addresses, NULL);
  /* The directory knows nothing better: it is waited for a little longer. */
  if (!link && !away)
    return dial(clone, (const char *const *)clone->addresses, error);
  if (!link)
    g_propagate_error(error, g_steal_pointer(&away));
  return link;
}

gboolean
gateway_is_own(const Link *link, const char *name)
{
  g_autoptr(PairedClone) clone = find(name, NULL);
  const IdentityPublic *key = link_peer(link);
  return !clone || !key || identity_public_equal(key, &clone->key);
}

char **
gateway_where(const char *name)
{
  g_autoptr(PairedClone) clone = find(name, NULL);
  return clone ? clone_where_ask(clone) : NULL;
}
