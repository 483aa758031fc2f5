#include "controller/checkpoints.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/error.h"
#include "controller/learned.h"
#include "controller/run.h"

#define NS_PER_MS G_GINT64_CONSTANT(1000000)
enum { WELCOME_MS = 10000, END_MS = 4000, RESUME_MS = 10000, RETRY_MS = 1000 };

static void
say_once(Controller *controller, const char *reason)
{
  Checkpoints *checkpoints = controller->checkpoints;
  if (g_strcmp0(reason, checkpoints->last_reason) == 0)
    return;
  g_free(checkpoints->last_reason);
  checkpoints->last_reason = g_strdup(reason);
  fprintf(stderr, "doppel run: no checkpoint: %s\n", reason);
}

/* ---- beginning ---- */

/* Those of the processor that the program may use: the clone's as well as this one's. */
static char *
common_features(const char *own, const char *other)
{
  g_auto(GStrv) mine = g_strsplit(own, " ", -1), theirs = g_strsplit(other, " ", -1);
  GString *common = g_string_new(NULL);
  for (char **each = mine; *each; each++)
    if (**each && g_strv_contains((const char *const *)theirs, *each))
      g_string_append_printf(common, "%s%s", common->len ? " " : "", *each);
  return g_string_free(common, FALSE);
}

static void
take_features(Controller *controller, const char *clone)
{
  Checkpoints *checkpoints = controller->checkpoints;
  g_free(controller->features_mask);
  controller->features_mask = arch_features_mask(checkpoints->spec.features, clone);
  g_free(checkpoints->features);
  checkpoints->features = common_features(checkpoints->spec.features, clone);
}

/* The program chooses its code by what the processor offers when it starts: the clone's is asked before. */
static gboolean
await_welcome(Controller *controller, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  gint64 deadline = clock_now_ns() + WELCOME_MS * NS_PER_MS;
  for (;;) {
    g_auto(CourierWord) word = {0};
    checkpoint_courier_hear(checkpoints->courier, &word);
    if (word.kind == COURIER_WELCOME) {
      checkpoints->welcome = TRUE;
      take_features(controller, word.text);
      return TRUE;
    }
    if (word.kind == COURIER_REFUSED || word.kind == COURIER_GONE)
      return doppel_error_set(error, DOPPEL_ERROR_DENIED, "the clone takes no checkpoints: %s",
                              word.text ? word.text : "the courier died");
    gboolean away = word.kind == COURIER_NOTE;
    if (away || clock_now_ns() >= deadline) {
      fprintf(stderr,
              "doppel run: the clone cannot be reached (%s): the program runs without checkpoints until it "
              "can be\n",
              away ? word.text : "it does not answer");
      return TRUE;
    }
    struct pollfd wait = {.fd = checkpoint_courier_fd(checkpoints->courier), .events = POLLIN};
    if (word.kind == COURIER_NOTHING)
      poll(&wait, 1, clock_left_ms(deadline));
  }
}

gboolean
checkpoints_open(Controller *controller, GError **error)
{
  const RunOptions *options = controller->options;
  if (!options->checkpoint_ms)
    return TRUE;
  Checkpoints *checkpoints = controller->checkpoints = g_new0(Checkpoints, 1);
  checkpoints->spec = (CheckpointCourierSpec){.clone = options->clone,
                                              .argv = options->argv,
                                              .features = arch_features(),
                                              .rate = options->checkpoint_rate,
                                              .resume_ms = RESUME_MS,
                                              .explain = options->explain};
  checkpoints->features = g_strdup(checkpoints->spec.features);
  checkpoints->whole = TRUE;
  checkpoints->data = mirror_ranges_new();
  checkpoints->holes = mirror_ranges_new();
  checkpoints->missed = mirror_ranges_new();
  checkpoints->known = g_hash_table_new_full(NULL, NULL, NULL, g_free);
  checkpoints->pending = g_hash_table_new_full(NULL, NULL, NULL, g_free);
  checkpoints->pauses = g_array_new(FALSE, FALSE, sizeof(gint64));
  checkpoints->copying = g_array_new(FALSE, FALSE, sizeof(gint64));
  checkpoints->sizes = g_array_new(FALSE, FALSE, sizeof(guint64));
  checkpoints->courier = checkpoint_courier_start(&checkpoints->spec, error);
  if (!checkpoints->courier || !await_welcome(controller, error))
    return FALSE;
  checkpoints->due_ns = clock_now_ns() + options->checkpoint_ms * NS_PER_MS;
  return TRUE;
}

