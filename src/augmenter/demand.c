/* Pages that come when they are touched: the clone's end (mirror/pager.h). */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "augmenter/augmenter.h"
#include "base/error.h"
#include "base/io.h"
#include "base/task_memory.h"
#include "mirror/withhold.h"

#define STORE_BYTES (256ull << 20)
enum { ANSWER_BYTES_MAX = MIRROR_GIVE_MAX * COPIES_PAGE };

int
demand_device(void)
{
  return open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
}

/* Without it pages travel again, and nothing else is otherwise. */
void
demand_open_store(Augmenter *augmenter)
{
  g_autoptr(GError) error = NULL;
  if (!augmenter->session->pages)
    return;
  augmenter->store = page_store_open(augmenter->session->pages, STORE_BYTES, &error);
  if (!augmenter->store)
    g_message("no store of pages: %s", error->message);
}

/* ---- asking ---- */

static gboolean
send_pull(Augmenter *augmenter, const MirrorRanges *wanted, GError **error)
{
  g_autofree Doppel__Engine__PageRange *ranges = g_new(Doppel__Engine__PageRange, wanted->len);
  g_autofree Doppel__Engine__PageRange **list = g_new(Doppel__Engine__PageRange *, wanted->len);
  Doppel__Engine__Pull pull = DOPPEL__ENGINE__PULL__INIT;
  pull.id = ++augmenter->next_pull;
  pull.n_range = mirror_ranges_message(wanted, ranges, list);
  pull.range = list;
  return ENGINE_SEND(augmenter->link, PULL, pull, &pull, error);
}

/* The device answers in the order of the questions; what it says besides waits. */
static gboolean
take_pages(Augmenter *augmenter, MirrorDelta *answer, GError **error)
{
  for (gboolean complete = FALSE; !complete;) {
    g_autoptr(EngineMessage) message = augmenter_wait_message(augmenter, error);
    if (!message)
      return FALSE;
    if (message->kind_case != DOPPEL__ENGINE__MESSAGE__KIND_PAGES) {
      if (!augmenter_postpone(augmenter, g_steal_pointer(&message), error))
        return FALSE;
      continue;
    }
    if (message->pages->id != augmenter->next_pull || message->pages->piece->n_section)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "pages that nobody asked for");
    if (!mirror_delta_receive(answer, message->pages->piece, ANSWER_BYTES_MAX, &complete, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
pull(const MirrorRanges *wanted, MirrorDelta *answer, void *user, GError **error)
{
  return send_pull(user, wanted, error) && take_pages(user, answer, error);
}

void
demand_begin(Augmenter *augmenter)
{
  MirrorTwin *twin = augmenter->twin;
  twin->pager = mirror_pager_new(augmenter->process, twin->tracker, twin->copies, pull, augmenter);
  mirror_pager_set_store(twin->pager, augmenter->store);
}

/* ---- for who looks into the mirror ---- */

/* The program has no part in it when a page does not come, and is not told so as if the address were bad: who
 * asks here goes on, and the session ends before anything more is sent. */
static gboolean
fill(Augmenter *augmenter, guint64 address, gsize length)
{
  return !augmenter->missing &&
         mirror_pager_fill(augmenter->twin->pager, address, length, &augmenter->missing);
}

gboolean
augmenter_memory_read(Augmenter *augmenter, pid_t tid, guint64 address, void *to, gsize length)
{
  return fill(augmenter, address, length) && task_memory_read(tid, address, to, length);
}

gboolean
augmenter_memory_write(Augmenter *augmenter, pid_t tid, guint64 address, const void *from, gsize length)
{
  return fill(augmenter, address, length) && task_memory_write(tid, address, from, length);
}

gboolean
augmenter_memory_came(Augmenter *augmenter, GError **error)
{
  if (!augmenter->missing)
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&augmenter->missing));
  return FALSE;
}

/* ---- calls that do something to pages ---- */

/* A child with memory of its own has nobody to ask. */
static gboolean
copies_memory(Augmenter *augmenter, const HeldCall *held)
{
  guint64 flags = 0;
  if (held->row->nr == SYS_clone)
    flags = held->arguments[0];
  else if (held->row->nr == SYS_clone3)
    augmenter_memory_read(augmenter, held->tid, held->arguments[0], &flags, sizeof flags);
#ifdef SYS_vfork
  else if (held->row->nr == SYS_vfork)
    flags = CLONE_VM;
#endif
  return !(flags & CLONE_VM);
}

gboolean
demand_before_call(Augmenter *augmenter, const HeldCall *held, GError **error)
{
  MirrorPager *pager = augmenter->twin->pager;
  switch (held->row->nr) {
  /* What is moved leaves its faults behind. */
  case SYS_mremap:
    return mirror_pager_resize(pager, held->arguments[0], held->arguments[1], held->arguments[2], error);
  case SYS_madvise:
    switch ((int)held->arguments[2]) {
    /* Between the question for a page and its arrival the page could be let go by another thread. */
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_REMOVE:
    case 24:  /* MADV_DONTNEED_LOCKED */
    case 102: /* MADV_GUARD_INSTALL */
      return mirror_pager_bring(pager, held->arguments[0], held->arguments[1], error);
    default:
      return TRUE;
    }
  default:
    return !copies_memory(augmenter, held) || mirror_pager_fill_all(pager, error);
  }
}

/* The kernel follows the list of locks that the thread holds, and marks each (get_robust_list(2), the
 * kernel's Documentation/locking/robust-futexes.rst): as it stops at what is missing, all of it has to be
 * there. */
static gboolean
fill_robust_list(Augmenter *augmenter, pid_t tid, guint64 place, GError **error)
{
  enum { LIMIT = 2048 }; /* ROBUST_LIST_LIMIT */
  MirrorPager *pager = augmenter->twin->pager;
  struct robust_list_head head;
  if (!place || !augmenter_memory_read(augmenter, tid, place, &head, sizeof head))
    return TRUE;
  guint64 next = (guintptr)head.list.next, pending = (guintptr)head.list_op_pending & ~1ull;
  if (pending && !mirror_pager_fill(pager, pending + head.futex_offset, sizeof(guint32), error))
    return FALSE;
  for (guint i = 0; i < LIMIT && (next &= ~1ull) && next != place; i++) {
    guint64 entry = next;
    if (!mirror_pager_fill(pager, entry + head.futex_offset, sizeof(guint32), error))
      return FALSE;
    if (!augmenter_memory_read(augmenter, tid, entry, &next, sizeof next))
      break;
  }
  return TRUE;
}

gboolean
demand_before_exit(Augmenter *augmenter, pid_t tid, GError **error)
{
  const MirrorThread *thread = mirror_thread_find(augmenter->process, tid);
  guint64 places[2];
  if (!thread || !mirror_state_exit_writes(augmenter->twin->agreed, thread->own_tid, places))
    return TRUE;
  return mirror_pager_fill(augmenter->twin->pager, places[0], sizeof(guint32), error) &&
         fill_robust_list(augmenter, tid, places[1], error);
}
