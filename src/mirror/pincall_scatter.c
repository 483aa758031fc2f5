/* The mirror's side of a forwarded call, in: from a PinResult into its memory. */
#include <poll.h>
#include <string.h>

#include "base/error.h"
#include "mirror/pincall_parts.h"

typedef struct {
  const PinCall *call;
  const PinResult *result;
  const MirrorMemoryOps *memory;
  PinToFd fd_of_pin;
  void *fd_user;
  gboolean failed;
} Scatter;

static void
write_memory(Scatter *scatter, guint64 address, const void *from, gsize length)
{
  if (length > 0 && !scatter->failed && !scatter->memory->write(scatter->memory->user, address, from, length))
    scatter->failed = TRUE;
}

static gint64
make_fd(void *user, gint32 pin)
{
  Scatter *scatter = user;
  int fd = scatter->fd_of_pin(scatter->fd_user, pin);
  scatter->failed |= fd < 0;
  return fd;
}

static void
scatter_new_fds(Scatter *scatter, const PinRegion *region, const PinBlob *blob)
{
  gint32 fds[2];
  memcpy(fds, blob->bytes, sizeof fds);
  for (guint i = 0; i < G_N_ELEMENTS(fds); i++)
    fds[i] = make_fd(scatter, fds[i]);
  write_memory(scatter, region->address, fds, sizeof fds);
}

static void
scatter_pollfds(Scatter *scatter, const PinRegion *region, const PinBlob *blob)
{
  for (gsize i = 0; i < blob->length / sizeof(gint16); i++)
    write_memory(scatter, region->address + i * sizeof(struct pollfd) + offsetof(struct pollfd, revents),
                 blob->bytes + i * sizeof(gint16), sizeof(gint16));
}

/* The kernel writes whole longs, and none that no descriptor was asked for in. */
static void
scatter_fdset(Scatter *scatter, const PinRegion *region, const PinBlob *blob)
{
  guint64 count = scatter->call->args[pincall_argument(scatter->call, region->arg).with];
  gsize words = (count + 63) / 64;
  g_autofree guint64 *set = g_new0(guint64, words + 1);
  const PinSetEntry *ready = (const PinSetEntry *)(const void *)blob->bytes;
  for (gsize i = 0; i < blob->length / sizeof *ready; i++)
    if (ready[i].fd >= 0 && ready[i].fd < count)
      set[ready[i].fd / 64] |= (guint64)1 << ready[i].fd % 64;
  write_memory(scatter, region->address, set, words * sizeof *set);
}

static void
scatter_header(Scatter *scatter, const PinRegion *region, const PinBlob *blob)
{
  SyscallArgKind kind = pincall_argument(scatter->call, region->arg).kind;
  PinMessageHeader header;
  memcpy(&header, blob->bytes, sizeof header);
  if (kind == SYSCALL_ARG_IN_MMSGHDR || kind == SYSCALL_ARG_OUT_MMSGHDR)
    write_memory(scatter, region->address + offsetof(struct mmsghdr, msg_len), &header.bytes,
                 sizeof header.bytes);
  if (kind == SYSCALL_ARG_IN_MMSGHDR)
    return;
  if (pincall_header(region).present & PIN_MESSAGE_NAME)
    write_memory(scatter, region->address + offsetof(struct msghdr, msg_namelen), &header.name,
                 sizeof header.name);
  guint64 control = header.control;
  write_memory(scatter, region->address + offsetof(struct msghdr, msg_controllen), &control, sizeof control);
  write_memory(scatter, region->address + offsetof(struct msghdr, msg_flags), &header.flags,
               sizeof header.flags);
}

static void
scatter_control(Scatter *scatter, const PinRegion *region, const PinBlob *blob)
{
  g_autofree guint8 *bytes = g_memdup2(blob->bytes, blob->length);
  if (!pincall_translate_control(bytes, blob->length, make_fd, scatter))
    scatter->failed = TRUE;
  write_memory(scatter, region->address, bytes, blob->length);
}

static void
scatter_blob(Scatter *scatter, const PinBlob *blob)
{
  const PinRegion *region = pincall_region(scatter->call, blob->region);
  SyscallArgKind kind = pincall_argument(scatter->call, region->arg).kind;
  if (region->part == PIN_PART_HEADER)
    scatter_header(scatter, region, blob);
  else if (region->part == PIN_PART_CONTROL)
    scatter_control(scatter, region, blob);
  else if (kind == SYSCALL_ARG_OUT_FDS)
    scatter_new_fds(scatter, region, blob);
  else if (kind == SYSCALL_ARG_POLLFDS)
    scatter_pollfds(scatter, region, blob);
  else if (kind == SYSCALL_ARG_FDSET)
    scatter_fdset(scatter, region, blob);
  else
    write_memory(scatter, region->address, blob->bytes, blob->length);
}

gboolean
pincall_scatter(const PinCall *call, const PinResult *result, const MirrorMemoryOps *memory,
                PinToFd fd_of_pin, void *fd_user, gint64 *value, GError **error)
{
  Scatter scatter = {
      .call = call, .result = result, .memory = memory, .fd_of_pin = fd_of_pin, .fd_user = fd_user};
  for (guint i = 0; i < result->blobs->len && !scatter.failed; i++)
    scatter_blob(&scatter, &g_array_index(result->blobs, PinBlob, i));
  *value = result->value;
  if (!scatter.failed && result->value >= 0 && call->row->flags & SYSCALL_RETURNS_FD)
    *value = make_fd(&scatter, result->value);
  if (scatter.failed)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                            "the result of %s cannot be written into the process that made the call",
                            call->row->name);
  return TRUE;
}
