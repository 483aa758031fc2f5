/* Calls on pins, executed by the primary's own threads (docs/architecture.md, "Pins"). A thread that the
 * mirror has and the primary keeps asleep executes its twin's calls; calls of the mirror's children, and
 * output while that thread is busy, are executed by servants. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "controller/controller.h"

void
pin_task_free(PinTask *task)
{
  pincall_free(task->call);
  pinplacement_free(task->placement);
  g_free(task);
}

/* ---- which pins there are ---- */

static char *
pin_name(Controller *controller, int fd)
{
  char path[32], link[4096];
  snprintf(path, sizeof path, "fd/%d", fd);
  ssize_t length = readlinkat(controller->process->directory, path, link, sizeof link);
  return length > 0 ? g_strndup(link, length) : NULL;
}

gboolean
pins_begin(Controller *controller, const MirrorFiles *files)
{
  g_hash_table_remove_all(controller->pins);
  g_hash_table_remove_all(controller->let_go);
  for (guint i = 0; i < files->len; i++) {
    const MirrorFile *file = files->pdata[i];
    if (file->kind == MIRROR_FILE_PIN && file->name)
      g_hash_table_insert(controller->pins, GINT_TO_POINTER(file->pin), g_strdup(file->name));
  }
  return TRUE;
}

static int
fd_of_pin(void *user, guint32 pin)
{
  Controller *controller = user;
  return g_hash_table_contains(controller->pins, GINT_TO_POINTER((int)pin)) ? (int)pin : -1;
}

static gint64
pin_of_new_fd(void *user, int fd)
{
  Controller *controller = user;
  char *name = pin_name(controller, fd);
  if (!name)
    return PIN_NONE;
  controller->twin->strays = TRUE;
  g_hash_table_insert(controller->pins, GINT_TO_POINTER(fd), name);
  return fd;
}

static gboolean
memory_read(void *user, guint64 address, void *to, gsize length)
{
  return mirror_memory_read(((Controller *)user)->process, address, to, length, NULL);
}

static gboolean
memory_write(void *user, guint64 address, const void *from, gsize length)
{
  return mirror_memory_write(((Controller *)user)->process, address, from, length, NULL);
}

/* ---- threads ---- */

/* Stops a thread that is in a call of ours; what its call returned is in *value. */
static gboolean
break_off(Controller *controller, MirrorThread *thread, gint64 *value, GError **error)
{
  if (ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) < 0)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the program died");
  while (!thread->stopped) {
    int status;
    if (mirror_thread_wait(thread, &status) < 0)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the program died");
    MirrorStop stop = mirror_stop_read(controller->process, thread->tid, status);
    if (stop.kind == MIRROR_STOP_GONE) {
      controller->exited = thread == mirror_thread_leader(controller->process);
      controller->exit_status = status;
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the program died");
    }
    if (stop.kind == MIRROR_STOP_SIGNAL && !signals_forward(controller, thread, error))
      return FALSE;
    /* It had just come back, and the interrupt overtook the trap that says so. */
    if (stop.kind == MIRROR_STOP_NONE && mirror_trap_waits(thread) &&
        !mirror_thread_resume(thread, PTRACE_CONT, error))
      return FALSE;
  }
  return mirror_call_finish(thread, value, error);
}

static PinTask *
task_of(Controller *controller, const MirrorThread *thread)
{
  for (guint i = 0; i < controller->tasks->len; i++)
    if (((PinTask *)controller->tasks->pdata[i])->thread == thread)
      return controller->tasks->pdata[i];
  return NULL;
}

/* Wakes a thread that only sleeps. */
gboolean
pins_wake(Controller *controller, MirrorThread *thread, GError **error)
{
  gint64 unused;
  return !thread->in_call || break_off(controller, thread, &unused, error);
}

static gboolean complete(Controller *controller, PinTask *task, gint64 value, GError **error);

/* The leader makes the calls of the machinery itself: it may have to be taken out of its own for a moment. */
static gboolean
with_leader(Controller *controller, gboolean (*work)(Controller *, void *, GError **), void *user,
            GError **error)
{
  MirrorThread *leader = mirror_thread_leader(controller->process);
  PinTask *task = task_of(controller, leader);
  gint64 value = 0;
  gboolean was_in_call = leader->in_call;
  if (was_in_call && !break_off(controller, leader, &value, error))
    return FALSE;
  if (!work(controller, user, error))
    return FALSE;
  if (!was_in_call || !task)
    return TRUE;
  /* It may have come back just then; else it is made again, for nothing of it was done. */
  if (value > MIRROR_CALL_INTERRUPTED)
    return complete(controller, task, value, error);
  return mirror_call_start(leader, task->call->row->nr, task->placement->args, error);
}

