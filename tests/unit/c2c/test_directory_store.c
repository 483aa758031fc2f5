/* What every store of a directory owes. With DOPPEL_TEST_STORE=URI another kind than SQLite is put to the
 * test: "-NAME" of the test and a number are added to the URI, so that each begins with an empty one. */
#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"
#include "c2c/directory_chain.h"

#define LARGE 256 /* puts of a batch, which some stores take in several steps */
G_STATIC_ASSERT(LARGE <= DIRECTORY_BATCH_MAX);

static char *place;

static char *
uri_of(const char *name)
{
  const char *other = g_getenv("DOPPEL_TEST_STORE");
  return other ? g_strdup_printf("%s-%s-%u", other, name, g_random_int())
               : g_strdup_printf("sqlite:%s/%s.db", place, name);
}

static DirectoryStore *
open_store(const char *uri)
{
  g_autoptr(GError) error = NULL;
  DirectoryStore *store = directory_store_open(uri, &error);
  g_assert_no_error(error);
  return store;
}

/* A record as far as stores look at it: user `user` with a name, at the directory `home`. */
static void
fill(Record *record, guint user, guint home, const char *name, guint version)
{
  memset(record, 0, sizeof *record);
  memset(record->origin.bytes, (int)user, sizeof record->origin.bytes);
  memset(record->directory.bytes, (int)home, sizeof record->directory.bytes);
  record->name = (char *)name;
  g_autofree char *text = g_strdup_printf("record %u of %u at %u called %s", version, user, home, name);
  record->bytes = g_bytes_new(text, strlen(text));
  directory_chain_hash(text, strlen(text), record->hash);
}

static void
clear(Record *record)
{
  g_bytes_unref(record->bytes);
}

/* Puts one into the log, on top of what is there. */
static DirectoryOutcome
append(DirectoryStore *store, Record *record, GError **error)
{
  DirectoryState state, next;
  g_assert_true(directory_store_state(store, &state, error));
  next = state;
  directory_chain_extend(&next, record->hash);
  DirectoryPut put = {.record = record, .number = next.number};
  memcpy(put.chain, next.chain, sizeof put.chain);
  return directory_store_commit(store, &state, &next, &put, 1, error);
}

static void
must_append(DirectoryStore *store, guint user, guint home, const char *name, guint version)
{
  g_autoptr(GError) error = NULL;
  Record record;
  fill(&record, user, home, name, version);
  DirectoryOutcome outcome = append(store, &record, &error);
  g_assert_no_error(error);
  g_assert_cmpint(outcome, ==, DIRECTORY_DONE);
  clear(&record);
}

static void
must_hold(DirectoryStore *store, guint user, guint home, const char *name, guint version, guint64 number)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryRow) row = NULL;
  Record record;
  fill(&record, user, home, name, version);
  int found = directory_store_get(store, &record.origin, &row, &error);
  g_assert_no_error(error);
  g_assert_cmpint(found, ==, 1);
  g_assert_true(g_bytes_equal(row->record, record.bytes));
  g_assert_cmpmem(row->hash, sizeof row->hash, record.hash, sizeof record.hash);
  g_assert_true(identity_public_equal(&row->origin, &record.origin));
  g_assert_true(identity_public_equal(&row->home, &record.directory));
  g_assert_cmpuint(row->number, ==, number);
  clear(&record);
}

static guint
count_named(DirectoryStore *store, const char *name, guint home, guint *first)
{
  g_autoptr(GError) error = NULL;
  IdentityPublic key;
  memset(key.bytes, (int)home, sizeof key.bytes);
  g_autoptr(GArray) found = directory_store_find(store, name, home ? &key : NULL, &error);
  g_assert_no_error(error);
  if (first && found->len > 0)
    *first = g_array_index(found, IdentityPublic, 0).bytes[0];
  return found->len;
}

