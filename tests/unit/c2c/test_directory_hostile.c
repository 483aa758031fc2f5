/* Directories that lie, and clients that do not behave. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_call.h"
#include "directory_rig.h"

static IdentityKey *own;

/* What the twisted handlers answer with. */
static GBytes *shown;
static IdentityKey *signer;
static const char *about;
static gint64 shift;

static gboolean
twisted_lookup(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  g_autoptr(GPtrArray) records = g_ptr_array_new();
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(LOOKUP));
  g_free(question->name);
  question->name = g_strdup(about ? about : task->question->name);
  g_ptr_array_add(records, shown);
  directory_task_answer(task, DIRECTORY_STATUS(OK), NULL);
  task->answer->found = directory_found_sign(signer ? signer : directory_server_key(task->server), question,
                                             records, state->number, clock_unix_time() + shift);
  return TRUE;
}

/* A page of these records. */
static GPtrArray *page_shown;

static gboolean
twisted_list(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  directory_task_answer(task, DIRECTORY_STATUS(OK), NULL);
  task->answer->found = directory_found_sign(directory_server_key(task->server), task->question, page_shown,
                                             state->number, clock_unix_time());
  return TRUE;
}

/* A list that takes as long as a test wants. */
static gint listing, held;

static gboolean
slow_list(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  g_atomic_int_set(&listing, TRUE);
  while (g_atomic_int_get(&held))
    g_usleep(1000);
  directory_task_answer(task, DIRECTORY_STATUS(UNKNOWN), NULL);
  return TRUE;
}

static gboolean
never_registers(DirectoryTask *task)
{
  directory_task_answer(task, DIRECTORY_STATUS(OK), NULL);
  DirectoryState state = {0};
  task->answer->number = 1;
  task->answer->head = directory_head_sign(directory_server_key(task->server), &state, clock_unix_time());
  return FALSE;
}

static gint dripped;

static gboolean
drip_changes(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  DirectoryLogEntry entry = {.number = task->question->number + 1};
  g_usleep(20000);
  g_atomic_int_inc(&dripped);
  directory_task_answer(task, DIRECTORY_STATUS(OK), NULL);
  task->answer->entries = directory_entries_new();
  g_array_append_val(task->answer->entries, entry);
  task->answer->more = TRUE;
  return TRUE;
}

static const DirectoryHandler dripping[] = {
    {.what = DIRECTORY_WHAT(CHANGES), .price = 1, .read = drip_changes},
};
static const DirectoryHandler lying[] = {
    {.what = DIRECTORY_WHAT(LOOKUP), .price = 1, .read = twisted_lookup},
};
static const DirectoryHandler listing_what_it_likes[] = {
    {.what = DIRECTORY_WHAT(LIST), .price = 1, .read = twisted_list},
};
static const DirectoryHandler forgetful[] = {
    {.what = DIRECTORY_WHAT(REGISTER), .price = 1, .verify = never_registers},
};
static const DirectoryHandler slow[] = {
    {.what = DIRECTORY_WHAT(LIST), .price = 1, .read = slow_list},
};

static Rig *
twisted_rig(guint number, const DirectoryHandler *handlers)
{
  Rig *rig = rig_new(number);
  rig->options.handlers = handlers;
  rig->options.handlers_count = 1;
  shown = NULL;
  signer = NULL;
  about = NULL;
  shift = 0;
  g_atomic_int_set(&listing, FALSE);
  g_atomic_int_set(&held, TRUE);
  rig_start(rig);
  return rig;
}

static void
must_fail(DirectoryClient *client, const char *user, DoppelErrorCode code)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryResult) result = directory_client_whois(client, user, &error);
  g_assert_null(result);
  g_assert_error(error, DOPPEL_ERROR, (int)code);
}

static void
test_somebody_else(void)
{
  g_autoptr(Rig) rig = twisted_rig(20, lying);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) mallory = rig_user(rig, 200, "mallory");
  g_autoptr(Record) his = rig_record(mallory, 1, 1);
  shown = his->bytes;
  must_fail(client, "alice", DOPPEL_ERROR_HOSTILE);
}

static void
test_forged_record(void)
{
  g_autoptr(Rig) rig = twisted_rig(21, lying);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(Record) hers = rig_record(alice, 1, 1);
  gsize length;
  const void *bytes = g_bytes_get_data(hers->bytes, &length);
  g_autofree guint8 *forged = g_memdup2(bytes, length);
  forged[length - 1] ^= 1;
  g_autoptr(GBytes) wrong = g_bytes_new(forged, length);
  shown = wrong;
  must_fail(client, "alice", DOPPEL_ERROR_DENIED);
}

