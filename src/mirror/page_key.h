/* The name of a page by what is in it. Pages are of COPIES_PAGE bytes. */
#pragma once

#include <glib.h>

#include "mirror/copies.h"

enum { PAGE_KEY_SIZE = 16 };

typedef struct {
  guint8 bytes[PAGE_KEY_SIZE];
} PageKey;

/* BLAKE2b-128 of the page: nobody can make two pages of one key with less than 2^64 tries. */
void page_key(const guint8 page[static COPIES_PAGE], PageKey *key);
gboolean page_key_equal(const PageKey *a, const PageKey *b);

/* Is every byte 0? A page that is not mostly costs its first bytes only. */
gboolean page_is_zero(const guint8 page[static COPIES_PAGE]);
