/* What a link is really like: round trips of a byte, and how fast TCP moves data each way. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "network.h"
#include "shaper.h"
#include "verb.h"

enum { PORT = 7777, ROUNDS = 31, SEGMENT = 1448, PACKET = 1500 };

typedef struct {
  Network network;
  double seconds; /* of a bulk transfer, after it has got going */
} Measure;

/* What `measure` is asked for. */
typedef struct {
  double seconds, tolerance; /* tolerance: a share */
  int attempts;              /* a link that does not fit is measured so often before it fails */
} Wish;

/* What the host does for a connection, by its first byte. */
static void
serve_one(int peer)
{
  static __thread char data[65536];
  char wish = 0;
  int one = 1;
  setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (recv(peer, &wish, 1, 0) != 1)
    return;
  if (wish == 'e') /* echo */
    while (recv(peer, &wish, 1, 0) == 1 && send(peer, &wish, 1, MSG_NOSIGNAL) == 1)
      ;
  else if (wish == 'd') /* down */
    while (send(peer, data, sizeof data, MSG_NOSIGNAL) > 0)
      ;
  else { /* up: tell how much has come, again and again */
    guint64 total = 0;
    for (ssize_t got; (got = recv(peer, data, sizeof data, 0)) > 0;) {
      total += (guint64)got;
      send(peer, &total, sizeof total, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
  }
}

static void *
serve(void *data)
{
  Measure *measure = data;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  if (!network_enter(&measure->network, NETWORK_HOST, NULL))
    return NULL;
  g_auto(Fd) listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4) != 0)
    return NULL;
  for (int done = 0; done < 3; done++) {
    g_auto(Fd) peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (peer >= 0)
      serve_one(peer);
  }
  return NULL;
}

static int
dial(char wish)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  int one = 1;
  inet_pton(AF_INET, NETWORK_HOST_ADDRESS, &address.sin_addr);
  for (int tries = 0; tries < 100; tries++) {
    g_auto(Fd) fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, &wish, 1, MSG_NOSIGNAL) == 1) {
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      return io_steal_fd(&fd);
    }
    g_usleep(10000);
  }
  return -1;
}