/* A record of before is true; but who has seen a newer one is not taken in. */
static void
test_replayed_record(void)
{
  g_autoptr(Rig) rig = twisted_rig(22, lying);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(Record) old = rig_record(alice, 1, 1);
  g_autoptr(Record) new = rig_record(alice, 1, 2);
  shown = new->bytes;
  g_autoptr(DirectoryResult) first = directory_client_whois(client, "alice", NULL);
  g_assert_nonnull(first);
  shown = old->bytes;
  g_autoptr(DirectoryResult) second = directory_client_whois(client, "alice", NULL);
  g_assert_true(g_bytes_equal(second->record->bytes, new->bytes));
  g_assert_true(second->cached);
  g_autoptr(Record) known = directory_client_known(client, &new->origin);
  g_assert_true(g_bytes_equal(known->bytes, new->bytes));
  /* Both are signed by the directory: it has told the newer one before. */
  g_autoptr(GPtrArray) complaints = directory_client_complaints(client, &new->origin, NULL);
  g_assert_cmpuint(complaints->len, ==, 1);
  const DirectoryComplaint *complaint = complaints->pdata[0];
  g_assert_cmpint(complaint->kind, ==, DIRECTORY_OLDER);
  g_assert_true(identity_public_equal(&complaint->directory, &rig->place.key));
  g_autoptr(GPtrArray) evidence = directory_client_evidence(client, NULL);
  g_assert_cmpuint(evidence->len, ==, 1);
  const DirectoryEvidence *proof = evidence->pdata[0];
  g_autoptr(DirectoryFound) one = directory_found_verify(&proof->first, &rig->place.key, NULL, NULL);
  g_autoptr(DirectoryFound) two = directory_found_verify(&proof->second, &rig->place.key, NULL, NULL);
  g_assert_true(g_bytes_equal(one->records->pdata[0], new->bytes));
  g_assert_true(g_bytes_equal(two->records->pdata[0], old->bytes));
  g_assert_cmpuint(two->number, >=, one->number);
  /* It tells what is right again. The proof stays. */
  shown = new->bytes;
  g_autoptr(DirectoryResult) third = directory_client_whois(client, "alice", NULL);
  g_assert_false(third->cached);
  g_autoptr(GPtrArray) none = directory_client_complaints(client, NULL, NULL);
  g_assert_cmpuint(none->len, ==, 0);
  g_assert_true(directory_client_is_marked(client, &rig->place.key));
}

static void
test_wrong_statements(void)
{
  g_autoptr(Rig) rig = twisted_rig(23, lying);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(Record) hers = rig_record(alice, 1, 1);
  shown = hers->bytes;
  signer = own; /* not the directory */
  must_fail(client, "alice", DOPPEL_ERROR_DENIED);
  signer = NULL;
  about = "bob"; /* an answer to another question */
  must_fail(client, "alice", DOPPEL_ERROR_HOSTILE);
  about = NULL;
  shift = -3 * 24 * 3600; /* or of another time */
  must_fail(client, "alice", DOPPEL_ERROR_DENIED);
  shift = 3 * 24 * 3600;
  must_fail(client, "alice", DOPPEL_ERROR_DENIED);
  shift = 0;
  g_autoptr(DirectoryResult) good = directory_client_whois(client, "alice", NULL);
  g_assert_nonnull(good);
}

/* One that lies is passed over where another is known. */
static void
test_next_directory(void)
{
  g_autoptr(Rig) rig = twisted_rig(24, lying);
  g_autoptr(Rig) honest = rig_new(25);
  rig_start(honest);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, honest, NULL);
  g_autoptr(WorldUser) mallory = rig_user(rig, 200, "mallory");
  g_autoptr(Record) his = rig_record(mallory, 1, 1);
  g_autoptr(WorldUser) alice = rig_user(honest, 100, "alice");
  g_autoptr(Record) hers = rig_record(alice, 1, 1);
  shown = his->bytes;
  rig_register(client, hers, 1);
  g_autoptr(DirectoryResult) found = directory_client_whois(client, "alice", NULL);
  g_assert_nonnull(found);
  g_assert_true(identity_public_equal(&found->record->origin, &hers->origin));
}

