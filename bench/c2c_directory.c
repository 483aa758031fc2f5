/* What a directory can do, and what the machine could do at most: bench/c2c runs it. Prints one JSON object.
 *
 * floor                     bare Ed25519 verifications, bare syncs of a page, and bare SQLite commits a
 * second store FILE URI            what cloneds does with each record, without network: decode, verify,
 * commit register FILE ADDRESS KEY records over links, each waiting for its answer lookup FILE ADDRESS KEY
 * users of that file, by name changes ADDRESS KEY       everything after --since, as somebody who asks once a
 * day gets it */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "c2c/directory_chain.h"
#include "c2c/directory_head.h"
#include "c2c/directory_message.h"
#include "c2c/directory_store.h"
#include "link/link.h"
#include "wire/record.pb-c.h"

enum { SIGNED_BYTES = 160, ROW_BYTES = 750, ANSWER_MS = 30000, CONNECTIONS_MAX = 1000 };

static int seconds = 3, connections = 16, count = 0, since = 0;
static char *folder = NULL;

static const GOptionEntry options[] = {
    {"seconds", 0, 0, G_OPTION_ARG_INT, &seconds, "How long each floor is measured (default 3)", "N"},
    {"connections", 0, 0, G_OPTION_ARG_INT, &connections, "That ask at once (default 16)", "N"},
    {"count", 0, 0, G_OPTION_ARG_INT, &count, "How many questions (default: one for each record)", "N"},
    {"since", 0, 0, G_OPTION_ARG_INT, &since, "The number after which changes are asked for (default 0)",
     "N"},
    {"folder", 0, 0, G_OPTION_ARG_FILENAME, &folder, "Where the floor's database goes", "DIRECTORY"},
    {NULL},
};

static void G_GNUC_NORETURN
die(const char *what, const char *why)
{
  fprintf(stderr, "c2c_directory: %s: %s\n", what, why);
  exit(1);
}

static double
seconds_since(gint64 begin_ns)
{
  return (double)(clock_now_ns() - begin_ns) / 1e9;
}

/* ---- floors */

/* Of one thread: how many, and what they took of a processor. */
typedef struct {
  guint64 done;
  double processor_s;
} Verified;

static gpointer
verify_for_a_while(gpointer data)
{
  g_autoptr(IdentityKey) key = identity_key_generate();
  guint8 message[SIGNED_BYTES] = {0}, signature[IDENTITY_SIGNATURE_LENGTH];
  Verified *verified = data;
  struct timespec took;
  identity_sign(key, message, sizeof message, signature);
  for (gint64 begin = clock_now_ns(); seconds_since(begin) < seconds;)
    for (int i = 0; i < 16; i++, verified->done++)
      if (!identity_verify(identity_key_public(key), message, sizeof message, signature))
        die("floor", "a good signature is not verified");
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &took);
  verified->processor_s = (double)took.tv_sec + (double)took.tv_nsec / 1e9;
  return NULL;
}

/* A second, by all threads together; *each_us is what one takes of a processor, whoever else is at work. */
static double
verifications(guint threads, double *each_us)
{
  GThread *running[64];
  Verified verified[64] = {0}, sum = {0};
  threads = MIN(threads, G_N_ELEMENTS(running));
  gint64 begin = clock_now_ns();
  for (guint i = 0; i < threads; i++)
    running[i] = g_thread_new("verify", verify_for_a_while, &verified[i]);
  for (guint i = 0; i < threads; i++)
    g_thread_join(running[i]);
  double took = seconds_since(begin);
  for (guint i = 0; i < threads; i++) {
    sum.done += verified[i].done;
    sum.processor_s += verified[i].processor_s;
  }
  *each_us = sum.processor_s / (double)sum.done * 1e6;
  return (double)sum.done / took;
}

/* A second, of a page each that the disk has. */
static double
syncs(void)
{
  g_autofree char *path = g_strdup_printf("%s/floor.sync", folder ? folder : ".");
  g_auto(Fd) fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  guint8 page[4096];
  randombytes_buf(page, sizeof page);
  guint64 done = 0;
  gint64 begin = clock_now_ns();
  for (; seconds_since(begin) < seconds; done++)
    if (pwrite(fd, page, sizeof page, (off_t)(done * sizeof page)) != sizeof page || fdatasync(fd) < 0)
      die(path, g_strerror(errno));
  double rate = (double)done / seconds_since(begin);
  unlink(path);
  return rate;
}

