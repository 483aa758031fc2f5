/* hostile-peer: a clone whose key and record are good, and that does not keep to the rules.
 *
 *   hostile-peer KEY-FILE OWN-RECORD PEER-RECORD ADDRESS ATTACK [SERVICE]
 *
 * connects as a peer does (TLS, INTRODUCE), attacks, and says in one line of JSON what came of it:
 *   {"opened": streams that were accepted, "refused": streams, "over": streams that the other end has ended,
 *    "link": "up" | "ended", "words": "why it ended"}
 * "impostor" listens at ADDRESS instead, with that key, and says what became of who came. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "c2c/mux.h"
#include "identity/address.h"
#include "identity/record.h"

#define NS_PER_MS G_GINT64_CONSTANT(1000000)

enum { LISTEN_MS = 15000, SETTLE_MS = 3000, MANY = 3000, STREAMS = 24, NOISE = 200000 };

typedef struct {
  Link *link;
  const char *service;
  guint32 next; /* number of a stream */
  guint opened, refused, over;
  gboolean dead;
  GError *why;
  GRand *random;
} Hostile;

static void
fail(const char *what, const GError *error)
{
  fprintf(stderr, "hostile-peer: %s: %s\n", what, error ? error->message : g_strerror(errno));
  exit(2);
}

/* ---- saying ---- */

static gboolean
say_on(Hostile *hostile, guint32 channel, const void *data, gsize length)
{
  struct iovec piece = {(void *)data, length};
  return link_send(hostile->link, channel, &piece, 1, NULL);
}

static gboolean
say(Hostile *hostile, const Doppel__Wire__MuxControl *control)
{
  gsize length = doppel__wire__mux_control__get_packed_size(control);
  g_autofree guint8 *bytes = g_malloc(length);
  doppel__wire__mux_control__pack(control, bytes);
  return say_on(hostile, C2C_CHANNEL, bytes, length);
}

