/* The user of this device in the network of clones (Clone2Clone section 4): their key, which is on the device
 * only, and their record (identity/record.h) as this device has made it.
 *
 * In identity_directory(): user.key; user.key.next, the key that follows it, until a directory has taken the
 * succession; user.record, the newest record that the home directory has taken; user.proposed, one that was
 * made since and that it has not taken, or not answered to. What was proposed is never made a second time
 * with another content under the same number, so what was answered when nobody listened any more does no
 * harm. */
#pragma once

#include "identity/paired.h"
#include "identity/record.h"

typedef struct {
  IdentityKey *key;  /* the one that signs for the newest record; NULL: there is none */
  Record *record;    /* NULL: nothing was taken yet */
  Record *proposed;  /* NULL: nothing since */
  IdentityKey *next; /* after user_next_key() */
  int lock;
} User;
void user_free(User *user);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(User, user_free)

/* What there is, which may be nothing. With `change` nobody else changes it until it is freed. DENIED where
 * key and record do not belong together. */
User *user_load(gboolean change, GError **error);

/* The proposed record, else the one that was taken; NULL: neither. */
const Record *user_newest(const User *user);

/* Makes the user's first key where there is none. */
gboolean user_make_key(User *user, GError **error);

/* The key that is to follow: made once, and the same one again until it was taken. Owned by `user`. */
const IdentityKey *user_next_key(User *user, GError **error);

/* A record that is about to be told: kept before anybody sees it. */
gboolean user_propose(User *user, Record *record, GError **error);

/* The directory has taken this one (with whereabouts, perhaps): it replaces what there was, and the key that
 * follows becomes the user's where the record says so. */
gboolean user_took(User *user, Record *record, GError **error);

/* The clone that this device has in the network of clones: the one that the newest record names, else the
 * only one that is paired. NOT_FOUND, USAGE as paired_find(). */
PairedClone *user_clone(GError **error);

/* Making the next record. `binding` says whose clone it is; its origin and serial are set here. */

/* From what `user` has: of the same key, with a new binding. `recovery` is for a root, where there is none.
 */
Record *user_bind(const User *user, const IdentityPublic *recovery, const RecordBinding *binding,
                  GBytes *hosting, GError **error);

/* What a succession is made by. */
typedef struct {
  const IdentityKey *signer; /* the key before, or with `by_recovery` the recovery key before */
  gboolean by_recovery;
  guint after; /* how many successions stay before it: what came after them is void */
  const IdentityKey *successor;
  const IdentityPublic *recovery; /* the public half of the recovery key from now on */
  gint64 time;                    /* seconds since 1970 */
} UserSuccession;

/* From any record of the user. USAGE where there were as many successions as there can be. */
Record *user_succeed(const Record *before, const UserSuccession *succession, const RecordBinding *binding,
                     GBytes *hosting, GError **error);

/* After how many of a record's successions the phrase with that recovery key is to sign the next one: the
 * first place since the last recovery where it was the user's, so that whatever others know of successions by
 * a key that was taken, or that two had, is void everywhere. -1: it is not the user's phrase. */
int user_recovery_place(const Record *record, const IdentityPublic *recovery);

/* The binding of a record, its name borrowed. */
RecordBinding user_binding(const Record *record);

/* When a binding is to be renewed (seconds since 1970): after a quarter of its time, so that a device that is
 * seldom on, or a directory that is away for months, leaves time enough. And when somebody has to be told
 * that it was not: after half of it. */
gint64 user_renewal(const Record *record);
gint64 user_renewal_late(const Record *record);

/* Whether this device can and should renew its user's binding now: it has the key, and a record whose time
 * has come. */
gboolean user_renewal_is_due(void);