static void
must_run(sqlite3 *database, const char *statement)
{
  if (sqlite3_exec(database, statement, NULL, NULL, NULL) != SQLITE_OK)
    die(statement, sqlite3_errmsg(database));
}

/* Rows a second, `batch` of them in a transaction that the disk has when it is over. */
static double
commits(guint batch)
{
  g_autofree char *path = g_strdup_printf("%s/floor-%u.db", folder ? folder : ".", batch);
  sqlite3 *database = NULL;
  sqlite3_stmt *insert = NULL;
  guint8 row[ROW_BYTES];
  randombytes_buf(row, sizeof row);
  if (sqlite3_open(path, &database) != SQLITE_OK)
    die(path, "cannot be made");
  must_run(database, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(k BLOB PRIMARY KEY, v "
                     "BLOB) WITHOUT ROWID");
  sqlite3_prepare_v2(database, "INSERT INTO t VALUES(randomblob(32), ?)", -1, &insert, NULL);
  sqlite3_bind_blob(insert, 1, row, sizeof row, SQLITE_STATIC);
  guint64 done = 0;
  gint64 begin = clock_now_ns();
  while (seconds_since(begin) < seconds) {
    must_run(database, "BEGIN");
    for (guint i = 0; i < batch; i++, done++) {
      if (sqlite3_step(insert) != SQLITE_DONE)
        die(path, sqlite3_errmsg(database));
      sqlite3_reset(insert);
    }
    must_run(database, "COMMIT");
  }
  double rate = (double)done / seconds_since(begin);
  sqlite3_finalize(insert);
  sqlite3_close(database);
  unlink(path);
  return rate;
}

static int
floor_main(void)
{
  double each_us, one = verifications(1, &each_us), all = verifications(g_get_num_processors(), &each_us);
  printf("{\"verifications\": %.0f, \"verifications_all\": %.0f, \"verification_us\": %.1f, "
         "\"processors\": %u, \"syncs\": %.1f, ",
         one, all, each_us, g_get_num_processors(), syncs());
  printf("\"commits\": %.1f, \"rows_batched\": %.0f, \"batch\": %u}\n", commits(1),
         commits(DIRECTORY_BATCH_MAX), DIRECTORY_BATCH_MAX);
  return 0;
}

/* ---- a file of records */

typedef struct {
  const guint8 *data;
  gsize length, next;
  GArray *places; /* of gsize: where each begins; NULL: not looked for */
} Records;

static void
records_open(Records *records, const char *path)
{
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat facts;
  if (fd < 0 || fstat(fd, &facts) < 0 || facts.st_size == 0)
    die(path, fd < 0 ? g_strerror(errno) : "has no records");
  void *data = mmap(NULL, facts.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED)
    die(path, g_strerror(errno));
  *records = (Records){.data = data, .length = facts.st_size};
}

static GBytes *
records_next(Records *records)
{
  guint32 length;
  if (records->length - records->next < sizeof length)
    return NULL;
  memcpy(&length, records->data + records->next, sizeof length);
  length = GUINT32_FROM_LE(length);
  if (length > RECORD_MAX || length > records->length - records->next - sizeof length)
    die("the file", "is no file of records");
  GBytes *bytes = g_bytes_new_static(records->data + records->next + sizeof length, length);
  records->next += sizeof length + length;
  return bytes;
}

static GBytes *
records_any(Records *records)
{
  if (!records->places) {
    records->places = g_array_new(FALSE, FALSE, sizeof(gsize));
    for (gsize place = records->next = 0; records->next < records->length; place = records->next) {
      g_bytes_unref(records_next(records));
      g_array_append_val(records->places, place);
    }
  }
  records->next = g_array_index(records->places, gsize, g_random_int_range(0, (gint32)records->places->len));
  return records_next(records);
}

/* Without looking whether it is true: that is not what is measured here. */
static char *
name_in(GBytes *record)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(record, &length);
  Doppel__Wire__Record *wire = doppel__wire__record__unpack(NULL, length, data);
  Doppel__Wire__Binding *binding =
      wire && wire->binding
          ? doppel__wire__binding__unpack(NULL, wire->binding->statement.len, wire->binding->statement.data)
          : NULL;
  if (!binding)
    die("the file", "has something that is no record");
  char *name = g_strdup(binding->name);
  doppel__wire__binding__free_unpacked(binding, NULL);
  doppel__wire__record__free_unpacked(wire, NULL);
  return name;
}