#define SAY(hostile, KIND, field, ...)                                                                       \
  say((hostile), &(Doppel__Wire__MuxControl){                                                                \
                     PROTOBUF_C_MESSAGE_INIT(&doppel__wire__mux_control__descriptor),                        \
                     DOPPEL__WIRE__MUX_CONTROL__WHAT_##KIND,                                                 \
                     {.field = &(typeof(*((Doppel__Wire__MuxControl *)0)->field)){                           \
                          PROTOBUF_C_MESSAGE_INIT(&doppel__wire__mux_##field##__descriptor), __VA_ARGS__}}})

static gboolean
open_as(Hostile *hostile, guint32 stream, const char *user, const char *service, guint32 window)
{
  return SAY(hostile, OPEN, open, .stream = stream, .service = (char *)service, .user = (char *)user,
             .window = window);
}

static guint32
open_next(Hostile *hostile)
{
  guint32 stream = hostile->next;
  hostile->next += 2;
  open_as(hostile, stream, "", hostile->service, MUX_WINDOW_FIRST);
  return stream;
}

static void
introduce(Hostile *hostile, const guint8 *record, gsize length)
{
  SAY(hostile, INTRODUCE, introduce, .record = {length, (guint8 *)record});
}

/* ---- hearing ---- */

static void
take(Hostile *hostile)
{
  LinkMessage *message;
  while ((message = link_take(hostile->link))) {
    Doppel__Wire__MuxControl *control =
        message->channel == C2C_CHANNEL
            ? doppel__wire__mux_control__unpack(NULL, message->length, message->data)
            : NULL;
    int kind = control ? (int)control->what_case : 0;
    hostile->opened += kind == DOPPEL__WIRE__MUX_CONTROL__WHAT_ACCEPTED;
    hostile->refused += kind == DOPPEL__WIRE__MUX_CONTROL__WHAT_REFUSED;
    hostile->over +=
        kind == DOPPEL__WIRE__MUX_CONTROL__WHAT_END || kind == DOPPEL__WIRE__MUX_CONTROL__WHAT_RESET;
    if (control)
      doppel__wire__mux_control__free_unpacked(control, NULL);
    link_message_free(message);
  }
}

/* Until `enough` says so, the link ends, or the time is over; what is heard is thrown away. */
static void
listen_until(Hostile *hostile, gboolean (*enough)(const Hostile *hostile), int ms)
{
  gint64 deadline = clock_now_ns() + ms * NS_PER_MS;
  while (!hostile->dead && !(enough && enough(hostile))) {
    gint64 left = (deadline - clock_now_ns()) / NS_PER_MS;
    if (left <= 0)
      return;
    struct pollfd fds[LINK_POLL_MAX];
    int timeout = (int)left;
    guint count = link_prepare(hostile->link, fds, &timeout);
    poll(fds, count, timeout);
    hostile->dead = !link_work(hostile->link, &hostile->why);
    take(hostile);
  }
}

static gboolean
is_answered(const Hostile *hostile)
{
  return hostile->opened + hostile->refused > 0;
}

static gboolean
is_over(const Hostile *hostile)
{
  return hostile->over + hostile->refused > 0;
}

static gboolean
never(const Hostile *hostile)
{
  return FALSE;
}

/* ---- attacks on the mux: each has to end the link ---- */

static void
noise_as_control(Hostile *hostile)
{
  guint8 bytes[400];
  for (gsize i = 0; i < sizeof bytes; i++)
    bytes[i] = g_rand_int(hostile->random);
  bytes[0] = 0xff;
  say_on(hostile, C2C_CHANNEL, bytes, sizeof bytes);
}

static void
long_control(Hostile *hostile)
{
  g_autofree guint8 *bytes = g_malloc0(1 << 20);
  say_on(hostile, C2C_CHANNEL, bytes, 1 << 20);
}

static void
unknown_channel(Hostile *hostile)
{
  say_on(hostile, 7, "hello", 5);
}

static void
other_number(Hostile *hostile)
{
  open_as(hostile, 1000, "", hostile->service, MUX_WINDOW_FIRST);
}

static void
no_service(Hostile *hostile)
{
  open_as(hostile, 2, "", "", MUX_WINDOW_FIRST);
}

static void
odd_window(Hostile *hostile)
{
  open_as(hostile, 2, "", hostile->service, 1);
}

static void
data_nowhere(Hostile *hostile)
{
  say_on(hostile, C2C_STREAM_BASE + 100, "hello", 5);
}

static void
data_beyond(Hostile *hostile)
{
  g_autofree guint8 *bytes = g_malloc0(1 << 20);
  guint32 stream = open_next(hostile);
  listen_until(hostile, is_answered, LISTEN_MS);
  say_on(hostile, C2C_STREAM_BASE + stream, bytes, 1 << 20);
}

static void
credit_beyond(Hostile *hostile)
{
  guint32 stream = open_next(hostile);
  listen_until(hostile, is_answered, LISTEN_MS);
  SAY(hostile, CREDIT, credit, .stream = stream, .bytes = G_MAXUINT32);
}

static void
end_twice(Hostile *hostile)
{
  guint32 stream = open_next(hostile);
  listen_until(hostile, is_answered, LISTEN_MS);
  SAY(hostile, END, end, .stream = stream);
  SAY(hostile, END, end, .stream = stream);
}

static void
answer_nothing(Hostile *hostile)
{
  SAY(hostile, ACCEPTED, accepted, .stream = 1, .window = MUX_WINDOW_FIRST);
}

/* Nobody answers so fast; and more than there may be. */
static void
many_opens(Hostile *hostile)
{
  for (guint i = 0; i < MANY; i++)
    open_next(hostile);
}

static void
nonsense_record(Hostile *hostile)
{
  g_usleep(1200000); /* introductions come one a second */
  introduce(hostile, (const guint8 *)"no record at all", 16);
}

/* ---- on services: the stream has to end, and the link stays ---- */

static void
feed(Hostile *hostile, const guint8 *bytes, gsize length)
{
  guint32 stream = open_next(hostile);
  listen_until(hostile, is_answered, LISTEN_MS);
  for (gsize at = 0; at < length; at += 10000)
    say_on(hostile, C2C_STREAM_BASE + stream, bytes + at, MIN(10000, length - at));
  SAY(hostile, END, end, .stream = stream);
  listen_until(hostile, is_over, LISTEN_MS);
}

static void
noise_to_service(Hostile *hostile)
{
  g_autofree guint8 *bytes = g_malloc(NOISE);
  for (gsize i = 0; i < NOISE; i++)
    bytes[i] = g_rand_int(hostile->random);
  feed(hostile, bytes, NOISE);
}

/* Well framed: lengths are right, what is in them is not. */
static void
framed_noise_to_service(Hostile *hostile)
{
  g_autoptr(GByteArray) all = g_byte_array_new();
  for (guint i = 0; i < 20; i++) {
    guint8 message[304];
    guint32 length = g_htonl(300);
    memcpy(message, &length, 4);
    for (guint k = 4; k < sizeof message; k++)
      message[k] = g_rand_int(hostile->random);
    g_byte_array_append(all, message, sizeof message);
  }
  feed(hostile, all->data, all->len);
}

static void
huge_length_to_service(Hostile *hostile)
{
  feed(hostile, (const guint8 *)"\xff\xff\xff\xff\x7f\xff\xff\xff", 8);
}

static void
half_message_to_service(Hostile *hostile)
{
  feed(hostile, (const guint8 *)"\0\0\1\0half", 8);
}

/* In another user's name, which only a device may. */
static void
other_user(Hostile *hostile)
{
  open_as(hostile, hostile->next, "alice", hostile->service, MUX_WINDOW_FIRST);
  hostile->next += 2;
  listen_until(hostile, is_answered, LISTEN_MS);
}

/* ---- on memory ---- */

/* Streams that are never read; the connection is, so that nothing but credit keeps the other end back. Until
 * standard input ends. */
static void
never_read(Hostile *hostile)
{
  for (guint i = 0; i < STREAMS; i++)
    open_next(hostile);
  gint64 deadline = clock_now_ns() + LISTEN_MS * NS_PER_MS;
  while (hostile->opened + hostile->refused < STREAMS && !hostile->dead && clock_now_ns() < deadline)
    listen_until(hostile, never, 100);
  printf("{\"opened\": %u}\n", hostile->opened);
  fflush(stdout);
  struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};
  while (poll(&end, 1, 0) == 0 && !hostile->dead)
    listen_until(hostile, never, 100);
}

/* The same, and the connection is not read either. */
static void
deaf(Hostile *hostile)
{
  for (guint i = 0; i < STREAMS; i++)
    open_next(hostile);
  listen_until(hostile, is_answered, LISTEN_MS);
  printf("{\"opened\": %u}\n", hostile->opened);
  fflush(stdout);
  struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};
  poll(&end, 1, -1);
}

static const struct {
  const char *name;
  void (*attack)(Hostile *hostile);
} attacks[] = {
    {"noise-as-control", noise_as_control},
    {"long-control", long_control},
    {"unknown-channel", unknown_channel},
    {"other-number", other_number},
    {"no-service", no_service},
    {"odd-window", odd_window},
    {"data-nowhere", data_nowhere},
    {"data-beyond", data_beyond},
    {"credit-beyond", credit_beyond},
    {"end-twice", end_twice},
    {"answer-nothing", answer_nothing},
    {"many-opens", many_opens},
    {"nonsense-record", nonsense_record},
    {"noise", noise_to_service},
    {"framed-noise", framed_noise_to_service},
    {"huge-length", huge_length_to_service},
    {"half-message", half_message_to_service},
    {"other-user", other_user},
    {"never-read", never_read},
    {"deaf", deaf},
};

/* ---- */

/* Who calls gets as far as the keys; then nothing is heard of them. */
G_NORETURN
static void
be_impostor(const char *address, const IdentityKey *key)
{
  g_autofree char *host = NULL, *port = NULL;
  g_autoptr(GError) error = NULL;
  struct sockaddr_in where = {.sin_family = AF_INET};
  const int on = 1;
  if (!identity_address_split(address, &host, &port, &error) ||
      inet_pton(AF_INET, host, &where.sin_addr) != 1)
    fail(address, error);
  where.sin_port = htons(atoi(port));
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&where, sizeof where) < 0 || listen(listener, 16) < 0)
    fail(address, NULL);
  puts("{\"listening\": true}");
  fflush(stdout);
  for (;;) {
    g_autoptr(GError) problem = NULL;
    LinkPreamble preamble;
    int fd = accept(listener, NULL, NULL);
    LinkOptions options = LINK_OPTIONS_DEFAULT;
    options.resume_ms = 0;
    if (fd < 0 || !link_preamble_read(fd, 3000, &preamble, NULL)) {
      io_close(&fd);
      continue;
    }
    g_autoptr(Link) link = link_accept(fd, &preamble, key, NULL, &options, &problem);
    LinkMessage *message = link ? link_await(link, 3000, NULL) : NULL;
    printf("{\"came\": true, \"let in\": %s, \"heard\": %s}\n", link ? "true" : "false",
           message ? "true" : "false");
    fflush(stdout);
    if (message)
      link_message_free(message);
  }
}

static void
connect_to(Hostile *hostile, const char *address, const char *peer_path, const IdentityKey *key)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *bytes = NULL;
  const char *const addresses[] = {address, NULL};
  gsize length;
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.purpose = WIRE_PURPOSE_PEER;
  options.compression = -1;
  options.resume_ms = 0;
  g_autoptr(Record) peer = g_file_get_contents(peer_path, &bytes, &length, &error)
                               ? record_decode((const guint8 *)bytes, length, NULL, &error)
                               : NULL;
  if (!peer)
    fail(peer_path, error);
  hostile->link = link_dial(addresses, key, &peer->clone_key, peer->clone, &options, &error);
  if (!hostile->link)
    fail(address, error);
}

