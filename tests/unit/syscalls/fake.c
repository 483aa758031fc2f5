#include "fake.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

Fake *
fake_new(void)
{
  Fake *fake = g_new0(Fake, 1);
  fake->bytes = g_malloc0(FAKE_SIZE);
  return fake;
}

void
fake_free(Fake *fake)
{
  g_free(fake->bytes);
  g_free(fake);
}

guint64
fake_put(Fake *fake, const void *bytes, gsize length)
{
  guint64 address = FAKE_BASE + fake->used;
  g_assert_cmpuint(length, <=, FAKE_SIZE - fake->used);
  if (bytes)
    memcpy(fake->bytes + fake->used, bytes, length);
  fake->used += (length + 15) & ~(gsize)15;
  return address;
}

void *
fake_at(Fake *fake, guint64 address)
{
  return fake->bytes + (address - FAKE_BASE);
}

static gboolean
inside(guint64 address, gsize length)
{
  return address >= FAKE_BASE && address - FAKE_BASE <= FAKE_SIZE &&
         length <= FAKE_SIZE - (address - FAKE_BASE);
}

static gboolean
fake_read(void *user, guint64 address, void *to, gsize length)
{
  if (!inside(address, length))
    return FALSE;
  memcpy(to, fake_at(user, address), length);
  return TRUE;
}

static gboolean
fake_write(void *user, guint64 address, const void *from, gsize length)
{
  if (!inside(address, length))
    return FALSE;
  memcpy(fake_at(user, address), from, length);
  return TRUE;
}

MirrorMemoryOps
fake_memory(Fake *fake)
{
  return (MirrorMemoryOps){fake_read, fake_write, fake};
}

gint64
fake_pin_of_fd(void *user, int fd)
{
  if (fd == 5)
    return PIN_IGNORED;
  return fd >= 10 && fd < 100 ? fd + FAKE_PIN : PIN_NONE;
}

int
fake_fd_of_pin(void *user, guint32 pin)
{
  Fake *fake = user;
  fake->last_pin = pin;
  return pin >= FAKE_PIN + 10 && pin < FAKE_PIN + 100 ? (int)pin - FAKE_PIN : -1;
}

/* ---- samples ---- */

static guint64
put_iovec(Fake *fake, guint count, const gsize *lengths)
{
  struct iovec pieces[8];
  for (guint i = 0; i < count; i++)
    pieces[i] = (struct iovec){(void *)(guintptr)fake_put(fake, NULL, lengths[i]), lengths[i]};
  return fake_put(fake, pieces, count * sizeof *pieces);
}

static struct msghdr
make_message(Fake *fake)
{
  char control[CMSG_SPACE(8)] = {};
  struct cmsghdr item = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(8)};
  gint32 fds[2] = {20, 21};
  memcpy(control, &item, sizeof item);
  memcpy(control + CMSG_LEN(0), fds, sizeof fds);
  return (struct msghdr){.msg_name = (void *)(guintptr)fake_put(fake, "\1\0name", 6),
                         .msg_namelen = 6,
                         .msg_iov = (void *)(guintptr)put_iovec(fake, 2, (gsize[]){3, 70}),
                         .msg_iovlen = 2,
                         .msg_control = (void *)(guintptr)fake_put(fake, control, sizeof control),
                         .msg_controllen = sizeof control};
}

static guint64
put_messages(Fake *fake, guint count)
{
  struct mmsghdr messages[4] = {};
  for (guint i = 0; i < count; i++)
    messages[i].msg_hdr = make_message(fake);
  return fake_put(fake, messages, count * sizeof *messages);
}

static guint64
put_message(Fake *fake)
{
  struct msghdr message = make_message(fake);
  return fake_put(fake, &message, sizeof message);
}

static guint64
put_word(Fake *fake, guint64 word)
{
  return fake_put(fake, &word, sizeof word);
}

static guint64
put_fdset(Fake *fake)
{
  guint64 words[2] = {(guint64)1 << 12 | (guint64)1 << 40 | 1 << 5, 1};
  return fake_put(fake, words, sizeof words);
}