/* Prints how far it is, now and then. */
static void
tell_progress(const char *what, guint64 done, guint64 all)
{
  static gint64 told_at;
  gint64 now = clock_now_ns();
  if (told_at == 0)
    told_at = now;
  if (now - told_at < 5000000000ll)
    return;
  told_at = now;
  fprintf(stderr, "%s: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT "\n", what, done, all);
}

static double
processor_seconds(void)
{
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- the store by itself */

static void
commit_batch(DirectoryStore *store, DirectoryState *state, GPtrArray *batch)
{
  DirectoryPut puts[DIRECTORY_BATCH_MAX] = {0};
  DirectoryState next = *state;
  g_autoptr(GError) error = NULL;
  for (guint i = 0; i < batch->len; i++) {
    puts[i].record = batch->pdata[i];
    directory_chain_extend(&next, puts[i].record->hash);
    puts[i].number = next.number;
    memcpy(puts[i].chain, next.chain, sizeof next.chain);
  }
  if (directory_store_commit(store, state, &next, puts, batch->len, &error) != DIRECTORY_DONE)
    die("commit", error ? error->message : "conflict");
  *state = next;
  g_ptr_array_set_size(batch, 0);
}

static int
store_main(const char *file, const char *uri)
{
  Records records;
  records_open(&records, file);
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryStore) store = directory_store_open(uri, &error);
  DirectoryState state = {0};
  if (!store || !directory_store_state(store, &state, &error))
    die(uri, error->message);
  g_autoptr(GPtrArray) batch = g_ptr_array_new_with_free_func((GDestroyNotify)record_unref);
  guint64 done = 0;
  gint64 decoding = 0, begin = clock_now_ns();
  for (GBytes *bytes; (bytes = records_next(&records)); done++) {
    gint64 before = clock_now_ns();
    Record *record = record_decode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), NULL, &error);
    decoding += clock_now_ns() - before;
    g_bytes_unref(bytes);
    if (!record)
      die(file, error->message);
    g_ptr_array_add(batch, record);
    tell_progress("store", done, done);
    if (batch->len == DIRECTORY_BATCH_MAX)
      commit_batch(store, &state, batch);
  }
  if (batch->len > 0)
    commit_batch(store, &state, batch);
  double took = seconds_since(begin), decoded = (double)decoding / 1e9;
  printf("{\"records\": %" G_GUINT64_FORMAT ", \"seconds\": %.3f, \"decode_per_s\": %.0f, "
         "\"commit_per_s\": %.0f}\n",
         done, took, (double)done / decoded, (double)done / (took - decoded));
  return 0;
}

/* ---- over links */

typedef struct {
  IdentityKey *own; /* one each: a directory counts what a key asks */
  Link *link;
  gint64 asked;  /* when the question was that is not answered; 0: none */
  gboolean over; /* there is nothing left to ask */
} Asker;

typedef struct {
  const char *address;
  IdentityPublic key;
  Asker askers[CONNECTIONS_MAX];
  Records records;
  DirectoryWhat what;
  guint64 left, ok, refused, asked_bytes, answered_bytes;
  char refusal[200]; /* the first one's words */
  GArray *took_us;   /* of guint32 */
} Load;

static DirectoryQuestion *
next_question(Load *load)
{
  if (load->left == 0)
    return NULL;
  DirectoryQuestion *question = directory_question_new(load->what);
  load->left--;
  if (load->what == DIRECTORY_WHAT(REGISTER)) {
    question->record = records_next(&load->records);
    return question;
  }
  g_autoptr(GBytes) bytes = records_any(&load->records);
  g_free(question->name);
  question->name = name_in(bytes);
  return question;
}

static void
ask(Load *load, Asker *asker)
{
  g_autoptr(DirectoryQuestion) question = next_question(load);
  g_autoptr(GError) error = NULL;
  if (!question) {
    asker->over = TRUE;
    return;
  }
  question->id = load->left + 1;
  g_autoptr(GBytes) bytes = directory_question_encode(question);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  struct iovec piece = {(void *)data, length};
  asker->asked = clock_now_ns();
  load->asked_bytes += length;
  if (!link_send(asker->link, DIRECTORY_CHANNEL, &piece, 1, &error))
    die("asking", error->message);
}

static void
dial_all(Load *load)
{
  const char *const addresses[] = {load->address, NULL};
  const guint8 nobody[16] = {0};
  LinkOptions link_options = LINK_OPTIONS_DEFAULT;
  link_options.compression = -1;
  g_autoptr(GError) error = NULL;
  for (int i = 0; i < connections; i++) {
    Asker *asker = &load->askers[i];
    asker->own = identity_key_generate();
    asker->link = link_dial(addresses, asker->own, &load->key, nobody, &link_options, &error);
    if (!asker->link)
      die(load->address, error->message);
    ask(load, asker); /* who has not asked within ten seconds is hung up on, and the others may take longer */
  }
}

