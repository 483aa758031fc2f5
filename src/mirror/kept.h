/* Pages that stay behind in the clone (--lazy-return): contents that a block left, kept as they were at its
 * end, whatever the mirror does to them in a later block: until the device asks for them, or has said that
 * other contents are there now. What a block leaves counts once the device has taken that block. */
#pragma once

#include "mirror/delta.h"

typedef struct MirrorKept MirrorKept;

MirrorKept *mirror_kept_new(void);
void mirror_kept_free(MirrorKept *kept);

/* The block that ends leaves these contents in one page; or leaves nothing behind in [start, end). */
void mirror_kept_leave(MirrorKept *kept, guint64 address, const guint8 *page);
void mirror_kept_take_along(MirrorKept *kept, guint64 start, guint64 end);
/* The device has taken that block. */
void mirror_kept_settle(MirrorKept *kept);

/* The device has other contents there. */
void mirror_kept_drop(MirrorKept *kept, guint64 start, guint64 end);
guint64 mirror_kept_pages(const MirrorKept *kept); /* how many in all */

/* Answers a question (hostile): contents, and holes where they are zeros; they are not kept any longer. Pages
 * that are not kept are left out. HOSTILE for more than MIRROR_GIVE_MAX pages. */
gboolean mirror_kept_give(MirrorKept *kept, const MirrorRanges *wanted, MirrorDelta *answer, GError **error);
