/* Copies of pages as both twins had them when they last travelled. Pages that are written again and again (a
 * stack, a few globals, a cache's book-keeping) then need not be sent whole: only what is otherwise in them.
 * The memory of one side; the other need not have the same. Pages are of COPIES_PAGE bytes, whatever the
 * kernel's are. */
#pragma once

#include <glib.h>

enum { COPIES_PAGE = 4096, COPIES_MAX = 1024 }; /* pages; 4 MiB of copies */

typedef struct MirrorCopies MirrorCopies;

MirrorCopies *mirror_copies_new(void);
void mirror_copies_free(MirrorCopies *copies);

void mirror_copies_put(MirrorCopies *copies, guint64 address, const guint8 *page);
void mirror_copies_drop(MirrorCopies *copies, guint64 address, guint64 length);
void mirror_copies_clear(MirrorCopies *copies);
guint8 *mirror_copies_get(MirrorCopies *copies, guint64 address); /* NULL: none */

/* What makes `now` of `former`: appended to `into`, and how many bytes that are; 0 and nothing where it would
 * not be much less than the page. */
gsize mirror_changes_pack(const guint8 *former, const guint8 *now, GByteArray *into);
/* Makes it so; `page` NULL: only looks whether it could. FALSE for bytes (hostile) that make no sense. */
gboolean mirror_changes_apply(const guint8 *changes, gsize length, guint8 *page);