/* ---- while the program runs ---- */

int
checkpoints_fd(const Controller *controller)
{
  return controller->checkpoints ? checkpoint_courier_fd(controller->checkpoints->courier) : -1;
}

static gboolean
is_waiting(const Checkpoints *checkpoints)
{
  return checkpoints && !checkpoints->stopped && checkpoints->welcome &&
         checkpoints->phase == CHECKPOINTS_IDLE;
}

void
checkpoints_timeout(const Controller *controller, int *timeout_ms)
{
  if (!is_waiting(controller->checkpoints))
    return;
  int left = clock_left_ms(controller->checkpoints->due_ns);
  *timeout_ms = *timeout_ms < 0 ? left : MIN(*timeout_ms, left);
}

static void
set_due(Controller *controller, gint64 least_ms)
{
  Checkpoints *checkpoints = controller->checkpoints;
  gint64 next = checkpoints->began_ns + controller->options->checkpoint_ms * NS_PER_MS;
  checkpoints->phase = CHECKPOINTS_IDLE;
  checkpoints->due_ns = MAX(next, clock_now_ns() + least_ms * NS_PER_MS);
}

static void
give_up(Controller *controller, const char *reason)
{
  Checkpoints *checkpoints = controller->checkpoints;
  say_once(controller, reason);
  checkpoints->failed++;
  checkpoints_not_kept(checkpoints);
  set_due(controller, RETRY_MS);
}

static void
stop(Controller *controller, const char *reason)
{
  Checkpoints *checkpoints = controller->checkpoints;
  if (!checkpoints->stopped)
    fprintf(stderr, "doppel run: no more checkpoints: %s\n", reason);
  g_free(checkpoints->stopped);
  checkpoints->stopped = g_strdup(reason);
  checkpoints->phase = CHECKPOINTS_IDLE;
}

/* FALSE where the program is gone, or cannot be gone on with. */
static gboolean
take_round(Controller *controller, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  g_autoptr(GError) why = NULL;
  if (checkpoints_round(controller, &why))
    return TRUE;
  if (controller->exited)
    return TRUE;
  if (g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_GONE)) {
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
  }
  checkpoint_courier_abandon(checkpoints->courier);
  if (!g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_ABORTED)) {
    give_up(controller, why->message);
    return TRUE;
  }
  explain(controller, "a checkpoint is put off: %s", why->message);
  checkpoints_not_kept(checkpoints);
  set_due(controller, RETRY_MS);
  return TRUE;
}

static void
on_kept(Controller *controller, guint64 bytes)
{
  Checkpoints *checkpoints = controller->checkpoints;
  checkpoints_kept(checkpoints);
  g_array_append_val(checkpoints->sizes, bytes);
  g_clear_pointer(&checkpoints->last_reason, g_free);
  explain(controller,
          "checkpoint %" G_GUINT64_FORMAT ": %" G_GUINT64_FORMAT " KB, the program stood still for %.1f ms",
          checkpoints->number, bytes >> 10,
          (double)g_array_index(checkpoints->pauses, gint64, checkpoints->pauses->len - 1) / 1e6);
  set_due(controller, 0);
}

static gboolean
on_read(Controller *controller, const CourierWord *word, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  if (checkpoints->phase != CHECKPOINTS_READING)
    return TRUE;
  if (checkpoints->cancelled) {
    checkpoint_courier_abandon(checkpoints->courier);
    checkpoints->cancelled = FALSE;
    set_due(controller, RETRY_MS);
    return TRUE;
  }
  for (guint i = 0; i < word->failed->len; i++) {
    const MirrorRange *range = &g_array_index(word->failed, MirrorRange, i);
    mirror_ranges_add(checkpoints->missed, range->start, range->end);
  }
  return take_round(controller, error);
}

