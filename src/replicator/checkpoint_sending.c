/* The courier and the clone. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "mirror/arch/arch.h"
#include "replicator/checkpoint_courier_private.h"

enum { ANSWER_MS = 120000, PAUSE_MIN_MS = 250, PAUSE_MAX_MS = 15000, END_MS = 3000 };

static gboolean
controller_is_gone(const Courier *courier)
{
  struct pollfd control = {.fd = courier->control};
  return poll(&control, 1, 0) > 0 && (control.revents & (POLLHUP | POLLERR));
}

CheckpointMessage *
courier_hear(Courier *courier, int kind, GError **error)
{
  g_autoptr(CheckpointMessage) answer = checkpoint_message_wait(courier->link, ANSWER_MS, error);
  if (!answer || (int)answer->kind_case == kind)
    return g_steal_pointer(&answer);
  if (answer->kind_case == DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_REFUSAL) {
    DoppelErrorCode code =
        answer->refusal->code < DOPPEL_ERROR_ABORTED && answer->refusal->code != DOPPEL_ERROR_GONE
            ? (DoppelErrorCode)answer->refusal->code
            : DOPPEL_ERROR_FAILED;
    g_autofree char *printable = g_strescape(answer->refusal->reason, "\"");
    doppel_error_set(error, code, "the clone says: %.1000s", printable);
  } else {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone answered something else than what was asked");
  }
  return NULL;
}

static ProtobufCBinaryData
text_bytes(const char *text)
{
  return (ProtobufCBinaryData){strlen(text), (guint8 *)text};
}

/* Tells which run this is. */
static gboolean
introduce(Courier *courier, GError **error)
{
  char *const *argv = courier->spec->argv;
  gsize count = g_strv_length((char **)argv);
  g_autofree ProtobufCBinaryData *words = g_new(ProtobufCBinaryData, count + 1);
  Doppel__Wire__CheckpointRun run = DOPPEL__WIRE__CHECKPOINT_RUN__INIT;
  for (gsize i = 0; i < count; i++)
    words[i] = text_bytes(argv[i]);
  run.run = (ProtobufCBinaryData){sizeof courier->run, courier->run};
  run.n_argument = count;
  run.argument = words;
  run.directory = text_bytes(courier->directory);
  run.host = courier->host;
  run.architecture = (char *)arch_name;
  run.features = courier->spec->features;
  if (!CHECKPOINT_SEND(courier->link, RUN, run, &run, error))
    return FALSE;
  g_autoptr(CheckpointMessage) answer =
      courier_hear(courier, DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_WELCOME, error);
  if (!answer)
    return FALSE;
  if (strcmp(answer->welcome->architecture, arch_name) != 0)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the clone's processor is %s, this one is %s: a checkpoint is of no use there",
                            answer->welcome->architecture, arch_name);
  courier_say(courier, COURIER_WELCOME, 0, answer->welcome->features, NULL);
  return TRUE;
}

static gboolean
dial(Courier *courier, GError **error)
{
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = courier->spec->resume_ms;
  courier->link = link_dial((const char *const *)courier->clone->addresses, courier->key,
                            &courier->clone->key, courier->clone->id, &options, error);
  if (courier->link && introduce(courier, error)) {
    courier->dial_pause_ms = 0;
    courier->told_away = FALSE;
    return TRUE;
  }
  g_clear_pointer(&courier->link, link_free);
  return FALSE;
}

/* FALSE where time does not heal it. */
static gboolean
dial_later(Courier *courier, const GError *why)
{
  courier->dial_pause_ms = CLAMP(2 * courier->dial_pause_ms, PAUSE_MIN_MS, PAUSE_MAX_MS);
  courier->dial_at_ns = clock_now_ns() + courier->dial_pause_ms * 1000000;
  if (g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_DENIED)) {
    courier_say(courier, COURIER_REFUSED, 0, why->message, NULL);
    courier->dial_at_ns = G_MAXINT64;
    return FALSE;
  }
  if (!courier->told_away)
    courier_say(courier, COURIER_NOTE, 0, why->message, NULL);
  courier->told_away = TRUE;
  return TRUE;
}

