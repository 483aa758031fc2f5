/* System calls that the device makes for the mirror. */
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "augmenter/paths.h"
#include "augmenter/route_private.h"

/* ---- memory and descriptors of who calls ---- */

static gboolean
read_memory(void *user, guint64 address, void *to, gsize length)
{
  HeldCall *call = user;
  return augmenter_memory_read(call->augmenter, call->tid, address, to, length);
}

static gboolean
write_memory(void *user, guint64 address, const void *from, gsize length)
{
  HeldCall *call = user;
  return augmenter_memory_write(call->augmenter, call->tid, address, from, length);
}

typedef struct {
  Augmenter *augmenter;
  HeldCall *call;
  guint pins, others;
  gboolean ignore_others;
} Descriptors;

static gint64
pin_of_fd(void *user, int fd)
{
  Descriptors *descriptors = user;
  gint32 pin;
  if (augmenter_pin_of(descriptors->augmenter, descriptors->call->tid, fd, &pin)) {
    descriptors->pins++;
    return pin;
  }
  descriptors->others++;
  return descriptors->ignore_others ? PIN_IGNORED : PIN_NONE;
}

static int
fd_of_pin(void *user, guint32 pin)
{
  Descriptors *descriptors = user;
  return augmenter_add_placeholder(descriptors->augmenter, descriptors->call, pin);
}

/* ---- there ---- */

static gboolean
is_bufferable(Augmenter *augmenter, const PinCall *call)
{
  if (!pincall_may_be_buffered(call))
    return FALSE;
  for (guint i = 0; i < augmenter->bufferable->len; i++)
    if (g_array_index(augmenter->bufferable, gint32, i) == (gint32)call->args[0])
      return TRUE;
  return FALSE;
}

/* Takes all of a long write, piece by piece: the program finds it done. */
static gboolean
buffer_output(Augmenter *augmenter, HeldCall *held, const MirrorMemoryOps *memory, Descriptors *descriptors,
              GError **error)
{
  guint64 done = 0, asked = held->call->asked ? held->call->asked : pincall_payload(held->call);
  for (;;) {
    int unused = -1;
    guint64 now = pincall_payload(held->call);
    augmenter_output_add(augmenter, held->call);
    if (augmenter_output_due(augmenter, &unused) && !augmenter_output_flush(augmenter, error))
      return FALSE;
    done += now;
    if (done >= asked || !now)
      return route_answer(augmenter, held, done);
    g_autoptr(PinCall) next =
        pincall_gather(held->row, held->arguments, memory, pin_of_fd, descriptors, done, NULL);
    if (!next)
      return route_answer(augmenter, held, done);
    pincall_free(held->call);
    held->call = g_steal_pointer(&next);
  }
}

gboolean
route_forward(Augmenter *augmenter, HeldCall *held, const char *path, GError **error)
{
  MirrorMemoryOps memory = {read_memory, write_memory, held};
  Descriptors descriptors = {augmenter, held};
  g_autoptr(GError) why = NULL;
  /* Names are looked up through such sockets (nscd, systemd), which mostly reach nobody. */
  if (held->child && held->row->nr == SYS_socket && (int)held->arguments[0] == AF_UNIX)
    return route_go_on(augmenter, held);
  /* It would be the primary's: after an abort its child, made anew, could not be given it. What has a name
   * can be opened again. */
  if (held->child && held->row->flags & SYSCALL_RETURNS_FD && held->row->class != SYSCALL_PATH)
    return route_cut(augmenter, held, "it would be the device's", error);
  held->call = pincall_gather(held->row, held->arguments, &memory, pin_of_fd, &descriptors, 0, &why);
  if (!held->call)
    return route_cut(augmenter, held, why->message, error);
  if (path)
    pincall_set_path(held->call, 0, path);
  if (is_bufferable(augmenter, held->call))
    return buffer_output(augmenter, held, &memory, &descriptors, error);
  if (!augmenter_output_flush(augmenter, error) ||
      ((held->row->flags & SYSCALL_BLOCKS) && !augmenter_pins_sync(augmenter, error)))
    return FALSE;
  MirrorThread *thread = held->child ? NULL : mirror_thread_find(augmenter->process, held->tid);
  g_autoptr(GByteArray) packed = pincall_pack(held->call);
  Doppel__Engine__Forward message = DOPPEL__ENGINE__FORWARD__INIT;
  held->state = CALL_FORWARDED;
  message.id = held->id = ++augmenter->next_forward;
  message.thread = thread ? thread->own_tid : 0;
  message.call.data = packed->data;
  message.call.len = packed->len;
  return ENGINE_SEND(augmenter->link, FORWARD, forward, &message, error);
}

void
augmenter_forwarded(Augmenter *augmenter, const Doppel__Engine__Forwarded *message)
{
  for (guint i = 0; i < augmenter->held->len; i++) {
    HeldCall *held = augmenter->held->pdata[i];
    if (held->state != CALL_FORWARDED || held->id != message->id)
      continue;
    MirrorMemoryOps memory = {read_memory, write_memory, held};
    Descriptors descriptors = {augmenter, held};
    gint64 value = -EFAULT;
    g_autoptr(GError) error = NULL;
    g_autoptr(PinResult) result =
        pinresult_unpack(held->call, message->result.data, message->result.len, &error);
    if (!result)
      g_warning("%s: %s", held->row->name, error->message);
    else if (!pincall_scatter(held->call, result, &memory, fd_of_pin, &descriptors, &value, &error))
      g_warning("%s: %s", held->row->name, error->message);
    /* A broken pipe kills who writes to it, unless it asked otherwise; the device spared the primary. */
    if (value == -EPIPE && (held->row->flags & SYSCALL_OUTPUT))
      syscall(SYS_tgkill, held->child ? held->tid : augmenter->process->pid, held->tid, SIGPIPE);
    if (value >= 0 && held->row->class == SYSCALL_SPECIAL && held->row->handler == SYSCALL_HANDLER_CPU_TIME)
      processor_time_told(augmenter, held);
    if (value >= 0)
      paths_note_forwarded(augmenter->paths, held->tid, held->row, held->arguments);
    augmenter_answer(augmenter, held, value);
    return;
  }
}

/* Finds out by gathering which descriptors the call is about. */
gboolean
route_set(Augmenter *augmenter, HeldCall *held, GError **error)
{
  MirrorMemoryOps memory = {read_memory, write_memory, held};
  Descriptors descriptors = {augmenter, held, .ignore_others = TRUE};
  g_autoptr(PinCall) call =
      pincall_gather(held->row, held->arguments, &memory, pin_of_fd, &descriptors, 0, NULL);
  if (!descriptors.pins)
    return route_go_on(augmenter, held);
  if (!call || descriptors.others)
    return route_cut(augmenter, held, "on things of the device and of the clone together", error);
  return route_forward(augmenter, held, NULL, error);
}
