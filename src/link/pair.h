/* Pairing (CloneCloud's "trusted" clone made concrete): a device turns an invitation into a clone of its own,
 * or gives a clone up. Both go over a link that is addressed to the host itself (a clone id of zeros) and
 * lives for one request.
 *
 * The device knows the host's key from the invitation and shows its own in TLS; the invitation's secret, sent
 * inside, tells the host that this is the device it was meant for. The host answers with the clone's key,
 * which the device pins. */
#pragma once

#include "identity/invitation.h"
#include "identity/paired.h"
#include "identity/recovery.h"
#include "link/link.h"

#define LINK_PAIR_NAME_MAX 64 /* bytes of a device's or clone's name */

/* The device. `name` is what the user calls the clone; NULL takes the host's proposal. The error says which
 * it was: NOT_FOUND, or DENIED for expired, used, a wrong secret, too many tries. The result is not stored
 * yet. */
PairedClone *link_pair(const Invitation *invitation, const IdentityKey *device, const char *name,
                       GError **error);

/* What link_pair() makes of the bytes that the host answered. */
PairedClone *link_pair_read(const guint8 *data, gsize length, const Invitation *invitation, const char *name,
                            GError **error);

/* The device gives up `clone`; where it has other devices, too, only itself. NOT_FOUND where the host does
 * not know it (any more), GONE where nobody answers. */
gboolean link_unpair(const PairedClone *clone, const IdentityKey *device, GError **error);

/* Has the host take `clone` into the network of clones: its word that the clone is at home there, a part of a
 * user's record (identity/record.h), which it is a Hosting of, signed as such. NOT_FOUND as above. */
GBytes *link_pair_hosting(const PairedClone *clone, const IdentityKey *device, GError **error);

/* The clone host's part: what to do about a request that has been checked for its form. */
typedef enum {
  LINK_PAIR_OK = 0,
  LINK_PAIR_UNKNOWN,
  LINK_PAIR_EXPIRED,
  LINK_PAIR_USED,
  LINK_PAIR_WRONG,
  LINK_PAIR_LOCKED,
  LINK_PAIR_FAILED,
} LinkPairResult;

typedef struct {
  char name[LINK_PAIR_NAME_MAX + 1];
  guint8 id[PAIRED_ID_LENGTH];
  IdentityPublic key;
  char **addresses;
  /* Of one that was found by a recovery key: */
  IdentityPublic host;
  guint8 seal[IDENTITY_SEAL_LENGTH];
} LinkPairClone;

typedef struct {
  /* Uses the invitation up for `device` and makes a clone; again for the same device, the same clone. With
   * LINK_PAIR_FAILED sets `error`. */
  LinkPairResult (*use)(gpointer host, const guint8 invitation[INVITATION_ID_LENGTH],
                        const guint8 secret[INVITATION_SECRET_LENGTH], const IdentityPublic *device,
                        const char *device_name, LinkPairClone *clone, GError **error);
  LinkPairResult (*remove)(gpointer host, const guint8 clone[PAIRED_ID_LENGTH], const IdentityPublic *device,
                           GError **error);
  /* Keeps what belongs to a recovery phrase that one of the clone's devices made, in place of what it had. */
  LinkPairResult (*remember)(gpointer host, const guint8 clone[PAIRED_ID_LENGTH],
                             const IdentityPublic *device, const IdentityPublic *key,
                             const guint8 seal[IDENTITY_SEAL_LENGTH], GError **error);
  /* The clone whose recovery key that is. */
  LinkPairResult (*find)(gpointer host, const IdentityPublic *key, LinkPairClone *clone, GError **error);
  /* Makes `device`, which has proved to have the clone's recovery key, one of its own: the only one, unless
   * `beside`. */
  LinkPairResult (*recover)(gpointer host, const guint8 clone[PAIRED_ID_LENGTH], const IdentityPublic *key,
                            const IdentityPublic *device, const char *device_name, gboolean beside,
                            GError **error);
  /* The clone of one of its devices is to be in the network of clones: *hosting is a record's part. */
  LinkPairResult (*hosting)(gpointer host, const guint8 clone[PAIRED_ID_LENGTH], const IdentityPublic *device,
                            GBytes **hosting, GError **error);
} LinkPairHost;

/* The clone host: answers the request that comes over `link`, an accepted one, within `timeout_ms`; or the
 * two of a recovery (recover.h). */
gboolean link_pair_serve(Link *link, const LinkPairHost *calls, gpointer host, int timeout_ms,
                         GError **error);