static void
test_forgetful(void)
{
  g_autoptr(Rig) rig = twisted_rig(26, forgetful);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(Record) hers = rig_record(alice, 1, 1);
  g_autoptr(GError) error = NULL;
  guint64 number;
  g_assert_false(directory_client_register(client, hers, &number, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

/* Nobody is twice in a list, nor does it go back to whom was listed before; and whoever is known by a newer
 * record is shown with that one. */
static void
test_lists(void)
{
  g_autoptr(Rig) rig = twisted_rig(32, listing_what_it_likes);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(WorldUser) bob = rig_user(rig, 200, "bob");
  g_autoptr(Record) old = rig_record(alice, 1, 1);
  g_autoptr(Record) new = rig_record(alice, 1, 2);
  g_autoptr(Record) his = rig_record(bob, 1, 1);
  gboolean ordered = memcmp(new->origin.bytes, his->origin.bytes, sizeof his->origin.bytes) < 0;
  Record *low = ordered ? new : his, *high = ordered ? his : new;
  const struct {
    Record *records[2];
    const IdentityPublic *after;
    gboolean good;
  } pages[] = {{{low, high}, NULL, TRUE},          {{high, low}, NULL, FALSE},   {{new, old}, NULL, FALSE},
               {{low, low}, NULL, FALSE},          {{high}, &low->origin, TRUE}, {{low}, &low->origin, FALSE},
               {{low, high}, &low->origin, FALSE}, {{old}, NULL, TRUE}};
  for (guint i = 0; i < G_N_ELEMENTS(pages); i++) {
    g_autoptr(GPtrArray) bytes = g_ptr_array_new();
    for (guint k = 0; k < 2 && pages[i].records[k]; k++)
      g_ptr_array_add(bytes, pages[i].records[k]->bytes);
    page_shown = bytes;
    g_autoptr(GError) error = NULL;
    gboolean more;
    g_autoptr(GPtrArray) page = directory_client_list(client, pages[i].after, 10, &more, NULL, &error);
    if (!pages[i].good) {
      g_assert_null(page);
      g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
      continue;
    }
    g_assert_no_error(error);
    g_assert_cmpuint(page->len, ==, bytes->len);
    const DirectoryResult *result = page->pdata[0];
    gboolean newer = pages[i].records[0] == old;
    g_assert_cmpint(result->cached, ==, newer);
    g_assert_true(g_bytes_equal(result->record->bytes, newer ? new->bytes : bytes->pdata[0]));
  }
}

static gpointer
list_slowly(gpointer data)
{
  g_autoptr(DirectoryClient) client = rig_client(own, (Rig *)data, NULL);
  gboolean more;
  g_autoptr(GPtrArray) page = directory_client_list(client, NULL, 10, &more, NULL, NULL);
  return NULL;
}

/* A question that takes the store long holds up nobody who registers or looks up. */
static void
test_no_waiting(void)
{
  g_autoptr(Rig) rig = twisted_rig(27, slow);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  GThread *thread = g_thread_new("slow", list_slowly, rig);
  for (guint i = 0; !g_atomic_int_get(&listing); i++) {
    g_assert_cmpuint(i, <, 6000);
    g_usleep(10000);
  }
  for (guint i = 1; i <= 5; i++) {
    g_autoptr(Record) hers = rig_record(alice, 1, i);
    rig_register(client, hers, i);
    g_autoptr(DirectoryResult) found = directory_client_whois(client, "alice", NULL);
    g_assert_nonnull(found);
  }
  g_atomic_int_set(&held, FALSE);
  g_thread_join(thread);
}

/* Who says one entry at a time of a list that is very long holds nobody for longer than a few questions. */
static void
test_dripping(void)
{
  g_autoptr(Rig) rig = twisted_rig(31, dripping);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryResult) nobody = directory_client_whois(client, "alice", NULL);
  g_assert_null(nobody);
  DirectoryState far = {.number = 1000000, .chain = {1}};
  DirectorySigned head = directory_head_sign(rig->options.key, &far, clock_unix_time());
  g_assert_true(directory_client_saw_head(client, &head, &error));
  directory_signed_clear(&head);
  directory_client_set_timeout(client, 500);
  /* Half a second for an answer may be too little on a busy machine. */
  for (guint i = 0; i < 20 && g_atomic_int_get(&dripped) < 2; i++) {
    gint64 began = clock_now_ns();
    directory_client_watch(client, NULL);
    /* One question after another it would be half an hour. */
    g_assert_cmpint(clock_now_ns() - began, <, 60 * G_GINT64_CONSTANT(1000000000));
  }
  g_assert_cmpint(g_atomic_int_get(&dripped), >, 1);
  g_autoptr(GPtrArray) evidence = directory_client_evidence(client, NULL);
  g_assert_cmpuint(evidence->len, ==, 0);
}

static Link *
dial(Rig *rig)
{
  static const guint8 nobody[WIRE_ID_LENGTH];
  const char *const addresses[] = {rig->place.address, NULL};
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = 0;
  g_autoptr(GError) error = NULL;
  Link *link = link_dial(addresses, own, &rig->place.key, nobody, &options, &error);
  g_assert_no_error(error);
  return link;
}

static void
say(Link *link, guint32 channel, const void *data, gsize length)
{
  link_send(link, channel, &(struct iovec){(void *)data, length}, 1, NULL);
}

static gboolean
is_hung_up(Link *link)
{
  g_autoptr(GError) error = NULL;
  for (;;) {
    g_autoptr(LinkMessage) message = link_await(link, 60000, &error);
    if (!message)
      return link_state(link) == LINK_DEAD;
  }
}

static void
test_pipelining(void)
{
  g_autoptr(Rig) rig = twisted_rig(28, slow);
  g_autoptr(Link) link = dial(rig);
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(LIST));
  question->count = 1;
  g_autoptr(GBytes) bytes = directory_question_encode(question);
  for (guint i = 0; i < 3; i++)
    say(link, DIRECTORY_CHANNEL, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
  g_assert_true(is_hung_up(link));
  g_atomic_int_set(&held, FALSE);
}

static void
test_long_message(void)
{
  g_autoptr(Rig) rig = twisted_rig(29, slow);
  g_autoptr(Link) link = dial(rig);
  g_autofree guint8 *noise = g_malloc(DIRECTORY_QUESTION_MAX * 2);
  for (guint i = 0; i < DIRECTORY_QUESTION_MAX * 2; i++)
    noise[i] = (guint8)g_test_rand_int();
  say(link, DIRECTORY_CHANNEL, noise, DIRECTORY_QUESTION_MAX * 2);
  g_assert_true(is_hung_up(link));
}

static void
test_nonsense(void)
{
  g_autoptr(Rig) rig = twisted_rig(30, slow);
  g_autoptr(Link) link = dial(rig);
  for (guint i = 0; i < 3; i++) {
    say(link, i == 2 ? 7 : DIRECTORY_CHANNEL, "nonsense", i == 1 ? 0 : 8);
    g_autoptr(LinkMessage) message = link_await(link, 60000, NULL);
    g_assert_nonnull(message);
    g_autoptr(DirectoryAnswer) answer = directory_answer_decode(message->data, message->length, NULL);
    g_assert_nonnull(answer);
    g_assert_cmpint(answer->status, ==, DIRECTORY_STATUS(MALFORMED));
  }
}

/* Who asks more than their share is told so, and others are not. */
static void
test_rate(void)
{
  g_autoptr(Rig) rig = rig_new(31);
  rig->options.rate = 10;
  rig_start(rig);
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryCall) call = directory_call_new(&rig->place, own, NULL, 60000, &error);
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(HEAD));
  guint busy = 0, good = 0;
  guint asked = 0;
  for (; asked < 200 || (busy == 0 && asked < 5000); asked++) {
    g_autoptr(DirectoryAnswer) answer = directory_call_ask(call, question, 60000, NULL, &error);
    g_assert_no_error(error);
    good += answer->status == DIRECTORY_STATUS(OK);
    busy += answer->status == DIRECTORY_STATUS(BUSY);
  }
  g_assert_cmpuint(good, >=, 40);
  g_assert_cmpuint(busy, >, 0);
  g_assert_cmpuint(good + busy, ==, asked);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  /* Contradictions are warned of; that is no failure here. */
  g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL | G_LOG_FLAG_FATAL);
  clock_shift_unix_time(WORLD_TIME + 10 - clock_unix_time());
  own = world_key(7777);
  g_test_add_func("/directory/hostile/somebody-else", test_somebody_else);
  g_test_add_func("/directory/hostile/forged-record", test_forged_record);
  g_test_add_func("/directory/hostile/replayed-record", test_replayed_record);
  g_test_add_func("/directory/hostile/wrong-statements", test_wrong_statements);
  g_test_add_func("/directory/hostile/next-directory", test_next_directory);
  g_test_add_func("/directory/hostile/forgetful", test_forgetful);
  g_test_add_func("/directory/hostile/lists", test_lists);
  g_test_add_func("/directory/hostile/no-waiting", test_no_waiting);
  g_test_add_func("/directory/hostile/dripping", test_dripping);
  g_test_add_func("/directory/hostile/pipelining", test_pipelining);
  g_test_add_func("/directory/hostile/long-message", test_long_message);
  g_test_add_func("/directory/hostile/nonsense", test_nonsense);
  g_test_add_func("/directory/hostile/rate", test_rate);
  int status = g_test_run();
  identity_key_free(own);
  return status;
}
