/* Pages that stayed behind in the clone, and come home when the program touches them (--lazy-return;
 * mirror/late.h). The program waits for them, and so does all else here: whatever the clone says meanwhile is
 * listened to afterwards. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "controller/controller.h"

enum {
  SILENCE_MS = 60000, /* of a link that is up */
  ANSWER_BYTES_MAX = 1 << 28,
  POSTPONED_MAX = 4096,
};

/* ---- what cannot go on ---- */

static guint64
start_ticks(pid_t pid)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  g_autofree char *stat = io_read_file_at(AT_FDCWD, path, 4096);
  const char *at = stat ? strrchr(stat, ')') : NULL;
  /* Field 22 of proc_pid_stat(5); the name is the second. */
  for (int field = 2; at && field < 22; field++)
    at = strchr(at + 1, ' ');
  return at ? g_ascii_strtoull(at + 1, NULL, 10) : 0;
}

/* Children that were born while pages were far lack them, too. */
static void
kill_heirs(pid_t pid, pid_t tid, guint64 since)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, tid);
  g_autofree char *text = io_read_file_at(AT_FDCWD, path, 1 << 16);
  for (char *at = text; at && *at;) {
    pid_t child = strtol(at, &at, 10);
    if (child <= 0)
      break;
    if (start_ticks(child) >= since) {
      kill(child, SIGSTOP);
      kill_heirs(child, child, since);
      kill(child, SIGKILL);
    }
    while (*at == ' ')
      at++;
  }
}