static void
judge(Load *load, Asker *asker, const LinkMessage *message)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryAnswer) answer = directory_answer_decode(message->data, message->length, &error);
  if (!answer)
    die("an answer", error->message);
  load->answered_bytes += message->length;
  gboolean good = answer->status == DIRECTORY_STATUS(OK);
  if (good && load->what == DIRECTORY_WHAT(LOOKUP) && !answer->found.statement)
    die("an answer", "nothing was found, and that is called good");
  *(good ? &load->ok : &load->refused) += 1;
  if (!good && !*load->refusal)
    g_strlcpy(load->refusal, answer->message ? answer->message : "no words", sizeof load->refusal);
  guint32 us = (guint32)((clock_now_ns() - asker->asked) / 1000);
  g_array_append_val(load->took_us, us);
  asker->asked = 0;
}

static void
work(Load *load, Asker *asker)
{
  g_autoptr(GError) error = NULL;
  if (!link_work(asker->link, &error))
    die("a connection", error ? error->message : "ended");
  g_autoptr(LinkMessage) message = link_take(asker->link);
  if (message)
    judge(load, asker, message);
  else if (asker->asked && clock_now_ns() - asker->asked > ANSWER_MS * 1000000ll)
    die("a connection", "gives no answer");
}

/* FALSE when everything was answered. */
static gboolean
turn(Load *load)
{
  static struct pollfd fds[CONNECTIONS_MAX * LINK_POLL_MAX];
  guint first[CONNECTIONS_MAX + 1], polled = 0, open = 0;
  int timeout = ANSWER_MS;
  for (int i = 0; i < connections; i++) {
    Asker *asker = &load->askers[i];
    if (asker->asked == 0 && !asker->over)
      ask(load, asker);
    open += !asker->over;
    first[i] = polled;
    polled += link_prepare(asker->link, fds + polled, &timeout);
  }
  first[connections] = polled;
  if (open == 0)
    return FALSE;
  int ready = poll(fds, polled, timeout);
  if (ready < 0 && errno != EINTR)
    die("poll", g_strerror(errno));
  for (int i = 0; i < connections; i++) {
    gboolean due = ready == 0; /* then it is time for something, whosever it is */
    for (guint j = first[i]; j < first[i + 1]; j++)
      due = due || fds[j].revents;
    if (due)
      work(load, &load->askers[i]);
  }
  return TRUE;
}

static int
compare_us(gconstpointer a, gconstpointer b)
{
  guint32 x = *(const guint32 *)a, y = *(const guint32 *)b;
  return x < y ? -1 : x > y;
}

static guint64
count_records(Records records)
{
  guint64 number = 0;
  for (GBytes *bytes; (bytes = records_next(&records)); number++)
    g_bytes_unref(bytes);
  return number;
}

static int
load_main(DirectoryWhat what, const char *file, const char *address, const char *key)
{
  g_autofree Load *load = g_new0(Load, 1);
  g_autoptr(GError) error = NULL;
  if (connections < 1 || connections > CONNECTIONS_MAX)
    die("--connections", "1 to 1000");
  if (!identity_public_from_text(key, &load->key, &error))
    die(key, error->message);
  load->what = what;
  load->address = address;
  records_open(&load->records, file);
  guint64 all = count_records(load->records);
  load->left = count > 0 && (what == DIRECTORY_WHAT(LOOKUP) || count < all) ? count : all;
  load->took_us = g_array_new(FALSE, FALSE, sizeof(guint32));
  guint64 asked = load->left;
  double processor_s = processor_seconds();
  gint64 begin = clock_now_ns();
  dial_all(load);
  while (turn(load))
    tell_progress(what == DIRECTORY_WHAT(REGISTER) ? "register" : "look up", load->took_us->len, asked);
  double took = seconds_since(begin);
  processor_s = processor_seconds() - processor_s;
  g_array_sort(load->took_us, compare_us);
  g_autofree char *refusal = g_strescape(load->refusal, NULL);
  guint answers = load->took_us->len;
  printf("{\"answers\": %u, \"ok\": %" G_GUINT64_FORMAT ", \"refused\": %" G_GUINT64_FORMAT
         ", \"refusal\": \"%s\", \"seconds\": %.3f, \"cpu_s\": %.3f, \"per_s\": %.0f, \"median_us\": %u, "
         "\"p99_us\": %u, "
         "\"asked_bytes\": %" G_GUINT64_FORMAT ", \"answered_bytes\": %" G_GUINT64_FORMAT "}\n",
         answers, load->ok, load->refused, refusal, took, processor_s, answers / took,
         g_array_index(load->took_us, guint32, answers / 2),
         g_array_index(load->took_us, guint32, answers - 1 - answers / 100), load->asked_bytes,
         load->answered_bytes);
  for (int i = 0; i < connections; i++) {
    link_free(load->askers[i].link);
    identity_key_free(load->askers[i].own);
  }
  g_array_unref(load->took_us);
  return load->refused > 0;
}

