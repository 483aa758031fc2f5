/* A stream joined to a socket, in a main loop as a node runs it. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/mux.h"
#include "c2c/stream_end.h"

#define LARGE (20u << 20)

/* Two programs, each with one end of a socket pair whose other end is spliced with a stream; a mux between.
 */
typedef struct {
  GMainContext *context;
  Mux *ends[2];
  GSource *sources[2];
  int programs[2]; /* the dialler's, the other's; -1 once closed */
  MuxSplice *splices[2];
  guint done, gone;
  gsize wrote[2], got[2];
  gboolean ended[2];
  int broke[2]; /* errno of a read or write */
} Chain;

static void
on_done(void *data)
{
  ((Chain *)data)->done++;
}

static int
program_socket(int *program)
{
  int fds[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
  g_assert_true(stream_end_name(fds[0])); /* as who hands it to a program does */
  *program = fds[0];
  return fds[1];
}

static void
on_open(Mux *mux, MuxStream *stream, const char *user, const char *service, void *data)
{
  Chain *chain = data;
  mux_accept(stream, NULL, NULL);
  chain->splices[1] = mux_splice(stream, program_socket(&chain->programs[1]), chain->context, on_done, chain);
}

static void
on_gone(Mux *mux, const GError *error, void *data)
{
  Chain *chain = data;
  g_assert_nonnull(error);
  chain->gone++;
  mux_free(mux);
  chain->ends[mux == chain->ends[1]] = NULL;
}

static Chain *
chain_new(void)
{
  static const MuxCallbacks callbacks = {.open = on_open};
  Chain *chain = g_new0(Chain, 1);
  int fds[2];
  chain->context = g_main_context_new();
  chain->programs[1] = -1;
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
  for (int end = 0; end < 2; end++) {
    chain->ends[end] = mux_new(link_new_local(fds[end]), end == 0, &callbacks, chain);
    chain->sources[end] = mux_source_new(chain->ends[end], on_gone, chain);
    g_source_attach(chain->sources[end], chain->context);
  }
  MuxStream *stream = mux_open(chain->ends[0], "", "echo", NULL, NULL, NULL);
  chain->splices[0] = mux_splice(stream, program_socket(&chain->programs[0]), chain->context, on_done, chain);
  return chain;
}

static void
chain_free(Chain *chain)
{
  for (int end = 0; end < 2; end++) {
    mux_free(chain->ends[end]);
    g_source_destroy(chain->sources[end]);
    g_source_unref(chain->sources[end]);
    if (chain->programs[end] >= 0)
      close(chain->programs[end]);
  }
  g_main_context_unref(chain->context);
  g_free(chain);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Chain, chain_free)

static guint8
pattern(gsize at)
{
  return (at * 2654435761u) >> 13;
}

static void
program_write(Chain *chain, int program, gsize until)
{
  guint8 bytes[40000];
  while (chain->wrote[program] < until) {
    gsize length = MIN(sizeof bytes, until - chain->wrote[program]);
    for (gsize i = 0; i < length; i++)
      bytes[i] = pattern(chain->wrote[program] + i);
    ssize_t done = send(chain->programs[program], bytes, length, MSG_NOSIGNAL);
    if (done < 0) {
      chain->broke[program] = errno == EAGAIN ? 0 : errno;
      return;
    }
    chain->wrote[program] += done;
  }
}

static void
program_read(Chain *chain, int program)
{
  guint8 bytes[30000];
  ssize_t got;
  while ((got = recv(chain->programs[program], bytes, sizeof bytes, 0)) > 0)
    for (ssize_t i = 0; i < got; i++)
      g_assert_cmpuint(bytes[i], ==, pattern(chain->got[program]++));
  chain->ended[program] = got == 0;
  chain->broke[program] = got < 0 && errno != EAGAIN ? errno : 0;
}

static void
turn(Chain *chain)
{
  for (int i = 0; i < 4; i++)
    g_main_context_iteration(chain->context, FALSE);
}

/* For some time, of which this process may get little: then for some turns. */
static void
settle(Chain *chain)
{
  gint64 end = clock_now_ns() + G_GINT64_CONSTANT(60000000);
  for (guint turns = 0; turns < 300 || clock_now_ns() < end; turns++)
    turn(chain);
}

static gint64
deadline(void)
{
  return clock_now_ns() + 120 * G_GINT64_CONSTANT(1000000000);
}

/* All that one program writes reaches the other, and then the end; the way back stays open until it ends,
 * too.
 */
static void
test_both_ways(void)
{
  g_autoptr(Chain) chain = chain_new();
  gint64 late = deadline();
  while (!chain->ended[1]) {
    g_assert_cmpint(clock_now_ns(), <, late);
    program_write(chain, 0, LARGE);
    if (chain->wrote[0] == LARGE)
      shutdown(chain->programs[0], SHUT_WR);
    turn(chain);
    if (chain->programs[1] >= 0)
      program_read(chain, 1);
  }
  g_assert_cmpuint(chain->got[1], ==, LARGE);
  g_assert_true(stream_end_is_proper(chain->programs[1]));
  g_assert_cmpuint(chain->done, ==, 0);
  while (!chain->ended[0]) {
    g_assert_cmpint(clock_now_ns(), <, late);
    program_write(chain, 1, LARGE / 2);
    if (chain->wrote[1] == LARGE / 2)
      shutdown(chain->programs[1], SHUT_WR);
    turn(chain);
    program_read(chain, 0);
  }
  g_assert_cmpuint(chain->got[0], ==, LARGE / 2);
  settle(chain);
  g_assert_cmpuint(chain->done, ==, 2);
  g_assert_cmpuint(mux_streams(chain->ends[0]) + mux_streams(chain->ends[1]), ==, 0);
}

/* A program that does not read stops the one that writes, after what the sockets and the window hold. */
static void
test_back_pressure(void)
{
  g_autoptr(Chain) chain = chain_new();
  gsize before;
  do {
    before = chain->wrote[0];
    program_write(chain, 0, 100 * LARGE);
    settle(chain);
  } while (chain->wrote[0] > before);
  g_assert_cmpuint(chain->wrote[0], <, 4u << 20);
  gint64 late = deadline();
  while (chain->got[1] < LARGE) {
    g_assert_cmpint(clock_now_ns(), <, late);
    program_write(chain, 0, LARGE);
    turn(chain);
    program_read(chain, 1);
  }
}

/* A program that is gone resets the stream: the other sees the end of its socket, and cannot write. */
static void
test_gone_program(void)
{
  g_autoptr(Chain) chain = chain_new();
  settle(chain);
  program_write(chain, 1, 100);
  settle(chain);
  close(chain->programs[0]);
  chain->programs[0] = -1;
  gint64 late = deadline();
  while (chain->broke[1] != EPIPE) {
    g_assert_cmpint(clock_now_ns(), <, late);
    program_write(chain, 1, 100 * LARGE);
    turn(chain);
  }
  settle(chain);
  g_assert_cmpuint(chain->done, ==, 2);
  g_assert_cmpuint(mux_streams(chain->ends[0]) + mux_streams(chain->ends[1]), ==, 0);
}

/* A program that wrote and went, and wants no answer, is no failure. */
static void
test_write_and_go(void)
{
  g_autoptr(Chain) chain = chain_new();
  program_write(chain, 0, 100000);
  close(chain->programs[0]);
  chain->programs[0] = -1;
  settle(chain);
  program_read(chain, 1);
  g_assert_cmpuint(chain->got[1], ==, 100000);
  g_assert_true(chain->ended[1]);
  close(chain->programs[1]);
  chain->programs[1] = -1;
  settle(chain);
  g_assert_cmpuint(chain->done, ==, 2);
}

/* The link dies under a conversation. */
static void
test_dead_link(void)
{
  g_autoptr(Chain) chain = chain_new();
  program_write(chain, 0, 100);
  settle(chain);
  mux_free(g_steal_pointer(&chain->ends[0]));
  settle(chain);
  g_assert_cmpuint(chain->done, ==, 2);
  g_assert_cmpuint(chain->gone, ==, 1);
  g_assert_null(chain->ends[1]);
  program_read(chain, 0);
  g_assert_true(chain->ended[0] || chain->broke[0]);
  g_assert_false(stream_end_is_proper(chain->programs[0]));
  g_assert_cmpint(errno, ==, ECONNRESET);
}

/* Who passes a stream on, and dies, has not ended it: nor has it for the program beyond. */
static void
test_lost_relay(void)
{
  g_autoptr(Chain) chain = chain_new();
  int fds[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
  settle(chain);
  close(chain->programs[0]);
  close(chain->programs[1]);
  chain->programs[0] = chain->programs[1] = -1;
  MuxStream *stream = mux_open(chain->ends[0], "", "echo", NULL, NULL, NULL);
  mux_splice(stream, fds[1], chain->context, on_done, chain);
  settle(chain);
  g_assert_cmpint(chain->programs[1], >=, 0);
  g_assert_cmpint(write(fds[0], "half of it", 10), ==, 10);
  settle(chain);
  close(fds[0]);
  settle(chain);
  char bytes[20];
  g_assert_cmpint(recv(chain->programs[1], bytes, sizeof bytes, 0), ==, 10);
  g_assert_cmpint(recv(chain->programs[1], bytes, sizeof bytes, 0), ==, 0);
  g_assert_false(stream_end_is_proper(chain->programs[1]));
  g_assert_cmpuint(mux_streams(chain->ends[0]) + mux_streams(chain->ends[1]), ==, 0);
}

static void
test_cancel(void)
{
  g_autoptr(Chain) chain = chain_new();
  program_write(chain, 0, 100);
  settle(chain);
  mux_splice_cancel(chain->splices[0], "changed my mind");
  settle(chain);
  g_assert_cmpuint(chain->done, ==, 1);
  program_read(chain, 1);
  g_assert_true(chain->ended[1] || chain->broke[1]);
  g_assert_false(stream_end_is_proper(chain->programs[1]));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/c2c/splice/both-ways", test_both_ways);
  g_test_add_func("/c2c/splice/back-pressure", test_back_pressure);
  g_test_add_func("/c2c/splice/gone-program", test_gone_program);
  g_test_add_func("/c2c/splice/write-and-go", test_write_and_go);
  g_test_add_func("/c2c/splice/dead-link", test_dead_link);
  g_test_add_func("/c2c/splice/lost-relay", test_lost_relay);
  g_test_add_func("/c2c/splice/cancel", test_cancel);
  return g_test_run();
}
