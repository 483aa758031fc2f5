/* What differs between two twins since they last agreed: changed sections of the small state, and runs of
 * memory. In pieces that fit a message, it travels as Doppel__Engine__DeltaPiece (wire/engine.proto). */
#pragma once

#include "mirror/page_key.h"
#include "mirror/ranges.h"
#include "mirror/state.h"
#include "mirror/tracker.h"
#include "wire/engine.pb-c.h"

typedef struct {
  GPtrArray *sections; /* MirrorSection */
  gsize section_bytes; /* in those that were received */
  GArray *runs;        /* MirrorRun */
  GByteArray *data; /* contents of the DATA, HELD, CHANGES and KNOWN runs, in order; its data is never NULL */
} MirrorDelta;

MirrorDelta *mirror_delta_new(void);
void mirror_delta_free(MirrorDelta *delta);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MirrorDelta, mirror_delta_free)

/* Bytes of a run's contents. */
static inline guint64
mirror_run_bytes(const MirrorRun *run)
{
  switch (run->kind) {
  case MIRROR_RUN_DATA:
  case MIRROR_RUN_HELD:
    return run->length;
  case MIRROR_RUN_CHANGES:
    return run->changes;
  case MIRROR_RUN_KNOWN:
    return run->length / COPIES_PAGE * PAGE_KEY_SIZE;
  default:
    return 0;
  }
}

#define MIRROR_RANGES_MAX (1u << 16) /* in one message */
/* Ranges as messages, for which `messages` and `list` have room for all of them; how many. */
gsize mirror_ranges_message(const MirrorRanges *ranges, Doppel__Engine__PageRange *messages,
                            Doppel__Engine__PageRange **list);
/* Takes ranges that came from the other side (hostile), which are in ascending order. */
gboolean mirror_ranges_receive(MirrorRanges *ranges, gsize count, Doppel__Engine__PageRange **list,
                               GError **error);

const MirrorSection *mirror_delta_section(const MirrorDelta *delta, guint32 kind, guint32 id);

/* Hands the delta to `send` in pieces; at least one. */
typedef gboolean (*MirrorPieceSend)(Doppel__Engine__DeltaPiece *piece, void *user, GError **error);
gboolean mirror_delta_send(const MirrorDelta *delta, MirrorPieceSend send, void *user, GError **error);

/* Takes one more piece that came from the other side (hostile). *complete is set with the last one. `limit`:
 * bytes of memory contents that one delta may carry; of sections it may be far fewer. */
gboolean mirror_delta_receive(MirrorDelta *delta, const Doppel__Engine__DeltaPiece *piece, guint64 limit,
                              gboolean *complete, GError **error);
