/* An invitation, as somebody pastes it. The check sum hides what is behind it from a fuzzer, so that the
 * bytes are also taken as the fields themselves and given a right one. */
#include <sodium.h>
#include <string.h>

#include "identity/address.h"
#include "identity/base32.h"
#include "identity/invitation.h"

static void
try_text(const char *text)
{
  g_autoptr(Invitation) invitation = invitation_from_text(text, NULL);
  if (!invitation)
    return;
  g_autofree char *again = invitation_to_text(invitation);
  g_autoptr(Invitation) same = invitation_from_text(again, NULL);
  if (!same || memcmp(same->secret, invitation->secret, sizeof same->secret) != 0 ||
      !invitation->addresses[0])
    __builtin_trap();
  for (char **address = invitation->addresses; *address; address++)
    if (!identity_address_check(*address, NULL))
      __builtin_trap();
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  if (length > 3000)
    return 0;
  g_autofree char *text = g_strndup((const char *)data, length);
  try_text(text);

  guint8 hash[crypto_generichash_BYTES];
  crypto_generichash(hash, sizeof hash, data, length, NULL, 0);
  g_autofree guint8 *summed = g_malloc(length + 4);
  if (length > 0)
    memcpy(summed, data, length);
  memcpy(summed + length, hash, 4);
  g_autofree char *letters = base32_encode(summed, length + 4);
  g_autofree char *whole = g_strconcat("doppel1", letters, NULL);
  try_text(whole);

  IdentityPublic key;
  if (identity_public_from_text(text, &key, NULL)) {
    g_autofree char *again = identity_public_to_text(&key);
    if (g_ascii_strcasecmp(again, text) != 0)
      __builtin_trap();
  }
  return 0;
}
