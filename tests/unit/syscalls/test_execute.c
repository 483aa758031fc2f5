/* Calls that go to a device and back, against the same calls made directly on things of the same kind. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "device.h"

/* Asserts that a forwarded and a direct call return the same. */
#define SAME(remote, direct)                                                                                 \
  do {                                                                                                       \
    gint64 remote_value = (remote), direct_value = (direct);                                                 \
    g_assert_cmpint(remote_value, ==, direct_value == -1 ? -errno : direct_value);                           \
  } while (0)

#define PIECE(text)                                                                                          \
  {                                                                                                          \
    (void *)(guintptr)(text), sizeof(text) - 1                                                               \
  }

static void
test_pipe(void)
{
  int far[2], near[2];
  g_assert_cmpint(pipe2(far, O_NONBLOCK), ==, 0);
  g_assert_cmpint(pipe2(near, O_NONBLOCK), ==, 0);
  g_autoptr(Device) device = device_start();
  char a[16] = "untouched bytes", b[16] = "untouched bytes";

  SAME(CALL(device, "read", far[0], P(a), sizeof a), read(near[0], b, sizeof b));
  g_assert_cmpmem(a, sizeof a, b, sizeof b);
  SAME(CALL(device, "write", far[1], P("hello"), 5), write(near[1], "hello", 5));
  struct iovec out[3] = {PIECE("one"), PIECE(""), PIECE("twos")};
  SAME(CALL(device, "writev", far[1], P(out), 3), writev(near[1], out, 3));
  int far_waiting = -1, near_waiting = -1;
  SAME(CALL(device, "ioctl", far[0], FIONREAD, P(&far_waiting)), ioctl(near[0], FIONREAD, &near_waiting));
  g_assert_cmpint(far_waiting, ==, 12);
  g_assert_cmpint(far_waiting, ==, near_waiting);
  SAME(CALL(device, "read", far[0], P(a), 2), read(near[0], b, 2));
  g_assert_cmpmem(a, sizeof a, b, sizeof b);
  char a1[4] = "...", a2[8] = ".......", b1[4] = "...", b2[8] = ".......";
  struct iovec far_in[2] = {{a1, 3}, {a2, 8}}, near_in[2] = {{b1, 3}, {b2, 8}};
  SAME(CALL(device, "readv", far[0], P(far_in), 2), readv(near[0], near_in, 2));
  g_assert_cmpmem(a1, 4, b1, 4);
  g_assert_cmpmem(a2, 8, b2, 8);
  g_assert_cmpstr(a1, ==, "llo");
  SAME(CALL(device, "lseek", far[0], 0, SEEK_CUR), lseek(near[0], 0, SEEK_CUR));
  SAME(CALL(device, "fcntl", far[0], F_GETFL), fcntl(near[0], F_GETFL));
  SAME(CALL(device, "fcntl", far[0], F_SETFL, O_RDONLY), fcntl(near[0], F_SETFL, O_RDONLY));
  SAME(CALL(device, "fcntl", far[0], F_GETFL), fcntl(near[0], F_GETFL));
  struct stat far_stat = {}, near_stat = {};
  SAME(CALL(device, "fstat", far[0], P(&far_stat)), fstat(near[0], &near_stat));
  g_assert_cmpint(far_stat.st_mode, ==, near_stat.st_mode);
}

