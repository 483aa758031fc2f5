/* Pages that stay behind when a block's result goes home (--lazy-return), until the device touches them. */
#include "augmenter/augmenter.h"
#include "base/error.h"
#include "mirror/withhold.h"

enum {
  PAGE = COPIES_PAGE,
  KEPT_MAX = 512 << 8,   /* pages: 512 MiB of contents at most stay behind */
  STACK_ABOVE = 4,       /* pages of a stack that are used again when the block returns */
  FETCHED_MAX = 1 << 14, /* ranges that are remembered */
};

static void
point_at(Augmenter *augmenter, guint64 address)
{
  guint64 page = address / PAGE;
  g_hash_table_add(augmenter->pointed, g_memdup2(&page, sizeof page));
}

/* What registers point at, the tops of the stacks, and where the kernel writes when a thread ends, which it
 * does when nobody can be asked any more. */
static void
note_thread(Augmenter *augmenter, MirrorThread *thread)
{
  const ArchRegisters *registers = mirror_thread_registers(thread, NULL);
  guint64 places[2];
  gsize count = mirror_state_exit_writes(augmenter->twin->agreed, thread->own_tid, places);
  for (gsize i = 0; registers && i < registers->length / sizeof(guint64); i++)
    point_at(augmenter, registers->word[i]);
  for (guint i = 0; registers && i <= STACK_ABOVE; i++)
    point_at(augmenter, arch_sp(registers) + i * PAGE);
  for (gsize i = 0; i < count; i++) {
    point_at(augmenter, places[i]);
    point_at(augmenter, places[i] + 64);
  }
}

/* The kernel follows a thread's list of robust locks (get_robust_list(2)) at its end: one that is held then,
 * and was not touched since, must not be missing. Of a thread that the block made nothing is known yet. */
static gboolean
may_lack_nothing(Augmenter *augmenter, const MirrorThread *thread)
{
  guint64 places[2], head[3];
  if (!mirror_state_exit_writes(augmenter->twin->agreed, thread->own_tid, places))
    return TRUE;
  if (!places[1])
    return FALSE;
  return !mirror_memory_read(augmenter->process, places[1], head, sizeof head, NULL) ||
         (head[0] & ~1ull) != places[1] || head[2];
}

static MirrorChoice
choose(guint64 address, void *user)
{
  Augmenter *augmenter = user;
  guint64 page = address / PAGE;
  MirrorRange part;
  if (!augmenter->may_stay || g_hash_table_contains(augmenter->pointed, &page) ||
      mirror_ranges_meet(augmenter->fetched, address, address + PAGE, &part))
    return MIRROR_SEND;
  augmenter->may_stay--;
  return MIRROR_KEEP;
}

void
stay_begin(Augmenter *augmenter)
{
  MirrorTwin *twin = augmenter->twin;
  twin->kept = mirror_kept_new();
  twin->choose = choose;
  twin->choose_user = augmenter;
  augmenter->fetched = mirror_ranges_new();
  augmenter->pointed = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
}

void
stay_end(Augmenter *augmenter)
{
  if (augmenter->twin)
    mirror_kept_free(augmenter->twin->kept);
  g_clear_pointer(&augmenter->fetched, g_array_unref);
  g_clear_pointer(&augmenter->pointed, g_hash_table_unref);
}

void
stay_before_capture(Augmenter *augmenter)
{
  if (!augmenter->twin->kept)
    return;
  guint64 kept = mirror_kept_pages(augmenter->twin->kept);
  augmenter->may_stay = kept < KEPT_MAX ? KEPT_MAX - kept : 0;
  g_hash_table_remove_all(augmenter->pointed);
  for (guint i = 0; i < augmenter->process->threads->len; i++) {
    note_thread(augmenter, augmenter->process->threads->pdata[i]);
    if (may_lack_nothing(augmenter, augmenter->process->threads->pdata[i]))
      augmenter->may_stay = 0;
  }
}

void
stay_settle(Augmenter *augmenter)
{
  if (augmenter->twin && augmenter->twin->kept)
    mirror_kept_settle(augmenter->twin->kept);
}

/* ---- answers ---- */

typedef struct {
  Augmenter *augmenter;
  guint64 id;
} Answer;

static gboolean
send_pages(Doppel__Engine__DeltaPiece *piece, void *user, GError **error)
{
  const Answer *answer = user;
  Doppel__Engine__Pages pages = DOPPEL__ENGINE__PAGES__INIT;
  pages.id = answer->id;
  pages.piece = piece;
  return ENGINE_SEND(answer->augmenter->link, PAGES, pages, &pages, error);
}

/* What was missed once will be missed again: it goes home with the block from now on. */
static void
learn(Augmenter *augmenter, const MirrorDelta *answer)
{
  if (augmenter->fetched->len > FETCHED_MAX)
    g_array_set_size(augmenter->fetched, 0);
  for (guint i = 0; i < answer->runs->len; i++) {
    const MirrorRun *run = &g_array_index(answer->runs, MirrorRun, i);
    mirror_ranges_add(augmenter->fetched, run->address, run->address + run->length);
  }
}

gboolean
stay_pull(Augmenter *augmenter, const Doppel__Engine__Pull *pull, GError **error)
{
  g_autoptr(GArray) wanted = mirror_ranges_new();
  g_autoptr(MirrorDelta) answer = mirror_delta_new();
  Answer to = {augmenter, pull->id};
  if (!augmenter->twin || !augmenter->twin->kept)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a question for pages that never stayed");
  if (!mirror_ranges_receive(wanted, pull->n_range, pull->range, error))
    return FALSE;
  /* It has the result of the last block, or has thrown that away. */
  if (augmenter->phase == MIRROR_READY && pull->has_block && pull->block == augmenter->block)
    stay_settle(augmenter);
  if (!mirror_kept_give(augmenter->twin->kept, wanted, answer, error))
    return FALSE;
  learn(augmenter, answer);
  return mirror_delta_send(answer, send_pages, &to, error);
}
