#include "cmd/phrase_input.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define ATTEMPTS 3

typedef char Text[IDENTITY_PHRASE_MAX + 2]; /* too long is still seen to be too long */

static guint
count_words(const char *text)
{
  guint count = 0;
  gboolean inside = FALSE;
  for (; *text; text++) {
    gboolean letter = g_ascii_isalpha(*text);
    count += letter && !inside;
    inside = letter;
  }
  return count;
}

/* It may be typed in several lines, as it was shown; an empty one ends it, too. */
static gboolean
ask(Text text)
{
  gsize length = 0;
  fprintf(stderr, "Recovery phrase (%d words): ", IDENTITY_PHRASE_WORDS);
  fflush(stderr);
  text[0] = '\0';
  while (length + 1 < sizeof(Text) && fgets(text + length, sizeof(Text) - length, stdin)) {
    gsize more = strlen(text + length);
    length += more;
    if (more <= 1 || count_words(text) != IDENTITY_PHRASE_WORDS / 2)
      return TRUE;
  }
  return length > 0;
}

static IdentityRecovery *
ask_until_good(GError **error)
{
  Text text;
  IdentityRecovery *recovery = NULL;
  for (guint i = 0; i < ATTEMPTS && !recovery; i++) {
    g_autoptr(GError) problem = NULL;
    if (!ask(text)) {
      doppel_error_set(error, DOPPEL_ERROR_USAGE, "no recovery phrase was given");
      return NULL;
    }
    recovery = identity_recovery_from_phrase(text, &problem);
    gboolean again = g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_USAGE) && i + 1 < ATTEMPTS;
    if (again)
      fprintf(stderr, "%s.\n", problem->message);
    else if (problem)
      g_propagate_error(error, g_steal_pointer(&problem));
    sodium_memzero(text, sizeof text);
    if (!again)
      break;
  }
  return recovery;
}

static IdentityRecovery *
read_file(const char *file, GError **error)
{
  Text text;
  gboolean standard = strcmp(file, "-") == 0;
  g_auto(Fd) fd = standard ? -1 : open(file, O_RDONLY | O_CLOEXEC);
  gssize length = !standard && fd < 0 ? -1 : io_read_all(standard ? STDIN_FILENO : fd, text, sizeof text - 1);
  if (length < 0) {
    doppel_error_errno(error, "the recovery phrase cannot be read from %s",
                       standard ? "standard input" : file);
    return NULL;
  }
  text[length] = '\0';
  IdentityRecovery *recovery = identity_recovery_from_phrase(text, error);
  sodium_memzero(text, sizeof text);
  return recovery;
}

IdentityRecovery *
phrase_input(const char *file, GError **error)
{
  if (file)
    return read_file(file, error);
  if (isatty(STDIN_FILENO))
    return ask_until_good(error);
  doppel_error_set(
      error, DOPPEL_ERROR_USAGE,
      "the recovery phrase is asked for on a terminal, and there is none: say with --phrase-file "
      "where to read it (\"-\": from standard input)");
  return NULL;
}
