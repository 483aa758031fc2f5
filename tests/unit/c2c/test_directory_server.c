/* A directory and its clients: what is registered, what is refused, what is found. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_call.h"
#include "directory_rig.h"

static IdentityKey *own;

static DirectoryResult *
must_find(DirectoryClient *client, const char *user)
{
  g_autoptr(GError) error = NULL;
  DirectoryResult *result = directory_client_whois(client, user, &error);
  g_assert_no_error(error);
  return result;
}

static void
must_not_find(DirectoryClient *client, const char *user, DoppelErrorCode code)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryResult) result = directory_client_whois(client, user, &error);
  g_assert_null(result);
  g_assert_error(error, DOPPEL_ERROR, (int)code);
}

static void
test_register_and_find(void)
{
  g_autoptr(Rig) rig = rig_new(1);
  rig_start(rig);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(Record) first = rig_record(alice, 1, 1);
  must_not_find(client, "alice", DOPPEL_ERROR_NOT_FOUND);
  rig_register(client, first, 1);
  g_autoptr(DirectoryClient) other = rig_client(own, rig, NULL);
  g_autoptr(DirectoryResult) found = must_find(other, "alice");
  g_assert_true(g_bytes_equal(found->record->bytes, first->bytes));
  g_assert_false(found->cached);
  g_assert_true(identity_public_equal(&found->directory, &rig->place.key));
  g_autofree char *key = identity_public_to_text(&first->origin);
  g_autofree char *by_key = g_strconcat("key:", key, NULL);
  g_autoptr(DirectoryResult) same = must_find(other, by_key);
  g_assert_true(g_bytes_equal(same->record->bytes, first->bytes));
  /* Whose answer was lost asks again: the same number. */
  rig_register(client, first, 1);
  /* It has moved. */
  g_autoptr(Record) second = rig_record(alice, 1, 2);
  rig_register(client, second, 2);
  g_autoptr(DirectoryResult) moved = must_find(other, "alice");
  g_assert_true(g_bytes_equal(moved->record->bytes, second->bytes));
  rig_refused(client, first, DIRECTORY_STATUS(STALE));
}

static void
test_names(void)
{
  g_autoptr(Rig) rig = rig_new(2);
  rig_start(rig);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(WorldUser) mallory = rig_user(rig, 200, "alice");
  g_autoptr(Record) hers = rig_record(alice, 1, 1);
  g_autoptr(Record) his = rig_record(mallory, 1, 1);
  rig_register(client, hers, 1);
  rig_refused(client, his, DIRECTORY_STATUS(TAKEN));
  /* Her successor has it, by the recovery phrase. */
  world_succeed(alice, 500, TRUE);
  g_autoptr(Record) succeeded = rig_record(alice, 1, 2);
  rig_register(client, succeeded, 2);
  rig_refused(client, his, DIRECTORY_STATUS(TAKEN));
  /* She takes another: now it is free. */
  alice->binding.name = "alicia";
  g_autoptr(Record) renamed = rig_record(alice, 2, 2);
  rig_register(client, renamed, 3);
  rig_register(client, his, 4);
  g_autoptr(DirectoryResult) found = must_find(client, "alice");
  g_assert_true(identity_public_equal(&found->record->origin, &his->origin));
}

static void
test_refusals(void)
{
  g_autoptr(Rig) rig = rig_new(3);
  g_autoptr(IdentityKey) provider = world_key(104);
  g_autoptr(GArray) providers = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  g_array_append_val(providers, *identity_key_public(provider));
  rig->options.providers = providers;
  rig_start(rig);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(WorldUser) elsewhere = rig_user(rig, 300, "carol"); /* of another provider */
  g_autoptr(Record) good = rig_record(alice, 1, 1);
  g_autoptr(Record) foreign = rig_record(elsewhere, 1, 1);
  rig_refused(client, foreign, DIRECTORY_STATUS(FOREIGN));
  rig_register(client, good, 1);
  alice->binding.expires = WORLD_TIME - 10;
  alice->binding.issued = WORLD_TIME - 20;
  g_autoptr(Record) expired = rig_record(alice, 2, 2);
  rig_refused(client, expired, DIRECTORY_STATUS(EXPIRED));
  rig_stop(rig); /* before `providers` goes */
}

/* What no client of ours would send. */
static DirectoryStatus
register_raw(Rig *rig, GBytes *record)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryCall) call = directory_call_new(&rig->place, own, NULL, 60000, &error);
  g_assert_no_error(error);
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(REGISTER));
  question->record = g_bytes_ref(record);
  g_autoptr(DirectoryAnswer) answer = directory_call_ask(call, question, 60000, NULL, &error);
  g_assert_no_error(error);
  return answer->status;
}

