#include "cmd/phrase_output.h"

#include <stdio.h>

/* Two lines of five words are copied with fewer slips than one of ten. */
void
phrase_output(const IdentityRecovery *recovery)
{
  enum { WORDS_IN_LINE = 5, LINE = WORDS_IN_LINE * (IDENTITY_PHRASE_WORD + 1) };
  char *phrase = identity_recovery_phrase(recovery);
  printf("\n    %.*s\n    %s\n\n", LINE - 1, phrase, phrase + LINE);
  identity_recovery_phrase_free(phrase);
}
