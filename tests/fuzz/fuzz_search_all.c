/* "search-all" at a clone whose contacts' clones answer what they like, or are away: their hits, failures and
 * bytes that are none come all at once. What the owner's device gets is sound whoever answered: hits of whom
 * was asked, as many as were wanted, one word about how each of them ended, and after that nothing of them.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "base/line.h"
#include "c2c/service_message.h"
#include "c2c/service_node.h"
#include "c2c/services.h"
#include "c2c/share_message.h"
#include "input.h"

#define CONTACTS  4u
#define HITS_MAX  32u
#define WAIT_MS   2 /* where one hangs */
#define ASKED_MAX 6u

/* One of the contacts, and what they say. */
typedef struct {
  int end, theirs; /* of the stream, with all of it said; -1: away */
  GError *problem; /* why */
  guint asked, hits, ended;
} Contact;

typedef struct {
  Contact contacts[CONTACTS];
  gboolean hangs; /* somebody may */
  guint limit;    /* hits of each */
  guint left;     /* who is to be told of */
  int device;
  guint patience; /* messages until the device leaves */
  Input input;
} World;
static World world;

static const char *const names[CONTACTS + 1] = {"alice", "bob", "carol", "dave", NULL};

void __real_g_thread_pool_free(GThreadPool *pool, gboolean immediate, gboolean wait);

/* No thread of an input's is there any more when the next one begins. */
void
__wrap_g_thread_pool_free(GThreadPool *pool, gboolean immediate, gboolean wait)
{
  __real_g_thread_pool_free(pool, immediate, TRUE);
}

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

/* NULL: nobody of that name. */
static Contact *
find_contact(const char *user)
{
  for (guint i = 0; i < CONTACTS; i++)
    if (g_str_equal(names[i], user))
      return &world.contacts[i];
  return NULL;
}

static int
dial(const ServicePlace *place, const char *user, const char *service, GError **error)
{
  Contact *contact = find_contact(user);
  int end = contact ? __atomic_exchange_n(&contact->end, -1, __ATOMIC_SEQ_CST) : -1;
  demand(g_str_equal(service, "search"));
  if (end < 0 && contact && contact->problem)
    g_propagate_error(error, g_error_copy(contact->problem));
  else if (end < 0)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no such user");
  return end;
}

static char **
contacts(const ServicePlace *place, GError **error)
{
  return g_strdupv((char **)names);
}

static const ServiceNode node = {.dial = dial, .contacts = contacts};

static char *
some_words(Input *input)
{
  gsize length, most = input_below(input, 8) ? 40 : 1200;
  const guint8 *bytes = input_bytes(input, input_number(input, 2) % most, &length);
  return g_strndup((const char *)bytes, length);
}

/* Why somebody else's clone takes no stream: the node makes it a line. */
static char *
some_refusal(Input *input)
{
  gsize length;
  const guint8 *bytes = input_bytes(input, input_number(input, 1), &length);
  g_autofree char *words = g_strndup((const char *)bytes, length);
  return line_of(words, SHARE_SNIPPET_MAX);
}

static void
say_hit(Input *input, int fd)
{
  static const char *const paths[] = {"share/a", "share/b/c", "", "../x", "/x", "share/\n", "share/\xff"};
  Doppel__Share__Hit hit = DOPPEL__SHARE__HIT__INIT;
  g_autofree char *words = some_words(input);
  hit.path = (char *)paths[input_below(input, 8) ? input_below(input, 2) : input_below(input, 7)];
  hit.snippet = input_below(input, 4) ? (char *)"snippet" : words;
  hit.user = (char *)(input_below(input, 4) ? "" : "eve");
  hit.size = input_number(input, 2);
  hit.rank = -(double)input_number(input, 1);
  if (input_below(input, 16) == 0) {
    guint64 bits = input_number(input, 8);
    memcpy(&hit.rank, &bits, sizeof hit.rank);
  }
  share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_HIT, &hit, NULL);
}

static void
say_bytes(Input *input, int fd)
{
  gsize length;
  const guint8 *bytes = input_bytes(input, input_number(input, 2) % 2048, &length);
  guint32 prefix = GUINT32_TO_BE((guint32)length + (input_below(input, 8) == 7));
  send(fd, &prefix, sizeof prefix, MSG_DONTWAIT | MSG_NOSIGNAL);
  send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
say_end(Input *input, int fd)
{
  Doppel__Share__Failed failed = DOPPEL__SHARE__FAILED__INIT;
  Doppel__Share__Peer peer = DOPPEL__SHARE__PEER__INIT;
  g_autofree char *words = some_words(input);
  guint what = input_below(input, 8);
  if (what == 7) {
    peer.user = (char *)names[0];
    share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_PEER, &peer, NULL);
  } else if (what == 1 || what == 2) {
    failed.why = input_below(input, 7);
    failed.words = words;
    share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_FAILED, &failed, NULL);
  } else if (what < 6) {
    share_message_end(fd, NULL);
  }
}

