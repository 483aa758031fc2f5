/* What every log of documents owes. With DOPPEL_TEST_LOG=WHERE another kind than SQLite is put to the test:
 * documents' names are random, so that one log does for all. */
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/database.h"
#include "base/error.h"
#include "clonedoc/server/log.h"

static char *place;

static char *
where(const char *name)
{
  const char *other = g_getenv("DOPPEL_TEST_LOG");
  return other ? g_strdup(other) : g_build_filename(place, name, NULL);
}

static DocLog *
open_log(const char *at)
{
  g_autoptr(GError) error = NULL;
  DocLog *log = doc_log_open(at, &error);
  g_assert_no_error(error);
  return log;
}

static void
any_name(DocName *name)
{
  for (guint i = 0; i < sizeof name->bytes; i++)
    name->bytes[i] = (guint8)g_random_int();
}

/* Entry `number` of a test's document: `length` bytes that begin with the number. */
static GBytes *
entry_of(guint number, gsize length)
{
  g_autofree char *text = g_strdup_printf("entry %u", number);
  gsize size = MAX(length, strlen(text));
  guint8 *bytes = g_malloc0(size);
  memcpy(bytes, text, strlen(text));
  return g_bytes_new_take(bytes, size);
}

static DocLogOutcome
append(DocLog *log, const DocName *name, guint number, gsize length)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) entry = entry_of(number, length);
  DocLogOutcome outcome = doc_log_append(log, name, number, entry, &error);
  g_assert_no_error(error);
  return outcome;
}

static GPtrArray *
read_from(DocLog *log, const DocName *name, guint64 from, guint count, gsize bytes)
{
  g_autoptr(GError) error = NULL;
  GPtrArray *entries = doc_log_read(log, name, from, count, bytes, &error);
  g_assert_no_error(error);
  return entries;
}

static void
must_hold(DocLog *log, const DocName *name, guint length)
{
  g_autoptr(GError) error = NULL;
  guint64 found = 77;
  g_assert_true(doc_log_length(log, name, &found, &error));
  g_assert_cmpuint(found, ==, length);
  g_autoptr(GPtrArray) entries = read_from(log, name, 1, DOC_LOG_READ_MAX, G_MAXSIZE);
  g_assert_cmpuint(entries->len, ==, length);
  for (guint i = 0; i < length; i++) {
    g_autofree char *text = g_strdup_printf("entry %u", i + 1);
    gsize size;
    const char *bytes = g_bytes_get_data(entries->pdata[i], &size);
    g_assert_cmpmem(bytes, MIN(size, strlen(text)), text, strlen(text));
  }
}

