/* A block runs twice: what its first run did on pins must not happen again. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "fake.h"
#include "mirror/pinlog.h"

typedef struct {
  Fake *fake;
  PinLog *log;
} Run;

static void
set_up(Run *run, gconstpointer unused)
{
  run->fake = fake_new();
  run->log = pinlog_new();
}

static void
tear_down(Run *run, gconstpointer unused)
{
  fake_free(run->fake);
  pinlog_free(run->log);
}

#define ARGS(...) ((const guint64[6]){__VA_ARGS__})

static PinCall *
gather(Run *run, const char *name, const guint64 args[6])
{
  MirrorMemoryOps memory = fake_memory(run->fake);
  GError *error = NULL;
  PinCall *call =
      pincall_gather(syscall_row_named(name), args, &memory, fake_pin_of_fd, run->fake, 0, &error);
  g_assert_no_error(error);
  return call;
}

/* The first run: the call returned `value` and wrote `bytes` into its first region with room. */
static void
note(Run *run, const char *name, const guint64 args[6], gint64 value, const char *bytes)
{
  g_autoptr(PinCall) call = gather(run, name, args);
  g_autoptr(PinResult) result = pinresult_new(value);
  guint region = 0;
  while (bytes && pincall_region(call, region)->room == 0)
    region++;
  if (bytes && bytes[0])
    pinresult_add(result, region, bytes, strlen(bytes));
  pinlog_note(run->log, call, result);
}

/* The second run. */
static PinLogAnswer
again(Run *run, const char *name, const guint64 args[6], gint64 *value)
{
  MirrorMemoryOps memory = fake_memory(run->fake);
  PinLogProcess process = {&memory, fake_pin_of_fd, fake_fd_of_pin, run->fake};
  *value = -12345;
  return pinlog_answer(run->log, syscall_row_named(name), args, &process, value);
}

#define ASSERT_AGAIN(run, expected_answer, expected_value, name, ...)                                        \
  do {                                                                                                       \
    gint64 again_value;                                                                                      \
    g_assert_cmpint(again(run, name, ARGS(__VA_ARGS__), &again_value), ==, expected_answer);                 \
    if ((expected_answer) != PINLOG_NOT_IN_LOG)                                                              \
      g_assert_cmpint(again_value, ==, expected_value);                                                      \
  } while (0)

static void
test_output(Run *run, gconstpointer unused)
{
  guint64 buffer = fake_put(run->fake, NULL, 1000);
  g_assert_true(pinlog_empty(run->log));
  note(run, "write", ARGS(10, buffer, 7), 7, NULL);
  note(run, "write", ARGS(10, buffer, 9), 5, NULL); /* a short count */
  note(run, "write", ARGS(10, buffer, 9), -EPIPE, NULL);
  note(run, "write", ARGS(11, buffer, 2), 2, NULL);
  g_assert_false(pinlog_empty(run->log));
  /* Twelve bytes on pin 10, however they are cut up now. */
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 4, "write", 10, buffer, 4);
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "write", 12, buffer, 4);
  struct iovec pieces[2] = {{(void *)buffer, 3}, {(void *)buffer, 4}};
  guint64 vector = fake_put(run->fake, pieces, sizeof pieces);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 7, "writev", 10, vector, 2);
  ASSERT_AGAIN(run, PINLOG_PARTLY, 1, "sendto", 10, buffer, 50, 0, 0, 0);
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "write", 10, buffer, 4);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 2, "write", 11, buffer, 2);
  g_assert_true(pinlog_empty(run->log));
}

static void
assert_memory(Run *run, guint64 address, const char *expected)
{
  g_assert_cmpmem(fake_at(run->fake, address), strlen(expected), expected, strlen(expected));
}