void
courier_work_link(Courier *courier)
{
  g_autoptr(GError) why = NULL;
  if (courier->link && link_work(courier->link, &why))
    return;
  if (courier->link) {
    g_clear_pointer(&courier->link, link_free);
    dial_later(courier, why);
    return;
  }
  if (courier->dial_at_ns <= clock_now_ns() && !dial(courier, &why))
    dial_later(courier, why);
}

gboolean
courier_connect(Courier *courier, GError **error)
{
  while (!courier->link) {
    g_autoptr(GError) why = NULL;
    if (controller_is_gone(courier))
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the program is gone");
    if (courier->dial_at_ns == G_MAXINT64)
      return doppel_error_set(error, DOPPEL_ERROR_DENIED, "the clone takes no checkpoints of this program");
    poll(&(struct pollfd){.fd = courier->control, .events = 0}, 1, clock_left_ms(courier->dial_at_ns));
    if (!dial(courier, &why) && !dial_later(courier, why)) {
      g_propagate_error(error, g_steal_pointer(&why));
      return FALSE;
    }
  }
  return TRUE;
}

/* ---- a checkpoint ---- */

/* Until the pace allows for more, driving the link. */
static gboolean
keep_pace(Courier *courier, GError **error)
{
  for (int wait; (wait = pace_wait_ms(&courier->pace, courier->sent)) > 0;) {
    struct pollfd fds[LINK_POLL_MAX];
    guint count = link_prepare(courier->link, fds, &wait);
    if (poll(fds, count, wait) < 0 && errno != EINTR)
      return doppel_error_errno(error, "waiting");
    if (!link_work(courier->link, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
send_pieces(Courier *courier, GError **error)
{
  g_autofree guint8 *room = g_malloc(CHECKPOINT_BYTES_MAX);
  guint64 all = checkpoint_writer_bytes(courier->writer);
  for (guint64 at = 0; at < all;) {
    ssize_t got = pread(courier->spool, room, MIN(all - at, CHECKPOINT_BYTES_MAX), (off_t)at);
    if (got <= 0)
      return doppel_error_errno(error, "cannot read a checkpoint");
    Doppel__Wire__CheckpointBytes bytes = DOPPEL__WIRE__CHECKPOINT_BYTES__INIT;
    bytes.offset = at;
    bytes.bytes = (ProtobufCBinaryData){(gsize)got, room};
    at += (guint64)got;
    bytes.last = at == all;
    bytes.hash = bytes.last ? checkpoint_writer_hash(courier->writer) : 0;
    courier->sent += (guint64)got;
    if (!keep_pace(courier, error) || !CHECKPOINT_SEND(courier->link, BYTES, bytes, &bytes, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
send_once(Courier *courier, guint64 number, GError **error)
{
  Doppel__Wire__CheckpointOpen open = DOPPEL__WIRE__CHECKPOINT_OPEN__INIT;
  open.number = number;
  if (!CHECKPOINT_SEND(courier->link, OPEN, open, &open, error) || !send_pieces(courier, error))
    return FALSE;
  g_autoptr(CheckpointMessage) answer =
      courier_hear(courier, DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_NUMBER, error);
  return answer && (answer->number->number == number ||
                    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone has kept another checkpoint"));
}

gboolean
courier_send(Courier *courier, guint64 number, GError **error)
{
  for (;;) {
    g_autoptr(GError) why = NULL;
    if (!courier_connect(courier, error))
      return FALSE;
    if (send_once(courier, number, &why))
      return TRUE;
    if (link_state(courier->link) != LINK_DEAD) {
      g_propagate_error(error, g_steal_pointer(&why));
      return FALSE;
    }
    g_clear_pointer(&courier->link, link_free);
    dial_later(courier, why);
  }
}

gboolean
courier_send_end(Courier *courier)
{
  Doppel__Wire__CheckpointNumber nothing = DOPPEL__WIRE__CHECKPOINT_NUMBER__INIT;
  if (!courier->link || !CHECKPOINT_SEND(courier->link, END, end, &nothing, NULL))
    return FALSE;
  g_autoptr(CheckpointMessage) answer = checkpoint_message_wait(courier->link, END_MS, NULL);
  return answer != NULL;
}
