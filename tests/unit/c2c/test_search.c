/* Searching at friends': whatever is asked, and whoever does not answer. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/search_query.h"
#include "c2c/search_queue.h"
#include "c2c/service_message.h"
#include "c2c/services.h"
#include "c2c/share_index.h"
#include "c2c/share_message.h"
#include "service_rig.h"
#include "store_maker.h"

static const struct {
  const char *words, *match; /* NULL: refused */
} queries[] = {
    {"apple", "\"apple\""},
    {"apple  banana", "\"apple\" AND \"banana\""},
    {"app*", "\"app\" *"},
    {"\"two words\" x", "\"two words\" AND \"x\""},
    {"\"two wor\"*", "\"two wor\" *"},
    {"\"open end", "\"open end\""},
    {"a\"b c\"d", "\"a\" AND \"b c\" AND \"d\""},
    {"NEAR(a b, 3)", "\"NEAR(a\" AND \"b,\" AND \"3)\""},
    {"content:x OR NOT y", "\"content:x\" AND \"OR\" AND \"NOT\" AND \"y\""},
    {"{path content}: ^x + y", "\"{path\" AND \"content}:\" AND \"^x\" AND \"y\""},
    {"rank' OR 1=1 --", "\"rank'\" AND \"OR\" AND \"1=1\""},
    {"--- apple ...", "\"apple\""},
    {"gr\xc3\xbc\xc3\x9f"
     "e",
     "\"gr\xc3\xbc\xc3\x9f"
     "e\""},
    {"", NULL},
    {"   ", NULL},
    {"*", NULL},
    {"a*", NULL},
    {"\"\"", NULL},
    {"--- ***", NULL},
    {"\xff", NULL},
    {"a b c d e f g h i j k l m n o p q", NULL},
};

/* Words in, a harmless expression out. */
static void
test_queries(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(queries); i++) {
    g_autoptr(GError) error = NULL;
    g_autofree char *match = search_query_match(queries[i].words, &error);
    g_assert_cmpstr(match, ==, queries[i].match);
    if (!queries[i].match)
      g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  }
  g_autofree char *word = g_strnfill(SEARCH_TERM_MAX + 1, 'a'), *words = g_strnfill(SHARE_WORDS_MAX + 1, ' ');
  g_assert_null(search_query_match(word, NULL));
  g_assert_null(search_query_match(words, NULL));
}

static gboolean
ignore(const ShareHit *hit, gpointer data)
{
  return FALSE;
}

/* No text whatever makes SQLite refuse an expression. */
static void
test_hostile(void)
{
  guint seed = 31337, asked = 0;
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  g_autofree char *directory = rig_directory("hostile");
  g_autoptr(ShareIndex) index = share_index_open(directory, NULL);
  static const char *const parts[] = {"\"", "*", "'",  "(", ")",  "AND", "OR", "NOT",   "NEAR", ":",
                                      "^",  "+", "-",  "{", "}",  " ",   "a",  "apple", "path", ",",
                                      "\\", ";", "\n", "%", "\1", "/",   "é",  "1"};
  for (guint i = 0; i < 5000; i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) words = g_string_new(NULL);
    for (guint k = g_rand_int_range(random, 1, 20); k > 0; k--)
      g_string_append(words, parts[g_rand_int_range(random, 0, G_N_ELEMENTS(parts))]);
    g_autofree char *match = search_query_match(words->str, NULL);
    if (match && ++asked)
      share_index_search(index, match, 10, NULL, ignore, NULL, &error);
    if (error)
      g_error("seed %u, %s as %s: %s", seed, words->str, match, error->message);
  }
  g_assert_cmpuint(asked, >, 1000);
  rig_remove(directory);
}

typedef struct {
  char *directory;
  RigUser *me;
} World;

static void
set_up(World *world, gconstpointer data)
{
  world->directory = rig_directory("search");
  rig_begin(world->directory);
  world->me = rig_user("me");
}

static void
tear_down(World *world, gconstpointer data)
{
  rig_end();
  rig_remove(world->directory);
  g_free(world->directory);
}

/* A friend who shares `files` files with the word in them. */
static RigUser *friend(World *world, const char *name, guint files)
{
  g_autoptr(GError) error = NULL;
  RigUser *user = rig_user(name);
  StoreMaker *maker = store_maker_new(user->place.replica);
  store_maker_directory(maker, "d");
  for (guint i = 0; i < files; i++) {
    g_autofree char *path = g_strdup_printf("d/file%u", i);
    g_autofree char *content = g_strdup_printf("the needle of %s, %u", name, i);
    store_maker_file(maker, path, content, strlen(content), 0, 1);
  }
  store_maker_commit(maker);
  store_maker_free(maker);
  g_autoptr(ShareIndex) index = share_index_open(user->place.directory, &error);
  g_auto(Fd) store = open(user->place.replica, O_RDONLY | O_DIRECTORY);
  g_assert_true(share_index_add(index, "d", "d", FALSE, NULL, &error));
  share_index_update(index, store, NULL, &error);
  g_assert_no_error(error);
  return user;
}