static void
report(Hostile *hostile)
{
  g_autofree char *words = g_strescape(hostile->why ? hostile->why->message : "", NULL);
  printf("{\"opened\": %u, \"refused\": %u, \"over\": %u, \"link\": \"%s\", \"words\": \"%s\"}\n",
         hostile->opened, hostile->refused, hostile->over, hostile->dead ? "ended" : "up", words);
}

int
main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *record = NULL;
  gsize length;
  signal(SIGPIPE, SIG_IGN);
  if (argc < 6) {
    fputs("usage: hostile-peer KEY-FILE OWN-RECORD PEER-RECORD ADDRESS ATTACK [SERVICE]\n", stderr);
    return 2;
  }
  char **words = argv + 1;
  Hostile hostile = {
      .next = 2, .service = argc > 6 ? argv[6] : "message:open", .random = g_rand_new_with_seed(5)};
  g_autoptr(IdentityKey) key = identity_key_load(words[0], &error);
  if (!key)
    fail(words[0], error);
  if (strcmp(words[4], "impostor") == 0)
    be_impostor(words[3], key);
  if (!g_file_get_contents(words[1], &record, &length, &error))
    fail(words[1], error);
  connect_to(&hostile, words[3], words[2], key);
  introduce(&hostile, (const guint8 *)record, length);
  for (guint i = 0; i < G_N_ELEMENTS(attacks); i++) {
    if (strcmp(attacks[i].name, words[4]) != 0)
      continue;
    attacks[i].attack(&hostile);
    listen_until(&hostile, NULL, SETTLE_MS);
    report(&hostile);
    g_rand_free(hostile.random);
    g_clear_error(&hostile.why);
    link_free(hostile.link);
    return 0;
  }
  fprintf(stderr, "hostile-peer: there is no attack %s\n", words[4]);
  return 2;
}