static void
test_input(Run *run, gconstpointer unused)
{
  guint64 buffer = fake_put(run->fake, NULL, 1000);
  note(run, "read", ARGS(10, buffer, 100), 11, "hello world");
  note(run, "read", ARGS(10, buffer, 100), 4, "next");
  note(run, "read", ARGS(10, buffer, 100), -EAGAIN, NULL);
  note(run, "read", ARGS(10, buffer, 100), 0, NULL); /* the end, as a terminal tells it */
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 2, "read", 10, buffer, 2);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 1, "read", 10, buffer + 2, 1);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 2, "read", 10, buffer + 3, 2);
  assert_memory(run, buffer, "hello");
  /* What is left of it first, across two pieces; never more than one call gave at first. */
  struct iovec pieces[2] = {{(void *)(buffer + 100), 2}, {(void *)(buffer + 200), 50}};
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 6, "readv", 10, fake_put(run->fake, pieces, sizeof pieces), 2);
  assert_memory(run, buffer + 100, " w");
  assert_memory(run, buffer + 200, "orld");
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 4, "recvfrom", 10, buffer, 100, MSG_PEEK, 0, 0);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 4, "read", 10, buffer, 100);
  assert_memory(run, buffer, "next");
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "read", 11, buffer, 100);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 0, "read", 10, buffer, 100);
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "read", 10, buffer, 100);
  g_assert_true(pinlog_empty(run->log));
}

static void
test_messages(Run *run, gconstpointer unused)
{
  guint64 buffer = fake_put(run->fake, NULL, 64), control = fake_put(run->fake, NULL, CMSG_SPACE(4));
  guint64 name = fake_put(run->fake, NULL, 16);
  struct iovec piece = {(void *)buffer, 8};
  guint64 vector = fake_put(run->fake, &piece, sizeof piece);
  struct msghdr raw = {.msg_name = (void *)name,
                       .msg_namelen = 16,
                       .msg_iov = (void *)vector,
                       .msg_iovlen = 1,
                       .msg_control = (void *)control,
                       .msg_controllen = CMSG_SPACE(4)};
  guint64 message = fake_put(run->fake, &raw, sizeof raw);
  g_autoptr(PinCall) call = gather(run, "recvmsg", ARGS(10, message, MSG_TRUNC));
  g_autoptr(PinResult) result = pinresult_new(30); /* longer than its room */
  PinMessageHeader header = {.name = 4, .control = CMSG_SPACE(4), .flags = MSG_TRUNC};
  char item[CMSG_SPACE(4)] = {};
  struct cmsghdr rights = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(4)};
  gint32 pin = FAKE_PIN + 33;
  memcpy(item, &rights, sizeof rights);
  memcpy(item + CMSG_LEN(0), &pin, 4);
  pinresult_add(result, 0, &header, sizeof header);
  pinresult_add(result, 1, "\2\0ab", 4);
  pinresult_add(result, 2, item, sizeof item);
  pinresult_add(result, 3, "truncate", 8);
  g_assert_true(pinresult_check(call, result, NULL));
  pinlog_note(run->log, call, result);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 30, "recvmsg", 10, message, MSG_TRUNC);
  assert_memory(run, buffer, "truncate");
  struct msghdr *seen = fake_at(run->fake, message);
  g_assert_cmpuint(seen->msg_namelen, ==, 4);
  g_assert_cmpuint(seen->msg_controllen, ==, CMSG_SPACE(4));
  g_assert_cmpint(seen->msg_flags, ==, MSG_TRUNC);
  gint32 fd;
  memcpy(&fd, (char *)fake_at(run->fake, control) + CMSG_LEN(0), 4);
  g_assert_cmpint(fd, ==, 33);
  assert_memory(run, name + 2, "ab");
  g_assert_true(pinlog_empty(run->log));

  struct mmsghdr many[2] = {{raw, 0}, {raw, 0}};
  many[0].msg_hdr.msg_control = many[1].msg_hdr.msg_control = NULL;
  guint64 both = fake_put(run->fake, many, sizeof many);
  g_autoptr(PinCall) send = gather(run, "sendmmsg", ARGS(10, both, 2, 0));
  g_autoptr(PinResult) sent = pinresult_new(1);
  PinMessageHeader one = {.bytes = 8};
  pinresult_add(sent, 0, &one, sizeof one);
  pinlog_note(run->log, send, sent);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 1, "sendmmsg", 10, both, 2, 0);
  g_assert_cmpuint(((struct mmsghdr *)fake_at(run->fake, both))->msg_len, ==, 8);
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "sendmmsg", 10, both, 2, 0);
  g_assert_true(pinlog_empty(run->log));
}

