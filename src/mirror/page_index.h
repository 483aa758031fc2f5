/* What the device believes the store of a clone to hold, so that it knows without asking. A bounded set of
 * keys, in one file per clone; the ones not used for longest fall out. It is a hint: a page named by its key
 * that the clone does not have costs a pull. For one thread at a time. */
#pragma once

#include <glib.h>

#include "mirror/page_key.h"

typedef struct PageIndex PageIndex;

enum { PAGE_INDEX_KEYS = 131072, PAGE_INDEX_IDENTITY = 16 }; /* keys: 512 MiB of pages, and 2 MiB of file */

/* What the file at `path` holds, at most the `max` keys used last; nothing where it is missing, damaged, or
 * of a later version. The file may be hostile. 36 bytes of memory for each of `max` keys, which are only
 * taken as keys come. 1 <= max <= 2^24. Never NULL. */
PageIndex *page_index_load(const char *path, guint max);
void page_index_free(PageIndex *index);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PageIndex, page_index_free)

/* Says whose keys they are (page_store_identity()): those of another store are forgotten. TRUE: they were
 * kept. A new index has the identity of zeros. */
gboolean page_index_set_identity(PageIndex *index, const guint8 identity[static PAGE_INDEX_IDENTITY]);

/* TRUE counts as a use. */
gboolean page_index_has(PageIndex *index, const PageKey *key);
void page_index_add(PageIndex *index, const PageKey *key);
/* The clone said that it lacks it. */
void page_index_remove(PageIndex *index, const PageKey *key);
guint page_index_count(const PageIndex *index);

/* Replaces the file. What another process saved since this index was loaded or saved is merged first, under a
 * lock of the file's directory: its keys count as older than all of this one's, and those that were removed
 * here stay removed. If it was saved with another identity, this one's wins. FALSE with an error: the file is
 * as it was. */
gboolean page_index_save(PageIndex *index, GError **error);
