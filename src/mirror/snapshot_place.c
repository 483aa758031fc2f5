/* A process that goes on from a checkpoint gets its descriptors, its signals and its timers. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "base/error.h"
#include "mirror/signals.h"
#include "mirror/snapshot.h"

#define NS_PER_S G_GUINT64_CONSTANT(1000000000)

typedef Doppel__Wire__CheckpointDescriptor Descriptor;

/* New descriptors wait above all that the process is to have, until all are there. */
typedef struct {
  MirrorProcess *process;
  const Doppel__Wire__CheckpointState *state;
  MirrorSnapshotPath path_of;
  gpointer user;
  guint64 room; /* for arguments */
  int above;
  gint64 input, output, errors;
  gint64 *staged; /* for each of the state's */
  GError **error;
} Placing;

static gboolean
call(Placing *placing, const char *what, gint64 nr, guint64 a, guint64 b, guint64 c, guint64 d,
     gint64 *result)
{
  const guint64 arguments[6] = {a, b, c, d};
  if (!mirror_inject_one(mirror_thread_leader(placing->process), nr, arguments, result, placing->error))
    return FALSE;
  errno = *result < 0 ? (int)-*result : 0;
  return *result >= 0 || doppel_error_errno(placing->error, "%s", what);
}

static gboolean
put(Placing *placing, const void *bytes, gsize length)
{
  return mirror_memory_write(placing->process, placing->room, bytes, length, placing->error);
}

static gboolean
close_one(Placing *placing, gint64 number)
{
  gint64 result;
  return call(placing, "closing a descriptor", SYS_close, (guint64)number, 0, 0, 0, &result);
}

static gboolean
stage(Placing *placing, gint64 from, gboolean close_it, gint64 *staged)
{
  return call(placing, "moving a descriptor", SYS_fcntl, (guint64)from, F_DUPFD_CLOEXEC,
              (guint64)placing->above, 0, staged) &&
         (!close_it || close_one(placing, from));
}

/* ---- one of each kind ---- */

/* Flags that only mean something while a file is being opened, and are forgotten then. */
static guint32
reopening_flags(guint32 flags)
{
  return flags & ~(guint32)(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_CLOEXEC | (O_TMPFILE & ~O_DIRECTORY));
}

static gboolean
open_path(Placing *placing, const Descriptor *descriptor, const char *path, guint32 flags, gint64 *opened)
{
  g_autofree char *what = g_strdup_printf("opening %s again", path);
  gint64 moved;
  return put(placing, path, strlen(path) + 1) &&
         call(placing, what, SYS_openat, (guint64)AT_FDCWD, placing->room, flags | O_CLOEXEC, 0, opened) &&
         (!descriptor->offset || (flags & O_PATH) ||
          call(placing, what, SYS_lseek, (guint64)*opened, descriptor->offset, SEEK_SET, 0, &moved));
}

static gboolean
open_named(Placing *placing, const Descriptor *descriptor, gint64 *opened)
{
  g_autofree char *path = g_strndup((const char *)descriptor->path.data, descriptor->path.len);
  return open_path(placing, descriptor, path, reopening_flags(descriptor->flags), opened);
}

static gboolean
open_file(Placing *placing, const Descriptor *descriptor, gint64 *opened)
{
  const char *path = placing->path_of(descriptor->file, placing->user);
  guint32 flags = reopening_flags(descriptor->flags) & ~(guint32)O_DIRECTORY;
  return path ? open_path(placing, descriptor, path, flags, opened)
              : doppel_error_set(placing->error, DOPPEL_ERROR_HOSTILE, "a file that is nowhere");
}

static gboolean
open_events(Placing *placing, const Descriptor *descriptor, gint64 *opened)
{
  guint32 flags = EFD_CLOEXEC | (descriptor->flags & O_NONBLOCK ? EFD_NONBLOCK : 0) |
                  (descriptor->offset ? EFD_SEMAPHORE : 0);
  gint64 result;
  return call(placing, "making an eventfd", SYS_eventfd2, 0, flags, 0, 0, opened) &&
         (!descriptor->value ||
          (put(placing, &descriptor->value, sizeof descriptor->value) &&
           call(placing, "filling an eventfd", SYS_write, (guint64)*opened, placing->room, 8, 0, &result)));
}

static gboolean
open_timer(Placing *placing, const Descriptor *descriptor, gint64 *opened)
{
  struct itimerspec times = {
      .it_value = {(time_t)(descriptor->next_ns / NS_PER_S), (long)(descriptor->next_ns % NS_PER_S)},
      .it_interval = {(time_t)(descriptor->interval_ns / NS_PER_S),
                      (long)(descriptor->interval_ns % NS_PER_S)},
  };
  gint64 result;
  return put(placing, &times, sizeof times) &&
         call(placing, "making a timerfd", SYS_timerfd_create, descriptor->value,
              TFD_CLOEXEC | (descriptor->flags & O_NONBLOCK ? TFD_NONBLOCK : 0), 0, 0, opened) &&
         call(placing, "setting a timerfd", SYS_timerfd_settime, (guint64)*opened, 0, placing->room, 0,
              &result);
}