static void
test_where(void)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(doc_log_open("tape://here", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_clear_error(&error);
  g_assert_null(doc_log_open("/dev/null/log", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
}

static void
test_nothing_there(void)
{
  g_autofree char *at = where("nothing");
  g_autoptr(DocLog) log = open_log(at);
  DocName name;
  any_name(&name);
  must_hold(log, &name, 0);
  g_autoptr(GPtrArray) beyond = read_from(log, &name, G_MAXUINT64, 5, 5);
  g_assert_cmpuint(beyond->len, ==, 0);
}

static void
test_numbers(void)
{
  g_autofree char *at = where("numbers");
  g_autoptr(DocLog) log = open_log(at);
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) entry = entry_of(5, 0);
  DocName name, other;
  any_name(&name);
  any_name(&other);
  for (guint i = 1; i <= 3; i++)
    g_assert_cmpint(append(log, &name, i, 0), ==, DOC_LOG_DONE);
  g_assert_cmpint(append(log, &other, 1, 0), ==, DOC_LOG_DONE);
  /* A number is given once, ... */
  for (guint i = 1; i <= 3; i++)
    g_assert_cmpint(append(log, &name, i, 100), ==, DOC_LOG_TAKEN);
  /* ... and none is left out. */
  g_assert_cmpint(doc_log_append(log, &name, 5, entry, &error), ==, DOC_LOG_FAILED);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
  must_hold(log, &name, 3);
  must_hold(log, &other, 1);
  g_assert_cmpint(append(log, &name, 4, 0), ==, DOC_LOG_DONE);
  must_hold(log, &name, 4);
}

static void
test_batch(void)
{
  g_autofree char *at = where("batch");
  g_autoptr(DocLog) log = open_log(at);
  g_autoptr(GError) error = NULL;
  DocName names[2];
  any_name(&names[0]);
  any_name(&names[1]);
  g_assert_cmpint(append(log, &names[0], 1, 0), ==, DOC_LOG_DONE);
  DocLogPut puts[] = {
      {.document = names[0], .number = 2},
      {.document = names[1], .number = 1},
      {.document = names[0], .number = 3},
      {.document = names[1], .number = 2},
  };
  for (guint i = 0; i < G_N_ELEMENTS(puts); i++)
    puts[i].entry = entry_of((guint)puts[i].number, 0);
  g_assert_true(doc_log_append_all(log, puts, G_N_ELEMENTS(puts), &error));
  g_assert_no_error(error);
  for (guint i = 0; i < G_N_ELEMENTS(puts); i++) {
    g_assert_cmpint(puts[i].outcome, ==, DOC_LOG_DONE);
    g_bytes_unref(puts[i].entry);
  }
  must_hold(log, &names[0], 3);
  must_hold(log, &names[1], 2);
}

/* What was made on top of an entry that came too late is too late itself, even where its number is free. */
static void
test_behind(void)
{
  g_autofree char *at = where("behind");
  g_autoptr(DocLog) log = open_log(at);
  g_autoptr(GError) error = NULL;
  DocName name, other;
  any_name(&name);
  any_name(&other);
  g_assert_cmpint(append(log, &name, 1, 0), ==, DOC_LOG_DONE);
  DocLogPut puts[] = {
      {.document = name, .number = 1},
      {.document = other, .number = 1},
      {.document = name, .number = 2},
  };
  for (guint i = 0; i < G_N_ELEMENTS(puts); i++)
    puts[i].entry = entry_of((guint)puts[i].number, 0);
  g_assert_true(doc_log_append_all(log, puts, G_N_ELEMENTS(puts), &error));
  g_assert_no_error(error);
  for (guint i = 0; i < G_N_ELEMENTS(puts); i++) {
    g_assert_cmpint(puts[i].outcome, ==, i == 1 ? DOC_LOG_DONE : DOC_LOG_TAKEN);
    g_bytes_unref(puts[i].entry);
  }
  must_hold(log, &name, 1);
  must_hold(log, &other, 1);
}

static void
test_reading(void)
{
  g_autofree char *at = where("reading");
  g_autoptr(DocLog) log = open_log(at);
  DocName name;
  any_name(&name);
  for (guint i = 1; i <= 10; i++)
    g_assert_cmpint(append(log, &name, i, 1000), ==, DOC_LOG_DONE);
  const struct {
    guint64 from;
    guint count;
    gsize bytes;
    guint found;
  } cases[] = {
      {1, 3, G_MAXSIZE, 3}, {4, 100, G_MAXSIZE, 7}, {10, 1, G_MAXSIZE, 1}, {11, 5, G_MAXSIZE, 0},
      {1, 100, 2500, 3},    {1, 100, 2000, 2},      {9, 100, 1, 1},        {0, 1, 1, 1},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GPtrArray) entries = read_from(log, &name, cases[i].from, cases[i].count, cases[i].bytes);
    g_assert_cmpuint(entries->len, ==, cases[i].found);
    if (entries->len > 0) {
      g_autoptr(GBytes) first = entry_of((guint)MAX(cases[i].from, 1), 1000);
      g_assert_true(g_bytes_equal(entries->pdata[0], first));
    }
  }
}

static void
test_large(void)
{
  g_autofree char *at = where("large");
  g_autoptr(DocLog) log = open_log(at);
  DocName name;
  any_name(&name);
  g_assert_cmpint(append(log, &name, 1, DOC_ENVELOPE_MAX), ==, DOC_LOG_DONE);
  g_autoptr(GPtrArray) entries = read_from(log, &name, 1, 1, 1);
  g_assert_cmpuint(entries->len, ==, 1);
  g_assert_cmpuint(g_bytes_get_size(entries->pdata[0]), ==, DOC_ENVELOPE_MAX);
}

/* Two servers over one log: each number goes to one of them. */
static void
test_rivals(void)
{
  g_autofree char *at = where("rivals");
  g_autoptr(DocLog) a = open_log(at);
  g_autoptr(DocLog) b = open_log(at);
  DocName name;
  any_name(&name);
  g_assert_cmpint(append(a, &name, 1, 0), ==, DOC_LOG_DONE);
  g_assert_cmpint(append(b, &name, 1, 50), ==, DOC_LOG_TAKEN);
  g_assert_cmpint(append(b, &name, 2, 0), ==, DOC_LOG_DONE);
  g_assert_cmpint(append(a, &name, 2, 50), ==, DOC_LOG_TAKEN);
  must_hold(a, &name, 2);
  must_hold(b, &name, 2);
}

static void
test_reopening(void)
{
  g_autofree char *at = where("reopening");
  DocName name;
  any_name(&name);
  for (guint i = 1; i <= 4; i++) {
    g_autoptr(DocLog) log = open_log(at);
    must_hold(log, &name, i - 1);
    g_assert_cmpint(append(log, &name, i, 0), ==, DOC_LOG_DONE);
  }
}

static void
test_documents(void)
{
  g_autofree char *at = where("documents");
  g_autoptr(DocLog) log = open_log(at);
  g_autoptr(GError) error = NULL;
  guint64 count, bytes;
  g_assert_true(doc_log_size(log, &count, &bytes, &error));
  g_assert_cmpuint(count + bytes, ==, 0);
  for (guint8 i = 5; i > 0; i--)
    for (guint number = 1; number <= i; number++)
      g_assert_cmpint(append(log, &(DocName){{i}}, number, 100), ==, DOC_LOG_DONE);
  g_assert_true(doc_log_size(log, &count, &bytes, &error));
  g_assert_cmpuint(count, ==, 5);
  g_assert_cmpuint(bytes, ==, 1500);
  g_autoptr(GArray) first = doc_log_documents(log, NULL, 3, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(first->len, ==, 3);
  g_autoptr(GArray) rest = doc_log_documents(log, &(DocName){{3}}, 3, &error);
  g_assert_cmpuint(rest->len, ==, 2);
  const DocLogDocument *document = &g_array_index(rest, DocLogDocument, 0);
  g_assert_cmpuint(document->name.bytes[0], ==, 4);
  g_assert_cmpuint(document->length, ==, 4);
  g_assert_cmpuint(document->bytes, ==, 400);
}

static void
damage(const char *at, const char *sql)
{
  g_autofree char *path = g_build_filename(at, "documents.db", NULL);
  sqlite3 *db = NULL;
  g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
  g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close(db);
}

/* A log that lost entries says so, and never gives others in their place. */
static void
test_damaged(void)
{
  g_autofree char *at = where("damaged");
  g_autoptr(GError) error = NULL;
  DocLog *log = open_log(at);
  DocName name;
  any_name(&name);
  for (guint i = 1; i <= 4; i++)
    g_assert_cmpint(append(log, &name, i, 0), ==, DOC_LOG_DONE);
  damage(at, "DELETE FROM entry WHERE number = 2");
  g_assert_null(doc_log_read(log, &name, 1, 10, 1000, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_clear_error(&error);
  damage(at, "DELETE FROM entry");
  g_assert_null(doc_log_read(log, &name, 4, 10, 1000, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_clear_error(&error);
  doc_log_free(log);
  damage(at, "PRAGMA user_version = 2");
  g_assert_null(doc_log_open(at, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  g_clear_error(&error);
  damage(at, "PRAGMA application_id = 1");
  g_assert_null(doc_log_open(at, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
}

/* A full disk is told, what was there stays, and with room it goes on. */
static void
test_full(void)
{
  g_autofree char *at = where("full");
  g_autoptr(DocLog) log = open_log(at);
  g_autoptr(GError) error = NULL;
  DocName name;
  any_name(&name);
  guint number = 0;
  struct rlimit former, little;
  g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &former), ==, 0);
  little = (struct rlimit){.rlim_cur = 256 << 10, .rlim_max = former.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &little), ==, 0);
  DocLogOutcome outcome = DOC_LOG_DONE;
  while (outcome == DOC_LOG_DONE && number < 100) {
    g_autoptr(GBytes) entry = entry_of(number + 1, 5000);
    outcome = doc_log_append(log, &name, number + 1, entry, &error);
    number += outcome == DOC_LOG_DONE;
  }
  g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &former), ==, 0);
  g_assert_cmpint(outcome, ==, DOC_LOG_FAILED);
  g_assert_nonnull(strstr(error->message, "make room"));
  g_assert_cmpuint(number, >, 5);
  must_hold(log, &name, number);
  g_assert_cmpint(append(log, &name, number + 1, 5000), ==, DOC_LOG_DONE);
  must_hold(log, &name, number + 1);
}

static void
remove_all(const char *path)
{
  g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name(dir))) {
    g_autofree char *inside = g_build_filename(path, name, NULL);
    if (g_file_test(inside, G_FILE_TEST_IS_DIR))
      remove_all(inside);
    else
      g_unlink(inside);
  }
  g_rmdir(path);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/doc/log/where", test_where);
  g_test_add_func("/doc/log/nothing-there", test_nothing_there);
  g_test_add_func("/doc/log/numbers", test_numbers);
  g_test_add_func("/doc/log/batch", test_batch);
  g_test_add_func("/doc/log/behind", test_behind);
  g_test_add_func("/doc/log/reading", test_reading);
  g_test_add_func("/doc/log/large", test_large);
  g_test_add_func("/doc/log/rivals", test_rivals);
  g_test_add_func("/doc/log/reopening", test_reopening);
  if (!g_getenv("DOPPEL_TEST_LOG")) {
    g_test_add_func("/doc/log/sqlite/documents", test_documents);
    g_test_add_func("/doc/log/sqlite/damaged", test_damaged);
    g_test_add_func("/doc/log/sqlite/full", test_full);
  }
  place = g_dir_make_tmp("doppel-doc-log-XXXXXX", NULL);
  int status = g_test_run();
  remove_all(place);
  g_free(place);
  return status;
}