/* ---- what changed */

static DirectoryAnswer *
ask_changes(Link *link, guint64 after)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(CHANGES));
  question->id = after + 1;
  question->number = after;
  question->bytes = DIRECTORY_BULK;
  g_autoptr(GBytes) bytes = directory_question_encode(question);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  struct iovec piece = {(void *)data, length};
  if (!link_send(link, DIRECTORY_CHANNEL, &piece, 1, &error))
    die("asking", error->message);
  g_autoptr(LinkMessage) message = link_await(link, ANSWER_MS, &error);
  DirectoryAnswer *answer = message ? directory_answer_decode(message->data, message->length, &error) : NULL;
  if (!answer)
    die("an answer", error->message);
  if (answer->status != DIRECTORY_STATUS(OK))
    die("changes", answer->message ? answer->message : "refused");
  return answer;
}

static int
changes_main(const char *address, const char *key)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(IdentityKey) own = identity_key_generate();
  IdentityPublic directory;
  if (!identity_public_from_text(key, &directory, &error))
    die(key, error->message);
  const char *const addresses[] = {address, NULL};
  const guint8 nobody[16] = {0};
  LinkOptions link_options = LINK_OPTIONS_DEFAULT; /* compressed, as links are */
  g_autoptr(Link) link = link_dial(addresses, own, &directory, nobody, &link_options, &error);
  if (!link)
    die(address, error->message);
  guint64 entries = 0, records = 0, record_bytes = 0, answers = 0, number = since;
  gint64 begin = clock_now_ns();
  for (gboolean more = TRUE; more; answers++) {
    g_autoptr(DirectoryAnswer) answer = ask_changes(link, number);
    more = answer->more;
    for (guint i = 0; answer->entries && i < answer->entries->len; i++, entries++) {
      const DirectoryLogEntry *entry = &g_array_index(answer->entries, DirectoryLogEntry, i);
      if (entry->number != number + 1)
        die("changes", "are not in their order");
      number = entry->number;
      records += entry->record != NULL;
      record_bytes += entry->record ? g_bytes_get_size(entry->record) : 0;
    }
    if (more && !(answer->entries && answer->entries->len > 0))
      die("changes", "there is more, and nothing comes");
  }
  const LinkCounters *counters = link_counters(link);
  printf("{\"entries\": %" G_GUINT64_FORMAT ", \"records\": %" G_GUINT64_FORMAT
         ", \"record_bytes\": %" G_GUINT64_FORMAT ", \"answers\": %" G_GUINT64_FORMAT
         ", \"wire_bytes\": %" G_GUINT64_FORMAT ", \"newest\": %" G_GUINT64_FORMAT ", \"seconds\": %.3f}\n",
         entries, records, record_bytes, answers, counters->bytes_received, number, seconds_since(begin));
  return 0;
}

int
main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context =
      g_option_context_new("floor | store FILE URI | register|lookup FILE ADDRESS KEY | changes ADDRESS KEY");
  g_option_context_add_main_entries(context, options, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error))
    die("usage", error->message);
  const char *what = argc > 1 ? argv[1] : "";
  if (g_str_equal(what, "floor") && argc == 2)
    return floor_main();
  if (g_str_equal(what, "store") && argc == 4)
    return store_main(argv[2], argv[3]);
  if (g_str_equal(what, "register") && argc == 5)
    return load_main(DIRECTORY_WHAT(REGISTER), argv[2], argv[3], argv[4]);
  if (g_str_equal(what, "lookup") && argc == 5)
    return load_main(DIRECTORY_WHAT(LOOKUP), argv[2], argv[3], argv[4]);
  if (g_str_equal(what, "changes") && argc == 4)
    return changes_main(argv[2], argv[3]);
  die("usage", "--help says how");
}
