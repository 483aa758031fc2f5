/* A recovery phrase, as somebody types it. */
#include <string.h>

#include "identity/phrase.h"

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  guint8 secret[IDENTITY_PHRASE_SECRET], again[IDENTITY_PHRASE_SECRET];
  if (length == sizeof secret) {
    g_autofree char *phrase = identity_phrase_write(data);
    if (!identity_phrase_read(phrase, again, NULL) || memcmp(again, data, sizeof again) != 0)
      __builtin_trap();
  }
  if (length > 3000)
    return 0;
  g_autofree char *text = g_strndup((const char *)data, length);
  if (!identity_phrase_read(text, secret, NULL))
    return 0;
  g_autofree char *phrase = identity_phrase_write(secret);
  if (!identity_phrase_read(phrase, again, NULL) || memcmp(again, secret, sizeof again) != 0)
    __builtin_trap();
  return 0;
}
