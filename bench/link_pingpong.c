/* What a link costs beyond TLS: a ping-pong between two processes over loopback, with GnuTLS alone and with a
 * link, the same sizes, ciphers and keys. Both processes share one processor, which is steady: what is
 * measured is work. With
 * --apart each has its own, and waking the other processor up is most of it. The link's figure includes what
 * a real owner pays: poll(), framing, the copy that is kept for re-sending, acknowledgements. */
#include <arpa/inet.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bare_tls.h"
#include "base/clock.h"
#include "base/error.h"
#include "link/link.h"

static const gsize sizes[] = {64, 500, 1400, 4096, 16000, 65536};
#define SIZES      G_N_ELEMENTS(sizes)
#define LARGEST    BARE_TLS_LARGEST
#define BURST_SIZE (1u << 20)

typedef struct {
  double median, low, high; /* microseconds; quartiles */
} Figure;

static int rounds = 4000;
static gboolean json, apart;
static cpu_set_t allowed;
static IdentityKey *keys[2];
static const guint8 payload[LARGEST];

static int
compare(const void *a, const void *b)
{
  gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
  return (x > y) - (x < y);
}

static Figure
summarise(gint64 *samples, int count)
{
  qsort(samples, count, sizeof *samples, compare);
  return (Figure){samples[count / 2] / 1e3, samples[count / 4] / 1e3, samples[count * 3 / 4] / 1e3};
}

/* The two processes: the one that measures is the first. */
static void
pin(int process)
{
  cpu_set_t one;
  if (CPU_COUNT(&allowed) < 2)
    return;
  int wanted = apart ? process : 0;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &allowed) && wanted-- == 0)
      CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one);
}

static pid_t
fork_peer(void)
{
  pid_t child = fork();
  if (child < 0)
    g_error("cannot start a second process: %s", g_strerror(errno));
  if (child == 0)
    pin(1);
  return child;
}

/* `there` and `back`: bytes each way, for each of `kinds` runs. */
static void
bare_rounds(const gsize *there, const gsize *back, gsize kinds,
            void (*done)(gsize kind, gint64 *samples, void *user), void *user)
{
  struct sockaddr_in address;
  int listener = bare_tls_listen(&address);
  pid_t child = fork_peer();
  if (child == 0) {
    LinkTls *tls = link_tls_new(keys[1], identity_key_public(keys[0]), NULL);
    gnutls_session_t session = bare_tls_open(tls, accept(listener, NULL, NULL), TRUE);
    for (gsize kind = 0; kind < kinds; kind++)
      for (int i = 0; i < rounds; i++) {
        bare_tls_receive(session, there[kind]);
        bare_tls_send(session, back[kind]);
      }
    _exit(0);
  }
  LinkTls *tls = link_tls_new(keys[0], identity_key_public(keys[1]), NULL);
  int fd = bare_tls_connect(&address);
  gnutls_session_t session = bare_tls_open(tls, fd, FALSE);
  g_autofree gint64 *samples = g_new(gint64, rounds);
  for (gsize kind = 0; kind < kinds; kind++) {
    for (int i = 0; i < rounds; i++) {
      gint64 start = clock_now_ns();
      bare_tls_send(session, there[kind]);
      bare_tls_receive(session, back[kind]);
      samples[i] = clock_now_ns() - start;
    }
    done(kind, samples, user);
  }
  gnutls_deinit(session);
  link_tls_free(tls);
  close(fd);
  close(listener);
  waitpid(child, NULL, 0);
}

static void
note_figure(gsize kind, gint64 *samples, void *user)
{
  ((Figure *)user)[kind] = summarise(samples, rounds);
}

static void
bare_measure(Figure *figures)
{
  bare_rounds(sizes, sizes, SIZES, note_figure, figures);
}

static void
print_samples(gsize kind, gint64 *samples, void *user)
{
  for (int i = 0; i < rounds; i++)
    printf("%" G_GINT64_FORMAT "\n", samples[i]);
}

/* --bare THERE:BACK */
static gboolean
bare_print(const char *text)
{
  char *end;
  gsize there = g_ascii_strtoull(text, &end, 10),
        back = *end == ':' ? g_ascii_strtoull(end + 1, &end, 10) : 0;
  if (*end || there < 1 || there > LARGEST || back < 1 || back > LARGEST)
    return FALSE;
  bare_rounds(&there, &back, 1, print_samples, NULL);
  return TRUE;
}

/* The link. */

static LinkMessage *
link_receive_one(Link *link)
{
  GError *error = NULL;
  LinkMessage *message;
  while (!(message = link_take(link)))
    if (!link_wait(link, -1, &error) || !link_work(link, &error))
      return NULL;
  return message;
}

static void
link_send_one(Link *link, gsize length)
{
  GError *error = NULL;
  if (!link_send(link, 1, &(struct iovec){(guint8 *)payload, length}, 1, &error))
    g_error("link_send: %s", error->message);
}

static void
echo(Link *link)
{
  for (;;) {
    g_autoptr(LinkMessage) message = link_receive_one(link);
    if (!message)
      return;
    if (message->length < BURST_SIZE)
      link_send_one(link, message->length);
  }
}

static void
link_rounds(Link *link, Figure *figures)
{
  g_autofree gint64 *samples = g_new(gint64, rounds);
  for (gsize s = 0; s < SIZES; s++) {
    for (int i = 0; i < rounds; i++) {
      gint64 start = clock_now_ns();
      link_send_one(link, sizes[s]);
      link_message_free(link_receive_one(link));
      samples[i] = clock_now_ns() - start;
    }
    figures[s] = summarise(samples, rounds);
  }
}