static gboolean
open_signals(Placing *placing, const Descriptor *descriptor, gint64 *opened)
{
  return put(placing, &descriptor->value, sizeof descriptor->value) &&
         call(placing, "making a signalfd", SYS_signalfd4, (guint64)-1, placing->room, 8,
              O_CLOEXEC | (descriptor->flags & O_NONBLOCK), opened);
}

/* Through the room for batches, which injected single calls leave alone. */
static gboolean
fill_pipe(Placing *placing, gint64 end, const ProtobufCBinaryData *content)
{
  gint64 result;
  if (content->len > 65536 &&
      !call(placing, "widening a pipe", SYS_fcntl, (guint64)end, F_SETPIPE_SZ, content->len, 0, &result))
    return FALSE;
  for (gsize at = 0; at < content->len; at += (gsize)result) {
    gsize piece = MIN(content->len - at, MIRROR_SCRATCH_BATCH / 4);
    if (!put(placing, content->data + at, piece) ||
        !call(placing, "filling a pipe", SYS_write, (guint64)end, placing->room, piece, 0, &result))
      return FALSE;
    if (result == 0)
      return doppel_error_set(placing->error, DOPPEL_ERROR_FAILED, "filling a pipe: nothing was taken");
  }
  return TRUE;
}

static gboolean
set_flags(Placing *placing, gint64 number, guint32 flags)
{
  gint64 result;
  guint32 kept = flags & (O_NONBLOCK | O_APPEND | O_DIRECT);
  return !kept || call(placing, "setting flags", SYS_fcntl, (guint64)number, F_SETFL, kept, 0, &result);
}

/* Makes all the ends of one pipe: each one has its flags, and they are two open files. */
static gboolean
open_pipe(Placing *placing, guint index)
{
  const Descriptor *first = placing->state->descriptor[index];
  gint32 ends[2];
  gint64 result, staged[2];
  if (!call(placing, "making a pipe", SYS_pipe2, placing->room, O_CLOEXEC, 0, 0, &result) ||
      !mirror_memory_read(placing->process, placing->room, ends, sizeof ends, placing->error) ||
      !stage(placing, ends[0], TRUE, &staged[0]) || !stage(placing, ends[1], TRUE, &staged[1]))
    return FALSE;
  gboolean used[2] = {FALSE, FALSE};
  for (guint i = index; i < placing->state->n_descriptor; i++) {
    const Descriptor *end = placing->state->descriptor[i];
    if (end->kind != first->kind || end->value != first->value || end->shares >= 0)
      continue;
    guint which = (end->flags & O_ACCMODE) == O_RDONLY ? 0 : 1;
    if (which == 0 && !fill_pipe(placing, staged[1], &end->content))
      return FALSE;
    if (used[which])
      return doppel_error_set(placing->error, DOPPEL_ERROR_UNSUPPORTED,
                              "a pipe whose end was opened several times");
    used[which] = TRUE;
    placing->staged[i] = staged[which];
  }
  for (guint i = 0; i < 2; i++)
    if (!used[i] && !close_one(placing, staged[i]))
      return FALSE;
  for (guint i = index; i < placing->state->n_descriptor; i++) {
    const Descriptor *end = placing->state->descriptor[i];
    if (end->kind == first->kind && end->value == first->value && end->shares < 0 &&
        !set_flags(placing, placing->staged[i], end->flags))
      return FALSE;
  }
  return TRUE;
}

static gboolean
open_one(Placing *placing, guint index)
{
  const Descriptor *descriptor = placing->state->descriptor[index];
  gint64 opened;
  gboolean done = FALSE;
  switch (descriptor->kind) {
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__INPUT:
    return stage(placing, placing->input, FALSE, &placing->staged[index]);
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__OUTPUT:
    return stage(placing, placing->output, FALSE, &placing->staged[index]);
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__ERRORS:
    return stage(placing, placing->errors, FALSE, &placing->staged[index]);
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__PIPE:
    return placing->staged[index] >= 0 || open_pipe(placing, index);
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__FILE:
    done = open_file(placing, descriptor, &opened);
    break;
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__DIRECTORY:
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__DEVICE:
    done = open_named(placing, descriptor, &opened);
    break;
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__SIGNALS:
    done = open_signals(placing, descriptor, &opened);
    break;
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__EVENTS:
    done = open_events(placing, descriptor, &opened);
    break;
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__TIMER:
    done = open_timer(placing, descriptor, &opened);
    break;
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__POLL:
    done = call(placing, "making an epoll descriptor", SYS_epoll_create1, EPOLL_CLOEXEC, 0, 0, 0, &opened);
    break;
  default:
    return doppel_error_set(placing->error, DOPPEL_ERROR_HOSTILE, "a descriptor of no kind");
  }
  return done && stage(placing, opened, TRUE, &placing->staged[index]);
}

