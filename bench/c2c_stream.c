/* What a stream between two clones costs beyond TLS: bytes one way, and a ping-pong, over loopback between
 * two processes, with GnuTLS alone and with a stream of a mux, the same ciphers and keys. Both are measured
 * in turns over two connections that stay open, so that what else the machine does counts for both; a ratio
 * is the median of the rounds' ratios. Both processes share one processor: what is measured is work. With
 * --apart each has its own. The stream's figures include what a real owner pays: poll(), credits, the copy
 * that is kept for re-sending, and mux_read() into the owner's own memory. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bare_tls.h"
#include "base/clock.h"
#include "c2c/mux.h"

#define BLOCK  65536u
#define SMALL  64u
#define ROUNDS 200

static int rounds = 31, mebibytes = 64, pings = 1500;
static gboolean json, apart;
static cpu_set_t allowed;
static IdentityKey *keys[2];
static const guint8 payload[BLOCK];

static void
pin(int process)
{
  cpu_set_t one;
  int wanted = apart ? process : 0;
  if (CPU_COUNT(&allowed) < 2)
    return;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &allowed) && wanted-- == 0)
      CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one);
}

/* The stream's end: a mux, one stream, and how far it has got. */
typedef struct {
  Mux *mux;
  MuxStream *stream;
  guint64 got;     /* bytes read since the last look */
  guint64 to_send; /* bytes still to be written */
} End;

static void
send_on(End *end)
{
  while (end->to_send > 0) {
    gsize length = MIN(end->to_send, BLOCK), done = mux_write(end->stream, payload, length);
    end->to_send -= done;
    if (done < length)
      return;
  }
}

static void
on_readable(MuxStream *stream, void *data)
{
  static guint8 room[BLOCK];
  End *end = data;
  gssize got;
  while ((got = mux_read(stream, room, sizeof room)) > 0)
    end->got += got;
}

static void
on_writable(MuxStream *stream, void *data)
{
  send_on(data);
}

static const MuxStreamCallbacks stream_callbacks = {.readable = on_readable, .writable = on_writable};

static void
on_open(Mux *mux, MuxStream *stream, const char *user, const char *service, void *data)
{
  End *end = data;
  end->stream = stream;
  mux_accept(stream, &stream_callbacks, end);
}

static void
turn(End *end)
{
  GError *error = NULL;
  struct pollfd fds[LINK_POLL_MAX];
  int timeout_ms = -1;
  guint count = mux_prepare(end->mux, fds, &timeout_ms);
  if (timeout_ms != 0)
    poll(fds, count, timeout_ms);
  if (!mux_work(end->mux, &error))
    g_error("%s", error->message);
}

static void
stream_send(End *end, guint64 length)
{
  end->to_send += length;
  send_on(end);
  while (end->to_send > 0)
    turn(end);
  int ignored = -1;
  struct pollfd fds[LINK_POLL_MAX];
  mux_prepare(end->mux, fds, &ignored);
}

static void
stream_receive(End *end, guint64 length)
{
  while (end->got < length)
    turn(end);
  end->got -= length;
}

static void
bare_transfer(gnutls_session_t session, gboolean sends)
{
  for (int i = 0; i < mebibytes * (int)(1048576 / BLOCK); i++)
    (sends ? bare_tls_send : bare_tls_receive)(session, BLOCK);
}

static LinkOptions
link_options(void)
{
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.compression = -1;
  options.purpose = WIRE_PURPOSE_PEER;
  return options;
}

