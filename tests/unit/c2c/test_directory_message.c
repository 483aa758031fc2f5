/* What is asked and answered: as it was said, within its limits, or not at all. */
#include <string.h>

#include "base/error.h"
#include "c2c/directory_head.h"
#include "link/budget.h"

static DirectoryQuestion *
through(const DirectoryQuestion *question, GError **error)
{
  g_autoptr(GBytes) bytes = directory_question_encode(question);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return directory_question_decode(data, length, error);
}

static void
must_pass(const DirectoryQuestion *question)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryQuestion) same = through(question, &error);
  g_assert_no_error(error);
  g_autoptr(GBytes) before = directory_question_encode(question);
  g_autoptr(GBytes) after = directory_question_encode(same);
  g_assert_true(g_bytes_equal(before, after));
}

static void
must_not_pass(const DirectoryQuestion *question)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryQuestion) same = through(question, &error);
  g_assert_null(same);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
set_name(DirectoryQuestion *question, const char *name)
{
  g_free(question->name);
  question->name = g_strdup(name);
}

static void
test_lookup(void)
{
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(LOOKUP));
  question->id = 77;
  set_name(question, "alice@example.org");
  must_pass(question);
  question->has_home = TRUE;
  must_pass(question);
  question->by_origin = TRUE; /* and a name */
  must_not_pass(question);
  set_name(question, "");
  must_pass(question);
  question->by_origin = FALSE; /* neither */
  must_not_pass(question);
  static const char *const wrong[] = {"Alice", "a b", "a/b", "key:x", "a\n", "\xc3("};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    set_name(question, wrong[i]);
    must_not_pass(question);
  }
  g_autofree char *name = g_strnfill(RECORD_NAME_MAX + 1, 'a');
  set_name(question, name);
  must_not_pass(question);
}

static void
test_limits(void)
{
  g_autofree guint8 *room = g_malloc0(RECORD_MAX + 1);
  g_autoptr(DirectoryQuestion) record = directory_question_new(DIRECTORY_WHAT(REGISTER));
  must_not_pass(record);
  record->record = g_bytes_new(room, RECORD_MAX);
  must_pass(record);
  g_bytes_unref(record->record);
  record->record = g_bytes_new(room, RECORD_MAX + 1);
  must_not_pass(record);

  g_autoptr(DirectoryQuestion) list = directory_question_new(DIRECTORY_WHAT(LIST));
  must_not_pass(list);
  list->count = DIRECTORY_PAGE_MAX;
  must_pass(list);
  list->count++;
  must_not_pass(list);

  g_autoptr(DirectoryQuestion) bucket = directory_question_new(DIRECTORY_WHAT(BUCKET));
  bucket->bucket = DIRECTORY_BUCKETS - 1;
  must_pass(bucket);
  bucket->bucket++;
  must_not_pass(bucket);

  g_autoptr(DirectoryQuestion) fetch = directory_question_new(DIRECTORY_WHAT(FETCH));
  must_not_pass(fetch);
  fetch->origins = g_array_new(FALSE, TRUE, sizeof(IdentityPublic));
  g_array_set_size(fetch->origins, DIRECTORY_FETCH_MAX);
  must_pass(fetch);
  g_array_set_size(fetch->origins, DIRECTORY_FETCH_MAX + 1);
  must_not_pass(fetch);

  g_autoptr(DirectoryQuestion) updates = directory_question_new(DIRECTORY_WHAT(UPDATES));
  must_not_pass(updates);
  updates->updates = directory_updates_new();
  for (guint i = 0; i <= DIRECTORY_UPDATES_MAX; i++) {
    DirectorySigned one = {.statement = g_bytes_new("x", 1)};
    g_array_append_val(updates->updates, one);
    if (i < DIRECTORY_UPDATES_MAX)
      must_pass(updates);
  }
  must_not_pass(updates);

  /* No more of the log at once, whatever is asked for. */
  g_autoptr(DirectoryQuestion) changes = directory_question_new(DIRECTORY_WHAT(CHANGES));
  changes->bytes = G_MAXUINT32;
  g_autoptr(DirectoryQuestion) fewer = through(changes, NULL);
  g_assert_cmpuint(fewer->bytes, ==, DIRECTORY_BULK);
}

static void
test_answers(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryAnswer) answer =
      directory_answer_new(DIRECTORY_STATUS(FAILED), "bad \x1b[31m words \xff");
  answer->id = 5;
  g_autoptr(GBytes) bytes = directory_answer_encode(answer);
  g_autoptr(DirectoryAnswer) same =
      directory_answer_decode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &error);
  g_assert_no_error(error);
  g_assert_cmpuint(same->id, ==, 5);
  /* What a directory says cannot steer a terminal. */
  g_assert_null(strchr(same->message, '\x1b'));
  g_assert_nonnull(strstr(same->message, "words"));
  g_assert_false(directory_answer_refusal(same, "D", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  answer->status = (DirectoryStatus)99;
  g_autoptr(GBytes) wrong = directory_answer_encode(answer);
  g_assert_null(directory_answer_decode(g_bytes_get_data(wrong, NULL), g_bytes_get_size(wrong), NULL));
}

static void
test_long_words(void)
{
  /* Cut within a letter of two bytes. */
  g_autofree char *words = g_strnfill(DIRECTORY_MESSAGE_MAX - 1, 'a');
  g_autofree char *longer = g_strconcat(words, "\xc3\xa4\xc3\xa4", NULL);
  g_autoptr(DirectoryAnswer) answer = directory_answer_new(DIRECTORY_STATUS(FAILED), longer);
  g_autoptr(GBytes) bytes = directory_answer_encode(answer);
  g_autoptr(DirectoryAnswer) same =
      directory_answer_decode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), NULL);
  g_assert_nonnull(same);
}