static void
test_empty(void)
{
  g_autofree char *uri = uri_of("empty");
  g_autoptr(DirectoryStore) store = open_store(uri);
  g_autoptr(GError) error = NULL;
  DirectoryState state, zero = {0};
  guint8 chain[DIRECTORY_CHAIN_LENGTH];
  guint64 count = 7;
  DirectoryRow *row = NULL;
  g_assert_true(directory_store_state(store, &state, &error));
  g_assert_true(directory_state_equal(&state, &zero));
  g_assert_cmpint(directory_store_chain(store, 0, chain, &error), ==, 1);
  g_assert_cmpmem(chain, sizeof chain, zero.chain, sizeof zero.chain);
  g_assert_cmpint(directory_store_chain(store, 1, chain, &error), ==, 0);
  g_assert_true(directory_store_count(store, &count, &error));
  g_assert_cmpuint(count, ==, 0);
  g_assert_cmpint(directory_store_get(store, &(IdentityPublic){{1}}, &row, &error), ==, 0);
  g_assert_cmpuint(count_named(store, "alice", 0, NULL), ==, 0);
  g_autoptr(GPtrArray) page = directory_store_page(store, NULL, NULL, 10, &error);
  g_autoptr(GPtrArray) changes = directory_store_changes(store, 0, 1 << 20, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(page->len, ==, 0);
  g_assert_cmpuint(changes->len, ==, 0);
}

static void
test_registering(void)
{
  g_autofree char *uri = uri_of("registering");
  g_autoptr(DirectoryStore) store = open_store(uri);
  guint who = 0;
  must_append(store, 1, 9, "alice", 1);
  must_append(store, 2, 9, "bob", 1);
  must_hold(store, 1, 9, "alice", 1, 1);
  must_hold(store, 2, 9, "bob", 1, 2);
  must_append(store, 1, 9, "alice", 2);
  must_hold(store, 1, 9, "alice", 2, 3);
  g_assert_cmpuint(count_named(store, "alice", 9, &who), ==, 1);
  g_assert_cmpuint(who, ==, 1);
  /* Another name: the one before is free for somebody else. */
  must_append(store, 1, 9, "alicia", 3);
  g_assert_cmpuint(count_named(store, "alice", 9, NULL), ==, 0);
  must_append(store, 3, 9, "alice", 1);
  g_assert_cmpuint(count_named(store, "alice", 0, &who), ==, 1);
  g_assert_cmpuint(who, ==, 3);
  guint64 count;
  g_assert_true(directory_store_count(store, &count, NULL));
  g_assert_cmpuint(count, ==, 3);
}

/* The chain in the log is the one that anybody can compute from its entries; superseded entries keep their
 * hash, not their bytes. */
static void
test_log(void)
{
  g_autofree char *uri = uri_of("log");
  g_autoptr(DirectoryStore) store = open_store(uri);
  g_autoptr(GError) error = NULL;
  for (guint i = 1; i <= 20; i++) {
    g_autofree char *name = g_strdup_printf("user%u", i % 7);
    must_append(store, i % 7 + 1, 9, name, i);
  }
  g_autoptr(GPtrArray) changes = directory_store_changes(store, 0, 1 << 20, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(changes->len, ==, 20);
  DirectoryState state = {0}, stored;
  for (guint i = 0; i < changes->len; i++) {
    const DirectoryEntry *entry = changes->pdata[i];
    guint8 chain[DIRECTORY_CHAIN_LENGTH];
    g_assert_cmpuint(entry->number, ==, i + 1);
    directory_chain_extend(&state, entry->hash);
    g_assert_cmpmem(entry->chain, sizeof entry->chain, state.chain, sizeof state.chain);
    g_assert_cmpint(directory_store_chain(store, entry->number, chain, &error), ==, 1);
    g_assert_cmpmem(chain, sizeof chain, state.chain, sizeof state.chain);
    g_assert_true((entry->record != NULL) == (i >= 13));
  }
  g_assert_true(directory_store_state(store, &stored, &error));
  g_assert_true(directory_state_equal(&state, &stored));
  /* From the middle, and in small pieces. */
  g_autoptr(GPtrArray) rest = directory_store_changes(store, 18, 1 << 20, &error);
  g_assert_cmpuint(rest->len, ==, 2);
  g_assert_cmpuint(((DirectoryEntry *)rest->pdata[0])->number, ==, 19);
  g_autoptr(GPtrArray) one = directory_store_changes(store, 15, 1, &error);
  g_assert_cmpuint(one->len, ==, 1);
  g_autoptr(GPtrArray) none = directory_store_changes(store, 20, 1, &error);
  g_assert_cmpuint(none->len, ==, 0);
  g_autoptr(GPtrArray) beyond = directory_store_changes(store, G_MAXUINT64, 1, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(beyond->len, ==, 0);
}

static void
test_conflict(void)
{
  g_autofree char *uri = uri_of("conflict");
  g_autoptr(DirectoryStore) store = open_store(uri);
  g_autoptr(DirectoryStore) other = open_store(uri);
  g_autoptr(GError) error = NULL;
  DirectoryState state, next;
  must_append(store, 1, 9, "alice", 1);
  g_assert_true(directory_store_state(store, &state, &error));
  must_append(other, 2, 9, "bob", 1);

  Record record;
  fill(&record, 3, 9, "carol", 1);
  next = state;
  directory_chain_extend(&next, record.hash);
  DirectoryPut put = {.record = &record, .number = next.number};
  memcpy(put.chain, next.chain, sizeof put.chain);
  g_assert_cmpint(directory_store_commit(store, &state, &next, &put, 1, &error), ==, DIRECTORY_CONFLICT);
  g_assert_no_error(error);
  DirectoryRow *row = NULL;
  g_assert_cmpint(directory_store_get(store, &record.origin, &row, &error), ==, 0);
  g_assert_cmpuint(count_named(store, "carol", 0, NULL), ==, 0);
  /* Whoever looks again gets it done. */
  g_assert_cmpint(append(store, &record, &error), ==, DIRECTORY_DONE);
  clear(&record);
  must_hold(other, 3, 9, "carol", 1, 3);
}

static void
test_batch(void)
{
  g_autofree char *uri = uri_of("batch");
  g_autoptr(DirectoryStore) store = open_store(uri);
  g_autoptr(GError) error = NULL;
  Record records[LARGE];
  DirectoryPut puts[LARGE] = {0};
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  DirectoryState state = {0}, next = {0};
  for (guint i = 0; i < LARGE; i++) {
    g_ptr_array_add(names, g_strdup_printf("batched%u", i));
    fill(&records[i], i + 1, 9, names->pdata[i], 1);
    directory_chain_extend(&next, records[i].hash);
    puts[i].record = &records[i];
    puts[i].number = next.number;
    memcpy(puts[i].chain, next.chain, sizeof next.chain);
  }
  g_assert_cmpint(directory_store_commit(store, &state, &next, puts, LARGE, &error), ==, DIRECTORY_DONE);
  g_assert_no_error(error);
  for (guint i = 0; i < LARGE; i++) {
    must_hold(store, i + 1, 9, names->pdata[i], 1, i + 1);
    clear(&records[i]);
  }
}

/* As long as records and what peers sign can be, which is more than some stores take at once. */
static void
test_large_batch(void)
{
  enum { LENGTH = RECORD_MAX, UPDATE = RECORD_MAX + 200 };
  g_autofree char *uri = uri_of("large-batch");
  g_autoptr(DirectoryStore) store = open_store(uri);
  g_autoptr(GError) error = NULL;
  Record records[LARGE];
  DirectoryPut puts[LARGE] = {0};
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  DirectoryState state = {0}, next = {0};
  for (guint i = 0; i < LARGE; i++) {
    g_ptr_array_add(names, g_strdup_printf("large%u", i));
    fill(&records[i], i + 1, i % 3 ? 8 : 9, names->pdata[i], 1);
    g_bytes_unref(records[i].bytes);
    records[i].bytes = g_bytes_new_take(g_strnfill(LENGTH, 'a' + i % 26), LENGTH);
    directory_chain_hash(g_bytes_get_data(records[i].bytes, NULL), LENGTH, records[i].hash);
    puts[i].record = &records[i];
    puts[i].update = i % 3 ? g_bytes_new_take(g_strnfill(UPDATE, 'A' + i % 26), UPDATE) : NULL;
    if (i % 3 == 0) {
      directory_chain_extend(&next, records[i].hash);
      puts[i].number = next.number;
      memcpy(puts[i].chain, next.chain, sizeof next.chain);
    }
  }
  g_assert_cmpint(directory_store_commit(store, &state, &next, puts, LARGE, &error), ==, DIRECTORY_DONE);
  g_assert_no_error(error);
  g_assert_true(directory_store_state(store, &state, &error));
  g_assert_true(directory_state_equal(&state, &next));
  g_autoptr(GPtrArray) page = directory_store_page(store, NULL, NULL, LARGE + 1, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(page->len, ==, LARGE);
  for (guint i = 0; i < LARGE; i++) {
    g_autoptr(DirectoryRow) row = NULL;
    g_assert_cmpint(directory_store_get(store, &records[i].origin, &row, &error), ==, 1);
    g_assert_true(g_bytes_equal(row->record, records[i].bytes));
    g_assert_cmpuint(row->number, ==, puts[i].number);
    g_assert_true(puts[i].update ? g_bytes_equal(row->update, puts[i].update) : row->update == NULL);
    g_clear_pointer(&puts[i].update, g_bytes_unref);
    clear(&records[i]);
  }
}

/* What peers tell has no number, and is no part of the chain. */
static void
test_told(void)
{
  g_autofree char *uri = uri_of("told");
  g_autoptr(DirectoryStore) store = open_store(uri);
  g_autoptr(GError) error = NULL;
  must_append(store, 1, 9, "alice", 1);
  DirectoryState state;
  g_assert_true(directory_store_state(store, &state, &error));
  Record record;
  fill(&record, 2, 8, "alice", 1);
  g_autoptr(GBytes) update = g_bytes_new_static("signed", 6);
  DirectoryPut put = {.record = &record, .update = update};
  g_assert_cmpint(directory_store_commit(store, &state, &state, &put, 1, &error), ==, DIRECTORY_DONE);
  g_assert_no_error(error);
  clear(&record);
  must_hold(store, 2, 8, "alice", 1, 0);
  g_autoptr(DirectoryRow) row = NULL;
  g_assert_cmpint(directory_store_get(store, &record.origin, &row, &error), ==, 1);
  g_assert_true(g_bytes_equal(row->update, update));
  guint who = 0;
  g_assert_cmpuint(count_named(store, "alice", 0, NULL), ==, 2);
  g_assert_cmpuint(count_named(store, "alice", 8, &who), ==, 1);
  g_assert_cmpuint(who, ==, 2);
  DirectoryState after;
  g_assert_true(directory_store_state(store, &after, &error));
  g_assert_true(directory_state_equal(&state, &after));
  /* The user moves in here. */
  must_append(store, 2, 9, "alba", 2);
  must_hold(store, 2, 9, "alba", 2, 2);
  g_assert_cmpuint(count_named(store, "alice", 8, NULL), ==, 0);
  g_autoptr(DirectoryRow) own = NULL;
  g_assert_cmpint(directory_store_get(store, &record.origin, &own, &error), ==, 1);
  g_assert_null(own->update);
}

static void
test_pages(void)
{
  g_autofree char *uri = uri_of("pages");
  g_autoptr(DirectoryStore) store = open_store(uri);
  g_autoptr(GError) error = NULL;
  /* First bytes beyond 127, too: origins are ordered as bytes are. */
  static const guint8 users[] = {200, 3, 128, 77, 255, 1, 127};
  static const guint8 ordered[] = {1, 3, 77, 127, 128, 200, 255};
  for (guint i = 0; i < G_N_ELEMENTS(users); i++) {
    g_autofree char *name = g_strdup_printf("user%u", users[i]);
    must_append(store, users[i], i < 4 ? 9 : 8, name, 1);
  }
  IdentityPublic after, *from = NULL;
  guint seen = 0;
  for (;;) {
    g_autoptr(GPtrArray) page = directory_store_page(store, NULL, from, 3, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(page->len, <=, 3);
    if (page->len == 0)
      break;
    for (guint i = 0; i < page->len; i++) {
      after = ((DirectoryRow *)page->pdata[i])->origin;
      g_assert_cmpuint(after.bytes[0], ==, ordered[seen++]);
    }
    from = &after;
  }
  g_assert_cmpuint(seen, ==, G_N_ELEMENTS(ordered));
  IdentityPublic home;
  memset(home.bytes, 9, sizeof home.bytes);
  g_autoptr(GPtrArray) own = directory_store_page(store, &home, NULL, 10, &error);
  g_assert_cmpuint(own->len, ==, 4);
  g_assert_cmpuint(((DirectoryRow *)own->pdata[3])->origin.bytes[0], ==, 200);
}

/* Users of one home by the first byte of their origins, with the hash of what is there now. */
static void
test_seen(void)
{
  g_autofree char *uri = uri_of("seen");
  g_autoptr(DirectoryStore) store = open_store(uri);
  g_autoptr(GError) error = NULL;
  IdentityPublic home;
  memset(home.bytes, 9, sizeof home.bytes);
  must_append(store, 255, 9, "alice", 1);
  must_append(store, 255, 9, "alice", 2);
  must_append(store, 254, 9, "bob", 1);
  must_append(store, 3, 8, "carol", 1);
  Record record;
  fill(&record, 255, 9, "alice", 2);
  g_autoptr(GArray) seen = directory_store_seen(store, &home, 255, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(seen->len, ==, 1);
  const DirectorySeen *only = &g_array_index(seen, DirectorySeen, 0);
  g_assert_true(identity_public_equal(&only->origin, &record.origin));
  g_assert_cmpmem(only->hash, sizeof only->hash, record.hash, sizeof record.hash);
  clear(&record);
  /* Who moves away is no longer of that home. */
  must_append(store, 255, 8, "alice", 3);
  static const guint8 empty[] = {255, 3, 0};
  for (guint i = 0; i < G_N_ELEMENTS(empty); i++) {
    g_autoptr(GArray) none = directory_store_seen(store, &home, empty[i], &error);
    g_assert_no_error(error);
    g_assert_cmpuint(none->len, ==, 0);
  }
}

static void
test_reopening(void)
{
  g_autofree char *uri = uri_of("reopening");
  DirectoryState before, after;
  {
    g_autoptr(DirectoryStore) store = open_store(uri);
    must_append(store, 1, 9, "alice", 1);
    must_append(store, 1, 9, "alice", 2);
    g_assert_true(directory_store_state(store, &before, NULL));
  }
  g_autoptr(DirectoryStore) store = open_store(uri);
  g_assert_true(directory_store_state(store, &after, NULL));
  g_assert_true(directory_state_equal(&before, &after));
  must_hold(store, 1, 9, "alice", 2, 2);
}

static gpointer
register_many(gpointer data)
{
  g_autoptr(DirectoryStore) store = open_store(data);
  for (guint done = 0; done < 25;) {
    g_autoptr(GError) error = NULL;
    g_autofree char *name = g_strdup_printf("%p-%u", g_thread_self(), done);
    Record record;
    fill(&record, 1 + g_random_int_range(0, 200), 9, name, 1);
    DirectoryOutcome outcome = append(store, &record, &error);
    g_assert_no_error(error);
    done += outcome == DIRECTORY_DONE;
    clear(&record);
  }
  return NULL;
}

/* Two processes over one store: no number is given twice, and the chain holds. */
static void
test_rivals(void)
{
  g_autofree char *uri = uri_of("rivals");
  g_autoptr(DirectoryStore) store = open_store(uri);
  GThread *threads[2];
  for (guint i = 0; i < 2; i++)
    threads[i] = g_thread_new("rival", register_many, uri);
  for (guint i = 0; i < 2; i++)
    g_thread_join(threads[i]);
  g_autoptr(GPtrArray) changes = directory_store_changes(store, 0, 1 << 20, NULL);
  g_assert_cmpuint(changes->len, ==, 50);
  DirectoryState state = {0}, stored;
  for (guint i = 0; i < changes->len; i++)
    directory_chain_extend(&state, ((DirectoryEntry *)changes->pdata[i])->hash);
  g_assert_true(directory_store_state(store, &stored, NULL));
  g_assert_true(directory_state_equal(&state, &stored));
}

static void
test_uris(void)
{
  static const char *const wrong[] = {"", "sqlite", "sqlite:", "mysql:x", "/var/lib/cloneds/directory.db"};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(directory_store_open(wrong[i], &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  }
}

static void
test_damaged(void)
{
  g_autofree char *path = g_build_filename(place, "damaged.db", NULL);
  g_autofree char *uri = g_strconcat("sqlite:", path, NULL);
  {
    g_autoptr(DirectoryStore) store = open_store(uri);
    for (guint i = 1; i < 200; i++) {
      g_autofree char *name = g_strdup_printf("user%u", i);
      must_append(store, i, 9, name, 1);
    }
  }
  g_autofree char *bytes = NULL;
  gsize length;
  g_assert_true(g_file_get_contents(path, &bytes, &length, NULL));
  memset(bytes + 4096, 0xa5, length - 4096);
  g_assert_true(g_file_set_contents(path, bytes, length, NULL));
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryStore) store = directory_store_open(uri, &error);
  DirectoryState state;
  g_assert_false(store && directory_store_state(store, &state, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_nonnull(strstr(error->message, "damaged"));
  g_assert_nonnull(strstr(error->message, path));
}

static void
test_other_files(void)
{
  g_autofree char *path = g_build_filename(place, "text.db", NULL);
  g_autofree char *uri = g_strconcat("sqlite:", path, NULL);
  g_autoptr(GError) error = NULL;
  g_autofree char *text = g_strnfill(10000, 'x');
  g_assert_true(g_file_set_contents(path, text, -1, NULL));
  g_assert_null(directory_store_open(uri, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_autoptr(GError) nowhere = NULL;
  g_assert_null(directory_store_open("sqlite:/nonexistent/directory.db", &nowhere));
  g_assert_error(nowhere, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
}

static void
remove_all(const char *path)
{
  GDir *dir = g_dir_open(path, 0, NULL);
  for (const char *name; dir && (name = g_dir_read_name(dir));) {
    g_autofree char *file = g_build_filename(path, name, NULL);
    g_remove(file);
  }
  if (dir)
    g_dir_close(dir);
  g_rmdir(path);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/directory/store/uris", test_uris);
  g_test_add_func("/directory/store/empty", test_empty);
  g_test_add_func("/directory/store/registering", test_registering);
  g_test_add_func("/directory/store/log", test_log);
  g_test_add_func("/directory/store/conflict", test_conflict);
  g_test_add_func("/directory/store/batch", test_batch);
  g_test_add_func("/directory/store/large-batch", test_large_batch);
  g_test_add_func("/directory/store/told", test_told);
  g_test_add_func("/directory/store/pages", test_pages);
  g_test_add_func("/directory/store/seen", test_seen);
  g_test_add_func("/directory/store/reopening", test_reopening);
  g_test_add_func("/directory/store/rivals", test_rivals);
  if (!g_getenv("DOPPEL_TEST_STORE")) {
    g_test_add_func("/directory/store/sqlite/damaged", test_damaged);
    g_test_add_func("/directory/store/sqlite/other-files", test_other_files);
  }
  place = g_dir_make_tmp("doppel-directory-XXXXXX", NULL);
  int status = g_test_run();
  remove_all(place);
  g_free(place);
  return status;
}
