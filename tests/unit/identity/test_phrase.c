/* Recovery phrases: what was written can be read again, however it was typed; what was mistyped is named. */
#include <string.h>

#include "base/error.h"
#include "identity/phrase.h"

/* So that the words of a phrase that is on paper never come to mean something else. */
static void
test_fixed(void)
{
  static const guint8 secret[IDENTITY_PHRASE_SECRET] = {0x7f, 0x00, 0x00, 0x01, 0x3f, 0x54, 0xdc, 0xc1,
                                                        0x3f, 0x76, 0x07, 0x23, 0x00, 0x00, 0xff, 0xff};
  g_autofree char *phrase = identity_phrase_write(secret);
  g_assert_true(g_str_has_prefix(phrase, "lusab babad gutih tugad gutuk bisog babab zuzuz "));
  g_assert_cmpuint(strlen(phrase), ==, IDENTITY_PHRASE_WORDS * (IDENTITY_PHRASE_WORD + 1) - 1);
}

static void
random_secret(guint8 secret[IDENTITY_PHRASE_SECRET])
{
  for (guint i = 0; i < IDENTITY_PHRASE_SECRET; i++)
    secret[i] = g_test_rand_int_range(0, 256);
}

static void
assert_reads(const char *text, const guint8 *secret)
{
  guint8 read[IDENTITY_PHRASE_SECRET];
  g_autoptr(GError) error = NULL;
  g_assert_true(identity_phrase_read(text, read, &error));
  g_assert_no_error(error);
  g_assert_cmpmem(read, sizeof read, secret, IDENTITY_PHRASE_SECRET);
}

static void
test_round_trip(void)
{
  for (guint round = 0; round < 1000; round++) {
    guint8 secret[IDENTITY_PHRASE_SECRET];
    random_secret(secret);
    g_autofree char *phrase = identity_phrase_write(secret);
    g_autofree char *large = g_ascii_strup(phrase, -1);
    g_auto(GStrv) words = g_strsplit(phrase, " ", -1);
    g_autofree char *dashes = g_strjoinv("-", words);
    g_autofree char *numbered = g_strjoinv("\n 7. ", words);
    g_autofree char *together = g_strjoinv("", words);
    g_autofree char *untidy = g_strdup_printf("\t \"%s\"\r\n", dashes);
    const char *const forms[] = {phrase, large, dashes, numbered, together, untidy};
    for (guint i = 0; i < G_N_ELEMENTS(forms); i++)
      assert_reads(forms[i], secret);
  }
}

static void
assert_refused(const char *text, const char *reason)
{
  guint8 secret[IDENTITY_PHRASE_SECRET];
  g_autoptr(GError) error = NULL;
  g_assert_false(identity_phrase_read(text, secret, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  if (!strstr(error->message, reason))
    g_error("\"%s\" does not say \"%s\"", error->message, reason);
}

static char *
other_letter(char letter)
{
  static const char all[] = "abcdefghijklmnopqrstuvwxyz";
  char other = letter;
  while (other == letter)
    other = all[g_test_rand_int_range(0, 26)];
  return g_strndup(&other, 1);
}

/* Every letter, with one that a word may have there and one that it may not; every word, with another one. */
static void
test_one_wrong(void)
{
  for (guint round = 0; round < 50; round++) {
    guint8 secret[IDENTITY_PHRASE_SECRET];
    random_secret(secret);
    g_autofree char *phrase = identity_phrase_write(secret);
    for (gsize i = 0; phrase[i]; i++) {
      if (phrase[i] == ' ')
        continue;
      char right = phrase[i];
      g_autofree char *wrong = other_letter(right);
      g_autofree char *said = g_strdup_printf("word %u of", (guint)(i / (IDENTITY_PHRASE_WORD + 1)) + 1);
      phrase[i] = *wrong;
      assert_refused(phrase, said);
      phrase[i] = right;
    }
  }
}

static void
test_more_wrong(void)
{
  for (guint round = 0; round < 2000; round++) {
    guint8 secret[IDENTITY_PHRASE_SECRET];
    random_secret(secret);
    g_autofree char *phrase = identity_phrase_write(secret);
    g_auto(GStrv) words = g_strsplit(phrase, " ", -1);
    guint a = g_test_rand_int_range(0, IDENTITY_PHRASE_WORDS);
    guint b = (a + g_test_rand_int_range(1, IDENTITY_PHRASE_WORDS)) % IDENTITY_PHRASE_WORDS;
    if (strcmp(words[a], words[b]) == 0)
      continue;
    char *moved = words[a];
    words[a] = words[b];
    words[b] = moved;
    g_autofree char *swapped = g_strjoinv(" ", words);
    /* Words that are further apart can look as if two neighbours had been exchanged, once in many thousands.
     */
    assert_refused(swapped, ABS((int)a - (int)b) == 1 ? "changed places" : "the recovery phrase");
  }
}

static void
test_shape(void)
{
  static const guint8 secret[IDENTITY_PHRASE_SECRET] = {1};
  g_autofree char *phrase = identity_phrase_write(secret);
  g_autofree char *short_by_one = g_strndup(phrase, strlen(phrase) - IDENTITY_PHRASE_WORD - 1);
  g_autofree char *one_more = g_strconcat(phrase, " babab", NULL);
  g_autofree char *lacks_a_letter = g_strdup(phrase + 1);
  g_autofree char *endless = g_strnfill(100000, 'b');
  assert_refused("", "has 10 words; these are 0");
  assert_refused(short_by_one, "these are 9");
  assert_refused(one_more, "these are 11");
  assert_refused(lacks_a_letter, "word 1");
  assert_refused(endless, "no recovery phrase");
  assert_refused("b\xc3\xa4"
                 "bab babab",
                 "word 1");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/identity/phrase/fixed", test_fixed);
  g_test_add_func("/identity/phrase/round-trip", test_round_trip);
  g_test_add_func("/identity/phrase/one-wrong", test_one_wrong);
  g_test_add_func("/identity/phrase/more-wrong", test_more_wrong);
  g_test_add_func("/identity/phrase/shape", test_shape);
  return g_test_run();
}
