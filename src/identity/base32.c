#include "identity/base32.h"

#include <string.h>

static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";

char *
base32_encode(const guint8 *bytes, gsize length)
{
  GString *text = g_string_sized_new(BASE32_LENGTH(length) + 1);
  guint32 pending = 0;
  int bits = 0;
  for (gsize i = 0; i < length; i++) {
    pending = (pending << 8 | bytes[i]) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5)
      g_string_append_c(text, letters[pending >> (bits - 5) & 31]);
  }
  if (bits > 0)
    g_string_append_c(text, letters[pending << (5 - bits) & 31]);
  return g_string_free(text, FALSE);
}

GBytes *
base32_decode(const char *text)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  guint32 pending = 0;
  int bits = 0;
  for (; *text; text++) {
    const char *letter = strchr(letters, g_ascii_tolower(*text));
    if (!letter)
      return NULL;
    pending = (pending << 5 | (guint32)(letter - letters)) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      guint8 byte = pending >> bits;
      g_byte_array_append(bytes, &byte, 1);
    }
  }
  /* One text per value: no letter too many, and nothing hidden in the last one. */
  if (bits >= 5 || (pending & ((1u << bits) - 1)) != 0)
    return NULL;
  return g_byte_array_free_to_bytes(g_steal_pointer(&bytes));
}
