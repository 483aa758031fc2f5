/* Base32 (RFC 4648 section 6) in small letters without padding: keys and invitations survive being read
 * aloud. */
#pragma once

#include <glib.h>

/* Letters that `length` bytes take. */
#define BASE32_LENGTH(length) (((length)*8 + 4) / 5)

char *base32_encode(const guint8 *bytes, gsize length);

/* The bytes of `text` (capitals too). NULL where a character is no base32 or the text no encoding's end. */
GBytes *base32_decode(const char *text);