static void
test_forged(void)
{
  g_autoptr(Rig) rig = rig_new(4);
  g_autoptr(Rig) other = rig_new(5);
  rig_start(rig);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(WorldUser) abroad = rig_user(other, 400, "bob");
  g_autoptr(Record) good = rig_record(alice, 1, 1);
  g_autoptr(Record) foreign = rig_record(abroad, 1, 1);
  g_assert_cmpint(register_raw(rig, foreign->bytes), ==, DIRECTORY_STATUS(FOREIGN));
  gsize length;
  const guint8 *bytes = g_bytes_get_data(good->bytes, &length);
  guint refused = 0;
  for (gsize at = 0; at < length; at += 7) {
    g_autofree guint8 *forged = g_memdup2(bytes, length);
    forged[at] ^= 1;
    g_autoptr(GBytes) record = g_bytes_new(forged, length);
    DirectoryStatus status = register_raw(rig, record);
    g_assert_true(status == DIRECTORY_STATUS(UNPROVED) || status == DIRECTORY_STATUS(MALFORMED));
    refused++;
  }
  g_assert_cmpuint(refused, >, 50);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  must_not_find(client, "alice", DOPPEL_ERROR_NOT_FOUND);
}

static void
test_list(void)
{
  g_autoptr(Rig) rig = rig_new(6);
  rig_start(rig);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  for (guint i = 0; i < 11; i++) {
    g_autofree char *name = g_strdup_printf("user%u", i);
    g_autoptr(WorldUser) user = rig_user(rig, 1000 + 10 * i, name);
    g_autoptr(Record) record = rig_record(user, 1, 1);
    rig_register(client, record, i + 1);
  }
  IdentityPublic after, *from = NULL;
  gboolean more = TRUE;
  guint seen = 0;
  while (more) {
    g_autoptr(GError) error = NULL;
    g_auto(DirectoryHead) head = {0};
    g_autoptr(GPtrArray) page = directory_client_list(client, from, 4, &more, &head, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(head.state.number, ==, 11);
    for (guint i = 0; i < page->len; i++) {
      const DirectoryResult *result = page->pdata[i];
      g_assert_true(!from || memcmp(result->record->origin.bytes, after.bytes, sizeof after.bytes) > 0);
      after = result->record->origin;
      from = &after;
      seen++;
    }
  }
  g_assert_cmpuint(seen, ==, 11);
}

/* The log can be recomputed by everybody, to exactly the heads that are signed. */
static void
test_changes(void)
{
  g_autoptr(Rig) rig = rig_new(7);
  rig_start(rig);
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  for (guint i = 1; i <= 9; i++) {
    g_autoptr(Record) record = rig_record(alice, 1, i);
    rig_register(client, record, i);
  }
  g_autoptr(DirectoryCall) call = directory_call_new(&rig->place, own, NULL, 60000, &error);
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(CHANGES));
  g_auto(DirectoryHead) head = {0};
  g_autoptr(DirectoryAnswer) answer = directory_call_ask(call, question, 60000, &head, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(answer->entries->len, ==, 9);
  DirectoryState state = {0};
  for (guint i = 0; i < 9; i++) {
    const DirectoryLogEntry *entry = &g_array_index(answer->entries, DirectoryLogEntry, i);
    directory_chain_extend(&state, entry->hash);
    g_assert_null(entry->record);
    g_autoptr(DirectoryQuestion) at = directory_question_new(DIRECTORY_WHAT(HEAD));
    at->number = i + 1;
    g_auto(DirectoryHead) then = {0};
    g_autoptr(DirectoryAnswer) told = directory_call_ask(call, at, 60000, &then, &error);
    g_assert_no_error(error);
    g_assert_true(directory_state_equal(&then.state, &state));
  }
  g_assert_true(directory_state_equal(&head.state, &state));
  question->bytes = 100000;
  g_autoptr(DirectoryAnswer) whole = directory_call_ask(call, question, 60000, NULL, &error);
  for (guint i = 0; i < 9; i++)
    g_assert_true((g_array_index(whole->entries, DirectoryLogEntry, i).record != NULL) == (i == 8));
  question->number = 10;
  g_autoptr(DirectoryAnswer) beyond = directory_call_ask(call, question, 60000, NULL, &error);
  g_assert_cmpint(beyond->status, ==, DIRECTORY_STATUS(UNKNOWN));
}

/* Who knows a record goes on knowing it while all directories are away. */
static void
test_away(void)
{
  g_autoptr(Rig) rig = rig_new(8);
  rig_start(rig);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(Record) record = rig_record(alice, 1, 1);
  rig_register(client, record, 1);
  g_autoptr(DirectoryResult) fresh = must_find(client, "alice");
  g_assert_false(fresh->cached);
  rig_stop(rig);
  g_autoptr(DirectoryResult) cached = must_find(client, "alice");
  g_assert_true(cached->cached);
  g_assert_cmpint(cached->told, ==, fresh->told);
  g_assert_true(g_bytes_equal(cached->record->bytes, record->bytes));
  must_not_find(client, "bob", DOPPEL_ERROR_GONE);
  rig_start(rig);
  /* Who was away is waited for a second, of which a busy machine needs more. */
  gboolean cached_again = TRUE;
  for (guint i = 0; i < 60 && cached_again; i++) {
    g_autoptr(DirectoryResult) again = must_find(client, "alice");
    cached_again = again->cached;
  }
  g_assert_false(cached_again);
}

/* Asked in turn; and what a peer showed that is newer than what a directory says is not forgotten. */
static void
test_withholding(void)
{
  g_autoptr(Rig) rig = rig_new(9);
  g_autoptr(Rig) second = rig_new(10);
  rig_start(rig);
  rig_start(second);
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryClient) client = rig_client(own, rig, second, NULL);
  g_autoptr(WorldUser) bob = rig_user(second, 200, "bob");
  g_autoptr(Record) his = rig_record(bob, 1, 1);
  rig_register(client, his, 1);
  g_autoptr(DirectoryClient) other = rig_client(own, rig, second, NULL);
  g_autoptr(DirectoryResult) found = must_find(other, "bob");
  g_assert_true(identity_public_equal(&found->directory, &second->place.key));

  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  Record *newer = NULL;
  g_autoptr(Record) old = rig_record(alice, 1, 1);
  g_autoptr(Record) new = rig_record(alice, 1, 2);
  rig_register(client, old, 1);
  g_assert_true(directory_client_learn(other, new, NULL, &error));
  g_autoptr(DirectoryResult) hers = must_find(other, "alice");
  g_assert_true(g_bytes_equal(hers->record->bytes, new->bytes));
  g_assert_true(hers->cached);
  g_assert_false(directory_client_learn(other, old, &newer, &error));
  g_assert_no_error(error);
  g_assert_true(g_bytes_equal(newer->bytes, new->bytes));
  record_unref(newer);
}