static const struct {
  const char *call;
  const char *args; /* how the sample's arguments are made, a letter each */
  guint64 numbers[6];
} samples[] = {
    {"read", "nbn", {10, 100, 100}},
    {"write", "nbn", {11, 300, 300}},
    {"readv", "nvn", {10, 0, 3}},
    {"writev", "nvn", {10, 0, 3}},
    {"sendto", "nbnnbn", {12, 50, 50, 0, 16, 16}},
    {"recvfrom", "nbnnbl", {12, 50, 50, 0, 16, 16}},
    {"sendmsg", "nm", {12}},
    {"recvmsg", "nm", {12}},
    {"sendmmsg", "nMn", {12, 0, 3}},
    {"recvmmsg", "nMnnb", {12, 0, 3, 0, 16}},
    {"getsockopt", "nnnbl", {12, SOL_SOCKET, SO_RCVBUF, 4, 4}},
    {"setsockopt", "nnnbn", {12, SOL_SOCKET, SO_RCVBUF, 4, 4}},
    {"poll", "pnn", {0, 3, 5}},
    {"ppoll", "pnbbn", {0, 3, 16, 8, 8}},
    {"pselect6", "nsssbP", {65, 0, 0, 0, 16}},
    {"ioctl", "nnb", {10, TCGETS, 36}},
    {"ioctl", "nnn", {10, TCFLSH, 2}},
    {"fcntl", "nnb", {10, F_SETLK, 32}},
    {"fcntl", "nnn", {10, F_SETFL, 2048}},
    {"openat", "ntnn", {(guint64)AT_FDCWD, 0, O_RDWR, 0}},
    {"newfstatat", "nenn", {13, 0, 0, AT_EMPTY_PATH}},
    {"statx", "ntnnb", {(guint64)AT_FDCWD, 0, 0, 0xfff, 256}},
    {"socket", "nnn", {AF_INET, SOCK_STREAM, 0}},
    {"socketpair", "nnnb", {AF_UNIX, SOCK_STREAM, 0, 8}},
    {"accept4", "nbln", {10, 16, 16, 0}},
    {"epoll_ctl", "nnnb", {10, 1, 11, 16}},
    {"epoll_pwait", "nbnnnn", {10, 64, 4, 0, 0, 8}},
    {"get_mempolicy", "bbnnn", {4, 128, 1025, 0, 0}},
    {"sched_setattr", "nzn", {0, 0, 0}},
    {"getgroups", "nb", {16, 64}},
    {"mq_open", "ttnb", {0, 0, 0, 64}},
    {"timer_create", "nnb", {1, 0, 4}},
    {"rt_sigtimedwait", "bbbn", {8, 128, 16, 8}},
    {"uname", "b", {390}},
    {"sendfile", "nnbn", {10, 11, 8, 1000}},
    {"getuid", "", {}},
};

static guint64
make_argument(Fake *fake, char how, guint64 number)
{
  struct pollfd entries[3] = {{12, POLLIN, 0}, {-7, POLLIN, 0}, {5, POLLOUT, 0}};
  switch (how) {
  case 'b':
    return fake_put(fake, NULL, number);
  case 'v':
    return put_iovec(fake, 3, (gsize[]){5, 0, 200});
  case 'm':
    return put_message(fake);
  case 'M':
    return put_messages(fake, 3);
  case 'l':
    return put_word(fake, number);
  case 'p':
    return fake_put(fake, entries, sizeof entries);
  case 's':
    return put_fdset(fake);
  case 'P': {
    guint64 pair[2] = {put_word(fake, 0x55), 8};
    return fake_put(fake, pair, sizeof pair);
  }
  case 't':
    return fake_put(fake, "/dev/null", 10);
  case 'e':
    return fake_put(fake, "", 1);
  case 'z':
    return put_word(fake, 8);
  default:
    return number;
  }
}

guint
fake_samples(void)
{
  return G_N_ELEMENTS(samples);
}

PinCall *
fake_sample(Fake *fake, guint index)
{
  guint64 args[6] = {};
  for (guint i = 0; i < strlen(samples[index].args); i++)
    args[i] = make_argument(fake, samples[index].args[i], samples[index].numbers[i]);
  /* mq_open's name is no path, but a string will do; newfstatat has its buffer behind the path. */
  if (strcmp(samples[index].call, "newfstatat") == 0)
    args[2] = fake_put(fake, NULL, 144);
  if (strcmp(samples[index].call, "mq_open") == 0)
    args[1] = O_RDWR;
  GError *error = NULL;
  MirrorMemoryOps memory = fake_memory(fake);
  PinCall *call =
      pincall_gather(syscall_row_named(samples[index].call), args, &memory, fake_pin_of_fd, fake, 0, &error);
  g_assert_no_error(error);
  return call;
}
