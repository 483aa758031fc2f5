/* What is shared, its index, and fetching: held against a search by hand in the same tree. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/search_query.h"
#include "c2c/services.h"
#include "c2c/share_index.h"
#include "c2c/share_message.h"
#include "service_rig.h"
#include "store_maker.h"

typedef struct {
  char *directory;
  RigUser *alice, *bob;
  StoreMaker *maker;
  Fd store;
  ShareIndex *index;
  GHashTable *files; /* path to content */
  guint commits;
} World;

static void
set_up(World *world, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  world->directory = rig_directory("share");
  rig_begin(world->directory);
  world->alice = rig_user("alice");
  world->bob = rig_user("bob");
  world->maker = store_maker_new(world->alice->place.replica);
  world->store = open(world->alice->place.replica, O_RDONLY | O_DIRECTORY);
  world->index = share_index_open(world->alice->place.directory, &error);
  g_assert_no_error(error);
  world->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

static void
tear_down(World *world, gconstpointer data)
{
  rig_end();
  share_index_close(world->index);
  io_close(&world->store);
  store_maker_free(world->maker);
  g_hash_table_unref(world->files);
  rig_remove(world->directory);
  g_free(world->directory);
}

static void
put_at(World *world, const char *path, const char *content, gint64 mtime)
{
  store_maker_file(world->maker, path, content, strlen(content), 0, mtime);
  g_hash_table_insert(world->files, g_strdup(path), g_strdup(content));
}

static void
put(World *world, const char *path, const char *content)
{
  put_at(world, path, content, ++world->commits);
}

static void
commit(World *world)
{
  g_autoptr(GError) error = NULL;
  guint64 generation;
  store_maker_commit(world->maker);
  share_index_update(world->index, world->store, &generation, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(generation, ==, world->maker->generation);
  g_assert_false(share_index_is_behind(world->index, generation));
}

static gboolean
collect(const ShareHit *hit, gpointer data)
{
  g_ptr_array_add(data, g_strdup(hit->path));
  return FALSE;
}

static int
by_text(gconstpointer a, gconstpointer b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What the index finds, sorted, in one text. */
static char *
find(World *world, const char *words)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
  g_autofree char *match = search_query_match(words, &error);
  g_assert_no_error(error);
  share_index_search(world->index, match, 100000, NULL, collect, paths, &error);
  g_assert_no_error(error);
  g_ptr_array_sort(paths, by_text);
  g_ptr_array_add(paths, NULL);
  return g_strjoinv("\n", (char **)paths->pdata);
}

static void
assert_found(World *world, const char *words, const char *wanted)
{
  g_autofree char *found = find(world, words);
  g_assert_cmpstr(found, ==, wanted);
}

/* ---- by hand ---- */

static char **
tokens(const char *text)
{
  g_autoptr(GPtrArray) list = g_ptr_array_new();
  for (const char *at = text; *at;) {
    gsize length = 0;
    while (g_ascii_isalnum(at[length]))
      length++;
    if (length)
      g_ptr_array_add(list, g_ascii_strdown(at, length));
    at += length ? length : 1;
  }
  g_ptr_array_add(list, NULL);
  return (char **)g_ptr_array_steal(list, NULL);
}

/* Whether the tokens `wanted` follow each other; the last one may be the beginning of a word. */
static gboolean
has_row(char **have, char **wanted, gboolean prefix)
{
  guint count = g_strv_length(wanted);
  for (; *have; have++) {
    guint i = 0;
    while (
        i < count && have[i] &&
        (prefix && i + 1 == count ? g_str_has_prefix(have[i], wanted[i]) : g_str_equal(have[i], wanted[i])))
      i++;
    if (i == count)
      return TRUE;
    for (guint k = 0; k < i; k++)
      if (!have[k])
        return FALSE;
  }
  return FALSE;
}

typedef struct {
  const char *words; /* one term without quotes and star */
  gboolean prefix;
} Term;

static gboolean
matches(const char *shown, const char *content, const Term *terms, guint count)
{
  g_auto(GStrv) path = tokens(shown), text = tokens(content);
  for (guint i = 0; i < count; i++) {
    g_auto(GStrv) wanted = tokens(terms[i].words);
    if (!has_row(path, wanted, terms[i].prefix) && !has_row(text, wanted, terms[i].prefix))
      return FALSE;
  }
  return TRUE;
}

/* The shares of the random test, as a person would describe them. */
static char *
shown_as(const char *path, guint share)
{
  if (share == 0) /* "all": everything but names that begin with a dot */
    return strstr(path, "/.") || path[0] == '.' ? NULL : g_strconcat("all/", path, NULL);
  if (!g_str_has_prefix(path, "a/")) /* "mine": a, with dots, without *.tmp and a/b/secret */
    return NULL;
  if (strstr(path, ".tmp") || g_str_has_prefix(path, "a/b/secret/"))
    return NULL;
  return g_strconcat("mine/", path + 2, NULL);
}

static char *
find_by_hand(World *world, guint shares, const Term *terms, guint count)
{
  g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
  GHashTableIter iterator;
  gpointer path, content;
  g_hash_table_iter_init(&iterator, world->files);
  while (g_hash_table_iter_next(&iterator, &path, &content))
    for (guint share = 0; share < 2; share++) {
      g_autofree char *shown = shares & (1u << share) ? shown_as(path, share) : NULL;
      if (shown && matches(shown, content, terms, count))
        g_ptr_array_add(paths, g_steal_pointer(&shown));
    }
  g_ptr_array_sort(paths, by_text);
  g_ptr_array_add(paths, NULL);
  return g_strjoinv("\n", (char **)paths->pdata);
}

static const char *const vocabulary[] = {"apple", "apricot", "banana", "band",  "cherry", "date",
                                         "dates", "elder",   "fig",    "grape", "grapes", "hazel",
                                         "lemon", "x1",      "x12",    "tmp",   "a",      "secret"};
static const char *const folders[] = {"", "a/", "a/b/", "a/b/secret/", "c/", "c/.hidden/", "a/.dot/"};
static const char *const endings[] = {"", ".txt", ".tmp", ".TXT"};

static const char *
any(GRand *random, const char *const *list, guint count)
{
  return list[g_rand_int_range(random, 0, count)];
}
#define ANY(random, list) any(random, list, G_N_ELEMENTS(list))

static char *
random_text(GRand *random, guint most)
{
  GString *text = g_string_new(NULL);
  static const char *const between[] = {" ", "\n", ", ", "-", "\1", "\t"};
  for (guint i = g_rand_int_range(random, 0, most); i > 0; i--)
    g_string_append_printf(text, "%s%s", ANY(random, vocabulary), ANY(random, between));
  return g_string_free(text, FALSE);
}

static void
change_at_random(World *world, GRand *random)
{
  for (guint i = g_rand_int_range(random, 1, 40); i > 0; i--) {
    g_autofree char *path = g_strconcat(ANY(random, folders), ANY(random, vocabulary), "_",
                                        ANY(random, vocabulary), ANY(random, endings), NULL);
    if (g_rand_int_range(random, 0, 4) == 0 && g_hash_table_remove(world->files, path)) {
      store_maker_remove(world->maker, path);
    } else {
      g_autofree char *text = random_text(random, 60);
      /* Often the same time and size as before: what counts is the content. */
      put_at(world, path, text, g_rand_int_range(random, 1, 3));
    }
  }
}

static void
ask_at_random(World *world, GRand *random, guint shares, guint seed)
{
  Term terms[3];
  char *made[3];
  guint count = g_rand_int_range(random, 1, 4);
  g_autoptr(GString) query = g_string_new(NULL);
  for (guint i = 0; i < count; i++) {
    guint kind = g_rand_int_range(random, 0, 4);
    made[i] = kind == 0 ? g_strdup_printf("%s %s", ANY(random, vocabulary), ANY(random, vocabulary))
                        : g_strdup(ANY(random, vocabulary));
    if (kind == 1 && strlen(made[i]) > 3)
      made[i][3] = '\0';
    terms[i] = (Term){made[i], kind == 1 && strlen(made[i]) > 1};
    g_string_append_printf(query, kind == 0 ? "\"%s\" " : "%s%s ", made[i], terms[i].prefix ? "*" : "");
  }
  g_autofree char *found = find(world, query->str), *wanted = find_by_hand(world, shares, terms, count);
  if (!g_str_equal(found, wanted))
    g_error("seed %u, query %s: found\n%s\nwanted\n%s", seed, query->str, found, wanted);
  for (guint i = 0; i < count; i++)
    g_free(made[i]);
}

/* Random trees that change at random: after each generation the index finds what a search by hand does. In
 * the middle a share goes and comes back. */
static void
test_random(World *world, gconstpointer data)
{
  guint seed = 4711, found = 0;
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  g_autoptr(GError) error = NULL;
  const char *const exclude[] = {"*.tmp", "b/secret", NULL};
  for (guint i = 1; i < G_N_ELEMENTS(folders); i++) {
    g_autofree char *folder = g_strndup(folders[i], strlen(folders[i]) - 1);
    store_maker_directory(world->maker, folder);
  }
  share_index_add(world->index, "all", "", FALSE, NULL, &error);
  share_index_add(world->index, "mine", "a", TRUE, exclude, &error);
  g_assert_no_error(error);
  for (guint round = 0; round < 25; round++) {
    change_at_random(world, random);
    if (round == 10)
      g_assert_true(share_index_remove(world->index, "all", NULL));
    if (round == 15)
      g_assert_true(share_index_add(world->index, "all", "", FALSE, NULL, NULL));
    commit(world);
    for (guint i = 0; i < 30; i++)
      ask_at_random(world, random, round >= 10 && round < 15 ? 2 : 3, seed);
    g_autofree char *some = find(world, "apple");
    found += some[0] != '\0';
  }
  g_assert_cmpuint(found, >, 20);
}

/* Nothing of what was unshared is found, at once, nor left in the index; a name is given once. */
static void
test_unshare(World *world, gconstpointer data)
{
  store_maker_directory(world->maker, "d");
  put(world, "d/one", "needle");
  g_assert_true(share_index_add(world->index, "d", "d", FALSE, NULL, NULL));
  commit(world);
  assert_found(world, "needle", "d/one");
  g_autoptr(GError) error = NULL;
  g_assert_false(share_index_add(world->index, "d", "e", FALSE, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_clear_error(&error);
  g_assert_true(share_index_remove(world->index, "d", NULL));
  assert_found(world, "needle", "");
  g_assert_false(share_index_remove(world->index, "d", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_autofree char *path = g_build_filename(world->alice->place.directory, "shares.db", NULL);
  sqlite3 *database;
  sqlite3_stmt *rows;
  g_assert_cmpint(sqlite3_open(path, &database), ==, SQLITE_OK);
  sqlite3_prepare_v2(database, "SELECT (SELECT count(*) FROM file) + (SELECT count(*) FROM words)", -1, &rows,
                     NULL);
  g_assert_cmpint(sqlite3_step(rows), ==, SQLITE_ROW);
  g_assert_cmpint(sqlite3_column_int(rows, 0), ==, 0);
  sqlite3_finalize(rows);
  sqlite3_close(database);
}

/* A share whose directory goes, is a link, or is replaced by a file has nothing; when it comes back it has.
 */
static void
test_missing(World *world, gconstpointer data)
{
  store_maker_directory(world->maker, "d");
  store_maker_directory(world->maker, "other");
  put(world, "d/one", "needle");
  put(world, "other/two", "needle");
  g_assert_true(share_index_add(world->index, "d", "d", FALSE, NULL, NULL));
  commit(world);
  assert_found(world, "needle", "d/one");
  store_maker_remove(world->maker, "d");
  store_maker_link(world->maker, "d", "other");
  commit(world);
  assert_found(world, "needle", "");
  g_autoptr(GPtrArray) shares = share_index_list(world->index, NULL);
  g_assert_true(((Share *)shares->pdata[0])->missing);
  store_maker_remove(world->maker, "d");
  put(world, "d", "needle");
  commit(world);
  assert_found(world, "needle", "");
  store_maker_remove(world->maker, "d");
  store_maker_directory(world->maker, "d");
  put(world, "d/three", "needle");
  commit(world);
  assert_found(world, "needle", "d/three");
}

/* Texts up to a size, in any language; other contents by their names only. */
static void
test_contents(World *world, gconstpointer data)
{
  store_maker_directory(world->maker, "d");
  put(world, "d/umlaut", "Grüße aus MÜNCHEN, naïve café");
  put(world, "d/binary", "needle \377\376");
  store_maker_file(world->maker, "d/large", "needle", 6, 2 << 20, 1);
  store_maker_file(world->maker, "d/zeros", "needle", 6, 5, 1);
  put(world, "d/empty_needle.txt", "");
  store_maker_link(world->maker, "d/needle_link", "umlaut");
  g_assert_true(share_index_add(world->index, "d", "d", FALSE, NULL, NULL));
  commit(world);
  assert_found(world, "münchen", "d/umlaut");
  assert_found(world, "cafe", "d/umlaut");
  assert_found(world, "needle", "d/empty_needle.txt");
  assert_found(world, "large", "d/large");
  assert_found(world, "d binary", "d/binary");
}

static gboolean
collect_ranks(const ShareHit *hit, gpointer data)
{
  g_array_append_val((GArray *)data, hit->rank);
  return FALSE;
}

/* A word that is in very many files: as many are ranked as may be asked for, the best come first, and fewer
 * of them are the first of these. */
static void
test_frequent(World *world, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(double)),
                    few = g_array_new(FALSE, FALSE, sizeof(double));
  for (guint i = 0; i < SHARE_LIMIT_MOST + 200; i++) {
    g_autofree char *path = g_strdup_printf("f%04u", i), *more = g_strnfill(i % 7 * 2, ' ');
    g_autofree char *content = g_strdup_printf("often%s", more);
    for (char *at = content + strlen("often"); *at; at += 2)
      memcpy(at, " x", 2);
    put(world, path, content);
  }
  g_assert_true(share_index_add(world->index, "all", "", FALSE, NULL, &error));
  commit(world);
  g_autofree char *match = search_query_match("often", &error);
  g_assert_true(share_index_search(world->index, match, SHARE_LIMIT_MOST, NULL, collect_ranks, all, &error));
  g_assert_true(share_index_search(world->index, match, 3, NULL, collect_ranks, few, &error));
  g_assert_cmpuint(all->len, ==, SHARE_LIMIT_MOST);
  g_assert_cmpuint(few->len, ==, 3);
  for (guint i = 1; i < all->len; i++)
    g_assert_cmpfloat(g_array_index(all, double, i - 1), <=, g_array_index(all, double, i));
  g_assert_cmpfloat(g_array_index(all, double, 0), <, g_array_index(all, double, all->len - 1));
  g_assert_cmpmem(few->data, 3 * sizeof(double), all->data, 3 * sizeof(double));
}

/* ---- fetching ---- */

static ShareMessage *
ask_fetch(World *world, int fd, const char *path, guint64 offset, guint64 size, gint64 mtime_ns)
{
  Doppel__Share__Fetch fetch = DOPPEL__SHARE__FETCH__INIT;
  fetch.path = (char *)path;
  fetch.offset = offset;
  fetch.size = size;
  fetch.mtime_ns = mtime_ns;
  g_assert_true(share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_FETCH, &fetch, NULL));
  return share_message_receive(fd, NULL);
}

static void
assert_rest(int fd, const char *content, guint64 offset)
{
  g_autoptr(GByteArray) got = g_byte_array_new();
  guint8 hash[32];
  for (;;) {
    g_autoptr(ShareMessage) message = share_message_receive(fd, NULL);
    g_assert_nonnull(message);
    if (message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_FINISHED) {
      crypto_generichash(hash, sizeof hash, (const guint8 *)content, strlen(content), NULL, 0);
      g_assert_cmpmem(message->finished->hash.data, message->finished->hash.len, hash, sizeof hash);
      break;
    }
    g_assert_cmpint(message->what_case, ==, DOPPEL__SHARE__MESSAGE__WHAT_CHUNK);
    g_byte_array_append(got, message->chunk->data.data, message->chunk->data.len);
  }
  g_assert_cmpmem(got->data, got->len, content + offset, strlen(content) - offset);
}

/* A file from any offset, while it is the same; what is not shared is not there, whatever the reason. */
static void
test_fetch(World *world, gconstpointer data)
{
  g_autofree char *content = g_strnfill(200000, 'x');
  const char *const exclude[] = {"no*", NULL};
  static const char *const absent[] = {"d/none",      "d/.hidden/f", "d/link",     "d/nothing",
                                       "d/deep",      "other/f",     "d/link_out", "e/f",
                                       "d/dirlink/f", "d",           "d/file/x"};
  store_maker_directory(world->maker, "d");
  store_maker_directory(world->maker, "d/deep");
  store_maker_directory(world->maker, "d/.hidden");
  store_maker_directory(world->maker, "other");
  put(world, "d/file", content);
  put(world, "d/nothing", "excluded");
  put(world, "d/.hidden/f", "hidden");
  put(world, "other/f", "other");
  store_maker_link(world->maker, "d/link", "file");
  store_maker_link(world->maker, "d/link_out", "../other/f");
  store_maker_link(world->maker, "d/dirlink", "../other");
  g_assert_true(share_index_add(world->index, "d", "d", FALSE, exclude, NULL));
  store_maker_commit(world->maker);
  g_auto(Fd) fd = rig_serve(services_find("fetch"), world->alice, world->bob, "");
  g_autoptr(ShareMessage) found = ask_fetch(world, fd, "d/file", 0, 0, 0);
  g_assert_cmpuint(found->found->size, ==, 200000);
  assert_rest(fd, content, 0);
  g_autoptr(ShareMessage) again = ask_fetch(world, fd, "d/file", 131079, 200000, found->found->mtime_ns);
  g_assert_cmpuint(again->found->offset, ==, 131079);
  assert_rest(fd, content, 131079);
  g_autoptr(ShareMessage) other = ask_fetch(world, fd, "d/file", 100, 200000, found->found->mtime_ns + 1);
  g_assert_cmpuint(other->found->offset, ==, 0);
  assert_rest(fd, content, 0);
  for (guint i = 0; i < G_N_ELEMENTS(absent); i++) {
    g_autoptr(ShareMessage) none = ask_fetch(world, fd, absent[i], 0, 0, 0);
    g_assert_cmpint(none->what_case, ==, DOPPEL__SHARE__MESSAGE__WHAT_FAILED);
    g_assert_cmpint(none->failed->why, ==, DOPPEL__SHARE__WHY__NOT_FOUND);
  }
  g_assert_true(share_index_remove(world->index, "d", NULL));
  g_autoptr(ShareMessage) gone = ask_fetch(world, fd, "d/file", 0, 0, 0);
  g_assert_cmpint(gone->failed->why, ==, DOPPEL__SHARE__WHY__NOT_FOUND);
  /* What is no path at all ends the conversation. */
  g_autoptr(ShareMessage) nothing = ask_fetch(world, fd, "d/../other/f", 0, 0, 0);
  g_assert_null(nothing);
}

/* The owner's view: sharing, listing, unsharing. */
static void
test_owner(World *world, gconstpointer data)
{
  g_auto(Fd) fd = rig_serve(services_find("shares"), world->alice, world->alice, "");
  Doppel__Share__Share share = DOPPEL__SHARE__SHARE__INIT;
  char path[] = "home/alice/Letters", pattern[] = "*.o", *patterns[] = {pattern};
  share.path = (ProtobufCBinaryData){strlen(path), (guint8 *)path};
  share.exclude = patterns;
  share.n_exclude = 1;
  g_assert_true(share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_SHARE, &share, NULL));
  g_autoptr(ShareMessage) row = share_message_receive(fd, NULL), end = share_message_receive(fd, NULL);
  g_assert_cmpstr(row->row->name, ==, "Letters");
  g_assert_cmpuint(row->row->n_exclude, ==, 1);
  g_assert_cmpint(end->what_case, ==, DOPPEL__SHARE__MESSAGE__WHAT_END);
  g_assert_true(share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_SHARE, &share, NULL));
  g_autoptr(ShareMessage) taken = share_message_receive(fd, NULL);
  g_assert_cmpint(taken->failed->why, ==, DOPPEL__SHARE__WHY__MISUSED);
  Doppel__Share__Unshare unshare = DOPPEL__SHARE__UNSHARE__INIT;
  char name[] = "Letters";
  unshare.name = name;
  g_assert_true(share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_UNSHARE, &unshare, NULL));
  g_autoptr(ShareMessage) done = share_message_receive(fd, NULL);
  g_assert_cmpint(done->what_case, ==, DOPPEL__SHARE__MESSAGE__WHAT_END);
}

#define ADD(name, function) g_test_add("/share/" name, World, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  ADD("random", test_random);
  ADD("unshare", test_unshare);
  ADD("missing", test_missing);
  ADD("contents", test_contents);
  ADD("frequent", test_frequent);
  ADD("fetch", test_fetch);
  ADD("owner", test_owner);
  return g_test_run();
}