/* ---- all of them ---- */

static gboolean
settle(Placing *placing, gint64 from, const Descriptor *descriptor, gboolean close_it)
{
  gint64 result;
  return call(placing, "placing a descriptor", SYS_dup3, (guint64)from, (guint64)descriptor->number,
              descriptor->close_on_exec ? O_CLOEXEC : 0, 0, &result) &&
         (!close_it || close_one(placing, from));
}

static gboolean
watch(Placing *placing, const Descriptor *descriptor)
{
  gint64 result;
  for (gsize i = 0; i < descriptor->n_watch; i++) {
    struct epoll_event event = {.events = descriptor->watch[i]->events,
                                .data = {.u64 = descriptor->watch[i]->data}};
    if (!put(placing, &event, sizeof event) ||
        !call(placing, "watching a descriptor", SYS_epoll_ctl, (guint64)descriptor->number, EPOLL_CTL_ADD,
              (guint64)descriptor->watch[i]->number, placing->room, &result))
      return FALSE;
  }
  return TRUE;
}

static gboolean
place_all(Placing *placing)
{
  const Doppel__Wire__CheckpointState *state = placing->state;
  if (!stage(placing, 0, TRUE, &placing->input) || !stage(placing, 1, TRUE, &placing->output) ||
      !stage(placing, 2, TRUE, &placing->errors))
    return FALSE;
  for (guint i = 0; i < state->n_descriptor; i++)
    if (state->descriptor[i]->shares < 0 && !open_one(placing, i))
      return FALSE;
  if (!close_one(placing, placing->input) || !close_one(placing, placing->output) ||
      !close_one(placing, placing->errors))
    return FALSE;
  for (guint i = 0; i < state->n_descriptor; i++) {
    const Descriptor *descriptor = state->descriptor[i];
    gboolean shares = descriptor->shares >= 0;
    if (!settle(placing, shares ? descriptor->shares : placing->staged[i], descriptor, !shares))
      return FALSE;
  }
  for (guint i = 0; i < state->n_descriptor; i++)
    if (!watch(placing, state->descriptor[i]))
      return FALSE;
  return TRUE;
}

gboolean
mirror_snapshot_place(MirrorProcess *process, const Doppel__Wire__CheckpointState *state,
                      MirrorSnapshotPath path_of, gpointer user, GError **error)
{
  Placing placing = {.process = process,
                     .state = state,
                     .path_of = path_of,
                     .user = user,
                     .room = mirror_scratch_bytes(process),
                     .above = 3,
                     .error = error};
  for (guint i = 0; i < state->n_descriptor; i++)
    placing.above = MAX(placing.above, state->descriptor[i]->number + 1);
  placing.staged = g_new(gint64, state->n_descriptor + 1);
  for (guint i = 0; i < state->n_descriptor; i++)
    placing.staged[i] = -1;
  gboolean placed = place_all(&placing);
  g_free(placing.staged);
  return placed;
}

/* ---- waking ---- */

static gboolean
set_interval(MirrorProcess *process, const Doppel__Wire__CheckpointInterval *interval, GError **error)
{
  const guint64 second = 1000000;
  struct itimerval times = {
      .it_value = {(time_t)(interval->left_us / second), (suseconds_t)(interval->left_us % second)},
      .it_interval = {(time_t)(interval->interval_us / second),
                      (suseconds_t)(interval->interval_us % second)}};
  guint64 room = mirror_scratch_bytes(process);
  const guint64 arguments[6] = {interval->which, room, 0};
  gint64 result;
  if (!mirror_memory_write(process, room, &times, sizeof times, error) ||
      !mirror_inject_one(mirror_thread_leader(process), SYS_setitimer, arguments, &result, error))
    return FALSE;
  errno = result < 0 ? (int)-result : 0;
  return result >= 0 || doppel_error_errno(error, "setting an interval timer");
}

gboolean
mirror_snapshot_wake(MirrorProcess *process, const Doppel__Wire__CheckpointState *state, GError **error)
{
  for (gsize i = 0; i < state->n_signal; i++) {
    MirrorSignal signal = {.own_tid = state->signal[i]->thread};
    if (state->signal[i]->info.len != sizeof signal.info)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a signal that is none");
    memcpy(&signal.info, state->signal[i]->info.data, sizeof signal.info);
    if (signal.info.si_signo < 1 || signal.info.si_signo > 64)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a signal that is none");
    if (!mirror_signals_put(process, &signal, error))
      return FALSE;
  }
  for (gsize i = 0; i < state->n_interval; i++)
    if (!set_interval(process, state->interval[i], error))
      return FALSE;
  return TRUE;
}
