#include "identity/phrase.h"

#include <sodium.h>
#include <string.h>

#include "base/error.h"

#define DATA_WORDS (IDENTITY_PHRASE_SECRET / 2)
#define POLYNOMIAL 0x1100bu

static const char consonants[] = "bdfghjklmnprstvz";
static const char vowels[] = "aiou";

static guint16
multiply(guint16 a, guint16 b)
{
  guint32 product = 0;
  for (int bit = 15; bit >= 0; bit--) {
    product <<= 1;
    if (product & 0x10000)
      product ^= POLYNOMIAL;
    if (b >> bit & 1)
      product ^= a;
  }
  return product;
}

static guint16
power(guint16 base, guint exponent)
{
  guint16 result = 1;
  for (; exponent; exponent >>= 1, base = multiply(base, base))
    if (exponent & 1)
      result = multiply(result, base);
  return result;
}

typedef struct {
  guint16 sum, weighted;
} Syndromes;

static Syndromes
syndromes(const guint16 *words, guint count)
{
  Syndromes found = {0};
  for (guint i = 0; i < count; i++) {
    found.sum ^= words[i];
    found.weighted ^= multiply(power(2, i), words[i]);
  }
  return found;
}

static gboolean
is_sound(const guint16 words[IDENTITY_PHRASE_WORDS])
{
  Syndromes found = syndromes(words, IDENTITY_PHRASE_WORDS);
  return found.sum == 0 && found.weighted == 0;
}

/* The two words with which all sums are zero: c + d = sum, p^8 c + p^9 d = weighted. */
static void
add_check(guint16 words[IDENTITY_PHRASE_WORDS])
{
  Syndromes data = syndromes(words, DATA_WORDS);
  guint16 first = power(2, DATA_WORDS), second = power(2, DATA_WORDS + 1);
  guint16 inverse = power(first ^ second, 0xfffe);
  words[DATA_WORDS + 1] = multiply(data.weighted ^ multiply(first, data.sum), inverse);
  words[DATA_WORDS] = data.sum ^ words[DATA_WORDS + 1];
}

static void
write_word(GString *text, guint16 word)
{
  g_string_append_c(text, consonants[word >> 12]);
  g_string_append_c(text, vowels[word >> 10 & 3]);
  g_string_append_c(text, consonants[word >> 6 & 15]);
  g_string_append_c(text, vowels[word >> 4 & 3]);
  g_string_append_c(text, consonants[word & 15]);
}

char *
identity_phrase_write(const guint8 secret[IDENTITY_PHRASE_SECRET])
{
  guint16 words[IDENTITY_PHRASE_WORDS];
  /* Of its final size from the start, so that no copy of it is left behind. */
  GString *text = g_string_sized_new(IDENTITY_PHRASE_WORDS * (IDENTITY_PHRASE_WORD + 1));
  for (guint i = 0; i < DATA_WORDS; i++)
    words[i] = secret[2 * i] << 8 | secret[2 * i + 1];
  add_check(words);
  for (guint i = 0; i < IDENTITY_PHRASE_WORDS; i++) {
    if (i > 0)
      g_string_append_c(text, ' ');
    write_word(text, words[i]);
  }
  sodium_memzero(words, sizeof words);
  return g_string_free(text, FALSE);
}

static gboolean
read_letter(const char *letters, char letter, guint bits, guint16 *word)
{
  const char *found = strchr(letters, g_ascii_tolower(letter));
  *word = *word << bits | (found ? found - letters : 0);
  return found != NULL;
}

static gboolean
read_word(const char *text, guint16 *word)
{
  *word = 0;
  return read_letter(consonants, text[0], 4, word) && read_letter(vowels, text[1], 2, word) &&
         read_letter(consonants, text[2], 4, word) && read_letter(vowels, text[3], 2, word) &&
         read_letter(consonants, text[4], 4, word);
}

static gboolean
is_letter(char c)
{
  return g_ascii_isalpha(c) || (c & 0x80);
}

/* The next word from *text on: its length, 0 at the end. */
static gsize
next_word(const char **text)
{
  gsize length = 0;
  while (**text && !is_letter(**text))
    ++*text;
  while (is_letter((*text)[length]))
    length++;
  return length;
}

static guint
count_words(const char *text)
{
  guint count = 0;
  for (gsize length; (length = next_word(&text)) > 0; text += length)
    count++;
  return count;
}

static gboolean
refuse_word(guint number, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "word %u of the recovery phrase is mistyped: look at it again", number);
}

static gboolean
read_words(const char *text, guint16 words[IDENTITY_PHRASE_WORDS], GError **error)
{
  guint count = count_words(text);
  const char *at = text;
  gsize length = next_word(&at);
  if (count == 1 && length == IDENTITY_PHRASE_WORDS * IDENTITY_PHRASE_WORD) {
    for (guint i = 0; i < IDENTITY_PHRASE_WORDS; i++)
      if (!read_word(at + i * IDENTITY_PHRASE_WORD, &words[i]))
        return refuse_word(i + 1, error);
    return TRUE;
  }
  for (guint i = 0; i < MIN(count, IDENTITY_PHRASE_WORDS); i++) {
    if (length != IDENTITY_PHRASE_WORD || !read_word(at, &words[i]))
      return refuse_word(i + 1, error);
    at += length;
    length = next_word(&at);
  }
  return count == IDENTITY_PHRASE_WORDS ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE, "the recovery phrase has %d words; these are %u",
                          IDENTITY_PHRASE_WORDS, count);
}

/* A phrase whose words are all possible, but not together: what most probably is wrong with it. */
static gboolean
explain(guint16 words[IDENTITY_PHRASE_WORDS], GError **error)
{
  for (guint i = 0; i + 1 < IDENTITY_PHRASE_WORDS; i++) {
    guint16 swapped[IDENTITY_PHRASE_WORDS];
    memcpy(swapped, words, sizeof swapped);
    swapped[i] = words[i + 1];
    swapped[i + 1] = words[i];
    gboolean found = is_sound(swapped);
    sodium_memzero(swapped, sizeof swapped);
    if (found)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                              "words %u and %u of the recovery phrase have changed places", i + 1, i + 2);
  }
  Syndromes found = syndromes(words, IDENTITY_PHRASE_WORDS);
  for (guint i = 0; i < IDENTITY_PHRASE_WORDS; i++)
    if (found.weighted == multiply(power(2, i), found.sum))
      return refuse_word(i + 1, error);
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "several words of the recovery phrase are mistyped: look at it again");
}

static gboolean
read_sound(const char *text, guint16 words[IDENTITY_PHRASE_WORDS], GError **error)
{
  return read_words(text, words, error) && (is_sound(words) || explain(words, error));
}

gboolean
identity_phrase_read(const char *text, guint8 secret[IDENTITY_PHRASE_SECRET], GError **error)
{
  guint16 words[IDENTITY_PHRASE_WORDS] = {0};
  if (strnlen(text, IDENTITY_PHRASE_MAX + 1) > IDENTITY_PHRASE_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "this is no recovery phrase: that has %d words",
                            IDENTITY_PHRASE_WORDS);
  gboolean good = read_sound(text, words, error);
  for (guint i = 0; good && i < DATA_WORDS; i++) {
    secret[2 * i] = words[i] >> 8;
    secret[2 * i + 1] = words[i] & 0xff;
  }
  sodium_memzero(words, sizeof words);
  return good;
}