/* The same name at two directories: the own home's, or said which. */
static void
test_two_homes(void)
{
  g_autoptr(Rig) rig = rig_new(11);
  g_autoptr(Rig) second = rig_new(12);
  rig_start(rig);
  rig_start(second);
  rig->place.name = (char *)"here";
  second->place.name = (char *)"there";
  g_autoptr(DirectoryClient) client = rig_client(own, rig, second, NULL);
  g_autoptr(WorldUser) one = rig_user(rig, 100, "alice");
  g_autoptr(WorldUser) two = rig_user(second, 200, "alice");
  g_autoptr(Record) a = rig_record(one, 1, 1);
  g_autoptr(Record) b = rig_record(two, 1, 1);
  rig_register(client, a, 1);
  rig_register(client, b, 1);
  g_autoptr(DirectoryResult) mine = must_find(client, "alice");
  g_assert_true(identity_public_equal(&mine->record->origin, &a->origin));
  g_autoptr(DirectoryResult) theirs = must_find(client, "there/alice");
  g_assert_true(identity_public_equal(&theirs->record->origin, &b->origin));
  must_not_find(client, "nowhere/alice", DOPPEL_ERROR_USAGE);
}

static gboolean
contradicted(DirectoryClient *client)
{
  g_autoptr(GError) error = NULL;
  gboolean good = directory_client_watch(client, &error);
  g_assert_true(good == (error == NULL));
  return !good;
}

static void
show_heads(DirectoryClient *from, DirectoryClient *to)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GArray) heads = directory_client_heads(from);
  for (guint i = 0; i < heads->len; i++) {
    directory_client_saw_head(to, &g_array_index(heads, DirectoryHead, i).proof, &error);
    g_assert_no_error(error);
  }
}

