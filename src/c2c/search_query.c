#include "c2c/search_query.h"

#include <string.h>

#include "base/error.h"
#include "c2c/share_message.h"

typedef struct {
  const char *text;
  gsize length;
  gboolean prefix;
} Term;

/* The next term from *at on, which is moved behind it. FALSE at the end. */
static gboolean
next_term(const char **at, Term *term)
{
  const char *from = *at;
  while (*from && g_unichar_isspace(g_utf8_get_char(from)))
    from = g_utf8_next_char(from);
  if (!*from)
    return FALSE;
  gboolean phrase = *from == '"';
  const char *end = from += phrase;
  while (*end && *end != '"' && (phrase || !g_unichar_isspace(g_utf8_get_char(end))))
    end = g_utf8_next_char(end);
  *term = (Term){.text = from, .length = end - from};
  *at = end + (phrase && *end == '"');
  if (phrase && **at == '*') {
    term->prefix = TRUE;
    ++*at;
  } else if (!phrase && term->length > 0 && end[-1] == '*') {
    term->prefix = TRUE;
    term->length--;
  }
  return TRUE;
}

/* How many letters and digits: FTS5 finds nothing at all by a term without any. */
static guint
letters(const Term *term)
{
  guint count = 0;
  for (const char *at = term->text; at < term->text + term->length; at = g_utf8_next_char(at))
    count += g_unichar_isalnum(g_utf8_get_char(at)) != 0;
  return count;
}

static gboolean
append(GString *match, const Term *term, GError **error)
{
  if (term->length > SEARCH_TERM_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "a word to search for may have %d bytes",
                            SEARCH_TERM_MAX);
  if (term->prefix && letters(term) < SEARCH_PREFIX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "at least %d letters have to be before \"*\"",
                            SEARCH_PREFIX);
  g_string_append(match, match->len > 0 ? " AND \"" : "\"");
  g_string_append_len(match, term->text, term->length);
  g_string_append(match, term->prefix ? "\" *" : "\"");
  return TRUE;
}

char *
search_query_match(const char *words, GError **error)
{
  Term term;
  guint count = 0;
  g_autoptr(GString) match = g_string_new(NULL);
  if (strlen(words) > SHARE_WORDS_MAX || !g_utf8_validate(words, -1, NULL)) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "what to search for is no text of at most %d bytes",
                     SHARE_WORDS_MAX);
    return NULL;
  }
  while (next_term(&words, &term)) {
    if (letters(&term) == 0)
      continue;
    if (++count > SEARCH_TERMS_MAX) {
      doppel_error_set(error, DOPPEL_ERROR_USAGE, "at most %d words can be searched for", SEARCH_TERMS_MAX);
      return NULL;
    }
    if (!append(match, &term, error))
      return NULL;
  }
  if (count == 0) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "there is no word to search for");
    return NULL;
  }
  return g_strdup(match->str);
}