/* Long writes go in several calls, none of them longer than the link wants. */
static void
test_long(void)
{
  int file = memfd_create("far", 0);
  gsize length = 3 * PINCALL_BYTES_MAX + 17;
  g_autofree guint8 *bytes = g_malloc(length);
  for (gsize i = 0; i < length; i++)
    bytes[i] = i * 7 + (i >> 12);
  g_autoptr(Device) device = device_start();
  const SyscallRow *row = syscall_row(SYS_writev);
  struct iovec pieces[3] = {{bytes, 5},
                            {bytes + 5, 2 * PINCALL_BYTES_MAX},
                            {bytes + 5 + 2 * PINCALL_BYTES_MAX, length - 5 - 2 * PINCALL_BYTES_MAX}};
  g_assert_cmpint(CALL(device, "write", file, P(bytes), length), ==, PINCALL_BYTES_MAX);
  g_assert_cmpint(CALL(device, "lseek", file, 0, SEEK_SET), ==, 0);
  MirrorMemoryOps memory = device_own_memory();
  guint64 done = 0;
  while (done < length) {
    g_autoptr(PinCall) call =
        pincall_gather(row, (guint64[6]){file, P(pieces), 3}, &memory, device_pin_of_fd, device, done, NULL);
    g_assert_nonnull(call);
    g_assert_cmpuint(call->asked, ==, length);
    gsize payload = pincall_payload(call);
    g_assert_cmpuint(payload, ==, MIN(length - done, PINCALL_BYTES_MAX));
    struct iovec rest = {bytes + done, payload};
    g_assert_cmpint(CALL(device, "writev", file, P(&rest), 1), ==, payload);
    guint8 *at = bytes + done;
    for (guint i = 0; i < call->regions->len; i++) {
      PinRegion *region = pincall_region(call, i);
      g_assert_cmpmem(region->bytes, region->in, at, region->in);
      at += region->in;
    }
    done += payload;
  }
  g_autofree guint8 *back = g_malloc(length);
  g_assert_cmpint(pread(file, back, length, 0), ==, length);
  g_assert_cmpmem(back, length, bytes, length);
  memset(back, 0, length);
  g_assert_cmpint(CALL(device, "pread64", file, P(back), length, 17), ==, PINCALL_BYTES_MAX);
  g_assert_cmpmem(back, PINCALL_BYTES_MAX, bytes + 17, PINCALL_BYTES_MAX);
  g_assert_cmpint(back[PINCALL_BYTES_MAX], ==, 0);
  close(file);
}

static void
test_readiness(void)
{
  int far[2], near[2];
  g_assert_cmpint(pipe(far), ==, 0);
  g_assert_cmpint(pipe(near), ==, 0);
  g_autoptr(Device) device = device_start();
  struct pollfd a[3] = {{far[0], POLLIN, 77}, {far[1], POLLOUT, 77}, {-1, POLLIN, 77}};
  struct pollfd b[3] = {{near[0], POLLIN, 77}, {near[1], POLLOUT, 77}, {-1, POLLIN, 77}};
  SAME(CALL(device, "poll", P(a), 3, 0), poll(b, 3, 0));
  for (guint i = 0; i < 3; i++)
    g_assert_cmpint(a[i].revents, ==, b[i].revents);
  g_assert_cmpint(a[0].fd, ==, far[0]);
  SAME(CALL(device, "poll", P(a), 1, 5), poll(b, 1, 5));

  g_assert_cmpint(write(far[1], "x", 1) + write(near[1], "x", 1), ==, 2);
  struct timespec far_time = {1000, 0}, near_time = {1000, 0};
  guint64 signals = 1 << 3;
  SAME(CALL(device, "ppoll", P(a), 3, P(&far_time), P(&signals), 8),
       syscall(SYS_ppoll, b, 3, &near_time, &signals, 8));
  for (guint i = 0; i < 3; i++)
    g_assert_cmpint(a[i].revents, ==, b[i].revents);
  /* The time that is left came back. */
  g_assert_cmpint(far_time.tv_sec, <, 1000);
  g_assert_cmpint(far_time.tv_sec, >, 0);

  fd_set far_in = {}, far_out = {}, near_in = {}, near_out = {};
  FD_SET(far[0], &far_in), FD_SET(far[1], &far_in), FD_SET(far[1], &far_out);
  FD_SET(near[0], &near_in), FD_SET(near[1], &near_in), FD_SET(near[1], &near_out);
  SAME(CALL(device, "pselect6", near[1] + 1, P(&far_in), P(&far_out), 0, P(&far_time),
            P(((guint64[2]){P(&signals), 8}))),
       syscall(SYS_pselect6, near[1] + 1, &near_in, &near_out, NULL, &near_time,
               (guint64[2]){P(&signals), 8}));
  g_assert_true(FD_ISSET(far[0], &far_in) && !FD_ISSET(far[1], &far_in) && FD_ISSET(far[1], &far_out));
  g_assert_true(FD_ISSET(near[0], &near_in) && !FD_ISSET(near[1], &near_in) && FD_ISSET(near[1], &near_out));
#ifdef SYS_select
  struct timeval timeout = {0, 1000};
  FD_ZERO(&far_in);
  FD_SET(far[1], &far_in);
  g_assert_cmpint(CALL(device, "select", far[1] + 1, P(&far_in), 0, 0, P(&timeout)), ==, 0);
  g_assert_false(FD_ISSET(far[1], &far_in));
  g_assert_cmpint(timeout.tv_usec, ==, 0);
#endif
}

