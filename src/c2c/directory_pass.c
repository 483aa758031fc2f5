#include "c2c/directory_pass.h"

#include <sodium.h>
#include <string.h>

#define DAY_S      86400
#define ID_LENGTH  8
#define DAY_LENGTH 2

G_STATIC_ASSERT(sizeof(LinkCallerSource) == DIRECTORY_PASS_LENGTH);

void
directory_passes_init(DirectoryPasses *passes, const IdentityKey *directory)
{
  static const guint8 purpose[] = "doppel directory pass 1";
  crypto_generichash(passes->secret, sizeof passes->secret, purpose, sizeof purpose,
                     identity_key_seed(directory), IDENTITY_SEED_LENGTH);
}

static void
write_id(const IdentityPublic *peer, guint8 id[ID_LENGTH])
{
  guint8 digest[crypto_generichash_BYTES];
  crypto_generichash(digest, sizeof digest, peer->bytes, sizeof peer->bytes, NULL, 0);
  memcpy(id, digest, ID_LENGTH);
}

/* What is not the id and the day. */
static void
seal(const DirectoryPasses *passes, DirectoryPass *pass)
{
  guint8 digest[crypto_generichash_BYTES];
  crypto_generichash(digest, sizeof digest, pass->bytes, ID_LENGTH + DAY_LENGTH, passes->secret,
                     sizeof passes->secret);
  memcpy(pass->bytes + ID_LENGTH + DAY_LENGTH, digest, sizeof pass->bytes - ID_LENGTH - DAY_LENGTH);
}

DirectoryPass
directory_pass_make(const DirectoryPasses *passes, const IdentityPublic *peer, gint64 now)
{
  DirectoryPass pass;
  guint16 day = GUINT16_TO_LE((guint16)(now / DAY_S));
  write_id(peer, pass.bytes);
  memcpy(pass.bytes + ID_LENGTH, &day, sizeof day);
  seal(passes, &pass);
  return pass;
}

gboolean
directory_pass_check(const DirectoryPasses *passes, const DirectoryPass *pass, gint64 now)
{
  DirectoryPass right = *pass;
  guint16 day;
  memcpy(&day, pass->bytes + ID_LENGTH, sizeof day);
  seal(passes, &right);
  return sodium_memcmp(right.bytes, pass->bytes, sizeof right.bytes) == 0 &&
         (guint16)(now / DAY_S - GUINT16_FROM_LE(day)) <= DIRECTORY_PASS_DAYS;
}

gboolean
directory_pass_is_of(const DirectoryPass *pass, const IdentityPublic *peer)
{
  guint8 id[ID_LENGTH];
  write_id(peer, id);
  return memcmp(id, pass->bytes, sizeof id) == 0;
}

gboolean
directory_pass_is_none(const DirectoryPass *pass)
{
  return sodium_is_zero(pass->bytes, sizeof pass->bytes);
}

/* Passes of several days are one key's. */
LinkCallerSource
directory_pass_holder(const DirectoryPass *pass)
{
  LinkCallerSource holder = {{0}};
  memcpy(holder.bytes, pass->bytes, ID_LENGTH);
  return holder;
}
