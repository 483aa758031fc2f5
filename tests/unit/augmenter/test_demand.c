/* The Augmenter while it waits for a page that it wants to look into: a device that says something else
 * meanwhile, and one whose answer does not come or is none. The device is a script. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "augmenter/augmenter.h"
#include "base/error.h"
#include "pager_rig.h"

enum { FAR = 64, PATIENCE_S = 120, WAIT_MS = 60000 };

/* The Augmenter of a process whose first pages are with the device. */
typedef struct {
  PagerWorld pages;
  MirrorTwin twin;
  AugmenterSession session;
  Augmenter augmenter;
  Link *device;
} World;

/* Its process, with `demand.c`'s pager in place of the rig's. FALSE where the test was skipped. */
static gboolean
begin(World *world)
{
  int ends[2];
  memset(world, 0, sizeof *world);
  if (!pager_rig_begin(&world->pages, MIRROR_TRACK_PAGEMAP))
    return FALSE;
  mirror_pager_free(world->pages.pager);
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  world->device = link_new_local(ends[0]);
  world->session.control_fd = -1;
  world->twin = (MirrorTwin){
      .process = world->pages.process, .tracker = world->pages.tracker, .copies = world->pages.copies};
  world->augmenter = (Augmenter){.link = link_new_local(ends[1]),
                                 .session = &world->session,
                                 .process = world->pages.process,
                                 .twin = &world->twin,
                                 .control = -1,
                                 .listener = -1,
                                 .children = -1,
                                 .phase = MIRROR_ENDING,
                                 .how = DOPPEL__ENGINE__HOW__ABORTED,
                                 .postponed = g_queue_new(),
                                 .held = g_ptr_array_new(),
                                 .outputs = g_ptr_array_new(),
                                 .reserved = g_array_new(FALSE, FALSE, sizeof(pid_t))};
  demand_begin(&world->augmenter);
  world->pages.pager = world->twin.pager;
  pager_rig_arm(&world->pages, 0, FAR, MIRROR_RUN_FAR);
  g_assert_true(mirror_pager_is_far(world->twin.pager, AT(0), AT(FAR)));
  alarm(PATIENCE_S); /* who sleeps for ever fails */
  return TRUE;
}

static void
end(World *world)
{
  alarm(0);
  g_clear_pointer(&world->device, link_free);
  link_free(world->augmenter.link);
  g_queue_free_full(world->augmenter.postponed, (GDestroyNotify)engine_message_free);
  g_ptr_array_unref(world->augmenter.held);
  g_ptr_array_unref(world->augmenter.outputs);
  g_array_unref(world->augmenter.reserved);
  g_clear_error(&world->augmenter.missing);
  pager_rig_end(&world->pages);
}

/* ---- the device ---- */

/* The contents of what is asked for; its number, as `id`. */
static void
answer(World *world, const Doppel__Engine__Pull *pull, guint64 id)
{
  enum { PAGES_MAX = 256 };
  static guint64 words[PAGES_MAX * PAGE / sizeof(guint64)];
  Doppel__Engine__Run runs[PAGES_MAX], *list[PAGES_MAX];
  Doppel__Engine__DeltaPiece piece = DOPPEL__ENGINE__DELTA_PIECE__INIT;
  Doppel__Engine__Pages pages = DOPPEL__ENGINE__PAGES__INIT;
  gsize count = 0;
  for (gsize i = 0; i < pull->n_range; i++)
    for (guint64 j = 0; j < pull->range[i]->pages; j++, count++) {
      g_assert_cmpuint(count, <, PAGES_MAX);
      doppel__engine__run__init(list[count] = &runs[count]);
      runs[count].page = pull->range[i]->page + j;
      runs[count].pages = 1;
      runs[count].kind = MIRROR_RUN_DATA;
      for (gsize k = 0; k < PAGE / sizeof(guint64); k++)
        words[count * PAGE / sizeof(guint64) + k] = world->pages.words[runs[count].page - HERE / PAGE];
    }
  piece.n_run = count;
  piece.run = list;
  piece.has_data = TRUE;
  piece.data = (ProtobufCBinaryData){count * PAGE, (guint8 *)words};
  piece.last = TRUE;
  pages.id = id;
  pages.piece = &piece;
  g_assert_true(ENGINE_SEND(world->device, PAGES, pages, &pages, NULL));
  g_assert_true(link_flush(world->device, WAIT_MS, NULL));
}

static EngineMessage *
hear_pull(World *world)
{
  g_autoptr(GError) error = NULL;
  EngineMessage *message = engine_wait(world->device, WAIT_MS, &error);
  g_assert_no_error(error);
  g_assert_cmpint(message->kind_case, ==, DOPPEL__ENGINE__MESSAGE__KIND_PULL);
  return message;
}

/* It answers an earlier question first: ids for threads, which the block, that is over, needs no more. */
static gpointer
say_something_else(gpointer data)
{
  World *world = data;
  g_autoptr(EngineMessage) message = hear_pull(world);
  gint32 id = 4711;
  Doppel__Engine__Threads threads = DOPPEL__ENGINE__THREADS__INIT;
  threads.n_thread = 1;
  threads.thread = &id;
  g_assert_true(ENGINE_SEND(world->device, THREADS, threads, &threads, NULL));
  answer(world, message->pull, message->pull->id);
  return NULL;
}