static gboolean
on_word(Controller *controller, const CourierWord *word, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  switch (word->kind) {
  case COURIER_WELCOME:
    checkpoints->welcome = TRUE;
    return TRUE;
  case COURIER_READ:
    return on_read(controller, word, error);
  case COURIER_KEPT:
    if (checkpoints->phase == CHECKPOINTS_SENDING)
      on_kept(controller, word->bytes);
    return TRUE;
  case COURIER_FAILED:
    if (checkpoints->phase == CHECKPOINTS_IDLE)
      return TRUE;
    if (word->bytes)
      checkpoints_forget_image(checkpoints);
    give_up(controller, word->text);
    return TRUE;
  case COURIER_NOTE:
    explain(controller, "checkpoints: %s", word->text);
    return TRUE;
  case COURIER_REFUSED:
    stop(controller, word->text);
    return TRUE;
  case COURIER_GONE:
    stop(controller, "the process that takes them to the clone has died");
    return TRUE;
  default:
    return TRUE;
  }
}

gboolean
checkpoints_turn(Controller *controller, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  if (!checkpoints)
    return TRUE;
  while (!controller->exited && !checkpoints->stopped) {
    g_auto(CourierWord) word = {0};
    checkpoint_courier_hear(checkpoints->courier, &word);
    if (word.kind == COURIER_NOTHING)
      break;
    if (!on_word(controller, &word, error))
      return FALSE;
  }
  if (controller->exited || !is_waiting(checkpoints) || clock_now_ns() < checkpoints->due_ns)
    return TRUE;
  checkpoints->round = 0;
  checkpoints->began_ns = clock_now_ns();
  return take_round(controller, error);
}

void
checkpoints_new_image(Controller *controller)
{
  Checkpoints *checkpoints = controller->checkpoints;
  if (!checkpoints)
    return;
  checkpoints->cancelled = checkpoints->phase == CHECKPOINTS_READING;
  checkpoints_forget_image(checkpoints);
}

/* ---- the end ---- */

/* Who has ended by himself goes on nowhere. */
static void
tell_end(Checkpoints *checkpoints)
{
  gint64 deadline = clock_now_ns() + END_MS * NS_PER_MS;
  checkpoint_courier_end(checkpoints->courier);
  while (clock_now_ns() < deadline) {
    g_auto(CourierWord) word = {0};
    checkpoint_courier_hear(checkpoints->courier, &word);
    if (word.kind == COURIER_ENDED || word.kind == COURIER_GONE)
      return;
    struct pollfd wait = {.fd = checkpoint_courier_fd(checkpoints->courier), .events = POLLIN};
    if (word.kind == COURIER_NOTHING)
      poll(&wait, 1, clock_left_ms(deadline));
  }
}

void
checkpoints_close(Controller *controller)
{
  Checkpoints *checkpoints = controller->checkpoints;
  if (!checkpoints)
    return;
  if (checkpoints->courier) {
    if (controller->exited && WIFEXITED(controller->exit_status) && !controller->options->keep_checkpoints &&
        !checkpoints->stopped)
      tell_end(checkpoints);
    checkpoint_courier_free(checkpoints->courier);
  }
  checkpoints_forget_image(checkpoints);
  g_array_unref(checkpoints->data);
  g_array_unref(checkpoints->holes);
  g_array_unref(checkpoints->missed);
  g_hash_table_unref(checkpoints->known);
  g_hash_table_unref(checkpoints->pending);
  g_array_unref(checkpoints->pauses);
  g_array_unref(checkpoints->copying);
  g_array_unref(checkpoints->sizes);
  g_free(checkpoints->spec.features);
  g_free(checkpoints->features);
  g_free(checkpoints->stopped);
  g_free(checkpoints->last_reason);
  g_free(checkpoints);
  controller->checkpoints = NULL;
}