#define HANG_MS 120000
#define WAIT_MS 8000 /* in which those who answer do, on a busy machine */

/* One who takes a question and says nothing. */
static gint cancelled;

static int
hang_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  struct pollfd state = {.fd = fd, .events = POLLRDHUP};
  poll(&state, 1, HANG_MS);
  if (state.revents)
    g_atomic_int_inc(&cancelled);
  return 0;
}

/* One who never stops. */
static int
flood_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  Doppel__Share__Hit hit = DOPPEL__SHARE__HIT__INIT;
  char path[] = "d/flood";
  hit.path = path;
  while (share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_HIT, &hit, NULL))
    ;
  return 0;
}

static int
nonsense_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  static const char nonsense[] = "\0\0\0\4\377\377\377\377";
  return send(fd, nonsense, 8, MSG_NOSIGNAL) == 8;
}

static int
behave_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  if (g_str_has_prefix(place->clone_name, "hang"))
    return hang_run(fd, service, peer, place);
  if (g_str_has_prefix(place->clone_name, "flood"))
    return flood_run(fd, service, peer, place);
  if (g_str_has_prefix(place->clone_name, "nonsense"))
    return nonsense_run(fd, service, peer, place);
  return services_find("search")->run(fd, service, peer, place);
}

static const Service behaving = {"search", FALSE, behave_run};

static void
ask(int fd, const char *words, guint limit, guint wait_ms)
{
  Doppel__Share__Query query = DOPPEL__SHARE__QUERY__INIT;
  query.words = (char *)words;
  query.limit = limit;
  query.wait_ms = wait_ms;
  g_assert_true(share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_QUERY, &query, NULL));
}

/* 50 friends: some are away, some deny, some hang, one never stops, one talks nonsense. What the others find
 * comes at once; of the rest it is said why not; what is not waited for is broken off. */
static void
test_fifty(World *world, gconstpointer data)
{
  g_autoptr(GHashTable) ends = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  guint hits = 0, flood = 0;
  gint64 first = 0, begun, over;
  rig_offer(&behaving);
  for (guint i = 0; i < 50; i++) {
    static const char *const kinds[] = {"good", "away", "deny", "hang", "flood", "nonsense"};
    guint kind = i < 32 ? 0 : i < 37 ? 1 : i < 39 ? 2 : i < 48 ? 3 : i - 44;
    g_autofree char *name = g_strdup_printf("%s%u", kinds[kind], i);
    RigUser *user = kind ? rig_user(name) : friend(world, name, 3);
    user->away = kind == 1;
    user->denies = kind == 2;
  }
  g_atomic_int_set(&cancelled, 0);
  g_auto(Fd) fd = rig_serve(services_find("search-all"), world->me, world->me, "");
  begun = g_get_monotonic_time();
  ask(fd, "needle", 10, WAIT_MS);
  for (;;) {
    g_autoptr(ShareMessage) message = share_message_receive(fd, NULL);
    g_assert_nonnull(message);
    if (message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_END)
      break;
    if (message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_PEER) {
      g_assert_true(g_hash_table_insert(ends, g_strdup(message->peer->user), g_strdup(message->peer->words)));
      g_assert_cmpint(message->peer->done, ==, g_str_has_prefix(message->peer->user, "good"));
      continue;
    }
    g_assert_cmpint(message->what_case, ==, DOPPEL__SHARE__MESSAGE__WHAT_HIT);
    if (!first)
      first = g_get_monotonic_time();
    if (g_str_has_prefix(message->hit->user, "good")) {
      hits++;
      g_autofree char *snippet = g_strdup_printf("the needle of %s,", message->hit->user);
      g_assert_true(g_str_has_prefix(message->hit->snippet, snippet));
    } else {
      g_assert_true(g_str_has_prefix(message->hit->user, "flood"));
      flood++;
    }
  }
  over = g_get_monotonic_time();
  g_test_message("first after %.1f ms, all after %.1f ms", (first - begun) / 1e3, (over - begun) / 1e3);
  g_assert_cmpuint(hits, ==, 32 * 3);
  g_assert_cmpuint(flood, ==, 10);
  g_assert_cmpuint(g_hash_table_size(ends), ==, 50);
  g_assert_nonnull(strstr(g_hash_table_lookup(ends, "hang40"), "no answer within 8.0 s"));
  g_assert_nonnull(strstr(g_hash_table_lookup(ends, "away33"), "away33"));
  g_assert_cmpint(first - begun, <, (WAIT_MS - 1000) * 1000);
  g_assert_cmpint(over - begun, >=, (WAIT_MS - 100) * 1000);
  g_assert_cmpint(over - begun, <, HANG_MS / 2 * 1000);
  io_close(&fd);
  rig_wait();
  g_assert_cmpint(g_atomic_int_get(&cancelled), ==, 9);
}