static void
test_others(Run *run, gconstpointer unused)
{
  guint64 size = fake_put(run->fake, "\1\0\2\0\0\0\0\0", 8),
          other = fake_put(run->fake, "\3\0\4\0\0\0\0\0", 8);
  guint64 modes = fake_put(run->fake, NULL, 36);
  char text[37] = "0123456789abcdefghijklmnopqrstuvwxyz";
  note(run, "ioctl", ARGS(10, TIOCSWINSZ, size), 0, NULL);
  note(run, "ioctl", ARGS(10, TCGETS, modes), 0, text);
  note(run, "socket", ARGS(AF_INET, SOCK_STREAM, 0), FAKE_PIN + 44, NULL);
  note(run, "connect", ARGS(44, fake_put(run->fake, "\2\0address", 9), 9), -ECONNREFUSED, NULL);
  note(run, "getuid", ARGS(0), 1000, NULL); /* a constant need not be kept */
  /* The same call on another pin, or with another argument, is another call. */
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "ioctl", 11, TIOCSWINSZ, size);
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "ioctl", 10, TIOCSWINSZ, other);
  /* What a call only fills may look different. */
  memset(fake_at(run->fake, modes), 'x', 36);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 0, "ioctl", 10, TCGETS, modes);
  assert_memory(run, modes, text);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 0, "ioctl", 10, TIOCSWINSZ, size);
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "ioctl", 10, TIOCSWINSZ, size); /* once only */
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 44, "socket", AF_INET, SOCK_STREAM, 0);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, -ECONNREFUSED, "connect", 44, fake_put(run->fake, "\2\0address", 9), 9);
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "getuid", 0);
  g_assert_true(pinlog_empty(run->log));
}

static void
test_readiness(Run *run, gconstpointer unused)
{
  struct pollfd entries[4] = {{10, POLLIN, 7}, {3, POLLIN, 7}, {11, POLLIN | POLLOUT, 7}, {-1, POLLIN, 7}};
  guint64 set = fake_put(run->fake, entries, sizeof entries), buffer = fake_put(run->fake, NULL, 64);
  note(run, "poll", ARGS(fake_put(run->fake, entries, 8), 1, -1), 1, NULL);
  g_assert_true(pinlog_empty(run->log));
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "poll", set, 4, -1);
  note(run, "read", ARGS(10, buffer, 64), 3, "abc");
  note(run, "write", ARGS(11, buffer, 64), 3, NULL);
  /* Input that was consumed would never be announced again; what is local is left out, as the kernel may. */
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 2, "poll", set, 4, -1);
  struct pollfd *seen = fake_at(run->fake, set);
  g_assert_cmpint(seen[0].revents, ==, POLLIN);
  g_assert_cmpint(seen[1].revents, ==, 0);
  g_assert_cmpint(seen[2].revents, ==, POLLOUT);
  g_assert_cmpint(seen[1].fd, ==, 3);
  guint64 words[1] = {1 << 10 | 1 << 3};
  guint64 in = fake_put(run->fake, words, 8), out = fake_put(run->fake, words, 8);
  ASSERT_AGAIN(run, PINLOG_ANSWERED, 1, "pselect6", 12, in, out, 0, 0, 0);
  g_assert_cmphex(*(guint64 *)fake_at(run->fake, in), ==, 1 << 10);
  g_assert_cmphex(*(guint64 *)fake_at(run->fake, out), ==, 0);
  pinlog_forget(run->log);
  g_assert_true(pinlog_empty(run->log));
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "poll", set, 4, -1);
}

static void
test_strangers(Run *run, gconstpointer unused)
{
  guint64 buffer = fake_put(run->fake, NULL, 64);
  note(run, "write", ARGS(10, buffer, 64), 64, NULL);
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "write", 3, buffer, 64); /* no pin */
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "brk", 0);
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "ptrace", 0);
  ASSERT_AGAIN(run, PINLOG_NOT_IN_LOG, 0, "write", 10, 4096, 64); /* the kernel says EFAULT */
  g_assert_false(pinlog_empty(run->log));
  note(run, "read", ARGS(12, buffer, 64), 3, "abc");
  ASSERT_AGAIN(run, PINLOG_ANSWERED, -EFAULT, "read", 12, 4096, 64);
}

#define ADD(path, function) g_test_add(path, Run, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  ADD("/pinlog/output", test_output);
  ADD("/pinlog/input", test_input);
  ADD("/pinlog/messages", test_messages);
  ADD("/pinlog/others", test_others);
  ADD("/pinlog/readiness", test_readiness);
  ADD("/pinlog/strangers", test_strangers);
  return g_test_run();
}