static int
compare_doubles(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Milliseconds, the median. */
static double
round_trip(void)
{
  g_auto(Fd) fd = dial('e');
  double times[ROUNDS] = {0};
  char byte = 'x';
  for (int i = 0; i < ROUNDS; i++) {
    gint64 start = clock_now_ns();
    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
      return NAN;
    times[i] = (clock_now_ns() - start) / 1e6;
  }
  qsort(times, ROUNDS, sizeof *times, compare_doubles);
  return times[ROUNDS / 2];
}

/* Megabits of IP packets a second, from the payload that arrived in `seconds` after a third as long to get
 * going. */
static double
as_line_rate(guint64 bytes, gint64 ns)
{
  return bytes * 8e3 / ns * PACKET / SEGMENT;
}

static double
down_rate(const Measure *measure)
{
  static char data[1 << 18];
  g_auto(Fd) fd = dial('d');
  gint64 start = clock_now_ns(), from = start + (gint64)(measure->seconds / 3 * 1e9), first = 0, last = 0;
  guint64 total = 0;
  for (;;) {
    ssize_t got = recv(fd, data, sizeof data, 0);
    if (got <= 0)
      return NAN;
    last = clock_now_ns();
    if (last < from)
      continue;
    if (!first)
      first = last;
    else
      total += (guint64)got;
    if (last - first > measure->seconds * 1e9)
      return as_line_rate(total, last - first);
  }
}

static double
up_rate(const Measure *measure)
{
  static char data[1 << 16];
  g_auto(Fd) fd = dial('u');
  gint64 start = clock_now_ns(), from = start + (gint64)(measure->seconds / 3 * 1e9), first = 0;
  guint64 told[64], base = 0;
  while (send(fd, data, sizeof data, MSG_NOSIGNAL) > 0) {
    ssize_t got = recv(fd, told, sizeof told, MSG_DONTWAIT);
    gint64 now = clock_now_ns();
    if (got < 8 || now < from)
      continue;
    guint64 arrived = told[got / 8 - 1];
    if (!first) {
      first = now;
      base = arrived;
    } else if (now - first > measure->seconds * 1e9) {
      return as_line_rate(arrived - base, now - first);
    }
  }
  return NAN;
}

/* One line of the table. */
static gboolean
measure_once(const Profile *profile, const Wish *wish, gboolean *fits, GError **error)
{
  Measure measure = {.seconds = wish->seconds};
  pthread_t server;
  if (!network_make(&measure.network, error))
    return FALSE;
  g_autoptr(Shaper) shaper = shaper_start(measure.network.tuns[0], measure.network.tuns[1], profile);
  pthread_create(&server, NULL, serve, &measure);
  if (!network_enter(&measure.network, NETWORK_DEVICE, error))
    return FALSE;
  double rtt = round_trip(), down = down_rate(&measure), up = up_rate(&measure);
  ShaperCounters count = shaper_counters(shaper);
  pthread_join(server, NULL);
  close(measure.network.namespaces[0]);
  close(measure.network.namespaces[1]);
  const double wanted[] = {profile->rtt_us / 1e3, profile->down_mbit, profile->up_mbit},
               got[] = {rtt, down, up};
  printf("%-6s", profile->name);
  *fits = TRUE;
  for (int i = 0; i < 3; i++) {
    double off = wanted[i] > 0 ? got[i] / wanted[i] - 1 : 0;
    *fits = *fits && fabs(off) <= wish->tolerance;
    printf(" %9.2f %9.2f %+6.1f%%", wanted[i], got[i], off * 100);
  }
  printf("  %5.2f\n", count.cpu_seconds);
  fflush(stdout);
  return TRUE;
}

/* TRUE when the link fits its profile. What else the machine does at the moment is no property of the link.
 */
static gboolean
measure_one(const Profile *profile, const Wish *wish, GError **error)
{
  gboolean fits = FALSE;
  for (int i = 0; i < wish->attempts && !fits; i++)
    if (!measure_once(profile, wish, &fits, error))
      return FALSE;
  return fits ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "the link \"%s\" is not within %.0f %% of its profile",
                          profile->name, wish->tolerance * 100);
}

int
verb_measure(int argc, char **argv)
{
  g_auto(GStrv) names = NULL;
  Wish wish = {.seconds = 4, .tolerance = 10, .attempts = 1};
  GOptionEntry entries[] = {
      {"profile", 'p', 0, G_OPTION_ARG_STRING_ARRAY, &names, "which links (default: all that are shaped)",
       "NAME"},
      {"seconds", 's', 0, G_OPTION_ARG_DOUBLE, &wish.seconds, "length of each transfer (default 4)", "N"},
      {"tolerance", 't', 0, G_OPTION_ARG_DOUBLE, &wish.tolerance, "fail when off by more (default 10)",
       "PERCENT"},
      {"attempts", 'a', 0, G_OPTION_ARG_INT, &wish.attempts, "measure so often before it fails (default 1)",
       "N"},
      {NULL}};
  g_autoptr(GOptionContext) context = g_option_context_new("- measure the links of the rig");
  g_autoptr(GError) error = NULL;
  gboolean good = TRUE;
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error)) {
    g_printerr("doppel-rig: %s\n", error->message);
    return 2;
  }
  wish.tolerance /= 100;
  printf("%-6s %27s %27s %27s  %s\n", "link", "RTT ms: wanted, got", "down Mb/s: wanted, got",
         "up Mb/s: wanted, got", "shaper CPU s");
  for (const Profile *each = profiles; each->name; each++) {
    if (names ? !g_strv_contains((const char *const *)names, each->name) : each->rtt_us == 0)
      continue;
    g_clear_error(&error);
    if (measure_one(each, &wish, &error))
      continue;
    g_printerr("doppel-rig: %s\n", error->message);
    good = FALSE;
    if (error->code != DOPPEL_ERROR_FAILED)
      return 77; /* this machine has no namespaces or no TUN: a test is skipped */
  }
  return good ? 0 : 1;
}
