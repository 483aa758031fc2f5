/* A clone whose word that steps are durable comes as late as it may: while the device waits for the end. The
 * clone is a script, which answers what it hears. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "replica/generation_steps.h"
#include "replicator/sync_message.h"
#include "rig.h"
#include "sync_rig.h"

static const guint8 identity[SYNC_IDENTITY] = "0123456789abcde";
#define IDENTITY                    ((ProtobufCBinaryData){sizeof identity, (guint8 *)identity})
#define SEND(KIND, field, contents) g_assert_true(SYNC_SEND(clone->link, KIND, field, contents, NULL))

enum { LATE_MAX = 3, WAIT_MS = 60000 };

/* What the clone says between the last step and its answer to it, counted from the last step before that. */
typedef struct {
  const char *name;
  gint64 late[LATE_MAX];
  guint lates;
  gboolean amiss;       /* before that, that a content is not what it was to be */
  gboolean undone;      /* then it is said, too, that the last step was not done, though nothing was amiss */
  DoppelErrorCode code; /* of the device's error */
  gboolean good;
} Script;

typedef struct {
  const Script *script;
  Link *link;
  guint64 content; /* the last step that ended one */
} Clone;

static void
welcome(Clone *clone)
{
  Doppel__Sync__Welcome message = DOPPEL__SYNC__WELCOME__INIT;
  message.version = SYNC_VERSION;
  message.store = IDENTITY;
  SEND(WELCOME, welcome, &message);
}

static void
durable(Clone *clone, guint64 number, gboolean uncommitted)
{
  Doppel__Sync__Durable message = DOPPEL__SYNC__DURABLE__INIT;
  message.number = number;
  message.uncommitted = uncommitted;
  SEND(DURABLE, durable, &message);
}

static void
commit(Clone *clone, const GenerationStep *step)
{
  Doppel__Sync__Committed message = DOPPEL__SYNC__COMMITTED__INIT;
  Doppel__Sync__Generation generation = DOPPEL__SYNC__GENERATION__INIT;
  Doppel__Sync__Mismatch mismatch = DOPPEL__SYNC__MISMATCH__INIT;
  mismatch.number = clone->content;
  if (clone->script->amiss)
    SEND(MISMATCH, mismatch, &mismatch);
  for (guint i = 0; i < clone->script->lates; i++)
    durable(clone, step->number - 1 + clone->script->late[i], FALSE);
  if (clone->script->undone)
    durable(clone, step->number - 1, TRUE);
  generation.number = step->generation;
  generation.nodes = step->nodes;
  message.generation = &generation;
  SEND(COMMITTED, committed, &message);
}

static void
hear_steps(Clone *clone, const Doppel__Sync__Step *steps)
{
  for (gsize i = 0; i < steps->n_step; i++) {
    g_autoptr(GBytes) bytes = g_bytes_new(steps->step[i].data, steps->step[i].len);
    g_autoptr(GenerationStep) step = generation_step_unpack(bytes, NULL);
    g_assert_nonnull(step);
    if (step->kind == GENERATION_CLOSE || step->kind == GENERATION_WHOLE)
      clone->content = step->number;
    if (step->kind == GENERATION_COMMIT)
      commit(clone, step);
  }
}

static gpointer
be_clone(gpointer data)
{
  Clone *clone = data;
  for (;;) {
    g_autoptr(SyncMessage) message = sync_wait(clone->link, WAIT_MS, NULL);
    if (!message)
      return NULL;
    switch (message->kind_case) {
    case DOPPEL__SYNC__MESSAGE__KIND_HELLO:
      welcome(clone);
      break;
    case DOPPEL__SYNC__MESSAGE__KIND_BEGIN:
      break;
    case DOPPEL__SYNC__MESSAGE__KIND_STEP:
      hear_steps(clone, message->step);
      break;
    default:
      return NULL;
    }
    if (!link_flush(clone->link, WAIT_MS, NULL))
      return NULL;
  }
}

static void
test_late(gconstpointer data)
{
  const Script *script = data;
  int ends[2];
  g_autoptr(GError) error = NULL;
  g_auto(ReplicatorResult) result = {0};
  SyncRig *rig = sync_rig_new(3, NULL);
  sync_rig_change(rig, 20);
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  Clone clone = {.script = script, .link = link_new_local(ends[1])};
  GThread *thread = g_thread_new("clone", be_clone, &clone);
  gboolean good = sync_rig_send(rig, ends[0], &result, &error);
  g_thread_join(thread);
  link_free(clone.link);
  g_assert_cmpint(good, ==, script->good);
  if (script->good) {
    g_assert_no_error(error);
    g_assert_true(result.made);
    g_assert_cmpuint(result.generation, ==, 1);
  } else {
    g_assert_error(error, DOPPEL_ERROR, (gint)script->code);
    g_assert_false(result.made);
  }
  sync_rig_free(rig);
}

int
main(int argc, char **argv)
{
  /* What became durable may be told again; the last step for itself; or not at all, as the answer tells it.
   */
  static const Script scripts[] = {
      {.name = "never", .good = TRUE},
      {.name = "once", .late = {0}, .lates = 1, .good = TRUE},
      {.name = "again", .late = {0, 0, 0}, .lates = 3, .good = TRUE},
      {.name = "with-the-last", .late = {0, 1}, .lates = 2, .good = TRUE},
      {.name = "less", .late = {0, -1}, .lates = 2, .code = DOPPEL_ERROR_HOSTILE},
      {.name = "not-done", .undone = TRUE, .code = DOPPEL_ERROR_HOSTILE},
      {.name = "done-and-not-done",
       .amiss = TRUE,
       .late = {1},
       .lates = 1,
       .undone = TRUE,
       .code = DOPPEL_ERROR_HOSTILE},
      {.name = "more-than-was-told", .late = {0, 2}, .lates = 2, .code = DOPPEL_ERROR_HOSTILE},
  };
  const char *why = rig_enter(&argc, &argv);
  g_test_init(&argc, &argv, NULL);
  if (why || geteuid() != 0) {
    g_print("1..0 # SKIP %s\n", why ? why : "needs a namespace in which it is root");
    return 0;
  }
  for (guint i = 0; i < G_N_ELEMENTS(scripts); i++) {
    g_autofree char *name = g_strconcat("/replicator/committing/late/", scripts[i].name, NULL);
    g_test_add_data_func(name, &scripts[i], test_late);
  }
  return g_test_run();
}