/* The process that answers. */
static void
serve(int bare_listener, int link_listener)
{
  static const MuxCallbacks callbacks = {.open = on_open};
  GError *error = NULL;
  LinkPreamble preamble;
  LinkOptions options = link_options();
  End end = {0};
  LinkTls *tls = link_tls_new(keys[1], identity_key_public(keys[0]), NULL);
  gnutls_session_t session = bare_tls_open(tls, accept(bare_listener, NULL, NULL), TRUE);
  int fd = accept(link_listener, NULL, NULL);
  if (!link_preamble_read(fd, 5000, &preamble, &error))
    g_error("%s", error->message);
  Link *link = link_accept(fd, &preamble, keys[1], NULL, &options, &error);
  if (!link)
    g_error("%s", error->message);
  end.mux = mux_new(link, FALSE, &callbacks, &end);
  for (int round = 0; round <= rounds; round++) {
    bare_transfer(session, FALSE);
    bare_tls_send(session, 1);
    stream_receive(&end, (guint64)mebibytes << 20);
    stream_send(&end, 1);
    for (int i = 0; i < pings; i++) {
      bare_tls_receive(session, SMALL);
      bare_tls_send(session, SMALL);
    }
    for (int i = 0; i < pings; i++) {
      stream_receive(&end, SMALL);
      stream_send(&end, SMALL);
    }
  }
  /* The other end hangs up. */
  for (;;) {
    struct pollfd fds[LINK_POLL_MAX];
    int timeout_ms = -1;
    guint count = mux_prepare(end.mux, fds, &timeout_ms);
    poll(fds, count, timeout_ms);
    if (!mux_work(end.mux, NULL))
      _exit(0);
  }
}

typedef struct {
  double bare_mbs[ROUNDS], stream_mbs[ROUNDS], bare_us[ROUNDS], stream_us[ROUNDS];
  double share[ROUNDS], delay[ROUNDS]; /* the rounds' ratios */
} Samples;