/* Says all that it will say, before it is asked. */
static void
prepare(Contact *contact)
{
  Input *input = &world.input;
  int ends[2];
  contact->end = contact->theirs = -1;
  if (input_below(input, 8) == 7) {
    g_autofree char *words = some_refusal(input);
    contact->problem = g_error_new_literal(DOPPEL_ERROR, DOPPEL_ERROR_GONE, words);
    return;
  }
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  for (guint left = input_below(input, HITS_MAX); left > 0; left--)
    (input_below(input, 16) < 15 ? say_hit : say_bytes)(input, ends[1]);
  say_end(input, ends[1]);
  if (!world.hangs || input_below(input, 2))
    shutdown(ends[1], SHUT_WR);
  contact->end = ends[0];
  contact->theirs = ends[1];
}

static void
hear_of(const char *user, const Doppel__Share__Peer *ended)
{
  Contact *contact = find_contact(user);
  demand((contact || ended) && world.left > 0);
  if (!contact) {
    world.left--;
    return;
  }
  demand(contact->ended < contact->asked);
  if (!ended) {
    demand(contact->hits++ < world.limit * contact->asked);
    return;
  }
  contact->ended++;
  world.left--;
  demand(contact->asked > 1 || ended->hits == contact->hits);
}

/* What the owner's device gets, until it is over or has seen enough. */
static gpointer
listen_to_all(gpointer data)
{
  g_autoptr(GError) error = NULL;
  for (gboolean over = FALSE; !over;) {
    g_autoptr(ShareMessage) message = share_message_receive(world.device, &error);
    demand(message != NULL);
    if (message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_HIT)
      hear_of(message->hit->user, NULL);
    else if (message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_PEER)
      hear_of(message->peer->user, message->peer);
    else if (message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_END)
      demand(world.left == 0);
    over = message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_END ||
           message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_FAILED || world.patience-- == 0;
  }
  close(world.device);
  return NULL;
}

static void
ask(void)
{
  static const char *const texts[] = {"words", "\"several words\"", "pre*", "", "*", "\xc2\x9b"};
  static const char *const users[] = {"alice", "bob", "carol", "dave", "zoe"};
  Input *input = &world.input;
  Doppel__Share__Query query = DOPPEL__SHARE__QUERY__INIT;
  char *named[ASKED_MAX];
  query.words = (char *)texts[input_below(input, 16) < 15 ? input_below(input, 3) : input_below(input, 6)];
  query.limit = input_below(input, 4) < 3 ? 0 : 1 + input_below(input, 20);
  query.user = named;
  query.n_user = input_below(input, 4) < 3 ? 0 : 1 + input_below(input, ASKED_MAX);
  for (guint i = 0; i < query.n_user; i++) {
    named[i] = (char *)users[input_below(input, G_N_ELEMENTS(users))];
    Contact *contact = find_contact(named[i]);
    if (contact)
      contact->asked++;
  }
  world.left = query.n_user ? query.n_user : CONTACTS;
  for (guint i = 0; i < CONTACTS && query.n_user == 0; i++)
    world.contacts[i].asked = 1;
  world.limit = query.limit ? query.limit : SHARE_LIMIT_USUAL;
  query.wait_ms = world.hangs ? WAIT_MS : SHARE_WAIT_MOST;
  demand(share_message_put(world.device, DOPPEL__SHARE__MESSAGE__WHAT_QUERY, &query, NULL));
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
  service_node = &node;
  /* Threads are used again: one that has just begun, and whose memory nobody has yet, looks like a leak. */
  g_thread_pool_set_max_idle_time(0);
  g_thread_pool_set_max_unused_threads(-1);
  return 0;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static const ServicePlace place = {.directory = "/", .clone_name = "clone"};
  int ends[2];
  world = (World){.input = {data, length}};
  demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  world.device = ends[1];
  world.patience = input_below(&world.input, 8) < 7 ? G_MAXUINT : input_below(&world.input, 20);
  world.hangs = input_below(&world.input, 64) == 63;
  ask();
  for (guint i = 0; i < CONTACTS; i++)
    prepare(&world.contacts[i]);
  GThread *device = g_thread_new("device", listen_to_all, NULL);
  search_all_run(ends[0], "search-all", NULL, &place);
  close(ends[0]);
  g_thread_join(device);
  for (guint i = 0; i < CONTACTS; i++) {
    io_close(&world.contacts[i].end);
    io_close(&world.contacts[i].theirs);
    g_clear_error(&world.contacts[i].problem);
  }
  return 0;
}