/* MB/s of messages of a mebibyte, until all are acknowledged. */
static double
link_throughput(Link *link)
{
  GError *error = NULL;
  g_autofree guint8 *bulk = g_malloc0(BURST_SIZE);
  gint64 start = clock_now_ns();
  for (int i = 0; i < 256; i++)
    if (!link_send(link, 1, &(struct iovec){bulk, BURST_SIZE}, 1, &error))
      g_error("link_send: %s", error->message);
  if (!link_flush(link, 60000, &error))
    g_error("link_flush: %s", error->message);
  return 256.0 * BURST_SIZE / 1e6 / ((clock_now_ns() - start) / 1e9);
}

static void
tls_measure(Figure *figures, double *throughput)
{
  struct sockaddr_in address;
  int listener = bare_tls_listen(&address);
  pid_t child = fork_peer();
  if (child == 0) {
    GError *error = NULL;
    LinkPreamble preamble;
    int fd = accept(listener, NULL, NULL);
    if (!link_preamble_read(fd, 1000, &preamble, &error))
      g_error("%s", error->message);
    Link *link = link_accept(fd, &preamble, keys[1], identity_key_public(keys[0]), NULL, &error);
    if (!link)
      g_error("%s", error->message);
    echo(link);
    _exit(0);
  }
  GError *error = NULL;
  guint8 clone[16] = {1};
  g_autofree char *text = g_strdup_printf("127.0.0.1:%u", ntohs(address.sin_port));
  Link *link =
      link_dial((const char *[]){text, NULL}, keys[0], identity_key_public(keys[1]), clone, NULL, &error);
  if (!link)
    g_error("%s", error->message);
  link_rounds(link, figures);
  *throughput = link_throughput(link);
  link_free(link);
  close(listener);
  waitpid(child, NULL, 0);
}

static void
local_measure(Figure *figures, double *throughput)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    g_error("socketpair: %s", g_strerror(errno));
  pid_t child = fork_peer();
  if (child == 0) {
    close(ends[0]);
    echo(link_new_local(ends[1]));
    _exit(0);
  }
  close(ends[1]);
  Link *link = link_new_local(ends[0]);
  link_rounds(link, figures);
  *throughput = link_throughput(link);
  link_free(link);
  waitpid(child, NULL, 0);
}

static void
print_json(const Figure *bare, const Figure *tls, const Figure *local, double tls_mbs, double local_mbs)
{
  printf("{\"rounds\": %d, \"processors\": %d, \"pingpong_us\": [", rounds, apart ? 2 : 1);
  for (gsize s = 0; s < SIZES; s++)
    printf("%s\n  {\"bytes\": %zu, \"gnutls\": {\"median\": %.2f, \"q1\": %.2f, \"q3\": %.2f}, "
           "\"link\": {\"median\": %.2f, \"q1\": %.2f, \"q3\": %.2f}, "
           "\"local\": {\"median\": %.2f, \"q1\": %.2f, \"q3\": %.2f}}",
           s ? "," : "", sizes[s], bare[s].median, bare[s].low, bare[s].high, tls[s].median, tls[s].low,
           tls[s].high, local[s].median, local[s].low, local[s].high);
  printf("],\n \"throughput_mb_s\": {\"link\": %.0f, \"local\": %.0f}}\n", tls_mbs, local_mbs);
}

static void
print_table(const Figure *bare, const Figure *tls, const Figure *local, double tls_mbs, double local_mbs)
{
  printf("Ping-pong between two processes on %s, microseconds: median (quartiles) of %d\n\n",
         apart ? "two processors" : "one processor", rounds);
  printf("%8s  %-24s %-24s %-7s %-24s\n", "bytes", "GnuTLS alone", "link", "ratio", "local link");
  for (gsize s = 0; s < SIZES; s++) {
    const Figure *row[] = {&bare[s], &tls[s], &local[s]};
    char cells[3][40];
    for (int i = 0; i < 3; i++)
      snprintf(cells[i], sizeof cells[i], "%.1f (%.1f-%.1f)", row[i]->median, row[i]->low, row[i]->high);
    printf("%8zu  %-24s %-24s %-7.2f %-24s\n", sizes[s], cells[0], cells[1], tls[s].median / bare[s].median,
           cells[2]);
  }
  printf("\nOne way, messages of 1 MiB: link %.0f MB/s, local link %.0f MB/s\n", tls_mbs, local_mbs);
}

int
main(int argc, char **argv)
{
  g_autofree char *bare_sizes = NULL;
  GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {"apart", 0, 0, G_OPTION_ARG_NONE, &apart, "A processor for each process", NULL},
      {"bare", 0, 0, G_OPTION_ARG_STRING, &bare_sizes,
       "GnuTLS alone, where the scheduler puts both (but for --apart); prints each round trip's nanoseconds",
       "THERE:BACK"},
      {"rounds", 0, 0, G_OPTION_ARG_INT, &rounds, "Round trips per size (4000)", "N"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("- what a link costs beyond TLS");
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error) || rounds < 1) {
    g_printerr("link_pingpong: %s\n", error ? error->message : "--rounds needs a positive number");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < 2; i++)
    keys[i] = identity_key_generate();
  if (bare_sizes) {
    if (apart && sched_getaffinity(0, sizeof allowed, &allowed) == 0)
      pin(0);
    if (bare_print(bare_sizes))
      return 0;
    g_printerr("link_pingpong: --bare needs two sizes of 1 to %d bytes, as 500:64\n", LARGEST);
    return 2;
  }
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    pin(0);
  Figure bare[SIZES], tls[SIZES], local[SIZES];
  double tls_mbs, local_mbs;
  bare_measure(bare);
  tls_measure(tls, &tls_mbs);
  local_measure(local, &local_mbs);
  (json ? print_json : print_table)(bare, tls, local, tls_mbs, local_mbs);
  return 0;
}