static gboolean
make_thread(Controller *controller, void *user, GError **error)
{
  MirrorThread **made = user;
  *made = mirror_thread_create(controller->process, error);
  return *made != NULL;
}

static MirrorThread *
servant(Controller *controller, GError **error)
{
  for (guint i = 0; i < controller->process->threads->len; i++) {
    MirrorThread *thread = controller->process->threads->pdata[i];
    if (GPOINTER_TO_INT(thread->user) == THREAD_SERVANT && !thread->in_call)
      return thread;
  }
  MirrorThread *made = NULL;
  if (!with_leader(controller, make_thread, &made, error))
    return NULL;
  made->user = GINT_TO_POINTER(THREAD_SERVANT);
  return made;
}

gboolean
pins_threads(Controller *controller, guint count, GError **error)
{
  gint32 ids[64];
  g_autoptr(GError) why = NULL;
  Doppel__Engine__Threads message = DOPPEL__ENGINE__THREADS__INIT;
  message.thread = ids;
  while (message.n_thread < MIN(count, G_N_ELEMENTS(ids))) {
    MirrorThread *made = NULL;
    if (!with_leader(controller, make_thread, &made, &why))
      break;
    made->user = GINT_TO_POINTER(THREAD_RESERVED);
    ids[message.n_thread++] = made->own_tid;
  }
  if (g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_GONE)) {
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
  }
  message.error = why && !message.n_thread ? why->message : NULL;
  return ENGINE_SEND(controller->link, THREADS, threads, &message, error);
}

/* Puts `fd`'s number on something else, which has a name of its own: a pipe whose other end is closed. A
 * child of the program inherits it as it would have the pin. */