static void
test_datagrams(void)
{
  int far = socket(AF_INET, SOCK_DGRAM, 0), near = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  g_assert_cmpint(bind(near, (struct sockaddr *)&any, sizeof any), ==, 0);
  struct timeval patience = {60, 0};
  setsockopt(far, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(near, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  g_autoptr(Device) device = device_start();
  SAME(CALL(device, "bind", far, P(&any), sizeof any), 0);
  struct sockaddr_in far_name, near_name, from;
  socklen_t length = sizeof far_name, near_length = sizeof near_name;
  SAME(CALL(device, "getsockname", far, P(&far_name), P(&length)), 0);
  g_assert_cmpint(getsockname(near, (struct sockaddr *)&near_name, &near_length), ==, 0);
  g_assert_cmpuint(length, ==, near_length);

  SAME(CALL(device, "sendto", far, P("to near"), 7, 0, P(&near_name), sizeof near_name), 7);
  char text[16] = {};
  length = sizeof from;
  g_assert_cmpint(recvfrom(near, text, sizeof text, 0, (struct sockaddr *)&from, &length), ==, 7);
  g_assert_cmpstr(text, ==, "to near");
  g_assert_cmpint(from.sin_port, ==, far_name.sin_port);

  sendto(near, "to far, truncated", 17, 0, (struct sockaddr *)&far_name, sizeof far_name);
  memset(text, 'z', sizeof text);
  length = 6; /* room for a part of the address only: the true length comes back */
  memset(&from, 0x11, sizeof from);
  SAME(CALL(device, "recvfrom", far, P(text), 6, MSG_TRUNC, P(&from), P(&length)), 17);
  g_assert_cmpmem(text, 8, "to farzz", 8);
  g_assert_cmpuint(length, ==, sizeof from);
  g_assert_cmpint(from.sin_port, ==, near_name.sin_port);
  g_assert_cmpint(((guint8 *)&from)[6], ==, 0x11);

  struct iovec pieces[2][2] = {{PIECE("a"), PIECE("bc")}, {PIECE("defg")}};
  struct mmsghdr messages[2] = {
      {{.msg_name = &near_name, .msg_namelen = sizeof near_name, .msg_iov = pieces[0], .msg_iovlen = 2}, 99},
      {{.msg_name = &near_name, .msg_namelen = sizeof near_name, .msg_iov = pieces[1], .msg_iovlen = 1}, 99}};
  SAME(CALL(device, "sendmmsg", far, P(messages), 2, 0), 2);
  g_assert_cmpuint(messages[0].msg_len, ==, 3);
  g_assert_cmpuint(messages[1].msg_len, ==, 4);
  g_assert_cmpint(recv(near, text, sizeof text, 0), ==, 3);
  g_assert_cmpint(recv(near, text, sizeof text, 0), ==, 4);
  g_assert_cmpmem(text, 4, "defg", 4);

  sendto(near, "first", 5, 0, (struct sockaddr *)&far_name, sizeof far_name);
  sendto(near, "second", 6, 0, (struct sockaddr *)&far_name, sizeof far_name);
  char one[4] = {}, two[4] = {}, three[8] = {};
  struct iovec in[3][2] = {{{one, 4}, {two, 4}}, {{three, 8}}, {{NULL, 0}}};
  struct sockaddr_in names[2] = {};
  struct mmsghdr arrivals[3] = {
      {{.msg_name = &names[0], .msg_namelen = sizeof names[0], .msg_iov = in[0], .msg_iovlen = 2}},
      {{.msg_name = &names[1], .msg_namelen = sizeof names[1], .msg_iov = in[1], .msg_iovlen = 1}},
      {{.msg_iov = in[2], .msg_iovlen = 1}, 88}};
  SAME(CALL(device, "recvmmsg", far, P(arrivals), 3, MSG_DONTWAIT), 2);
  g_assert_cmpmem(one, 4, "firs", 4);
  g_assert_cmpmem(two, 4, "t\0\0\0", 4);
  g_assert_cmpmem(three, 8, "second\0\0", 8);
  g_assert_cmpuint(arrivals[0].msg_len, ==, 5);
  g_assert_cmpuint(arrivals[2].msg_len, ==, 88);
  g_assert_cmpint(names[1].sin_port, ==, near_name.sin_port);
  /* Nothing came: the program's memory is as it was. */
  SAME(CALL(device, "recvfrom", far, P(text), 16, MSG_DONTWAIT), -EAGAIN);
}

static void
test_options(void)
{
  int far = socket(AF_INET, SOCK_STREAM, 0), near = socket(AF_INET, SOCK_STREAM, 0);
  g_autoptr(Device) device = device_start();
  int on = 1, a[2] = {7, 7}, b[2] = {7, 7};
  socklen_t far_length = sizeof a, near_length = sizeof b;
  SAME(CALL(device, "setsockopt", far, SOL_SOCKET, SO_KEEPALIVE, P(&on), sizeof on),
       setsockopt(near, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
  SAME(CALL(device, "getsockopt", far, SOL_SOCKET, SO_KEEPALIVE, P(a), P(&far_length)),
       getsockopt(near, SOL_SOCKET, SO_KEEPALIVE, b, &near_length));
  g_assert_cmpmem(a, sizeof a, b, sizeof b);
  g_assert_cmpuint(far_length, ==, near_length);
  struct linger gone = {1, 3};
  SAME(CALL(device, "setsockopt", far, SOL_SOCKET, SO_LINGER, P(&gone), sizeof gone),
       setsockopt(near, SOL_SOCKET, SO_LINGER, &gone, sizeof gone));
  SAME(CALL(device, "setsockopt", far, SOL_SOCKET, SO_LINGER, P(&gone), 2),
       setsockopt(near, SOL_SOCKET, SO_LINGER, &gone, 2));
  g_autoptr(GError) error = NULL;
  struct {
    guint16 count;
    void *code;
  } filter = {1, &on};
  g_assert_cmpint(device_call(device, "setsockopt",
                              (guint64[6]){far, SOL_SOCKET, SO_ATTACH_FILTER, P(&filter), sizeof filter},
                              &error),
                  ==, G_MININT64);
  g_assert_nonnull(error);
}

/* New descriptors come into being on the device and are pins here. */
static void
test_connection(void)
{
  g_autoptr(Device) device = device_start();
  int server = CALL(device, "socket", AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, peer = {};
  SAME(CALL(device, "bind", server, P(&name), sizeof name), 0);
  SAME(CALL(device, "listen", server, 1), 0);
  socklen_t length = sizeof name;
  SAME(CALL(device, "getsockname", server, P(&name), P(&length)), 0);
  int client = socket(AF_INET, SOCK_STREAM, 0);
  g_assert_cmpint(connect(client, (struct sockaddr *)&name, sizeof name), ==, 0);
  length = sizeof peer;
  int accepted = CALL(device, "accept4", server, P(&peer), P(&length), 0);
  g_assert_cmpint(accepted, >=, 0);
  getsockname(client, (struct sockaddr *)&name, &length);
  g_assert_cmpmem(&name, 8, &peer, 8);
  SAME(CALL(device, "write", accepted, P("ok"), 2), 2);
  char text[4] = {};
  g_assert_cmpint(read(client, text, 4), ==, 2);
  SAME(CALL(device, "shutdown", accepted, SHUT_RDWR), 0);
  g_assert_cmpint(read(client, text, 4), ==, 0);
  close(client);
}

static void
test_handing_over(void)
{
  int far[2], near[2], gift[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, far), ==, 0);
  g_assert_cmpint(pipe(gift), ==, 0);
  g_autoptr(Device) device = device_start();
  /* Out: the pipe's end is a pin, the message names it. */
  char byte = 'g', control[CMSG_SPACE(sizeof(int))] = {};
  struct iovec piece = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *item = CMSG_FIRSTHDR(&message);
  *item =
      (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
  memcpy(CMSG_DATA(item), &gift[1], sizeof(int));
  SAME(CALL(device, "sendmsg", far[0], P(&message), 0), 1);
  /* In: what arrives is a pin, and its number here is in the message. */
  memset(control, 0, sizeof control);
  byte = 0;
  message.msg_flags = 0x7777;
  SAME(CALL(device, "recvmsg", far[1], P(&message), MSG_CMSG_CLOEXEC), 1);
  g_assert_cmpint(byte, ==, 'g');
  g_assert_cmpuint(message.msg_controllen, ==, sizeof control);
  g_assert_cmpint(message.msg_flags, ==, MSG_CMSG_CLOEXEC);
  int arrived;
  memcpy(&arrived, CMSG_DATA(item), sizeof arrived);
  SAME(CALL(device, "write", arrived, P("through"), 7), 7);
  char text[8] = {};
  g_assert_cmpint(read(gift[0], text, 8), ==, 7);
  g_assert_cmpstr(text, ==, "through");

  /* Two descriptors at once. */
  SAME(CALL(device, "socketpair", AF_UNIX, SOCK_STREAM, 0, P(near)), 0);
  SAME(CALL(device, "write", near[0], P("there"), 5), 5);
  SAME(CALL(device, "read", near[1], P(text), 8), 5);
  g_assert_cmpmem(text, 5, "there", 5);
  SAME(CALL(device, "pipe2", P(near), O_NONBLOCK), 0);
  SAME(CALL(device, "read", near[0], P(text), 8), -EAGAIN);
}

static void
test_terminal(void)
{
  int far[2], near[2];
  g_assert_cmpint(openpty(&far[0], &far[1], NULL, NULL, NULL), ==, 0);
  g_assert_cmpint(openpty(&near[0], &near[1], NULL, NULL, NULL), ==, 0);
  g_autoptr(Device) device = device_start();
  char a[64], b[64]; /* the kernel's struct termios is shorter than the C library's */
  memset(a, 0x5a, sizeof a), memset(b, 0x5a, sizeof b);
  SAME(CALL(device, "ioctl", far[1], TCGETS, P(a)), syscall(SYS_ioctl, near[1], TCGETS, b));
  g_assert_cmpmem(a, sizeof a, b, sizeof b);
  a[12] ^= 8 /* ECHO */, b[12] ^= 8;
  SAME(CALL(device, "ioctl", far[1], TCSETSW, P(a)), syscall(SYS_ioctl, near[1], TCSETSW, b));
  memset(a, 0, sizeof a), memset(b, 0, sizeof b);
  SAME(CALL(device, "ioctl", far[1], TCGETS, P(a)), syscall(SYS_ioctl, near[1], TCGETS, b));
  g_assert_cmpmem(a, sizeof a, b, sizeof b);
  struct winsize size = {33, 44, 0, 0}, seen = {};
  SAME(CALL(device, "ioctl", far[1], TIOCSWINSZ, P(&size)), 0);
  g_assert_cmpint(ioctl(far[0], TIOCGWINSZ, &seen), ==, 0);
  g_assert_cmpint(seen.ws_col, ==, 44);
  memset(&seen, 0, sizeof seen);
  SAME(CALL(device, "ioctl", far[1], TIOCGWINSZ, P(&seen)), 0);
  g_assert_cmpint(seen.ws_row, ==, 33);
  unsigned number = 99, near_number = 99;
  SAME(CALL(device, "ioctl", far[0], TIOCGPTN, P(&number)), ioctl(near[0], TIOCGPTN, &near_number));
  g_assert_cmpuint(number + 1, ==, near_number);
  SAME(CALL(device, "ioctl", far[1], TCFLSH, TCIOFLUSH), ioctl(near[1], TCFLSH, TCIOFLUSH));
  SAME(CALL(device, "ioctl", far[1], TIOCOUTQ, P(&number)), ioctl(near[1], TIOCOUTQ, &near_number));
  g_autoptr(GError) error = NULL;
  g_assert_cmpint(device_call(device, "ioctl", (guint64[6]){far[1], TIOCSTI, P("x")}, &error), ==,
                  G_MININT64);
  g_assert_nonnull(error);
}

static void
test_epoll(void)
{
  int far[2];
  g_assert_cmpint(pipe(far), ==, 0);
  g_autoptr(Device) device = device_start();
  int set = CALL(device, "epoll_create1", 0);
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788}, got[4] = {};
  SAME(CALL(device, "epoll_ctl", set, EPOLL_CTL_ADD, far[0], P(&event)), 0);
  SAME(CALL(device, "epoll_pwait", set, P(got), 4, 0, 0, 8), 0);
  SAME(CALL(device, "write", far[1], P("!"), 1), 1);
  SAME(CALL(device, "epoll_pwait", set, P(got), 4, 60000, 0, 8), 1);
  g_assert_cmpmem(got, sizeof event, &event, sizeof event);
  g_assert_cmpint(got[1].events, ==, 0);
  int counter = CALL(device, "eventfd2", 5, 0);
  guint64 value = 0;
  SAME(CALL(device, "read", counter, P(&value), 8), 8);
  g_assert_cmpuint(value, ==, 5);
  int timer = CALL(device, "timerfd_create", CLOCK_MONOTONIC, 0);
  struct itimerspec when = {{0, 0}, {1000, 5}}, before = {}, left = {};
  SAME(CALL(device, "timerfd_settime", timer, 0, P(&when), P(&before)), 0);
  SAME(CALL(device, "timerfd_gettime", timer, P(&left)), 0);
  g_assert_cmpint(left.it_value.tv_sec, >, 0);
  g_assert_cmpint(left.it_value.tv_sec, <=, 1000);
}

static void
test_paths(void)
{
  int near = open("/dev/null", O_RDWR);
  g_autoptr(Device) device = device_start();
  int null = CALL(device, "openat", AT_FDCWD, P("/dev/null"), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  g_assert_cmpint(null, >=, 0);
  SAME(CALL(device, "write", null, P("gone"), 4), 4);
  struct stat a = {}, b = {};
  SAME(CALL(device, "newfstatat", null, P(""), P(&a), AT_EMPTY_PATH), fstat(near, &b));
  g_assert_cmpmem(&a, sizeof a, &b, sizeof b);
  memset(&a, 0, sizeof a);
  SAME(CALL(device, "newfstatat", AT_FDCWD, P("/dev/null"), P(&a), 0), 0);
  g_assert_cmpmem(&a, sizeof a, &b, sizeof b);
  struct statx x = {};
  SAME(CALL(device, "statx", AT_FDCWD, P("/dev/null"), 0, STATX_BASIC_STATS, P(&x)), 0);
  g_assert_cmpuint(makedev(x.stx_rdev_major, x.stx_rdev_minor), ==, b.st_rdev);
  SAME(CALL(device, "faccessat", AT_FDCWD, P("/dev/nothing-like-it"), F_OK), -ENOENT);
  static const char *const refused[] = {
      "/etc/passwd", "/dev/../etc/passwd", "/dev/fd/0", "//dev/./mem", "null", ""};
  for (guint i = 0; i < G_N_ELEMENTS(refused); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(device_call(device, "openat", (guint64[6]){AT_FDCWD, P(refused[i]), O_RDONLY}, &error),
                    ==, G_MININT64);
    g_assert_nonnull(error);
  }
}

static void
test_process(void)
{
  g_autoptr(Device) device = device_start();
  struct utsname a = {}, b = {};
  SAME(CALL(device, "uname", P(&a)), uname(&b));
  g_assert_cmpmem(&a, sizeof a, &b, sizeof b);
  guint8 far[256] = {}, near[256] = {};
  SAME(CALL(device, "sched_getaffinity", 0, sizeof far, P(far)),
       syscall(SYS_sched_getaffinity, 0, sizeof near, near));
  g_assert_cmpmem(far, sizeof far, near, sizeof near);
  gid_t groups[64] = {}, others[64] = {};
  SAME(CALL(device, "getgroups", 64, P(groups)), getgroups(64, others));
  g_assert_cmpmem(groups, sizeof groups, others, sizeof others);
  SAME(CALL(device, "getgroups", 0, 0), getgroups(0, NULL));
  SAME(CALL(device, "getppid"), getpid());
  SAME(CALL(device, "getuid"), getuid());
  struct itimerspec timer = {{0, 0}, {500, 0}}, left = {};
  SAME(CALL(device, "setitimer", 0, P(&timer), 0), 0);
  SAME(CALL(device, "getitimer", 0, P(&left)), 0);
  g_assert_cmpint(left.it_value.tv_sec, >=, 499);
  guint64 limit[2] = {}, mine[2] = {};
  SAME(CALL(device, "prlimit64", 0, 7, 0, P(limit)), syscall(SYS_prlimit64, 0, 7, NULL, mine));
  g_assert_cmpmem(limit, sizeof limit, mine, sizeof mine);
  int mode = -1;
  guint64 nodes[16], own_nodes[16];
  memset(nodes, 0xff, sizeof nodes), memset(own_nodes, 0xff, sizeof own_nodes);
  SAME(CALL(device, "get_mempolicy", P(&mode), P(nodes), 1025, 0, 0),
       syscall(SYS_get_mempolicy, &mode, own_nodes, 1025, 0, 0));
  g_assert_cmpmem(nodes, sizeof nodes, own_nodes, sizeof own_nodes);
  /* Without children, and with results that stay as they were. */
  int status = 1234;
  SAME(CALL(device, "wait4", -1, P(&status), 0, 0), -ECHILD);
  g_assert_cmpint(status, ==, 1234);
  static const struct {
    const char *call;
    guint64 args[6];
  } refused[] = {{"kill", {-1, 15}}, {"setitimer", {1}}, {"prctl", {38, 1}},
                 {"clone3", {}},     {"mmap", {}},       {"ptrace", {}}};
  for (guint i = 0; i < G_N_ELEMENTS(refused); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(device_call(device, refused[i].call, refused[i].args, &error), ==, G_MININT64);
    g_assert_nonnull(error);
  }
}

static void
test_locks(void)
{
  int file = memfd_create("locked", 0);
  g_autoptr(Device) device = device_start();
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 10};
  SAME(CALL(device, "fcntl", file, F_SETLK, P(&lock)), 0);
  struct flock found = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
  g_assert_cmpint(fcntl(file, F_GETLK, &found), ==, 0);
  g_assert_cmpint(found.l_pid, ==, device->pid);
  g_assert_cmpint(found.l_start, ==, 5);
  found = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
  SAME(CALL(device, "fcntl", file, F_GETLK, P(&found)), 0);
  g_assert_cmpint(found.l_type, ==, F_UNLCK);
  loff_t from = 0;
  int other = memfd_create("copy", 0);
  g_assert_cmpint(write(file, "0123456789", 10), ==, 10);
  g_autoptr(Device) second = device_start();
  SAME(CALL(second, "copy_file_range", file, P(&from), other, 0, 4, 0), 4);
  g_assert_cmpint(from, ==, 4);
  SAME(CALL(second, "sendfile", other, file, P(&from), 3), 3);
  g_assert_cmpint(from, ==, 7);
  char text[16] = {};
  g_assert_cmpint(pread(other, text, 16, 0), ==, 7);
  g_assert_cmpstr(text, ==, "0123456");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/execute/pipe", test_pipe);
  g_test_add_func("/execute/long", test_long);
  g_test_add_func("/execute/readiness", test_readiness);
  g_test_add_func("/execute/datagrams", test_datagrams);
  g_test_add_func("/execute/options", test_options);
  g_test_add_func("/execute/connection", test_connection);
  g_test_add_func("/execute/handing-over", test_handing_over);
  g_test_add_func("/execute/terminal", test_terminal);
  g_test_add_func("/execute/epoll", test_epoll);
  g_test_add_func("/execute/paths", test_paths);
  g_test_add_func("/execute/process", test_process);
  g_test_add_func("/execute/locks", test_locks);
  return g_test_run();
}
