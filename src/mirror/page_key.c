#include "mirror/page_key.h"

#include <sodium.h>
#include <string.h>

void
page_key(const guint8 page[static COPIES_PAGE], PageKey *key)
{
  crypto_generichash(key->bytes, sizeof key->bytes, page, COPIES_PAGE, NULL, 0);
}

gboolean
page_key_equal(const PageKey *a, const PageKey *b)
{
  return memcmp(a, b, sizeof *a) == 0;
}

gboolean
page_is_zero(const guint8 page[static COPIES_PAGE])
{
  /* If the first bytes are 0 and each equals the one a word further, all are. */
  static const guint8 zero[sizeof(guint64)];
  return memcmp(page, zero, sizeof zero) == 0 &&
         memcmp(page, page + sizeof zero, COPIES_PAGE - sizeof zero) == 0;
}
