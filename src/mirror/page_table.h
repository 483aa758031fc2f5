/* What is remembered of pages, by their addresses: tables whose values begin with the page's address, which
 * is their key. Pages are of COPIES_PAGE bytes. */
#pragma once

#include <glib.h>

GHashTable *mirror_page_table_new(void); /* frees its values with g_free() */
/* Drops what is remembered of [start, end), whole pages: at the cost of what is less, pages or values. */
void mirror_page_table_drop(GHashTable *table, guint64 start, guint64 end);