static int
compare(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double
median(double *values, int count)
{
  qsort(values, count, sizeof *values, compare);
  return values[count / 2];
}

static double
seconds_since(gint64 start)
{
  return (clock_now_ns() - start) / 1e9;
}

static double
bare_pingpong(gnutls_session_t session)
{
  g_autofree double *samples = g_new(double, pings);
  for (int i = 0; i < pings; i++) {
    gint64 start = clock_now_ns();
    bare_tls_send(session, SMALL);
    bare_tls_receive(session, SMALL);
    samples[i] = seconds_since(start) * 1e6;
  }
  return median(samples, pings);
}

static double
stream_pingpong(End *end)
{
  g_autofree double *samples = g_new(double, pings);
  for (int i = 0; i < pings; i++) {
    gint64 start = clock_now_ns();
    stream_send(end, SMALL);
    stream_receive(end, SMALL);
    samples[i] = seconds_since(start) * 1e6;
  }
  return median(samples, pings);
}

static void
measure_round(gnutls_session_t session, End *end, Samples *samples, int round)
{
  double megabytes = mebibytes * 1.048576;
  gint64 start = clock_now_ns();
  bare_transfer(session, TRUE);
  bare_tls_receive(session, 1);
  samples->bare_mbs[round] = megabytes / seconds_since(start);
  start = clock_now_ns();
  stream_send(end, (guint64)mebibytes << 20);
  stream_receive(end, 1);
  samples->stream_mbs[round] = megabytes / seconds_since(start);
  samples->bare_us[round] = bare_pingpong(session);
  samples->stream_us[round] = stream_pingpong(end);
  samples->share[round] = samples->stream_mbs[round] / samples->bare_mbs[round];
  samples->delay[round] = samples->stream_us[round] / samples->bare_us[round];
}

static void
measure(Samples *samples)
{
  static const MuxCallbacks callbacks = {.open = on_open};
  struct sockaddr_in bare_address, link_address;
  int bare_listener = bare_tls_listen(&bare_address), link_listener = bare_tls_listen(&link_address);
  pid_t child = fork();
  if (child < 0)
    g_error("cannot start a second process: %s", g_strerror(errno));
  if (child == 0) {
    pin(1);
    serve(bare_listener, link_listener);
  }
  GError *error = NULL;
  guint8 clone[16] = {1};
  LinkOptions options = link_options();
  LinkTls *tls = link_tls_new(keys[0], identity_key_public(keys[1]), NULL);
  int fd = bare_tls_connect(&bare_address);
  gnutls_session_t session = bare_tls_open(tls, fd, FALSE);
  g_autofree char *address = g_strdup_printf("127.0.0.1:%u", ntohs(link_address.sin_port));
  Link *link = link_dial((const char *[]){address, NULL}, keys[0], NULL, clone, &options, &error);
  if (!link)
    g_error("%s", error->message);
  End end = {.mux = mux_new(link, TRUE, &callbacks, &end)};
  end.stream = mux_open(end.mux, NULL, "bench", &stream_callbacks, &end, &error);
  /* The first round warms up: windows, the congestion's, and memory. */
  for (int round = -1; round < rounds; round++)
    measure_round(session, &end, samples, MAX(round, 0));
  mux_free(end.mux);
  gnutls_deinit(session);
  link_tls_free(tls);
  close(fd);
  waitpid(child, NULL, 0);
}

static void
print(Samples *samples)
{
  double bare_mbs = median(samples->bare_mbs, rounds), stream_mbs = median(samples->stream_mbs, rounds);
  double bare_us = median(samples->bare_us, rounds), stream_us = median(samples->stream_us, rounds);
  double share = median(samples->share, rounds), delay = median(samples->delay, rounds);
  const char *processors = apart ? "two processors" : "one processor";
  if (json) {
    printf(
        "{\"rounds\": %d, \"processors\": %d,\n \"throughput_mb_s\": {\"gnutls\": %.1f, \"stream\": %.1f, "
        "\"ratio\": %.3f, \"q1\": %.3f, \"q3\": %.3f},\n \"pingpong_us\": {\"bytes\": %u, \"gnutls\": %.2f, "
        "\"stream\": %.2f, \"ratio\": %.3f, \"q1\": %.3f, \"q3\": %.3f}}\n",
        rounds, apart ? 2 : 1, bare_mbs, stream_mbs, share, samples->share[rounds / 4],
        samples->share[rounds * 3 / 4], SMALL, bare_us, stream_us, delay, samples->delay[rounds / 4],
        samples->delay[rounds * 3 / 4]);
    return;
  }
  printf("Between two processes on %s; medians of %d rounds in turns (ratio: median and quartiles)\n\n",
         processors, rounds);
  printf("%-34s %12s %12s  %s\n", "", "GnuTLS alone", "stream", "ratio");
  printf("%-34s %7.0f MB/s %7.0f MB/s  %.2f (%.2f-%.2f), at least 0.9 is wanted\n", "one way", bare_mbs,
         stream_mbs, share, samples->share[rounds / 4], samples->share[rounds * 3 / 4]);
  printf("%-34s %9.1f us %9.1f us  %.2f (%.2f-%.2f), at most 1.3 is wanted\n", "ping-pong of 64 bytes",
         bare_us, stream_us, delay, samples->delay[rounds / 4], samples->delay[rounds * 3 / 4]);
}

int
main(int argc, char **argv)
{
  GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {"apart", 0, 0, G_OPTION_ARG_NONE, &apart, "A processor for each process", NULL},
      {"rounds", 0, 0, G_OPTION_ARG_INT, &rounds, "Rounds (31)", "N"},
      {"mebibytes", 0, 0, G_OPTION_ARG_INT, &mebibytes, "Bytes one way and round (64)", "N"},
      {"pings", 0, 0, G_OPTION_ARG_INT, &pings, "Round trips a round (1500)", "N"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("- what a stream between clones costs beyond TLS");
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error) || rounds < 1 || rounds > ROUNDS ||
      mebibytes < 1 || pings < 1) {
    g_printerr("c2c_stream: %s\n", error ? error->message : "--rounds takes 1 to 200, the others 1 and more");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < 2; i++)
    keys[i] = identity_key_generate();
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    pin(0);
  static Samples samples;
  measure(&samples);
  print(&samples);
  return 0;
}
