/* The result of a forwarded call, as a device sends it: the first byte says of which call. It must not be
 * written but where the program made room for it. */
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "mirror/pincall.h"
#include "mirror/pinlog.h"

/* The process: room that may be written lies between borders that must stay as they are. */
static struct {
  guint8 before[64];
  guint8 room[4096];
  guint8 after[64];
  struct msghdr message;
  struct mmsghdr messages[2];
  struct iovec pieces[3];
  struct pollfd polled[4];
  guint64 set[2], spare[4];
  gint32 length;
} process;

static gboolean
process_read(void *user, guint64 address, void *to, gsize length)
{
  memcpy(to, (void *)(guintptr)address, length);
  return TRUE;
}

static gboolean
process_write(void *user, guint64 address, const void *from, gsize length)
{
  memcpy((void *)(guintptr)address, from, length);
  return TRUE;
}

static gint64
pin_of_fd(void *user, int fd)
{
  return fd >= 0 ? fd : PIN_NONE;
}

static int
fd_of_pin(void *user, guint32 pin)
{
  return pin < 2000 ? (int)pin : -1;
}

#define AT(thing) ((guint64)(guintptr)(thing))

static const struct {
  const char *name;
  guint64 args[SYSCALL_ARGS];
} calls[] = {
    {"read", {3, AT(process.room), 100}},
    {"readv", {3, AT(process.pieces), 3}},
    {"recvfrom", {3, AT(process.room), 100, MSG_TRUNC, AT(process.room + 200), AT(&process.length)}},
    {"recvmsg", {3, AT(&process.message), 0}},
    {"recvmmsg", {3, AT(process.messages), 2, 0, AT(process.spare)}},
    {"sendmmsg", {3, AT(process.messages), 2, 0}},
    {"poll", {AT(process.polled), 4, 0}},
    {"pselect6", {70, AT(process.set), 0, AT(process.set), AT(process.spare), 0}},
    {"ioctl", {3, TCGETS, AT(process.room)}},
    {"getsockopt", {3, SOL_SOCKET, SO_RCVBUF, AT(process.room), AT(&process.length)}},
    {"socketpair", {1, 1, 0, AT(process.room)}},
    {"accept", {3, AT(process.room), AT(&process.length)}},
    {"getgroups", {8, AT(process.room)}},
    {"epoll_pwait", {3, AT(process.room), 9, 0, 0, 8}},
    {"uname", {AT(process.room)}},
};

static void
reset(void)
{
  memset(&process, 0, sizeof process);
  process.length = 16;
  for (guint i = 0; i < 3; i++)
    process.pieces[i] = (struct iovec){process.room + 300 * i, 100 * i + 7};
  process.message = (struct msghdr){.msg_name = process.room + 1000,
                                    .msg_namelen = 28,
                                    .msg_iov = process.pieces,
                                    .msg_iovlen = 3,
                                    .msg_control = process.room + 1200,
                                    .msg_controllen = 96};
  process.messages[0].msg_hdr = process.messages[1].msg_hdr = process.message;
  for (guint i = 0; i < 4; i++)
    process.polled[i] = (struct pollfd){i, POLLIN, 0};
  process.set[0] = 0x55;
  process.set[1] = 0x21;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  if (length == 0)
    return 0;
  reset();
  guint choice = data[0] % G_N_ELEMENTS(calls);
  MirrorMemoryOps memory = {process_read, process_write, NULL};
  const SyscallRow *row = syscall_row_named(calls[choice].name);
  /* sendmmsg's control data is nonsense to send. */
  if (strcmp(row->name, "sendmmsg") == 0)
    process.messages[0].msg_hdr.msg_control = process.messages[1].msg_hdr.msg_control = NULL;
  g_autoptr(PinCall) call = pincall_gather(row, calls[choice].args, &memory, pin_of_fd, NULL, 0, NULL);
  if (!call)
    __builtin_trap();
  g_autoptr(PinResult) result = pinresult_unpack(call, data + 1, length - 1, NULL);
  if (!result)
    return 0;
  gint64 value;
  pincall_scatter(call, result, &memory, fd_of_pin, NULL, &value, NULL);
  for (guint i = 0; i < sizeof process.before; i++)
    if (process.before[i] || process.after[i])
      __builtin_trap();
  /* And once more, as the log of an aborted block hands it out. */
  g_autoptr(PinLog) log = pinlog_new();
  pinlog_note(log, call, result);
  PinLogProcess again = {&memory, pin_of_fd, fd_of_pin, NULL};
  pinlog_answer(log, row, calls[choice].args, &again, &value);
  return 0;
}
