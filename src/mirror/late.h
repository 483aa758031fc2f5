/* Pages of the primary that stayed behind in the clone (--lazy-return), and come when they are touched: the
 * counterpart of pager.h on the device. There is one for a process's image, over sessions: its userfaultfd
 * serves what is armed, next to the tracker's own. While the program runs nobody looks at its system calls;
 * that it forks, moves, lets go or unmaps memory which is armed the kernel tells in events (userfaultfd(2),
 * non-cooperative mode; admin-guide/mm/userfaultfd.rst), and holds the call until they are read. So whoever
 * waits for a thread of the process has to serve meanwhile: mirror/process.h does, by process->serve.
 *
 * What stayed behind goes by its origin (places.h): that is what the clone is asked for. */
#pragma once

#include "mirror/delta.h"
#include "mirror/pager.h"
#include "mirror/places.h"

typedef struct MirrorLate MirrorLate;

/* The process stands, with its scratch made. `device`: its descriptor on /dev/userfaultfd (-1: none). NULL
 * with UNSUPPORTED where this machine has, or grants, no such userfaultfd. `pull` is told origins. */
MirrorLate *mirror_late_new(MirrorProcess *process, int device, MirrorPull pull, void *user, GError **error);
/* Is told when what is far does not come, or is no answer: the program cannot go on. It need not return. */
void mirror_late_on_failure(MirrorLate *late, void (*failed)(const GError *error, void *user));
/* Forgets what is still far: for a process that is gone, or has become another program. */
void mirror_late_free(MirrorLate *late);

/* A session begins, all threads stand: the tracker, which has to be of the kind PAGEMAP, takes and gives back
 * what is armed. */
gboolean mirror_late_attach(MirrorLate *late, MirrorTracker *tracker, GError **error);
/* It ends: nothing must be far. */
void mirror_late_detach(MirrorLate *late);

int mirror_late_fd(const MirrorLate *late); /* readable when somebody waits */
gboolean mirror_late_serve(MirrorLate *late, GError **error);
guint64 mirror_late_bytes(const MirrorLate *late); /* that are far */
/* Children of the process have been born that lack pages: where these do not come, they cannot go on
 * either. */
gboolean mirror_late_has_heirs(const MirrorLate *late);
gint64 mirror_late_heirs_since(const MirrorLate *late); /* CLOCK_BOOTTIME ns: none is older */

/* ---- at the beginning of a block: all threads stand ---- */

/* Before the tracker looks: what was moved is made new. */
gboolean mirror_late_before_capture(MirrorLate *late, const MirrorLayout *layout, GError **error);
/* After it: what has nothing far is the tracker's again. */
gboolean mirror_late_after_capture(MirrorLate *late, const MirrorLayout *layout, GError **error);

/* ---- at its end ---- */

/* Other contents are to be there. */
void mirror_late_forget(MirrorLate *late, guint64 start, guint64 end);
/* The FAR runs of a delta (hostile) whose other runs have been written, where they can only come now. */
gboolean mirror_late_put_now(MirrorLate *late, const MirrorLayout *layout, const MirrorDelta *delta,
                             GError **error);
/* The others hold from now on. */
gboolean mirror_late_arm(MirrorLate *late, const MirrorLayout *layout, const MirrorDelta *delta,
                         GError **error);

/* ---- */

/* Sees to it that these pages are there. */
gboolean mirror_late_fill(MirrorLate *late, guint64 address, gsize length, GError **error);
gboolean mirror_late_fill_all(MirrorLate *late, GError **error);
