/* Both ends of a directory's protocol: what a server does with a question, a client with an answer, and
 * everybody with what should be signed. What is understood is made again, and understood as the same. */
#include <string.h>

#include "c2c/directory_head.h"
#include "c2c/directory_place.h"

static void
try_question(const guint8 *data, gsize length)
{
  g_autoptr(DirectoryQuestion) question = directory_question_decode(data, length, NULL);
  if (!question)
    return;
  if (question->record && g_bytes_get_size(question->record) > RECORD_MAX)
    __builtin_trap();
  if (question->what == DIRECTORY_WHAT(LOOKUP) && !question->by_origin &&
      !record_name_check(question->name, NULL))
    __builtin_trap();
  g_autoptr(GBytes) again = directory_question_encode(question);
  gsize again_length;
  const void *bytes = g_bytes_get_data(again, &again_length);
  g_autoptr(DirectoryQuestion) same = directory_question_decode(bytes, again_length, NULL);
  g_autoptr(GBytes) third = same ? directory_question_encode(same) : NULL;
  if (!third || !g_bytes_equal(third, again))
    __builtin_trap();
}

static void
try_answer(const guint8 *data, gsize length)
{
  g_autoptr(DirectoryAnswer) answer = directory_answer_decode(data, length, NULL);
  g_autoptr(GError) error = NULL;
  DirectoryHead head = {0};
  if (!answer)
    return;
  if (!directory_answer_refusal(answer, "x", &error))
    g_clear_error(&error);
  if (answer->head.statement && directory_head_verify(&answer->head, NULL, &head, NULL))
    directory_head_clear(&head);
  g_autoptr(DirectoryFound) found =
      answer->found.statement ? directory_found_verify(&answer->found, NULL, NULL, NULL) : NULL;
  if (found && found->records->len > DIRECTORY_PAGE_MAX)
    __builtin_trap();
  for (guint i = 0; answer->updates && i < answer->updates->len; i++) {
    Record *record =
        directory_update_verify(&g_array_index(answer->updates, DirectorySigned, i), NULL, NULL, NULL);
    if (record)
      record_unref(record);
  }
  g_autoptr(GBytes) again = directory_answer_encode(answer);
  if (g_bytes_get_size(again) > 8 * length + 64) /* escaped words, and no more */
    __builtin_trap();
}

/* With a signature that holds: what is behind it is reached, too. */
static void
try_signed(const guint8 *data, gsize length)
{
  static const guint8 seed[IDENTITY_SEED_LENGTH] = {7};
  static IdentityKey *key;
  static const char *const purposes[] = {"doppel directory head 1", "doppel directory found 1",
                                         "doppel directory update 1"};
  if (!key)
    key = identity_key_from_seed(seed);
  for (guint i = 0; i < G_N_ELEMENTS(purposes); i++) {
    DirectorySigned proof = {.statement = g_bytes_new(data, length)};
    g_autofree guint8 *text = g_malloc(length + 64);
    gsize words = strlen(purposes[i]) + 1;
    memcpy(text, purposes[i], words);
    if (length > 0)
      memcpy(text + words, data, length);
    identity_sign(key, text, words + length, proof.signature);
    DirectoryHead head = {0};
    if (directory_head_verify(&proof, identity_key_public(key), &head, NULL))
      directory_head_clear(&head);
    directory_found_free(directory_found_verify(&proof, NULL, NULL, NULL));
    Record *record = directory_update_verify(&proof, NULL, NULL, NULL);
    if (record)
      record_unref(record);
    directory_signed_clear(&proof);
  }
}

static void
try_place(const guint8 *data, gsize length)
{
  g_autofree char *text = g_strndup((const char *)data, length);
  g_autoptr(DirectoryPlace) place = directory_place_parse(text, NULL);
  if (!place)
    return;
  g_autofree char *again = directory_place_to_text(place);
  g_autoptr(DirectoryPlace) same = directory_place_parse(again, NULL);
  if (!same || !identity_public_equal(&same->key, &place->key))
    __builtin_trap();
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static void (*const ways[])(const guint8 *, gsize) = {try_question, try_answer, try_signed, try_place};
  if (length > 0)
    ways[data[0] % G_N_ELEMENTS(ways)](data + 1, length - 1);
  return 0;
}