static gboolean
has_ended(const Controller *controller)
{
  siginfo_t end = {0};
  return controller->exited ||
         (waitid(P_PID, controller->pid, &end, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && end.si_pid);
}

void
home_lost(Controller *controller, const GError *error)
{
  fprintf(
      stderr,
      "doppel: %" G_GUINT64_FORMAT " KB that the program's last blocks wrote had stayed behind in the clone "
      "(--lazy-return) and cannot come home any more (%s). The program was stopped: it cannot go on without "
      "them.\n",
      mirror_late_bytes(controller->late) >> 10, error->message);
  timeline_close(controller);
  kill(controller->pid, SIGSTOP);
  guint64 since = mirror_late_heirs_since(controller->late) / (1000000000 / sysconf(_SC_CLK_TCK));
  for (guint i = 0; mirror_late_has_heirs(controller->late) && i < controller->process->threads->len; i++)
    kill_heirs(controller->pid, ((MirrorThread *)controller->process->threads->pdata[i])->tid, since);
  kill(controller->pid, SIGKILL);
  _exit(70);
}

static void
failed(const GError *error, void *user)
{
  home_lost(user, error);
}

/* ---- asking ---- */

static gboolean
ask(Controller *controller, const MirrorRanges *wanted, GError **error)
{
  g_autofree Doppel__Engine__PageRange *ranges = g_new(Doppel__Engine__PageRange, wanted->len);
  g_autofree Doppel__Engine__PageRange **list = g_new(Doppel__Engine__PageRange *, wanted->len);
  Doppel__Engine__Pull pull = DOPPEL__ENGINE__PULL__INIT;
  pull.id = ++controller->next_pull;
  pull.n_range = mirror_ranges_message(wanted, ranges, list);
  pull.range = list;
  pull.has_block = TRUE;
  pull.block = controller->block_taken;
  return ENGINE_SEND(controller->link, PULL, pull, &pull, error);
}

/* The next message. A link that is away may come back, which it says itself when it does not; one that is up
 * and silent is as good as dead. */
static EngineMessage *
next_message(Controller *controller, GError **error)
{
  guint64 heard = link_counters(controller->link)->bytes_received;
  gint64 since = clock_now_ns();
  for (gboolean told = FALSE;;) {
    GError *bad = NULL;
    EngineMessage *message = engine_take(controller->link, &bad);
    if (message)
      return message;
    if (bad) {
      g_propagate_error(error, bad);
      return NULL;
    }
    if (link_state(controller->link) == LINK_AWAY && !told) {
      explain(controller, "the program waits for memory that is in the clone: the link is away");
      told = TRUE;
    }
    if (!link_wait(controller->link, 1000, error) || !link_work(controller->link, error))
      return NULL;
    if (link_state(controller->link) != LINK_UP || link_counters(controller->link)->bytes_received != heard) {
      heard = link_counters(controller->link)->bytes_received;
      since = clock_now_ns();
    } else if (clock_now_ns() - since > (gint64)SILENCE_MS * 1000000) {
      doppel_error_set(error, DOPPEL_ERROR_GONE, "the clone does not answer");
      return NULL;
    }
  }
}

static gboolean
take(Controller *controller, MirrorDelta *answer, GError **error)
{
  for (gboolean complete = FALSE; !complete;) {
    EngineMessage *message = next_message(controller, error);
    if (!message)
      return FALSE;
    if (message->kind_case != DOPPEL__ENGINE__MESSAGE__KIND_PAGES) {
      g_queue_push_tail(controller->postponed, message);
      if (g_queue_get_length(controller->postponed) > POSTPONED_MAX)
        return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone says other things than it is asked");
      continue;
    }
    g_autoptr(EngineMessage) pages = message;
    if (pages->pages->id != controller->next_pull || pages->pages->piece->n_section)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "pages that nobody asked for");
    if (!mirror_delta_receive(answer, pages->pages->piece, ANSWER_BYTES_MAX, &complete, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
pull(const MirrorRanges *wanted, MirrorDelta *answer, void *user, GError **error)
{
  Controller *controller = user;
  gint64 began = timeline_now(controller);
  if (!controller->link)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "there is no session with the clone");
  LinkCounters since = *link_counters(controller->link);
  Traffic before = controller->meter.now;
  if (!ask(controller, wanted, error) || !take(controller, answer, error))
    return FALSE;
  stats_came_home(controller, &since, &before);
  timeline_pull(controller, began, mirror_ranges_sum(wanted) / COPIES_PAGE, answer->data->len);
  return TRUE;
}

/* ---- the program ---- */

int
home_device(const Controller *controller)
{
  return controller->options->lazy_return ? open("/dev/userfaultfd", O_RDWR | O_CLOEXEC) : -1;
}

gboolean
home_image(Controller *controller, int device, GError **error)
{
  g_autoptr(GError) why = NULL;
  const guint64 closing[6] = {device};
  gint64 result;
  if (!controller->options->lazy_return)
    return TRUE;
  controller->late = mirror_late_new(controller->process, device, pull, controller, &why);
  if (controller->late)
    mirror_late_on_failure(controller->late, failed);
  else
    fprintf(
        stderr,
        "doppel: --lazy-return is not possible for this user on this machine (%s): all that a block wrote "
        "comes home with its result. What can be done: doppel doctor\n",
        why->message);
  return device < 0 ||
         mirror_inject_one(mirror_thread_leader(controller->process), SYS_close, closing, &result, error);
}

void
home_forget(Controller *controller)
{
  if (controller->twin)
    controller->twin->late = NULL;
  g_clear_pointer(&controller->late, mirror_late_free);
}

/* ---- the session ---- */

gboolean
home_attach(Controller *controller, GError **error)
{
  controller->block_taken = 0;
  if (!controller->late)
    return TRUE;
  controller->twin->late = controller->late;
  return mirror_late_attach(controller->late, controller->twin->tracker, error);
}

void
home_detach(Controller *controller)
{
  if (controller->late)
    mirror_late_detach(controller->late);
  EngineMessage *message;
  while ((message = g_queue_pop_head(controller->postponed)))
    engine_message_free(message);
}

void
home_bring(Controller *controller)
{
  g_autoptr(GError) error = NULL;
  if (controller->late && mirror_late_bytes(controller->late) && !has_ended(controller) &&
      !mirror_late_fill_all(controller->late, &error) && !has_ended(controller))
    home_lost(controller, error);
}

gboolean
home_secure(Controller *controller, GError **error)
{
  MirrorProcess *process = controller->process;
  for (guint i = 0; controller->late && i < process->threads->len; i++) {
    const MirrorThread *thread = process->threads->pdata[i];
    guint64 places[2];
    gsize count = mirror_state_exit_writes(controller->twin->agreed, thread->own_tid, places);
    for (gsize k = 0; k < count; k++)
      if (places[k] && !mirror_late_fill(controller->late, places[k], 64, error))
        return FALSE;
  }
  return TRUE;
}

void
home_cut(Controller *controller, const char *why)
{
  g_autoptr(GError) error = NULL;
  if (!controller->late || !mirror_late_bytes(controller->late) || has_ended(controller))
    return;
  doppel_error_set(&error, DOPPEL_ERROR_GONE, "%s", why);
  home_lost(controller, error);
}

int
home_fd(const Controller *controller)
{
  return controller->late ? mirror_late_fd(controller->late) : -1;
}

gboolean
home_serve(Controller *controller, GError **error)
{
  return !controller->late || mirror_late_serve(controller->late, error);
}
