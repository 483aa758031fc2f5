#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

static gboolean
own_read(void *user, guint64 address, void *to, gsize length)
{
  struct iovec here = {to, length}, there = {(void *)(guintptr)address, length};
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (gssize)length;
}

static gboolean
own_write(void *user, guint64 address, const void *from, gsize length)
{
  struct iovec here = {(void *)(guintptr)from, length}, there = {(void *)(guintptr)address, length};
  return process_vm_writev(getpid(), &here, 1, &there, 1, 0) == (gssize)length;
}

MirrorMemoryOps
device_own_memory(void)
{
  return (MirrorMemoryOps){own_read, own_write, NULL};
}

/* ---- the child ---- */

static gint64
child_pin_of_fd(void *user, int fd)
{
  return fd + DEVICE_PIN_BASE;
}

static int
child_fd_of_pin(void *user, guint32 pin)
{
  int fd = (int)pin - DEVICE_PIN_BASE;
  return fd >= 0 && fcntl(fd, F_GETFD) >= 0 ? fd : -1;
}

static void
send_bytes(int socket, char kind, const void *bytes, gsize length)
{
  guint32 header[2] = {kind, length};
  g_assert_true(io_write_all(socket, header, sizeof header) && io_write_all(socket, bytes, length));
}

static guint8 *
receive_bytes(int socket, char *kind, gsize *length)
{
  guint32 header[2];
  if (io_read_all(socket, header, sizeof header) != sizeof header)
    return NULL;
  guint8 *bytes = g_malloc(header[1] + 1);
  g_assert_cmpint(io_read_all(socket, bytes, header[1]), ==, header[1]);
  bytes[header[1]] = '\0';
  *kind = header[0];
  *length = header[1];
  return bytes;
}

static GByteArray *
execute(const guint8 *bytes, gsize length, guint8 *scratch, GError **error)
{
  g_autoptr(PinCall) call = pincall_unpack(bytes, length, error);
  if (!call || !pincall_permitted(call, NULL, error))
    return NULL;
  g_autoptr(PinPlacement) placement =
      pincall_place(call, P(scratch), PINCALL_SCRATCH, child_fd_of_pin, NULL, error);
  if (!placement)
    return NULL;
  /* Stale bytes from the call before must not get into a result. */
  memset(scratch, 0xa5, PINCALL_SCRATCH);
  if (placement->image->len > 0)
    memcpy(scratch, placement->image->data, placement->image->len);
  const guint64 *args = placement->args;
  gint64 value = syscall(call->row->nr, args[0], args[1], args[2], args[3], args[4], args[5]);
  if (value == -1)
    value = -errno;
  MirrorMemoryOps memory = device_own_memory();
  g_autoptr(PinResult) result =
      pincall_collect(call, placement, value, &memory, child_pin_of_fd, NULL, error);
  return result ? pinresult_pack(result) : NULL;
}

static G_GNUC_NORETURN void
serve(int socket)
{
  guint8 *scratch = mmap(NULL, PINCALL_SCRATCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char kind;
  gsize length;
  for (guint8 *bytes; (bytes = receive_bytes(socket, &kind, &length)); g_free(bytes)) {
    GError *error = NULL;
    GByteArray *answer = execute(bytes, length, scratch, &error);
    if (answer)
      send_bytes(socket, 'r', answer->data, answer->len);
    else
      send_bytes(socket, 'e', error->message, strlen(error->message));
    g_clear_pointer(&answer, g_byte_array_unref);
    g_clear_error(&error);
  }
  _exit(0);
}

/* ---- the parent ---- */

Device *
device_start(void)
{
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  Device *device = g_new0(Device, 1);
  device->placeholders = g_hash_table_new(g_direct_hash, g_direct_equal);
  device->socket = ends[0];
  device->pid = fork();
  g_assert_cmpint(device->pid, >=, 0);
  if (device->pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    serve(ends[1]);
  }
  close(ends[1]);
  return device;
}

void
device_stop(Device *device)
{
  int status;
  close(device->socket);
  g_assert_cmpint(waitpid(device->pid, &status, 0), ==, device->pid);
  g_assert_cmpint(status, ==, 0);
  g_hash_table_unref(device->placeholders);
  g_free(device);
}

gint64
device_pin_of_fd(void *user, int fd)
{
  Device *device = user;
  gpointer pin = g_hash_table_lookup(device->placeholders, GINT_TO_POINTER(fd));
  if (pin)
    return GPOINTER_TO_UINT(pin);
  return fd >= 0 && fcntl(fd, F_GETFD) >= 0 ? fd + DEVICE_PIN_BASE : PIN_NONE;
}

int
device_fd_of_pin(void *user, guint32 pin)
{
  Device *device = user;
  int fd = memfd_create("pin", MFD_CLOEXEC);
  g_hash_table_insert(device->placeholders, GINT_TO_POINTER(fd), GUINT_TO_POINTER(pin));
  return fd;
}

gint64
device_call(Device *device, const char *name, const guint64 args[SYSCALL_ARGS], GError **error)
{
  const SyscallRow *row = syscall_row_named(name);
  g_assert_nonnull(row);
  MirrorMemoryOps memory = device_own_memory();
  g_autoptr(PinCall) call = pincall_gather(row, args, &memory, device_pin_of_fd, device, 0, error);
  if (!call)
    return G_MININT64;
  g_assert_true(pincall_check(call, error));
  g_autoptr(GByteArray) packed = pincall_pack(call);
  send_bytes(device->socket, 'c', packed->data, packed->len);
  char kind;
  gsize length;
  g_autofree guint8 *answer = receive_bytes(device->socket, &kind, &length);
  g_assert_nonnull(answer);
  if (kind == 'e') {
    doppel_error_set(error, DOPPEL_ERROR_DENIED, "%s", answer);
    return G_MININT64;
  }
  g_autoptr(PinResult) result = pinresult_unpack(call, answer, length, error);
  gint64 value;
  if (!result || !pincall_scatter(call, result, &memory, device_fd_of_pin, device, &value, error))
    return G_MININT64;
  return value;
}

gint64
device_must_call(Device *device, const char *name, const guint64 args[SYSCALL_ARGS])
{
  g_autoptr(GError) error = NULL;
  gint64 value = device_call(device, name, args, &error);
  g_assert_no_error(error);
  return value;
}
