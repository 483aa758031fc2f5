#include "identity/statement.h"

#include <sodium.h>
#include <string.h>

static GByteArray *
signed_text(const char *purpose, const void *statement, gsize length)
{
  GByteArray *text = g_byte_array_sized_new(strlen(purpose) + 1 + length);
  g_byte_array_append(text, (const guint8 *)purpose, strlen(purpose) + 1);
  if (length > 0)
    g_byte_array_append(text, statement, length);
  return text;
}

void
statement_sign(const IdentityKey *key, const char *purpose, const void *statement, gsize length,
               guint8 signature[IDENTITY_SIGNATURE_LENGTH])
{
  g_autoptr(GByteArray) text = signed_text(purpose, statement, length);
  identity_sign(key, text->data, text->len, signature);
}

gboolean
statement_verify(const IdentityPublic *key, const char *purpose, const void *statement, gsize length,
                 const guint8 signature[IDENTITY_SIGNATURE_LENGTH])
{
  g_autoptr(GByteArray) text = signed_text(purpose, statement, length);
  return identity_verify(key, text->data, text->len, signature);
}

void
statement_hash(const void *data, gsize length, guint8 hash[STATEMENT_HASH_LENGTH])
{
  crypto_generichash(hash, STATEMENT_HASH_LENGTH, data, length, NULL, 0);
}
