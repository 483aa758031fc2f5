/* A process whose memory the test has, and gives when the pager asks for it. */
#pragma once

#include <sys/mman.h>
#include <sys/syscall.h>

#include "mirror/pager.h"
#include "rig.h"

enum { PAGE = COPIES_PAGE, ROOM = 2048 };
#define HERE       0x200000000ull
#define AT(page)   (HERE + (guint64)(page)*PAGE)
#define READ_WRITE (PROT_READ | PROT_WRITE)
#define PRIVATE    (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
#define WORKERS    (BOARD_WORKERS + 1) /* and the first thread */

/* What the other side answers. */
typedef enum {
  HONEST,
  GENEROUS, /* more than was asked for, of what is far */
  NOTHING,
  LESS,
  ELSEWHERE,   /* pages that nobody asked for */
  OVERLAPPING, /* twice the same */
  WRONG_KIND,
  BEYOND, /* over the end of what is far */
  FAILING,
  ANSWERS,
} PagerManner;

typedef struct {
  MirrorProcess *process;
  MirrorTracker *tracker;
  MirrorCopies *copies;
  MirrorPager *pager;
  MirrorLayout *layout;
  guint64 words[ROOM]; /* what each page of the other side is filled with; 0: zeros */
  PagerManner manner;
  guint64 asked; /* pages */
  GArray *runs;  /* of the last look */
} PagerWorld;

/* FALSE where pages are to come on demand, and this machine grants that not; the test is skipped. */
gboolean pager_rig_begin(PagerWorld *world, MirrorTrack track);
void pager_rig_end(PagerWorld *world);
void pager_rig_look(PagerWorld *world);

/* As a twin applies a delta: what is far, held or a hole is let go, data is written, tracking begins anew. */
gboolean pager_rig_apply(PagerWorld *world, const MirrorDelta *delta, GError **error);
void pager_rig_make_run(const PagerWorld *world, MirrorDelta *delta, guint page, guint pages,
                        MirrorRunKind kind);
void pager_rig_arm(PagerWorld *world, guint page, guint pages, MirrorRunKind kind);

/* A worker of the puppet begins to do something; all are served until they are done, FALSE where the pager
 * fails. */
void pager_rig_start(PagerWorld *world, guint worker, BoardOperation operation, guint64 number,
                     const guint64 argument[6]);
gboolean pager_rig_serve(PagerWorld *world, GError **error);
gint64 pager_rig_result_of(PagerWorld *world, guint worker);
/* All of that, of a process that is stopped before and afterwards. */
gint64 pager_rig_perform(PagerWorld *world, BoardOperation operation, guint64 number,
                         const guint64 argument[6]);
#define DO(world, operation, ...)                                                                            \
  pager_rig_perform(world, BOARD_##operation, 0, (const guint64[6]){__VA_ARGS__})
#define CALL(world, number, ...) pager_rig_perform(world, BOARD_CALL, number, (const guint64[6]){__VA_ARGS__})
/* As the clone does it: the pages come before they are let go. */
gint64 pager_rig_let_go(PagerWorld *world, guint page, guint pages, int advice);

/* Of the other side's pages. */
guint8 pager_rig_byte_of(const PagerWorld *world, guint page);
guint64 pager_rig_sum_of(const PagerWorld *world, guint page, guint pages);

/* One letter per page: '.', 'D', 'O' for a hole. */
void pager_rig_assert_changes(PagerWorld *world, guint page, const char *wanted);
/* Ranges of pages, as "0-2 3-5". */
void pager_rig_assert_untouched(PagerWorld *world, const char *wanted);