static void
test_heads(void)
{
  static const guint8 seeds[2][IDENTITY_SEED_LENGTH] = {{1}, {2}};
  g_autoptr(GError) error = NULL;
  g_autoptr(IdentityKey) key = identity_key_from_seed(seeds[0]);
  g_autoptr(IdentityKey) other = identity_key_from_seed(seeds[1]);
  DirectoryState state = {.number = 3, .chain = {9}};
  DirectorySigned proof = directory_head_sign(key, &state, 1700000000);
  g_auto(DirectoryHead) head = {0};
  g_auto(DirectoryHead) none = {0};
  g_assert_true(directory_head_verify(&proof, identity_key_public(key), &head, &error));
  g_assert_true(directory_state_equal(&head.state, &state));
  g_assert_false(directory_head_verify(&proof, identity_key_public(other), &none, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  proof.signature[5] ^= 1;
  g_assert_false(directory_head_verify(&proof, NULL, &none, NULL));
  directory_signed_clear(&proof);
}

/* What was found for one question proves nothing for another. */
static void
test_found(void)
{
  static const guint8 seed[IDENTITY_SEED_LENGTH] = {1};
  g_autoptr(IdentityKey) key = identity_key_from_seed(seed);
  g_autoptr(GPtrArray) records = g_ptr_array_new();
  g_autoptr(DirectoryQuestion) alice = directory_question_new(DIRECTORY_WHAT(LOOKUP));
  g_autoptr(DirectoryQuestion) bob = directory_question_new(DIRECTORY_WHAT(LOOKUP));
  g_autoptr(DirectoryQuestion) end = directory_question_new(DIRECTORY_WHAT(LIST));
  g_autoptr(DirectoryQuestion) origin = directory_question_new(DIRECTORY_WHAT(LOOKUP));
  set_name(alice, "alice");
  set_name(bob, "bob");
  end->by_origin = origin->by_origin = TRUE;
  end->count = 10;
  DirectorySigned proof = directory_found_sign(key, alice, records, 7, 1700000000);
  DirectorySigned page = directory_found_sign(key, end, records, 7, 1700000000);
  g_autoptr(DirectoryFound) found = directory_found_verify(&proof, identity_key_public(key), alice, NULL);
  g_assert_nonnull(found);
  g_assert_cmpuint(found->number, ==, 7);
  g_assert_null(directory_found_verify(&proof, identity_key_public(key), bob, NULL));
  /* The list ends after that user: that does not say that there is no such user. */
  g_autoptr(DirectoryFound) listed = directory_found_verify(&page, identity_key_public(key), end, NULL);
  g_assert_nonnull(listed);
  g_assert_null(directory_found_verify(&page, identity_key_public(key), origin, NULL));
  directory_signed_clear(&proof);
  directory_signed_clear(&page);
}

#define SECOND G_GINT64_CONSTANT(1000000000)

static void
test_budget(void)
{
  g_autoptr(LinkBudget) budget = link_budget_new(10, 50);
  LinkCallerSource one = {{1}}, two = {{2}};
  gint64 now = 1000 * SECOND;
  guint granted = 0;
  while (link_budget_take(budget, &one, 1, now))
    granted++;
  g_assert_cmpuint(granted, ==, 50);
  g_assert_true(link_budget_take(budget, &two, 50, now));
  /* With time it comes back, and never more than there is room for. */
  g_assert_true(link_budget_take(budget, &one, 10, now + SECOND));
  g_assert_false(link_budget_take(budget, &one, 1, now + SECOND));
  g_assert_false(link_budget_take(budget, &one, 51, now + 1000 * SECOND));
  g_assert_true(link_budget_take(budget, &one, 50, now + 1000 * SECOND));
  /* Strangers without number cost no memory for ever. */
  for (guint i = 0; i < 300000; i++) {
    LinkCallerSource stranger = {{3}};
    memcpy(stranger.bytes + 4, &i, sizeof i);
    link_budget_take(budget, &stranger, 1, now + 2000 * SECOND + i * (SECOND / 1000));
  }
  g_assert_cmpuint(link_budget_sources(budget), <=, 65536);
  g_autoptr(LinkBudget) any = link_budget_new(0, 0);
  g_assert_true(link_budget_take(any, &one, 1000000, now));
}

static gboolean
come(LinkBudget *budget, guint number, gint64 now)
{
  LinkCallerSource stranger = {{0}};
  memcpy(stranger.bytes, &number, sizeof number);
  return link_budget_take(budget, &stranger, 4, now);
}

/* All at once, and more than are remembered: when they have gone, others have what is theirs again. */
static void
test_budget_crowd(void)
{
  g_autoptr(LinkBudget) budget = link_budget_new(1, 5);
  guint number = 0;
  while (number < 70000)
    come(budget, number++, 1000 * SECOND);
  for (guint i = 0; i < 10; i++)
    g_assert_true(come(budget, number++, 1100 * SECOND));
  g_assert_cmpuint(link_budget_sources(budget), <, 100);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/directory/message/lookup", test_lookup);
  g_test_add_func("/directory/message/limits", test_limits);
  g_test_add_func("/directory/message/answers", test_answers);
  g_test_add_func("/directory/message/long-words", test_long_words);
  g_test_add_func("/directory/head/heads", test_heads);
  g_test_add_func("/directory/head/found", test_found);
  g_test_add_func("/directory/budget", test_budget);
  g_test_add_func("/directory/budget-crowd", test_budget_crowd);
  return g_test_run();
}