/* Who asked has left: all streams to others end, long before the time is over. */
static void
test_cancel(World *world, gconstpointer data)
{
  rig_offer(&behaving);
  for (guint i = 0; i < 10; i++) {
    g_autofree char *name = g_strdup_printf("hang%u", i);
    rig_user(name);
  }
  g_atomic_int_set(&cancelled, 0);
  int fd = rig_serve(services_find("search-all"), world->me, world->me, "");
  ask(fd, "needle", 10, SHARE_WAIT_MOST);
  gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC, begun = g_get_monotonic_time();
  while (g_get_monotonic_time() < until && rig_user("hang9")->dials == 0)
    g_usleep(1000);
  close(fd);
  rig_wait();
  g_assert_cmpint(g_get_monotonic_time() - begun, <, HANG_MS / 1000 * G_USEC_PER_SEC);
  g_assert_cmpint(g_atomic_int_get(&cancelled), >, 0);
}

/* A query that is none is said to be one, and the next one is answered; a limit is one; so is who is to be
 * asked. */
static void
test_limits(World *world, gconstpointer data)
{
  rig_offer(&behaving);
  friend(world, "good", 20);
  friend(world, "goodtoo", 20);
  g_auto(Fd) fd = rig_serve(services_find("search-all"), world->me, world->me, "");
  ask(fd, "***", 10, 0);
  g_autoptr(ShareMessage) failed = share_message_receive(fd, NULL);
  g_assert_cmpint(failed->what_case, ==, DOPPEL__SHARE__MESSAGE__WHAT_FAILED);
  g_assert_cmpint(failed->failed->why, ==, DOPPEL__SHARE__WHY__MISUSED);
  Doppel__Share__Query query = DOPPEL__SHARE__QUERY__INIT;
  char words[] = "needle", user[] = "goodtoo", *users[] = {user};
  query.words = words;
  query.limit = 7;
  query.user = users;
  query.n_user = 1;
  g_assert_true(share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_QUERY, &query, NULL));
  double rank = -G_MAXDOUBLE;
  for (guint i = 0; i < 7; i++) {
    g_autoptr(ShareMessage) hit = share_message_receive(fd, NULL);
    g_assert_cmpint(hit->what_case, ==, DOPPEL__SHARE__MESSAGE__WHAT_HIT);
    g_assert_cmpstr(hit->hit->user, ==, "goodtoo");
    g_assert_cmpfloat(hit->hit->rank, >=, rank);
    rank = hit->hit->rank;
  }
  g_autoptr(ShareMessage) peer = share_message_receive(fd, NULL), end = share_message_receive(fd, NULL);
  g_assert_cmpint(peer->what_case, ==, DOPPEL__SHARE__MESSAGE__WHAT_PEER);
  g_assert_cmpuint(peer->peer->hits, ==, 7);
  g_assert_cmpint(end->what_case, ==, DOPPEL__SHARE__MESSAGE__WHAT_END);
}

static void
wait_in(SearchQueue *queue, const char *user, double rank)
{
  ShareMessage *message = g_new(ShareMessage, 1);
  doppel__share__message__init(message);
  message->what_case = DOPPEL__SHARE__MESSAGE__WHAT_HIT;
  message->hit = g_new(Doppel__Share__Hit, 1);
  doppel__share__hit__init(message->hit);
  message->hit->rank = rank;
  search_queue_add(queue, user, message);
}

/* What waits is taken by rank, whoever's it is; the earlier of equally good ones first. */
static void
test_order(void)
{
  static const char *const expected[] = {"carol", "bob", "alice", "bob", "carol", "bob"};
  g_autoptr(SearchQueue) queue = search_queue_new();
  const char *user = NULL;
  g_assert_null(search_queue_take(queue, &user));
  wait_in(queue, "bob", -2);
  wait_in(queue, "bob", -0.5);
  wait_in(queue, "alice", -1);
  wait_in(queue, "carol", -3);
  wait_in(queue, "bob", -0.75);
  wait_in(queue, "carol", -0.75);
  for (guint i = 0; i < G_N_ELEMENTS(expected); i++) {
    g_assert_cmpuint(search_queue_length(queue), ==, G_N_ELEMENTS(expected) - i);
    g_autoptr(ShareMessage) message = search_queue_take(queue, &user);
    g_assert_cmpstr(user, ==, expected[i]);
  }
  wait_in(queue, "left", 0); /* goes with the queue */
}

#define ADD(name, function) g_test_add("/search/" name, World, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/search/queries", test_queries);
  g_test_add_func("/search/hostile", test_hostile);
  g_test_add_func("/search/order", test_order);
  ADD("fifty", test_fifty);
  ADD("cancel", test_cancel);
  ADD("limits", test_limits);
  return g_test_run();
}