static gboolean
replace_descriptor(MirrorThread *leader, int fd, const int ends[2], GError **error)
{
  const guint64 asking[6] = {(guint64)fd, F_GETFD};
  gint64 flags, result;
  if (!mirror_inject_one(leader, SYS_fcntl, asking, &flags, error))
    return FALSE;
  const guint64 placing[6] = {(guint64)ends[0], (guint64)fd, flags == 0 ? 0 : O_CLOEXEC};
  if (!mirror_inject_one(leader, SYS_dup3, placing, &result, error))
    return FALSE;
  for (int i = 0; i < 2; i++) {
    const guint64 closing[6] = {(guint64)ends[i]};
    if (!mirror_inject_one(leader, SYS_close, closing, &result, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
let_go(Controller *controller, void *user, GError **error)
{
  const Doppel__Engine__ClosePins *closing = user;
  MirrorThread *leader = mirror_thread_leader(controller->process);
  guint64 room = mirror_scratch_bytes(controller->process);
  const guint64 making[6] = {room, O_CLOEXEC};
  controller->twin->strays = TRUE;
  for (gsize i = 0; i < closing->n_pin; i++) {
    int fd = closing->pin[i], ends[2];
    gint64 made;
    if (!g_hash_table_remove(controller->pins, GINT_TO_POINTER(fd)))
      continue;
    if (!mirror_inject_one(leader, SYS_pipe2, making, &made, error))
      return FALSE;
    if (made < 0)
      return doppel_error_set(error, DOPPEL_ERROR_ABORTED, "a closed descriptor cannot be kept: %s",
                              g_strerror((int)-made));
    if (!mirror_memory_read(controller->process, room, ends, sizeof ends, error) ||
        !replace_descriptor(leader, fd, ends, error))
      return FALSE;
    char *name = pin_name(controller, fd);
    if (name)
      g_hash_table_insert(controller->let_go, GINT_TO_POINTER(fd), name);
  }
  return TRUE;
}

gboolean
pins_close(Controller *controller, const Doppel__Engine__ClosePins *closing, GError **error)
{
  return with_leader(controller, let_go, (void *)closing, error);
}

/* ---- executing ---- */

static int
free_slot(const Controller *controller)
{
  guint64 used = 0;
  for (guint i = 0; i < controller->tasks->len; i++)
    used |= 1ull << ((PinTask *)controller->tasks->pdata[i])->slot;
  for (int slot = 0; slot < MIRROR_SCRATCH_SLOTS; slot++)
    if (!(used >> slot & 1))
      return slot;
  return -1;
}

static gboolean
start(Controller *controller, PinTask *task, GError **error)
{
  int slot = free_slot(controller);
  if (slot < 0)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "more than %d forwarded calls at once",
                            MIRROR_SCRATCH_SLOTS);
  task->slot = slot;
  task->start_ns = timeline_now(controller);
  guint64 address = mirror_slot_address(controller->process, slot);
  g_clear_pointer(&task->placement, pinplacement_free);
  task->placement = pincall_place(task->call, address, MIRROR_SCRATCH_SLOT, fd_of_pin, controller, error);
  if (!task->placement)
    return FALSE;
  if (task->placement->image->len &&
      !mirror_memory_write(controller->process, address, task->placement->image->data,
                           task->placement->image->len, error))
    return FALSE;
  if (!pins_wake(controller, task->thread, error) ||
      !mirror_call_start(task->thread, task->call->row->nr, task->placement->args, error))
    return FALSE;
  g_ptr_array_add(controller->tasks, task);
  return TRUE;
}

static MirrorThread *
executor(Controller *controller, pid_t own_tid, GError **error)
{
  MirrorThread *thread = own_tid ? mirror_thread_find_own(controller->process, own_tid) : NULL;
  if (thread && !task_of(controller, thread))
    return thread;
  return servant(controller, error);
}

gboolean
pins_forward(Controller *controller, const Doppel__Engine__Forward *forward, GError **error)
{
  g_autoptr(PinCall) call = pincall_unpack(forward->call.data, forward->call.len, error);
  static const char *const device_paths[] = {"/dev/", "/proc/", "/sys/", NULL};
  if (!call || !pincall_permitted(call, &(PinPolicy){.path_prefixes = device_paths}, error))
    return FALSE;
  PinTask *task = g_new0(PinTask, 1);
  task->kind = TASK_FORWARD;
  task->id = forward->id;
  task->call = g_steal_pointer(&call);
  task->thread = executor(controller, forward->thread, error);
  if (task->thread && start(controller, task, error))
    return TRUE;
  pin_task_free(task);
  return FALSE;
}

gboolean
pins_output(Controller *controller, const Doppel__Engine__Output *output, GError **error)
{
  if (output->bytes.len == 0)
    return TRUE;
  if (output->bytes.len > PINCALL_BYTES_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "an output longer than any");
  PinTask *task = g_new0(PinTask, 1);
  task->kind = TASK_OUTPUT;
  task->call = pincall_new(syscall_row_named("write"));
  task->call->args[0] = output->pin;
  task->call->args[1] = 1;
  task->call->args[2] = output->bytes.len;
  PinRegion region = {.arg = 1,
                      .part = PIN_PART_WHOLE,
                      .in = output->bytes.len,
                      .bytes = g_memdup2(output->bytes.data, output->bytes.len)};
  g_array_append_val(task->call->regions, region);
  task->call->asked = output->bytes.len;
  task->thread = executor(controller, controller->block_thread->own_tid, error);
  if (task->thread && start(controller, task, error))
    return TRUE;
  pin_task_free(task);
  return FALSE;
}

gboolean
pins_output_active(const Controller *controller)
{
  for (guint i = 0; i < controller->tasks->len; i++)
    if (((PinTask *)controller->tasks->pdata[i])->kind == TASK_OUTPUT)
      return TRUE;
  return FALSE;
}

/* A short write is not the end of an output. */
static gboolean
output_done(Controller *controller, PinTask *task, gint64 value, GError **error)
{
  PinRegion *region = pincall_region(task->call, 0);
  if (value <= 0 && value != -EAGAIN && value > MIRROR_CALL_INTERRUPTED) {
    g_autofree char *name = pin_name(controller, (int)task->call->args[0]);
    pin_task_free(task);
    return doppel_error_set(error, DOPPEL_ERROR_ABORTED, "output to %s failed: %s",
                            name ? name : "a closed descriptor", g_strerror((int)-value));
  }
  gsize done = value > 0 ? (gsize)value : 0;
  if (done >= region->in) {
    pin_task_free(task);
    return TRUE;
  }
  memmove(region->bytes, region->bytes + done, region->in - done);
  region->in -= done;
  task->call->args[2] = task->call->asked = region->in;
  if (value == -EAGAIN)
    g_usleep(1000); /* made non-blocking by someone else who has it open */
  if (start(controller, task, error))
    return TRUE;
  pin_task_free(task);
  return FALSE;
}

static gboolean
complete(Controller *controller, PinTask *task, gint64 value, GError **error)
{
  guint at;
  if (g_ptr_array_find(controller->tasks, task, &at))
    g_ptr_array_steal_index(controller->tasks, at);
  timeline_call(controller, task->slot, task->kind == TASK_OUTPUT ? "output" : task->call->row->name,
                task->start_ns, value);
  MirrorMemoryOps memory = {memory_read, memory_write, controller};
  g_autoptr(PinResult) result =
      value <= MIRROR_CALL_INTERRUPTED && value > -4096
          ? pinresult_new(MIRROR_CALL_INTERRUPTED)
          : pincall_collect(task->call, task->placement, value, &memory, pin_of_new_fd, controller, error);
  if (!result) {
    pin_task_free(task);
    return FALSE;
  }
  if (value > MIRROR_CALL_INTERRUPTED)
    pinlog_note(controller->log, task->call, result);
  if (task->kind == TASK_OUTPUT)
    return output_done(controller, task, value, error);
  g_autoptr(GByteArray) packed = pinresult_pack(result);
  Doppel__Engine__Forwarded message = DOPPEL__ENGINE__FORWARDED__INIT;
  message.id = task->id;
  message.result.data = packed->data;
  message.result.len = packed->len;
  pin_task_free(task);
  return !controller->link || ENGINE_SEND(controller->link, FORWARDED, forwarded, &message, error);
}

gboolean
pins_done(Controller *controller, MirrorThread *thread, GError **error)
{
  PinTask *task = task_of(controller, thread);
  gint64 value;
  if (!mirror_call_finish(thread, &value, error))
    return FALSE;
  return !task || complete(controller, task, value, error);
}

gboolean
pins_cancel(Controller *controller, guint64 id, GError **error)
{
  for (guint i = 0; i < controller->tasks->len; i++) {
    PinTask *task = controller->tasks->pdata[i];
    gint64 value;
    if (task->kind != TASK_FORWARD || task->id != id)
      continue;
    return break_off(controller, task->thread, &value, error) && complete(controller, task, value, error);
  }
  return TRUE;
}

/* The primary sleeps: in a call that ends with a signal, so that signals are seen. */
gboolean
pins_sleep(Controller *controller, GError **error)
{
  static const guint64 for_ever[6] = {0};
  MirrorThread *thread = controller->block_thread;
  if (!thread || thread->in_call)
    return TRUE;
  return mirror_call_start(thread, SYS_ppoll, for_ever, error);
}

gboolean
pins_stop_all(Controller *controller, GError **error)
{
  while (controller->tasks->len) {
    PinTask *task = controller->tasks->pdata[0];
    gint64 value;
    if (!break_off(controller, task->thread, &value, error))
      return FALSE;
    /* What came through is in the log; nobody waits for the answer any more. */
    Link *link = g_steal_pointer(&controller->link);
    if (task->kind == TASK_OUTPUT) {
      MirrorMemoryOps memory = {memory_read, memory_write, controller};
      g_autoptr(PinResult) result = value > 0 ? pincall_collect(task->call, task->placement, value, &memory,
                                                                pin_of_new_fd, controller, NULL)
                                              : NULL;
      if (result)
        pinlog_note(controller->log, task->call, result);
      g_ptr_array_steal_index(controller->tasks, 0);
      pin_task_free(task);
    } else {
      complete(controller, task, value, NULL);
    }
    controller->link = link;
  }
  return !controller->block_thread || pins_wake(controller, controller->block_thread, error);
}

/* Threads that were reserved and not used, and servants, end with the block. */
void
pins_end(Controller *controller)
{
  for (guint i = controller->process->threads->len; i-- > 1;) {
    MirrorThread *thread = controller->process->threads->pdata[i];
    if (GPOINTER_TO_INT(thread->user) != THREAD_PROGRAM && thread->stopped)
      mirror_thread_end(thread, NULL);
  }
}