static gpointer
go_away(gpointer data)
{
  World *world = data;
  g_autoptr(EngineMessage) message = hear_pull(world);
  g_clear_pointer(&world->device, link_free);
  return NULL;
}

static gpointer
say_goodbye(gpointer data)
{
  World *world = data;
  g_autoptr(EngineMessage) message = hear_pull(world);
  Doppel__Engine__Bye bye = DOPPEL__ENGINE__BYE__INIT;
  g_assert_true(ENGINE_SEND(world->device, BYE, bye, &bye, NULL));
  g_assert_true(link_flush(world->device, WAIT_MS, NULL));
  return NULL;
}

static gpointer
answer_another(gpointer data)
{
  World *world = data;
  g_autoptr(EngineMessage) message = hear_pull(world);
  answer(world, message->pull, message->pull->id + 1);
  return NULL;
}

/* ---- the Augmenter ---- */

/* What came while a page was waited for is seen to with the next turn, although nothing wakes the loop: the
 * answer to a call could lie there for ever, and the block's end with it. */
static void
test_postponed(void)
{
  World world;
  guint64 word = 0;
  g_autoptr(GError) error = NULL;
  if (!begin(&world))
    return;
  world.augmenter.asked_threads = TRUE;
  GThread *device = g_thread_new("device", say_something_else, &world);
  g_assert_true(augmenter_memory_read(&world.augmenter, world.pages.process->pid, AT(3), &word, sizeof word));
  g_thread_join(device);
  g_assert_cmpuint(word, ==, world.pages.words[3]);
  g_assert_cmpuint(g_queue_get_length(world.augmenter.postponed), ==, 1);
  g_assert_true(world.augmenter.asked_threads);
  g_assert_true(augmenter_turn(&world.augmenter, &error));
  g_assert_no_error(error);
  g_assert_true(g_queue_is_empty(world.augmenter.postponed));
  g_assert_false(world.augmenter.asked_threads);
  end(&world);
}

typedef struct {
  GThreadFunc device;
  DoppelErrorCode code; /* why the session ends */
} Failure;

/* Who looks goes on without what it looked for, asks no more, and the session ends with the reason, before
 * anything is sent. */
static void
test_failure(gconstpointer data)
{
  const Failure *failure = data;
  World world;
  guint64 word = 77;
  g_autoptr(GError) error = NULL;
  if (!begin(&world))
    return;
  pid_t pid = world.pages.process->pid;
  guint64 pulls = world.augmenter.next_pull;
  GThread *device = g_thread_new("device", failure->device, &world);
  g_assert_false(augmenter_memory_read(&world.augmenter, pid, AT(3), &word, sizeof word));
  g_thread_join(device);
  g_assert_cmpuint(word, ==, 77);
  g_assert_error(world.augmenter.missing, DOPPEL_ERROR, (gint)failure->code);
  /* The next one does not ask again, nor does who writes, not even where all is there. */
  g_assert_false(augmenter_memory_read(&world.augmenter, pid, AT(9), &word, sizeof word));
  g_assert_false(augmenter_memory_write(&world.augmenter, pid, AT(9), &word, sizeof word));
  g_assert_false(augmenter_memory_read(&world.augmenter, pid, BOARD_ADDRESS, &word, sizeof word));
  g_assert_cmpuint(world.augmenter.next_pull, ==, pulls + 1);
  g_assert_cmpuint(word, ==, 77);
  g_assert_true(mirror_pager_is_far(world.twin.pager, AT(3), AT(4)));
  g_assert_false(augmenter_memory_came(&world.augmenter, &error));
  g_assert_error(error, DOPPEL_ERROR, (gint)failure->code);
  /* Told once. */
  g_assert_true(augmenter_memory_came(&world.augmenter, NULL));
  g_autoptr(EngineMessage) more = world.device ? engine_wait(world.device, 0, NULL) : NULL;
  g_assert_null(more);
  end(&world);
}

/* By the loop: the turn in which a page did not come is the last. */
static void
test_last_turn(void)
{
  World world;
  guint64 word;
  g_autoptr(GError) error = NULL;
  if (!begin(&world))
    return;
  GThread *device = g_thread_new("device", answer_another, &world);
  g_assert_false(
      augmenter_memory_read(&world.augmenter, world.pages.process->pid, AT(3), &word, sizeof word));
  g_thread_join(device);
  Doppel__Engine__Threads threads = DOPPEL__ENGINE__THREADS__INIT;
  g_assert_true(ENGINE_SEND(world.device, THREADS, threads, &threads, NULL));
  g_assert_false(augmenter_turn(&world.augmenter, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  end(&world);
}

int
main(int argc, char **argv)
{
  static const Failure gone = {go_away, DOPPEL_ERROR_GONE}, bye = {say_goodbye, DOPPEL_ERROR_GONE},
                       another = {answer_another, DOPPEL_ERROR_HOSTILE};
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/demand/postponed", test_postponed);
  g_test_add_data_func("/demand/failure/gone", &gone, test_failure);
  g_test_add_data_func("/demand/failure/goodbye", &bye, test_failure);
  g_test_add_data_func("/demand/failure/another-answer", &another, test_failure);
  g_test_add_func("/demand/last-turn", test_last_turn);
  return g_test_run();
}