/* Two servers with one key are a directory that shows two lists. */
static void
test_equivocation(void)
{
  g_autoptr(Rig) rig = rig_new(13);
  g_autoptr(Rig) lying = rig_new(13);
  rig_start(rig);
  rig_start(lying);
  g_autoptr(DirectoryClient) alice_sees = rig_client(own, rig, NULL);
  g_autoptr(DirectoryClient) bob_sees = rig_client(own, lying, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(WorldUser) mallory = rig_user(rig, 200, "alice");
  g_autoptr(Record) hers = rig_record(alice, 1, 1);
  g_autoptr(Record) his = rig_record(mallory, 1, 1);
  rig_register(alice_sees, hers, 1);
  rig_register(bob_sees, his, 1);
  g_assert_false(contradicted(alice_sees));
  g_assert_false(contradicted(bob_sees));
  /* They meet. */
  show_heads(alice_sees, bob_sees);
  g_assert_true(contradicted(bob_sees));
  g_autoptr(GPtrArray) evidence = directory_client_evidence(bob_sees, NULL);
  g_assert_cmpuint(evidence->len, ==, 1);
  const DirectoryEvidence *proof = evidence->pdata[0];
  /* Which convinces everybody. */
  g_auto(DirectoryHead) a = {0};
  g_auto(DirectoryHead) b = {0};
  g_assert_true(directory_head_verify(&proof->first, &rig->place.key, &a, NULL));
  g_assert_true(directory_head_verify(&proof->second, &rig->place.key, &b, NULL));
  g_assert_cmpuint(a.state.number, ==, b.state.number);
  g_assert_cmpint(memcmp(a.state.chain, b.state.chain, sizeof a.state.chain), !=, 0);
  g_assert_true(directory_client_is_marked(bob_sees, &rig->place.key));
}

/* Of different lengths only the directory itself can say how one list becomes the other. */
static void
test_equivocation_of_other_length(void)
{
  g_autoptr(Rig) rig = rig_new(14);
  g_autoptr(Rig) lying = rig_new(14);
  rig_start(rig);
  rig_start(lying);
  g_autoptr(DirectoryClient) alice_sees = rig_client(own, rig, NULL);
  g_autoptr(DirectoryClient) bob_sees = rig_client(own, lying, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(WorldUser) mallory = rig_user(rig, 200, "alice");
  g_autoptr(Record) his = rig_record(mallory, 1, 1);
  g_autoptr(DirectoryClient) before = rig_client(own, rig, NULL);
  for (guint i = 1; i <= 5; i++) {
    g_autoptr(Record) hers = rig_record(alice, 1, i);
    rig_register(i < 5 ? before : alice_sees, hers, i);
  }
  rig_register(bob_sees, his, 1);
  show_heads(bob_sees, alice_sees);
  g_assert_true(contradicted(alice_sees));
}

/* An honest directory that goes on is never accused. */
static void
test_honest_growth(void)
{
  g_autoptr(Rig) rig = rig_new(15);
  rig_start(rig);
  g_autoptr(DirectoryClient) early = rig_client(own, rig, NULL);
  g_autoptr(DirectoryClient) late = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  for (guint i = 1; i <= 30; i++) {
    g_autoptr(Record) record = rig_record(alice, 1, i);
    rig_register(i % 3 ? early : late, record, i);
    if (i % 7 == 0) {
      show_heads(early, late);
      show_heads(late, early);
      g_assert_false(contradicted(late));
    }
    if (i == 20) {
      rig_stop(rig);
      rig_start(rig);
    }
  }
  g_assert_false(contradicted(early));
  g_assert_false(contradicted(late));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  /* Contradictions are warned of; that is no failure here. */
  g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL | G_LOG_FLAG_FATAL);
  clock_shift_unix_time(WORLD_TIME + 10 - clock_unix_time());
  own = world_key(7777);
  g_test_add_func("/directory/server/register-and-find", test_register_and_find);
  g_test_add_func("/directory/server/names", test_names);
  g_test_add_func("/directory/server/refusals", test_refusals);
  g_test_add_func("/directory/server/forged", test_forged);
  g_test_add_func("/directory/server/list", test_list);
  g_test_add_func("/directory/server/changes", test_changes);
  g_test_add_func("/directory/client/away", test_away);
  g_test_add_func("/directory/client/withholding", test_withholding);
  g_test_add_func("/directory/client/two-homes", test_two_homes);
  g_test_add_func("/directory/client/equivocation", test_equivocation);
  g_test_add_func("/directory/client/equivocation-of-other-length", test_equivocation_of_other_length);
  g_test_add_func("/directory/client/honest-growth", test_honest_growth);
  int status = g_test_run();
  identity_key_free(own);
  return status;
}
