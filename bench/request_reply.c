/* What TCP's congestion control does to small messages: requests and replies over the link of a rig, after
 * the idle times that lie between blocks, and a long transfer each way. The sockets are as the link has them
 * (TCP_NODELAY); plain bytes, since TLS adds none that counts here.
 *
 * Run on the device of a rig: tests/rig/doppel-rig exec --profile lte -- bench/request_reply. The peer is a
 * child in the host's namespace. docs/decisions/0011 has a table of it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HOST "10.77.0.2"

enum { PORT = 7544, SAMPLES_MAX = 24, WARM = 8, PIECE = 65536, SPAN_MS = 6000 };

typedef struct {
  uint32_t there, back; /* bytes; 0 and 0 ends the connection */
} Exchange;

static const Exchange exchanges[] = {{200, 200}, {12000, 200}, {200, 12000}};
static const int idles_ms[] = {0, 10, 100, 1000};
static char bytes[PIECE];
static int protocol; /* 0 or IPPROTO_MPTCP */

static void
must(int result, const char *what)
{
  if (result >= 0)
    return;
  fprintf(stderr, "request_reply: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double
now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void
put(int fd, size_t length)
{
  while (length > 0) {
    ssize_t done = send(fd, bytes, length < PIECE ? length : PIECE, MSG_NOSIGNAL);
    must((int)done, "send");
    length -= (size_t)done;
  }
}

/* 0 at the end of the stream. */
static int
get(int fd, void *data, size_t length)
{
  while (length > 0) {
    static char sink[PIECE];
    ssize_t done = recv(fd, data ? data : sink, data || length < PIECE ? length : PIECE, 0);
    must((int)done, "recv");
    if (done == 0)
      return 0;
    if (data)
      data = (char *)data + done;
    length -= (size_t)done;
  }
  return 1;
}

static int
stream(const char *control)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol);
  must(fd, "socket");
  must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), "TCP_NODELAY");
  must(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, (socklen_t)strlen(control)), control);
  return fd;
}

static struct sockaddr_in
host(void)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  inet_pton(AF_INET, HOST, &address.sin_addr);
  return address;
}

/* Each message begins with the exchange that it is a part of. */
static void
serve(int listener)
{
  for (;;) {
    Exchange exchange;
    int fd = accept(listener, NULL, NULL);
    must(fd, "accept");
    must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), "TCP_NODELAY");
    while (get(fd, &exchange, sizeof exchange)) {
      get(fd, NULL, exchange.there - sizeof exchange);
      put(fd, exchange.back);
    }
    close(fd);
  }
}

static pid_t
start_host(const char *control)
{
  int ready[2];
  char byte;
  const char *name = getenv("RIG_HOST_NS");
  if (!name) {
    fprintf(stderr, "request_reply: run it in a rig: doppel-rig exec --profile lte -- request_reply bbr\n");
    exit(2);
  }
  must(pipe(ready), "pipe");
  pid_t child = fork();
  must(child, "fork");
  if (child == 0) {
    int place = open(name, O_RDONLY | O_CLOEXEC);
    must(place, name);
    must(setns(place, CLONE_NEWNET), "setns");
    int listener = stream(control);
    struct sockaddr_in address = host();
    must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), "SO_REUSEADDR");
    must(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    must(listen(listener, 4), "listen");
    must((int)write(ready[1], "", 1), "pipe");
    serve(listener);
  }
  must((int)read(ready[0], &byte, 1), "pipe");
  close(ready[0]);
  close(ready[1]);
  return child;
}

static double
exchange_once(int fd, Exchange exchange)
{
  double start = now_ms();
  memcpy(bytes, &exchange, sizeof exchange);
  put(fd, exchange.there);
  get(fd, NULL, exchange.back);
  return now_ms() - start;
}

static int
compare(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static int
open_connection(const char *control)
{
  int fd = stream(control);
  struct sockaddr_in address = host();
  must(connect(fd, (struct sockaddr *)&address, sizeof address), "connect");
  return fd;
}

/* How fast this end's kernel lets a message go, and how fast BBR takes the path to be. */
static void
print_pace(int fd)
{
  struct tcp_info info = {0};
  union tcp_cc_info state = {{0}};
  socklen_t length = sizeof info;
  must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), "TCP_INFO");
  printf("  %6u %8llu", info.tcpi_snd_cwnd, (unsigned long long)info.tcpi_pacing_rate / 1000);
  length = sizeof state;
  if (getsockopt(fd, IPPROTO_TCP, TCP_CC_INFO, &state, &length) == 0 && length >= sizeof state.bbr)
    printf(" %8llu", ((unsigned long long)state.bbr.bbr_bw_hi << 32 | state.bbr.bbr_bw_lo) / 1000);
  printf("\n");
  fflush(stdout);
}

static double
middle(double *values, int count)
{
  qsort(values, (size_t)count, sizeof *values, compare);
  return values[count / 2];
}

/* On a connection of its own: what a sender has learnt of its messages counts. */
static void
measure_small(const char *control, Exchange exchange, int idle_ms)
{
  double taken[SAMPLES_MAX];
  int fd = open_connection(control), count = 0;
  double first = exchange_once(fd, exchange), begun = now_ms();
  for (int i = 0; i < WARM; i++)
    exchange_once(fd, exchange);
  while (count < SAMPLES_MAX && (count < 5 || now_ms() < begun + SPAN_MS)) {
    poll(NULL, 0, idle_ms);
    taken[count++] = exchange_once(fd, exchange);
  }
  printf("%-6s %-6s %7u %7u %5d %8.1f %8.1f", protocol ? "MPTCP" : "TCP", control, exchange.there,
         exchange.back, idle_ms, first, middle(taken, count));
  print_pace(fd);
  close(fd);
}

static void
measure_long(const char *control, Exchange exchange)
{
  int fd = open_connection(control);
  double taken = exchange_once(fd, exchange);
  printf("%-6s %-6s %7u %7u %5s %8.0f %8s", protocol ? "MPTCP" : "TCP", control, exchange.there,
         exchange.back, "", taken, "");
  print_pace(fd);
  close(fd);
}

static void
measure(const char *control, unsigned long_bytes)
{
  pid_t peer = start_host(control);
  for (size_t e = 0; e < sizeof exchanges / sizeof *exchanges; e++)
    for (size_t i = 0; i < sizeof idles_ms / sizeof *idles_ms; i++)
      measure_small(control, exchanges[e], idles_ms[i]);
  if (long_bytes > 0) {
    measure_long(control, (Exchange){200, long_bytes});
    measure_long(control, (Exchange){long_bytes, 200});
  }
  kill(peer, SIGKILL);
  waitpid(peer, NULL, 0);
}

int
main(int argc, char **argv)
{
  static const int protocols[] = {0, IPPROTO_MPTCP};
  char *end = NULL;
  unsigned long long_bytes = argc > 2 ? strtoul(argv[1], &end, 10) : 0;
  if (argc < 3 || *end || long_bytes > 1u << 30) {
    fprintf(stderr, "usage: request_reply LONG-BYTES CONGESTION-CONTROL...\n");
    return 2;
  }
  printf("%-6s %-6s %7s %7s %5s %8s %8s  %6s %8s %8s\n", "", "", "there", "back", "idle", "first ms",
         "median", "window", "KB/s", "believed");
  for (size_t p = 0; p < sizeof protocols / sizeof *protocols; p++) {
    protocol = protocols[p];
    for (int c = 2; c < argc; c++)
      measure(argv[c], (unsigned)long_bytes);
  }
  return 0;
}
